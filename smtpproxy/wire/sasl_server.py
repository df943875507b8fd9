"""The server's end of a SASL exchange, mechanism by mechanism (RFC 4954); it knows no session.

Each mechanism is a generator: it yields the server's challenges, is sent the client's responses, both without
base64, and returns the claim that the client made. Sandbox and mock share it; each decides what a claim is
worth, and never says why not.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Generator
from typing import Final, TypeAlias

MAX_SASL_LINE_OCTETS: Final = 12_288
"""Of a line in base64 (RFC 4954 4)."""
SCRAM_ITERATIONS: Final = 4096
"""The least that RFC 7677 4 allows; what is guarded here is a test's password."""

_XOAUTH2 = re.compile(rb"user=([^\x01]*)\x01auth=Bearer ([^\x01]*)\x01\x01\Z", re.IGNORECASE)
_OAUTHBEARER = re.compile(
    rb"[nyp][^,]*,(?:a=([^,]*))?,\x01(?:[^\x01]*\x01)*?auth=Bearer ([^\x01]*)\x01(?:[^\x01]+\x01)*\x01\Z",
    re.IGNORECASE,
)
_CRAM = re.compile(rb"(.+) ([0-9a-fA-F]{32})\Z", re.DOTALL)
_SCRAM_FIRST = re.compile(rb"([ny],(?:a=[^,]*)?,)(n=([^,]+),r=([!-+\--~]+)(?:,.*)?)\Z", re.DOTALL)
_SCRAM_FINAL = re.compile(rb"(c=([^,]*),r=([!-+\--~]+)(?:,.*)?),p=([A-Za-z0-9+/=]+)\Z", re.DOTALL)


class SaslRefusal(Exception):  # noqa: N818 - an answer to the client, no error of the program
    """An exchange ends with a refusal before anybody has claimed anything.

    Attributes:
        code, status, text: of the reply; the text quotes nothing that the client said.
    """

    def __init__(self, code: int, status: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.status = status
        self.text = text


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
            raise SaslRefusal(501, "5.5.2", "The user name is not UTF-8") from None
        if not self.user:
            raise SaslRefusal(501, "5.5.2", "There is no user name in it")
        self.is_proved_by = is_proved_by


Steps: TypeAlias = Generator[bytes, bytes, Claim]
PasswordOf: TypeAlias = Callable[[str], str | None]
"""The password of an account, where it is known: SCRAM's server must prove that it knows it too."""


def _same(secret: bytes) -> Callable[[str], bool]:
    return lambda password: hmac.compare_digest(secret, password.encode())


def _plain(initial: bytes | None, challenge: bytes, password_of: PasswordOf) -> Steps:
    message = initial if initial is not None else (yield b"")
    parts = message.split(b"\0")
    if len(parts) != 3:
        raise SaslRefusal(
            501, "5.5.2", "PLAIN wants authorization identity, user and password between NULs (RFC 4616)"
        )
    return Claim(parts[1], _same(parts[2]))


def _login(initial: bytes | None, challenge: bytes, password_of: PasswordOf) -> Steps:
    user = initial if initial is not None else (yield b"Username:")
    password = yield b"Password:"
    return Claim(user, _same(password))


def _cram_md5(initial: bytes | None, challenge: bytes, password_of: PasswordOf) -> Steps:
    if initial is not None:
        # RFC 4954 4: a mechanism in which the server begins MUST be refused an initial response with 501.
        raise SaslRefusal(501, "5.5.4", "CRAM-MD5 takes no initial response")
    match = _CRAM.match((yield challenge))
    if match is None:
        raise SaslRefusal(
            501, "5.5.2", "CRAM-MD5 wants the user, a blank and 32 hexadecimal digits (RFC 2195)"
        )
    digest = match[2].lower()

    def is_proved_by(password: str) -> bool:
        right = hmac.new(password.encode(), challenge, hashlib.md5).hexdigest()
        return hmac.compare_digest(digest, right.encode())

    return Claim(match[1], is_proved_by)


def _xoauth2(initial: bytes | None, challenge: bytes, password_of: PasswordOf) -> Steps:
    match = _XOAUTH2.match(initial if initial is not None else (yield b""))
    if match is None:
        raise SaslRefusal(501, "5.5.2", "XOAUTH2 wants user=USER^Aauth=Bearer TOKEN^A^A")
    return Claim(match[1], _same(match[2]))


def _oauthbearer(initial: bytes | None, challenge: bytes, password_of: PasswordOf) -> Steps:
    match = _OAUTHBEARER.match(initial if initial is not None else (yield b""))
    if match is None:
        raise SaslRefusal(501, "5.5.2", "OAUTHBEARER wants n,a=USER,^Aauth=Bearer TOKEN^A^A (RFC 7628)")
    return Claim(_scram_name(match[1] or b""), _same(match[2]))


def _scram_sha_256(initial: bytes | None, challenge: bytes, password_of: PasswordOf) -> Steps:
    """RFC 5802 3, without channel binding; the server's signature goes out only to who has proved itself."""
    first = _SCRAM_FIRST.match(initial if initial is not None else (yield b""))
    if first is None:
        raise SaslRefusal(501, "5.5.2", "SCRAM-SHA-256 wants n,,n=USER,r=NONCE first (RFC 5802)")
    header, bare, user, nonce = first[1], first[2], _scram_name(first[3]), first[4]
    nonce += hashlib.sha256(challenge + nonce).hexdigest()[:24].encode()
    salt = hashlib.sha256(b"salt" + challenge).digest()[:16]
    server_first = b"r=%s,s=%s,i=%d" % (nonce, base64.b64encode(salt), SCRAM_ITERATIONS)
    final = _SCRAM_FINAL.match((yield server_first))
    if final is None or final[3] != nonce or final[2] != base64.b64encode(header):
        raise SaslRefusal(501, "5.5.2", "SCRAM-SHA-256 wants c=BINDING,r=NONCE,p=PROOF with the same nonce")
    proof = _decode(final[4])
    signed = b",".join((bare, server_first, final[1]))

    def keys(password: str) -> tuple[bytes, bytes]:
        """The client's key and the server's signature."""
        salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, SCRAM_ITERATIONS)
        client = hmac.digest(salted, b"Client Key", "sha256")
        server = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), signed, "sha256")
        return client, server

    def is_proved_by(password: str) -> bool:
        client, _ = keys(password)
        stored = hashlib.sha256(client).digest()
        signature = hmac.digest(stored, signed, "sha256")
        said = bytes(a ^ b for a, b in zip(proof, signature, strict=False))
        return len(proof) == len(signature) and hmac.compare_digest(said, client)

    claim = Claim(user, is_proved_by)
    password = password_of(claim.user)
    if password is not None and is_proved_by(password):
        _, server = keys(password)
        yield b"v=" + base64.b64encode(server)
    return claim


def _scram_name(name: bytes) -> bytes:
    """A name as RFC 5802 5.1 spells it: without comma and equals sign."""
    return name.replace(b"=2C", b",").replace(b"=3D", b"=")


MECHANISMS: Final[dict[str, Callable[[bytes | None, bytes, PasswordOf], Steps]]] = {
    "PLAIN": _plain,
    "LOGIN": _login,
    "CRAM-MD5": _cram_md5,
    "XOAUTH2": _xoauth2,
    "OAUTHBEARER": _oauthbearer,
    "SCRAM-SHA-256": _scram_sha_256,
}


def _unknown(user: str) -> str | None:
    return None


class Exchange:
    """AUTH from its command to the client's claim.

    Attributes:
        mechanism: upper-cased.
    """

    __slots__ = ("_steps", "mechanism")

    def __init__(
        self,
        mechanism: str,
        *,
        initial: bytes | None,
        challenge: bytes,
        password_of: PasswordOf = _unknown,
    ) -> None:
        """Begin.

        Args:
            mechanism: a key of MECHANISMS.
            initial: the initial response as it was sent, in base64; None where there was none.
            challenge: what CRAM-MD5 asks with; SCRAM makes its nonce and salt of it.
            password_of: knows the account's password; only SCRAM must ask before there is a claim.

        Raises:
            SaslRefusal: the initial response is not base64.
        """
        self.mechanism = mechanism
        decoded = None
        if initial is not None:
            # RFC 4954 4: a single equals sign is the empty response.
            decoded = b"" if initial == b"=" else _decode(initial)
        self._steps = MECHANISMS[mechanism](decoded, challenge, password_of)

    def begin(self) -> bytes | Claim:
        """The first challenge in base64, or the claim where the initial response said it all.

        Raises:
            SaslRefusal: with the reply that ends the exchange.
        """
        return self._advance(lambda: next(self._steps))

    def respond(self, line: bytes) -> bytes | Claim:
        """The same after a response of the client's.

        Raises:
            SaslRefusal: with the reply that ends the exchange; `*` cancels it (RFC 4954 4).
        """
        if line == b"*":
            raise SaslRefusal(501, "5.7.0", "Authentication cancelled")
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
        raise SaslRefusal(500, "5.5.6", "Authentication exchange line is too long")
    try:
        return binascii.a2b_base64(line, strict_mode=True)
    except binascii.Error:
        raise SaslRefusal(501, "5.5.2", "Not base64") from None
