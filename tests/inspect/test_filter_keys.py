"""What each key asks, on conversations; what a summary tells alone, and what it leaves open."""

import re
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import UNSET

from smtpproxy.inspect.filters.readers import started_seconds
from smtpproxy.inspect.summary import text_of
from smtpproxy.session.events import Auth, Command, Preface, Reply
from tests.conversation import Conversation, delivery
from tests.inspect.filtering import facts_of, matches, read, summary_of

CONTENT = (
    "Subject: =?utf-8?q?Your_password?=\r\n =?utf-8?q?_reset_f=C3=BCr?= you\r\nTo: bob@example.com\r\n\r\n"
    "Click the link\r\n..dotted\r\n"
)


def login() -> Conversation:
    """TLS on both legs, AUTH refused once, two senders, one message, one recipient refused."""
    talk = (
        Conversation("01KB3S2V9Q", upstream="smtp+starttls://smtp.example.com:587")
        .server("220 mx ESMTP")
        .client("EHLO app")
        .server("250-mx", "250 STARTTLS")
        .client("STARTTLS")
        .server("220 2.0.0 go")
        .tls("server")
        .tls("client", version="TLSv1.2", cipher="ECDHE")
        .client("AUTH PLAIN {{secret}}", mechanism="PLAIN", identity="alice@example.com")
        .server("535 5.7.8 no")
        .client("AUTH LOGIN", mechanism="LOGIN")
        .server("334 VXNlcm5hbWU6")
        .sasl("{{secret}}", mechanism="LOGIN")
        .server("235 2.7.0 ok")
        .client("MAIL FROM:<Alice@Example.com> SIZE=9")
        .server("250 2.1.0 ok")
        .client("RSET")
        .server("250 ok")
        .client("MAIL FROM:<>")
        .server("250 2.1.0 ok")
        .client("RCPT TO:<bob@example.com>")
        .server("250 2.1.5 ok")
        .client("RCPT TO:<Carol@Sub.Example.com>")
        .server("550 5.1.1 who")
        .client("DATA")
        .server("354 go")
        .content(CONTENT)
        .server("250 2.0.0 queued")
        .finding("bare-lf")
        .client("QUIT")
        .server("221 bye")
    )
    for event in talk.events:
        if isinstance(event, Auth):
            event.identity = "robert"
        elif isinstance(event, Reply):
            status = re.match(r"\d{3} (\d\.\d\.\d)", text_of(event))
            event.enhanced = status[1] if status else UNSET
    return talk.end("partial")


TRUE = [
    *("from:alice@example.com", "from:ALICE@*", "from:@example.com", "from:alice", "from:<>", 'from:""'),
    *("to:bob@example.com", "to:<bob@example.com>", "to:*@*.example.com", "to:@sub.example.com", "to:carol"),
    *("subject:RESET", 'subject:"password reset für you"', 'subject:"Your  password"'),
    *("code:535", "code:5xx", "code:53x", "code:>=550", "code:<221", "code:=354"),
    *("enhanced:5.7.8", "enhanced:5.7.*", "enhanced:5.7", "enhanced:5", "enhanced:5.X.8"),
    *("verb:auth", "verb:STARTTLS", "verb:R*", "mechanism:plain", "mechanism:LOG*"),
    *("user:alice@example.com", "user:robert", "user:*@example.com"),
    *("tls:client", "tls:server", "tls:1.2", "tls:1.3", "has:tls"),
    *("finding:bare-lf", "finding:bare-*", "has:finding", "has:auth", "has:message", "is:partial"),
    *("client:127.0.0.1", "client:127.0.0.0/8", "client:127.0.0.1:50312"),
    *(
        "upstream:smtp.example.com",
        "upstream:+starttls://*:587",
        "route:default",
        "route:DEF*",
        "listen::1025",
    ),
    *("session:01kb3s", "session:01KB3S2V9Q"),
    *("before:2026-11-24", "before:17:01", "before:2026-11-23T17:00:01Z", 'before:"2026-11-23 17:00:00.2"'),
    *("after:2026-11-23", "after:2026/11/23", "after:17:00", "after:2h", "after:2026-11-23T17:00:00.123456"),
    *("duration:>0.2", "duration:<1m", "duration:>=200ms", "size:>100", "size:<1k", "size:<=1MiB"),
    *("messages:1", "messages:>0", "messages:<=1"),
    *("click", '"click the link"', "password", "clic*", '"the li*"', "dotted", '"bob@example.com"', "FÜR"),
]
FALSE = [
    *("from:bob@example.com", "from:alice@", "from:@sub.example.com", "to:alice@example.com", "to:<>"),
    *("to:bob@example.co", "to:@ample.com", "subject:dotted", "subject:Subject", "code:551", "code:4xx"),
    *("enhanced:4", "enhanced:5.7.1", "verb:BDAT", "verb:AUT", "mechanism:XOAUTH2", "user:alice", "user:bob"),
    *("tls:none", "tls:1.0", "tls:1.1", "finding:nul", "is:open", "is:delivered", "is:lmtp"),
    *("client:127.0.0.2", "client:10.0.0.0/8", "client:127.0.0.1:5031", "client:::1", "upstream:example.org"),
    *("route:def", "listen::10255", "session:1KB3S"),
    *("before:2026-11-23", "before:17:00", "before:2h", "after:2026-11-24", "after:17:00:01"),
    *("duration:>1", "size:>1k", "size:<70", "messages:0", "messages:>1"),
    *("lick", "clik", '"link the"', '"the link clicks"', "reset*x", "html"),
]


@pytest.mark.parametrize("term", TRUE)
def test_terms_that_match(term: str) -> None:
    assert matches(term, login().events)
    assert not matches(f"-{term}", login().events)


@pytest.mark.parametrize("term", FALSE)
def test_terms_that_do_not(term: str) -> None:
    assert not matches(term, login().events)
    assert matches(f"-{term}", login().events)


@pytest.mark.parametrize("term", [*TRUE, *FALSE])
def test_a_summary_alone_tells_the_same_or_nothing(term: str) -> None:
    assert read(term).decide(summary_of(login().events)) in (matches(term, login().events), None)


@pytest.mark.parametrize(
    "term",
    [
        *("to:bob", "to:nobody", "tls:none", "finding:nul", "is:partial", "is:open", "client:10.0.0.0/8"),
        *(
            "upstream:x",
            "listen:x",
            "route:x",
            "session:x",
            "after:2h",
            "before:2h",
            "duration:>1",
            "size:>1",
        ),
        *("messages:1", "has:message", "has:tls", "has:finding", "from:<> from:nobody is:open", "code:250"),
    ],
)
def test_a_summary_is_enough_for_most_terms(term: str) -> None:
    assert read(term).decide(summary_of(login().events)) is not None


def test_operators() -> None:
    events = login().events
    assert matches("code:550 tls:1.2", events)
    assert not matches("code:550 tls:1.1", events)
    assert matches("code:551 OR tls:1.2", events)
    assert matches("code:551 tls:1.1 OR tls:1.2", events)
    assert not matches("code:551 (tls:1.1 OR tls:1.2)", events)
    assert matches("-(code:551 OR tls:1.1)", events)
    assert matches("*", events)
    assert not matches("-*", events)


def test_plain_sessions() -> None:
    events = delivery().events
    assert matches("tls:none -has:tls -has:auth -has:finding is:delivered", events)
    assert not matches("tls:client OR tls:server OR tls:1.3", events)


@pytest.mark.parametrize("upstream", ["lmtp://mx.example.com:24", "lmtp+unix:/run/lmtp"])
def test_lmtp_is_told_by_the_urls(upstream: str) -> None:
    assert matches("is:lmtp", Conversation(upstream=upstream).events)


def test_behind_a_balancer_the_client_is_whom_its_header_names() -> None:
    talk = Conversation()
    wanted = read("client:2001:db8::/32 -client:127.0.0.1")
    assert not wanted.matches(facts_of(talk.events, wanted))
    assert wanted.can_still_match(facts_of(talk.events, wanted))
    preface = Preface(
        n=1,
        session=talk.session,
        t=0.01,
        from_="client",
        to="proxy",
        version=1,
        source="[2001:db8::1]:4711",
        raw="PROXY …\r\n",
    )
    assert wanted.matches(facts_of([*talk.events, preface], wanted))


@pytest.mark.parametrize("client", ["[::ffff:192.0.2.7]:25", "192.0.2.7:25", "192.0.2.7"])
def test_an_address_is_the_same_however_it_came(client: str) -> None:
    talk = Conversation()
    talk.events[0].client = client  # type: ignore[union-attr]
    assert matches("client:192.0.2.7", talk.events)
    assert matches("client:192.0.2.0/24", talk.events)


def test_clients_of_a_unix_socket_have_one_name() -> None:
    talk = Conversation()
    talk.events[0].client = "unix"  # type: ignore[union-attr]
    assert matches("client:unix -client:127.0.0.1", talk.events)


def test_what_the_proxy_asked_is_no_verb_of_the_client() -> None:
    talk = Conversation().server("220 mx").asks("EHLO proxy").server("250 mx").end("empty")
    assert not matches("verb:EHLO", talk.events)
    assert matches("code:220", talk.events)


def test_the_subject_is_known_when_its_header_section_has_ended() -> None:
    talk = delivery(subject="first piece", is_open=True)
    content = next(at for at, event in enumerate(talk.events) if event.__struct_config__.tag == "content")
    wanted = read("subject:first")
    assert not wanted.matches(facts_of(talk.events[:content], wanted))
    assert wanted.matches(facts_of(talk.events[: content + 1], wanted))


@pytest.mark.parametrize(
    "pieces", [["Subj", "ect: cut\r\n", "\r\nbody"], ["Subject: cut\r\n"], ["Subject: cut"]]
)
def test_a_subject_in_pieces_or_cut_short(pieces: list[str]) -> None:
    whole = Conversation().client("DATA").server("354 go").content(*pieces).end("delivered")
    short = Conversation().client("DATA").server("354 go").content(*pieces, end="").end("aborted")
    assert matches("subject:cut", whole.events)
    assert matches("subject:cut", short.events)
    assert read("subject:cut").decide(summary_of(short.events)) is None


def test_what_stands_in_the_body_is_no_subject() -> None:
    talk = Conversation().client("DATA").content("\r\nSubject: body\r\n").end("delivered")
    assert not matches("subject:body", talk.events)
    assert matches("body", talk.events)


def test_words_in_chunks_are_found_as_they_were_meant() -> None:
    talk = Conversation().chunk(b"Subject: in\r\n\r\n..two d").chunk(b"ots\r\n", last=True).end("delivered")
    assert matches('"two dots"', talk.events)


def test_a_client_that_says_any_verb_is_remembered_within_bounds() -> None:
    talk = Conversation()
    for number in range(1200):
        talk.client(f"X{number}")
    wanted = read("verb:X1")
    seen = facts_of(talk.events, wanted).seen
    assert seen is not None
    assert len(seen.verbs) == 1000
    assert wanted.matches(facts_of(talk.events, wanted))


def test_a_command_that_is_no_utf_8_is_nobodys_trouble() -> None:
    talk = Conversation().client(b"MAIL FROM:<\xff@x>\r\n").end("rejected")
    assert isinstance(talk.events[1], Command)
    assert matches("from:@x", talk.events)


# A century before and after now, in which a float still tells microseconds apart.
DATES = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1))


@given(DATES, DATES)
@example(datetime(2100, 2, 28), datetime(2100, 3, 1))
@example(datetime(1969, 12, 31, 23, 0, 0, 23), datetime(1969, 12, 31, 23, 0, 0, 23))
def test_dates_are_those_of_the_calendar(started: datetime, other: datetime) -> None:
    talk = Conversation(started=f"{started.isoformat(timespec='microseconds')}Z")
    assert matches(f"before:{other.isoformat()}", talk.events) is (started < other)
    assert matches(f"after:{other.isoformat()}", talk.events) is (started >= other)


@given(DATES)
def test_time_is_counted_as_clocks_do(started: datetime) -> None:
    seconds = started_seconds(f"{started.isoformat(timespec='microseconds')}Z")
    assert seconds == pytest.approx(started.replace(tzinfo=UTC).timestamp(), abs=1e-5)
