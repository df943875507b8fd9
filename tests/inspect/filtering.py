"""Filters on conversations, for the tests: what is known of a session at its end, and whether it matches."""

from collections.abc import Iterable

from smtpproxy.inspect.filters.facts import FactsFolder, SessionFacts
from smtpproxy.inspect.filters.parsing import parse_filter
from smtpproxy.inspect.filters.tree import Filter
from smtpproxy.inspect.summary import SessionSummary, Summarizer
from smtpproxy.session.events import AnyEvent

NOW = 1795453200.0
"""2026-11-23T17:00:00Z."""


def read(text: str) -> Filter:
    """The filter of a text, now."""
    return parse_filter(text, now=NOW)


def facts_of(events: Iterable[AnyEvent], wanted: Filter) -> SessionFacts:
    """What a live watcher knows after these events."""
    folder = FactsFolder(wanted.phrases)
    for event in events:
        folder.add(event)
    return folder.facts


def summary_of(events: Iterable[AnyEvent]) -> SessionSummary:
    """What a list knows of them."""
    summarizer = Summarizer()
    for event in events:
        summarizer.add(event)
    return summarizer.summary


def matches(text: str, events: Iterable[AnyEvent]) -> bool:
    """Whether a filter matches what was said."""
    wanted = read(text)
    return wanted.matches(facts_of(events, wanted))
