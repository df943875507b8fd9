"""One watch over the sockets of all sessions, and one task that calls back what became ready; reads nothing.

A trio task a socket would be switched to for every line that is said, and its socket told to the kernel anew
each time: that costs more than reading the line. Here sockets stay registered, and trio waits for the one
descriptor that tells of them all.
"""

import selectors
import socket
from collections.abc import Callable
from typing import Final

import trio

READ: Final = selectors.EVENT_READ
WRITE: Final = selectors.EVENT_WRITE


class Poller:
    """Calls back for sockets that are ready, level-triggered; callbacks must not raise."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def watch(self, sock: socket.socket, before: int, mask: int, callback: Callable[[int], None]) -> None:
        """Call back with what is ready (READ, WRITE) of what `mask` asks for; 0 forgets the socket.

        Args:
            sock: open and non-blocking; it must be forgotten before it is closed.
            before: the mask asked for until now, 0 for none. With none a socket is not registered at all:
                an error would be told again and again.
            mask: the one from now on.
            callback: may still be called once for a socket that was forgotten a moment ago.
        """
        if not mask:
            self._selector.unregister(sock)
        elif before:
            self._selector.modify(sock, mask, callback)
        else:
            self._selector.register(sock, mask, callback)

    async def run(self) -> None:
        """Call back for ever."""
        while True:
            await trio.lowlevel.wait_readable(self._selector.fileno())
            for key, ready in self._selector.select(0):
                key.data(ready)

    def close(self) -> None:
        """Let go of the descriptor, once no session watches any socket."""
        self._selector.close()
