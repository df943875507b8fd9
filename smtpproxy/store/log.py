"""The event log of a running proxy: the trio thread appends to a queue, one thread writes it in batches.

It decides when to write, and what happens while the store is slow, full or hangs. It knows neither
SQLite (that is `writer`) nor what is left out then (`drops`).
"""

import contextlib
import math
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final, Literal

import trio

from smtpproxy.errors import StoreError
from smtpproxy.session.events import AnyEvent
from smtpproxy.store.contract import Batch, LogStatus, LogWriter, PageSource, Recorded, Written
from smtpproxy.store.drops import Drops
from smtpproxy.store.feed import Feed
from smtpproxy.store.lock import StoreLock, proxy_lock_path
from smtpproxy.store.retention import Retention
from smtpproxy.store.source import SqlitePages
from smtpproxy.store.writer import SqliteWriter

OnRecordFailure = Literal["continue", "refuse"]

BATCH_S: Final = 0.010
BATCH_BYTES: Final = 1024 * 1024
HIGH_WATER_BYTES: Final = 4 * 1024 * 1024
PAUSE_S: Final = 2.0
"""How long a store that is behind may hold the app's traffic up."""
STALL_S: Final = 2.0
"""Nothing written for so long, though something waits, is told as degraded."""
# While dropping, events other than content still go in up to this multiple of the high-water mark. Until
# then many sessions may each have read once more than the mark allows, which is no reason to lose anything.
DROPPING_FACTOR: Final = 4
OVERRUN_FACTOR: Final = 16
RETRY_MIN_S: Final = 0.05
RETRY_MAX_S: Final = 1.0
TIDY_RETRY_S: Final = 60.0
QUIET_S: Final = 0.3
"""Nothing to write for so long is a quiet time."""
LOOK_S: Final = 60.0
"""How often another process's imports are looked for while nothing is written."""
CLOSE_TIMEOUT_S: Final = 5.0
_NEVER: Final = math.inf
_ALWAYS: Final = -1.0


class EventLog:
    """Takes events without ever blocking, and gets them into the store in order.

    What it counts is octets of lines since the start: `appended` belongs to the trio thread, `taken` and
    `committed` to the writer's, so neither needs a lock.
    """

    def __init__(
        self,
        writer: LogWriter,
        source: PageSource,
        *,
        head: int,
        encode: Callable[[AnyEvent], bytes],
        high_water_bytes: int = HIGH_WATER_BYTES,
        on_record_failure: OnRecordFailure = "continue",
    ) -> None:
        """Start the writer's thread; call within trio.

        Args:
            head: the log's last position.
            encode: makes the line of a gap event.
        """
        self.feed = Feed(source, head=head)
        self._writer = writer
        self._encode = encode
        self._mark = high_water_bytes
        self._is_refusing = on_record_failure == "refuse"
        self._queue: deque[Recorded] = deque()
        self._appended = self._taken = self._committed = 0
        self._appended_events = self._committed_events = 0
        # The trio side.
        self._drops = Drops()
        self._is_dropping = False
        self._progress = trio.Event()
        self._awaited = 0
        self._token = trio.lowlevel.current_trio_token()
        # What the two sides tell each other: one writes, the other reads.
        self._wake = threading.Event()
        self._wake_at: float = _NEVER
        self._is_urgent = False
        self._is_stopping = False
        self._give_up_at = _NEVER
        self._busy_since: float | None = None
        self._error = ""
        self._has_stopped = False
        self._tidy_pause_until = 0.0
        self._index_at = 0.0
        # A daemon: a disk that hangs for good must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="smtpproxy-store", daemon=True)
        self._thread.start()

    # ---- the trio side

    def wants_events(self) -> bool:
        """Always: this log keeps what it is given."""
        return True

    def append(self, line: bytes, event: AnyEvent) -> None:
        """Take the next event of its session; neither blocks nor raises."""
        appended = self._appended + len(line)
        is_over = appended - self._committed > self._mark * OVERRUN_FACTOR
        if (self._is_dropping or is_over) and not self._admit(line, event):
            return
        self._queue.append((line, event))
        self._appended = appended
        self._appended_events += 1
        if appended > self._wake_at:
            self._wake_at = _NEVER
            self._wake.set()

    def is_full(self) -> bool:
        """Whether sockets should not be read for now: too much is pending, and the 2 s are not over."""
        return self._appended - self._committed >= self._mark and not self._is_dropping

    async def wait_until_ready(self) -> None:
        """Return when half of the mark is free again; after 2 s recording drops instead."""
        if not self.is_full():
            await trio.lowlevel.checkpoint()
            return
        self._awaited += 1
        try:
            with trio.move_on_after(PAUSE_S) as pause:
                while self._pending > self._mark // 2 and not self._is_dropping:
                    await self._progress.wait()
        finally:
            self._awaited -= 1
        if pause.cancelled_caught and self.is_full():
            self._start_dropping()

    def refusal(self) -> str | None:
        """Why no new session may begin: recording fails, and the operator asked for that; else None."""
        if not self._is_refusing:
            return None
        status = self.status()
        if status.state == "ok":
            return None
        return status.error or "recording is behind"

    async def flush(self) -> None:
        """Return when all that was appended so far, and not dropped, is in the log.

        Waits for as long as the store does not work. Cancellation leaves everything as it is.

        Raises:
            StoreError: it never will be, since the log is closed.
        """
        target = self._appended
        self._awaited += 1
        try:
            self._is_urgent = True
            self._wake.set()
            while self._committed < target:
                if self._has_stopped:
                    raise StoreError(self._error or "the event log is closed")
                await self._progress.wait()
            await trio.lowlevel.checkpoint()
        finally:
            self._awaited -= 1

    def status(self) -> LogStatus:
        """How recording is doing."""
        pending = self._pending
        since = self._busy_since
        lag = time.monotonic() - since if pending and since is not None else 0.0
        error = self._error
        state: Literal["ok", "degraded", "failed"] = "ok"
        if error:
            state = "failed"
        elif self._is_dropping or lag > STALL_S:
            state = "degraded"
        return LogStatus(
            state=state,
            is_dropping=self._is_dropping,
            pending_events=self._appended_events - self._committed_events,
            pending_bytes=pending,
            lag_s=lag,
            gaps=self._drops.gaps,
            lost_events=self._drops.lost_events,
            lost_sessions=self._drops.lost_sessions,
            error=error,
        )

    async def aclose(self) -> None:
        """Write what is pending, for at most 5 s; end the feed. Not cancellable; a second call does nothing.

        Raises:
            StoreError: not all could be written; says how much is lost, and why.
        """
        if self._is_stopping:
            return
        if self._is_dropping:
            self._recover()
        self._give_up_at = time.monotonic() + CLOSE_TIMEOUT_S
        self._is_stopping = True
        self._wake.set()
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(
                self._thread.join, CLOSE_TIMEOUT_S + 2 * RETRY_MAX_S, limiter=trio.CapacityLimiter(1)
            )
        self._has_stopped = True
        self._tell_progress()
        self.feed.close()
        lost = self._appended_events - self._committed_events
        if lost:
            raise StoreError(f"{lost} events could not be recorded: {self._error or 'the store hangs'}")

    @property
    def _pending(self) -> int:
        return self._appended - self._committed

    def _admit(self, line: bytes, event: AnyEvent) -> bool:
        if not self._is_dropping:
            self._start_dropping()
        is_past_bound = self._pending > self._mark * DROPPING_FACTOR
        return self._drops.admit(line, event, is_past_bound=is_past_bound)

    def _start_dropping(self) -> None:
        if not self._is_dropping:
            self._is_dropping = True
            self._awaited += 1
            self._tell_progress()

    def _recover(self) -> None:
        self._is_dropping = False
        self._awaited -= 1
        for line, event in self._drops.recover(self._encode, "the store could not take it"):
            self.append(line, event)

    def _on_commit(self, written: Written) -> None:
        if self.feed.is_watched:
            self.feed.deliver(Batch(written.after, written.rows()))
        if self._is_dropping and self._pending <= self._mark // 2:
            self._recover()
        self._tell_progress()

    def _tell_progress(self) -> None:
        self._progress.set()
        self._progress = trio.Event()

    # ---- the writer's thread

    def _run(self) -> None:
        try:
            tidy_at = 0.0
            while True:
                tidy_at = self._tidy(tidy_at)
                if self._queue:
                    self._gather()
                    if not self._write(self._take()):
                        break
                    self._index_at = time.monotonic() + QUIET_S
                elif self._is_stopping:
                    break
                else:
                    self._idle_until(min(tidy_at, self._index()))
        except Exception as error:  # noqa: BLE001  a bug here must neither reach the app's traffic nor be hidden
            self._error = f"the event log stopped: internal error, please report it ({error!r})"
        finally:
            self._writer.close()
            self._has_stopped = True
            self._call_trio(self._tell_progress)

    def _idle_until(self, next_at: float) -> None:
        self._wake.clear()
        self._wake_at = _ALWAYS
        # Looked at after `_wake_at` is set, as `append` looks at `_wake_at` after it has appended: one of
        # the two sees the other.
        if not self._queue and not self._is_stopping:
            self._wake.wait(None if next_at == _NEVER else max(0.0, next_at - time.monotonic()))
        self._wake_at = _NEVER

    def _gather(self) -> None:
        """Let a batch grow for a moment, unless it is large already or somebody waits for it."""
        self._wake.clear()
        self._wake_at = self._taken + BATCH_BYTES
        is_large = self._appended - self._taken >= BATCH_BYTES
        if not (is_large or self._is_urgent or self._is_stopping):
            self._wake.wait(BATCH_S)
        self._wake_at = _NEVER
        self._is_urgent = False

    def _take(self) -> list[Recorded]:
        events: list[Recorded] = []
        octets = 0
        pop = self._queue.popleft
        while octets < BATCH_BYTES and self._queue:
            recorded = pop()
            events.append(recorded)
            octets += len(recorded[0])
        self._taken += octets
        return events

    def _write(self, events: list[Recorded]) -> bool:
        """Write a batch, however often it takes; False where closing cannot wait any longer."""
        self._writer.prepare(events)
        self._busy_since = time.monotonic()
        delay = RETRY_MIN_S
        while True:
            try:
                written = self._writer.write()
                break
            except StoreError as error:
                self._error = str(error)
            if time.monotonic() >= self._give_up_at:
                return False
            time.sleep(delay)
            delay = min(delay * 2, RETRY_MAX_S)
        self._error = ""
        self._busy_since = None
        self._committed_events += len(events)
        self._committed = self._taken
        self.feed.committed(written.head)
        if self._awaited or self.feed.is_watched:
            self._call_trio(self._on_commit, written)
        return True

    def _call_trio(self, call: Callable[..., None], *values: Written) -> None:
        # Where trio has ended, nobody listens any more.
        with contextlib.suppress(trio.RunFinishedError):
            self._token.run_sync_soon(call, *values)

    def _tidy(self, tidy_at: float) -> float:
        """Housekeeping, a slice at a time, so that events never wait longer than that; when to do more."""
        now = time.monotonic()
        if now < self._tidy_pause_until:
            return max(tidy_at, self._tidy_pause_until)
        if now < tidy_at and not self._writer.is_tidying_due:
            return tidy_at
        if self._pending > self._mark // 2 or self._is_stopping:
            return now
        self._busy_since = now
        try:
            delay = self._writer.tidy()
        except StoreError:
            # If the store does not work, writing events will tell; here it may just have been in use.
            delay = TIDY_RETRY_S
            self._tidy_pause_until = now + delay
        self._busy_since = None
        return _NEVER if delay is None else now + delay

    def _index(self) -> float:
        """Do a piece of what can wait for a quiet time; when to do the next one."""
        now = time.monotonic()
        if now >= self._index_at:
            try:
                self._index_at = now if self._writer.index() else now + LOOK_S
            except StoreError:
                # As with tidying: whether the store works is told by writing events.
                self._index_at = now + TIDY_RETRY_S
        return self._index_at


@contextlib.asynccontextmanager
async def open_log(
    path: Path,
    *,
    encode: Callable[[AnyEvent], bytes],
    retention: Retention | None = None,
    high_water_bytes: int = HIGH_WATER_BYTES,
    on_record_failure: OnRecordFailure = "continue",
) -> AsyncIterator[EventLog]:
    """The event log in the file `path` while a proxy runs; sessions left open by a killed one are ended.

    Args:
        encode: makes the line of an event that the log itself adds (`gap`, `end`).
        retention: what to remove and when; by default 7 days and 2 GiB.
        high_water_bytes: pending octets above which sockets are not to be read.
        on_record_failure: `refuse` makes `refusal` say why no new session may begin.

    Raises:
        StoreError: another proxy has it, or it cannot be opened; on leaving: not all could be written.
    """

    def open_store() -> tuple[StoreLock, SqliteWriter]:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = StoreLock(proxy_lock_path(path))
        writer: SqliteWriter | None = None
        try:
            writer = SqliteWriter(path, retention=retention or Retention())
            writer.mark_interrupted(encode)
        except BaseException:
            if writer is not None:
                writer.close()
            lock.release()
            raise
        return lock, writer

    lock, writer = await trio.to_thread.run_sync(open_store, limiter=trio.CapacityLimiter(1))
    try:
        log = EventLog(
            writer,
            SqlitePages(path),
            head=writer.head,
            encode=encode,
            high_water_bytes=high_water_bytes,
            on_record_failure=on_record_failure,
        )
        try:
            yield log
        finally:
            await log.aclose()
    finally:
        lock.release()
