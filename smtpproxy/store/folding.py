"""Events folded into a batch: runs to be written, and the rows that sum sessions and messages up.

It knows neither database nor clock nor thread. Within a batch the events stand session by session, each
session's in their order, so that runs are long.
"""

from collections.abc import Iterable
from typing import Final, TypeAlias

import msgspec

from smtpproxy.inspect.summary import MessageRow, SessionSummary, Summarizer
from smtpproxy.recording.codec import AnyLine, UnknownEvent
from smtpproxy.session.events import AnyEvent, Content, End
from smtpproxy.store.contract import Row
from smtpproxy.store.runs import kind_of, pack

LONG_SUMMARY_BYTES: Final = 1024
_encode_json = msgspec.json.Encoder().encode


class Base:
    """Where a stretch of a session came to lie: the position of its first event. 0 until it was written."""

    __slots__ = ("seq",)

    def __init__(self) -> None:
        self.seq = 0


Place: TypeAlias = tuple[Base, int]
"""Where one event came to lie, once its batch was written: so many positions behind the base."""


class Stretch:
    """What one batch holds of a session.

    Attributes:
        lines: its events' lines, in order.
        runs: the same as rows of the log: how many lines each, and the lines.
        base: where it lies. On its own, since a message that goes on keeps hold of it, but not of the lines.
    """

    __slots__ = ("base", "lines", "runs", "session")

    def __init__(self, session: str, lines: list[bytes], octets: int) -> None:
        self.session = session
        self.lines = lines
        self.runs = pack(lines, octets)
        self.base = Base()

    @property
    def last_seq(self) -> int:
        """Where its last event lies, once the batch is written."""
        return self.base.seq + len(self.lines) - 1

    def rows(self) -> list[Row]:
        """Its events as they stand in the log, once the batch is written."""
        session = self.session
        return [(seq, session, kind_of(line), line) for seq, line in enumerate(self.lines, self.base.seq)]


class FoldedBatch:
    """Events ready to be written, with all that follows from them.

    Attributes:
        octets: of all lines.
        stretches: in the order in which they are to lie in the log.
        messages: each with its session, and where its content begins and ends.
        sessions: the summaries that changed, as values and encoded.
        after, head: the log's last position before and after it; 0 until it is written.
    """

    __slots__ = ("after", "head", "messages", "octets", "sessions", "stretches")

    def __init__(self) -> None:
        self.octets = 0
        self.stretches: list[Stretch] = []
        self.messages: list[tuple[str, MessageRow, Place, Place]] = []
        self.sessions: list[tuple[Stretch, SessionSummary, bytes]] = []
        self.after = self.head = 0

    def place_after(self, after: int) -> None:
        """It comes to lie behind this position."""
        self.after = self.head = after
        for stretch in self.stretches:
            stretch.base.seq = self.head + 1
            self.head += len(stretch.lines)

    def rows(self) -> list[Row]:
        """Its events as they stand in the log, once it is written."""
        return [row for stretch in self.stretches for row in stretch.rows()]


class _OpenSession:
    """What is kept in memory of a session until its end: its summary so far, and where its messages lie."""

    __slots__ = ("has_failed", "places", "summarizer", "summary_bytes", "unsummed_bytes")

    def __init__(self) -> None:
        self.summarizer = Summarizer()
        # An event could not be summed up; the row says so with the finding internal-error.
        self.has_failed = False
        self.places: dict[int, tuple[Place, Place]] = {}
        # Of its row as it was last written, and of its lines since then.
        self.summary_bytes = self.unsummed_bytes = 0


class Folder:
    """Folds events into batches, session by session."""

    def __init__(self) -> None:
        self._open: dict[str, _OpenSession] = {}

    def fold(self, recorded: Iterable[tuple[bytes, AnyLine]]) -> FoldedBatch:
        """Take the next events, of any sessions, in order."""
        by_session: dict[str, list[tuple[bytes, AnyLine]]] = {}
        for pair in recorded:
            session = pair[1].session
            if session in by_session:
                by_session[session].append(pair)
            else:
                by_session[session] = [pair]
        batch = FoldedBatch()
        for session, pairs in by_session.items():
            lines = [line for line, _ in pairs]
            octets = sum(map(len, lines))
            batch.octets += octets
            stretch = Stretch(session, lines, octets)
            batch.stretches.append(stretch)
            self._fold_session(stretch, [event for _, event in pairs], octets, batch)
        return batch

    def _fold_session(self, stretch: Stretch, events: list[AnyLine], octets: int, batch: FoldedBatch) -> None:
        name = stretch.session
        state = self._open.get(name)
        if state is None:
            state = self._open[name] = _OpenSession()
        state.unsummed_bytes += octets
        places, base = state.places, stretch.base
        has_ended = False
        known: list[AnyEvent] = []
        for index, event in enumerate(events):
            if isinstance(event, UnknownEvent):
                continue
            known.append(event)
            if isinstance(event, Content):
                place = base, index
                found = places.get(event.message)
                places[event.message] = (place if found is None else found[0]), place
            elif isinstance(event, End):
                has_ended = True
        try:
            state.summarizer.add_all(known)
        except Exception:  # noqa: BLE001 - the log is what counts: a summary that fails costs it nothing
            state.has_failed = True
        if has_ended:
            del self._open[name]
        self._sum_up(stretch, state, batch, has_ended=has_ended)

    def _sum_up(self, stretch: Stretch, state: _OpenSession, batch: FoldedBatch, *, has_ended: bool) -> None:
        name = stretch.session
        for message in state.summarizer.take_messages():
            places = state.places.pop(message.message, None)
            if places is not None:
                batch.messages.append((name, message, *places))
        # Rewriting a long summary (one that names hundreds of recipients) with every batch would cost more
        # than the events: it waits until as much was said as it is long, or until the end.
        if state.unsummed_bytes < state.summary_bytes and not has_ended:
            return
        summary = state.summarizer.summary
        if not summary.session:  # a recording that lost its first line still has to be found
            summary = msgspec.structs.replace(summary, session=name)
        if state.has_failed:
            summary = msgspec.structs.replace(summary, findings=[*summary.findings, "internal-error"])
        encoded = _encode_json(summary)
        state.summary_bytes = len(encoded) if len(encoded) > LONG_SUMMARY_BYTES else 0
        state.unsummed_bytes = 0
        batch.sessions.append((stretch, summary, encoded))

    def summary_of(self, session: str) -> SessionSummary:
        """What an open session has come to."""
        return self._open[session].summarizer.summary
