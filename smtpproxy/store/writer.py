"""Batches into SQLite: one transaction each, with the rows that sum sessions and messages up.

It blocks, and belongs to one thread at a time; it knows neither threads nor trio, nor when to write.
"""

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from smtpproxy.errors import SmtpProxyError, StoreError
from smtpproxy.recording.codec import decode
from smtpproxy.session.events import AnyEvent, End
from smtpproxy.store.contract import Recorded
from smtpproxy.store.folding import FoldedBatch, Folder
from smtpproxy.store.indexing import Indexer
from smtpproxy.store.retention import Retention
from smtpproxy.store.runs import unpack
from smtpproxy.store.schema import (
    CLOSED,
    IMPORTING,
    OPEN,
    as_store_error,
    is_busy,
    last_seq,
    open_store,
    transaction,
)

_INSERT_RUN: Final = "INSERT INTO runs (seq, first, session, lines) VALUES (?, ?, ?, ?)"
_INSERT_MESSAGE: Final = "INSERT OR REPLACE INTO messages VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
# What is being removed or imported (REMOVING, IMPORTING) stays hidden whatever is added.
_UPSERT_SESSION: Final = """
INSERT INTO sessions (session, started, state, is_probe, stored, first_seq, last_seq, summary)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (session) DO UPDATE SET
    state = CASE WHEN state IN (2, 3) THEN state ELSE excluded.state END,
    is_probe = excluded.is_probe, stored = excluded.stored, last_seq = excluded.last_seq,
    summary = excluded.summary
"""
_encode_json = msgspec.json.Encoder().encode


def write_batch(
    connection: sqlite3.Connection, batch: FoldedBatch, *, now: float, is_import: bool = False
) -> None:
    """Commit a batch, whole or not at all; may be tried again with the same batch.

    Args:
        batch: afterwards it says where everything lies.
        now: seconds since the epoch, from which the sessions' age counts.

    Raises:
        sqlite3.Error: nothing of it was written.
    """
    with transaction(connection):
        # Inside the transaction: an import may have written since the last batch.
        batch.place_after(last_seq(connection))
        connection.executemany(_INSERT_RUN, _run_rows(batch))
        connection.executemany(_UPSERT_SESSION, _session_rows(batch, now=now, is_import=is_import))
        connection.executemany(_INSERT_MESSAGE, _message_rows(batch))


def _run_rows(batch: FoldedBatch) -> Iterator[tuple[int, int, str, bytes]]:
    for stretch in batch.stretches:
        first = stretch.base.seq
        for count, lines in stretch.runs:
            yield first + count - 1, first, stretch.session, lines
            first += count


def _session_rows(
    batch: FoldedBatch, *, now: float, is_import: bool
) -> Iterator[tuple[str, str, int, bool, float, int, int, bytes]]:
    for stretch, summary, encoded in batch.sessions:
        state = IMPORTING if is_import else OPEN if summary.outcome == "open" else CLOSED
        yield (
            stretch.session,
            summary.started,
            state,
            summary.is_probe,
            now,
            stretch.base.seq,
            stretch.last_seq,
            encoded,
        )


def _message_rows(batch: FoldedBatch) -> Iterator[tuple[str, int, str, str, int, int, int, bytes]]:
    for session, message, (first, first_index), (last, last_index) in batch.messages:
        yield (
            session,
            message.message,
            message.mail_from,
            _encode_json(message.rcpt_to).decode(),
            message.size,
            first.seq + first_index,
            last.seq + last_index,
            message.headers,
        )


class _Position(msgspec.Struct):
    """What an event line says of its place in its session."""

    n: int
    t: float


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file lies there; None where none does."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


class SqliteWriter:
    """Writes the event log of a running proxy; reopens the file after whatever went wrong with it."""

    def __init__(self, path: Path, *, retention: Retention, clock: Callable[[], float] = time.time) -> None:
        """Open the store, and create it where there is none.

        Raises:
            StoreError: says what is in the way, and what to do.
        """
        self.path = path
        self._clock = clock
        self._retention = retention
        self._folder = Folder()
        self._prepared = FoldedBatch()
        self._indexer = Indexer()
        self._connection: sqlite3.Connection | None = open_store(path)
        self._identity = _identity(path)
        self.head = last_seq(self._connection)

    @property
    def is_tidying_due(self) -> bool:
        """Whether so much was written that `tidy` should be called before it foresaw."""
        return self._retention.is_due

    def prepare(self, events: list[Recorded]) -> None:
        """Take the next batch, once; `write` puts it into the log."""
        self._prepared = self._folder.fold(events)

    def write(self) -> FoldedBatch:
        """Commit the batch that was prepared, whole or not at all; may be tried again where it was not.

        Raises:
            StoreError: nothing of it was written; says what to do.
        """
        batch = self._prepared
        try:
            write_batch(self._opened(), batch, now=self._clock())
        except sqlite3.Error as error:
            self._drop_broken(error)
            raise as_store_error(error, self.path) from error
        # Its lines are the caller's now: they need not stay in memory until the next batch.
        self._prepared = FoldedBatch()
        self.head = batch.head
        self._retention.note_written(batch.octets)
        for stretch, summary, _ in batch.sessions:
            if summary.outcome != "open":
                self._indexer.note_ended(stretch.session)
        return batch

    def tidy(self) -> float | None:
        """Remove what is too old or too much, for at most a few milliseconds.

        Returns:
            Seconds until there is more to do; None where nothing is foreseen.

        Raises:
            StoreError: it could not be done now.
        """
        try:
            return self._retention.run_slice(self._opened(), now=self._clock())
        except sqlite3.Error as error:
            self._drop_broken(error)
            raise as_store_error(error, self.path) from error

    def index(self) -> bool:
        """Bring the index of what is searched a little closer to the log.

        Returns:
            Whether there is more to do now.

        Raises:
            StoreError: it could not be done now.
        """
        try:
            return self._indexer.run_piece(self._opened())
        except sqlite3.Error as error:
            self._drop_broken(error)
            raise as_store_error(error, self.path) from error

    def mark_interrupted(self, encode: Callable[[AnyEvent], bytes]) -> int:
        """End the sessions that an earlier run left open, in the log itself: it was killed.

        Returns:
            How many there were.

        Raises:
            StoreError: they could not be written.
        """
        try:
            connection = self._opened()
            found = connection.execute(
                "SELECT session FROM sessions WHERE state = ? ORDER BY first_seq", (OPEN,)
            ).fetchall()
            for (session,) in found:
                # Folded anew: the row of a session with a long summary may be behind its events.
                folder, position = Folder(), _Position(n=-1, t=0.0)
                for last, run in connection.execute(
                    "SELECT seq, lines FROM runs WHERE session = ? ORDER BY seq", (session,)
                ):
                    lines = [row[3] for row in unpack(last, session, run)]
                    position = msgspec.json.decode(lines[-1], type=_Position)
                    folder.fold([(line, decode(line)) for line in lines])
                messages = folder.summary_of(session).messages
                end = End(
                    n=position.n + 1,
                    session=session,
                    t=position.t,
                    outcome="interrupted",
                    messages=messages,
                    reason="interrupted",
                )
                batch = folder.fold([(encode(end), end)])
                write_batch(connection, batch, now=self._clock())
                self.head = batch.head
        except (sqlite3.Error, msgspec.DecodeError, SmtpProxyError) as error:
            raise as_store_error(error, self.path) from error
        return len(found)

    def close(self) -> None:
        """Let go of the file; the last one out folds the -wal file in. Never raises."""
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def _opened(self) -> sqlite3.Connection:
        # SQLite goes on writing to a file that somebody has moved or deleted, where nobody will find it.
        identity = _identity(self.path)
        if identity != self._identity:
            self.close()
            if identity is None:
                raise StoreError(
                    f"the store {self.path} is gone; put it back, or restart smtpproxy for a new one"
                )
        if self._connection is None:
            self._connection = open_store(self.path)
            self._indexer.restart()
            self._identity = _identity(self.path)
        return self._connection

    def _drop_broken(self, error: sqlite3.Error) -> None:
        # Where someone was merely in the way, the connection is as good as before.
        if not is_busy(error):
            self.close()
