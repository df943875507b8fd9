"""Batches of events into SQLite: one transaction each, with the rows that sum sessions and messages up.

It blocks, and belongs to one thread at a time; it knows neither threads nor trio, nor when to write.
"""

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, cast

import msgspec

from smtpproxy.errors import SmtpProxyError, StoreError
from smtpproxy.inspect.summary import MessageRow, SessionSummary, Summarizer
from smtpproxy.recording.codec import AnyLine, UnknownEvent, decode
from smtpproxy.session.events import AnyEvent, Content, End
from smtpproxy.store.contract import Batch, Recorded, Row
from smtpproxy.store.retention import Retention
from smtpproxy.store.schema import (
    CLOSED,
    IMPORTING,
    OPEN,
    as_store_error,
    is_busy,
    last_seq,
    open_store,
)

_INSERT_EVENT: Final = "INSERT INTO events (seq, session, kind, line) VALUES (?, ?, ?, ?)"
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
LONG_SUMMARY_BYTES: Final = 1024
_encode_json = msgspec.json.Encoder().encode


class Base:
    """Where a batch came to lie in the log: its rows follow `seq`. 0 until it was written."""

    __slots__ = ("seq",)

    def __init__(self) -> None:
        self.seq = 0


class Place:
    """Where one event came to lie, known once its batch was written."""

    __slots__ = ("base", "index")

    def __init__(self, base: Base, index: int) -> None:
        self.base = base
        self.index = index

    @property
    def seq(self) -> int:
        """The event's position in the log."""
        return self.base.seq + 1 + self.index


class FoldedBatch:
    """Events ready to be written, with all that follows from them."""

    __slots__ = ("base", "events", "messages", "sessions")

    def __init__(self) -> None:
        self.base = Base()
        self.events: list[tuple[str, str, bytes]] = []
        self.messages: list[tuple[str, MessageRow, Place, Place]] = []
        self.sessions: dict[str, tuple[SessionSummary, bytes, int, int]] = {}


class _OpenSession:
    """What is kept in memory of a session until its end: its summary so far, and where its messages lie."""

    __slots__ = ("first", "has_failed", "last", "places", "summarizer", "summary_bytes", "unsummed_bytes")

    def __init__(self) -> None:
        self.summarizer = Summarizer()
        # An event could not be summed up; the row says so with the finding internal-error.
        self.has_failed = False
        self.places: dict[int, tuple[Place, Place]] = {}
        # Of its row as it was last written, and of its lines since then.
        self.summary_bytes = self.unsummed_bytes = 0
        # Of its events in the batch at hand.
        self.first = self.last = -1

    def add_place(self, message: int, place: Place) -> None:
        """A piece of that message lies there."""
        first, _ = self.places.get(message, (place, place))
        self.places[message] = (first, place)


class Folder:
    """Folds events into batches, session by session; it knows no database."""

    def __init__(self) -> None:
        self._open: dict[str, _OpenSession] = {}

    def fold(self, recorded: Iterable[tuple[bytes, AnyLine]]) -> FoldedBatch:
        """Take the next events, of any sessions, in order."""
        batch = FoldedBatch()
        add_row = batch.events.append
        touched: dict[str, _OpenSession] = {}
        for index, (line, event) in enumerate(recorded):
            name = event.session
            state = touched.get(name)
            if state is None:
                state = self._open.get(name)
                if state is None:
                    state = self._open[name] = _OpenSession()
                touched[name] = state
                state.first = index
            state.last = index
            state.unsummed_bytes += len(line)
            if isinstance(event, UnknownEvent):
                add_row((name, event.kind, line))
                continue
            kind = KINDS[type(event)]
            add_row((name, kind, line))
            try:
                state.summarizer.add(event)
            except Exception:  # noqa: BLE001 - the log is what counts: a summary that fails costs it nothing
                state.has_failed = True
            if kind == "content":
                state.add_place(cast("Content", event).message, Place(batch.base, index))
            elif kind == "end":
                self._close(name, state, batch)
                touched.pop(name, None)
        for name, state in touched.items():
            self._sum_up(name, state, batch)
        return batch

    def _close(self, name: str, state: _OpenSession, batch: FoldedBatch) -> None:
        del self._open[name]
        self._sum_up(name, state, batch)

    def _sum_up(self, name: str, state: _OpenSession, batch: FoldedBatch) -> None:
        for message in state.summarizer.take_messages():
            places = state.places.pop(message.message, None)
            if places is not None:
                batch.messages.append((name, message, *places))
        # Rewriting a long summary (one that names hundreds of recipients) with every batch would cost more
        # than the events: it waits until as much was said as it is long, or until the end.
        if state.unsummed_bytes < state.summary_bytes and name in self._open:
            return
        summary = state.summarizer.summary
        if not summary.session:  # a recording that lost its first line still has to be found
            summary = msgspec.structs.replace(summary, session=name)
        if state.has_failed:
            summary = msgspec.structs.replace(summary, findings=[*summary.findings, "internal-error"])
        encoded = _encode_json(summary)
        state.summary_bytes = len(encoded) if len(encoded) > LONG_SUMMARY_BYTES else 0
        state.unsummed_bytes = 0
        batch.sessions[name] = (summary, encoded, state.first, state.last)

    def summary_of(self, session: str) -> SessionSummary:
        """What an open session has come to."""
        return self._open[session].summarizer.summary


def _kinds() -> dict[type, str]:
    return {kind: str(kind.__struct_config__.tag) for kind in AnyEvent.__args__}


KINDS: Final[dict[type, str]] = _kinds()
"""Event type → the `kind` on its line."""


def write_batch(
    connection: sqlite3.Connection, batch: FoldedBatch, *, now: float, is_import: bool = False
) -> Batch:
    """Commit a batch, whole or not at all; may be tried again with the same batch.

    Args:
        now: seconds since the epoch, from which the sessions' age counts.

    Raises:
        sqlite3.Error: nothing of it was written.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Inside the transaction: an import may have written since the last batch.
        after = batch.base.seq = last_seq(connection)
        rows: list[Row] = [
            (seq, session, kind, line) for seq, (session, kind, line) in enumerate(batch.events, after + 1)
        ]
        connection.executemany(_INSERT_EVENT, rows)
        connection.executemany(
            _UPSERT_SESSION,
            [
                (
                    name,
                    summary.started,
                    IMPORTING if is_import else OPEN if summary.outcome == "open" else CLOSED,
                    summary.is_probe,
                    now,
                    after + 1 + first,
                    after + 1 + last,
                    encoded,
                )
                for name, (summary, encoded, first, last) in batch.sessions.items()
            ],
        )
        connection.executemany(
            _INSERT_MESSAGE,
            [
                (
                    name,
                    message.message,
                    message.mail_from,
                    _encode_json(message.rcpt_to).decode(),
                    message.size,
                    first_place.seq,
                    last_place.seq,
                    message.headers,
                )
                for name, message, first_place, last_place in batch.messages
            ],
        )
        connection.execute("COMMIT")
    except BaseException:
        # A failed COMMIT or a full disk may have rolled back already.
        with contextlib.suppress(sqlite3.Error):
            connection.rollback()
        raise
    return Batch(after, rows)


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

    def write(self) -> Batch:
        """Commit the batch that was prepared, whole or not at all; may be tried again.

        Raises:
            StoreError: nothing of it was written; says what to do.
        """
        try:
            batch = write_batch(self._opened(), self._prepared, now=self._clock())
        except sqlite3.Error as error:
            self._drop_broken(error)
            raise as_store_error(error, self.path) from error
        self.head = batch.rows[-1][0] if batch.rows else batch.after
        self._retention.note_written(sum(len(row[3]) for row in batch.rows))
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
                for (line,) in connection.execute(
                    "SELECT line FROM events WHERE session = ? ORDER BY seq", (session,)
                ):
                    position = msgspec.json.decode(line, type=_Position)
                    folder.fold([(line, decode(line))])
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
                self.head = write_batch(connection, batch, now=self._clock()).rows[-1][0]
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
            self._identity = _identity(self.path)
        return self._connection

    def _drop_broken(self, error: sqlite3.Error) -> None:
        # Where someone was merely in the way, the connection is as good as before.
        if not is_busy(error):
            self.close()
