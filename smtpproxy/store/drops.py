"""What is left out while the store is behind, and the gap events that tell of it afterwards.

Pure bookkeeping on the trio side: it knows neither store nor clock. Content goes first, since it is what
fills the store; past a hard bound everything goes. A session's first and last event are never lost
while the rest of it is in the log: they are put off.
"""

from collections.abc import Callable

from smtpproxy.session.events import AnyEvent, Content, End, Gap, SessionStarted, Spoken, octets_of
from smtpproxy.store.contract import Recorded


class _Missing:
    """What one session has lost."""

    __slots__ = ("end", "events", "first_n", "first_t", "octets", "start")

    def __init__(self) -> None:
        self.first_n = self.events = self.octets = 0
        self.first_t = 0.0
        self.start: Recorded | None = None
        self.end: Recorded | None = None

    def count(self, event: AnyEvent) -> None:
        if not self.events:
            self.first_n, self.first_t = event.n, event.t
        self.events += 1
        if isinstance(event, Spoken):
            self.octets += len(octets_of(event))


class Drops:
    """Decides event by event while the store is behind, and accounts for what it leaves out."""

    def __init__(self) -> None:
        self._missing: dict[str, _Missing] = {}
        self.gaps = 0
        self.lost_events = 0
        self.lost_sessions = 0

    def admit(self, line: bytes, event: AnyEvent, *, is_past_bound: bool) -> bool:
        """Whether an event may still be handed to the store; what may not is accounted for.

        Args:
            is_past_bound: no more memory may be taken at all.
        """
        missing = self._missing.get(event.session)
        has_start = missing is None or missing.start is None
        if isinstance(event, End):
            return self._admit_end(line, event, missing, is_past_bound=is_past_bound)
        if has_start and not is_past_bound and not isinstance(event, Content):
            return True
        if missing is None:
            missing = self._missing[event.session] = _Missing()
        if isinstance(event, SessionStarted):
            missing.start = (line, event)
        else:
            missing.count(event)
            self.lost_events += 1
        return False

    def _admit_end(self, line: bytes, event: End, missing: _Missing | None, *, is_past_bound: bool) -> bool:
        if missing is None:
            if not is_past_bound:
                return True
            missing = self._missing[event.session] = _Missing()
        if missing.start is not None:
            # It came and went while nothing could be kept: only numbers are left of it.
            del self._missing[event.session]
            self.lost_sessions += 1
            self.lost_events += 2
        else:
            missing.end = (line, event)
        return False

    def recover(self, encode: Callable[[AnyEvent], bytes], reason: str) -> list[Recorded]:
        """What to write now that the store works again: put-off starts, a gap each, put-off ends.

        Args:
            encode: makes an event's line.
            reason: why events are missing, for people.
        """
        recorded: list[Recorded] = []
        for session, missing in self._missing.items():
            if missing.start is not None:
                recorded.append(missing.start)
            if missing.events:
                gap = Gap(
                    n=missing.first_n,
                    session=session,
                    t=missing.first_t,
                    events=missing.events,
                    octets=missing.octets,
                    reason=reason,
                )
                recorded.append((encode(gap), gap))
                self.gaps += 1
            if missing.end is not None:
                recorded.append(missing.end)
        self._missing.clear()
        return recorded
