"""The law of the feed, with a log in memory whose reads take as long as the example wants them to."""

import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from smtpproxy.store.contract import Batch, Page, Removed, Row
from smtpproxy.store.feed import Feed, Subscription


class MemoryLog:
    """A log that others write to as well, read in small pages, each a snapshot that arrives late."""

    def __init__(self, *, page: int, lateness: int) -> None:
        self.rows: list[Row] = []
        self.head = 0
        self.feed = Feed(self, head=0)
        self._committed: list[Batch] = []
        self._page = page
        self._lateness = lateness

    def write(self, count: int, *, is_foreign: bool = False) -> None:
        after = self.head
        rows = [(seq, "01A", "command", b"%d" % seq) for seq in range(after + 1, after + count + 1)]
        self.rows += rows
        self.head += count
        if not is_foreign:
            self.feed.committed(self.head)
            self._committed.append(Batch(after, rows))

    def deliver(self) -> None:
        for batch in self._committed:
            self.feed.deliver(batch)
        self._committed.clear()

    def remove(self, number: int) -> None:
        del self.rows[: number % 3]
        if self.rows:
            del self.rows[number % len(self.rows)]

    async def page_after(self, seq: int) -> Page:
        rows = [row for row in self.rows if row[0] > seq][: self._page]
        head = self.head
        is_last = not rows or rows[-1][0] == head
        for _ in range(self._lateness):
            await trio.lowlevel.checkpoint()
        return Page(rows, is_last, head)

    async def changed_head(self) -> int | None:
        await trio.lowlevel.checkpoint()
        return self.head

    def close(self) -> None:
        pass


async def watch(subscription: Subscription, began: int, slowness: int) -> int:
    """Read to the end, checking every item against the one before; where it ended."""
    position = began
    with subscription:
        async for item in subscription:
            if isinstance(item, Removed):
                assert item.from_seq == position + 1
                assert item.to_seq >= item.from_seq
                position = item.to_seq
            else:
                assert item
                for seq, _, _, line in item:
                    assert (seq, line) == (position + 1, b"%d" % seq)
                    position = seq
            for _ in range(slowness):
                await trio.lowlevel.checkpoint()
    return position


# What happens, how much of it, and for how many turns of the scheduler nothing does after it.
STEP = st.tuples(
    st.sampled_from(["write", "write", "foreign", "subscribe", "subscribe", "remove", "second"]),
    st.integers(-1, 12),
    st.integers(0, 6),
)


@settings(max_examples=400, deadline=None)
@given(
    steps=st.lists(STEP, min_size=3, max_size=20),
    page=st.integers(1, 12),
    lateness=st.integers(0, 6),
    slowness=st.integers(0, 3),
)
def test_everyone_gets_everything_once_in_order(
    steps: list[tuple[str, int, int]], page: int, lateness: int, slowness: int
) -> None:
    async def run() -> None:
        log = MemoryLog(page=page, lateness=lateness)
        ends: list[int] = []

        async def read(subscription: Subscription, began: int) -> None:
            ends.append(await watch(subscription, began, slowness))

        async with trio.open_nursery() as nursery:
            for step, number, pause in steps:
                match step:
                    case "write":
                        log.write(abs(number) % 5 + 1)
                    case "foreign":
                        log.write(abs(number) % 5 + 1, is_foreign=True)
                    case "second":
                        await trio.sleep(1)
                    case "remove":
                        log.remove(abs(number))
                    case "subscribe":
                        after = None if number < 0 else min(number, log.head)
                        began = log.feed.head if after is None else after
                        nursery.start_soon(read, log.feed.subscribe(after), began)
                for _ in range(pause):
                    await trio.lowlevel.checkpoint()
                # From the writer's thread it takes a while.
                log.deliver()
            # Whoever has fallen out of step is not put right by anything that comes later.
            await trio.sleep(2)
            log.feed.close()
        assert all(end == log.head for end in ends)

    trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0))
