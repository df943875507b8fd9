"""A session as a transcript that is redacted as it is said: builds the events that the core would make.

A secret in a line is written `<<kind:octets>>`, which is how the core's marks are set.
"""

import re

from smtpproxy.recording.codec import decode, encode
from smtpproxy.recording.redaction import Redactor
from smtpproxy.session.events import (
    UNSET,
    AnyEvent,
    Auth,
    Command,
    Content,
    Finding,
    Opaque,
    Party,
    Redacted,
    Reply,
    SpokenEvent,
    octets_of,
    set_octets,
)
from smtpproxy.wire.commands import verb_of

_MARK = re.compile(rb"<<([a-z-]+):(.*?)>>", re.DOTALL)


class Talk:
    """One session; each method says something and returns what is recorded of it, as octets."""

    def __init__(self, redactor: Redactor | None = None) -> None:
        self.redactor = redactor or Redactor()
        self.events: list[AnyEvent] = []
        self.n = 0
        self._step = 0
        self._asked = -1

    @property
    def lines(self) -> bytes:
        """All that would be written."""
        return b"\n".join(encode(event) for event in self.events)

    @property
    def octets(self) -> bytes:
        """What the recorded events carry, joined."""
        return b"".join(octets_of(event) for event in self.events if hasattr(event, "raw"))

    def record(self, event: AnyEvent) -> AnyEvent:
        """Give any event to the redactor; what is recorded also survives the line."""
        before = encode(event)
        redacted = self.redactor.redact(event)
        assert encode(event) == before  # whoever else holds the event sees no change
        assert decode(encode(redacted)) == redacted
        self.events.append(redacted)
        self.n += 1
        return redacted

    def client(self, line: str | bytes, *, identity: str = "", partial: bool = False) -> bytes:
        """A command line, or a piece of one."""
        raw, marks = _marked(line)
        verb = verb_of(raw)
        event = Command(
            n=self.n,
            session="s",
            t=float(self.n),
            from_="client",
            to="server",
            verb=verb,
            mechanism=raw.split()[1].upper().decode() if verb == "AUTH" and raw.split()[1:] else UNSET,
            identity=identity or UNSET,
            partial=partial,
            redacted=marks or UNSET,
        )
        self._asked = self.n
        self._step = 0
        return self._said(event, raw)

    def sasl(self, line: str | bytes, *, mechanism: str, identity: str = "", partial: bool = False) -> bytes:
        """A line after a 334; secret without its line end, as the core marks it, but for "", "*" and "="."""
        raw = line.encode() if isinstance(line, str) else line
        text = raw.rstrip(b"\r\n")
        self._step += 1
        event = Auth(
            n=self.n,
            session="s",
            t=float(self.n),
            from_="client",
            to="server",
            mechanism=mechanism,
            step=self._step,
            identity=identity or UNSET,
            partial=partial,
            redacted=[] if text in (b"", b"*", b"=") else [Redacted(at=0, kind="password", length=len(text))],
        )
        self._asked = self.n
        return self._said(event, raw)

    def server(self, reply: str | bytes, *, partial: bool = False) -> bytes:
        """A reply to what was said last."""
        raw, marks = _marked(reply)
        code = raw[:3].decode("ascii", "replace")
        event = Reply(
            n=self.n,
            session="s",
            t=float(self.n),
            from_="server",
            to="client",
            code=int(code) if code.isdigit() else UNSET,
            answers=self._asked if self._asked >= 0 else UNSET,
            partial=partial,
            redacted=marks or UNSET,
        )
        return self._said(event, raw)

    def content(self, data: str | bytes, *, message: int = 1, end: bool = False) -> bytes:
        """A piece of a message."""
        raw, _ = _marked(data)
        event = Content(
            n=self.n, session="s", t=float(self.n), from_="client", to="server", message=message, end=end
        )
        return self._said(event, raw)

    def opaque(self, from_: Party, data: str | bytes) -> bytes:
        """Octets that are not read as SMTP."""
        raw, marks = _marked(data)
        event = Opaque(
            n=self.n,
            session="s",
            t=float(self.n),
            from_=from_,
            to="server" if from_ == "client" else "client",
            redacted=marks or UNSET,
        )
        return self._said(event, raw)

    def finding(self, code: str, text: str) -> str:
        """A finding; returns its text."""
        event = self.record(Finding(n=self.n, session="s", t=float(self.n), code=code, text=text))
        assert isinstance(event, Finding)
        return event.text

    def _said(self, event: SpokenEvent, raw: bytes) -> bytes:
        set_octets(event, raw)
        recorded = self.record(event)
        for span in getattr(recorded, "redacted", UNSET) or ():
            assert octets_of(recorded)[span.at :].startswith(b"{{secret}}")  # type: ignore[arg-type]
        return octets_of(recorded)  # type: ignore[arg-type]


def _marked(line: str | bytes) -> tuple[bytes, list[Redacted]]:
    """The octets of a line, and the spans that are written into it."""
    text = line.encode() if isinstance(line, str) else line
    raw = b""
    marks = []
    done = 0
    for match in _MARK.finditer(text):
        raw += text[done : match.start()]
        marks.append(Redacted(at=len(raw), kind=match[1].decode(), length=len(match[2])))
        raw += match[2]
        done = match.end()
    return raw + text[done:], marks
