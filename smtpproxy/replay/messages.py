"""A message of an app against the recorded one: as MIME, octet by octet, or by digest; it knows no rule."""

import hashlib
from typing import Final, TypeAlias

import msgspec

from smtpproxy.replay.mime import canonical
from smtpproxy.replay.script import Body
from smtpproxy.wire.content import Unstuffer
from smtpproxy.wire.escape import escape

Field: TypeAlias = tuple[str, str, str]
"""What differs, what the recording has there, and what the app said."""
MAX_SHOWN_CHARACTERS: Final = 500


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """A message as it stood on the wire, or as much of it as there is.

    Attributes:
        raw: its octets.
        octets: its size; more than there are in `raw` where that was cut.
        is_stuffed: it came after DATA, so that dots are doubled (RFC 5321 4.5.2).
        is_kept: False for a recording that holds only a digest.
        sha256: that digest, hex.
    """

    raw: bytes
    octets: int
    is_stuffed: bool
    is_kept: bool = True
    sha256: str = ""

    @property
    def is_cut(self) -> bool:
        """Whether there is more of it than anybody looked at."""
        return self.is_kept and self.octets > len(self.raw)

    def plain(self) -> bytes:
        """The message itself."""
        return Unstuffer().feed(self.raw) if self.is_stuffed else self.raw


def recorded_content(bodies: list[Body], *, is_stuffed: bool) -> Said:
    """A recorded message: one body after DATA, or those of all its chunks."""
    is_kept = all(body.is_kept for body in bodies)
    return Said(
        raw=b"".join(piece for body in bodies for piece in body.pieces()) if is_kept else b"",
        octets=sum(body.octets for body in bodies),
        is_stuffed=is_stuffed,
        is_kept=is_kept,
        sha256=bodies[0].sha256 if len(bodies) == 1 else "",
    )


def difference_of(
    recorded: Said, said: Said, *, is_exact: bool, ignored: tuple[str, ...]
) -> tuple[Field, ...]:
    """In what a message differs from the recorded one; empty where it is the same.

    Args:
        recorded, said: the two; of what was said all must be there.
        is_exact: every octet counts, dot-stuffing undone.
        ignored: names of header fields that do not count.
    """
    if not recorded.is_kept:
        if recorded.octets != said.octets:
            return (("size", f"{recorded.octets} octets", f"{said.octets} octets"),)
        digest = hashlib.sha256(said.raw).hexdigest()
        return () if digest == recorded.sha256 else (("sha256", recorded.sha256, digest),)
    if said.raw == recorded.raw:
        return ()
    if is_exact:
        return _first_difference(recorded.plain(), said.plain())
    before, now = canonical(recorded.plain(), ignored), canonical(said.plain(), ignored)
    return () if before == now else before.difference(now)


def bounded(text: str) -> str:
    """Text for people: control characters escaped, and not longer than is read."""
    shown = escape(text)
    return shown if len(shown) <= MAX_SHOWN_CHARACTERS else f"{shown[:MAX_SHOWN_CHARACTERS]}…"


def _first_difference(recorded: bytes, said: bytes) -> tuple[Field, ...]:
    """The first line that is not the same octets."""
    before, now = recorded.split(b"\n"), said.split(b"\n")
    for number, (old, new) in enumerate(zip(before, now, strict=False), 1):
        if old != new:
            return ((f"line {number}", bounded(_text(old)), bounded(_text(new))),)
    return (("lines", str(len(before)), str(len(now))),)


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", "backslashreplace")
