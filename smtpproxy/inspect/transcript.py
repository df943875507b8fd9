"""Events as the lines that people read, with swaks's marks; it knows no colour, no terminal and no clock.

    ` ->` client to server   `<- ` server to client    relayed as it came
    `->|` client to proxy    `<-|` proxy to client     the bar is the proxy: asked or answered by smtpproxy
    `|->` proxy to server    `|<-` server to proxy
    `===` what smtpproxy has to tell                   `***` the same, where something failed

A tilde for the dash (` ~>`, `<~ `, `|~>`…) says that TLS protected the line on the speaker's leg; for what
the proxy says, on the leg it says it on. So a plain app before an encrypted provider reads ` ->` and `<~ `.
Sandbox and mock have no leg of their own: what they say is said on the client's.
"""

from collections.abc import Iterator
from typing import Final, Literal, assert_never

import msgspec

from smtpproxy.endpoints import Endpoint
from smtpproxy.inspect.summary import size_of, text_of
from smtpproxy.session.events import (
    AnyEvent,
    Auth,
    Command,
    Content,
    End,
    Finding,
    Gap,
    Leg,
    Opaque,
    Party,
    Preface,
    Reply,
    SessionStarted,
    SpokenEvent,
    Tls,
    octets_of,
)
from smtpproxy.wire.escape import escape

Style = Literal["client", "server", "rejection", "proxy", "content", "info", "finding", "failure"]

MAX_LINE_CHARACTERS: Final = 2000
"""What is shown of one line of the conversation."""
MAX_OPAQUE_LINES: Final = 20
"""Lines shown of one piece of conversation that is not read as SMTP."""
TAG_CHARACTERS: Final = 5
"""How much of a session's id (its end, the random part) tells interleaved sessions apart."""

_MARKS: Final[dict[tuple[Party, Party], str]] = {
    ("client", "server"): " ->",
    ("server", "client"): "<- ",
    ("client", "proxy"): "->|",
    ("proxy", "client"): "<-|",
    ("proxy", "server"): "|->",
    ("server", "proxy"): "|<-",
}


# Who is embedded answers on the client's leg; there is no other.
_EMBEDDED: Final = frozenset({str(Endpoint(scheme="sandbox")), str(Endpoint(scheme="mock"))})


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a transcript, without a line end and safe for a terminal.

    Attributes:
        text: mark and words, after the time and the session's tag where they are asked for.
        style: what it is, for the caller to colour.
    """

    text: str
    style: Style


class _Session:
    """What must be remembered of a session to read its next event."""

    __slots__ = ("content_octets", "has_server_leg", "is_bdat", "is_cut", "shown_lines", "tls")

    def __init__(self) -> None:
        self.tls: set[Leg] = set()
        self.has_server_leg = True
        self.is_bdat = False
        self.content_octets = 0
        self.shown_lines = 0
        self.is_cut = False


class Transcript:
    """Renders the events of one session or of many interleaved ones, in order."""

    def __init__(
        self, *, content_lines: int | None = 0, has_times: bool = False, has_tags: bool = False
    ) -> None:
        """A transcript from its start.

        Args:
            content_lines: lines shown of each message; None shows all of it.
            has_times: begin each line with the seconds since its session began.
            has_tags: begin each line with the end of its session's id, where several sessions interleave.
        """
        self._content_lines = content_lines
        self._has_times = has_times
        self._has_tags = has_tags
        self._sessions: dict[str, _Session] = {}

    def render(self, event: AnyEvent) -> list[Line]:
        """The lines of the next event; often one, for a piece of content often none."""
        session = self._sessions.get(event.session)
        if session is None:
            session = self._sessions[event.session] = _Session()
        prefix = self._prefix(event)
        lines = [
            Line(text=f"{prefix}{mark} {words}" if words else f"{prefix}{mark}".rstrip(), style=style)
            for mark, words, style in self._parts(event, session)
        ]
        if isinstance(event, End):
            del self._sessions[event.session]
        return lines

    def _prefix(self, event: AnyEvent) -> str:
        tag = f"[{escape(event.session[-TAG_CHARACTERS:])}] " if self._has_tags else ""
        return f"{tag}{event.t:9.3f} " if self._has_times else tag

    def _parts(self, event: AnyEvent, session: _Session) -> Iterator[tuple[str, str, Style]]:
        match event:
            case Content():
                yield from self._content(event, session)
            case Opaque():
                yield from _opaque(event, session)
            case Command() | Auth() | Reply() | Preface():
                if isinstance(event, Command) and event.verb in ("DATA", "BDAT"):
                    session.is_bdat = event.verb == "BDAT"
                mark, style = _mark(event, session), _style(event)
                for line in _lines(text_of(event)):
                    yield mark, line, style
            case Tls():
                if not event.error:
                    session.tls.add(event.leg)
                yield _tls(event)
            case SessionStarted():
                session.has_server_leg = event.upstream not in _EMBEDDED
                yield "===", escape(_start(event)), "info"
            case Finding():
                yield "===", escape(f"{event.code}: {event.text}"), "finding"
            case Gap():
                lost = f"{_count(event.events, 'event')} ({_count(event.octets, 'octet')})"
                yield "***", escape(f"not recorded: {lost}: {event.reason}"), "failure"
            case End():
                yield _end(event)
            case _:
                assert_never(event)

    def _content(self, event: Content, session: _Session) -> Iterator[tuple[str, str, Style]]:
        mark = _mark(event, session)
        is_terminator = event.end and not session.is_bdat
        if not is_terminator:
            session.content_octets += size_of(event)
            limit = self._content_lines
            room = None if limit is None else limit - session.shown_lines
            if room is None or room > 0:
                for line in _lines(text_of(event)):
                    if limit is not None and session.shown_lines >= limit:
                        session.is_cut = True
                        break
                    session.shown_lines += 1
                    yield mark, line, "content"
            else:
                session.is_cut = True
            if isinstance(event.sha256, str):
                missing = size_of(event) - len(octets_of(event))
                what = f"{_count(missing, 'octet')} not kept, sha256 of the piece {event.sha256}"
                yield "===", escape(what), "info"
        if event.end:
            cut = f", the first {_count(session.shown_lines, 'line')} shown" if session.is_cut else ""
            cut = cut if session.shown_lines else ""
            yield "===", f"message {event.message}: {_count(session.content_octets, 'octet')}{cut}", "info"
            session.content_octets = session.shown_lines = 0
            session.is_cut = False
        if is_terminator:
            for line in _lines(text_of(event)):
                yield mark, line, "client"


def _mark(event: SpokenEvent, session: _Session) -> str:
    mark = _MARKS.get((event.from_, event.to), " ? ")
    leg = event.to if event.from_ == "proxy" else event.from_
    if not session.has_server_leg:
        leg = "client"
    return mark.replace("-", "~") if leg in session.tls else mark


def _style(event: Command | Auth | Reply | Preface) -> Style:
    if isinstance(event, Reply) and isinstance(event.code, int) and event.code >= 400:
        return "rejection"
    if "proxy" in (event.from_, event.to):
        return "proxy"
    return "client" if event.from_ == "client" else "server"


def _lines(text: str) -> Iterator[str]:
    """Each line escaped and without its CRLF; any other line end is shown, for it matters."""
    start = 0
    while start < len(text):
        end = text.find("\n", start) + 1 or len(text)
        line = text[start:end].removesuffix("\r\n")
        start = end
        if len(line) > MAX_LINE_CHARACTERS:
            more = _count(len(line) - MAX_LINE_CHARACTERS, "character")
            yield f"{escape(line[:MAX_LINE_CHARACTERS])} … ({more} more)"
        else:
            yield escape(line)


def _opaque(event: Opaque, session: _Session) -> Iterator[tuple[str, str, Style]]:
    mark = _mark(event, session)
    style: Style = "client" if event.from_ == "client" else "server"
    if isinstance(event.octets, int):
        digest = f", sha256 {escape(event.sha256)}" if isinstance(event.sha256, str) else ""
        yield mark, f"({_count(event.octets, 'octet')} not kept{digest})", style
        return
    for shown, line in enumerate(_lines(text_of(event))):
        if shown == MAX_OPAQUE_LINES:
            yield mark, "…", style
            return
        yield mark, line, style


def _tls(event: Tls) -> tuple[str, str, Style]:
    leg = f"TLS on the {event.leg} leg"
    if event.error:
        alert = f" (alert {event.alert})" if event.alert else ""
        advice = f": {event.advice}" if event.advice else ""
        return "***", escape(f"{leg} failed: {event.error}{alert}{advice}"), "failure"
    details = [f"{event.version} {event.cipher}".strip()]
    if event.sni:
        details.append(f"SNI {event.sni}")
    if event.certificates:
        details.append(f"certificate {event.certificates[0].subject}")
    if event.leg == "server":
        details.append("verified" if event.verified else "NOT VERIFIED")
    return "===", escape(f"{leg}: {', '.join(details)}"), "info"


def _start(event: SessionStarted) -> str:
    return f"session {event.session}: {event.client} to {event.upstream}, {event.started}"


def _end(event: End) -> tuple[str, str, Style]:
    reason = f", {event.reason}" if event.reason else ""
    words = f"end: {event.outcome}, {_count(event.messages, 'message')}, {event.t:.3f} s{reason}"
    if event.outcome in ("failed", "interrupted"):
        return "***", escape(words), "failure"
    return "===", escape(words), "info"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
