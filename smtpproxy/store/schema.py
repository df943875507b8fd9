"""The SQLite file: how it is created, opened and checked, and what its errors mean to people.

It knows the tables, not who fills or reads them.
"""

import contextlib
import os
import secrets
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import quote

from smtpproxy.errors import StoreError

SCHEMA_VERSION: Final = 3
# Bodies come in rows of 64 KiB, which 4 KiB pages would scatter over 17 of them; 64 KiB pages would make
# every small commit copy them whole. docs/store.md has the measurements.
PAGE_BYTES: Final = 8 * 1024
CHECKPOINT_BYTES: Final = 16 * 1024 * 1024
JOURNAL_LIMIT_BYTES: Final = 64 * 1024 * 1024
CACHE_KIB: Final = 4096
BUSY_TIMEOUT_S: Final = 1.0

# sessions.state; statements that need an index or a set of them name the numbers.
OPEN: Final = 0
CLOSED: Final = 1
REMOVING: Final = 2
"""Its events are being deleted, piece by piece; it is not listed any more."""
IMPORTING: Final = 3
"""Its events are being added by an import; it is not listed yet."""

# A row of `runs` is a run of events; `seq` is the position of its last. AUTOINCREMENT: so the last position
# ever given is in `sqlite_sequence`, and none is given twice, even when all was removed in between. The view
# `events`, a row for each event, is for people with a SQL shell; smtpproxy itself does not read it.
_TABLES: Final = """
CREATE TABLE runs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    first INTEGER NOT NULL,
    session TEXT NOT NULL,
    lines BLOB NOT NULL
);
CREATE INDEX runs_session ON runs (session);
CREATE VIEW events AS
SELECT runs.first + line.key AS seq, runs.session AS session,
    json_extract(line.value, '$.kind') AS kind, line.value AS line
FROM runs, json_each('[' || replace(CAST(runs.lines AS TEXT), char(10), ',') || ']') AS line;
CREATE TABLE sessions (
    session TEXT PRIMARY KEY,
    started TEXT NOT NULL,
    state INTEGER NOT NULL,
    is_probe INTEGER NOT NULL,
    stored REAL NOT NULL,
    first_seq INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    summary BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX sessions_started ON sessions (started);
CREATE INDEX sessions_closed ON sessions (stored) WHERE state = 1;
CREATE TABLE messages (
    session TEXT NOT NULL,
    message INTEGER NOT NULL,
    mail_from TEXT NOT NULL,
    rcpt_to TEXT NOT NULL,
    size INTEGER NOT NULL,
    first_seq INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    headers BLOB NOT NULL,
    PRIMARY KEY (session, message)
) WITHOUT ROWID;
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""

# What is searched, made from the log later (indexing.py): a store without it lacks nothing but speed.
# The words stand here too, compressed: to take a message out of the index, FTS5 must be told what is in it.
# AUTOINCREMENT: the number of a message that is gone must never lead to another one.
_INDEX_TABLES: Final = """
CREATE TABLE IF NOT EXISTS seen (session TEXT PRIMARY KEY, seen BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS words (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    session TEXT NOT NULL,
    words BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS words_session ON words (session)
"""
# Words come folded, with blanks between them. `ascii` parts them there and nowhere else, whatever Unicode
# SQLite knows; other tokenizers would fold once more. Merging is done in idle time, not by whoever writes.
_WORD_INDEX: Final = """
CREATE VIRTUAL TABLE IF NOT EXISTS word_index
    USING fts5 (words, content = '', columnsize = 0, tokenize = 'ascii');
INSERT INTO word_index (word_index, rank) VALUES ('automerge', 0)
"""


def open_store(path: Path) -> sqlite3.Connection:
    """Open a store for writing; create it where there is none.

    Returns:
        A connection in autocommit mode, usable from any one thread at a time.

    Raises:
        StoreError: says what is in the way, and what to do.
    """
    _create_file(path)
    connection: sqlite3.Connection | None = None
    try:
        # mode=rw: the file is there now, with the right permissions; SQLite must not create one with others.
        connection = _connect(path, "mode=rw")
        _initialise(connection, path)
        _add_index(connection)
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_BYTES // PAGE_BYTES}")
        connection.execute(f"PRAGMA journal_size_limit = {JOURNAL_LIMIT_BYTES}")
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    except (sqlite3.Error, StoreError) as error:
        if connection is not None:
            connection.close()
        raise as_store_error(error, path) from error
    return connection


def open_store_for_reading(path: Path) -> sqlite3.Connection:
    """Open a store without any right to change it; a proxy may be writing to it at the same time.

    Raises:
        StoreError: says what is in the way, and what to do.
    """
    if not path.exists():
        raise StoreError(f"there is no store at {path}; smtpproxy run creates it")
    _refuse_odd_files(path)
    connection: sqlite3.Connection | None = None
    try:
        connection = _connect(path, "mode=ro")
        try:
            _check(connection, path)
        except sqlite3.OperationalError as error:
            # Where not even the -shm file can be made, nobody is writing either: read the file as it is.
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_CANTOPEN:
                raise
            connection.close()
            connection = _connect(path, "mode=ro&immutable=1")
            _check(connection, path)
    except (sqlite3.Error, StoreError) as error:
        if connection is not None:
            connection.close()
        raise as_store_error(error, path) from error
    return connection


def as_store_error(error: Exception, path: Path) -> StoreError:
    """What a database error means to the user, in one line."""
    if isinstance(error, StoreError):
        return error
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    match code:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            text = "is locked by another program; end that program or wait for it"
        case sqlite3.SQLITE_FULL:
            text = "cannot grow: the disk is full; free some space"
        case sqlite3.SQLITE_READONLY:
            text = "cannot be written; check its permissions and whether the file was moved"
        case sqlite3.SQLITE_NOTADB:
            text = "is not a smtpproxy store; give another --store"
        case sqlite3.SQLITE_CORRUPT:
            text = "is damaged; move it away and start again (export what can still be read)"
        case sqlite3.SQLITE_CANTOPEN:
            text = "cannot be opened; check that its folder exists and may be written"
        case sqlite3.SQLITE_IOERR:
            text = f"cannot be read or written ({error}); check the disk"
        case sqlite3.SQLITE_PERM | sqlite3.SQLITE_AUTH:
            text = "may not be opened; check its permissions"
        case _:
            text = f"cannot be used: {error}"
    return StoreError(f"the store {path} {text}")


def is_busy(error: BaseException | None) -> bool:
    """Whether another connection was merely in the way for the moment."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def last_seq(connection: sqlite3.Connection) -> int:
    """The last position ever given; 0 in a new log."""
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'runs'").fetchone()
    return int(row[0]) if row else 0


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """What is written within is in the store whole or not at all; nobody else writes meanwhile."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # A failed COMMIT or a full disk may have rolled back already.
        with contextlib.suppress(sqlite3.Error):
            connection.rollback()
        raise


def has_index(connection: sqlite3.Connection) -> bool:
    """Whether the store has an index of words, and this SQLite can read it."""
    row = connection.execute(
        "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'word_index') AND"
        " EXISTS (SELECT 1 FROM pragma_module_list WHERE name = 'fts5')"
    ).fetchone()
    return bool(row[0])


def _connect(path: Path, query: str) -> sqlite3.Connection:
    uri = f"file:{quote(str(path.absolute()))}?{query}"
    return sqlite3.connect(
        uri, uri=True, isolation_level=None, check_same_thread=False, timeout=BUSY_TIMEOUT_S
    )


def _create_file(path: Path) -> None:
    """Make the folder and an empty file, for their owner only; SQLite gives -wal and -shm the same mode."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
    except OSError as error:
        raise StoreError(
            f"the store {path} cannot be created: {error.strerror}; give another --store"
        ) from error
    _refuse_odd_files(path)


def _refuse_odd_files(path: Path) -> None:
    if path.is_symlink():
        raise StoreError(f"the store {path} is a symbolic link; give the file itself as --store")
    if path.is_dir():
        raise StoreError(f"the store {path} is a folder; give a file in it, such as {path / 'events.db'}")
    if not path.is_file():
        raise StoreError(f"the store {path} is not a regular file; give another --store")


def _initialise(connection: sqlite3.Connection, path: Path) -> None:
    if connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
        _check(connection, path)
        return
    # These three only take effect before the first table is written.
    connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise StoreError(
            f"the store {path} is on a file system without shared memory; keep it on a local disk"
        )
    connection.execute("BEGIN IMMEDIATE")
    # Another process may have come first while we waited for the lock.
    if not connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
        for statement in filter(str.strip, _TABLES.split(";")):
            connection.execute(statement)
        connection.execute(
            "INSERT INTO meta VALUES ('schema', ?), ('log', ?)", (str(SCHEMA_VERSION), secrets.token_hex(8))
        )
    connection.execute("COMMIT")
    _check(connection, path)


def _add_index(connection: sqlite3.Connection) -> None:
    """Add the tables of the index where they are missing: stores were written before there was one."""
    names = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
    has_fts5 = connection.execute("SELECT 1 FROM pragma_module_list WHERE name = 'fts5'").fetchone()
    missing = [] if {"seen", "words", "words_session"} <= names else _INDEX_TABLES.split(";")
    if has_fts5 and "word_index" not in names:
        missing += _WORD_INDEX.split(";")
    if missing:
        with transaction(connection):
            for statement in missing:
                connection.execute(statement)


def _check(connection: sqlite3.Connection, path: Path) -> None:
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if not tables:
        raise StoreError(f"the store {path} is empty; smtpproxy run sets it up")
    if not {"meta", "sessions", "messages"} <= tables:
        raise StoreError(f"the store {path} is a database of another program; give another --store")
    row = connection.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone()
    if row is None or not str(row[0]).isdigit():
        raise StoreError(f"the store {path} does not say its version; it is damaged, move it away")
    if int(row[0]) > SCHEMA_VERSION:
        raise StoreError(
            f"the store {path} is too new: it has version {row[0]}, this smtpproxy reads"
            f" {SCHEMA_VERSION}; use a later smtpproxy or give another --store"
        )
    if int(row[0]) < SCHEMA_VERSION:
        raise StoreError(
            f"the store {path} is too old: it has version {row[0]}, this smtpproxy reads {SCHEMA_VERSION};"
            " move it away, or export its sessions with the smtpproxy that wrote it"
        )
