"""Command lines as values: the verb, BDAT's count, AUTH's words; it knows nothing of what came before.

Commands end at LF, with or without CR: every calibrated MTA executes them so. What a line means is read
as leniently as the most lenient server reads it, since a secret must not slip through on a tab.
"""

import re
from typing import Final

MAX_LINE_BYTES: Final = 64 * 1024
"""What is kept of a line in one piece. RFC 4954 4 allows 12,288 octets; longer ones pass in pieces."""

KNOWN_VERBS: Final[frozenset[str]] = frozenset(
    [
        "EHLO",
        "HELO",
        "LHLO",
        "MAIL",
        "RCPT",
        "SEND",
        "SOML",
        "SAML",
        "DATA",
        "BDAT",
        "BURL",
        "RSET",
        "NOOP",
        "QUIT",
        "VRFY",
        "EXPN",
        "HELP",
        "ETRN",
        "STARTTLS",
        "AUTH",
        "XCLIENT",
        "XFORWARD",
        "TURN",
        "ATRN",
        "XEXCH50",
        "X-EXPS",
        "X-ANONYMOUSTLS",
        "X-LINK2STATE",
    ]
)
_VERBS: Final[dict[bytes, str]] = {verb.encode(): verb for verb in KNOWN_VERBS}
_MAX_BDAT = 2**63 - 1
_DIGITS = re.compile(rb"[0-9]{1,19}\Z")
_WORD = re.compile(rb"[^\s]+")


def take_line(begun: bytearray, data: bytes, pos: int) -> tuple[bytes | None, int]:
    """The next line of a stream that comes in pieces, or a piece of MAX_LINE_BYTES of a longer one.

    Where lines are cut does not depend on how the octets arrived, and no more than such a piece is kept.

    Args:
        begun: what has come of the line so far; changed in place.
        data: the octets that came; those before `pos` have been read.

    Returns:
        (line, where to read on). The line ends in LF unless it is a piece; it is None where more must come.
    """
    if not begun:
        # The usual case: a line, or more than one, came whole.
        end = data.find(b"\n", pos, pos + MAX_LINE_BYTES) + 1
        if end:
            return data[pos:end], end
    room = MAX_LINE_BYTES - len(begun)
    end = data.find(b"\n", pos, pos + room) + 1
    if not end:
        if len(data) - pos <= room:
            begun += data[pos:]
            return None, len(data)
        end = pos + room
    line = data[pos:end]
    if begun:
        line = bytes(begun) + line
        begun.clear()
    return line, end


def verb_of(line: bytes) -> str:
    """The upper-cased first word of a command line; "" for a blank one."""
    words = line.split(None, 1)
    if not words:
        return ""
    verb = _VERBS.get(words[0])
    if verb is None:
        verb = words[0][:64].upper().decode("latin-1")
    return verb


def argument_of(line: bytes) -> bytes:
    """What follows the verb, without surrounding blanks and line end."""
    words = line.split(None, 1)
    return words[1].rstrip() if len(words) > 1 else b""


def word_spans(line: bytes) -> list[tuple[int, int]]:
    """Where the line's words stand, as (start, end) octet offsets."""
    return [match.span() for match in _WORD.finditer(line)]


def parse_bdat(argument: bytes) -> tuple[int, bool] | None:
    """Size and LAST of a BDAT argument (RFC 3030 2: 1*DIGIT, then optionally LAST).

    Returns:
        (octets, is_last), or None where the size is not one: then the framing is lost, and servers drop
        the connection.
    """
    words = argument.split()
    if not words or len(words) > 2 or not _DIGITS.match(words[0]):
        return None
    size = int(words[0])
    if size > _MAX_BDAT or (len(words) == 2 and words[1].upper() != b"LAST"):
        return None
    return size, len(words) == 2
