"""Plausible recorded sessions for hypothesis: hellos, logins, transactions that succeed or do not."""

from typing import Any

from hypothesis import strategies as st
from msgspec import UNSET

from smtpproxy.session.events import Redacted
from tests.conversation import Conversation

ADDRESSES = st.sampled_from(
    ["alice@example.com", "Bob.B@EXAMPLE.org", '"o > dd"@example.net', "ü@example.com"]
)
PARAMETERS = st.sampled_from(["", " SIZE=12", " BODY=8BITMIME", " BODY=8BITMIME SIZE=9 SMTPUTF8", " AUTH=<>"])
BODIES = st.sampled_from(
    [
        b"",
        b"Subject: hi\r\n\r\nHello\r\n",
        b"Subject: dots\r\n\r\n..\r\n..dot\r\n",
        b"Date: today\r\nMessage-ID: <1@x>\r\nSubject: x\r\n\r\nbody\r\n",
        b"Content-Type: multipart/mixed; boundary=abc\r\n\r\n--abc\r\n\r\none\r\n--abc--\r\n",
        b"no header at all\r\n",
        b"\xff\xfe not text\r\n",
        b"x" * 3000 + b"\r\n",
    ]
)
SIDE_COMMANDS = st.sampled_from(
    [
        ("NOOP", "250 ok"),
        ("RSET", "250 2.0.0 reset"),
        ("VRFY bob", "252 who knows"),
        ("HELP", "214-help\n214 yourself"),
    ]
)


class _Builder:
    """Draws one session."""

    def __init__(self, draw: Any, session: str, *, is_lmtp: bool) -> None:
        self.draw = draw
        self.is_lmtp = is_lmtp
        self.talk = Conversation(session)

    def build(self) -> Conversation:
        talk, draw = self.talk, self.draw
        if draw(st.integers(0, 9)) == 0:
            return talk.server("554 5.7.1 go away").end("rejected", "server-eof")
        talk.server(*draw(st.sampled_from([("220 mx ESMTP",), ("220-mx", "220 welcome")])))
        talk.client(f"{'LHLO' if self.is_lmtp else 'EHLO'} app.example.com")
        talk.server("250-mx", "250-PIPELINING", "250-CHUNKING", "250 AUTH PLAIN")
        if draw(st.booleans()):
            self._log_in()
        for _ in range(draw(st.integers(0, 3))):
            if draw(st.booleans()):
                line, reply = draw(SIDE_COMMANDS)
                talk.client(line).server(*reply.split("\n"))
            else:
                self._transact()
        ending = draw(st.sampled_from(["quit", "client-eof", "server-eof"]))
        if ending == "quit":
            talk.client("QUIT").server("221 2.0.0 bye")
        elif ending == "server-eof":
            talk.server("421 4.4.2 idle too long")
            talk.events[-1].answers = UNSET  # type: ignore[union-attr]
        return talk.end("empty", ending)

    def _log_in(self) -> None:
        talk = self.talk
        talk.client("AUTH PLAIN {{secret}}", mechanism="PLAIN", identity="alice")
        talk.events[-1].redacted = [Redacted(at=11, kind="password", length=24)]  # type: ignore[union-attr]
        talk.server(self.draw(st.sampled_from(["235 2.7.0 in", "535 5.7.8 no"])))

    def _transact(self) -> None:
        talk, draw = self.talk, self.draw
        talk.client(f"MAIL FROM:<{draw(ADDRESSES)}>{draw(PARAMETERS)}").server("250 2.1.0 ok")
        accepted = 0
        for _ in range(draw(st.integers(1, 3))):
            is_accepted = draw(st.booleans())
            accepted += is_accepted
            talk.client(f"RCPT TO:<{draw(ADDRESSES)}>")
            talk.server("250 2.1.5 ok" if is_accepted else "550 5.1.1 unknown")
        if not accepted:
            talk.client("RSET").server("250 2.0.0 reset")
            return
        replies = [
            f"250 2.0.0 queued as {draw(st.integers(0, 99))}" for _ in range(accepted if self.is_lmtp else 1)
        ]
        body = draw(BODIES)
        if draw(st.booleans()):
            talk.client("DATA").server("354 go").content(*([body] if body else []))
        else:
            cut = draw(st.integers(0, len(body)))
            if cut:
                talk.chunk(body[:cut]).server(f"250 2.0.0 {cut} octets")
            talk.chunk(body[cut:], last=True)
        for reply in replies:
            talk.server(reply)


@st.composite
def conversations(draw: Any, *, session: str = "01KGENERATED", is_lmtp: bool = False) -> Conversation:
    """One session of the client's leg."""
    return _Builder(draw, session, is_lmtp=is_lmtp).build()
