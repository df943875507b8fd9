"""A store that hangs, fills up or is killed: the app's traffic goes on, and the log tells what it lacks."""

import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from smtpproxy.errors import StoreError
from smtpproxy.store import log as log_module
from smtpproxy.store import schema
from smtpproxy.store.log import EventLog, open_log
from smtpproxy.store.reader import LogReader
from tests.ends import until
from tests.store.conversations import append_all, content, encode, end, noop, short_session, start

MARK = 20_000
PIECE = "x" * 5000


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses short enough for tests; what happens after them is the same."""
    monkeypatch.setattr(log_module, "PAUSE_S", 0.1)
    monkeypatch.setattr(log_module, "RETRY_MAX_S", 0.05)
    monkeypatch.setattr(log_module, "CLOSE_TIMEOUT_S", 0.3)
    monkeypatch.setattr(schema, "BUSY_TIMEOUT_S", 0.02)


@contextmanager
def hanging(path: Path) -> Iterator[None]:
    """Another program sits on the store."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


async def until_recovered(log: EventLog) -> None:
    with trio.fail_after(10):
        while log.status().state != "ok" or log.status().is_dropping or log.status().pending_events:
            await log.flush()
            await trio.sleep(0.005)


def stored(path: Path, session: str) -> list[dict[str, object]]:
    with LogReader(path) as reader:
        return [json.loads(line) for line in reader.lines(session)]


async def test_a_short_hang_loses_nothing(path: Path) -> None:
    async with open_log(path, encode=encode, high_water_bytes=MARK) as log:
        with hanging(path):
            lines = append_all(log, [start("01A"), *(content("01A", n, PIECE) for n in range(1, 5))])
            assert log.is_full()
            assert log.status().pending_events == 5
        with trio.fail_after(5):
            await log.flush()
        assert not log.is_full()
        with LogReader(path) as reader:
            assert list(reader.lines("01A")) == lines


async def test_reading_pauses_until_half_the_mark_is_free(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_module, "PAUSE_S", 30.0)
    async with open_log(path, encode=encode, high_water_bytes=MARK) as log:
        async with trio.open_nursery() as nursery:
            with hanging(path):
                append_all(log, [start("01A"), *(content("01A", n, PIECE) for n in range(1, 5))])
                assert log.is_full()
                nursery.start_soon(log.wait_until_ready)
                await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.deadline = trio.current_time() + 5
        assert not nursery.cancel_scope.cancelled_caught
        assert log.status().pending_bytes <= MARK // 2
        assert not log.status().is_dropping


async def test_after_the_pause_content_is_dropped_and_a_gap_tells(path: Path) -> None:
    async with open_log(path, encode=encode, high_water_bytes=MARK) as log:
        with hanging(path):
            append_all(log, [start("01A"), *(content("01A", n, PIECE) for n in range(1, 5))])
            assert log.is_full()
            await log.wait_until_ready()
            # Traffic goes on.
            assert not log.is_full()
            await log.wait_until_ready()
            append_all(log, [content("01A", 5, PIECE), content("01A", 6, "é" * 10), noop("01A", 7)])
            append_all(log, [start("01B"), noop("01B", 1)])
            status = log.status()
            assert (status.state, status.is_dropping, status.lost_events) == ("failed", True, 2)
            assert "is locked by another program" in status.error
        await until_recovered(log)
        assert log.status().gaps == 1
        append_all(log, [content("01A", 8, "more"), end("01A", 9), end("01B", 2)])
    events = stored(path, "01A")
    assert [(event["kind"], event["n"]) for event in events] == [
        ("session", 0),
        *(("content", n) for n in range(1, 5)),
        ("command", 7),
        ("gap", 5),
        ("content", 8),
        ("end", 9),
    ]
    gap = events[6]
    assert (gap["events"], gap["octets"]) == (2, 5020)
    assert [event["kind"] for event in stored(path, "01B")] == ["session", "command", "end"]


async def test_past_four_marks_all_is_dropped_but_sessions_keep_their_frame(path: Path) -> None:
    async with open_log(path, encode=encode, high_water_bytes=MARK) as log:
        with hanging(path):
            # "Open" was there before, "late" comes and stays, "gone" comes and goes meanwhile.
            append_all(log, [start("01OPEN"), *(content("01OPEN", n, PIECE) for n in range(1, 5))])
            await log.wait_until_ready()
            n = 5
            while log.status().lost_events == 0:
                append_all(log, [noop("01OPEN", n)])
                n += 1
            assert log.status().pending_bytes < 5 * MARK
            append_all(log, [noop("01OPEN", n), end("01OPEN", n + 1)])
            append_all(log, [start("01LATE"), noop("01LATE", 1)])
            append_all(log, short_session("01GONE"))
            assert log.status().lost_sessions == 1
        await until_recovered(log)
        append_all(log, [noop("01LATE", 2), end("01LATE", 3)])
    assert [event["kind"] for event in stored(path, "01OPEN")][-3:] == ["command", "gap", "end"]
    late = stored(path, "01LATE")
    assert [(event["kind"], event["n"]) for event in late] == [
        ("session", 0),
        ("gap", 1),
        ("command", 2),
        ("end", 3),
    ]
    assert stored(path, "01GONE") == []


async def test_memory_stays_bounded_while_the_store_hangs(path: Path) -> None:
    async with open_log(path, encode=encode, high_water_bytes=MARK) as log:
        with hanging(path):
            for number in range(200):
                append_all(log, short_session(f"01{number:04d}", commands=20))
            append_all(log, [start("01X"), *(content("01X", n, PIECE) for n in range(1, 200))])
            # Nobody asked whether it was full.
            assert log.status().pending_bytes <= MARK * 17
            assert log.status().is_dropping
        await until_recovered(log)
    assert [event["kind"] for event in stored(path, "01X")][-1] == "gap"


async def test_refuse_turns_new_sessions_away_while_recording_fails(path: Path) -> None:
    async with open_log(path, encode=encode, on_record_failure="refuse") as log:
        assert log.refusal() is None
        with hanging(path):
            append_all(log, short_session("01A"))
            await until(lambda: log.status().state != "ok")
            assert "is locked" in (log.refusal() or "")
        await until_recovered(log)
        assert log.refusal() is None


async def test_closing_a_store_that_hangs_ends_and_says_what_is_lost(path: Path) -> None:
    async with open_log(path, encode=encode):
        pass
    with hanging(path), pytest.raises(StoreError, match=r"3 events could not be recorded: .* is locked"):
        await _record_in_vain(path)


async def _record_in_vain(path: Path) -> None:
    async with open_log(path, encode=encode) as log:
        append_all(log, short_session("01A"))


async def test_a_store_that_is_moved_away_is_told(path: Path) -> None:
    async with open_log(path, encode=encode) as log:
        for entry in list(path.parent.glob("events.db*")):
            entry.rename(path.parent / f"moved-{entry.name}")
        append_all(log, short_session("01A"))
        await until(lambda: log.status().state != "ok" or not log.status().pending_events)
        assert "is gone; put it back" in log.status().error
        for entry in list(path.parent.glob("moved-events.db*")):
            entry.rename(path.parent / entry.name.removeprefix("moved-"))
        with trio.fail_after(5):
            await log.flush()
    assert len(stored(path, "01A")) == 3


FULL_DISK = """
import resource, signal, sys, trio
from pathlib import Path
from smtpproxy.store.log import open_log
from tests.store.conversations import append_all, content, encode, end, start

async def main(path):
    async with open_log(path, encode=encode) as log:
        append_all(log, [start("01A")])
        await log.flush()
        # No file may grow beyond 1 MB now: writes fail as on a full disk.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))
        for n in range(1, 31):
            append_all(log, [content("01A", n, "x" * 60000)])
        with trio.fail_after(20):
            while log.status().state == "ok":
                await trio.sleep(0.005)
        print(log.status().error)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        with trio.fail_after(20):
            await log.flush()
        assert log.status().state == "ok", log.status()
        append_all(log, [end("01A", 31)])

trio.run(main, Path(sys.argv[1]))
"""


def test_a_full_disk_is_told_and_nothing_is_lost_once_there_is_room(path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(path)], capture_output=True, text=True, timeout=60
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert "the disk is full" in run.stdout or "check the disk" in run.stdout
    assert [event["n"] for event in stored(path, "01A")] == list(range(32))


WRITE_FOR_EVER = """
import sys, trio
from pathlib import Path
from smtpproxy.store.log import open_log
from tests.store.conversations import append_all, content, encode, start

async def main(path):
    async with open_log(path, encode=encode) as log:
        append_all(log, [start("01A")])
        n = 0
        while True:
            for _ in range(20):
                n += 1
                append_all(log, [content("01A", n, "x" * (n % 7) * 1000)])
            await log.flush()
            print(n, flush=True)

trio.run(main, Path(sys.argv[1]))
"""


@pytest.mark.parametrize("moment", [1, 5, 20])
async def test_killed_at_any_moment_it_keeps_all_that_was_flushed(path: Path, moment: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WRITE_FOR_EVER, str(path)], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        for _ in range(moment):
            flushed = int(writer.stdout.readline())
        time.sleep(moment / 3000)  # somewhere in a batch, not just after one
        writer.send_signal(signal.SIGKILL)
        flushed = max([flushed, *map(int, writer.stdout.read().split())])
    with LogReader(path) as reader:
        assert reader._connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        numbers = [json.loads(line)["n"] for line in reader.lines("01A")]
        assert numbers == list(range(len(numbers)))
        # All that was told to be on disk, and at most the batch that was on its way.
        assert flushed < len(numbers) <= flushed + 21
    async with open_log(path, encode=encode):
        pass
    assert stored(path, "01A")[-1]["outcome"] == "interrupted"
