"""What a rerun came to, as values that reports render and programs read; it compares nothing."""

from typing import Literal, TypeAlias

import msgspec

Verdict: TypeAlias = Literal["same", "differs", "ignored", "not-played"]
Status: TypeAlias = Literal["same", "differs", "error"]
What: TypeAlias = Literal[
    "reply", "ehlo", "tls", "content", "missing-reply", "extra-reply", "connection", "unmatched", "not-played"
]
MAX_SHOWN_BYTES = 4 * 1024


class Difference(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that is not as recorded.

    Attributes:
        what: which kind of thing; `unmatched` is what an app said to a mock.
        step: the step's number in the script; 0 where it belongs to none.
        n: the number of the recorded event that it is about.
        said: the step in one line for people.
        expected: what the recording has, for people, control characters escaped; "" where it has nothing.
        actual: what came; "" where nothing came.
        text: one sentence: what differs and, where that can be told, why.
        fields: what differs in detail: (name, expected, actual), such as ("code", "250", "550").
        nearest: the recorded step or reply that comes closest, in words, where it is another one.
        fix: what to do: the rule to add to the header, the flag, the step to record.
    """

    what: What
    step: int
    n: int
    said: str
    expected: str = ""
    actual: str = ""
    text: str
    fields: tuple[tuple[str, str, str], ...] = ()
    nearest: str = ""
    fix: str = ""


class StepResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one step came to.

    Attributes:
        number, n, said: the step's.
        verdict: not-played where the session ended before it.
        expected, actual: the replies, for people.
        notes: what is worth knowing and no difference (a keyword that was added).
        elapsed_s: from saying it to its last reply, seconds.
        recorded_s: the same in the recording.
    """

    number: int
    n: int
    said: str
    verdict: Verdict
    expected: str = ""
    actual: str = ""
    notes: tuple[str, ...] = ()
    elapsed_s: float = 0.0
    recorded_s: float = 0.0


class SessionResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What rerunning one session came to.

    Attributes:
        session: the recorded session's id; "" for a session of an app that a mock had no recording for.
        source, line: where it is recorded.
        attempt: counts repetitions from 1.
        status: error: it could not be run (nothing was compared, or not to the end); `error` says why.
        steps: each of the script's.
        differences: empty where the status is same.
        notes: for people, no difference.
        error: "" unless status is error.
        duration_s: seconds.
    """

    session: str
    source: str
    line: int = 0
    attempt: int = 1
    status: Status
    steps: tuple[StepResult, ...] = ()
    differences: tuple[Difference, ...] = ()
    notes: tuple[str, ...] = ()
    error: str = ""
    duration_s: float = 0.0
