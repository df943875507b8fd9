"""The log that lives in memory, for whoever embeds a proxy and looks at its sessions; nothing is written."""

from typing import Final

import trio

from smtpproxy.endpoints import Endpoint
from smtpproxy.session.events import AnyEvent, End, Reply, SessionStarted
from smtpproxy.store.memory import NullLog

SERVICE_CLOSING: Final = 221
"""The reply to QUIT (RFC 5321 4.1.1.10)."""
_EMBEDDED: Final = frozenset(str(Endpoint(scheme=scheme)) for scheme in ("sandbox", "mock"))


class KeptLog(NullLog):
    """Keeps every session's lines until it is let go of. Use it from the trio thread."""

    def __init__(self) -> None:
        super().__init__()
        self.events = 0
        """Appended since the start."""
        self._lines: dict[str, list[bytes]] = {}
        self._news = trio.Event()
        self._relayed: set[str] = set()
        self._leaving: set[str] = set()

    def wants_events(self) -> bool:
        """Always: this log keeps what it is given."""
        return True

    def append(self, line: bytes, event: AnyEvent) -> None:
        """Keep the next event of its session, and hand it to whoever watches."""
        self._lines.setdefault(event.session, []).append(line)
        self.events += 1
        if isinstance(event, SessionStarted) and event.upstream not in _EMBEDDED:
            self._relayed.add(event.session)
        elif isinstance(event, Reply) and event.to == "client" and event.code == SERVICE_CLOSING:
            self._leaving |= {event.session} & self._relayed
        elif isinstance(event, End):
            self._leaving.discard(event.session)
        self._news.set()
        super().append(line, event)

    def sessions(self) -> dict[str, list[bytes]]:
        """Each session's lines so far, in the order in which the sessions began; the caller's to keep."""
        return {session: list(lines) for session, lines in self._lines.items()}

    async def wait_for_ends(self, timeout_s: float) -> None:
        """Return when each session has ended whose client was told goodbye (221), or the time is over.

        Only where a server has to close it: one that we answer ourselves ends when its client closes.
        One that does not end in time is not waited for again.
        """
        with trio.move_on_after(timeout_s):
            while self._leaving:
                await self._next_event()
        self._leaving.clear()

    async def wait_for_more(self, events: int, timeout_s: float) -> None:
        """Return when more than so many events have come, or the time is over."""
        with trio.move_on_after(timeout_s):
            while self.events <= events:
                await self._next_event()

    async def _next_event(self) -> None:
        if self._news.is_set():  # others may wait for the one that is not
            self._news = trio.Event()
        await self._news.wait()
