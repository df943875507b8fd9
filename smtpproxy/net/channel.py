"""One side of a session: its transport, and what is watched of its socket; it reads nothing itself."""

import socket
from collections.abc import Callable
from functools import partial

from smtpproxy.net.poller import Poller
from smtpproxy.net.transport import Transport
from smtpproxy.session.events import Leg


class Channel:
    """One side's transport, and what is watched of its socket.

    Attributes:
        side: client or server.
        transport: of the socket.
        mask: what the poller watches for (READ, WRITE); 0 for nothing.
        has_ended: nothing more comes from this side.
        is_choking: too much waits for this side, so the other one is not read.
    """

    __slots__ = ("_callback", "_poller", "has_ended", "is_choking", "mask", "side", "sock", "transport")

    def __init__(
        self, side: Leg, sock: socket.socket, poller: Poller, on_ready: Callable[["Channel", int], None]
    ) -> None:
        """Take over a connected socket; `on_ready` is told of this channel and what is ready."""
        self.side: Leg = side
        self.sock = sock
        self.transport = Transport(sock, on_closing=self._forget)
        self.mask = 0
        self.has_ended = False
        self.is_choking = False
        self._poller = poller
        self._callback: Callable[[int], None] = partial(on_ready, self)

    def watch(self, mask: int) -> None:
        """Be called back for these from now on."""
        if mask != self.mask:
            self._poller.watch(self.sock, self.mask, mask, self._callback)
            self.mask = mask

    def release(self) -> None:
        """Let go of the session: what refers to itself waits for the garbage collector, TLS and all."""
        self._callback = _ignore

    def _forget(self) -> None:
        self.watch(0)


def _ignore(_: int) -> None:
    """What becomes of a call for a session that is gone."""
