"""Every subscriber gets every event once, in order: at the head, behind, across foreign writes and holes."""

import tempfile
from pathlib import Path

import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smtpproxy.store import feed as feed_module
from smtpproxy.store.contract import Item, Removed
from smtpproxy.store.feed import Subscription
from smtpproxy.store.importing import delete_session, import_session
from smtpproxy.store.log import open_log
from smtpproxy.store.memory import NullLog
from smtpproxy.store.reader import LogReader
from tests.store.conversations import (
    append_all,
    content,
    encode,
    end,
    noop,
    positions,
    recorded,
    short_session,
    start,
)


async def read_until(subscription: Subscription, seq: int) -> list[Item]:
    """What comes up to and including a position."""
    items: list[Item] = []
    with trio.fail_after(10):
        async for item in subscription:
            items.append(item)
            last = item.to_seq if isinstance(item, Removed) else item[-1][0]
            if last >= seq:
                break
    return items


async def test_from_the_head_one_gets_what_comes(path: Path) -> None:
    async with open_log(path, encode=encode) as log:
        append_all(log, short_session("01A"))
        await log.flush()
        with log.feed.subscribe() as subscription:
            lines = append_all(log, short_session("01B"))
            items = await read_until(subscription, 6)
            assert not subscription.is_behind
    assert [row[3] for item in items for row in item] == lines  # type: ignore[union-attr]
    assert positions(items) == [4, 5, 6]


async def test_a_batch_is_handed_over_as_it_was_written(path: Path) -> None:
    async with open_log(path, encode=encode) as log:
        with log.feed.subscribe() as one, log.feed.subscribe() as two:
            append_all(log, short_session("01A"))
            await log.flush()
            assert await anext(one) is await anext(two)


async def test_from_a_position_one_gets_what_is_kept_and_what_comes(path: Path) -> None:
    async with open_log(path, encode=encode) as log:
        append_all(log, short_session("01A"))
        await log.flush()
        with log.feed.subscribe(0) as all_of_it, log.feed.subscribe(2) as rest:
            append_all(log, short_session("01B"))
            assert positions(await read_until(all_of_it, 6)) == [1, 2, 3, 4, 5, 6]
            assert positions(await read_until(rest, 6)) == [3, 4, 5, 6]
            assert not all_of_it.is_behind


async def test_a_position_beyond_the_end_counts_as_the_end(path: Path) -> None:
    async with open_log(path, encode=encode) as log:
        with log.feed.subscribe(1000) as subscription:
            with trio.move_on_after(0.05):
                await anext(subscription)
            append_all(log, short_session("01A"))
            assert positions(await read_until(subscription, 3)) == [1, 2, 3]


async def test_what_was_removed_is_told(path: Path) -> None:
    async with open_log(path, encode=encode) as log:
        append_all(log, [start("01A")])
        await log.flush()
        append_all(log, [start("01B")])
        await log.flush()
        append_all(log, [noop("01A", 1), end("01A", 2)])
        await log.flush()
        append_all(log, [end("01B", 1)])
        append_all(log, short_session("01C"))
        await log.flush()
        for session in ("01A", "01C"):
            await trio.to_thread.run_sync(delete_session, path, session)
        with log.feed.subscribe(0) as subscription:
            assert positions(await read_until(subscription, 8)) == [(1, 1), 2, (3, 4), 5, (6, 8)]


async def test_a_slow_subscriber_costs_bounded_memory_and_misses_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "MAX_QUEUED_BYTES", 10_000)
    async with open_log(path, encode=encode) as log:
        with log.feed.subscribe() as slow:
            append_all(log, [start("01A")])
            for n in range(1, 51):
                append_all(log, [content("01A", n, "x" * 1000)])
                await log.flush()
                assert slow._queued_bytes <= 10_000
            assert slow.is_behind
            assert positions(await read_until(slow, 51)) == list(range(1, 52))
            append_all(log, [end("01A", 51)])
            assert positions(await read_until(slow, 52)) == [52]


async def test_what_another_process_writes_is_noticed(path: Path) -> None:
    async with open_log(path, encode=encode) as log:
        with log.feed.subscribe() as subscription:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(
                    trio.to_thread.run_sync,
                    import_session,
                    path,
                    "01I",
                    lambda: recorded(*short_session("01I")),
                )
                assert positions(await read_until(subscription, 3)) == [1, 2, 3]
            # And what we write after it follows on.
            append_all(log, short_session("01A"))
            assert positions(await read_until(subscription, 6)) == [4, 5, 6]


async def test_closing_the_log_ends_the_iteration_after_the_last_event(path: Path) -> None:
    seen: list[Item] = []

    async def watch(subscription: Subscription) -> None:
        with subscription:
            seen.extend([item async for item in subscription])

    async with trio.open_nursery() as nursery, open_log(path, encode=encode) as log:
        nursery.start_soon(watch, log.feed.subscribe(0))
        nursery.start_soon(watch, log.feed.subscribe())
        append_all(log, short_session("01A"))
    assert sorted(positions(seen)) == [1, 1, 2, 2, 3, 3]  # type: ignore[type-var]


async def test_without_a_store_watchers_get_what_happens_while_they_watch() -> None:
    log = NullLog()
    assert not log.wants_events()
    append_all(log, short_session("01A"))
    with log.feed.subscribe(0) as subscription:
        assert log.wants_events()
        lines = append_all(log, short_session("01B"))
        items = await read_until(subscription, 3)
        # It was behind at first (asked for the oldest), so this much is gone.
        assert items == [Removed(1, 3)]
        lines = append_all(log, short_session("01C"))
        [rows] = await read_until(subscription, 6)
    assert not isinstance(rows, Removed)
    assert [row[3] for row in rows] == lines
    assert not log.wants_events()
    await log.aclose()


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(1, 12)),
        st.tuples(st.just("flush"), st.just(0)),
        st.tuples(st.just("import"), st.integers(1, 5)),
        st.tuples(st.just("subscribe"), st.one_of(st.none(), st.integers(0, 40))),
        st.tuples(st.just("read"), st.integers(0, 3)),
        st.tuples(st.just("delete"), st.integers(0, 5)),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=STEPS, queue=st.integers(0, 3000), page=st.integers(1, 20))
def test_no_gap_and_no_repetition(steps: list[tuple[str, int | None]], queue: int, page: int) -> None:
    """Whatever is written, imported, deleted and read in whatever order, everyone's positions run on from
    where they began to the head; what is left out is told; and rows are what the log was given."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(feed_module, "MAX_QUEUED_BYTES", queue)
        patch.setattr(feed_module, "FOREIGN_POLL_S", 0.01)
        patch.setattr(LogReader.events_after, "__defaults__", (page,))
        trio.run(_take_steps, Path(folder) / "events.db", steps)


class _Watcher:
    """A subscriber, where it began, and what it has seen."""

    def __init__(self, subscription: Subscription, began: int) -> None:
        self.subscription = subscription
        self.position = self.began = began
        self.items: list[Item] = []

    async def read(self) -> None:
        item = await anext(self.subscription)
        self.items.append(item)
        self.position = item.to_seq if isinstance(item, Removed) else item[-1][0]


async def _take_steps(path: Path, steps: list[tuple[str, int | None]]) -> None:
    watchers: list[_Watcher] = []
    sessions: list[str] = []
    lines: dict[str, list[bytes]] = {}
    async with open_log(path, encode=encode) as log:
        for step, number in steps:
            match step, number:
                case "write", int():
                    name = f"01W{len(lines):03d}"
                    lines[name] = append_all(log, short_session(name, commands=number))
                    sessions.append(name)
                case "flush", _:
                    await log.flush()
                case "import", int():
                    name = f"01I{len(lines):03d}"
                    events = recorded(*short_session(name, commands=number))
                    await trio.to_thread.run_sync(import_session, path, name, lambda events=events: events)
                    lines[name] = [line for line, _ in events]
                    sessions.append(name)
                case "delete", int() if sessions:
                    await log.flush()
                    name = sessions.pop(number % len(sessions))
                    await trio.to_thread.run_sync(delete_session, path, name)
                case "subscribe", _:
                    # A position that was given out is never beyond the head.
                    await log.flush()
                    head = _head(path)
                    began = log.feed.head if number is None else min(number, head)
                    watchers.append(_Watcher(log.feed.subscribe(None if number is None else began), began))
                case "read", int() if watchers:
                    with trio.move_on_after(0.02):
                        await watchers[number % len(watchers)].read()
        await log.flush()
        head = _head(path)
        with trio.fail_after(10):
            for watcher in watchers:
                with watcher.subscription:
                    while watcher.position < head:
                        await watcher.read()
    for watcher in watchers:
        _check(watcher, head, lines)


def _head(path: Path) -> int:
    with LogReader(path) as reader:
        return reader.head()


def _check(watcher: _Watcher, head: int, lines: dict[str, list[bytes]]) -> None:
    expected = watcher.began + 1
    left = {name: list(theirs) for name, theirs in lines.items()}
    for item in watcher.items:
        if isinstance(item, Removed):
            assert (item.from_seq, item.to_seq >= item.from_seq) == (expected, True)
            expected = item.to_seq + 1
            continue
        for seq, session, _, line in item:
            assert seq == expected
            expected += 1
            # In its session's order, nothing twice; only what came before the beginning is skipped.
            at = left[session].index(line)
            del left[session][: at + 1]
    assert expected == head + 1
