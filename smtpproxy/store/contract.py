"""What a store is to the rest of smtpproxy: its values and its interfaces; it knows no database.

SQLite serves these today. PostgreSQL can serve them later, so nothing here assumes that there is one
writer, or that the log lives in this process: a position (`seq`) is given when events are committed, it
only ever grows in the order of commits, and whoever reads holds no transaction between two calls.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, TypeAlias

import msgspec

from smtpproxy.inspect.summary import SessionSummary
from smtpproxy.session.events import AnyEvent

if TYPE_CHECKING:
    from smtpproxy.store.feed import Feed

Row: TypeAlias = tuple[int, str, str, bytes]
"""One event in the log: its global position `seq` (from 1), session id, kind, and its line of JSON."""
Recorded: TypeAlias = tuple[bytes, AnyEvent]
"""One event on its way into the log: its line, and the redacted value that the line was made from."""


class Batch(NamedTuple):
    """What one commit put into the log, for those who watch.

    Attributes:
        after: the log's last position before it, whoever wrote that. A reader that stands there or
            further has missed nothing.
        rows: in order; their positions are consecutive.
    """

    after: int
    rows: list[Row]


class Written(Protocol):
    """A batch that is in the log now.

    Attributes:
        after: the log's last position before it, whoever wrote that.
        head: the log's last position with it.
    """

    after: int
    head: int

    def rows(self) -> list[Row]:
        """What it put there; made when asked for, since often nobody watches."""


class Removed(msgspec.Struct, frozen=True):
    """These positions are no longer in the log (retention, a delete), or never will be; both inclusive."""

    from_seq: int
    to_seq: int


Item: TypeAlias = list[Row] | Removed
"""What a subscriber gets: rows in order (shared with others: do not change the list), or a hole."""


class Page(NamedTuple):
    """A bounded piece of the log.

    Attributes:
        rows: what follows the position asked for, in order.
        is_last: the log holds nothing after `rows`.
        head: the log's last position at that moment, held or removed.
    """

    rows: list[Row]
    is_last: bool
    head: int


class LogStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How recording is doing, for the console.

    Attributes:
        state: degraded: behind, or dropping; failed: the store refuses what is written.
        is_dropping: events are being left out; gaps will tell.
        pending_events, pending_bytes: taken, not yet in the log.
        lag_s: how long nothing got into the log although something waits to; 0 where nothing does.
        gaps: gap events written since the start.
        lost_events: events left out since the start.
        lost_sessions: sessions that began and ended while nothing could be recorded.
        error: what the store last said, in words for people; "" when it works.
    """

    state: Literal["ok", "degraded", "failed"] = "ok"
    is_dropping: bool = False
    pending_events: int = 0
    pending_bytes: int = 0
    lag_s: float = 0.0
    gaps: int = 0
    lost_events: int = 0
    lost_sessions: int = 0
    error: str = ""


class Log(Protocol):
    """Where a running proxy's events go; used from the trio thread."""

    feed: "Feed"

    def wants_events(self) -> bool:
        """Whether `append` would keep anything: where not, events need not even be encoded."""

    def append(self, line: bytes, event: AnyEvent) -> None:
        """Take the next event of its session; neither blocks nor raises.

        Args:
            line: its line of JSON, without line end.
            event: the redacted value that the line was made from; it must not be changed any more.
        """

    def is_full(self) -> bool:
        """Whether sockets should not be read for now."""

    async def wait_until_ready(self) -> None:
        """Return when reading may go on, after 2 s at most."""

    def refusal(self) -> str | None:
        """Why no new session may begin, or None."""

    async def flush(self) -> None:
        """Return when all that was appended so far, and not dropped, is in the log.

        Raises:
            StoreError: it never will be.
        """

    def status(self) -> LogStatus:
        """How recording is doing."""

    async def aclose(self) -> None:
        """Write what is pending, and end the feed.

        Raises:
            StoreError: not all could be written; says how much is lost, and why.
        """


class LogWriter(Protocol):
    """The database's side of writing; called from one thread at a time, may block."""

    @property
    def is_tidying_due(self) -> bool:
        """Whether so much was written that `tidy` should be called before it foresaw."""

    def prepare(self, events: list[Recorded]) -> None:
        """Take the next batch, once; `write` puts it into the log."""

    def write(self) -> Written:
        """Commit the batch that was prepared, whole or not at all; may be tried again where it was not.

        Raises:
            StoreError: nothing of it was written.
        """

    def tidy(self) -> float | None:
        """Do a short piece of housekeeping.

        Returns:
            Seconds until there is more to do (0: at once); None where nothing is foreseen.

        Raises:
            StoreError: it could not be done now.
        """

    def index(self) -> bool:
        """Do a short piece of what can wait for a quiet time.

        Returns:
            Whether there is more to do now.

        Raises:
            StoreError: it could not be done now.
        """

    def close(self) -> None:
        """Let go of the database; never raises."""


class PageSource(Protocol):
    """What a feed reads when a subscriber is behind."""

    async def page_after(self, seq: int) -> Page:
        """The next piece of the log after a position, bounded in rows and bytes.

        Raises:
            StoreError: the log cannot be read.
        """

    async def changed_head(self) -> int | None:
        """The log's last position if anyone may have written since this was last asked, else None.

        Raises:
            StoreError: the log cannot be read.
        """

    def close(self) -> None:
        """Let go of the database; called when nobody reads any more."""


class Reader(Protocol):
    """What commands that read ask of a store; synchronous, beside a running proxy or without one."""

    def sessions(
        self, *, limit: int | None = None, include_probes: bool = False
    ) -> Iterator[SessionSummary]: ...
    def session_ids(self, prefix: str = "") -> list[str]: ...
    def resolve(self, name: str) -> str: ...
    def lines(self, session: str) -> Iterator[bytes]: ...
    def events_after(self, seq: int, limit: int) -> list[Row]: ...
    def head(self) -> int: ...
    def oldest(self) -> int: ...
