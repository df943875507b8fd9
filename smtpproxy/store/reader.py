"""What commands and feeds read from the store: sessions, lines, pages of the log; it cannot change anything.

Synchronous, on a read-only connection of its own; works beside a running proxy and without one. No
transaction is open between two calls or two items of an iterator, so a slow reader holds nothing up.
"""

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import msgspec

from smtpproxy.errors import NotFoundError
from smtpproxy.inspect.summary import SessionSummary
from smtpproxy.store.contract import Page, Row
from smtpproxy.store.runs import unpack
from smtpproxy.store.schema import as_store_error, last_seq, open_store_for_reading
from smtpproxy.store.search import SessionIndex

MAX_PAGE_EVENTS: Final = 500
MAX_PAGE_BYTES: Final = 1024 * 1024
_SESSIONS_AT_ONCE: Final = 200
_SESSION_ID: Final = re.compile(r"[0-9A-Za-z-]{1,64}\Z")
_decode_summary = msgspec.json.Decoder(SessionSummary).decode


class StoredMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message's row in the store.

    Attributes:
        message: counts the session's messages from 1.
        size: octets of content as they stood on the wire.
        first_seq, last_seq: where its first and last content event stand in the log.
        headers: its header section as it stood on the wire, up to 16 KiB.
    """

    session: str
    message: int
    mail_from: str
    rcpt_to: list[str]
    size: int
    first_seq: int
    last_seq: int
    headers: bytes


class LogReader:
    """Reads one store. Use it from one thread at a time; close it, or use it in a `with`."""

    def __init__(self, path: Path) -> None:
        """Open the store read-only.

        Raises:
            StoreError: there is none, or it cannot be read; says what to do.
        """
        self.path = path
        self._connection = open_store_for_reading(path)

    def __enter__(self) -> "LogReader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def sessions(
        self,
        *,
        limit: int | None = None,
        include_probes: bool = False,
        before: tuple[str, str] | None = None,
    ) -> Iterator[SessionSummary]:
        """Session summaries, newest first by when they started.

        Args:
            limit: at most so many; None for all.
            include_probes: list connections on which nobody said a word, too.
            before: begin behind this place of the list: a session's `started` and its id.

        Raises:
            StoreError: the store cannot be read.
        """
        left = limit
        # After the newest possible: any text sorts before this one.
        started, session = before or ("\U0010ffff", "")
        while left is None or left > 0:
            count = _SESSIONS_AT_ONCE if left is None else min(left, _SESSIONS_AT_ONCE)
            found = self._all(
                "SELECT started, session, summary FROM sessions WHERE (started, session) < (?, ?)"
                " AND state IN (0, 1) AND is_probe <= ? ORDER BY started DESC, session DESC LIMIT ?",
                (started, session, include_probes, count),
            )
            for _, _, blob in found:
                yield _decode_summary(blob)
            if len(found) < count:
                return
            started, session, _ = found[-1]
            left = None if left is None else left - count

    def session_ids(self, prefix: str = "") -> list[str]:
        """The ids that begin with this, oldest first; probes included.

        Raises:
            StoreError: the store cannot be read.
        """
        if prefix and not _SESSION_ID.match(prefix):
            return []
        found = self._all(
            "SELECT session FROM sessions WHERE session >= ? AND session < ? AND state IN (0, 1)"
            " ORDER BY started, session",
            (prefix, prefix + "\U0010ffff"),
        )
        return [str(session) for (session,) in found]

    def resolve(self, name: str) -> str:
        """The id that a user means.

        Args:
            name: an id, the beginning of exactly one, or `latest`: the session started last (no probes).

        Raises:
            NotFoundError: none is meant, or several are; says which there are.
            StoreError: the store cannot be read.
        """
        if name == "latest":
            for summary in self.sessions(limit=1):
                return summary.session
            raise NotFoundError(
                f"there is no session in {self.path} yet; send something through the proxy first"
            )
        if not _SESSION_ID.match(name):
            raise NotFoundError(f"{name!r} is not a session id; smtpproxy sessions lists them")
        found = self.session_ids(name)
        if name in found:
            return name
        if len(found) == 1:
            return found[0]
        if not found:
            raise NotFoundError(f"no session {name} in {self.path}; smtpproxy sessions lists them")
        some = ", ".join(found[:3]) + (", …" if len(found) > 3 else "")
        raise NotFoundError(f"{len(found)} sessions begin with {name} ({some}); give more of the id")

    def summary(self, session: str) -> SessionSummary:
        """One session's summary; `session` is a whole id.

        Raises:
            NotFoundError: there is no such session.
            StoreError: the store cannot be read.
        """
        found = self._all("SELECT summary FROM sessions WHERE session = ? AND state IN (0, 1)", (session,))
        if not found:
            raise NotFoundError(f"no session {session} in {self.path}; smtpproxy sessions lists them")
        return _decode_summary(found[0][0])

    def open_sessions(self) -> int:
        """How many sessions go on.

        Raises:
            StoreError: the store cannot be read.
        """
        return int(self._all("SELECT count(*) FROM sessions WHERE state = 0")[0][0])

    def span(self, session: str) -> tuple[int, int]:
        """The positions of a session's first and last event; `session` is a whole id.

        Raises:
            NotFoundError: there is no such session.
            StoreError: the store cannot be read.
        """
        found = self._all(
            "SELECT first_seq, last_seq FROM sessions WHERE session = ? AND state IN (0, 1)", (session,)
        )
        if not found:
            raise NotFoundError(f"no session {session} in {self.path}; smtpproxy sessions lists them")
        return found[0][0], found[0][1]

    def rows(self, session: str, *, after_seq: int = 0, limit: int = MAX_PAGE_EVENTS) -> list[Row]:
        """A session's next events after a position, in order; at most `limit`, and about 1 MiB.

        Raises:
            StoreError: the store cannot be read.
        """
        return self._rows("session = ? AND seq > ?", (session, after_seq), limit)

    def lines(self, session: str) -> Iterator[bytes]:
        """A session's lines in order, read as they are asked for; `session` is a whole id.

        Raises:
            StoreError: the store cannot be read.
        """
        seq = 0
        while True:
            rows = self._rows("session = ? AND seq > ?", (session, seq), MAX_PAGE_EVENTS)
            if not rows:
                return
            for row in rows:
                yield row[3]
            seq = rows[-1][0]

    def messages(self, session: str) -> list[StoredMessage]:
        """A session's complete messages in order; `session` is a whole id.

        Raises:
            StoreError: the store cannot be read.
        """
        found = self._all(
            "SELECT message, mail_from, rcpt_to, size, first_seq, last_seq, headers FROM messages"
            " WHERE session = ? ORDER BY message",
            (session,),
        )
        return [
            StoredMessage(
                session=session,
                message=message,
                mail_from=mail_from,
                rcpt_to=msgspec.json.decode(rcpt_to, type=list[str]),
                size=size,
                first_seq=first_seq,
                last_seq=last,
                headers=headers,
            )
            for message, mail_from, rcpt_to, size, first_seq, last, headers in found
        ]

    def events_after(self, seq: int, limit: int = MAX_PAGE_EVENTS) -> list[Row]:
        """The next events after a position, in order; at most `limit`, and about 1 MiB.

        Raises:
            StoreError: the store cannot be read.
        """
        return self._rows("seq > ?", (seq,), limit)

    def page_after(self, seq: int) -> Page:
        """The next piece of the log after a position, and where the log ended at that same moment.

        Raises:
            StoreError: the store cannot be read.
        """
        # The head is read first: a commit between the two can only make `rows` reach beyond it, which is
        # then what counts. The other way round, rows committed in between would pass for removed ones.
        head = self.head()
        rows = self.events_after(seq, MAX_PAGE_EVENTS)
        head = max(head, rows[-1][0]) if rows else head
        return Page(rows, not rows or rows[-1][0] == head, head)

    def head(self) -> int:
        """The last position given, whether it still holds an event or not; 0 in a new log.

        Raises:
            StoreError: the store cannot be read.
        """
        try:
            return last_seq(self._connection)
        except sqlite3.Error as error:
            raise as_store_error(error, self.path) from error

    def oldest(self) -> int:
        """The first position that holds an event; 0 where none does.

        Raises:
            StoreError: the store cannot be read.
        """
        found = self._all("SELECT first FROM runs ORDER BY seq LIMIT 1")
        return int(found[0][0]) if found else 0

    def log_id(self) -> str:
        """What tells this log from every other: positions mean something only within one.

        Raises:
            StoreError: the store cannot be read.
        """
        return str(self._all("SELECT value FROM meta WHERE key = 'log'")[0][0])

    def data_version(self) -> int:
        """A number that changes when another connection has written.

        Raises:
            StoreError: the store cannot be read.
        """
        return int(self._all("PRAGMA data_version")[0][0])

    def index(self) -> SessionIndex:
        """What is indexed as of its first question; ask it for one search, and no longer than this is open.

        Raises:
            StoreError: the store cannot be read.
        """
        return SessionIndex(self._connection, self.path)

    def _rows(self, condition: str, values: tuple[*tuple[str, ...], int], limit: int) -> list[Row]:
        """The first events behind a position in the runs that meet a condition, within the bounds of a page.

        Args:
            condition: ends in `seq > ?`, so that the last of `values` is the position.
        """
        after = values[-1]
        rows: list[Row] = []
        octets = 0
        try:
            # A run holds at least one event.
            cursor = self._connection.execute(
                f"SELECT seq, session, lines FROM runs WHERE {condition} ORDER BY seq LIMIT ?",  # noqa: S608
                (*values, limit),
            )
            for run in cursor:
                for row in unpack(*run):
                    # The position asked for may lie in the middle of a run.
                    if row[0] > after:
                        rows.append(row)
                        octets += len(row[3])
                        if octets >= MAX_PAGE_BYTES or len(rows) >= limit:
                            break
                if octets >= MAX_PAGE_BYTES or len(rows) >= limit:
                    break
            cursor.close()  # ends the read transaction
        except sqlite3.Error as error:
            raise as_store_error(error, self.path) from error
        return rows

    def _all(self, statement: str, values: tuple[str | int, ...] = ()) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise as_store_error(error, self.path) from error
