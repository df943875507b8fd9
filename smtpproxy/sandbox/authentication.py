"""One SASL exchange of the sandbox, mechanism by mechanism (RFC 4954); it decides who may in, never why not.

Each mechanism is a generator: it yields the server's challenges, is sent the client's responses, both without
base64, and returns the claim that the client made.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Generator
from typing import Final, TypeAlias

from smtpproxy.sandbox.replies import Refusal

MAX_SASL_LINE_OCTETS: Final = 12_288
"""Of a line in base64 (RFC 4954 4)."""

_XOAUTH2 = re.compile(rb"user=([^\x01]*)\x01auth=Bearer ([^\x01]*)\x01\x01\Z", re.IGNORECASE)
_CRAM = re.compile(rb"(.+) ([0-9a-fA-F]{32})\Z", re.DOTALL)


class Claim:
    """Who the client says it is, and whether a password proves it; it cannot be printed.

    Attributes:
        user: the account's name.
        is_proved_by: whether the client knew this password (or sent this token).
    """

    __slots__ = ("is_proved_by", "user")

    def __init__(self, user: bytes, is_proved_by: Callable[[str], bool]) -> None:
        try:
            self.user = user.decode()
        except UnicodeDecodeError:
            raise Refusal(501, "5.5.2", "The user name is not UTF-8") from None
        if not self.user:
            raise Refusal(501, "5.5.2", "There is no user name in it")
        self.is_proved_by = is_proved_by


Steps: TypeAlias = Generator[bytes, bytes, Claim]


def _same(secret: bytes) -> Callable[[str], bool]:
    return lambda password: hmac.compare_digest(secret, password.encode())


def _plain(initial: bytes | None, challenge: bytes) -> Steps:
    message = initial if initial is not None else (yield b"")
    parts = message.split(b"\0")
    if len(parts) != 3:
        raise Refusal(
            501, "5.5.2", "PLAIN wants authorization identity, user and password between NULs (RFC 4616)"
        )
    return Claim(parts[1], _same(parts[2]))


def _login(initial: bytes | None, challenge: bytes) -> Steps:
    user = initial if initial is not None else (yield b"Username:")
    password = yield b"Password:"
    return Claim(user, _same(password))


def _cram_md5(initial: bytes | None, challenge: bytes) -> Steps:
    if initial is not None:
        # RFC 4954 4: a mechanism in which the server begins MUST be refused an initial response with 501.
        raise Refusal(501, "5.5.4", "CRAM-MD5 takes no initial response")
    match = _CRAM.match((yield challenge))
    if match is None:
        raise Refusal(501, "5.5.2", "CRAM-MD5 wants the user, a blank and 32 hexadecimal digits (RFC 2195)")
    digest = match[2].lower()

    def is_proved_by(password: str) -> bool:
        right = hmac.new(password.encode(), challenge, hashlib.md5).hexdigest()
        return hmac.compare_digest(digest, right.encode())

    return Claim(match[1], is_proved_by)


def _xoauth2(initial: bytes | None, challenge: bytes) -> Steps:
    match = _XOAUTH2.match(initial if initial is not None else (yield b""))
    if match is None:
        raise Refusal(501, "5.5.2", "XOAUTH2 wants user=USER^Aauth=Bearer TOKEN^A^A")
    return Claim(match[1], _same(match[2]))


MECHANISMS: Final[dict[str, Callable[[bytes | None, bytes], Steps]]] = {
    "PLAIN": _plain,
    "LOGIN": _login,
    "CRAM-MD5": _cram_md5,
    "XOAUTH2": _xoauth2,
}


class Exchange:
    """AUTH from its command to the client's claim.

    Attributes:
        mechanism: upper-cased.
    """

    __slots__ = ("_steps", "mechanism")

    def __init__(self, mechanism: str, *, initial: bytes | None, challenge: bytes) -> None:
        """Begin.

        Args:
            mechanism: a key of MECHANISMS.
            initial: the initial response as it was sent, in base64; None where there was none.
            challenge: what CRAM-MD5 asks with.

        Raises:
            Refusal: the initial response is not base64.
        """
        self.mechanism = mechanism
        decoded = None
        if initial is not None:
            # RFC 4954 4: a single equals sign is the empty response.
            decoded = b"" if initial == b"=" else _decode(initial)
        self._steps = MECHANISMS[mechanism](decoded, challenge)

    def begin(self) -> bytes | Claim:
        """The first challenge in base64, or the claim where the initial response said it all.

        Raises:
            Refusal: with the reply that ends the exchange.
        """
        return self._advance(lambda: next(self._steps))

    def respond(self, line: bytes) -> bytes | Claim:
        """The same after a response of the client's.

        Raises:
            Refusal: with the reply that ends the exchange; `*` cancels it (RFC 4954 4).
        """
        if line == b"*":
            raise Refusal(501, "5.7.0", "Authentication cancelled")
        response = _decode(line)
        return self._advance(lambda: self._steps.send(response))

    def _advance(self, step: Callable[[], bytes]) -> bytes | Claim:
        try:
            return base64.b64encode(step())
        except StopIteration as stop:
            claim: Claim = stop.value
            return claim


def _decode(line: bytes) -> bytes:
    if len(line) > MAX_SASL_LINE_OCTETS:
        raise Refusal(500, "5.5.6", "Authentication exchange line is too long")
    try:
        return binascii.a2b_base64(line, strict_mode=True)
    except binascii.Error:
        raise Refusal(501, "5.5.2", "Not base64") from None
