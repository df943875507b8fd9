"""However events are packed into runs, they come out one by one, in order, from any position."""

import json
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from smtpproxy.session.events import AnyEvent
from smtpproxy.store import reader as reader_module
from smtpproxy.store import runs
from smtpproxy.store.contract import Recorded, Row
from smtpproxy.store.importing import delete_session
from smtpproxy.store.log import open_log
from smtpproxy.store.reader import LogReader
from smtpproxy.store.retention import Retention
from smtpproxy.store.runs import MAX_RUN_BYTES, pack, unpack
from smtpproxy.store.writer import SqliteWriter
from tests.store.conversations import append_all, content, encode, end, noop, recorded, short_session, start

LINES = st.lists(st.integers(0, 90_000).map(lambda size: encode(content("01A", 1, "x" * size))), min_size=1)


@given(lines=LINES, last=st.integers(100, 10**12))
def test_what_is_unpacked_is_what_was_packed(lines: list[bytes], last: int) -> None:
    packed = pack(lines, sum(map(len, lines)))
    seq = last - len(lines)
    rows: list[Row] = []
    for count, run in packed:
        seq += count
        rows += unpack(seq, "01A", run)
        assert count == 1 or len(run) <= MAX_RUN_BYTES
    assert rows == [(last - len(lines) + at, "01A", "content", line) for at, line in enumerate(lines, 1)]
    # No two neighbours would have fitted into one.
    for (_, one), (_, two) in pairwise(packed):
        assert len(one) + 1 + len(two.split(b"\n", 1)[0]) > MAX_RUN_BYTES


@contextmanager
def small(*, run: int, page_events: int, page_bytes: int) -> Iterator[None]:
    """Bounds so small that a few events reach them."""
    before = runs.MAX_RUN_BYTES, reader_module.MAX_PAGE_EVENTS, reader_module.MAX_PAGE_BYTES
    runs.MAX_RUN_BYTES, reader_module.MAX_PAGE_EVENTS, reader_module.MAX_PAGE_BYTES = (  # type: ignore[misc]
        run,
        page_events,
        page_bytes,
    )
    try:
        yield
    finally:
        runs.MAX_RUN_BYTES, reader_module.MAX_PAGE_EVENTS, reader_module.MAX_PAGE_BYTES = before  # type: ignore[misc]


# Whose event comes next, and how long it is; None ends the batch.
TRAFFIC = st.lists(st.one_of(st.none(), st.tuples(st.integers(0, 3), st.integers(0, 400))), max_size=60)


@settings(max_examples=60, deadline=None)
@given(
    traffic=TRAFFIC,
    run=st.integers(1, 2000),
    page_events=st.integers(1, 12),
    page_bytes=st.integers(1, 3000),
    removed=st.none() | st.integers(0, 3),
)
def test_from_every_position_the_rest_of_the_log_comes_without_gap_or_repetition(
    traffic: list[tuple[int, int] | None], run: int, page_events: int, page_bytes: int, removed: int | None
) -> None:
    with (
        small(run=run, page_events=page_events, page_bytes=page_bytes),
        tempfile.TemporaryDirectory() as folder,
    ):
        path = Path(folder) / "events.db"
        said = _write(path, traffic)
        if removed is not None and f"01{removed}" in said:
            delete_session(path, f"01{removed}")
            del said[f"01{removed}"]
        with LogReader(path) as reader:
            kept = _read(reader, 0)
            assert len({row[0] for row in kept}) == len(kept)
            for session, lines in said.items():
                assert [row[3] for row in kept if row[1] == session] == lines == list(reader.lines(session))
            assert sum(map(len, said.values())) == len(kept)
            assert reader.oldest() == (kept[0][0] if kept else 0)
            for after in range(reader.head() + 2):
                assert _read(reader, after) == [row for row in kept if row[0] > after]


def _write(path: Path, traffic: list[tuple[int, int] | None]) -> dict[str, list[bytes]]:
    """Batch after batch; what each session said."""
    said: dict[str, list[bytes]] = {}
    batch: list[Recorded] = []
    writer = SqliteWriter(path, retention=Retention())

    def add(event: AnyEvent) -> None:
        [(line, _)] = recorded(event)
        said.setdefault(event.session, []).append(line)
        batch.append((line, event))

    def write() -> None:
        # `prepare` takes the batch over.
        writer.prepare(batch.copy())
        batch.clear()
        after = writer.head
        written = writer.write()
        assert [row[0] for row in written.rows()] == list(range(after + 1, written.head + 1))

    for turn in traffic:
        if turn is None:
            write()
            continue
        session, size = f"01{turn[0]}", turn[1]
        n = len(said.get(session, []))
        add(start(session) if n == 0 else content(session, n, "x" * size) if size else noop(session, n))
    for session, lines in list(said.items()):
        add(end(session, len(lines)))
    write()
    writer.close()
    return said


def _read(reader: LogReader, after: int) -> list[Row]:
    """Page by page to the end, as a watcher does that comes back with the last position it has seen."""
    rows: list[Row] = []
    while True:
        page = reader.page_after(after)
        assert len(page.rows) <= reader_module.MAX_PAGE_EVENTS
        assert sum(len(row[3]) for row in page.rows[:-1]) < reader_module.MAX_PAGE_BYTES
        rows += page.rows
        if page.is_last:
            return rows
        after = page.rows[-1][0]


def test_a_position_in_the_middle_of_a_run_gives_the_rest_of_it(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    writer = SqliteWriter(path, retention=Retention())
    events: list[AnyEvent] = [start("01A"), *(noop("01A", n) for n in range(1, 400))]
    writer.prepare(recorded(*events))
    writer.write()
    with LogReader(path) as reader:
        assert reader._connection.execute("SELECT count(*) FROM runs").fetchone() == (1,)
        whole = reader.events_after(0)
        assert whole == [
            (seq, "01A", "command" if seq > 1 else "session", encode(event))
            for seq, event in enumerate(events, 1)
        ]
        assert reader.events_after(200) == whole[200:]
        assert reader.events_after(399) == whole[399:]
        assert reader.events_after(400) == []
        assert reader.events_after(10, limit=3) == whole[10:13]
    writer.close()


async def test_a_sql_shell_sees_a_row_for_each_event(path: Path) -> None:
    async with open_log(path, encode=encode) as log:
        append_all(log, [*short_session("01A"), content("01B", 0, 'Über "quoted"\r\n, [ ]\0')])
        await log.flush()
        with LogReader(path) as reader:
            rows = reader.events_after(0)
    connection = sqlite3.connect(path)
    found = connection.execute("SELECT seq, session, kind, line FROM events ORDER BY seq").fetchall()
    connection.close()
    assert [row[:3] for row in found] == [row[:3] for row in rows]
    assert [json.loads(row[3]) for row in found] == [json.loads(row[3]) for row in rows]
