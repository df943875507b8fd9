"""What commands read: sessions newest first, names resolved, lines streamed, errors in one line."""

import os
import sqlite3
import tracemalloc
from pathlib import Path

import pytest

from smtpproxy.errors import NotFoundError, StoreError
from smtpproxy.store.log import open_log
from smtpproxy.store.reader import LogReader
from smtpproxy.store.schema import open_store
from tests.store.conversations import append_all, content, encode, end, probe, short_session, start


async def test_sessions_come_newest_first_by_when_they_started(path: Path) -> None:
    async with open_log(path, encode=encode) as log:
        for session, day in (("01B", 2), ("01C", 3), ("01A", 1)):
            append_all(log, short_session(session, day=day))
    with LogReader(path) as reader:
        assert [summary.session for summary in reader.sessions()] == ["01C", "01B", "01A"]
        assert [summary.session for summary in reader.sessions(limit=2)] == ["01C", "01B"]
        assert list(reader.sessions(limit=0)) == []


async def test_a_long_list_is_whole_and_without_repetition(path: Path) -> None:
    names = [f"01{number:04d}" for number in range(450)]
    async with open_log(path, encode=encode) as log:
        for name in names:
            # All started at the same instant.
            append_all(log, short_session(name))
    with LogReader(path) as reader:
        assert [summary.session for summary in reader.sessions()] == names[::-1]


async def test_names_resolve_as_people_write_them(path: Path) -> None:
    async with open_log(path, encode=encode) as log:
        append_all(log, short_session("01AB", day=1))
        append_all(log, short_session("01AC", day=3))
        append_all(log, short_session("01ACX", day=2))
        append_all(log, probe("01Z", day=4))
    with LogReader(path) as reader:
        assert reader.resolve("latest") == "01AC"
        assert reader.resolve("01AB") == "01AB"
        assert reader.resolve("01AC") == "01AC"  # a whole id, though another begins with it
        assert reader.resolve("01ACX") == "01ACX"
        assert reader.resolve("01Z") == "01Z"
        with pytest.raises(NotFoundError, match="4 sessions begin with 01"):
            reader.resolve("01")
        with pytest.raises(NotFoundError, match="no session 02 in"):
            reader.resolve("02")
        for name in ("../etc/passwd", "a b", "", "%", "x\0", "é", "1" * 65):
            with pytest.raises(NotFoundError, match="not a session id"):
                reader.resolve(name)


async def test_latest_of_nothing_says_so(path: Path) -> None:
    async with open_log(path, encode=encode) as log:
        append_all(log, probe("01A"))
    with LogReader(path) as reader, pytest.raises(NotFoundError, match=r"no session in .* yet"):
        reader.resolve("latest")


async def test_a_large_session_is_read_in_pieces(path: Path) -> None:
    piece = "x" * 65000 + "\r\n"
    async with open_log(path, encode=encode) as log:
        append_all(log, [start("01A")])
        for n in range(1, 301):
            append_all(log, [content("01A", n, piece)])
            if n % 50 == 0:
                await log.flush()
        append_all(log, [end("01A", 301)])
    with LogReader(path) as reader:
        tracemalloc.start()
        assert sum(len(line) for line in reader.lines("01A")) > 300 * 65000
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 4 * 1024 * 1024


async def test_head_and_oldest_tell_what_there_is(path: Path) -> None:
    async with open_log(path, encode=encode) as log:
        with LogReader(path) as reader:
            assert (reader.head(), reader.oldest(), list(reader.sessions())) == (0, 0, [])
            append_all(log, short_session("01A"))
            await log.flush()
            assert (reader.head(), reader.oldest()) == (3, 1)
            assert len(reader.log_id()) == 16


async def test_a_reader_holds_no_transaction_between_two_items(path: Path) -> None:
    async with open_log(path, encode=encode) as log:
        append_all(log, short_session("01A", commands=2000))
        await log.flush()
        with LogReader(path) as reader:
            lines, sessions = reader.lines("01A"), reader.sessions()
            next(lines)
            next(sessions)
            # A full checkpoint succeeds only where nobody reads an older state of the database.
            connection = open_store(path)
            busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            connection.close()
            assert busy == 0
            assert len(list(lines)) == 2001


async def test_reading_changes_nothing(path: Path) -> None:
    async with open_log(path, encode=encode) as log:
        append_all(log, short_session("01A"))
    before = path.read_bytes()
    with LogReader(path) as reader:
        assert len(list(reader.lines("01A"))) == 3
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            reader._connection.execute("DELETE FROM runs")
    assert path.read_bytes() == before


def test_there_must_be_a_store(path: Path) -> None:
    with pytest.raises(StoreError, match=r"there is no store at .*; smtpproxy run creates it"):
        LogReader(path)
    assert not path.exists()


def a_folder(path: Path) -> None:
    path.mkdir()


def a_text(path: Path) -> None:
    path.write_text("Dear diary,\n" * 1000)


def a_foreign_database(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE cookies (name)")
    connection.close()


def a_later_version(path: Path) -> None:
    connection = open_store(path)
    connection.execute("UPDATE meta SET value = '4' WHERE key = 'schema'")
    connection.close()


def an_earlier_version(path: Path) -> None:
    connection = open_store(path)
    connection.execute("UPDATE meta SET value = '1' WHERE key = 'schema'")
    connection.close()


def a_symbolic_link(path: Path) -> None:
    open_store(path.with_name("elsewhere.db")).close()
    path.symlink_to("elsewhere.db")


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_torn_file(path: Path) -> None:
    open_store(path).close()
    data = path.read_bytes()
    path.write_bytes(data[:100] + b"\xff" * (len(data) - 100))


@pytest.mark.parametrize("open_it", [open_store, LogReader])
@pytest.mark.parametrize(
    ("make", "text"),
    [
        (a_folder, "is a folder; give a file in it"),
        (a_text, "is not a smtpproxy store"),
        (a_foreign_database, "is a database of another program"),
        (a_later_version, "is too new: it has version 4, this smtpproxy reads 3; use a later smtpproxy"),
        (an_earlier_version, "is too old: it has version 1, this smtpproxy reads 3; move it away"),
        (a_symbolic_link, "is a symbolic link"),
        (a_pipe, "is not a regular file"),
        (a_torn_file, "is damaged"),
    ],
)
def test_what_is_not_a_store_is_told_in_one_line(path: Path, make, text: str, open_it) -> None:  # type: ignore[no-untyped-def]
    path.parent.mkdir()
    make(path)
    with pytest.raises(StoreError, match=text) as raised:
        open_it(path)
    assert "\n" not in str(raised.value)
    assert str(path) in str(raised.value)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be created: File exists"):
        open_store(tmp_path / "file" / "events.db")
