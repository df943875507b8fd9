"""Recordings into the store and sessions out of it, in short transactions beside a running proxy.

It is handed lines that are read and checked already, and knows no file format.
"""

import contextlib
import hashlib
import re
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec

from smtpproxy.errors import NotFoundError, StoreError
from smtpproxy.inspect.summary import SessionSummary
from smtpproxy.recording.codec import AnyLine, UnknownEvent
from smtpproxy.store.folding import Folder
from smtpproxy.store.indexing import merge_piece
from smtpproxy.store.lock import StoreLock, import_lock_path
from smtpproxy.store.reader import LogReader
from smtpproxy.store.retention import remove_piece
from smtpproxy.store.runs import kind_of
from smtpproxy.store.schema import CLOSED, IMPORTING, OPEN, REMOVING, as_store_error, is_busy, open_store
from smtpproxy.store.writer import write_batch

BATCH_BYTES: Final = 1024 * 1024
PATIENCE_S: Final = 30.0
"""How long the store may be busy with others before we give up."""
# SQLite's lock is not fair: without a pause between two transactions the proxy might never get its turn.
PAUSE_S: Final = 0.005
ReadLine: TypeAlias = tuple[bytes, AnyLine]
"""A line of a recording, without its end, and what it says."""
_SESSION_ID: Final = re.compile(r"[0-9A-Za-z-]{1,64}\Z")


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a session that was to be imported.

    Attributes:
        session: the id it has in the recording.
        stored_as: the id it has in the store: another one where the store held other events under that id.
        is_new: whether anything was added; not so where the store had the very same session already.
    """

    session: str
    stored_as: str
    is_new: bool


def import_session(path: Path, session: str, read: Callable[[], Iterable[ReadLine]]) -> Imported:
    """Add a recorded session to the store `path`, which is created where there is none.

    A session without an `end` is kept as it is and listed as interrupted. While it is being added it is
    not listed; what a killed import left behind is removed by the next one.

    Args:
        session: the id in the recording, [0-9A-Za-z-]{1,64}.
        read: gives the session's events, in order; called up to three times, so that nothing is ever held
            in memory whole.

    Raises:
        StoreError: the store cannot be used or stays busy; nothing was added.
    """
    if not _SESSION_ID.match(session):
        raise StoreError(f"{session!r} cannot be a session id; ids are made of letters, digits and hyphens")
    connection = open_store(path)
    try:
        lock = StoreLock(import_lock_path(path), is_waiting=True)
        try:
            return _import(connection, path, session, lambda: _as_stored(read()))
        finally:
            lock.release()
    except sqlite3.Error as error:
        raise as_store_error(error, path) from error
    finally:
        connection.close()


def delete_session(path: Path, session: str) -> None:
    """Remove a closed session; `session` is a whole id.

    Raises:
        NotFoundError: there is no such session.
        StoreError: it is still open, or the store cannot be used or stays busy.
    """
    connection = open_store(path)
    try:
        row = connection.execute("SELECT state FROM sessions WHERE session = ?", (session,)).fetchone()
        if row is None or row[0] in (REMOVING, IMPORTING):
            raise NotFoundError(f"no session {session} in {path}; smtpproxy sessions lists them")
        if row[0] == OPEN:
            raise StoreError(f"session {session} is still open; it can be deleted when it has ended")
        _remove(connection, session)
    except sqlite3.Error as error:
        raise as_store_error(error, path) from error
    finally:
        connection.close()


def _import(
    connection: sqlite3.Connection, path: Path, session: str, read: Callable[[], Iterable[ReadLine]]
) -> Imported:
    # We hold the lock, so whatever is half imported was left behind.
    for (name,) in connection.execute(
        "SELECT session FROM sessions WHERE state = ?", (IMPORTING,)
    ).fetchall():
        _remove(connection, name)
    name = session
    if _is_known(connection, session):
        if _holds(path, session, (line for line, _ in read())):
            return Imported(session=session, stored_as=session, is_new=False)
        # Made from the content, so that importing the same file again finds what it became.
        digest = hashlib.sha256()
        for line, _ in read():
            digest.update(line + b"\n")
        name = f"{session[:55]}-{digest.hexdigest()[:8]}"
        if _is_known(connection, name):
            return Imported(session=session, stored_as=name, is_new=False)
    _add(connection, name, read() if name == session else _renamed(read(), name))
    return Imported(session=session, stored_as=name, is_new=True)


def _is_known(connection: sqlite3.Connection, session: str) -> bool:
    row = connection.execute("SELECT 1 FROM sessions WHERE session = ?", (session,)).fetchone()
    return row is not None


def _holds(path: Path, session: str, lines: Iterator[bytes]) -> bool:
    with LogReader(path) as reader:
        return all(ours == theirs for ours, theirs in zip_longest(reader.lines(session), lines))


def _renamed(events: Iterable[ReadLine], session: str) -> Iterator[ReadLine]:
    for line, event in events:
        yield _rewritten(line, session=session), msgspec.structs.replace(event, session=session)


def _as_stored(events: Iterable[ReadLine]) -> Iterator[ReadLine]:
    """Lines as the store holds them.

    `kind` stands first and says what the event was read as, `seq` is left out (readers of the log get it
    spliced in), and there is no LF.
    """
    for line, event in events:
        is_fit = line.startswith(b'{"kind":') and b"\n" not in line and kind_of(line) == _kind(event)
        yield (line if is_fit else _rewritten(line)), event


def _kind(event: AnyLine) -> str:
    return event.kind if isinstance(event, UnknownEvent) else str(event.__struct_config__.tag)


def _rewritten(line: bytes, **changed: str) -> bytes:
    # Not by way of the event, which may know fewer fields than the line has.
    fields: dict[str, Any] = msgspec.json.decode(line)
    fields.pop("seq", None)
    return msgspec.json.encode({"kind": fields.pop("kind"), **fields, **changed})


def _add(connection: sqlite3.Connection, session: str, events: Iterable[ReadLine]) -> None:
    folder = Folder()
    batch: list[ReadLine] = []
    octets = 0
    try:
        for recorded in events:
            batch.append(recorded)
            octets += len(recorded[0])
            if octets >= BATCH_BYTES:
                _write(connection, folder, batch)
                batch, octets = [], 0
        _write(connection, folder, batch)
    except BaseException:
        # Such as a recording whose end is broken; the next import comes back to it if this fails too.
        with contextlib.suppress(sqlite3.Error):
            _remove(connection, session)
        raise
    _patiently(lambda: _publish(connection, session))


def _publish(connection: sqlite3.Connection, session: str) -> None:
    """List an imported session."""
    row = connection.execute("SELECT summary FROM sessions WHERE session = ?", (session,)).fetchone()
    if row is None:
        return  # there was nothing in it
    summary = msgspec.json.decode(row[0], type=SessionSummary)
    if summary.outcome == "open":
        # It was cut short before it was exported; nothing will ever be added to it.
        summary = msgspec.structs.replace(summary, outcome="interrupted")
    connection.execute(
        "UPDATE sessions SET state = ?, summary = ? WHERE session = ?",
        (CLOSED, msgspec.json.encode(summary), session),
    )


def _write(connection: sqlite3.Connection, folder: Folder, events: list[ReadLine]) -> None:
    if events:
        batch = folder.fold(events)
        _patiently(lambda: write_batch(connection, batch, now=time.time(), is_import=True))
        time.sleep(PAUSE_S)


def _remove(connection: sqlite3.Connection, session: str) -> None:
    is_gone = False
    while not is_gone:
        is_gone = _patiently(lambda: remove_piece(connection, session))
        while _patiently(lambda: merge_piece(connection)):
            time.sleep(PAUSE_S)
        time.sleep(0.0 if is_gone else PAUSE_S)


def _patiently(step: Callable[[], object]) -> bool:
    """Take a step, again and again while others keep the store busy; whether what it gave is true."""
    give_up_at = time.monotonic() + PATIENCE_S
    while True:
        try:
            return bool(step())
        except sqlite3.OperationalError as error:
            if not is_busy(error) or time.monotonic() >= give_up_at:
                raise
