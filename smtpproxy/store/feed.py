"""Who watches the log gets every event once, in order: from the batch just written, or from the log itself.

A subscriber is a position. At the head it is handed each batch as it is committed; when it falls behind,
reconnects, or another process wrote, it reads the log in bounded pages until it stands at the head again.
So a slow one costs no memory and never slows the writer. The feed knows no database and no thread.
"""

from collections import deque
from types import TracebackType
from typing import Final

import trio

from smtpproxy.errors import StoreError
from smtpproxy.store.contract import Batch, Item, Page, PageSource, Removed, Row

MAX_QUEUED_BYTES: Final = 4 * 1024 * 1024
"""What a subscriber may leave lying before it has to read the log instead."""
MAX_QUEUED_EVENTS: Final = 20_000
MAX_ITEM_EVENTS: Final = 500
FOREIGN_POLL_S: Final = 0.5


class Feed:
    """Hands the log on to its subscribers. Use it from the trio thread, but for `committed`."""

    def __init__(self, source: PageSource, *, head: int) -> None:
        self._source = source
        self._subscriptions: set[Subscription] = set()
        self._look_at = 0.0
        self._is_closed = False
        self._head = head
        self._foreign_head = head

    @property
    def head(self) -> int:
        """The last position known to be in the log."""
        return max(self._head, self._foreign_head)

    @property
    def is_watched(self) -> bool:
        """Whether there are subscribers; may be asked from any thread."""
        return bool(self._subscriptions)

    def committed(self, head: int) -> None:
        """Tell, from any thread, that the log has grown.

        A writer calls this first and looks at `is_watched` then; a subscriber registers first and looks
        at `head` then. So either the writer sees the subscriber, or the subscriber sees the new head.
        """
        self._head = head

    def deliver(self, batch: Batch) -> None:
        """Hand a committed batch to those who stand at the head; never blocks."""
        octets = sum(len(row[3]) for row in batch.rows)
        for subscription in self._subscriptions:
            subscription._put(batch, octets)

    def subscribe(self, after: int | None = None) -> "Subscription":
        """Begin to watch; use the subscription in a `with`.

        Args:
            after: the last position already seen: 0 for the oldest that is kept, None to begin at the head.
        """
        subscription = Subscription(self, self._source)
        self._subscriptions.add(subscription)
        subscription._begin(after)
        return subscription

    def close(self) -> None:
        """Nothing more will come: subscribers get what is in the log, then their iteration ends."""
        self._is_closed = True
        for subscription in self._subscriptions:
            subscription._wake()
        self._close_source_if_idle()

    async def _look_for_foreign_writes(self) -> None:
        """Notice what other processes wrote; subscribers with nothing else to do ask for it."""
        now = trio.current_time()
        if now < self._look_at:
            return
        self._look_at = now + FOREIGN_POLL_S
        try:
            head = await self._source.changed_head()
        except StoreError:
            return  # who needs the log will be told by reading it
        if head is not None and head > self.head:
            self._foreign_head = head
            for subscription in self._subscriptions:
                subscription._fall_behind()

    def _leave(self, subscription: "Subscription") -> None:
        self._subscriptions.discard(subscription)
        self._close_source_if_idle()

    def _close_source_if_idle(self) -> None:
        if self._is_closed and not self._subscriptions:
            self._source.close()


class Subscription:
    """One watcher of the log: iterate over it within a `with`, from one task.

    Each item is a list of rows, or a `Removed` where positions are no longer to be had. Items follow each
    other without gap or repetition.

    Raises:
        StoreError: (from the iteration) the log cannot be read now; iterate again to go on from there.
    """

    def __init__(self, feed: Feed, source: PageSource) -> None:
        self._feed = feed
        self._source = source
        self._position = 0
        self._is_behind = False
        self._queue: deque[Batch] = deque()
        self._queued_bytes = 0
        self._queued_events = 0
        self._items: deque[Item] = deque()
        self._news = trio.Event()

    def __enter__(self) -> "Subscription":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop watching."""
        self._feed._leave(self)

    @property
    def is_behind(self) -> bool:
        """Whether it reads the log rather than what is being written."""
        return self._is_behind

    def __aiter__(self) -> "Subscription":
        return self

    async def __anext__(self) -> Item:
        await trio.lowlevel.checkpoint()
        while not self._items:
            if self._is_behind:
                self._take_page(await self._source.page_after(self._position))
            elif self._queue:
                self._take_queued()
            elif self._feed._is_closed:
                raise StopAsyncIteration
            else:
                self._news = trio.Event()
                with trio.move_on_after(FOREIGN_POLL_S) as waiting:
                    await self._news.wait()
                if waiting.cancelled_caught:
                    await self._feed._look_for_foreign_writes()
        return self._items.popleft()

    def _begin(self, after: int | None) -> None:
        self._position = self._feed.head if after is None else after
        self._is_behind = after is not None

    def _put(self, batch: Batch, octets: int) -> None:
        if self._is_behind:
            return  # it will come to it in the log
        self._queued_bytes += octets
        self._queued_events += len(batch.rows)
        if self._queued_bytes > MAX_QUEUED_BYTES or self._queued_events > MAX_QUEUED_EVENTS:
            self._fall_behind()
        else:
            self._queue.append(batch)
            self._wake()

    def _fall_behind(self) -> None:
        self._is_behind = True
        self._queue.clear()
        self._queued_bytes = self._queued_events = 0
        self._wake()

    def _wake(self) -> None:
        self._news.set()

    def _take_queued(self) -> None:
        """Make one item of what is queued."""
        taken: list[list[Row]] = []
        count = 0
        while self._queue and count < MAX_ITEM_EVENTS:
            batch = self._queue[0]
            if batch.after > self._position:
                # Another process has written in between; that is only in the log.
                self._fall_behind()
                break
            self._queue.popleft()
            self._queued_bytes -= sum(len(row[3]) for row in batch.rows)
            self._queued_events -= len(batch.rows)
            rows = batch.rows
            if rows and rows[0][0] <= self._position:
                rows = [row for row in rows if row[0] > self._position]
            if rows:
                self._position = rows[-1][0]
                taken.append(rows)
                count += len(rows)
        if taken:
            self._items.append(taken[0] if len(taken) == 1 else [row for rows in taken for row in rows])

    def _take_page(self, page: Page) -> None:
        """Make items of a page, holes included."""
        rows: list[Row] = []
        for row in page.rows:
            if row[0] != self._position + 1:
                if rows:
                    self._items.append(rows)
                    rows = []
                self._items.append(Removed(self._position + 1, row[0] - 1))
            rows.append(row)
            self._position = row[0]
        if rows:
            self._items.append(rows)
        elif page.head > self._position:
            self._items.append(Removed(self._position + 1, page.head))
            self._position = page.head
        elif page.head < self._position:
            self._position = page.head  # a position of another log, or of the future
        # What was committed since the page was read is in `head` already, though not on the page.
        if page.is_last and self._feed.head <= self._position:
            self._is_behind = False
