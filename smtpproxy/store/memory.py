"""The log that keeps nothing (`--store none`): the same interface, for those who watch while it happens."""

import trio

from smtpproxy.session.events import AnyEvent
from smtpproxy.store.contract import Batch, LogStatus, Page
from smtpproxy.store.feed import Feed
from smtpproxy.store.runs import kind_of


class _NoPages:
    """What a feed can read of a log that keeps nothing: where it ends."""

    def __init__(self) -> None:
        self.head = 0

    async def page_after(self, seq: int) -> Page:
        """Nothing: whoever falls behind is told that it is gone."""
        await trio.lowlevel.checkpoint()
        return Page([], is_last=True, head=self.head)

    async def changed_head(self) -> int | None:
        """Nobody else writes."""
        await trio.lowlevel.checkpoint()
        return None

    def close(self) -> None:
        """There is nothing to let go of."""


class NullLog:
    """Hands events to whoever watches, and forgets them; positions count from 1 in each run."""

    def __init__(self) -> None:
        self._pages = _NoPages()
        self.feed = Feed(self._pages, head=0)

    def wants_events(self) -> bool:
        """Only while somebody watches; else events need not even be encoded."""
        return self.feed.is_watched

    def append(self, line: bytes, event: AnyEvent) -> None:
        """Hand an event to whoever watches."""
        if not self.feed.is_watched:
            return
        after = self._pages.head
        self._pages.head = after + 1
        self.feed.committed(after + 1)
        self.feed.deliver(Batch(after, [(after + 1, event.session, kind_of(line), line)]))

    def is_full(self) -> bool:
        """Never."""
        return False

    async def wait_until_ready(self) -> None:
        """It always is."""
        await trio.lowlevel.checkpoint()

    def refusal(self) -> str | None:
        """Nothing can fail."""
        return None

    async def flush(self) -> None:
        """There is nothing to wait for."""
        await trio.lowlevel.checkpoint()

    def status(self) -> LogStatus:
        """Nothing is ever pending."""
        return LogStatus()

    async def aclose(self) -> None:
        """End the feed."""
        self.feed.close()
        await trio.lowlevel.checkpoint()
