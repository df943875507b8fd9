"""What the API's handlers share: the proxy around them, readers of the store, and common questions to it."""

import secrets
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from smtpproxy.errors import NotFoundError, StoreError
from smtpproxy.store.contract import Row
from smtpproxy.store.reader import LogReader
from smtpproxy.web.reading import Readers
from smtpproxy.web.surroundings import Surroundings

_T = TypeVar("_T")


class Place(NamedTuple):
    """Where the log stands.

    Attributes:
        log: its id.
    """

    log: str
    oldest: int
    newest: int
    sessions_open: int


class Context:
    """One running web port."""

    def __init__(self, around: Surroundings, readers: Readers | None) -> None:
        """`readers` is None where nothing is recorded."""
        self.around = around
        self.readers = readers
        self.subscribers: Callable[[], int] = lambda: 0
        self._log = f"none-{secrets.token_hex(8)}"

    async def place(self) -> Place:
        """Where the log stands now; what can be told even where the store cannot be read."""
        head = self.around.feed.head
        if self.readers is None:
            return Place(self._log, 0, head, 0)

        def look(reader: LogReader) -> Place:
            return Place(reader.log_id(), reader.oldest(), reader.head(), reader.open_sessions())

        try:
            return await self.readers.run(look)
        except StoreError:
            return Place("", 0, head, 0)

    async def hello(self) -> dict[str, object]:
        """What /live tells first."""
        place = await self.place()
        return {
            "log": place.log,
            "oldest": place.oldest,
            "newest": place.newest,
            "version": self.around.version,
        }

    async def history(self, session: str, after_seq: int) -> list[Row]:
        """The next page of what a session said; empty where nothing is recorded.

        Raises:
            StoreError: the store cannot be read.
        """
        if self.readers is None:
            return []
        return await self.readers.run(lambda reader: reader.rows(session, after_seq=after_seq))

    async def read(self, look: Callable[[LogReader], _T]) -> _T:
        """Ask the store, in a thread.

        Raises:
            NotFoundError: nothing is recorded, so nothing is found.
            StoreError: the store cannot be read.
        """
        return await self._readers().run(look)

    def _readers(self) -> Readers:
        if self.readers is None:
            raise NotFoundError("nothing is recorded (--store none), so there is nothing to look into")
        return self.readers

    @property
    def reading(self) -> Readers:
        """The readers.

        Raises:
            NotFoundError: nothing is recorded.
        """
        return self._readers()
