"""The client's side of SASL, mechanism by mechanism (RFC 4954); it sends nothing and knows no script.

Each mechanism is a generator, the sandbox's turned round: it yields the client's responses and is sent the
server's challenges, both without base64. The first thing it yields is what an initial response would hold,
or None where the server begins.
"""

import base64
import binascii
import hashlib
import hmac
import unicodedata
from collections.abc import Callable, Generator
from typing import Final, TypeAlias

from smtpproxy.replay.credentials import Credentials

Responses: TypeAlias = Generator[bytes | None, bytes, None]
MAX_ITERATIONS: Final = 1_000_000
"""Of SCRAM: a server could keep us busy for hours; RFC 7677 4 asks for 4096 at least."""

_SCRAM_RESPONSES: Final = 2
"""Behind the first: the proof, and the empty one that takes note of the server's signature."""


class ChallengeError(Exception):
    """The server's challenge cannot be answered, or its proof is wrong; says why, without any secret."""


class Client:
    """One SASL exchange of ours."""

    def __init__(
        self, mechanism: str, credentials: Credentials, *, nonce: str, host: str = "", port: int = 0
    ) -> None:
        """Begin.

        Args:
            mechanism: a key of MECHANISMS.
            credentials: with a user name and the secret that it needs.
            nonce: unpredictable, printable and without commas (RFC 5802 5.1).
            host, port: the server's, for OAUTHBEARER (RFC 7628 3.1); "" and 0 leave them out.
        """
        self._is_scram = mechanism.startswith("SCRAM-")
        self._responses = 0
        self._steps = MECHANISMS[mechanism](credentials, nonce, host, port)
        self._first = next(self._steps)

    @property
    def has_no_proof(self) -> bool:
        """Whether the server owes the proof that it knows the password too (RFC 5802 3)."""
        return self._is_scram and self._responses < _SCRAM_RESPONSES

    @property
    def initial(self) -> bytes | None:
        """The initial response in base64, `=` where it is empty; None where the server must begin."""
        return None if self._first is None else _encode(self._first) or b"="

    def begin(self, challenge: bytes) -> bytes:
        """The response to the first 334 where no initial response was sent.

        Args:
            challenge: the text of the 334.

        Raises:
            ChallengeError: it cannot be answered.
        """
        # To a client that begins the first challenge means nothing: it is empty, or LOGIN's prompt.
        return self.respond(challenge) if self._first is None else _encode(self._first)

    def respond(self, challenge: bytes) -> bytes:
        """The response to a further 334.

        Raises:
            ChallengeError: it cannot be answered; the exchange must be cancelled.
        """
        try:
            decoded = binascii.a2b_base64(challenge.strip(), strict_mode=True)
        except binascii.Error:
            if not isinstance(self._first, bytes):
                raise ChallengeError("the server's challenge is not base64") from None
            decoded = challenge
        try:
            response = self._steps.send(decoded)
        except StopIteration:
            raise ChallengeError("the server asks on, though everything was said") from None
        self._responses += 1
        return _encode(response or b"")


def _encode(data: bytes) -> bytes:
    return base64.b64encode(data)


def _plain(credentials: Credentials, nonce: str, host: str, port: int) -> Responses:
    yield b"\0" + credentials.username.encode() + b"\0" + credentials.password.encode()


def _login(credentials: Credentials, nonce: str, host: str, port: int) -> Responses:
    yield credentials.username.encode()
    yield credentials.password.encode()


def _cram_md5(credentials: Credentials, nonce: str, host: str, port: int) -> Responses:
    challenge = yield None
    digest = hmac.new(credentials.password.encode(), challenge, hashlib.md5).hexdigest()
    yield f"{credentials.username} {digest}".encode()


def _xoauth2(credentials: Credentials, nonce: str, host: str, port: int) -> Responses:
    yield f"user={credentials.username}\x01auth=Bearer {credentials.token}\x01\x01".encode()
    # The challenge holds the error; an empty response asks for the final reply.
    yield b""


def _oauthbearer(credentials: Credentials, nonce: str, host: str, port: int) -> Responses:
    where = (f"host={host}\x01" if host else "") + (f"port={port}\x01" if port else "")
    user = _scram_name(credentials.username)
    yield f"n,a={user},\x01{where}auth=Bearer {credentials.token}\x01\x01".encode()
    # RFC 7628 3.2.3: a single ^A, whatever the error says.
    yield b"\x01"


def _scram(algorithm: str) -> Callable[[Credentials, str, str, int], Responses]:
    """SCRAM without channel binding (RFC 5802, RFC 7677)."""

    def steps(credentials: Credentials, nonce: str, host: str, port: int) -> Responses:
        bare = f"n={_scram_name(_prepared(credentials.username))},r={nonce}"
        server_first = yield f"n,,{bare}".encode()
        fields = _fields(server_first)
        salt, iterations = _salt_and_iterations(fields, nonce)
        without_proof = f"c=biws,r={fields['r']}"  # biws: the header `n,,` in base64
        message = f"{bare},{server_first.decode()},{without_proof}".encode()
        secret = _prepared(credentials.password).encode()
        salted = hashlib.pbkdf2_hmac(algorithm, secret, salt, iterations)
        client_key = hmac.digest(salted, b"Client Key", algorithm)
        stored_key = hashlib.new(algorithm, client_key).digest()
        signature = hmac.digest(stored_key, message, algorithm)
        proof = bytes(left ^ right for left, right in zip(client_key, signature, strict=True))
        server_final = yield f"{without_proof},p={base64.b64encode(proof).decode()}".encode()
        expected = hmac.digest(hmac.digest(salted, b"Server Key", algorithm), message, algorithm)
        _require_signature(_fields(server_final), expected)
        yield b""

    return steps


def _fields(message: bytes) -> dict[str, str]:
    """The attributes of a SCRAM message (RFC 5802 5.1).

    Raises:
        ChallengeError: it is none.
    """
    try:
        parts = message.decode().split(",")
    except UnicodeDecodeError:
        raise ChallengeError("the server's SCRAM message is not UTF-8") from None
    fields = {part[0]: part[2:] for part in parts if part[1:2] == "="}
    if "e" in fields:
        raise ChallengeError("the server ends the SCRAM exchange with an error")
    return fields


def _salt_and_iterations(fields: dict[str, str], nonce: str) -> tuple[bytes, int]:
    if "m" in fields:
        raise ChallengeError("the server's SCRAM message wants an extension that is not known")
    # RFC 5802 5.1: the client MUST verify that the server's nonce begins with its own, and is longer.
    if not fields.get("r", "").startswith(nonce) or fields["r"] == nonce:
        raise ChallengeError("the server's SCRAM nonce does not continue ours")
    try:
        salt = base64.b64decode(fields["s"], validate=True)
        iterations = int(fields["i"])
    except (KeyError, ValueError):
        raise ChallengeError("the server's SCRAM message has no salt or no iteration count") from None
    if not 0 < iterations <= MAX_ITERATIONS:
        raise ChallengeError(f"the server's SCRAM iteration count is not between 1 and {MAX_ITERATIONS}")
    return salt, iterations


def _require_signature(fields: dict[str, str], expected: bytes) -> None:
    try:
        signature = base64.b64decode(fields["v"], validate=True)
    except (KeyError, ValueError):
        raise ChallengeError("the server gives no SCRAM signature") from None
    if not hmac.compare_digest(signature, expected):
        raise ChallengeError("the server's SCRAM signature is wrong: it does not know the password")


def _scram_name(name: str) -> str:
    """RFC 5802 5.1 saslname, and OAUTHBEARER's authzid."""
    return name.replace("=", "=3D").replace(",", "=2C")


def _prepared(text: str) -> str:
    """What SASLprep (RFC 4013 2) makes of a name or password that people can type."""
    if text.isascii():
        return text
    spaced = "".join(" " if unicodedata.category(char) == "Zs" else char for char in text)
    return unicodedata.normalize("NFKC", spaced)


MECHANISMS: Final[dict[str, Callable[[Credentials, str, str, int], Responses]]] = {
    "PLAIN": _plain,
    "LOGIN": _login,
    "CRAM-MD5": _cram_md5,
    "SCRAM-SHA-1": _scram("sha1"),
    "SCRAM-SHA-256": _scram("sha256"),
    "XOAUTH2": _xoauth2,
    "OAUTHBEARER": _oauthbearer,
}
