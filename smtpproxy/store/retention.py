"""What is removed from the store and when: whole closed sessions, oldest first, in short slices.

It knows SQLite and a clock handed to it, not threads; open sessions are never touched.
"""

import sqlite3
import time
from typing import Final

from smtpproxy.store.indexing import merge_piece, unindex_piece
from smtpproxy.store.schema import OPEN, REMOVING, transaction

DEFAULT_MAX_AGE_S: Final = 7 * 86400.0
DEFAULT_MAX_BYTES: Final = 2 * 1024**3
SLICE_S: Final = 0.020
# One transaction: a commit copies what it frees into the -wal file, so this bounds how far a slice runs over.
_RUNS_AT_ONCE: Final = 64
_BYTES_AT_ONCE: Final = 1024 * 1024
_PAGES_AT_ONCE: Final = 64
# Giving the last few pages back would only mean asking for them again.
_SPARE_PAGES: Final = 256


class Retention:
    """Keeps a store within an age and a size.

    Age counts from when a session was last written to here, not from when it took place: what was
    imported is kept as long as what was recorded.
    """

    def __init__(
        self, *, max_age_s: float | None = DEFAULT_MAX_AGE_S, max_bytes: int | None = DEFAULT_MAX_BYTES
    ) -> None:
        """None lifts a limit.

        Attributes:
            is_due: there is, or may be, something to remove now.
        """
        self.max_age_s = max_age_s
        self.max_bytes = max_bytes
        self._unchecked = 0
        self._must_merge = False
        self.is_due = True

    def note_written(self, octets: int) -> None:
        """Tell that the store has grown."""
        self._unchecked += octets
        if self.max_bytes is not None and self._unchecked > min(self.max_bytes // 16, 16 * 1024**2):
            self.is_due = True

    def run_slice(self, connection: sqlite3.Connection, *, now: float) -> float | None:
        """Work for at most about `SLICE_S`, in transactions of a few milliseconds each.

        Returns:
            Seconds until there may be more to do; None where only further writes can bring that about.

        Raises:
            sqlite3.Error: the work so far holds; call again later.
        """
        deadline = time.monotonic() + SLICE_S
        if not self.is_due:
            delay = self._until_expiry(connection, now)
            if delay != 0.0:
                return delay
            self.is_due = True
        while time.monotonic() < deadline:
            if self._must_merge:
                self._must_merge = merge_piece(connection)
                continue
            session = self._next_session(connection, now)
            if session is None:
                if give_pages_back(connection):
                    continue
                self.is_due = False
                self._unchecked = 0
                return self._until_expiry(connection, now)
            remove_piece(connection, session)
            self._must_merge = True
        return 0.0

    def _next_session(self, connection: sqlite3.Connection, now: float) -> str | None:
        """The session to work on: half removed before all, else the oldest if too old or too much."""
        row = connection.execute(
            "SELECT session FROM sessions WHERE state = ? LIMIT 1", (REMOVING,)
        ).fetchone()
        if row is not None:
            return str(row[0])
        row = connection.execute(
            "SELECT session, stored FROM sessions WHERE state = 1 ORDER BY stored LIMIT 1"  # CLOSED
        ).fetchone()
        if row is None:
            return None
        session, stored = row
        is_too_old = self.max_age_s is not None and stored + self.max_age_s <= now
        is_too_much = self.max_bytes is not None and used_bytes(connection) > self.max_bytes
        return str(session) if is_too_old or is_too_much else None

    def _until_expiry(self, connection: sqlite3.Connection, now: float) -> float | None:
        if self.max_age_s is None:
            return None
        # Literally, for the partial index on closed sessions.
        (oldest,) = connection.execute("SELECT min(stored) FROM sessions WHERE state = 1").fetchone()
        return max(1.0, self.max_age_s) if oldest is None else max(0.0, oldest + self.max_age_s - now)


def used_bytes(connection: sqlite3.Connection) -> int:
    """What the store holds, without free pages."""
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    return int(size) * (int(pages) - int(free))


def remove_piece(connection: sqlite3.Connection, session: str) -> bool:
    """Remove a closed session or a piece of it, in one short transaction.

    From the first piece on it is not listed any more; a process killed half-way leaves the rest to the
    next one.

    Returns:
        Whether the session is gone now (or was never there, or is open and was left alone).

    Raises:
        sqlite3.Error: nothing was removed by this call.
    """
    with transaction(connection):
        return _remove_piece(connection, session)


def _remove_piece(connection: sqlite3.Connection, session: str) -> bool:
    row = connection.execute("SELECT state FROM sessions WHERE session = ?", (session,)).fetchone()
    if row is None or row[0] == OPEN:
        return True
    if not unindex_piece(connection, session):
        connection.execute("UPDATE sessions SET state = ? WHERE session = ?", (REMOVING, session))
        return False
    found: list[int] = []
    octets = 0
    runs = connection.execute(
        "SELECT seq, length(lines) FROM runs WHERE session = ? ORDER BY seq LIMIT ?",
        (session, _RUNS_AT_ONCE),
    )
    for seq, length in runs:
        found.append(seq)
        octets += length
        if octets > _BYTES_AT_ONCE:
            break
    runs.close()
    connection.executemany("DELETE FROM runs WHERE seq = ?", ((seq,) for seq in found))
    if len(found) == _RUNS_AT_ONCE or octets > _BYTES_AT_ONCE:
        connection.execute("UPDATE sessions SET state = ? WHERE session = ?", (REMOVING, session))
        return False
    connection.execute("DELETE FROM messages WHERE session = ?", (session,))
    connection.execute("DELETE FROM sessions WHERE session = ?", (session,))
    return True


def give_pages_back(connection: sqlite3.Connection) -> bool:
    """Return some free pages to the file system; whether there were enough to be worth it."""
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    if free <= _SPARE_PAGES:
        return False
    # A pragma that returns rows does its work as they are fetched.
    connection.execute(f"PRAGMA incremental_vacuum({_PAGES_AT_ONCE})").fetchall()
    return True
