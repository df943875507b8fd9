"""Patterns from a header, on what a server or an app says."""

import time

import pytest

from smtpproxy.errors import ReplayError
from smtpproxy.replay.patterns import MAX_TEXT_CHARACTERS, PatternGaveUpError, matches


def test_a_pattern_matches_from_end_to_end() -> None:
    assert matches(r"250 .* queued as \w+", "250 2.0.0 Ok: queued as 9F2A31234B")
    assert not matches(r"queued as \w+", "250 2.0.0 Ok: queued as 9F2A31234B")
    assert not matches(r"250 Ok", "250 Ok\nmore")
    assert matches(r"(?s)250-.*", "250-a\n250 b")


def test_a_pattern_that_takes_for_ever_is_given_up() -> None:
    before = time.monotonic()
    with pytest.raises(PatternGaveUpError, match=r"was given up after 1 s"):
        matches("(a|a|b?)+(a|aa)+c", "a" * 5000)
    assert time.monotonic() - before < 10


def test_what_is_no_pattern_is_said_so() -> None:
    with pytest.raises(ReplayError, match=r"the pattern '\(': missing \)"):
        matches("(", "x")


def test_a_text_beyond_the_bound_matches_nothing() -> None:
    assert matches("a*", "a" * MAX_TEXT_CHARACTERS)
    assert not matches("a*", "a" * (MAX_TEXT_CHARACTERS + 1))
