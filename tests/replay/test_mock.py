"""A mock as an app meets it: what matches is answered as recorded, what does not is refused and told."""

import msgspec
import pytest

from smtpproxy.errors import ReplayError
from smtpproxy.recording.overrides import Match, Overrides
from smtpproxy.replay.mock import Mock
from smtpproxy.replay.results import SessionResult
from tests.conversation import PROXY, Conversation, delivery
from tests.replay.app import App, client_script, only

MESSAGE = b"Subject: Hello\r\nFrom: Alice <alice@example.com>\r\n\r\nHi Bob,\r\n..dotted\r\n.\r\n"


def mock_of(*talks: Conversation, overrides: Overrides | None = None, match: Match | None = None) -> Mock:
    return Mock([client_script(talk, overrides=overrides) for talk in talks], match=match)


def whats(result: SessionResult) -> list[tuple[str, int]]:
    return [(difference.what, difference.step) for difference in result.differences]


def to_data(app: App) -> None:
    """Say all that comes before the message."""
    for line in ("EHLO other", "MAIL FROM:<alice@example.com>", "RCPT TO:<bob@example.com>"):
        assert app.say(line).startswith(("220", "250"))
    assert app.say("RCPT TO:<carol@example.com>") == "250 2.1.5 ok"
    assert app.say("DATA") == "354 go"


def greeting(session: str, words: str) -> Conversation:
    """A session that only says goodbye."""
    return Conversation(session).server(words).client("QUIT").server("221 bye").end("empty")


# ---- what matches


def test_the_recorded_provider_answers() -> None:
    mock = mock_of(delivery())
    app = App(mock)
    assert app.greeting == "220 mx ESMTP"
    assert app.say("ehlo somebody.else") == "250-mx\n250 PIPELINING"
    assert app.say("MAIL FROM:<alice@EXAMPLE.com> SIZE=4711") == "250 2.1.0 ok"
    assert app.say("RCPT TO:<bob@example.com>") == "250 2.1.5 ok"
    assert app.say("RCPT TO:<carol@example.com>") == "250 2.1.5 ok"
    assert app.say("DATA") == "354 go"
    assert app.say(b"Date: now\r\nMessage-ID: <1@x>\r\n" + MESSAGE) == "250 2.0.0 queued as 4F1"
    assert app.say("QUIT") == "221 2.0.0 bye"
    assert not mock.is_exhausted
    app.leave()
    app.finish()
    assert mock.is_exhausted
    result = only(mock)
    assert (result.status, result.differences) == ("same", ())
    assert (result.session, result.source, result.line) == (
        "01KAAAAAAAAAAAAAAAAAAAAAAA",
        "mail.smtp.jsonl",
        1,
    )
    assert [step.verdict for step in result.steps] == ["same"] * 8


def test_pipelining_does_not_count() -> None:
    mock = mock_of(delivery())
    app = App(mock)
    assert app.greeting
    heard = app.say(
        b"EHLO x\r\nMAIL FROM:<alice@example.com>\r\nRCPT TO:<bob@example.com>\r\n"
        b"RCPT TO:<carol@example.com>\r\nDATA\r\n"
    )
    assert heard.endswith("354 go")
    assert app.say(MESSAGE + b"QUIT\r\n") == "250 2.0.0 queued as 4F1\n221 2.0.0 bye"
    app.leave()
    assert only(mock).status == "same"


def test_sessions_are_given_out_in_the_order_of_accept() -> None:
    talks = [greeting(f"S{n}", f"220 number {n}") for n in range(3)]
    mock = mock_of(*talks)
    apps = [App(mock) for _ in talks]
    assert [app.greeting for app in apps] == ["220 number 0", "220 number 1", "220 number 2"]
    for app in reversed(apps):
        assert app.say("QUIT") == "221 bye"
        app.leave()
    assert [result.session for result in mock.results()] == ["S0", "S1", "S2"]
    assert {result.status for result in mock.results()} == {"same"}


def test_one_session_too_many() -> None:
    mock = mock_of(greeting("S0", "220 hi"))
    first_app = App(mock)
    first_app.say("QUIT")
    first_app.leave()
    late = App(mock)
    assert late.greeting.startswith("421 4.3.2 smtpproxy mock: one session too many: 1 recorded session")
    assert late.client.ended == "fin"
    late.leave()
    first, second = mock.results()
    assert first.status == "same"
    assert (second.status, second.session) == ("differs", "")
    assert "too many" in second.differences[0].text


def test_a_health_probe_takes_no_recorded_session() -> None:
    mock = mock_of(delivery())
    App(mock).leave()
    assert not mock.is_exhausted
    app = App(mock)
    assert app.greeting == "220 mx ESMTP"
    app.rerun(client_script(delivery()))
    assert [result.status for result in mock.results()] == ["same"]


def test_a_health_probe_that_was_recorded_is_given_to_nobody() -> None:
    probe = Conversation("S0").server("220 mx").end("empty", "client-eof")
    mock = mock_of(probe, delivery("S1"))
    App(mock).rerun(client_script(delivery()))
    first, second = mock.results()
    assert (first.status, second.status) == ("same", "same")
    assert first.notes == ("nothing was said in it, as by a health check: it is not given out",)
    assert mock.is_exhausted


def test_whoever_waits_is_told_when_the_last_session_has_ended() -> None:
    mock = mock_of(delivery("S0"), delivery("S1"))
    told: list[bool] = []
    mock.on_change = lambda: told.append(mock.is_exhausted)
    for _ in range(2):
        App(mock).rerun(client_script(delivery()))
    assert told == [False, True]


# ---- what does not


def test_another_recipient_is_refused_and_may_be_put_right() -> None:
    mock = mock_of(delivery())
    app = App(mock)
    app.say("EHLO x")
    app.say("MAIL FROM:<alice@example.com>")
    refused = app.say("RCPT TO:<carol@example.com>")
    assert refused == "550 5.5.0 smtpproxy mock: step 4 expects RCPT TO:<bob@example.com>"
    assert app.say("RSET") == "250 2.0.0 Ok"
    assert app.say("RCPT TO:<bob@example.com>") == "250 2.1.5 ok"
    app.say("RCPT TO:<carol@example.com>")
    app.say("DATA")
    app.say(MESSAGE)
    assert app.say("QUIT") == "221 2.0.0 bye"
    app.leave()
    [difference] = only(mock).differences
    assert (difference.what, difference.step, difference.n) == ("unmatched", 4, 6)
    assert difference.fields == (("address", "<bob@example.com>", "<carol@example.com>"),)
    assert difference.nearest == "that is step 5 (RCPT TO:<carol@example.com>), 1 step further on"
    assert '"match":{"steps":[{"n":6,"ignore":true}]}' in difference.fix
    assert "mail.smtp.jsonl:1" in difference.fix


def test_what_follows_from_a_failure_is_no_further_one() -> None:
    mock = mock_of(delivery())
    app = App(mock)
    app.say("EHLO x")
    assert app.say("MAIL FROM:<mallory@example.com>").startswith("550 5.5.0 ")
    assert app.say("RCPT TO:<bob@example.com>").startswith("550 5.5.0 ")
    assert app.say("DATA").startswith("554 5.5.0 ")
    assert app.say("QUIT") == "221 2.0.0 bye"
    app.leave()
    result = only(mock)
    assert whats(result) == [("unmatched", 3), *(("not-played", step) for step in (4, 5, 6, 7))]
    assert result.differences[1].text == "not played: the app ended the session before; see step 3"
    assert result.notes == ("after that 2 more of what the app said did not match",)
    verdicts = [step.verdict for step in result.steps]
    assert verdicts == ["same", "same", "differs", *["not-played"] * 4, "same"]


def test_the_rule_that_a_failure_names_puts_it_right() -> None:
    mock = mock_of(delivery())
    app = App(mock)
    app.say("EHLO x")
    app.say("MAIL FROM:<mallory@example.com>")
    app.leave()
    fix = only(mock).differences[0].fix
    rule = "{" + fix.split(" add ")[1].split(" to the session line")[0] + "}"
    again = mock_of(delivery(), overrides=msgspec.json.decode(rule, type=Overrides))
    app = App(again)
    app.say("EHLO x")
    assert app.say("MAIL FROM:<mallory@example.com>") == "250 2.1.0 ok"


def test_another_message_is_refused_and_the_session_goes_on() -> None:
    mock = mock_of(delivery())
    app = App(mock)
    to_data(app)
    heard = app.say(MESSAGE.replace(b"Hello", b"Good bye"))
    assert heard == "554 5.5.0 smtpproxy mock: the message of step 7 differs in subject"
    assert app.say("QUIT") == "221 2.0.0 bye"
    app.leave()
    [difference] = only(mock).differences
    assert (difference.what, difference.step) == ("unmatched", 7)
    assert difference.fields == (("subject", "Hello", "Good bye"),)
    assert '"match":{"ignore_headers":["subject"]}' in difference.fix


def test_a_message_far_too_long_is_refused_by_its_size() -> None:
    mock = mock_of(delivery())
    app = App(mock)
    to_data(app)
    assert app.say(MESSAGE[:-3] + b"x" * 200_000 + b"\r\n.\r\n").startswith("554 5.5.0 ")
    app.say("QUIT")
    app.leave()
    assert only(mock).differences[0].fields == (("size", "70 octets", "200072 octets"),)


def test_leaving_early_leaves_steps_that_were_not_played() -> None:
    mock = mock_of(delivery())
    app = App(mock)
    app.say("EHLO x")
    assert app.say("QUIT") == "221 2.0.0 bye"
    app.leave()
    assert whats(only(mock)) == [("not-played", step) for step in (3, 4, 5, 6, 7)]


def test_leaving_without_quit_is_a_step_not_played() -> None:
    mock = mock_of(delivery())
    app = App(mock)
    to_data(app)
    app.say(MESSAGE)
    app.leave()
    assert whats(only(mock)) == [("not-played", 8)]


def test_a_session_that_no_app_came_for() -> None:
    mock = mock_of(delivery("S0"), delivery("S1"))
    App(mock).rerun(client_script(delivery()))
    first, second = mock.results()
    assert (first.status, second.status) == ("same", "differs")
    assert second.differences[0].text == "not played: no session of the app came for this recording"
    assert {step.verdict for step in second.steps} == {"not-played"}


def test_more_than_was_recorded() -> None:
    mock = mock_of(
        Conversation().server("220 hi").client("EHLO a").server("250 hi").end("empty", "client-eof")
    )
    app = App(mock)
    app.say("EHLO a")
    assert app.say("NOOP") == "503 5.5.1 smtpproxy mock: this is the end of the session"
    app.leave()
    [difference] = only(mock).differences
    assert difference.text == "the app said NOOP, and nothing more was recorded"


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        ("HELO x", "550 smtpproxy mock: step 2 expects EHLO app"),
        ("STARTTLS", "502 5.5.1 smtpproxy mock: step 2 expects EHLO app"),
        ("VRFY bob", "550 5.5.0 smtpproxy mock: step 2 expects EHLO app"),
        ("WHATEVER", "503 5.5.1 smtpproxy mock: step 2 expects EHLO app"),
        ("", "503 5.5.1 smtpproxy mock: step 2 expects EHLO app"),
    ],
)
def test_the_refusal_fits_the_command(line: str, reply: str) -> None:
    app = App(mock_of(delivery()))
    assert app.greeting
    assert app.say(line) == reply


def test_a_refusal_is_one_printable_line_of_at_most_512_octets() -> None:
    talk = Conversation().server("220 hi").client("EHLO " + "ü" * 700).server("250 hi").end()
    app = App(mock_of(talk))
    app.reply()
    heard = app.say("MAIL FROM:<a@b>")
    assert len(heard) <= 510
    assert heard.isascii()
    assert heard.isprintable()


def test_a_password_in_the_wrong_place_is_in_no_result() -> None:
    mock = mock_of(delivery())
    app = App(mock)
    app.say("c2VjcmV0LXBhc3N3b3Jk")
    app.say("EHLO x")
    app.say("AUTH PLAIN AGFsaWNlAHNlc2FtZQ==")
    app.leave()
    told = msgspec.json.encode(list(mock.results()))
    assert b"c2VjcmV0" not in told
    assert b"AGFsaWNl" not in told
    assert b"a line of 22 octets that is no command" in told
    assert b'"actual":"AUTH PLAIN"' in told


# ---- overrides


def test_the_users_rules_go_over_the_headers() -> None:
    overrides = Overrides(match=Match(content="ignore", ignore_headers=("x-a",)))
    mock = mock_of(delivery(), overrides=overrides, match=Match(addresses="domain"))
    app = App(mock)
    app.say("EHLO x")
    app.say("MAIL FROM:<anybody@example.com>")
    app.say("RCPT TO:<b@example.com>")
    app.say("RCPT TO:<c@example.com>")
    app.say("DATA")
    assert app.say("anything\r\n.") == "250 2.0.0 queued as 4F1"
    app.say("QUIT")
    app.leave()
    assert only(mock).status == "same"


@pytest.mark.parametrize(
    ("message", "fields"),
    [
        (MESSAGE, ()),
        (MESSAGE.replace(b"Hi Bob", b"Hi bob"), (("line 4", "Hi Bob,\\r", "Hi bob,\\r"),)),
        (MESSAGE.replace(b"Hi", b"\r\nHi"), (("line 4", "Hi Bob,\\r", "\\r"),)),
        (MESSAGE[:-3] + b"\r\n.\r\n", (("line 6", "", "\\r"),)),
    ],
)
def test_every_octet_of_a_message_can_count(message: bytes, fields: tuple[tuple[str, str, str], ...]) -> None:
    mock = mock_of(delivery(), match=Match(content="exact"))
    app = App(mock)
    to_data(app)
    app.say(message)
    app.say("QUIT")
    app.leave()
    assert [difference.fields for difference in only(mock).differences] == ([fields] if fields else [])


# ---- chunks, LMTP, endings


def chunked() -> Conversation:
    return (
        Conversation()
        .server("220 mx")
        .client("EHLO app")
        .server("250-mx", "250 CHUNKING")
        .client("MAIL FROM:<a@example.com>")
        .server("250 ok")
        .client("RCPT TO:<b@example.com>")
        .server("250 ok")
        .chunk(b"Subject: hi\r\n\r\n")
        .server("250 15 octets")
        .chunk(b"Hello\r\n", last=True)
        .server("250 done")
        .client("QUIT")
        .server("221 bye")
        .end()
    )


def before_chunks(app: App) -> None:
    for line in ("EHLO x", "MAIL FROM:<a@example.com>", "RCPT TO:<b@example.com>"):
        app.say(line)


def test_chunks_are_compared_together() -> None:
    mock = mock_of(chunked())
    app = App(mock)
    before_chunks(app)
    assert app.say(b"BDAT 31\r\nDate: today\r\nSubject: hi\r\n\r\nHe") == ""
    assert app.say(b"l") == "250 15 octets"
    assert app.say(b"BDAT 4 LAST\r\nlo\r\n") == "250 done"
    app.say("QUIT")
    app.leave()
    assert only(mock).differences == ()


def test_chunks_that_make_another_message() -> None:
    mock = mock_of(chunked())
    app = App(mock)
    before_chunks(app)
    app.say(b"BDAT 15\r\nSubject: hi\r\n\r\n")
    assert app.say(b"BDAT 5 LAST\r\nBye\r\n").startswith(
        "554 5.5.0 smtpproxy mock: the message of step 6 differs"
    )
    app.say("QUIT")
    app.leave()
    assert whats(only(mock)) == [("unmatched", 6)]


def test_data_is_not_bdat() -> None:
    mock = mock_of(chunked())
    app = App(mock)
    before_chunks(app)
    assert app.say("DATA") == "554 5.5.0 smtpproxy mock: step 5 expects BDAT 15"
    app.leave()
    assert only(mock).differences[0].text == "the app said DATA where the recording has BDAT 15"


def lmtp() -> Conversation:
    return (
        Conversation()
        .server("220 lmtp")
        .client("LHLO app")
        .server("250 lmtp")
        .client("MAIL FROM:<a@example.com>")
        .server("250 ok")
        .client("RCPT TO:<b@example.com>")
        .server("250 ok")
        .client("RCPT TO:<c@example.com>")
        .server("250 ok")
        .client("DATA")
        .server("354 go")
        .content("Hi\r\n")
        .server("250 kept for b")
        .server("452 full for c")
        .client("QUIT")
        .server("221 bye")
        .end("partial")
    )


def test_lmtp_answers_for_each_recipient() -> None:
    mock = mock_of(lmtp())
    app = App(mock, is_lmtp=True)
    for line in (
        "LHLO x",
        "MAIL FROM:<a@example.com>",
        "RCPT TO:<b@example.com>",
        "RCPT TO:<c@example.com>",
        "DATA",
    ):
        app.say(line)
    assert app.say("Hi\r\n.") == "250 kept for b\n452 full for c"
    app.say("QUIT")
    app.leave()
    assert only(mock).status == "same"


def test_lmtp_refuses_for_each_recipient() -> None:
    mock = mock_of(lmtp())
    app = App(mock, is_lmtp=True)
    for line in (
        "LHLO x",
        "MAIL FROM:<a@example.com>",
        "RCPT TO:<b@example.com>",
        "RCPT TO:<c@example.com>",
        "DATA",
    ):
        app.say(line)
    assert [line[:10] for line in app.say("Ho\r\n.").split("\n")] == ["554 5.5.0 ", "554 5.5.0 "]


def greeted() -> Conversation:
    return Conversation().server("220 hi").client("EHLO a").server("250 hi")


@pytest.mark.parametrize(("reason", "ended"), [("server-eof", "close"), ("server-reset", "reset")])
def test_a_connection_that_was_cut_is_cut_again(reason: str, ended: str) -> None:
    mock = mock_of(greeted().client("MAIL FROM:<a@example.com>").end("aborted", reason))
    app = App(mock)
    app.say("EHLO x")
    assert app.say("MAIL FROM:<a@example.com>") == ""
    assert app.client.ended == ended
    assert only(mock).status == "same"


def test_what_the_server_said_unasked_is_said_and_the_session_closed() -> None:
    talk = greeted()
    talk.server("421 4.4.2 idle too long")
    talk.events[-1].answers = msgspec.UNSET  # type: ignore[union-attr]
    mock = mock_of(talk.end("failed", "server-eof"))
    app = App(mock)
    assert app.greeting
    assert app.say("EHLO x") == "250 hi\n421 4.4.2 idle too long"
    assert app.client.ended == "fin"
    app.leave()
    assert only(mock).status == "same"


def test_a_refusal_by_the_proxy_is_the_recorded_providers() -> None:
    talk = (
        Conversation()
        .server("421 4.4.1 smtpproxy: cannot reach mx", from_=PROXY)
        .end("failed", "upstream-unreachable")
    )
    mock = mock_of(talk)
    app = App(mock)
    assert app.greeting == "421 4.4.1 smtpproxy: cannot reach mx"
    assert app.client.ended == "fin"
    app.leave()
    assert only(mock).status == "same"


def test_a_message_that_was_refused_in_its_middle_is_refused_behind_it() -> None:
    talk = greeted().client("MAIL FROM:<a@example.com>").server("250 ok").client("RCPT TO:<b@example.com>")
    talk.server("250 ok").client("DATA").server("354 go")
    data = talk.n - 1
    talk.content("Hi\r\n", end="").server("552 5.3.4 too big", answers=data)
    talk.content(end=b".\r\n").client("QUIT").server("221 bye").end("rejected")
    mock = mock_of(talk)
    app = App(mock)
    for line in ("EHLO x", "MAIL FROM:<a@example.com>", "RCPT TO:<b@example.com>"):
        app.say(line)
    assert app.say("DATA") == "354 go"
    assert app.say("Hi\r\n.") == "552 5.3.4 too big"
    app.say("QUIT")
    app.leave()
    assert only(mock).status == "same"


def test_where_the_server_left_in_the_middle_of_a_message_the_app_may_have_more_of_it() -> None:
    """How the recorded app would have gone on is not known."""
    talk = greeted().client("MAIL FROM:<a@example.com>").server("250 ok").client("RCPT TO:<b@example.com>")
    talk.server("250 ok").client("DATA").server("354 go").server("552 5.3.4 too big", answers=0)
    talk.content("Hi\r\n", end="").end("aborted", "server-eof")
    mock = mock_of(talk)
    app = App(mock)
    for line in ("EHLO x", "MAIL FROM:<a@example.com>", "RCPT TO:<b@example.com>", "DATA"):
        app.say(line)
    assert app.say("Hi\r\nand more\r\n.") == "552 5.3.4 too big"
    assert app.client.ended == "fin"
    app.leave()
    assert only(mock).status == "same"


def test_the_recorded_latency_is_kept_on_request() -> None:
    talk = Conversation().server("220 hi").client("EHLO a")
    talk.server("250 hi").end()
    talk.events[3].t = 2.52
    app = App(Mock([client_script(talk)], paces=True))
    app.passes("delay")
    assert app.greeting == "220 hi"
    assert app.say("EHLO x") == ""
    assert app.waits["delay"] == pytest.approx(2.5)
    app.passes("delay")
    assert app.reply() == "250 hi"


# ---- what cannot be played


def test_a_gap_cannot_be_played() -> None:
    with pytest.raises(ReplayError, match=r"mail\.smtp\.jsonl: session 01KA.* step 1: 3 events are missing"):
        mock_of(Conversation().server("220 hi").gap().end())


@pytest.mark.parametrize("raw", ["hello\r\n", "250 hi", "", "250 one\r\n250 and another\r\n"])
def test_what_is_not_one_reply_cannot_be_said(raw: str) -> None:
    talk = Conversation().server("220 hi").client("EHLO a").server("250 hi").end()
    talk.events[3].raw = raw  # type: ignore[union-attr]
    with pytest.raises(ReplayError, match="event 3, in reply to step 2, is not one reply"):
        mock_of(talk)


def test_a_step_without_a_reply_is_told() -> None:
    """The app waits for a reply that the recording has not, and must learn why."""
    talk = Conversation().server("220 hi").client("EHLO a").client("NOOP").client("QUIT").server("221 bye")
    mock = mock_of(talk.end())
    app = App(mock)
    app.say("EHLO a")
    app.leave()
    assert only(mock).notes == ("the recording has no reply to step 2, so that the app got none",)


def test_a_message_recorded_as_a_digest_is_compared_by_it() -> None:
    talk = greeted().client("MAIL FROM:<a@example.com>").server("250 ok").client("RCPT TO:<b@example.com>")
    talk.server("250 ok").client("DATA").server("354 go").digested(4)
    talk.content(end=b".\r\n").server("250 kept").end()
    mock = mock_of(talk)
    app = App(mock)
    for line in ("EHLO x", "MAIL FROM:<a@example.com>", "RCPT TO:<b@example.com>", "DATA"):
        app.say(line)
    assert app.say("Hi\r\n.").startswith("554 5.5.0 ")
    app.leave()
    assert only(mock).differences[0].fields[0][0] == "sha256"
