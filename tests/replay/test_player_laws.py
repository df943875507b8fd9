"""What holds for every session: a server that says what was recorded is the same, and none is too odd."""

from hypothesis import given, settings
from hypothesis import strategies as st

from smtpproxy.replay.exchange import (
    Ask,
    Connect,
    Connected,
    Gone,
    Hear,
    Heard,
    Pause,
    Said,
    Say,
    Silent,
    Told,
    Upgrade,
    Upgraded,
)
from smtpproxy.replay.player import play
from smtpproxy.replay.results import SessionResult
from smtpproxy.replay.script import Script
from smtpproxy.session.events import TlsInfo
from tests.conversation import Conversation
from tests.replay.playing import plan_for, script_of

CODES = st.sampled_from(
    ["250 ok", "251 forwarded", "421 bye", "450 later", "503 order", "550 no", "250-two\r\n250 lines"]
)
TEXT = st.text(st.characters(codec="ascii", exclude_categories=["C"]), max_size=30)


@st.composite
def sessions(draw: st.DrawFn) -> Conversation:
    """Any order of commands, groups, messages and chunks, with any replies."""
    talk = Conversation()
    if draw(st.booleans()):
        talk.tls("server")
    talk.server("220 mx").client("EHLO app").server("250-mx", "250-PIPELINING", "250 CHUNKING")
    for group in range(1, draw(st.integers(0, 5)) + 1):
        kind = draw(st.sampled_from(["group", "message", "chunk", "starttls"]))
        if kind == "message":
            talk.client("DATA").server("354 go").content(draw(TEXT) + "\r\n").server(draw(CODES))
        elif kind == "chunk":
            talk.chunk(draw(st.binary(max_size=40)), last=draw(st.booleans())).server(draw(CODES))
        elif kind == "starttls":
            talk.client("STARTTLS").server("220 go").tls("server")
            talk.client("EHLO app").server("250-mx", "250-PIPELINING", "250 CHUNKING")
        else:
            verbs = draw(
                st.lists(st.sampled_from(["MAIL FROM:<a@b>", "RCPT TO:<c@d>", "RSET", "NOOP"]), min_size=1)
            )
            first = talk.n + 1
            for verb in verbs:
                talk.client(f"{verb}", group=group)
            for number in range(len(verbs)):
                talk.server(draw(CODES), answers=first + number)
    return talk.end("empty", reason="client-eof")


class Echo:
    """A server that knows the script: to each step that is said it answers what was recorded."""

    def __init__(self, script: Script) -> None:
        self.said = b""
        self._script = script
        self._replies = [reply.raw for step in script.steps for reply in step.replies]

    def answer(self, ask: Ask) -> Told:
        match ask:
            case Connect():
                return Connected(tls=TlsInfo(version="TLSv1.3") if ask.is_tls else None)
            case Say():
                self.said += b"".join(ask.pieces)
                return Said()
            case Hear():
                return Heard(raw=self._replies.pop(0)) if self._replies else Silent(seconds=ask.timeout_s)
            case Upgrade():
                return Upgraded(tls=TlsInfo(version="TLSv1.3"))
            case Pause():
                return Said()


def played(script: Script, server: "Echo | Adverse", to: str) -> SessionResult:
    exchange = play(script, plan_for(to))
    try:
        ask = next(exchange)
        while True:
            ask = exchange.send(server.answer(ask))
    except StopIteration as stop:
        result: SessionResult = stop.value
        return result


def octets_of(script: Script) -> bytes:
    """All that the recorded client said."""
    said = b""
    for step in script.steps:
        said += step.raw + (b"".join(step.body.pieces()) if step.body else b"")
        said += b".\r\n" if step.kind == "content" else b""
    return said


@given(sessions())
@settings(max_examples=200, deadline=None)
def test_a_server_that_says_what_was_recorded_is_the_same(talk: Conversation) -> None:
    script = script_of(talk)
    echo = Echo(script)
    result = played(script, echo, "smtps://127.0.0.1" if script.is_implicit_tls else "smtp://127.0.0.1")
    if "421" in str([step.expected for step in result.steps[:-1]]):
        # Behind a 421 a server is gone, whatever the recording says.
        return
    if script.is_implicit_tls and any(step.verb == "STARTTLS" for step in script.steps):
        return
    assert (result.status, result.differences) == ("same", ())
    assert echo.said == octets_of(script)


ANYTHING = [f"{code} x\r\n".encode() for code in (220, 235, 250, 334, 353, 354, 421, 450, 550)]
ANYTHING.append(b"250-PIPELINING\r\n250 CHUNKING\r\n")


class Adverse:
    """A server that answers anything at any time."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw

    def answer(self, ask: Ask) -> Told:
        ends = st.sampled_from([Gone(reason="gone"), Silent(seconds=1.0)])
        match ask:
            case Connect():
                return Connected()
            case Say():
                b"".join(ask.pieces)
                return Said()
            case Hear():
                replies = st.sampled_from(ANYTHING)
                garbled = st.builds(Heard, raw=st.binary(max_size=9), is_garbled=st.just(True))
                return self._draw(st.one_of(st.builds(Heard, raw=replies), garbled, ends))
            case Upgrade():
                return Upgraded(tls=TlsInfo(error=self._draw(st.sampled_from(["", "no"]))))
            case Pause():
                return Said()


@given(st.data(), sessions(), st.sampled_from(["smtp://127.0.0.1", "smtp+starttls://127.0.0.1"]))
@settings(max_examples=200, deadline=None)
def test_whatever_a_server_says_every_step_has_a_verdict(
    data: st.DataObject, talk: Conversation, to: str
) -> None:
    script = script_of(talk)
    result = played(script, Adverse(data.draw), to)
    assert [step.number for step in result.steps] == [step.number for step in script.steps]
    missed = {step.number for step in result.steps if step.verdict == "not-played"}
    # What was not played is always told as a difference.
    assert not missed or any(found.what == "not-played" for found in result.differences)
    assert (result.status == "same") == (not result.differences)
