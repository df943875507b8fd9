"""What docs/replay.md says of comparing is what comparing does."""

import json
import re
from pathlib import Path

import pytest

from smtpproxy.recording.overrides import LEVELS, ReplyRule, read_overrides
from smtpproxy.replay import mime
from smtpproxy.replay.aliases import Aliases
from smtpproxy.replay.comparison import compare_reply
from smtpproxy.replay.results import Difference, SessionResult, StepResult, What
from smtpproxy.replay.rules import Rules
from smtpproxy.replay.tally import Summary
from tests.replay.scripts import script_of

PAGE = (Path(__file__).parents[2] / "docs" / "replay.md").read_text()
FORMAT_PAGE = (Path(__file__).parents[2] / "docs" / "recording-format.md").read_text()
EXAMPLES = re.findall(r"^\| `(\d{3} .*)` \| `(\d{3} .*)` \| `(\w+)` \|$", PAGE, re.MULTILINE)
HEADERS = re.findall(r"^```json\n(.*)\n```$", PAGE, re.MULTILINE)


def test_its_levels_are_the_levels_in_their_order() -> None:
    told = re.findall(r"^\| `(\w+)`(?: \(default\))? \| (?:any|so|the)", PAGE, re.MULTILINE)
    assert tuple(told) == LEVELS


@pytest.mark.parametrize(("recorded", "now", "first"), EXAMPLES)
def test_an_example_differs_from_the_level_it_says(recorded: str, now: str, first: str) -> None:
    script = script_of(f"S: 220 mx\nC: NOOP\nS: {recorded}")
    differing = [
        level
        for level in LEVELS
        if compare_reply(
            script.steps[1],
            0,
            now.encode() + b"\r\n",
            rules=Rules.of(script, level=level),
            aliases=Aliases(),
            is_tls=False,
        ).differences
    ]
    assert differing[:1] == [first]


def test_there_are_examples_of_every_level() -> None:
    assert {first for _, _, first in EXAMPLES} == set(LEVELS)


def test_its_headers_do_what_it_says() -> None:
    by_verb, by_n = (read_overrides(header.encode()).replay for header in HEADERS)
    assert by_verb.steps[0] == ReplyRule(verb="connect", present=True)
    assert by_verb.steps[1].regex == r"250 .*queued as \w+"
    assert (by_n.level, by_n.steps) == ("text", (ReplyRule(n=9, ignore=True),))


def test_the_formats_page_has_headers_that_are_read() -> None:
    lines = re.findall(r'^\{"kind":"session",…,(.*)\}$', FORMAT_PAGE, re.MULTILINE)
    assert [sorted(json.loads(f"{{{line}}}")) for line in lines] == [["replay"], ["match"]]
    for line in lines:
        read_overrides(f"{{{line}}}".encode())


def test_every_field_of_a_result_is_told() -> None:
    for kind in (SessionResult, StepResult, Difference, Summary):
        assert [
            name for name in kind.__struct_fields__ if f"`{name}`" not in PAGE and f"`{name}[]`" not in PAGE
        ] == []
    assert [what for what in What.__args__ if f"`{what}`" not in PAGE] == []  # type: ignore[attr-defined]


def test_its_bounds_are_the_codes() -> None:
    assert mime.MAX_MIME_BYTES == 8 * 1024**2
    words = " ".join(PAGE.split())
    parts = f"{mime.MAX_PARTS:,} parts or nested more than {mime.MAX_DEPTH} deep"
    assert f"A message of more than 8 MiB, one of more than {parts}" in words
