"""The octets of a message after DATA: where they end, and what is odd in them; it keeps no message.

Strict on purpose: only CR LF . CR LF ends a message (RFC 5321 4.1.1.4), where the CRLF that ends the DATA
command counts as the first. Nothing is normalised on its way through: a lenient reader in the middle is what
SMTP smuggling needs. `Unstuffer` is for those who read a message afterwards.
"""

import re
from typing import Final

_END: Final = b"\r\n.\r\n"
MAX_MESSAGE_LINE_BYTES: Final = 998
"""Octets of a line without its CRLF (RFC 5322 2.1.1)."""

_LENIENT = re.compile(rb"(?:\r\n|\n|\r)\x00?\.\x00?(?:\r*\n|\r)")
_LENIENT_TAIL = re.compile(_LENIENT.pattern + rb"\Z")


class TerminatorScanner:
    """Finds the end of one message in octets that come in pieces."""

    __slots__ = ("_tail",)

    def __init__(self) -> None:
        self._tail = b"\r\n"

    def scan(self, data: bytes, start: int = 0) -> int:
        """Look for the end of the message in `data[start:]`.

        Returns:
            The offset in `data` behind the terminator, or -1 where the message goes on.
        """
        tail = self._tail
        at = (tail + data[start : start + 4]).find(_END)
        if at >= 0:
            return start + at + 5 - len(tail)
        # rfind is several times cheaper than find on text, and mostly there is nothing to find.
        if data.rfind(_END, start) >= 0:
            return data.find(_END, start) + 5
        self._tail = data[-4:] if len(data) - start >= 4 else (tail + data[start:])[-4:]
        return -1


def lenient_end(tail: bytes) -> str | None:
    """Whether these last octets of a message are what a lenient server takes for its end.

    Returns:
        The variant for people, such as `LF . CR LF`, or None.
    """
    match = _LENIENT_TAIL.search(tail)
    return _spell(match[0]) if match and match[0] != _END else None


def lenient_terminator_in(data: bytes) -> str | None:
    """A sequence inside a message that a lenient server takes for its end, spelt for people, or None."""
    for match in _LENIENT.finditer(data):
        if match[0] != _END:
            return _spell(match[0])
    return None


def _spell(octets: bytes) -> str:
    names = {0x0D: "CR", 0x0A: "LF", 0x2E: ".", 0x00: "NUL"}
    return " ".join(names[octet] for octet in octets)


def has_long_line(data: bytes) -> bool:
    """Whether a line that begins in `data` (which begins with a line) is over 998 octets.

    Jumps from line end to line end, at most 1,000 octets a step, so that it costs little.
    """
    start, size, step = 0, len(data), MAX_MESSAGE_LINE_BYTES + 2
    while size - start > step:
        end = data.rfind(b"\n", start, start + step)
        if end < 0:
            return True
        start = end + 1
    return False


class Unstuffer:
    """Undoes dot-stuffing (RFC 5321 4.5.2) in a message that comes in pieces cut anywhere."""

    def __init__(self) -> None:
        # The CRLF that ended the DATA command: the message begins at the start of a line.
        self._last_two = b"\r\n"

    def feed(self, data: bytes) -> bytes:
        """The next piece, with the first dot of each line taken away; lines end in CRLF only."""
        joined = self._last_two + data
        plain = joined.replace(b"\r\n.", b"\r\n")[len(self._last_two) :]
        self._last_two = joined[-2:]
        return plain
