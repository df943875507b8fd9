"""The index of what is searched: made from the log, of sessions that have ended, in short pieces of work.

It knows SQLite, not threads, nor when there is time for it. Whatever is not in the index yet is looked up in
the log, so nothing depends on how far it has come.
"""

import contextlib
import sqlite3
import zlib
from collections import deque
from collections.abc import Iterator
from typing import Final

import msgspec

from smtpproxy.inspect.filters.facts import SeenFolder
from smtpproxy.inspect.filters.words import MessageFolder, message_words
from smtpproxy.recording.codec import LineError, UnknownEvent, decode
from smtpproxy.session.events import AnyEvent
from smtpproxy.store.schema import CLOSED, has_index, transaction

MAX_SEEN_BYTES: Final = 64 * 1024
"""A session that says more than this of distinct things is asked by its events."""
MAX_NOTED_SESSIONS: Final = 10_000
# One transaction: FTS5 takes up to 40 ms for a MiB of text, and some for each time.
_CHARACTERS_AT_ONCE: Final = 128 * 1024
_SESSIONS_AT_ONCE: Final = 32
_MESSAGES_REMOVED_AT_ONCE: Final = 64
_MERGED_PAGES_AT_ONCE: Final = 16
_LOOKED_AT_AT_ONCE: Final = 500
_encode_json = msgspec.json.Encoder().encode


class _Draft(msgspec.Struct):
    """What is to be written of a session.

    Attributes:
        first_seq: tells it from one that gets the same name after it was removed.
        messages: the words of each, in order.
        seen: the row that says that it is whole; None where more comes in another transaction.
    """

    session: str
    first_seq: int
    messages: list[str]
    seen: bytes | None = None


class Indexer:
    """Brings the index up to the log, a piece at a time."""

    def __init__(self) -> None:
        self._ended: deque[str] = deque()
        self._must_look = True
        self._version = -1
        self._unreadable: set[str] = set()
        self._work: Iterator[None] | None = None
        self._drafts: list[_Draft] = []
        self._characters = 0

    def note_ended(self, session: str) -> None:
        """Tell that a session has ended, once that is in the log."""
        if len(self._ended) < MAX_NOTED_SESSIONS:
            self._ended.append(session)
        else:
            self._must_look = True

    def restart(self) -> None:
        """Begin anew, by looking at what the index lacks; what was not written yet is forgotten."""
        self._work = None
        self._must_look = True
        self._drafts.clear()
        self._characters = 0

    def run_piece(self, connection: sqlite3.Connection) -> bool:
        """Read a run, take a message's words, or write some of what that gave: mostly a few milliseconds.

        Args:
            connection: the same each time, or `restart` before.

        Returns:
            Whether there is more to do now.

        Raises:
            sqlite3.Error: what is written holds; call again later.
        """
        if self._work is None:
            self._work = self._bring_up(connection)
        try:
            next(self._work)
        except StopIteration:
            self._work = None
            return False
        except BaseException:
            self.restart()
            raise
        return True

    def _bring_up(self, connection: sqlite3.Connection) -> Iterator[None]:
        """All there is to do now; pauses where others may have their turn, never within a transaction."""
        if not has_index(connection):
            return
        for session in self._sessions(connection):
            if session is not None:
                yield from self._index(connection, session)
            if self._characters >= _CHARACTERS_AT_ONCE or len(self._drafts) >= _SESSIONS_AT_ONCE:
                yield from self._write(connection)
            yield
        yield from self._write(connection)

    def _sessions(self, connection: sqlite3.Connection) -> Iterator[str | None]:
        """Those that may lack something, and None for a pause."""
        while True:
            while self._ended:
                yield self._ended.popleft()
            (version,) = connection.execute("PRAGMA data_version").fetchone()
            if not self._must_look and version == self._version:
                return
            # At the start, when another process has written, or when more ended than could be noted.
            self._version, self._must_look = version, False
            yield from _unindexed(connection)

    def _index(self, connection: sqlite3.Connection, session: str) -> Iterator[None]:
        if session in self._unreadable or any(draft.session == session for draft in self._drafts):
            return
        row = connection.execute(
            "SELECT state, first_seq FROM sessions WHERE session = ?"
            " AND NOT EXISTS (SELECT 1 FROM seen WHERE session = sessions.session)",
            (session,),
        ).fetchone()
        if row is None or row[0] != CLOSED:
            return
        # What a process that was killed had begun.
        while connection.execute("SELECT 1 FROM words WHERE session = ?", (session,)).fetchone():
            with transaction(connection):
                unindex_piece(connection, session)
            yield
        messages, seen = MessageFolder(), SeenFolder()
        draft = _Draft(session, row[1], [])
        for events in _runs(connection, session):
            for event in events:
                try:
                    seen.add(event)
                    texts = [message_words(octets) for octets in messages.add(event)]
                except Exception:  # noqa: BLE001 - not found here, it is still found in the log
                    self._unreadable.add(session)
                    return
                for text in texts:
                    draft.messages.append(text)
                    self._characters += len(text)
                    yield
                    if self._characters >= _CHARACTERS_AT_ONCE:
                        self._drafts.append(draft)
                        yield from self._write(connection)
                        draft = _Draft(session, row[1], [])
            yield
        encoded = _encode_json(seen.seen)
        draft.seen = encoded if len(encoded) <= MAX_SEEN_BYTES else b""
        self._drafts.append(draft)

    def _write(self, connection: sqlite3.Connection) -> Iterator[None]:
        if not self._drafts:
            return
        with transaction(connection):
            for draft in self._drafts:
                _write(connection, draft)
        self._drafts.clear()
        self._characters = 0
        yield
        while merge_piece(connection):
            yield


def unindex_piece(connection: sqlite3.Connection, session: str) -> bool:
    """Take a session, or some of its messages, out of the index; called within a transaction.

    Returns:
        Whether nothing of it is left.
    """
    connection.execute("DELETE FROM seen WHERE session = ?", (session,))
    found: list[tuple[int, str]] = []
    characters = 0
    rows = connection.execute(
        "SELECT id, words FROM words WHERE session = ? ORDER BY id LIMIT ?",
        (session, _MESSAGES_REMOVED_AT_ONCE),
    )
    for number, packed in rows:
        text = zlib.decompress(packed).decode()
        found.append((number, text))
        characters += len(text)
        if characters >= _CHARACTERS_AT_ONCE:
            break
    rows.close()
    if not found:
        return True
    # Where SQLite lacks FTS5 they stay in there, and lead nowhere.
    if has_index(connection):
        connection.executemany(
            "INSERT INTO word_index (word_index, rowid, words) VALUES ('delete', ?, ?)", found
        )
    connection.executemany("DELETE FROM words WHERE id = ?", ((number,) for number, _ in found))
    return len(found) < _MESSAGES_REMOVED_AT_ONCE and characters < _CHARACTERS_AT_ONCE


def merge_piece(connection: sqlite3.Connection) -> bool:
    """Make some of what was written to the index bit by bit into one, in a transaction of its own.

    To be called again and again after each time something was written: FTS5 does it all at once, where it is
    left to itself, when it can wait no longer.

    Returns:
        Whether there may be more to do.
    """
    if not has_index(connection):
        return False
    before = connection.total_changes
    connection.execute(
        "INSERT INTO word_index (word_index, rank) VALUES ('merge', ?)", (_MERGED_PAGES_AT_ONCE,)
    )
    # As FTS5's manual has it: the statement is one change itself, and the only one where there was no work.
    return connection.total_changes - before >= 2


def _unindexed(connection: sqlite3.Connection) -> Iterator[str | None]:
    """Closed sessions that are not in the index, newest first; None for a pause."""
    stored, session = float("inf"), ""
    while True:
        found = connection.execute(
            "SELECT stored, session, EXISTS (SELECT 1 FROM seen WHERE session = sessions.session)"
            " FROM sessions WHERE state = 1 AND (stored, session) < (?, ?)"  # CLOSED
            " ORDER BY stored DESC, session DESC LIMIT ?",
            (stored, session, _LOOKED_AT_AT_ONCE),
        ).fetchall()
        for _, session, is_indexed in found:
            if not is_indexed:
                yield session
        if len(found) < _LOOKED_AT_AT_ONCE:
            return
        stored, session, _ = found[-1]
        yield None


def _runs(connection: sqlite3.Connection, session: str) -> Iterator[list[AnyEvent]]:
    """A session's events, run by run; no statement is open between two of them."""
    seq = 0
    while True:
        row = connection.execute(
            "SELECT seq, lines FROM runs WHERE session = ? AND seq > ? ORDER BY seq LIMIT 1", (session, seq)
        ).fetchone()
        if row is None:
            return
        seq = row[0]
        events: list[AnyEvent] = []
        for line in row[1].split(b"\n"):
            # A line that cannot be read says nothing that could be searched.
            with contextlib.suppress(LineError):
                event = decode(line)
                if not isinstance(event, UnknownEvent):
                    events.append(event)
        yield events


def _write(connection: sqlite3.Connection, draft: _Draft) -> None:
    # It may have been removed since it was read, and even imported anew.
    row = connection.execute(
        "SELECT 1 FROM sessions WHERE session = ? AND state = ? AND first_seq = ?",
        (draft.session, CLOSED, draft.first_seq),
    ).fetchone()
    if row is None:
        return
    for text in draft.messages:
        number = connection.execute(
            "INSERT INTO words (session, words) VALUES (?, ?)",
            (draft.session, zlib.compress(text.encode(), 1)),
        ).lastrowid
        connection.execute("INSERT INTO word_index (rowid, words) VALUES (?, ?)", (number, text))
    if draft.seen is not None:
        connection.execute("INSERT OR REPLACE INTO seen VALUES (?, ?)", (draft.session, draft.seen))
