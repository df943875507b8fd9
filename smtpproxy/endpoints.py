"""Listen and upstream URLs as values: what scheme, host and port mean; no I/O.

The schemes say how TLS starts on that leg:
`smtp://` plain, or STARTTLS in step · `smtp+starttls://` the proxy upgrades (upstream only) ·
`smtps://` TLS from the first byte · `lmtp://` LMTP, TLS as with `smtp://` · `unix:/path` LMTP's usual
socket, spoken as SMTP unless written `lmtp+unix:/path` · `sandbox:` the embedded provider (upstream only) ·
`mock:` a recorded one in its place, which no user writes: `smtpproxy mock` makes it.
"""

import ipaddress
import re
from typing import Literal, cast
from urllib.parse import urlsplit

import msgspec

from smtpproxy.errors import EndpointError

Scheme = Literal["smtp", "smtp+starttls", "smtps", "lmtp", "sandbox", "mock"]
DEFAULT_PORTS: dict[str, int] = {"smtp": 25, "smtp+starttls": 587, "smtps": 465, "lmtp": 24}
_EMBEDDED = ("sandbox", "mock")
_SCHEMES = "smtp://, smtp+starttls://, smtps://, lmtp:// or unix:/path"
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252})\Z")


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One end of a route.

    Attributes:
        scheme: how TLS starts there, and whether it is LMTP.
        host: a name or an address without brackets; empty for a unix socket, sandbox or mock.
        port: 0 lets the system choose (listen only).
        path: the unix socket's path, else empty.
    """

    scheme: Scheme
    host: str = ""
    port: int = 0
    path: str = ""

    @property
    def is_lmtp(self) -> bool:
        """Whether LMTP's rules hold (RFC 2033: LHLO, a reply per recipient)."""
        return self.scheme == "lmtp"

    @property
    def is_sandbox(self) -> bool:
        """Whether this is the embedded provider."""
        return self.scheme == "sandbox"

    @property
    def is_mock(self) -> bool:
        """Whether recorded sessions stand in for a server."""
        return self.scheme == "mock"

    @property
    def is_embedded(self) -> bool:
        """Whether the server is part of this program, so that nothing is dialled."""
        return self.scheme in _EMBEDDED

    @property
    def is_loopback(self) -> bool:
        """Whether nothing leaves this machine on the way there; names are not resolved."""
        if self.path or self.is_embedded or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host.split("%", 1)[0]).is_loopback
        except ValueError:
            return False

    @property
    def hostport(self) -> str:
        """`HOST:PORT` for people, brackets around IPv6; the path of a unix socket."""
        if self.path:
            return self.path
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def with_port(self, port: int) -> "Endpoint":
        """The same endpoint on the port that the system gave."""
        return msgspec.structs.replace(self, port=port)

    def __str__(self) -> str:
        if self.is_embedded:
            return f"{self.scheme}:"
        if self.path:
            return f"{'lmtp+' if self.scheme == 'lmtp' else ''}unix:{self.path}"
        return f"{self.scheme}://{self.hostport}"


def parse_endpoint(text: str, *, is_listen: bool) -> Endpoint:
    """Read a URL that a person wrote.

    Raises:
        EndpointError: says what is wrong with it and what would be right.
    """
    what = "listen" if is_listen else "upstream"
    if text in ("sandbox", "sandbox:", "sandbox://"):
        if is_listen:
            raise EndpointError(
                "listen URL sandbox: the sandbox is an upstream; listen on smtp://127.0.0.1:1025"
            )
        return Endpoint(scheme="sandbox")
    unix_schemes: tuple[tuple[str, Scheme], ...] = (
        ("unix:", "smtp"),
        ("lmtp+unix:", "lmtp"),
        ("smtp+unix:", "smtp"),
    )
    for prefix, scheme in unix_schemes:
        if text.startswith(prefix):
            path = text[len(prefix) :]
            path = path.removeprefix("//")
            if not path or "\0" in path or len(path.encode()) > 107:
                raise EndpointError(f"{what} URL {text}: a unix socket needs a path of 1 to 107 bytes")
            return Endpoint(scheme=scheme, path=path)
    _, at, host = text.rpartition("@")
    if at:
        # Before any other fault is told: what stands there is a password, which no message may repeat.
        raise EndpointError(
            f"{what} URL for {host or 'that host'} carries user info; "
            "smtpproxy passes the app's own AUTH on, so remove it"
        )
    if "://" not in text:
        raise EndpointError(f"{what} URL {text!r} has no scheme: write {_SCHEMES}, such as smtp://{text}")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise EndpointError(f"{what} URL {text!r}: {error}") from None
    if parts.scheme not in DEFAULT_PORTS:
        raise EndpointError(f"{what} URL {text!r}: unknown scheme {parts.scheme!r}; use {_SCHEMES}")
    if is_listen and parts.scheme == "smtp+starttls":
        raise EndpointError(f"listen URL {text!r}: listen on smtp://; STARTTLS is offered there by itself")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise EndpointError(f"{what} URL {text!r}: nothing may follow host and port")
    host = parts.hostname or ""
    if not host or (":" not in host and not _HOST.match(host)):
        raise EndpointError(f"{what} URL {text!r}: no host name or address in it")
    if port is None:
        port = DEFAULT_PORTS[parts.scheme]
    elif port == 0 and not is_listen:
        raise EndpointError(f"upstream URL {text!r}: port 0 cannot be dialled")
    return Endpoint(scheme=cast("Scheme", parts.scheme), host=host, port=port)
