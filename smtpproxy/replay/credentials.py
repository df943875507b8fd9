"""Whose secrets a replay may use, and which ones a script needs; they come from the user, never a recording.

Nothing here can be printed, and no error repeats what was given.
"""

import re
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

import msgspec

from smtpproxy.errors import ConfigError
from smtpproxy.recording.spans import PLACEHOLDER

SecretKind: TypeAlias = Literal["password", "token"]
SECRET_OF: Final[dict[str, SecretKind]] = {
    "PLAIN": "password",
    "LOGIN": "password",
    "CRAM-MD5": "password",
    "SCRAM-SHA-1": "password",
    "SCRAM-SHA-256": "password",
    "XOAUTH2": "token",
    "OAUTHBEARER": "token",
}
"""The mechanisms that can be recomputed, and what each needs."""
MADE_UP: Final = "smtpproxy-knows-no-secret"
"""What a login that was refused when it was recorded is rerun with."""
NOBODY: Final = "nobody"


class Credentials:
    """One account's name and secrets; "" is not given. Printing shows the account alone."""

    __slots__ = ("password", "token", "username")

    def __init__(self, *, username: str = "", password: str = "", token: str = "") -> None:
        """Take over what the user gave.

        Raises:
            ConfigError: it holds CR, LF or NUL, which no command may carry (RFC 5321 4.1.2, RFC 4616 2).
        """
        for what, text in (("user name", username), ("password", password), ("token", token)):
            if not _LINE_ENDS.isdisjoint(text):
                raise ConfigError(
                    f"the {what} holds CR, LF or NUL, which cannot be sent; look for a stray line end"
                )
        self.username = username
        self.password = password
        self.token = token

    def secret(self, kind: SecretKind) -> str:
        """That secret; "" where it was not given."""
        return self.password if kind == "password" else self.token

    def as_user(self, username: str) -> "Credentials":
        """The same secrets for an account whose name was left open."""
        return Credentials(username=self.username or username, password=self.password, token=self.token)

    def hide_in(self, raw: bytes) -> bytes:
        """A reply without these secrets, should the server quote them."""
        for secret in (self.password, self.token):
            if secret:
                raw = hide(raw, secret.encode())
        return raw

    def __repr__(self) -> str:
        return f"Credentials(username={self.username!r}, …)"


_LINE_ENDS: Final = frozenset("\r\n\0")
_SHORT: Final = 4


def hide(raw: bytes, secret: bytes) -> bytes:
    """A reply with the placeholder in place of each quotation of a secret; its codes stay."""
    pattern = re.escape(secret)
    if len(secret) < _SHORT:
        # So short a secret is part of many a word; the codes at a line's beginning are none of it.
        pattern = rb"(?<![\w\n])" + pattern + rb"(?!\w)"
    return raw[:4] + re.sub(pattern, PLACEHOLDER, raw[4:])


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """One AUTH of a script that needs a secret.

    Attributes:
        step: its number.
        mechanism: a key of SECRET_OF.
        identity: the recorded account; "" where the recording does not tell.
    """

    step: int
    mechanism: str
    identity: str

    @property
    def kind(self) -> SecretKind:
        """What it needs."""
        return SECRET_OF[self.mechanism]


class CredentialBook:
    """What the user gave: one set of credentials for all, or one for each recorded account."""

    def __init__(
        self, default: Credentials | None = None, *, accounts: Mapping[str, Credentials] | None = None
    ) -> None:
        """Take over what was read.

        Args:
            default: for accounts that have none of their own.
            accounts: recorded identity → credentials.
        """
        self._default = default
        self._accounts = dict(accounts or {})

    def find(self, login: Login) -> Credentials | None:
        """The credentials for a login, with a user name; None where the secret it needs is missing."""
        for found in (self._accounts.get(login.identity), self._default):
            if found is not None and found.secret(login.kind):
                named = found.as_user(login.identity)
                return named if named.username else None
        return None

    def add(self, login: Login, secret: str, *, username: str = "") -> None:
        """Keep what the user was asked for.

        Raises:
            ConfigError: as Credentials.
        """
        known = self._accounts.get(login.identity) or Credentials(username=username or login.identity)
        is_password = login.kind == "password"
        self._accounts[login.identity] = Credentials(
            username=known.username,
            password=secret if is_password else known.password,
            token=known.token if is_password else secret,
        )

    def __repr__(self) -> str:
        return f"CredentialBook({len(self._accounts)} accounts)"
