"""Messages recorded in part or not at all: size and digest in place of octets; it does not know secrets."""

import hashlib
import re
from typing import Final, Literal, TypeVar, assert_never

import msgspec
from msgspec import UNSET

from smtpproxy.session.events import Content, Opaque, octets_of

Bodies = Literal["full", "headers", "digest"]
"""What of a message is kept: all of it, its header section, or nothing but size and digest."""

# The end of a header section is an empty line (RFC 5322 2.1), ended as the message ends its lines.
_HEADER_END: Final = re.compile(rb"\n\r?\n|\A\r?\n")
_TERMINATOR: Final = b"."
_Event = TypeVar("_Event", Content, Opaque)


class BodyFilter:
    """Leaves out what is not to be recorded, message by message."""

    __slots__ = ("_bodies", "_is_in_body", "_message", "_tail")

    def __init__(self, bodies: Bodies) -> None:
        self._bodies = bodies
        self._message = 0
        self._is_in_body = False
        self._tail = b""

    def content(self, event: Content) -> Content:
        """The piece as it may be recorded; the terminator stays, since it tells how the message ended.

        A piece in which the header section ends has its beginning in `raw`, while `octets` and `sha256` are
        about the whole piece.
        """
        match self._bodies:
            case "full":
                return event
            case "digest":
                kept = 0
            case "headers":
                kept = self._header_octets(event)
            case _:
                assert_never(self._bodies)
        octets = octets_of(event)
        if kept == len(octets) or (event.end and octets.strip(b"\r\n") == _TERMINATOR):
            return event
        return _digested(event, octets, kept)

    def opaque(self, event: Opaque, length: int) -> Opaque:
        """Octets that are not read as SMTP may hold a body, so nothing of them is kept unless all bodies are.

        Args:
            event: without its secrets, since a digest of a short secret can be tried out.
            length: octets that it had with them.
        """
        if self._bodies == "full" or not length or event.octets is not UNSET:
            return event
        return msgspec.structs.replace(_digested(event, octets_of(event), 0), octets=length, redacted=UNSET)

    def _header_octets(self, event: Content) -> int:
        """How many octets of the piece belong to the header section, the empty line behind it included."""
        octets = octets_of(event)
        if event.message != self._message:
            self._message = event.message
            self._is_in_body = False
            self._tail = b""
        if self._is_in_body:
            return 0
        seam = self._tail
        joined = seam + octets
        match = _HEADER_END.search(joined)
        if match is None:
            # Two octets tell an empty line over the seam; "x", that they are not the start of the message.
            self._tail = joined if len(joined) < 2 else b"x" + joined[-2:]
            return len(octets)
        self._is_in_body = True
        return match.end() - len(seam)


def _digested(event: _Event, octets: bytes, kept: int) -> _Event:
    try:
        text, b64 = octets[:kept].decode(), None
    except UnicodeDecodeError:
        text, b64 = None, octets[:kept]
    return msgspec.structs.replace(
        event,
        raw=text if kept and text is not None else UNSET,
        raw_b64=b64 if kept and b64 is not None else UNSET,
        octets=len(octets),
        sha256=hashlib.sha256(octets).hexdigest(),
    )
