"""Who may ask what of the web port, and what every answer tells the browser; it knows no socket and no page.

A browser on this machine runs everybody's scripts. So each request names exactly the host that we are (DNS
rebinding), what changes anything or opens the websocket comes from our own pages (cross-site requests send
cookies, cross-site websockets are not even asked for permission), and off loopback there is a token.
"""

import hashlib
import hmac
import json
from collections.abc import Sequence
from typing import Final

import msgspec

from smtpproxy.web.sockets import WILDCARDS, WebAddress, is_loopback

Headers = Sequence[tuple[bytes, bytes]]
"""Names in lower case, as h11 gives them."""

CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; frame-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
"""Nothing inline, nothing from elsewhere; message HTML is framed from our address, under a CSP of its own."""

SECURITY_HEADERS: Final[tuple[tuple[bytes, bytes], ...]] = (
    (b"content-security-policy", CSP.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
    # Somebody's mail; and after an upgrade of smtpproxy an old page must not talk to a new server.
    (b"cache-control", b"no-store"),
)

OPEN_PATHS: Final = frozenset({"/login", "/livez", "/readyz"})
"""What is answered without a token: how to give one, and the probes of orchestrators."""
_SAFE_METHODS: Final = frozenset({b"GET", b"HEAD", b"OPTIONS"})


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """What a request says before its body.

    Attributes:
        path: of the target, still percent-encoded, without the query.
        local: the address that the connection came in by, without brackets.
    """

    method: bytes
    path: str
    headers: Headers
    local: str
    is_upgrade: bool = False

    def values(self, name: bytes) -> list[bytes]:
        """All values of that header."""
        return [value for key, value in self.headers if key == name]


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """An answer that says why not."""

    status: int
    code: str
    text: str
    headers: Headers = ()

    @property
    def body(self) -> bytes:
        """The error as every part of the API tells it."""
        return json.dumps({"error": {"code": self.code, "text": self.text}}).encode()


class Access:
    """Decides for each request, first or later on its connection."""

    def __init__(self, address: WebAddress, *, names: Sequence[str] = (), token: str = "") -> None:
        """Access to the port at that address.

        Args:
            names: further hosts that we are called, `NAME` or `NAME:PORT`, such as a reverse proxy's.
            token: what must be known; "" where nothing must.
        """
        self._port = address.port
        self._is_wildcard = address.host in WILDCARDS
        own = ["localhost", "127.0.0.1", "[::1]"] if self._is_wildcard or is_loopback(address.host) else []
        if not self._is_wildcard:
            own.append(_bracketed(address.host))
        self._hosts = {host for name in own for host in self._with_port(name)}
        for name in names:
            self._hosts |= {name} if _has_port(name) else {name, *self._with_port(name)}
        self._hosts = {host.lower() for host in self._hosts}
        self._token = token.encode()
        self.url = address.url

    @property
    def cookie_name(self) -> str:
        """Cookies are shared by all ports of a host, so each port has its own."""
        return f"smtpproxy-{self._port}"

    @property
    def cookie_value(self) -> str:
        """Proves that the token was known; it is not the token."""
        return hmac.new(self._token, b"smtpproxy login", hashlib.sha256).hexdigest()

    @property
    def has_token(self) -> bool:
        """Whether a token must be known."""
        return bool(self._token)

    def is_token(self, given: str) -> bool:
        """Whether that is the token; takes as long for a wrong one."""
        return hmac.compare_digest(self._token, given.encode("utf-8", "surrogatepass"))

    def refusal(self, head: Head) -> Refusal | None:
        """Why a request is not answered; None where it is."""
        host = self._host(head)
        if host is None:
            return Refusal(
                status=403,
                code="bad-host",
                text=f"this port is not known by that name: open {self.url}, or allow the name by --web-host",
            )
        if not self._is_origin_fine(head, host):
            return Refusal(
                status=403,
                code="bad-origin",
                text="requests that change something, and websockets, are taken from smtpproxy's own page "
                f"only; a program says so with the header Origin: http://{host}",
            )
        if self._token and head.path not in OPEN_PATHS and not self._knows_token(head):
            return self._unauthorized(head)
        return None

    def _host(self, head: Head) -> str | None:
        """The Host header, if there is exactly one and it is ours."""
        hosts = head.values(b"host")
        if len(hosts) != 1:
            return None
        host = hosts[0].decode("ascii", "replace").lower()
        if host in self._hosts:
            return host
        # Bound to every address, we are called by the one connected to; a rebound name is no address.
        if self._is_wildcard and host in self._with_port(_bracketed(head.local.removeprefix("::ffff:"))):
            return host
        return None

    def _is_origin_fine(self, head: Head, host: str) -> bool:
        origins = head.values(b"origin")
        if head.is_upgrade:
            is_missing_fine = True
        elif head.method in _SAFE_METHODS:
            return True
        else:
            is_missing_fine = False
        if not origins:
            return is_missing_fine
        # https: where a reverse proxy in front of us speaks TLS.
        own = (f"http://{host}".encode(), f"https://{host}".encode())
        return len(origins) == 1 and origins[0].lower() in own

    def _knows_token(self, head: Head) -> bool:
        for value in head.values(b"authorization"):
            scheme, _, given = value.strip().partition(b" ")
            if scheme.lower() == b"bearer" and hmac.compare_digest(self._token, given.strip()):
                return True
        expected = self.cookie_value.encode()
        name = self.cookie_name.encode()
        for value in head.values(b"cookie"):
            for pair in value.split(b";"):
                key, _, given = pair.strip().partition(b"=")
                if key == name and hmac.compare_digest(expected, given):
                    return True
        return False

    def _unauthorized(self, head: Head) -> Refusal:
        accepts = b",".join(head.values(b"accept"))
        if head.method == b"GET" and not head.is_upgrade and b"text/html" in accepts:
            return Refusal(status=303, code="login", text="log in first", headers=((b"location", b"/login"),))
        return Refusal(
            status=401,
            code="no-token",
            text="a token is needed: Authorization: Bearer TOKEN (see --web-token), or log in at /login",
            headers=((b"www-authenticate", b'Bearer realm="smtpproxy"'),),
        )

    def _with_port(self, name: str) -> set[str]:
        return {f"{name}:{self._port}"} | ({name} if self._port == 80 else set())


def with_security_headers(headers: Headers) -> list[tuple[bytes, bytes]]:
    """An answer's headers and what every answer says, unless it says that itself."""
    said = {name.lower() for name, _ in headers}
    return [*headers, *((name, value) for name, value in SECURITY_HEADERS if name not in said)]


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _has_port(name: str) -> bool:
    return name.rpartition(":")[2].isdigit() and (not name.startswith("[") or "]:" in name)
