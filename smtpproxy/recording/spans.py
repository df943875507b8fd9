"""Octets with spans cut out, and a placeholder in each one's place; it does not know what is secret."""

from collections.abc import Iterable
from typing import Final, NamedTuple, TypeVar

import msgspec
from msgspec import UNSET

from smtpproxy.session.events import Redacted, SpokenEvent

PLACEHOLDER: Final = b"{{secret}}"
"""What stands for a secret in recorded octets; only where a `redacted` span points at it: else it is text."""
MAX_SPANS: Final = 1000
"""Spans that one event tells apart; with more of them, everything between first and last is one."""

_Spoken = TypeVar("_Spoken", bound=SpokenEvent)


class Span(NamedTuple):
    """Octets start to end (exclusive) of an event, and what kind of secret they are."""

    start: int
    end: int
    kind: str


def merge_spans(spans: Iterable[Span]) -> list[Span]:
    """The same octets as spans in order, of which none overlap or touch; the first one's kind holds."""
    merged: list[Span] = []
    # Sorting is stable: of two that begin together, the one that was named first tells the kind.
    for span in sorted(spans, key=lambda span: span.start):
        if span.start >= span.end:
            continue
        if merged and span.start <= merged[-1].end:
            last = merged[-1]
            merged[-1] = last._replace(end=max(last.end, span.end))
        else:
            merged.append(span)
    if len(merged) > MAX_SPANS:
        return [merged[0]._replace(end=merged[-1].end)]
    return merged


def cut_out(octets: bytes, spans: Iterable[Span]) -> tuple[bytes, list[Redacted]]:
    """Put the placeholder in place of each span.

    Returns:
        The octets, and a `Redacted` for each placeholder: where it stands now, and how long the secret was.
    """
    parts: list[bytes] = []
    redacted: list[Redacted] = []
    done = at = 0
    for start, end, kind in merge_spans(spans):
        parts += (octets[done:start], PLACEHOLDER)
        at += start - done
        redacted.append(Redacted(at=at, kind=kind, length=end - start))
        at += len(PLACEHOLDER)
        done = end
    parts.append(octets[done:])
    return b"".join(parts), redacted


def marked_spans(event: SpokenEvent, octets: int) -> list[Span]:
    """The spans that the core has marked in an event of that many octets; none where it marked nothing."""
    if event.redacted is UNSET:
        return []
    return [
        Span(min(mark.at, octets), min(mark.at + mark.length, octets), mark.kind) for mark in event.redacted
    ]


def without(event: _Spoken, octets: bytes, spans: Iterable[Span]) -> _Spoken:
    """A copy of the event without these spans of its octets; the event itself is left alone."""
    data, redacted = cut_out(octets, spans)
    try:
        text, b64 = data.decode(), None
    except UnicodeDecodeError:
        text, b64 = None, data
    return msgspec.structs.replace(
        event,
        raw=UNSET if text is None else text,
        raw_b64=UNSET if b64 is None else b64,
        redacted=redacted or UNSET,
    )
