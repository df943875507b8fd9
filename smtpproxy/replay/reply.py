"""A reply's octets read for comparing and for showing; it knows no rules and no recording."""

import re
from typing import Final

from smtpproxy.replay.results import MAX_SHOWN_BYTES
from smtpproxy.wire.escape import escape
from smtpproxy.wire.replies import enhanced_code_of, parse_reply_line

_LINES: Final = re.compile(rb"[^\n]*\n|[^\n]+")


class ReadReply:
    """A whole reply.

    Attributes:
        raw: its octets.
        lines: the same, cut behind each LF; at least one.
        code: of its last line (RFC 5321 4.2); None where that has none.
        enhanced: the enhanced status code of its last line; "" where that has none (RFC 2034 4).
    """

    __slots__ = ("code", "enhanced", "lines", "raw")

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.lines = _LINES.findall(raw) or [b""]
        self.code = parse_reply_line(self.lines[-1])[0]
        self.enhanced = enhanced_code_of(self.lines[-1]) or ""

    @property
    def texts(self) -> list[str]:
        """Each line's text, without code and line end."""
        return [_decoded(line[4:]).strip() for line in self.lines]

    @property
    def whole_lines(self) -> list[str]:
        """Each line without its line end."""
        return [_decoded(line).rstrip("\r\n") for line in self.lines]

    @property
    def digit(self) -> int:
        """The code's first; 0 where there is none."""
        return 0 if self.code is None else self.code // 100

    @property
    def code_text(self) -> str:
        """The code for people."""
        return "none" if self.code is None else str(self.code)

    @property
    def status(self) -> str:
        """Both codes, to stand in a sentence."""
        return f"{self.code} {self.enhanced}".strip() if self.code is not None else "what is no reply"

    def is_hello(self, verb: str) -> bool:
        """Whether it begins with the server's name: the greeting, what EHLO gets (RFC 5321 4.2, 4.3.1)."""
        return self.code == (220 if verb == "connect" else 250) and verb in HELLO_VERBS


HELLO_VERBS: Final = frozenset({"connect", "EHLO", "LHLO", "HELO"})


def shown(raw: bytes) -> str:
    """What was said, for people: its lines joined by LF without their CRLF, everything odd in them escaped.

    Of what is longer than MAX_SHOWN_BYTES only the beginning.
    """
    text = _decoded(raw[:MAX_SHOWN_BYTES])
    lines = "\n".join(escape(line) for line in text.removesuffix("\r\n").split("\r\n"))
    more = len(raw) - MAX_SHOWN_BYTES
    return f"{lines} … ({more:,} more octets)" if more > 0 else lines


def _decoded(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")
