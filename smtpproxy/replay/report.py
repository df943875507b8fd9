"""Results as the lines that people read; it knows no colour and no terminal.

✗ differs  mail.smtp.jsonl:1 · session 01KAS3 · 7 of 9 steps · 0.041 s
    step 4 · RCPT TO:<bob@example.com>
      550 5.1.1 came, where 250 2.1.5 was recorded
      - 250 2.1.5 Ok
      + 550 5.1.1 <bob@example.com>: Recipient address rejected
      nearest: step 9, RCPT TO:<carol@example.com>, was answered so
      fix: if that is right, record again, or add …
"""

from collections.abc import Iterable, Iterator
from difflib import SequenceMatcher
from itertools import groupby
from typing import Final, Literal, TypeAlias

import msgspec

from smtpproxy.replay.results import Difference, SessionResult, Status
from smtpproxy.replay.tally import Summary
from smtpproxy.wire.escape import escape

Style: TypeAlias = Literal["same", "differs", "error", "step", "plain", "expected", "actual", "note", "fix"]
MAX_SHOWN_DIFFERENCES: Final = 50
"""Of one session."""
MAX_SHOWN_NOTES: Final = 20
MAX_SHOWN_LINES: Final = 40
"""Of one side of one difference."""
MAX_LINE_CHARACTERS: Final = 1000

_MARKS: Final[dict[Status, str]] = {"same": "✓ same   ", "differs": "✗ differs", "error": "! error  "}


class ReportLine(msgspec.Struct, frozen=True):
    """One line of a report, without a line end and safe for a terminal.

    Attributes:
        text: the words.
        style: what it is, for the caller to colour.
    """

    text: str
    style: Style


def render_text(results: Iterable[SessionResult], summary: Summary | None = None) -> Iterator[ReportLine]:
    """The whole report, result by result as they come, then the numbers."""
    for result in results:
        yield from render_result(result)
    if summary is not None:
        yield render_summary(summary)


def render_result(result: SessionResult) -> Iterator[ReportLine]:
    """What one session came to: a line where it is the same, below it what differs where it does not."""
    yield _line(f"{_MARKS[result.status]}  {_heading(result)}", result.status)
    if result.error:
        yield from _lines(result.error, "error", 4)
    shown = 0
    for is_played, group in groupby(
        result.differences, key=lambda difference: difference.what != "not-played"
    ):
        differences = list(group)
        if not is_played:
            yield from _not_played(differences)
            continue
        for difference in differences[: MAX_SHOWN_DIFFERENCES - shown]:
            yield from render_difference(difference)
        shown = min(shown + len(differences), MAX_SHOWN_DIFFERENCES)
    hidden = sum(difference.what != "not-played" for difference in result.differences) - shown
    if hidden:
        yield _line(f"    … and {hidden} more differences", "plain")
    notes = [*result.notes]
    for step in result.steps:
        # Why a step was not played stands among the differences.
        if step.verdict != "not-played":
            notes += [f"step {step.number}: {note}" for note in step.notes]
    for note in notes[:MAX_SHOWN_NOTES]:
        yield from _lines(f"note: {note}", "note", 4)
    if len(notes) > MAX_SHOWN_NOTES:
        yield _line(f"    … and {len(notes) - MAX_SHOWN_NOTES} more notes", "note")


def render_difference(difference: Difference) -> Iterator[ReportLine]:
    """One difference as a block: the step, the sentence, both sides, and what to do."""
    yield from _lines(_step(difference), "step", 4)
    yield from _lines(difference.text, "plain", 6)
    yield from _sides(difference)
    if difference.nearest:
        yield from _lines(f"nearest: {difference.nearest}", "plain", 6)
    if difference.fix:
        yield from _lines(f"fix: {difference.fix}", "fix", 6)


def render_summary(summary: Summary) -> ReportLine:
    """The numbers in one line."""
    parts = [_count(summary.sessions, "session")]
    differ = "differs" if summary.differs == 1 else "differ"
    for number, word in ((summary.same, "same"), (summary.differs, differ), (summary.errors, "not run")):
        if number:
            parts.append(f"{number} {word}")
    parts.append(f"{_count(summary.steps, 'step')} played")
    if summary.not_played:
        parts.append(f"{summary.not_played} not played")
    if summary.differences:
        parts.append(_count(summary.differences, "difference"))
    style: Style = "error" if summary.errors else "differs" if summary.differs else "same"
    return _line(f"{', '.join(parts)} in {summary.duration_s:.3f} s", style)


def _heading(result: SessionResult) -> str:
    parts = [f"{result.source}:{result.line}" if result.line else result.source or "no recording"]
    if result.session:
        parts.append(f"session {result.session}")
    if result.attempt > 1:
        parts.append(f"attempt {result.attempt}")
    if result.steps:
        played = sum(step.verdict != "not-played" for step in result.steps)
        total = len(result.steps)
        of_all = "" if played == total else f"{played} of "
        parts.append(f"{of_all}{_count(total, 'step')}")
    if result.duration_s:  # how long an app takes is no matter of the mock's
        parts.append(f"{result.duration_s:.3f} s")
    return " · ".join(parts)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _step(difference: Difference) -> str:
    parts = [f"step {difference.step}" if difference.step else "no step"]
    if difference.said:
        parts.append(difference.said)
    return " · ".join(parts)


def _not_played(differences: list[Difference]) -> Iterator[ReportLine]:
    """Steps that fell away, for one reason each: ten lines that say the same are one."""
    for text, group in groupby(differences, key=lambda difference: difference.text):
        steps = list(group)
        if len(steps) == 1:
            yield from render_difference(steps[0])
            continue
        yield from _lines(f"steps {steps[0].step} to {steps[-1].step} · {steps[0].said} …", "step", 4)
        yield from _lines(text, "plain", 6)
        if steps[0].fix:
            yield from _lines(f"fix: {steps[0].fix}", "fix", 6)


def _sides(difference: Difference) -> Iterator[ReportLine]:
    """What was expected and what came; in detail where there is more to tell than two replies."""
    if difference.what == "reply" or not difference.fields:
        yield from _diff(difference.expected, difference.actual)
        return
    for name, expected, actual in difference.fields:
        if difference.what != "ehlo":
            yield from _lines(f"{name}:", "plain", 6)
        yield from _side("-", expected, "expected")
        yield from _side("+", actual, "actual")


def _diff(expected: str, actual: str) -> Iterator[ReportLine]:
    ours, theirs = expected.splitlines(), actual.splitlines()
    if max(len(ours), len(theirs)) > MAX_SHOWN_LINES:
        yield from _side("-", expected, "expected")
        yield from _side("+", actual, "actual")
        return
    for what, begin, end, other_begin, other_end in SequenceMatcher(
        None, ours, theirs, autojunk=False
    ).get_opcodes():
        if what == "equal":
            yield from (_line(f"        {line}", "plain") for line in ours[begin:end])
            continue
        yield from (_line(f"      - {line}", "expected") for line in ours[begin:end])
        yield from (_line(f"      + {line}", "actual") for line in theirs[other_begin:other_end])


def _side(mark: str, text: str, style: Style) -> Iterator[ReportLine]:
    lines = text.splitlines()
    for line in lines[:MAX_SHOWN_LINES]:
        yield _line(f"      {mark} {line}", style)
    if len(lines) > MAX_SHOWN_LINES:
        yield _line(f"      {mark} … ({len(lines) - MAX_SHOWN_LINES} more lines)", style)


def _lines(text: str, style: Style, indent: int) -> Iterator[ReportLine]:
    for line in text.splitlines()[:MAX_SHOWN_LINES]:
        yield _line(" " * indent + line, style)


def _line(text: str, style: Style) -> ReportLine:
    shown = escape(text[:MAX_LINE_CHARACTERS])
    return ReportLine(shown if len(text) <= MAX_LINE_CHARACTERS else f"{shown}…", style)
