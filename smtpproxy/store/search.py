"""What the index of a store knows of its sessions: which have a phrase, and what each said; it only reads.

It is a snapshot: a session that is indexed while a search goes on is looked up in the log by that search.
"""

import sqlite3
from collections.abc import Set
from pathlib import Path
from typing import Any

import msgspec

from smtpproxy.inspect.filters.facts import Seen
from smtpproxy.store.schema import as_store_error, has_index

_decode_seen = msgspec.json.Decoder(Seen).decode


class SessionIndex:
    """Answers for one search (inspect.filters.words.TextSearch)."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        """Ask that store.

        Raises:
            StoreError: it cannot be read.
        """
        self._connection = connection
        self._path = path
        self._indexed: Set[str] | None = None
        try:
            # A store that nobody has written to since there is an index has none.
            self._is_there = has_index(connection)
        except sqlite3.Error as error:
            raise as_store_error(error, path) from error

    def sessions_with(self, phrase: str) -> Set[str] | None:
        """The ids of the sessions that have a message with this phrase.

        Args:
            phrase: as `normalise_phrase` gives it.

        Returns:
            None where the index cannot tell.

        Raises:
            StoreError: the store cannot be read.
        """
        if not self._is_there:
            return None
        # Before the words: a session that is indexed between the two would seem to have none of them.
        self._indexed_sessions()
        words = phrase.removesuffix("*")
        try:
            found = self._all(
                "SELECT DISTINCT session FROM words WHERE id IN"
                " (SELECT rowid FROM word_index WHERE word_index MATCH ?)",
                # FTS5's own syntax: a phrase, whose last word a star makes a prefix.
                f'"{words}"{" *" if words != phrase else ""}',
            )
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_CORRUPT:
                raise as_store_error(error, self._path) from error
            # The log may be as good as ever, and has it all.
            return None
        return {session for (session,) in found}

    def has_indexed(self, session: str) -> bool:
        """Whether every message of a session is in the index.

        Raises:
            StoreError: the store cannot be read.
        """
        return session in self._indexed_sessions()

    def seen(self, session: str) -> Seen | None:
        """What a session's events tell beyond its summary; None where only they tell it.

        Raises:
            StoreError: the store cannot be read.
        """
        if not self._is_there:
            return None
        try:
            found = self._all("SELECT seen FROM seen WHERE session = ?", session)
            return _decode_seen(found[0][0]) if found else None
        except msgspec.DecodeError:
            return None
        except sqlite3.Error as error:
            raise as_store_error(error, self._path) from error

    def _indexed_sessions(self) -> Set[str]:
        if self._indexed is None:
            try:
                found = self._all("SELECT session FROM seen") if self._is_there else []
            except sqlite3.Error as error:
                raise as_store_error(error, self._path) from error
            self._indexed = {session for (session,) in found}
        return self._indexed

    def _all(self, statement: str, *values: str) -> list[tuple[Any, ...]]:
        return self._connection.execute(statement, values).fetchall()
