"""What is too old or too much goes, oldest first, whole sessions, in short slices; open ones stay."""

import sqlite3
import time
from pathlib import Path

import pytest
import trio

from smtpproxy.errors import NotFoundError, StoreError
from smtpproxy.session.events import AnyEvent
from smtpproxy.store.contract import Row
from smtpproxy.store.importing import delete_session
from smtpproxy.store.log import open_log
from smtpproxy.store.reader import LogReader
from smtpproxy.store.retention import Retention, remove_piece, used_bytes
from smtpproxy.store.schema import open_store
from smtpproxy.store.writer import SqliteWriter
from tests.ends import until
from tests.store.conversations import append_all, encode, mail_session, recorded, short_session, start

DAY = 86400.0
MIB = 1024 * 1024


class Clock:
    """What time it is for the store."""

    def __init__(self) -> None:
        self.now = 1_000_000_000.0

    def __call__(self) -> float:
        return self.now


def write(writer: SqliteWriter, events: list[AnyEvent]) -> None:
    writer.prepare(recorded(*events))
    writer.write()


def tidy(writer: SqliteWriter) -> float | None:
    """Slice by slice until there is nothing more to do for now."""
    while (delay := writer.tidy()) == 0.0:
        pass
    return delay


def sessions(path: Path) -> list[str]:
    with LogReader(path) as reader:
        return reader.session_ids()


def test_what_is_older_than_a_week_goes(path: Path) -> None:
    clock = Clock()
    writer = SqliteWriter(path, retention=Retention(max_age_s=7 * DAY), clock=clock)
    write(writer, mail_session("01A", day=1))
    clock.now += 3 * DAY
    write(writer, mail_session("01B", day=4))
    assert tidy(writer) == 4 * DAY
    clock.now += 4 * DAY
    assert tidy(writer) == 3 * DAY
    assert sessions(path) == ["01B"]
    with LogReader(path) as reader:
        assert list(reader.lines("01A")) == []
        assert reader.messages("01A") == []
        assert len(reader.messages("01B")) == 1
    clock.now += 3 * DAY
    tidy(writer)
    assert sessions(path) == []
    writer.close()


def test_an_open_session_stays_however_old(path: Path) -> None:
    clock = Clock()
    writer = SqliteWriter(path, retention=Retention(max_age_s=DAY, max_bytes=1), clock=clock)
    write(writer, [start("01A")])
    clock.now += 30 * DAY
    tidy(writer)
    assert sessions(path) == ["01A"]
    writer.close()


def test_age_counts_from_when_it_was_stored(path: Path) -> None:
    clock = Clock()
    writer = SqliteWriter(path, retention=Retention(max_age_s=7 * DAY), clock=clock)
    write(writer, short_session("01NEW", day=20))
    clock.now += DAY
    write(writer, short_session("01OLD", day=1))  # as an import of an old recording would be
    clock.now += 6 * DAY
    tidy(writer)
    assert sessions(path) == ["01OLD"]
    writer.close()


def test_over_the_size_the_oldest_go_and_the_file_shrinks(path: Path) -> None:
    clock = Clock()
    writer = SqliteWriter(path, retention=Retention(max_bytes=10 * MIB), clock=clock)
    for number in range(20):
        clock.now += 1
        write(writer, mail_session(f"01{number:02d}", body="x" * MIB))
    tidy(writer)
    left = sessions(path)
    assert 5 <= len(left) < 10
    assert left == [f"01{number:02d}" for number in range(20 - len(left), 20)]
    writer.close()
    assert path.stat().st_size < 15 * MIB
    connection = sqlite3.connect(path)
    assert used_bytes(connection) < 10 * MIB
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def test_a_slice_is_short_even_where_a_session_is_large(path: Path) -> None:
    writer = SqliteWriter(path, retention=Retention(max_age_s=0.0))
    body: list[AnyEvent] = mail_session("01A", body="x" * 60000)
    for n in range(400):
        write(writer, [body[0] if n == 0 else body[7]])
    write(writer, body[1:])
    took = []
    while True:
        began = time.monotonic()
        delay = writer.tidy()
        took.append(time.monotonic() - began)
        if delay != 0.0:
            break
    writer.close()
    assert len(took) > 1
    # 20 ms and the one transaction that was under way, on a machine that has other things to do.
    assert sorted(took)[len(took) // 2] < 0.060


def test_a_removal_that_was_cut_short_is_finished_and_its_session_not_listed(path: Path) -> None:
    writer = SqliteWriter(path, retention=Retention())
    write(writer, short_session("01A", commands=50_000))
    writer.close()
    connection = open_store(path)
    assert not remove_piece(connection, "01A")  # and then it was killed
    connection.close()
    assert sessions(path) == []
    with LogReader(path) as reader:
        assert reader.oldest() > 1
        assert reader.head() == 50_002
        kept = [row[0] for row in reader.events_after(0, 100_000)]
        assert kept[0] == reader.oldest()
        assert kept == list(range(kept[0], kept[0] + len(kept)))
    writer = SqliteWriter(path, retention=Retention(max_age_s=None, max_bytes=None))
    assert tidy(writer) is None
    writer.close()
    with LogReader(path) as reader:
        assert (reader.oldest(), reader.head()) == (0, 50_002)


def test_what_is_left_around_a_removed_session_is_whole(path: Path) -> None:
    clock = Clock()
    writer = SqliteWriter(path, retention=Retention(max_age_s=DAY), clock=clock)
    old, young = short_session("01OLD", commands=9), short_session("01YOUNG", commands=9)
    for at in range(0, 11, 4):  # side by side, several events of each in every batch
        write(writer, [event for pair in zip(old, young, strict=True) for event in pair][2 * at : 2 * at + 8])
    before = _all(path)
    clock.now += DAY / 2
    write(writer, short_session("01LATE"))
    clock.now += DAY / 2
    with LogReader(path) as reader:
        assert reader.session_ids() == ["01LATE", "01OLD", "01YOUNG"]
    writer.close()
    delete_session(path, "01OLD")
    assert [row for row in _all(path) if row[1] != "01LATE"] == [row for row in before if row[1] == "01YOUNG"]
    # Those that are left come one after another from every position, whatever is missing before them.
    with LogReader(path) as reader:
        left = reader.events_after(0)
        for after in range(reader.head() + 1):
            assert reader.events_after(after) == [row for row in left if row[0] > after]


def _all(path: Path) -> list[Row]:
    with LogReader(path) as reader:
        return reader.events_after(0, 100_000)


async def test_a_running_log_tidies_up_by_itself(path: Path) -> None:
    async with open_log(path, encode=encode, retention=Retention(max_bytes=4 * MIB)) as log:
        for number in range(12):
            append_all(log, mail_session(f"01{number:02d}", body="x" * MIB))
            await log.flush()
        with LogReader(path) as reader:
            await until(lambda: len(list(reader.sessions())) <= 4)
            assert reader.resolve("latest") == "0111"


async def test_a_session_can_be_deleted_beside_a_running_proxy(path: Path) -> None:
    async with open_log(path, encode=encode) as log:
        append_all(log, short_session("01A", commands=500))
        append_all(log, [start("01B")])
        await log.flush()
        await trio.to_thread.run_sync(delete_session, path, "01A")
        assert sessions(path) == ["01B"]
        with pytest.raises(NotFoundError, match="no session 01A"):
            await trio.to_thread.run_sync(delete_session, path, "01A")
        with pytest.raises(StoreError, match="01B is still open"):
            await trio.to_thread.run_sync(delete_session, path, "01B")
