"""Filters on the command line: how they are taken, how a mistake is shown, which sessions of a store match.

It prints no session.
"""

import re
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Final

import click
from rich.cells import cell_len

from smtpproxy.errors import FilterError
from smtpproxy.inspect.filters.parsing import parse_filter
from smtpproxy.inspect.filters.selecting import select_sessions
from smtpproxy.inspect.filters.tree import Filter
from smtpproxy.inspect.summary import SessionSummary
from smtpproxy.recording.codec import UnknownEvent, decode
from smtpproxy.session.events import AnyEvent
from smtpproxy.store.reader import LogReader
from smtpproxy.wire.escape import escape

SHOWN_BEFORE: Final = 50
SHOWN_AFTER: Final = 20
"""Characters of a long filter that are shown on either side of a mistake."""

_NEGATED: Final = re.compile(r"-[^-]")
# How smtpproxy's own lines begin: content is passed over unread where it cannot matter.
_CONTENT: Final = b'{"kind":"content",'


class FilterCommand(click.Command):
    """A command whose arguments are a filter: `-code:5xx` is a term of it, no cluster of short options."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Let click see what begins with one dash, and is no option of the command, as an argument."""
        known = {name for parameter in self.get_params(ctx) for name in parameter.opts}
        # A blank in front means nothing to a filter.
        terms = {arg for arg in args if _NEGATED.match(arg)} - known
        return super().parse_args(ctx, [f" {arg}" if arg in terms else arg for arg in args])


def read_filter(words: Sequence[str]) -> Filter:
    """The filter that these arguments are, joined by blanks.

    Raises:
        FilterError: it cannot be read; where, was shown on standard error.
    """
    text = " ".join(word.strip() for word in words)
    try:
        return parse_filter(text, now=time.time())
    except FilterError as error:
        for line in point_at(text, error.column):
            print(line, file=sys.stderr)
        raise


def point_at(text: str, column: int) -> tuple[str, str]:
    """The part of a text around a column (from 1), fit for a terminal, and a line with a caret under it."""
    at = column - 1
    start = max(0, at - SHOWN_BEFORE)
    before = ("…" if start else "") + escape(text[start:at])
    after = escape(text[at : at + SHOWN_AFTER]) + ("…" if at + SHOWN_AFTER < len(text) else "")
    return f"  {before}{after}", f"  {' ' * cell_len(before)}^"


def matching_sessions(
    reader: LogReader, wanted: Filter, *, has_probes: bool, limit: int | None = None
) -> Iterator[SessionSummary]:
    """The sessions of a store that match, newest first.

    Args:
        reader: must stay open while they are taken.
        wanted: the filter.
        has_probes: with connections on which nobody said a word.
        limit: at most so many.

    Raises:
        StoreError: the store cannot be read.
    """

    def events_of(session: str, has_content: bool) -> Iterator[AnyEvent]:
        for line in reader.lines(session):
            if has_content or not line.startswith(_CONTENT):
                event = decode(line)
                if not isinstance(event, UnknownEvent):
                    yield event

    if wanted.is_everything:
        yield from reader.sessions(limit=limit, include_probes=has_probes)
        return
    summaries = reader.sessions(include_probes=has_probes)
    index = reader.index()
    found = select_sessions(wanted, summaries, events_of=events_of, search=index, seen_of=index.seen)
    for number, summary in enumerate(found, 1):
        yield summary
        if number == limit:
            return
