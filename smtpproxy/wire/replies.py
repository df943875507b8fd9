"""Reply lines as values: code, whether more follow, enhanced code; it knows nothing of what was asked."""

import re
from functools import lru_cache
from typing import Final

_ENHANCED = re.compile(rb"([245]\.[0-9]{1,3}\.[0-9]{1,3})(?=[ \t\r\n]|\Z)")
_CODES: Final[dict[bytes, int]] = {b"%03d" % code: code for code in range(100, 1000)}
_HEADS: Final[dict[bytes, tuple[int, bool]]] = {
    code + separator: (number, separator == b" ")
    for code, number in _CODES.items()
    for separator in (b" ", b"-")
}
"""How nearly every reply line begins, so that one look-up reads it."""


def parse_reply_line(line: bytes) -> tuple[int | None, bool]:
    """Read one reply line (RFC 5321 4.2).

    A bare code without text is legal; a tab after the code is seen. Anything else after the three digits
    makes it no reply line.

    Returns:
        (code, is_last); (None, True) for what is not a reply line.
    """
    head = _HEADS.get(line[:4])
    if head is not None:
        return head
    code = _CODES.get(line[:3])
    return (code, True) if line[3:4] in (b"\r", b"\n", b"\t", b"") else (None, True)


def enhanced_code_of(line: bytes) -> str | None:
    """The enhanced status code at the start of a reply's text (RFC 2034 4), or None."""
    return _enhanced_code_in(line[4:16]) if line[5:6] == b"." else None


@lru_cache(maxsize=1024)
def _enhanced_code_in(text: bytes) -> str | None:
    match = _ENHANCED.match(text)
    return match[1].decode() if match else None


def render_reply(code: int, text: str) -> bytes:
    """One reply line of ours: printable ASCII, at most 512 octets with its CRLF (RFC 5321 4.5.3.1.5)."""
    shown = "".join(char if " " <= char <= "~" else "?" for char in text)[:500]
    return f"{code} {shown}\r\n".encode()


class ReplyReader:
    """Takes whole replies out of octets that come in pieces; what cannot be one is given out as garbled.

    Lines end at LF, with or without CR; a reply ends with the first line whose code is followed by no hyphen
    (RFC 5321 4.2.1). Blank lines between replies are passed over.
    """

    __slots__ = ("_begun", "_limit", "_scanned", "_taken")

    def __init__(self, *, limit: int) -> None:
        """Nothing has come yet.

        Args:
            limit: octets of a reply; a longer one is garbled.
        """
        self._limit = limit
        self._begun = bytearray()
        self._taken = 0
        """Octets of whole lines of the reply that is being read."""
        self._scanned = 0

    @property
    def pending(self) -> int:
        """Octets that came and were not taken."""
        return len(self._begun)

    def feed(self, data: bytes) -> None:
        """Octets that came."""
        self._begun += data

    def take(self) -> tuple[bytes, bool] | None:
        """The next reply, and whether it is garbled; None where more must come.

        A garbled one is everything that has come: from there on nothing can be told apart.
        """
        begun = self._begun
        while (end := begun.find(b"\n", self._scanned) + 1) and end <= self._limit:
            line = bytes(begun[self._taken : end])
            self._scanned = end
            if self._taken == 0 and not line.strip():
                del begun[:end]
                self._scanned = 0
                continue
            code, is_last = parse_reply_line(line)
            if code is None:
                return self._give(len(begun), is_garbled=True)
            self._taken = end
            if is_last:
                return self._give(end)
        if len(begun) > self._limit:
            return self._give(len(begun), is_garbled=True)
        self._scanned = len(begun)
        return None

    def _give(self, end: int, *, is_garbled: bool = False) -> tuple[bytes, bool]:
        reply = bytes(self._begun[:end])
        del self._begun[:end]
        self._taken = self._scanned = 0
        return reply, is_garbled
