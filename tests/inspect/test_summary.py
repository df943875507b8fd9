"""Sessions as they happen, and the row that each becomes."""

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpproxy.inspect.summary import MAX_HEADER_BYTES, MAX_RECIPIENTS, MessageRow, SessionSummary, Summarizer
from smtpproxy.session.events import Preface, Reply
from tests.conversation import CLIENT, PROXY, SERVER, Conversation, delivery


def folded(conversation: Conversation) -> SessionSummary:
    summarizer = Summarizer()
    for event in conversation.events:
        summarizer.add(event)
    return summarizer.summary


def messages(conversation: Conversation) -> list[MessageRow]:
    summarizer = Summarizer()
    for event in conversation.events:
        summarizer.add(event)
    return summarizer.take_messages()


def test_a_delivery_in_one_row() -> None:
    assert folded(delivery()) == SessionSummary(
        session="01KAAAAAAAAAAAAAAAAAAAAAAA",
        started="2026-11-23T17:00:00.123456Z",
        duration=0.17,
        client="127.0.0.1:50312",
        upstream="smtp://mx.example.com:25",
        outcome="delivered",
        mail_from="alice@example.com",
        rcpt_to=["bob@example.com", "carol@example.com"],
        last_code=250,
        messages=1,
        bytes=len("Subject: Hello\r\nFrom: Alice <alice@example.com>\r\n\r\nHi Bob,\r\n..dotted\r\n"),
        route="default",
        listen="smtp://127.0.0.1:1025",
    )


def test_behind_a_balancer_the_client_is_whom_its_header_names() -> None:
    header = Preface(
        n=1,
        session="01A",
        t=0.0,
        from_="client",
        to="proxy",
        raw="PROXY TCP4 192.0.2.7 192.0.2.1 51234 25\r\n",
        version=1,
        source="192.0.2.7:51234",
    )
    summarizer = Summarizer()
    for event in (Conversation().events[0], header):
        summarizer.add(event)
    assert summarizer.summary.client == "192.0.2.7:51234"


def test_a_session_is_open_until_its_end() -> None:
    talk = Conversation().server("220 mx").client("EHLO app")
    assert folded(talk).outcome == "open"
    assert folded(talk.end("aborted", "client-eof")).outcome == "aborted"


def test_no_mail_is_none_and_the_null_path_is_empty() -> None:
    assert folded(Conversation().client("EHLO app")).mail_from is None
    assert folded(Conversation().client("MAIL FROM:<>")).mail_from == ""


def test_the_first_sender_and_every_recipient_in_order_refused_or_not() -> None:
    talk = (
        Conversation()
        .client("MAIL FROM:<a@x>")
        .client("RCPT TO:<b@x>")
        .server("550 5.1.1 no")
        .client("RSET")
        .client("MAIL FROM:<c@x>")
        .client("RCPT TO:<d@x>")
        .client("RCPT TO:<b@x>")
    )
    assert folded(talk).mail_from == "a@x"
    assert folded(talk).rcpt_to == ["b@x", "d@x", "b@x"]


def test_recipients_are_bounded() -> None:
    talk = Conversation().client("MAIL FROM:<a@x>")
    for number in range(MAX_RECIPIENTS + 5):
        talk.client(f"RCPT TO:<{number}@x>")
    assert len(folded(talk).rcpt_to) == MAX_RECIPIENTS


def test_the_last_code_is_not_that_of_quit() -> None:
    talk = Conversation().client("MAIL FROM:<a@x>").server("550 no").client("QUIT").server("221 bye")
    assert folded(talk).last_code == 550


def test_an_unsolicited_421_after_quit_counts() -> None:
    talk = Conversation().client("QUIT")
    talk.server("421 4.3.2 going down", answers=0)
    assert folded(talk).last_code == 421


def test_what_the_proxy_says_to_the_server_is_not_the_clients() -> None:
    talk = (
        Conversation().asks("EHLO app").server("250 mx", to=PROXY).asks("STARTTLS").server("220 go", to=PROXY)
    )
    assert folded(talk).last_code is None
    assert folded(talk.end("empty", "client-eof")).is_probe


def test_tls_versions_of_the_legs_that_stand() -> None:
    talk = Conversation().tls("server", version="TLSv1.2").tls("client", error="unknown CA")
    assert (folded(talk).tls_client, folded(talk).tls_server) == ("", "TLSv1.2")


def test_findings_are_told_once_each() -> None:
    talk = Conversation().finding("bare-lf").finding("nul").finding("bare-lf")
    assert folded(talk).findings == ["bare-lf", "nul"]


def test_digests_count_as_octets() -> None:
    assert folded(Conversation().client("DATA").digested(70_000)).bytes == 70_000


def test_octets_of_text_are_counted_not_characters() -> None:
    talk = Conversation().client("DATA").content("größe\r\n", b"\xff\xfe\r\n")
    assert folded(talk).bytes == len("größe\r\n".encode()) + 4


@pytest.mark.parametrize(
    ("talk", "is_probe"),
    [
        (Conversation().server("220 mx").end("empty", "client-eof"), True),
        (Conversation().server("220 mx").finding("client-reset").end("empty", "client-reset"), True),
        (Conversation().finding("upstream-not-verified").server("220 mx").end("empty", "client-eof"), True),
        (Conversation().tls("client").server("220 mx").end("empty", "client-eof"), True),
        (Conversation().server("220 mx"), False),
        (Conversation().server("220 mx").client("QUIT").end("empty"), False),
        (Conversation().server("220 mx").client(b"EH", partial=True).end("empty", "client-eof"), False),
        (Conversation().server("220 mx").opaque(b"\x16\x03\x01").end("empty"), False),
        (Conversation().server("554 no").end("rejected", "client-eof"), False),
        (Conversation().tls("client", error="unknown CA").end("failed", "client-eof"), False),
        (Conversation().finding("upstream-unreachable").end("failed", "proxy"), False),
        (Conversation().finding("timeout").end("empty", "timeout"), False),
        (Conversation().server("220 mx").gap().end("empty"), False),
        (Conversation().server("220 mx").end("interrupted", "interrupted"), False),
    ],
)
def test_a_probe_said_nothing_and_nothing_went_wrong(talk: Conversation, is_probe: bool) -> None:
    assert folded(talk).is_probe is is_probe


def test_a_message_row_has_the_envelope_and_its_place() -> None:
    talk = delivery()
    [row] = messages(talk)
    assert row == MessageRow(
        message=1,
        mail_from="alice@example.com",
        rcpt_to=["bob@example.com", "carol@example.com"],
        size=len("Subject: Hello\r\nFrom: Alice <alice@example.com>\r\n\r\nHi Bob,\r\n..dotted\r\n"),
        first_n=12,
        last_n=13,
        headers=b"Subject: Hello\r\nFrom: Alice <alice@example.com>\r\n",
    )


def test_a_message_is_complete_with_its_reply_and_is_given_out_once() -> None:
    summarizer = Summarizer()
    given_out = []
    for event in delivery().events:
        summarizer.add(event)
        rows = summarizer.take_messages()
        if rows:
            given_out.append((event.n, [row.message for row in rows]))
    assert given_out == [(14, [1])]


def test_a_refused_recipient_is_not_in_the_envelope() -> None:
    talk = (
        Conversation()
        .client("MAIL FROM:<a@x>")
        .client("RCPT TO:<b@x>")
        .server("550 no")
        .client("RCPT TO:<c@x>")
        .server("250 ok")
        .client("DATA")
        .server("354 go")
        .content("x\r\n")
        .server("250 ok")
    )
    assert messages(talk)[0].rcpt_to == ["c@x"]


def test_with_bdat_recipients_may_be_answered_after_the_message() -> None:
    talk = Conversation().client("MAIL FROM:<a@x>")
    mail = talk.n
    refused = talk.client("RCPT TO:<b@x>").n
    taken = talk.client("RCPT TO:<c@x>").n
    talk.chunk(b"Subject: x\r\n\r\n").chunk(b".\r\n", last=True)
    bdat = talk.n - 1
    talk.server("250 ok", answers=mail).server("550 no", answers=refused).server("250 ok", answers=taken)
    talk.server("250 chunk", answers=bdat - 2).server("250 ok", answers=bdat)
    [row] = messages(talk)
    assert (row.rcpt_to, row.size, row.headers) == (["c@x"], 17, b"Subject: x\r\n")


def test_the_next_mail_pipelined_ahead_of_the_reply_leaves_the_envelope_alone() -> None:
    talk = Conversation().client("MAIL FROM:<a@x>").client("RCPT TO:<b@x>").client("DATA").content("x\r\n")
    end = talk.n
    talk.client("MAIL FROM:<c@x>").client("RCPT TO:<d@x>").server("250 ok", answers=end)
    [row] = messages(talk)
    assert (row.mail_from, row.rcpt_to) == ("a@x", ["b@x"])


def test_a_refused_second_mail_leaves_the_first_transaction_open() -> None:
    talk = (
        Conversation()
        .client("MAIL FROM:<a@x>")
        .server("250 ok")
        .client("RCPT TO:<b@x>")
        .server("250 ok")
        .client("MAIL FROM:<c@x>")
        .server("503 nested MAIL")
        .client("DATA")
        .server("354 go")
        .content("x\r\n")
        .server("250 ok")
    )
    [row] = messages(talk)
    assert (row.mail_from, row.rcpt_to) == ("a@x", ["b@x"])


def test_a_message_cut_short_is_a_row_at_the_end() -> None:
    talk = Conversation().client("MAIL FROM:<a@x>").client("DATA").content("Subject: x\r\n", end="")
    assert messages(talk) == []
    [row] = messages(talk.end("aborted", "client-eof"))
    assert (row.mail_from, row.size) == ("a@x", 12)
    assert folded(talk).messages == 0


@pytest.mark.parametrize(
    ("content", "headers"),
    [
        ("A: 1\r\n\r\nB: 2\r\n", b"A: 1\r\n"),
        ("A: 1\n\nB: 2\n", b"A: 1\n"),
        ("\r\nbody\r\n", b""),
        ("A: 1\r\n", b"A: 1\r\n"),
        ("A: " + "ü" * MAX_HEADER_BYTES, ("A: " + "ü" * MAX_HEADER_BYTES).encode()[:MAX_HEADER_BYTES]),
    ],
)
@given(cut=st.integers(0, 40))
def test_headers_end_at_the_blank_line_wherever_the_content_is_cut(
    cut: int, content: str, headers: bytes
) -> None:
    talk = Conversation().client("DATA").content(content[:cut], content[cut:])
    talk.server("250 ok")
    assert messages(talk)[0].headers == headers


@given(st.text(alphabet="a\r\n", max_size=30))
def test_headers_end_at_the_first_blank_line_of_either_kind(content: str) -> None:
    talk = Conversation().client("DATA").content(content).server("250 ok")
    blank_lines = [at for at in (content.find("\n\r\n"), content.find("\n\n")) if at >= 0]
    headers = content[: min(blank_lines) + 1] if blank_lines else content
    if content.startswith(("\r\n", "\n")):
        headers = ""
    assert messages(talk)[0].headers == headers.encode()


@given(st.lists(st.integers(0, 20)))
def test_events_may_come_one_by_one_or_many_at_once(cuts: list[int]) -> None:
    talk = delivery()
    one_by_one, at_once = Summarizer(), Summarizer()
    for event in talk.events:
        one_by_one.add(event)
    at = [0, *sorted(min(cut, len(talk.events)) for cut in cuts), len(talk.events)]
    for start, end in pairwise(at):
        at_once.add_all(talk.events[start:end])
    assert at_once.summary == one_by_one.summary
    assert at_once.take_messages() == one_by_one.take_messages()


def test_an_event_that_cannot_be_summed_up_costs_only_itself() -> None:
    talk = delivery()
    events = list(talk.events)
    at = next(at for at, event in enumerate(events) if isinstance(event, Reply))
    events[at] = msgspec.structs.replace(events[at], code="odd")
    summarizer = Summarizer()
    with pytest.raises(AssertionError):
        summarizer.add_all(events)
    assert summarizer.summary.outcome == folded(talk).outcome == "delivered"
    assert len(summarizer.take_messages()) == 1


def test_content_spoken_by_other_parties_is_no_command() -> None:
    talk = Conversation().opaque(b"220 x", from_=SERVER, to=CLIENT).end("empty")
    assert folded(talk).is_probe
