"""The pages of a SQLite log for feeds: read in a worker thread, one at a time; it knows no subscriber."""

from pathlib import Path

import trio

from smtpproxy.store.contract import Page
from smtpproxy.store.reader import LogReader


class SqlitePages:
    """Reads pages on a read-only connection of its own, opened when first needed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reader: LogReader | None = None
        self._version = -1
        # Of its own: name look-ups share trio's common threads and must not wait for a slow disk. One,
        # because a connection serves one thread at a time, even one that was abandoned half-way.
        self._limiter = trio.CapacityLimiter(1)

    async def page_after(self, seq: int) -> Page:
        """The next piece of the log after a position.

        Cancellation leaves the thread to finish by itself.

        Raises:
            StoreError: the log cannot be read.
        """
        return await trio.to_thread.run_sync(
            lambda: self._opened().page_after(seq), abandon_on_cancel=True, limiter=self._limiter
        )

    async def changed_head(self) -> int | None:
        """The log's last position if anything was written since this was last asked, else None.

        Raises:
            StoreError: the log cannot be read.
        """
        return await trio.to_thread.run_sync(
            self._look_for_changes, abandon_on_cancel=True, limiter=self._limiter
        )

    def close(self) -> None:
        """Let go of the file, once no thread is reading any more."""
        if self._reader is not None and self._limiter.borrowed_tokens == 0:
            self._reader.close()
            self._reader = None

    def _look_for_changes(self) -> int | None:
        reader = self._opened()
        version = reader.data_version()
        if version == self._version:
            return None
        self._version = version
        return reader.head()

    def _opened(self) -> LogReader:
        if self._reader is None:
            self._reader = LogReader(self._path)
        return self._reader
