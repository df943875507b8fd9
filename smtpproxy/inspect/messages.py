"""The messages of a session: their envelopes, and their content as the client meant it; it writes no file.

On the wire a message after DATA is dot-stuffed and one in BDAT chunks comes in pieces. Here both become the
octets of the message itself (`.eml`), piece by piece, so that a large one is never held whole.
"""

from collections.abc import Iterable, Iterator

import msgspec

from smtpproxy.inspect.summary import MessageRow, Summarizer
from smtpproxy.session.events import AnyEvent, Command, Content, Gap, octets_of
from smtpproxy.wire.content import Unstuffer


class RecordedMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message and how much of it can be had again.

    Attributes:
        row: envelope and place.
        is_complete: the client finished it.
        is_kept: every octet of it is in the recording; false where bodies were not recorded (`bodies`
            set to headers or digest) and where recording had a gap.
    """

    row: MessageRow
    is_complete: bool
    is_kept: bool


def list_messages(events: Iterable[AnyEvent]) -> list[RecordedMessage]:
    """The messages of one session's events, in order; one that was cut short is the last."""
    summarizer = Summarizer()
    rows: list[MessageRow] = []
    complete: set[int] = set()
    lost: set[int] = set()
    gaps: list[int] = []
    for event in events:
        summarizer.add(event)
        if isinstance(event, Content):
            if event.end:
                complete.add(event.message)
            if isinstance(event.sha256, str):
                lost.add(event.message)
        elif isinstance(event, Gap):
            gaps.append(event.n)
        rows += summarizer.take_messages()
    rows += summarizer.take_unfinished()
    return [
        RecordedMessage(
            row=row,
            is_complete=row.message in complete,
            is_kept=row.message not in lost and not any(row.first_n < n <= row.last_n for n in gaps),
        )
        for row in rows
    ]


def message_octets(events: Iterable[AnyEvent], message: int) -> Iterator[bytes]:
    """The octets of one message, dot-stuffing undone and BDAT chunks joined, without the terminator.

    Args:
        events: one session's events, in order.
        message: its number, from 1.
    """
    is_bdat = False
    unstuffer = Unstuffer()
    for event in events:
        if isinstance(event, Command):
            if event.verb in ("DATA", "BDAT"):
                is_bdat = event.verb == "BDAT"
        elif isinstance(event, Content) and event.message == message:
            if is_bdat:
                yield octets_of(event)
            elif not event.end:
                yield unstuffer.feed(octets_of(event))
            if event.end:
                return
