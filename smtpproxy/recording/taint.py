"""What was secret in a session, and where servers' words give it away; it knows neither events nor lines.

Servers quote what they did not understand (`500 command "C2VJCMV0" not recognized`), so a secret that the
client has shown comes back in replies: whole, upper-cased, cut short, with its padding or without, decoded.
"""

import re
from base64 import b64encode
from typing import Final

from smtpproxy.recording.spans import Span, cut_out
from smtpproxy.wire.sasl import decode_base64

MIN_BLOB_BYTES: Final = 4
"""A secret as it was sent is looked for from this length on: a shorter one is in every other word."""
MIN_VALUE_BYTES: Final = 8
"""A decoded value is looked for from this length on: "test" or "mail" is a password, and an ordinary word."""
PREFIX_BYTES: Final = 8
"""That much of a secret's beginning gives an echo away that was cut short."""
MAX_FORM_BYTES: Final = 16 * 1024
"""Of a longer secret nothing but the beginning is known (see `is_full`); RFC 4954 4 has 12,288 at most."""
MAX_WORDS: Final = 4
"""So many words of a secret are looked for by themselves."""
MAX_FORMS: Final = 2048
MAX_FORMS_BYTES: Final = 1024 * 1024
"""Bounds on what a session makes us remember; beyond them no server's word is kept (see `is_full`)."""

# What goes on behind the beginning of a secret: base64 in both alphabets.
_RUN: Final = re.compile(rb"[0-9A-Za-z+/=_-]*")
# The secret inside a decoded value: PLAIN's password (RFC 4616), the bearer token (RFC 7628 3.1), CRAM-MD5's
# digest (RFC 2195), SCRAM's proof (RFC 5802 7), DIGEST-MD5's response (RFC 2831 2.1.2).
_PARTS: Final = tuple(
    re.compile(pattern, re.DOTALL)
    for pattern in (
        rb"\0([^\0]+)\Z",
        rb"\x01auth=(?:[!-~]+ )?([^\x01]+)",
        rb" ([0-9A-Fa-f]{32})\Z",
        rb",p=([0-9A-Za-z+/=]+)\Z",
        rb"response=\"?([0-9A-Fa-f]{32})",
    )
)
# A line without its code and enhanced code (RFC 5321 4.2, RFC 2034): what is left out when `is_full`.
_WORDS: Final = re.compile(rb"^(?:[2-5]\d\d[ -]?(?:[245]\.\d{1,3}\.\d{1,3}\b ?)?)?([^\r\n]+)", re.MULTILINE)


class Seam:
    """How one speaker's octets ended in the last event, where they go on in the next one.

    Attributes:
        before: their end, as long as a form may reach over.
        is_running: they ended inside an echo.
    """

    __slots__ = ("before", "is_running")

    def __init__(self) -> None:
        self.before = b""
        self.is_running = False


class Taint:
    """The forms of a session's secrets; false while there are none.

    Attributes:
        is_full: there were more or longer secrets than are remembered: every text is an echo from here on.
    """

    __slots__ = ("_forms", "_octets", "_prefixes", "_reach", "is_full")

    def __init__(self) -> None:
        # All lower-cased, since that is how they are looked for. Dicts keep the order and find a known one.
        self._forms: dict[bytes, None] = {}
        self._prefixes: dict[bytes, None] = {}
        self._octets = 0
        self._reach = PREFIX_BYTES - 1
        self.is_full = False

    def __bool__(self) -> bool:
        return bool(self._forms or self._prefixes)

    def add(self, secret: bytes, *, identity: str = "") -> None:
        """Remember a secret as the client sent it, and what it means.

        Args:
            secret: octets of the line, often base64.
            identity: whose account it is about; this alone is no secret, decoded.
        """
        blob = secret.strip()
        if len(blob) < MIN_BLOB_BYTES or self.is_full:
            return
        if len(blob) > PREFIX_BYTES:
            self._prefixes[blob[:PREFIX_BYTES].lower()] = None
        if len(blob) > MAX_FORM_BYTES:
            # What it means cannot be known from its beginning, and may be quoted too.
            self.is_full = True
            return
        self._keep_padded(blob)
        known = identity.encode()
        # Some servers quote the first word alone, as the verb that they do not know; and what does not belong
        # behind an initial response may be another one.
        for word in blob.split(None, MAX_WORDS):
            self._keep(word)
            self._keep_encoded(word)
            self._keep_meaning(word, known)

    def _keep_meaning(self, word: bytes, known: bytes) -> None:
        """What a secret decodes to, and the secret inside that."""
        decoded = decode_base64(word)
        if decoded is None:
            return
        for value in (decoded, *(match[1] for part in _PARTS if (match := part.search(decoded)))):
            if len(value) >= MIN_VALUE_BYTES:
                self._keep_padded(b64encode(value))
                if value != known:
                    self._keep(value)
                    self._keep_encoded(value)

    def _keep_encoded(self, value: bytes) -> None:
        """A value as it reads in the base64 of a longer text that quotes it, at any offset there.

        Only the characters that depend on nothing but the value; at its ends the neighbours have a say.
        """
        if len(value) < MIN_VALUE_BYTES:
            return
        for offset, first in ((0, 0), (1, 2), (2, 3)):
            self._keep(b64encode(bytes(offset) + value)[first : (offset + len(value)) * 8 // 6])

    def _keep_padded(self, form: bytes) -> None:
        """A form that may be base64: its padding comes and goes."""
        self._keep(form)
        self._keep(form.rstrip(b"="))

    def _keep(self, form: bytes) -> None:
        if len(form) < MIN_BLOB_BYTES or self.is_full:
            return
        form = form.lower()
        if form not in self._forms:
            self._forms[form] = None
            self._octets += len(form)
            self._reach = max(self._reach, len(form) - 1)
            self.is_full = len(self._forms) > MAX_FORMS or self._octets > MAX_FORMS_BYTES

    def find(
        self, octets: bytes, *, seam: Seam | None = None, is_open: bool = False
    ) -> list[tuple[int, int]]:
        """Where octets hold a secret.

        Args:
            octets: of one event.
            seam: how what they continue has ended; it is set to how they end.
            is_open: they go on in the speaker's next event, so that their end may be a secret's beginning.

        Returns:
            (start, end) offsets, in no order; they may overlap.
        """
        before = seam.before if seam else b""
        window = before + octets if before else octets
        lowered = window.lower()
        found: list[tuple[int, int]] = []
        if seam and seam.is_running:
            found.append((0, _end_of_run(window, len(before))))
        if self.is_full:
            found += [
                (len(before) + match.start(1), len(before) + match.end(1))
                for match in _WORDS.finditer(octets)
            ]
        for form in self._forms:
            at = lowered.find(form)
            while at >= 0:
                found.append((at, at + len(form)))
                at = lowered.find(form, at + len(form))
        for prefix in self._prefixes:
            at = lowered.find(prefix)
            while at >= 0:
                end = _end_of_run(window, at + len(prefix))
                found.append((at, end))
                at = lowered.find(prefix, end)
        if is_open:
            for form in (*self._forms, *self._prefixes):
                start = _cut_short(form, lowered)
                if start >= 0:
                    found.append((start, len(window)))
        if seam:
            seam.before = window[-self._reach :] if is_open else b""
            seam.is_running = is_open and any(end == len(window) for _, end in found)
        return [(max(0, start - len(before)), end - len(before)) for start, end in found if end > len(before)]

    def clean(self, text: str) -> str:
        """A text for people without what is secret."""
        octets = text.encode(errors="replace")
        found = self.find(octets)
        if not found:
            return text
        return cut_out(octets, [Span(start, end, "echo") for start, end in found])[0].decode(errors="replace")


def _end_of_run(octets: bytes, start: int) -> int:
    match = _RUN.match(octets, start)
    assert match is not None
    return match.end()


def _cut_short(form: bytes, lowered: bytes) -> int:
    """Where the octets' end begins to be the beginning of a form, of MIN_BLOB_BYTES at least; or -1."""
    first = form[:MIN_BLOB_BYTES]
    at = lowered.find(first, max(0, len(lowered) - len(form) + 1))
    while at >= 0:
        if form.startswith(lowered[at:]):
            return at
        at = lowered.find(first, at + 1)
    return -1
