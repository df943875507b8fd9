"""One task for the timers of all sessions: a heap of deadlines, woken only for the earliest."""

import heapq
import itertools
import math
from collections.abc import Callable
from typing import Final

import trio

_COMPACT_ABOVE: Final = 256


class Timer:
    """One deadline that has been asked for; `cancel` costs nothing."""

    __slots__ = ("_timers", "callback")

    def __init__(self, timers: "Timers", callback: Callable[[], None]) -> None:
        self._timers = timers
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Forget it."""
        if self.callback is not None:
            self.callback = None
            self._timers.note_cancelled()


class Timers:
    """Calls back at deadlines, all from one task; callbacks must not raise."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._count = itertools.count()
        self._cancelled = 0
        self._scope = trio.CancelScope()

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call back in that many seconds."""
        timer = Timer(self, callback)
        when = trio.current_time() + seconds
        heapq.heappush(self._heap, (when, next(self._count), timer))
        if when < self._scope.deadline:
            self._scope.deadline = when
        return timer

    def call_soon(self, callback: Callable[[], None]) -> Timer:
        """Call back before this task waits again, and not from within this call."""
        return self.call_later(0.0, callback)

    def note_cancelled(self) -> None:
        """Count a cancelled timer; the heap is swept when most of it is dead."""
        self._cancelled += 1
        if self._cancelled > _COMPACT_ABOVE and self._cancelled * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].callback is not None]
            heapq.heapify(self._heap)
            self._cancelled = 0

    async def run(self) -> None:
        """Call back as deadlines pass; never returns."""
        while True:
            heap = self._heap
            now = trio.current_time()
            while heap and heap[0][0] <= now:
                timer = heapq.heappop(heap)[2]
                callback, timer.callback = timer.callback, None
                if callback is None:
                    self._cancelled -= 1
                else:
                    callback()
                heap = self._heap
            self._scope = trio.CancelScope(deadline=heap[0][0] if heap else math.inf)
            with self._scope:
                await trio.sleep_forever()
