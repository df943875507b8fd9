"""Which of many recorded sessions match: by their summaries, and by events only where those cannot tell.

It reads nothing itself: whoever has the store hands in how events are had.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from typing import TypeAlias

from smtpproxy.inspect.filters.facts import Seen, SeenFolder, SessionFacts
from smtpproxy.inspect.filters.tree import Filter
from smtpproxy.inspect.filters.words import TextSearch, WordFolder
from smtpproxy.inspect.summary import SessionSummary
from smtpproxy.session.events import AnyEvent

EventsOf: TypeAlias = Callable[[str, bool], Iterable[AnyEvent]]
"""Given a session's id and whether content is wanted: its events in order; content may be left out if not."""
SeenOf: TypeAlias = Callable[[str], Seen | None]
"""Given a session's id: what its events tell beyond its summary, where that is kept; None where it is not."""


def select_sessions(
    wanted: Filter,
    summaries: Iterable[SessionSummary],
    *,
    events_of: EventsOf,
    search: TextSearch | None = None,
    seen_of: SeenOf = lambda _: None,
) -> Iterator[SessionSummary]:
    """The sessions that match, in the order they come; each is looked at when it is asked for.

    Args:
        wanted: the filter.
        summaries: the sessions to choose from.
        events_of: asked for the sessions that nothing else tells about.
        search: the index of words, where there is one.
        seen_of: asked for the sessions whose summary does not tell.
    """
    hits = _hits(wanted, search)
    for summary in summaries:
        found = _found(summary.session, hits, search)
        answer = wanted.decide(summary, found)
        if answer is None:
            answer = wanted.matches(_facts(wanted, summary, found, seen_of, events_of))
        if answer:
            yield summary


def _hits(wanted: Filter, search: TextSearch | None) -> Mapping[str, Set[str]] | None:
    """What the index knows of each phrase; None where it cannot answer all of them."""
    if search is None:
        return None
    hits: dict[str, Set[str]] = {}
    for phrase in wanted.phrases:
        sessions = search.sessions_with(phrase)
        if sessions is None:
            return None
        hits[phrase] = sessions
    return hits


def _found(
    session: str, hits: Mapping[str, Set[str]] | None, search: TextSearch | None
) -> frozenset[str] | None:
    if hits is None or search is None or not hits or not search.has_indexed(session):
        return None
    return frozenset(phrase for phrase, sessions in hits.items() if session in sessions)


def _facts(
    wanted: Filter,
    summary: SessionSummary,
    found: frozenset[str] | None,
    seen_of: SeenOf,
    events_of: EventsOf,
) -> SessionFacts:
    if found is not None or not wanted.phrases:
        known = seen_of(summary.session)
        if known is not None:
            return SessionFacts(summary=summary, seen=known, found=found)
    seen = SeenFolder()
    words = WordFolder(wanted.phrases if found is None else ())
    for event in events_of(summary.session, wanted.needs_content):
        seen.add(event)
        words.add(event)
    return SessionFacts(summary=summary, seen=seen.seen, found=words.found if found is None else found)
