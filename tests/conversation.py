"""Builds a session's events as they would be recorded, one call for each thing said; it sends nothing."""

from typing import Any

from smtpproxy.session.events import (
    FORMAT,
    AnyEvent,
    Auth,
    Command,
    Content,
    End,
    Finding,
    Gap,
    Leg,
    Opaque,
    Outcome,
    Party,
    Reply,
    SessionStarted,
    Tls,
    set_octets,
)

CLIENT: Party = "client"
SERVER: Party = "server"
PROXY: Party = "proxy"


class Conversation:
    """One session's events in order; each takes a hundredth of a second."""

    def __init__(
        self,
        session: str = "01KAAAAAAAAAAAAAAAAAAAAAAA",
        *,
        started: str = "",
        upstream: str = "smtp://mx.example.com:25",
    ) -> None:
        self.session = session
        self.events: list[AnyEvent] = []
        self._last_question: int | None = None
        self._message = 0
        self._add(
            SessionStarted,
            format=FORMAT,
            started=started or "2026-11-23T17:00:00.123456Z",
            route="default",
            client="127.0.0.1:50312",
            upstream=upstream,
            proxy="smtpproxy 0.1.0",
            listen="smtp://127.0.0.1:1025",
        )

    def client(self, line: str | bytes, *, to: Party = SERVER, **fields: Any) -> "Conversation":
        """The client says a command; CRLF is added to text."""
        octets = line if isinstance(line, bytes) else line.encode() + b"\r\n"
        verb = octets.split(maxsplit=1)[0].decode("ascii", "replace").upper() if octets.strip() else ""
        return self._say(Command, octets, CLIENT, to, verb=verb, **fields)

    def asks(self, line: str) -> "Conversation":
        """The proxy says a command to the server."""
        return self._say(Command, line.encode() + b"\r\n", PROXY, SERVER, verb=line.split()[0])

    def sasl(self, line: str, *, mechanism: str = "PLAIN", step: int = 1) -> "Conversation":
        """The client says a line of a SASL exchange."""
        return self._say(Auth, line.encode() + b"\r\n", CLIENT, SERVER, mechanism=mechanism, step=step)

    def server(
        self, *lines: str, answers: int | None = None, from_: Party = SERVER, to: Party = CLIENT
    ) -> "Conversation":
        """The server replies, to what was said last unless `answers` names the event."""
        raw = "".join(f"{line}\r\n" for line in lines).encode()
        about = self._last_question if answers is None else answers
        fields: dict[str, Any] = {} if about is None else {"answers": about}
        return self._say(Reply, raw, from_, to, code=int(lines[-1][:3]), **fields)

    def content(
        self, *pieces: str | bytes, end: str | bytes = b".\r\n", bdat: bool = False
    ) -> "Conversation":
        """The client sends a message in pieces; after DATA the terminator is a piece of its own."""
        self._message += 1
        octets = [piece if isinstance(piece, bytes) else piece.encode() for piece in pieces]
        if end and not bdat:
            octets.append(end if isinstance(end, bytes) else end.encode())
        for number, piece in enumerate(octets, 1):
            is_end = bool(end) and number == len(octets)
            self._say(Content, piece, CLIENT, SERVER, message=self._message, end=is_end)
        return self

    def digested(self, octets: int) -> "Conversation":
        """A piece of a message of which only length and digest were kept."""
        self._message += 1
        return self._add(
            Content,
            from_=CLIENT,
            to=SERVER,
            message=self._message,
            octets=octets,
            sha256="0" * 64,
        )

    def chunk(self, octets: bytes, *, last: bool = False) -> "Conversation":
        """The client sends a BDAT chunk: the command and its octets."""
        self.client(f"BDAT {len(octets)}{' LAST' if last else ''}", size=len(octets), last=last)
        command = self._last_question
        is_new = not self._is_in_chunks()
        self._message += is_new
        self._say(Content, octets, CLIENT, SERVER, message=self._message, end=last)
        self._last_question = command
        return self

    def opaque(self, octets: bytes, *, from_: Party = CLIENT, to: Party = SERVER) -> "Conversation":
        """Somebody says what is not read as SMTP."""
        return self._say(Opaque, octets, from_, to)

    def tls(self, leg: Leg, **fields: Any) -> "Conversation":
        """A handshake ends on a leg."""
        if "error" not in fields:
            fields = {"version": "TLSv1.3", "cipher": "TLS_AES_256_GCM_SHA384", **fields}
        return self._add(Tls, leg=leg, **fields)

    def finding(self, code: str, text: str = "something odd") -> "Conversation":
        """Something is found."""
        return self._add(Finding, code=code, text=text)

    def gap(self, *, events: int = 3, octets: int = 1234) -> "Conversation":
        """Some events could not be recorded."""
        return self._add(Gap, events=events, octets=octets, reason="the store was full")

    def end(self, outcome: Outcome = "delivered", reason: str = "quit") -> "Conversation":
        """The session is over."""
        return self._add(End, outcome=outcome, messages=self._message, reason=reason)

    @property
    def n(self) -> int:
        """The number of the event that happened last."""
        return self.events[-1].n

    def _is_in_chunks(self) -> bool:
        contents = [event for event in self.events if isinstance(event, Content)]
        return bool(contents) and not contents[-1].end

    def _say(self, kind: type[Any], octets: bytes, from_: Party, to: Party, **fields: Any) -> "Conversation":
        self._add(kind, from_=from_, to=to, **fields)
        set_octets(self.events[-1], octets)  # type: ignore[arg-type]
        if kind is not Reply:
            self._last_question = self.events[-1].n
        return self

    def _add(self, kind: type[Any], **fields: Any) -> "Conversation":
        n = len(self.events)
        self.events.append(kind(n=n, session=self.session, t=n / 100, **fields))
        return self


def delivery(
    session: str = "01KAAAAAAAAAAAAAAAAAAAAAAA",
    *,
    started: str = "",
    subject: str = "Hello",
    is_open: bool = False,
) -> Conversation:
    """A session in which one message is delivered to two recipients; whole, unless it is left open."""
    talk = (
        Conversation(session, started=started)
        .server("220 mx ESMTP")
        .client("EHLO app")
        .server("250-mx", "250 PIPELINING")
        .client("MAIL FROM:<alice@example.com> SIZE=42")
        .server("250 2.1.0 ok")
        .client("RCPT TO:<bob@example.com>")
        .server("250 2.1.5 ok")
        .client("RCPT TO:<carol@example.com>")
        .server("250 2.1.5 ok")
        .client("DATA")
        .server("354 go")
        .content(f"Subject: {subject}\r\nFrom: Alice <alice@example.com>\r\n\r\nHi Bob,\r\n..dotted\r\n")
        .server("250 2.0.0 queued as 4F1")
        .client("QUIT")
        .server("221 2.0.0 bye")
    )
    return talk if is_open else talk.end()
