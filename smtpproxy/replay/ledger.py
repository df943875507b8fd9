"""What a replay has come to so far, step by step: differences, notes, times; it says and hears nothing.

Steps can be taken back, since a transaction that was put off is tried again.
"""

from collections.abc import Iterable

import msgspec

from smtpproxy.replay.comparison import Comparison, shown
from smtpproxy.replay.results import Difference, SessionResult, StepResult, Verdict, What
from smtpproxy.replay.script import Script, Step


class _Entry:
    """What one step came to."""

    def __init__(self) -> None:
        self.verdict: Verdict = "same"
        self.differences: list[Difference] = []
        self.notes: list[str] = []
        self.actual: list[str] = []
        self.elapsed_s = 0.0


class Ledger:
    """One session's results."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._entries: dict[int, _Entry] = {}
        self._because: dict[int, int] = {}
        """Steps that were not played, and which step is why."""
        self.notes: list[str] = []

    def compared(
        self, step: Step, comparison: Comparison, heard: bytes | None, *, elapsed_s: float = 0.0
    ) -> None:
        """A reply to a step was compared; None: it never came."""
        entry = self._entry(step)
        entry.differences += comparison.differences
        entry.notes += comparison.notes
        entry.elapsed_s = max(entry.elapsed_s, elapsed_s)
        if heard is not None:
            entry.actual.append(shown(heard))
        if comparison.verdict == "differs" or entry.verdict == "same":
            entry.verdict = comparison.verdict

    def differs(
        self,
        step: Step,
        what: What,
        text: str,
        *,
        expected: str = "",
        actual: str = "",
        fix: str = "",
    ) -> None:
        """Something about a step is not as recorded."""
        entry = self._entry(step)
        entry.verdict = "differs"
        entry.differences.append(
            Difference(
                what=what,
                step=step.number,
                n=step.n,
                said=step.said,
                expected=expected,
                actual=actual,
                text=text,
                fix=fix,
            )
        )

    def note(self, step: Step, text: str) -> None:
        """Worth knowing, and no difference."""
        self._entry(step).notes.append(text)

    def ignored(self, step: Step, text: str) -> None:
        """The step was left out, and rightly so."""
        self._entry(step).verdict = "ignored"
        self.note(step, text)

    def not_played(self, step: Step, because: Step) -> None:
        """The step was left out because of another one; nothing new where something is known of it."""
        if step.number not in self._entries:
            self._because[step.number] = because.number

    def take_back(self, steps: Iterable[Step]) -> None:
        """Forget what these came to: they are played again."""
        for step in steps:
            self._entries.pop(step.number, None)
            self._because.pop(step.number, None)

    def _entry(self, step: Step) -> _Entry:
        return self._entries.setdefault(step.number, _Entry())

    def failed(self, error: str) -> SessionResult:
        """The result where nothing could be played at all."""
        script = self._script
        return SessionResult(
            session=script.session, source=script.source, line=script.line, status="error", error=error
        )

    def result(self, *, duration_s: float) -> SessionResult:
        """The result, now that all is said."""
        script = self._script
        differences: list[Difference] = []
        for step in script.steps:
            if step.number in self._entries:
                differences += self._entries[step.number].differences
            elif self._is_first_not_played(step):
                differences.append(self._missed(step))
        return SessionResult(
            session=script.session,
            source=script.source,
            line=script.line,
            status="differs" if differences else "same",
            steps=tuple(self._step_result(step) for step in script.steps),
            differences=tuple(differences),
            notes=tuple(self.notes),
            duration_s=duration_s,
        )

    def _is_first_not_played(self, step: Step) -> bool:
        because = self._because.get(step.number)
        return because is not None and self._because.get(step.number - 1) != because

    def _missed(self, first: Step) -> Difference:
        """One difference for a run of steps that one step kept from being played."""
        because = self._because[first.number]
        last = first.number
        while self._because.get(last + 1) == because:
            last += 1
        which = f"step {first.number} was" if last == first.number else f"steps {first.number} to {last} were"
        return Difference(
            what="not-played",
            step=first.number,
            n=first.n,
            said=first.said,
            text=f"{which} not played because of step {because}",
        )

    def _step_result(self, step: Step) -> StepResult:
        entry = self._entries.get(step.number)
        recorded_s = step.replies[-1].t - step.t if step.replies else 0.0
        if entry is None:
            because = self._because.get(step.number)
            return StepResult(
                number=step.number,
                n=step.n,
                said=step.said,
                verdict="not-played",
                expected=_recorded(step),
                notes=() if because is None else (f"not played because of step {because}",),
                recorded_s=recorded_s,
            )
        return StepResult(
            number=step.number,
            n=step.n,
            said=step.said,
            verdict=entry.verdict,
            expected=_recorded(step),
            actual="\n".join(entry.actual),
            notes=tuple(entry.notes),
            elapsed_s=entry.elapsed_s,
            recorded_s=recorded_s,
        )


def _recorded(step: Step) -> str:
    return "\n".join(shown(reply.raw) for reply in step.replies)


def brief(result: SessionResult) -> SessionResult:
    """The same result without its steps: what is kept of one that holds no news, where there are many."""
    return msgspec.structs.replace(result, steps=())
