"""The listening sockets of the web port; bound early, so that its address is known, and served later.

It imports neither HTTP nor websockets: the proxy's start must not wait for those.
"""

import ipaddress
import socket
from contextlib import ExitStack

import msgspec

from smtpproxy.listening import listen_on

BACKLOG = 128
WILDCARDS = ("0.0.0.0", "::")  # noqa: S104 - compared, not bound


class WebAddress(msgspec.Struct, frozen=True, kw_only=True):
    """Where the web port really is.

    Attributes:
        host: as configured: a name or an address without brackets.
        port: never 0.
    """

    host: str
    port: int

    @property
    def url(self) -> str:
        """The page, as someone on this machine opens it."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - compared
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def live_url(self) -> str:
        """The websocket."""
        return f"ws{self.url.removeprefix('http')}/live"


class WebSockets(msgspec.Struct, frozen=True, kw_only=True):
    """The sockets, one for each address that the host stands for."""

    address: WebAddress
    sockets: list[socket.socket]


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach that host; names other than localhost are not looked up."""
    if host.lower() in ("localhost", "localhost."):
        return True
    try:
        return ipaddress.ip_address(host.split("%", 1)[0]).is_loopback
    except ValueError:
        return False


def bind_web(host: str, port: int, *, closing: ExitStack) -> WebSockets:
    """Listen on every address that the host stands for, on one port; 0 takes a free one.

    Args:
        closing: closes the sockets in the end.

    Raises:
        ServiceError: says which address, why, and what to do.
    """
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    bound = listen_on(
        host,
        port,
        backlog=BACKLOG,
        closing=closing,
        what=f"the page cannot listen on {where}",
        advice="take a free port with --web 127.0.0.1:0, or do without with --no-web",
    )
    port = bound[0].getsockname()[1]
    return WebSockets(address=WebAddress(host=host, port=port), sockets=bound)
