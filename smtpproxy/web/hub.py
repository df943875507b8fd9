"""Event lines made into websocket frames, once for all who watch with the same wishes; it sends nothing.

What a filter lets pass is a function of the log alone: a session matches from the event on that makes it
match, and all of the session up to there counts, whoever saw it. So frames can be shared by position.
"""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Literal, Protocol

import msgspec
import trio

from smtpproxy.inspect.filters.live import LiveFilter
from smtpproxy.inspect.filters.parsing import parse_filter
from smtpproxy.inspect.filters.tree import Filter
from smtpproxy.recording.codec import LineError, UnknownEvent, decode, splice_seq
from smtpproxy.store.contract import Removed, Row

ContentOption = Literal["none", "full"]

FRAME_BYTES: Final = 64 * 1024
"""A frame is no longer than this, unless a single line is."""
MAX_KEPT_FRAMES_BYTES: Final = 4 * 1024 * 1024
"""Frames kept for those who come to the same place of the log a moment later."""
MAX_TRACKED_SESSIONS: Final = 4096


class History(Protocol):
    """Reads back what a session said before we began to watch it: a page of rows behind a position."""

    def __call__(self, session: str, after_seq: int) -> Awaitable[list[Row]]: ...


class Wish(msgspec.Struct, frozen=True):
    """What a subscriber wants to see; equal wishes share their frames.

    Attributes:
        filter: as written; "" lets everything pass.
    """

    filter: str = ""
    content: ContentOption = "none"


class Track:
    """Which sessions match, as of one position in the log.

    Attributes:
        position: the last one that counts.
    """

    def __init__(self, chosen: Filter, history: History) -> None:
        self.position = -1
        self._filter = LiveFilter(chosen)
        self._chosen = chosen
        self._history = history
        self._known: dict[str, None] = {}

    def begin_behind(self, position: int) -> None:
        """Know nothing: what sessions said before is read back when they say more."""
        self._filter = LiveFilter(self._chosen)
        self._known.clear()
        self.position = position

    async def passing(self, rows: list[Row]) -> list[Row]:
        """Those of the next rows whose session matches by then."""
        passing: list[Row] = []
        for row in rows:
            if await self._passes(row):
                passing.append(row)
            self.position = row[0]
        return passing

    async def _passes(self, row: Row) -> bool:
        seq, session, kind, line = row
        known = self._known
        if session not in known:
            if kind != "session":
                await self._read_back(session, seq)
            if len(known) >= MAX_TRACKED_SESSIONS:
                oldest = next(iter(known))
                del known[oldest]
                self._filter.forget(oldest)
            known[session] = None
        if kind == "end":
            del known[session]
        return self._add(line)

    async def _read_back(self, session: str, before_seq: int) -> None:
        after = 0
        while after < before_seq and (rows := await self._history(session, after)):
            for seq, _, _, line in rows:
                if seq < before_seq:
                    self._add(line)
            after = rows[-1][0]

    def _add(self, line: bytes) -> bool:
        try:
            event = decode(line)
        except LineError:
            return False
        return not isinstance(event, UnknownEvent) and self._filter.add(event)


class Lens:
    """Renders the log for one wish."""

    def __init__(self, wish: Wish, chosen: Filter | None, history: History) -> None:
        self._content = wish.content
        self._filter = chosen
        self._history = history
        self._shared = None if chosen is None else Track(chosen, history)
        self._kept: OrderedDict[tuple[int, int], list[str]] = OrderedDict()
        self._kept_bytes = 0
        # Rendering may wait for the disk, and whoever asks for the same meanwhile shall share it.
        self._lock = trio.Lock()
        self.watchers = 0

    def new_track(self) -> Track | None:
        """For a subscriber that may fall behind the others."""
        return None if self._filter is None else Track(self._filter, self._history)

    async def frames(self, item: list[Row] | Removed, own: Track | None) -> list[str]:
        """The frames that tell an item; none where nothing of it is wanted."""
        if isinstance(item, Removed):
            told = {"kind": "removed", "from_seq": item.from_seq, "to_seq": item.to_seq}
            return [msgspec.json.encode(told).decode()]
        place = (item[0][0], item[-1][0])
        frames = self._kept.get(place)
        if frames is not None:
            return frames
        async with self._lock:
            frames = self._kept.get(place)
            if frames is None:
                frames = list(_frames(await self._chosen(item, own), self._content))
                self._keep(place, frames)
        return frames

    async def _chosen(self, rows: list[Row], own: Track | None) -> list[Row]:
        if self._filter is None or self._shared is None or own is None:
            return rows
        # Those at the head go on from what they know together. One that is behind has its own place; when it
        # leaves it to join the others there, it has to read back what it did not follow.
        track = self._shared if self._shared.position + 1 == rows[0][0] else own
        if track.position + 1 != rows[0][0]:
            is_ahead = rows[-1][0] > self._shared.position
            track = self._shared if is_ahead else own
            track.begin_behind(rows[0][0] - 1)
        return await track.passing(rows)

    def _keep(self, place: tuple[int, int], frames: list[str]) -> None:
        self._kept[place] = frames
        self._kept_bytes += _weight(frames)
        while self._kept_bytes > MAX_KEPT_FRAMES_BYTES:
            _, dropped = self._kept.popitem(last=False)
            self._kept_bytes -= _weight(dropped)


class Hub:
    """The lenses in use, one for each wish."""

    def __init__(self, history: History) -> None:
        """Filters look into `history` for what they have missed."""
        self._history = history
        self._lenses: dict[Wish, Lens] = {}

    @contextmanager
    def lens(self, wish: Wish) -> Iterator[Lens]:
        """The lens for a wish, for as long as somebody looks through it.

        Raises:
            FilterError: the filter is no filter.
        """
        lens = self._lenses.get(wish)
        if lens is None:
            chosen: Filter | None = parse_filter(wish.filter, now=time.time())
            if chosen is not None and chosen.is_everything:
                chosen = None
            lens = self._lenses[wish] = Lens(wish, chosen, self._history)
        lens.watchers += 1
        try:
            yield lens
        finally:
            lens.watchers -= 1
            if not lens.watchers:
                del self._lenses[wish]


def spliced(row: Row, content: ContentOption) -> bytes:
    """A row as it is told live: its line with `seq` in front, messages' octets left out unless wanted."""
    seq, _, kind, line = row
    if kind == "content" and content == "none":
        line = without_octets(line)
    return splice_seq(line, seq)


def without_octets(line: bytes) -> bytes:
    """A content event's line with the number of its octets in their place."""
    fields: dict[str, Any] = msgspec.json.decode(line)
    raw, b64 = fields.pop("raw", None), fields.pop("raw_b64", None)
    kept = len(raw.encode()) if isinstance(raw, str) else _decoded_length(b64) if isinstance(b64, str) else 0
    if "octets" not in fields:
        fields["octets"] = kept
    fields.pop("redacted", None)
    return msgspec.json.encode(fields)


def _decoded_length(b64: str) -> int:
    return len(b64) // 4 * 3 - b64.count("=", -2)


def _frames(rows: list[Row], content: ContentOption) -> Iterator[str]:
    lines: list[bytes] = []
    octets = 0
    for row in rows:
        line = spliced(row, content)
        if lines and octets + len(line) > FRAME_BYTES:
            yield b"\n".join(lines).decode("utf-8", "replace")
            lines, octets = [], 0
        lines.append(line)
        octets += len(line) + 1
    if lines:
        yield b"\n".join(lines).decode("utf-8", "replace")


def _weight(frames: list[str]) -> int:
    # Even no frame at all is remembered, and takes room.
    return sum(map(len, frames)) + 64
