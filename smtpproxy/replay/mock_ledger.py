"""What one session of an app at the mock has come to: what was played, what did not match."""

import re
from collections.abc import Callable
from typing import Final

import msgspec

from smtpproxy.recording.overrides import CommandRule, Match, Overrides
from smtpproxy.replay.matching import Matcher
from smtpproxy.replay.messages import Field, bounded
from smtpproxy.replay.results import Difference, SessionResult, StepResult, Verdict, What
from smtpproxy.replay.script import Script, Step
from smtpproxy.session.decisions import CommandTurn

NEAREST_STEPS: Final = 1000
"""How far on and back a step is looked for that is what the app said."""
_RECORD_AGAIN: Final = "put the app right, or record the session again"
_NO_HEADERS: Final = frozenset(
    {"body", "disposition", "end", "lines", "octets", "pattern", "sha256", "size", "type"}
)
"""What differs in a message and is not called after a header field."""
_HEADER: Final = re.compile(r"[a-z0-9-]+")
THE_END: Final = "the end of the session"


class MockLedger:
    """One script's results."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._verdicts: dict[int, Verdict] = {}
        self._actual: dict[int, str] = {}
        self._differences: list[Difference] = []
        self._notes: list[str] = []
        self._unheeded = 0

    @property
    def has_failed(self) -> bool:
        """Whether anything has not matched so far."""
        return bool(self._differences)

    def played(self, at: int) -> None:
        """The app said what step `at` (an index) has."""
        self._verdicts.setdefault(at, "same")

    def note(self, text: str) -> None:
        """Worth knowing, and no failure."""
        self._notes.append(text)

    def unheeded(self) -> None:
        """Something more that does not match, behind a failure that explains it."""
        self._unheeded += 1

    def unmatched(
        self,
        at: int,
        fields: tuple[Field, ...],
        *,
        actual: str,
        text: str = "",
        nearest: str = "",
        what: What = "unmatched",
        is_fixable: bool = True,
    ) -> None:
        """The app said something else than step `at` has, or more than was recorded."""
        step = self._script.steps[at] if at < len(self._script.steps) else None
        expected = THE_END if step is None else step.said
        if step is not None:
            self._verdicts[at] = "differs"
            self._actual[at] = actual
        self._differences.append(
            Difference(
                what=what,
                step=0 if step is None else step.number,
                n=0 if step is None else step.n,
                said=bounded(expected),
                expected=bounded(expected),
                actual=actual,
                text=text or _told(step, fields, actual),
                fields=fields,
                nearest=nearest,
                fix=self._fix(step, fields) if is_fixable else _RECORD_AGAIN,
            )
        )

    def result(self, *, is_over: bool, is_optional: Callable[[int], bool]) -> SessionResult:
        """What it comes to if nothing more is said.

        Args:
            is_over: the app has left, or was sent away.
            is_optional: whether a step (an index) may stay out.
        """
        script = self._script
        missing = [at for at in range(len(script.steps)) if at not in self._verdicts and not is_optional(at)]
        differences = list(self._differences)
        if missing:
            why = self._why_not_played(is_over=is_over)
            differences += [self._not_played(script.steps[at], why) for at in missing]
        notes = list(self._notes)
        if self._unheeded:
            notes.append(f"after that {self._unheeded} more of what the app said did not match")
        return SessionResult(
            session=script.session,
            source=script.source,
            line=script.line,
            status="differs" if differences else "same",
            steps=tuple(self._step(at, step) for at, step in enumerate(script.steps)),
            differences=tuple(differences),
            notes=tuple(notes),
        )

    def _step(self, at: int, step: Step) -> StepResult:
        return StepResult(
            number=step.number,
            n=step.n,
            said=bounded(step.said),
            verdict=self._verdicts.get(at, "not-played"),
            expected=bounded(step.said) if at in self._actual else "",
            actual=self._actual.get(at, ""),
        )

    def _why_not_played(self, *, is_over: bool) -> str:
        if not self._verdicts:
            return "not played: no session of the app came for this recording"
        because = ""
        if self._differences and self._differences[0].step:
            because = f"; see step {self._differences[0].step}"
        ended = "the app ended the session before" if is_over else "the mock was stopped before"
        return f"not played: {ended}{because}"

    def _not_played(self, step: Step, why: str) -> Difference:
        said = bounded(step.said)
        return Difference(
            what="not-played",
            step=step.number,
            n=step.n,
            said=said,
            expected=said,
            text=why,
            fix=_RECORD_AGAIN,
        )

    def _fix(self, step: Step | None, fields: tuple[Field, ...]) -> str:
        """The rule to add to the header, where one would do."""
        if step is None or any(name in ("verb", "LAST", "tls") for name, _, _ in fields):
            return _RECORD_AGAIN
        names = dict.fromkeys(name for name, _, _ in fields)
        if step.body is not None and all(
            _HEADER.fullmatch(name) and name not in _NO_HEADERS for name in names
        ):
            rule = Match(ignore_headers=tuple(names))
        else:
            rule = Match(steps=(CommandRule(n=step.n, ignore=True),))
        asked = msgspec.json.encode(Overrides(match=rule)).decode()[1:-1]
        where = f"{self._script.source}:{self._script.line}" if self._script.line else self._script.source
        return f"if it may differ, add {bounded(asked)} to the session line ({where}); or record it again"


def nearest_step(script: Script, matcher: Matcher, at: int, turn: CommandTurn) -> str:
    """Which other step is what the app said, in words; "" where none is."""
    steps = script.steps
    for distance in range(1, NEAREST_STEPS):
        for other in (at + distance, at - distance):
            if not 0 < other < len(steps) or steps[other].kind != "command":
                continue
            step = steps[other]
            if matcher.is_free(step) and not matcher.command(step, turn):
                count = f"{distance} step{'s' if distance > 1 else ''}"
                where = f"{count} further on" if other > at else f"{count} back"
                return f"that is step {step.number} ({bounded(step.said)}), {where}"
        if at + distance >= len(steps) and at - distance <= 0:
            break
    return ""


def _told(step: Step | None, fields: tuple[Field, ...], actual: str) -> str:
    if step is None:
        return f"the app said {actual}, and nothing more was recorded"
    if fields and fields[0][0] == "verb":
        return f"the app said {actual} where the recording has {bounded(step.said)}"
    names = dict.fromkeys(name for name, _, _ in fields)
    return f"the app said {actual}: not as recorded in {', '.join(names)}"
