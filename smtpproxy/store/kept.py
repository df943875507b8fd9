"""The log that lives in memory, for whoever embeds a proxy and looks at its sessions; nothing is written."""

import trio

from smtpproxy.session.events import AnyEvent
from smtpproxy.store.memory import NullLog


class KeptLog(NullLog):
    """Keeps every session's lines until it is let go of. Use it from the trio thread."""

    def __init__(self) -> None:
        super().__init__()
        self.events = 0
        """Appended since the start."""
        self._lines: dict[str, list[bytes]] = {}
        self._news = trio.Event()

    def wants_events(self) -> bool:
        """Always: this log keeps what it is given."""
        return True

    def append(self, line: bytes, event: AnyEvent) -> None:
        """Keep the next event of its session, and hand it to whoever watches."""
        self._lines.setdefault(event.session, []).append(line)
        self.events += 1
        self._news.set()
        super().append(line, event)

    def sessions(self) -> dict[str, list[bytes]]:
        """Each session's lines so far, in the order in which the sessions began; the caller's to keep."""
        return {session: list(lines) for session, lines in self._lines.items()}

    async def wait_for_more(self, events: int, timeout_s: float) -> None:
        """Return when more than so many events have come, or the time is over."""
        with trio.move_on_after(timeout_s):
            while self.events <= events:
                self._news = trio.Event()
                await self._news.wait()
