"""Reply lines as values: code, whether more follow, enhanced code; it knows nothing of what was asked."""

import re
from typing import Final

_ENHANCED = re.compile(rb"([245]\.[0-9]{1,3}\.[0-9]{1,3})(?=[ \t\r\n]|\Z)")
_CODES: Final[dict[bytes, int]] = {b"%03d" % code: code for code in range(100, 1000)}


def parse_reply_line(line: bytes) -> tuple[int | None, bool]:
    """Read one reply line (RFC 5321 4.2).

    A bare code without text is legal; a tab after the code is seen. Anything else after the three digits
    makes it no reply line.

    Returns:
        (code, is_last); (None, True) for what is not a reply line.
    """
    code = _CODES.get(line[:3])
    if code is None:
        return None, True
    separator = line[3:4]
    if separator == b" ":
        return code, True
    if separator == b"-":
        return code, False
    return (code, True) if separator in (b"\r", b"\n", b"\t", b"") else (None, True)


def enhanced_code_of(line: bytes) -> str | None:
    """The enhanced status code at the start of a reply's text (RFC 2034 4), or None."""
    if line[5:6] != b".":
        return None
    match = _ENHANCED.match(line, 4)
    return match[1].decode() if match else None


def render_reply(code: int, text: str) -> bytes:
    """One reply line of ours: printable ASCII, at most 512 octets with its CRLF (RFC 5321 4.5.3.1.5)."""
    shown = "".join(char if " " <= char <= "~" else "?" for char in text)[:500]
    return f"{code} {shown}\r\n".encode()
