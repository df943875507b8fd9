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
