"""What listener and driver need to know of a route, and what they ask of recording; built by service."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from smtpproxy.endpoints import Endpoint
from smtpproxy.session.decisions import Policy
from smtpproxy.session.events import AnyEvent
from smtpproxy.session.options import RelayOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of time and number; 0 sessions per address = no limit."""

    max_sessions: int = 1000
    max_sessions_per_address: int = 0
    idle_timeout_s: float = 900.0
    handshake_timeout_s: float = 10.0
    dial_timeout_s: float = 30.0
    proxy_header_timeout_s: float = 5.0
    shutdown_timeout_s: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One listener and where it leads.

    Attributes:
        connect_to: dial this host and port instead; the upstream's name still counts for TLS.
        client_context: for TLS as a server on the client's leg; None where it is never TLS.
        server_context: for TLS as a client on the server's leg; None where there is none.
        make_policy: for a route without a server leg (sandbox, mock): given the client's address, the
            policy that answers its session.
        is_tunnel: pass TLS on unread; only metadata is recorded.
        choose: asked for every session that begins: the route that it takes, if not this one. Of the route
            chosen everything counts but `listen`.
    """

    name: str
    listen: Endpoint
    upstream: Endpoint
    options: RelayOptions
    connect_to: tuple[str, int] | None = None
    client_context: ssl.SSLContext | None = None
    server_context: ssl.SSLContext | None = None
    make_policy: Callable[[str], Policy] | None = None
    is_tunnel: bool = False
    choose: "Callable[[], Route] | None" = None
    limits: Limits = field(default_factory=Limits)


class Recorder(Protocol):
    """Where one session's events go. Never blocks, never raises, never awaits."""

    def record(self, events: list[AnyEvent]) -> None:
        """Take the session's next events, in order."""


class Recording(Protocol):
    """What the driver asks of the log as a whole."""

    def open_session(self) -> Recorder:
        """A recorder for a session that begins."""

    def is_full(self) -> bool:
        """Whether sockets should not be read for now: the log is behind (asked before each read; cheap)."""

    async def wait_until_ready(self) -> None:
        """Return when reading may go on; takes at most 2 s."""

    def refusal(self) -> str | None:
        """Why no new session may begin (recording failed and the operator asked for that), or None."""
