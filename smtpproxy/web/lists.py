"""Pages of sessions and of messages, newest first, filtered; all here blocks and is called in a thread.

A page ends when it is full or when its time is up, and its cursor is where the next one begins: a filter that
must look into every conversation of a large store comes page by page.
"""

import re
import time
from collections.abc import Iterable, Iterator
from typing import Final

from smtpproxy.errors import NotFoundError
from smtpproxy.inspect.filters.selecting import select_sessions
from smtpproxy.inspect.filters.tree import Filter
from smtpproxy.inspect.summary import SessionSummary
from smtpproxy.recording.codec import UnknownEvent, decode
from smtpproxy.session.events import AnyEvent
from smtpproxy.store.reader import LogReader
from smtpproxy.web import models
from smtpproxy.web.mailbox import Glances
from smtpproxy.web.reading import session_rows

PAGE_TIME_S: Final = 2.0
CURSOR_PATTERN: Final = r"^[0-9TZ:.-]{0,32}_[0-9A-Za-z-]{1,64}(_[0-9]{1,9})?$"
_CURSOR: Final = re.compile(CURSOR_PATTERN)


def session_page(
    reader: LogReader, wanted: Filter, *, limit: int, cursor: str | None, has_probes: bool
) -> models.Sessions:
    """A page of sessions.

    Raises:
        StoreError: the store cannot be read.
    """
    scan = _Scan(reader, before=_place(cursor), has_probes=has_probes)
    found: list[SessionSummary] = []
    for summary in scan.matching(wanted):
        if len(found) == limit:
            return models.Sessions(sessions=_sessions(found), cursor=_cursor(found[-1]))
        found.append(summary)
    return models.Sessions(sessions=_sessions(found), cursor=scan.cursor)


def message_page(
    reader: LogReader, glances: Glances, wanted: Filter, *, limit: int, cursor: str | None
) -> models.MessagePage:
    """A page of the messages of matching sessions.

    Raises:
        StoreError: the store cannot be read.
    """
    found: list[models.Message] = []
    last_cursor = cursor
    begun, number = _begun(reader, cursor)
    scan = _Scan(reader, before=_place(cursor), has_probes=False)
    for summary in (*begun, *scan.matching(wanted)):
        if not summary.messages:
            continue
        for stored in reversed(reader.messages(summary.session)):
            if number is not None and summary in begun and stored.message >= number:
                continue
            # One at least: a page that ends where it began would be asked for again and again.
            if len(found) == limit or (found and scan.is_time_up()):
                return models.MessagePage(messages=found, cursor=last_cursor)
            found.append(glances.describe(reader, stored))
            last_cursor = f"{_cursor(summary)}_{stored.message}"
    return models.MessagePage(messages=found, cursor=scan.cursor)


def all_matching(reader: LogReader, wanted: Filter) -> list[str]:
    """The ids of all sessions that match, probes too.

    Raises:
        StoreError: the store cannot be read.
    """
    summaries = reader.sessions(include_probes=True)
    return [summary.session for summary in _select(reader, wanted, summaries)]


class _Scan:
    """A walk through the sessions for as long as a page may take."""

    def __init__(self, reader: LogReader, *, before: tuple[str, str] | None, has_probes: bool) -> None:
        self.cursor: str | None = None
        self._reader = reader
        self._before = before
        self._has_probes = has_probes
        self._until = time.monotonic() + PAGE_TIME_S

    def is_time_up(self) -> bool:
        """Whether the page should end here."""
        return time.monotonic() > self._until

    def matching(self, wanted: Filter) -> Iterator[SessionSummary]:
        """Those that match; afterwards `cursor` is where the walk was broken off, None at the end."""
        return _select(self._reader, wanted, self._walk())

    def _walk(self) -> Iterator[SessionSummary]:
        for summary in self._reader.sessions(before=self._before, include_probes=self._has_probes):
            yield summary
            # Asked for the next one: this one was looked at.
            if self.is_time_up():
                self.cursor = _cursor(summary)
                return


def _select(
    reader: LogReader, wanted: Filter, summaries: Iterable[SessionSummary]
) -> Iterator[SessionSummary]:
    def events_of(session: str, has_content: bool) -> Iterator[AnyEvent]:
        for _, _, kind, line in session_rows(reader, session):
            if has_content or kind != "content":
                event = decode(line)
                if not isinstance(event, UnknownEvent):
                    yield event

    index = reader.index()
    return select_sessions(wanted, summaries, events_of=events_of, search=index, seen_of=index.seen)


def _sessions(found: list[SessionSummary]) -> list[models.Session]:
    return [models.Session.model_validate(summary) for summary in found]


def _cursor(summary: SessionSummary) -> str:
    return f"{summary.started}_{summary.session}"


def _place(cursor: str | None) -> tuple[str, str] | None:
    if cursor is None or not _CURSOR.match(cursor):
        return None
    started, session, *_ = cursor.split("_")
    return started, session


def _begun(reader: LogReader, cursor: str | None) -> tuple[list[SessionSummary], int | None]:
    """The session in which the page before ended, and the message it ended with."""
    place = _place(cursor)
    if cursor is None or place is None or cursor.count("_") < 2:
        return [], None
    try:
        return [reader.summary(place[1])], int(cursor.rpartition("_")[2])
    except NotFoundError:
        return [], None  # deleted meanwhile
