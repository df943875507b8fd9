"""What rerunning many sessions came to, in numbers; results are counted as they come and not kept."""

import msgspec

from smtpproxy.replay.results import SessionResult


class Summary(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="summary"):
    """The numbers; `--json` prints them as its last line.

    Attributes:
        sessions: how many were rerun; the sum of the next three.
        same, differs, errors: by their status.
        steps: that were played.
        not_played: that were not.
        differences: in all of them.
        duration_s: of all together, as the clock on the wall went.
    """

    sessions: int = 0
    same: int = 0
    differs: int = 0
    errors: int = 0
    steps: int = 0
    not_played: int = 0
    differences: int = 0
    duration_s: float = 0.0

    @property
    def exit_code(self) -> int:
        """0 where all is the same, 1 where something differs, 2 where something could not be run."""
        return 2 if self.errors else 1 if self.differs else 0


class Tally:
    """Counts results."""

    def __init__(self) -> None:
        self._summary = Summary()

    def add(self, result: SessionResult) -> None:
        """Count one more."""
        before = self._summary
        not_played = sum(step.verdict == "not-played" for step in result.steps)
        self._summary = msgspec.structs.replace(
            before,
            sessions=before.sessions + 1,
            same=before.same + (result.status == "same"),
            differs=before.differs + (result.status == "differs"),
            errors=before.errors + (result.status == "error"),
            steps=before.steps + len(result.steps) - not_played,
            not_played=before.not_played + not_played,
            differences=before.differences + len(result.differences),
        )

    def summary(self, *, duration_s: float) -> Summary:
        """The numbers so far."""
        return msgspec.structs.replace(self._summary, duration_s=round(duration_s, 6))
