"""Where secrets stand in octets that are not read as SMTP, line by line; it knows neither events nor echoes.

It is deliberately suspicious. Secret are: what follows the mechanism in an AUTH line, the line that follows a
334, and, once AUTH was said, every line that is no command, until the server says 235 or the client a command
(RFC 4954 4). Parsed commands and replies are told to it too, so that it knows where they left off.
"""

import re
from typing import Final, Literal

from smtpproxy.wire.commands import KNOWN_VERBS

MAX_HEAD_BYTES: Final = 512
"""A line that has not told what it is by then is taken for the worst that it can be."""

_LINE: Final = re.compile(rb"[^\n]*\n?")
# [^\S\n]: any blank but LF, since a lenient server may take a vertical tab for one.
_WORD: Final = re.compile(rb"[^\S\n]*([^\s]*)(\s?)")
_AUTH: Final = re.compile(rb"[^\S\n]*(?:AUTH|X-EXPS)[^\S\n]+([^\s]*)(\s?)[^\S\n]*", re.IGNORECASE)
_AUTH_LINE: Final = re.compile(rb"^[^\S\n]*(?:AUTH|X-EXPS)\b", re.IGNORECASE | re.MULTILINE)
AUTH_VERBS: Final = frozenset({b"AUTH", b"X-EXPS"})
"""Commands that begin a SASL exchange: RFC 4954's, and Exchange's own."""
HARMLESS: Final = (b"", b"*", b"=")
"""Lines of an exchange that hold nothing: no response, cancelled, and an empty one (RFC 4954 4)."""
_MECHANISMS: Final = tuple(
    b"PLAIN LOGIN CRAM-MD5 DIGEST-MD5 SCRAM-SHA-1 SCRAM-SHA-224 SCRAM-SHA-256 SCRAM-SHA-384 SCRAM-SHA-512 "
    b"SCRAM-SHA-1-PLUS SCRAM-SHA-256-PLUS SCRAM-SHA-512-PLUS XOAUTH2 OAUTHBEARER NTLM GSSAPI GS2-KRB5 "
    b"GSS-SPNEGO KERBEROS_V4 EXTERNAL ANONYMOUS".split()
)
# RFC 4422 3.1 has one to twenty of these, upper case; base64 is mixed.
_MECHANISM: Final = re.compile(rb"[A-Z0-9_-]{1,20}\Z|[a-z0-9_-]{1,20}\Z")
_VERBS: Final = tuple(verb.encode() for verb in sorted(KNOWN_VERBS))

Place = Literal["start", "undecided", "plain", "secret"]


class LineScanner:
    """Follows the client's lines, and the server's as far as they are challenges.

    Attributes:
        place: where the client's octets have left off: at the start of a line, in one that is not told yet,
            in a harmless one, in a secret (or in the secret part of one).
        is_after_auth: AUTH was said, and neither success nor another command since.
        is_awaited: the server's 334 stands open: the next line of the client is secret.
    """

    __slots__ = ("_head", "_server_head", "is_after_auth", "is_awaited", "place")

    def __init__(self) -> None:
        self.place: Place = "start"
        self.is_after_auth = False
        self.is_awaited = False
        self._head = b""
        self._server_head = b""

    @property
    def is_calm(self) -> bool:
        """Whether nothing but a new AUTH can be secret."""
        return self.place == "start" and not self.is_after_auth and not self.is_awaited

    def client(self, octets: bytes) -> list[tuple[int, int]]:
        """The client goes on with these octets; where they are secret, as (start, end).

        Line ends are no part of it. A span may be empty where a secret turns out to be over.
        """
        if not self.is_after_auth and not self.is_awaited and self.place in ("start", "plain"):
            last = octets.rfind(b"\n") + 1
            if not _AUTH_LINE.search(octets, 0 if self.place == "start" else octets.find(b"\n") + 1, last):
                # The common case, at the speed of a search: only the line that is not over yet matters.
                if last:
                    self.place = "start"
                return self._line(octets[last:], last)
        return [span for match in _LINE.finditer(octets) for span in self._line(match[0], match.start())]

    def server(self, octets: bytes) -> None:
        """The server goes on with these octets, of which only the codes of its lines matter."""
        lines = (self._server_head + octets).split(b"\n")
        for line in lines:
            if line.startswith(b"334"):
                self.is_awaited = True
            elif line.startswith(b"235"):
                self.is_after_auth = False
        # Three octets tell a line; the rest of one that is told must not look like the start of another.
        self._server_head = lines[-1] if len(lines[-1]) < 3 else b"..."

    def _line(self, piece: bytes, offset: int) -> list[tuple[int, int]]:
        """A line or a piece of one, at that offset; ends in LF where the line does."""
        if not piece:
            return []
        is_whole = piece.endswith(b"\n")
        known = len(self._head)
        secret = 0
        if self.place == "start":
            if self.is_awaited and (not is_whole or piece.strip() not in HARMLESS):
                self.place = "secret"
            self.is_awaited = False
        if self.place in ("start", "undecided"):
            self._head += piece
            self.place, secret = self._told(self._head, is_whole=is_whole)
            if self.place == "undecided" and len(self._head) > MAX_HEAD_BYTES:
                self.place = "secret" if self.is_after_auth else "plain"
                secret = len(self._head.rstrip())
        is_secret = self.place == "secret"
        if is_whole:
            self.place = "start"
        if self.place != "undecided":
            self._head = b""
        start = max(0, secret - known)
        end = len(piece.rstrip(b"\r\n"))
        return [(offset + start, offset + end)] if is_secret and start <= end else []

    def _told(self, head: bytes, *, is_whole: bool) -> tuple[Place, int]:
        """What a line that begins like this is, and from which octet on it is secret."""
        match = _WORD.match(head)
        assert match is not None
        word, is_over = match[1].upper(), bool(match[2])
        if not word:
            return ("plain" if is_whole else "undecided"), 0
        if not is_over:
            could_be = any(verb.startswith(word) for verb in _VERBS) or word in HARMLESS
            if could_be or not self.is_after_auth:
                return ("undecided" if could_be else "plain"), 0
            return "secret", match.start(1)
        if word in AUTH_VERBS:
            self.is_after_auth = True
            return self._auth(head, is_whole=is_whole)
        if word in _VERBS:
            self.is_after_auth = False
            return "plain", 0
        if self.is_after_auth and head.strip() not in HARMLESS:
            return "secret", match.start(1)
        return "plain", 0

    def _auth(self, head: bytes, *, is_whole: bool) -> tuple[Place, int]:
        """AUTH keeps its mechanism."""
        match = _AUTH.match(head)
        if match is None or not match[1]:
            return ("plain" if is_whole else "undecided"), 0
        word = match[1].upper()
        if match[2]:
            return "secret", match.end() if is_mechanism(match[1]) else match.start(1)
        if any(mechanism.startswith(word) for mechanism in _MECHANISMS):
            return "undecided", 0
        return "secret", match.start(1)


def is_mechanism(word: bytes) -> bool:
    """Whether the word behind AUTH can be a mechanism's name; otherwise it may be the secret itself."""
    return bool(_MECHANISM.match(word)) or word.upper() in _MECHANISMS
