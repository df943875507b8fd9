"""Reading the store for the web: each piece in a thread of ours, so that no disk ever stops the mail.

It knows no HTTP. A position in the log, not an open transaction, is what lasts from one piece to the next.
"""

import contextlib
from collections.abc import AsyncGenerator, Callable, Iterator
from pathlib import Path
from typing import Final, TypeVar

import trio

from smtpproxy.recording.codec import UnknownEvent, decode
from smtpproxy.session.events import AnyEvent
from smtpproxy.store.contract import Row
from smtpproxy.store.reader import MAX_PAGE_EVENTS, LogReader

THREADS: Final = 3
"""They share Python's lock with the thread that relays mail, so more would not be faster."""
MAX_IDLE_READERS: Final = 3
CHUNK_BYTES: Final = 64 * 1024

_T = TypeVar("_T")


class Readers:
    """Lends store readers to threads; at most THREADS at a time."""

    def __init__(self, path: Path) -> None:
        """Read the store in that file; it is opened when first needed."""
        self._path = path
        self._idle: list[LogReader] = []
        self._is_closed = False
        # Of its own: name look-ups share trio's common threads and must not wait for a slow disk.
        self._limiter = trio.CapacityLimiter(THREADS)

    async def run(self, read: Callable[[LogReader], _T]) -> _T:
        """Call `read` in a thread.

        Cancelled, it leaves the thread behind: a disk that hangs must not keep the proxy from ending.

        Raises:
            StoreError: the store cannot be read; and whatever `read` raises.
        """
        return await trio.to_thread.run_sync(
            self._with_reader, read, abandon_on_cancel=True, limiter=self._limiter
        )

    async def run_apart(self, work: Callable[[], _T]) -> _T:
        """Call something else that blocks in one of those threads; it is waited for even when cancelled."""
        return await trio.to_thread.run_sync(work, limiter=self._limiter)

    async def stream(self, read: Callable[[LogReader], Iterator[bytes]]) -> AsyncGenerator[bytes, None]:
        """What an iterator over the store gives, in pieces of at least CHUNK_BYTES; use it in `aclosing`."""
        reader = await trio.to_thread.run_sync(LogReader, self._path, limiter=self._limiter)
        pieces = read(reader)

        def next_chunk() -> bytes:
            chunk = bytearray()
            for piece in pieces:
                chunk += piece
                if len(chunk) >= CHUNK_BYTES:
                    break
            return bytes(chunk)

        try:
            while chunk := await trio.to_thread.run_sync(next_chunk, limiter=self._limiter):
                yield chunk
        finally:
            reader.close()

    def close(self) -> None:
        """Let go of the file; a thread that still reads does so when it is done."""
        self._is_closed = True
        while self._idle:
            self._idle.pop().close()

    def _with_reader(self, read: Callable[[LogReader], _T]) -> _T:
        # list.append and list.pop are atomic, and so need no lock.
        try:
            reader = self._idle.pop()
        except IndexError:
            reader = LogReader(self._path)
        try:
            result = read(reader)
        except BaseException:
            reader.close()
            raise
        if self._is_closed or len(self._idle) >= MAX_IDLE_READERS:
            reader.close()
        else:
            self._idle.append(reader)
        return result


def session_rows(
    reader: LogReader, session: str, *, after_seq: int = 0, at_once: int = MAX_PAGE_EVENTS
) -> Iterator[Row]:
    """A session's rows in order, those behind a position; read as they are asked for, `at_once` at most."""
    while rows := reader.rows(session, after_seq=after_seq, limit=at_once):
        yield from rows
        after_seq = rows[-1][0]


def session_events(reader: LogReader, session: str) -> Iterator[AnyEvent]:
    """A session's events, those of kinds that this version does not know left out."""
    return known_events(reader.lines(session))


def known_events(lines: Iterator[bytes]) -> Iterator[AnyEvent]:
    """The events of lines, those of unknown kinds left out."""
    return (event for event in map(decode, lines) if not isinstance(event, UnknownEvent))


@contextlib.contextmanager
def closing(readers: Readers) -> Iterator[Readers]:
    """Close them in the end."""
    try:
        yield readers
    finally:
        readers.close()
