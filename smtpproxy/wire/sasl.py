"""SASL exchanges inside AUTH (RFC 4954): whose account, and that the rest is secret; verifies nothing."""

import base64
import binascii
import re
from typing import Final

_MAX_IDENTITY = 256
_TOKEN = re.compile(rb"[A-Za-z0-9+/]+={0,2}")
_OAUTH_USER = re.compile(rb"(?:\A|\x01)user=([^\x01]*)\x01")
_OAUTH_GS2 = re.compile(rb"\A[nyp][^,]*,(?:a=([^,]*))?,")
_SCRAM_USER = re.compile(rb"\A[nyp][^,]*,[^,]*,n=([^,]*),")

SECRET_KIND: Final[dict[str, str]] = {
    "PLAIN": "password",
    "LOGIN": "password",
    "CRAM-MD5": "proof",
    "DIGEST-MD5": "proof",
    "XOAUTH2": "token",
    "OAUTHBEARER": "token",
}
SECURITY_LAYER_MECHANISMS: Final = frozenset({"GSSAPI", "GSS-SPNEGO", "DIGEST-MD5", "KERBEROS_V4"})
"""After their 235 a security layer may wrap everything (RFC 4954 4)."""


def decode_base64(text: bytes) -> bytes | None:
    """What a SASL line holds, or None where it is not base64; missing padding is forgiven."""
    try:
        return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


class SaslExchange:
    """One AUTH command's exchange, line by line.

    Attributes:
        mechanism: upper-cased.
        step: client lines after a 334 so far.
        can_bind: the client said it could bind to the TLS channel (gs2 flag y, RFC 5802 6).
    """

    __slots__ = ("_asked_for_password", "_lines", "can_bind", "mechanism", "step")

    def __init__(self, mechanism: str) -> None:
        self.mechanism = mechanism
        self.step = 0
        self.can_bind = False
        self._lines = 0
        self._asked_for_password = False

    @property
    def secret_kind(self) -> str:
        """What kind of secret its client lines are, for the recorded span."""
        if self.mechanism.startswith("SCRAM-"):
            return "proof"
        return SECRET_KIND.get(self.mechanism, "sasl")

    @property
    def can_layer(self) -> bool:
        """Whether a security layer may follow its 235."""
        return self.mechanism in SECURITY_LAYER_MECHANISMS

    def client_line(self, text: bytes) -> tuple[bool, str | None]:
        """A response: the initial one, or one after a 334; without its line end.

        Returns:
            Whether it is secret, and the identity where it tells one. Only `*`, `=` and the empty line are
            not secret: parser doubt counts as secret.
        """
        if text in (b"", b"*", b"="):
            return False, None
        self._lines += 1
        decoded = decode_base64(text)
        return True, self._identity(decoded) if decoded else None

    def server_line(self, raw: bytes) -> list[tuple[int, int]]:
        """Where a reply of the exchange holds what must not be kept: SCRAM's `v=` (RFC 5802 7).

        Returns:
            (start, end) octet offsets in `raw`.
        """
        spans: list[tuple[int, int]] = []
        for match in _TOKEN.finditer(raw, 3):
            decoded = decode_base64(match[0])
            if decoded is None:
                continue
            if self.mechanism == "LOGIN" and b"pass" in decoded.lower():
                self._asked_for_password = True
            if self.mechanism.startswith("SCRAM-") and decoded.startswith(b"v="):
                spans.append(match.span())
        return spans

    def _identity(self, decoded: bytes) -> str | None:
        found: bytes | None = None
        if self.mechanism == "PLAIN":
            parts = decoded.split(b"\0")
            found = parts[1] if len(parts) == 3 else None
        elif self.mechanism == "LOGIN":
            # The first line is the user, unless the server's prompt asked for the password.
            found = decoded if self._lines == 1 and not self._asked_for_password else None
        elif self.mechanism == "CRAM-MD5":
            found, _, digest = decoded.rpartition(b" ")
            found = found if len(digest) == 32 else None
        elif self.mechanism.startswith("SCRAM-") and self._lines == 1:
            self.can_bind = decoded.startswith(b"y,")
            match = _SCRAM_USER.match(decoded)
            found = match[1].replace(b"=2C", b",").replace(b"=3D", b"=") if match else None
        elif self.mechanism == "XOAUTH2":
            match = _OAUTH_USER.search(decoded)
            found = match[1] if match else None
        elif self.mechanism == "OAUTHBEARER":
            match = _OAUTH_GS2.match(decoded)
            found = match[1] if match else None
        elif self.mechanism == "EXTERNAL":
            found = decoded
        if not found or len(found) > _MAX_IDENTITY:
            return None
        try:
            identity = found.decode()
        except UnicodeDecodeError:
            return None
        return identity if identity.isprintable() else None
