"""Failures on request: what an address asks for, as one table; it knows nothing of sessions.

The local part of an address, or an AUTH user name, may ask for a failure: `rcpt-550@anywhere.example`. The
case does not matter, and what follows a plus sign does not count (`rcpt-550+alice` is another address that
asks for the same). docs/sandbox.md shows the tables below.
"""

import re
from typing import Final, Literal, TypeAlias, get_args

import msgspec

from smtpproxy.sandbox.statuses import default_status

Step: TypeAlias = Literal["auth", "mail", "rcpt", "datacmd", "data"]
STEPS: Final[dict[Step, str]] = {
    "auth": "the last reply to AUTH",
    "mail": "the reply to MAIL",
    "rcpt": "the reply to RCPT",
    "datacmd": "the reply to DATA, or to the first BDAT",
    "data": "the reply to the message, after its end",
}
"""Where a failure can happen, in the order of a session."""

MAX_SLOW_S: Final = 3600


class Refuse(msgspec.Struct, frozen=True, kw_only=True):
    """Answer with this code and enhanced status; 421 closes the connection too (RFC 5321 3.8)."""

    code: int
    status: str


class Cut(msgspec.Struct, frozen=True, kw_only=True):
    """Close the connection, or reset it, without a reply."""

    is_reset: bool


class Slow(msgspec.Struct, frozen=True, kw_only=True):
    """Reply as usual, that many seconds later."""

    seconds: int


class Greylist(msgspec.Struct, frozen=True, kw_only=True):
    """Refuse for now the first time that this sender writes to this recipient."""


Action: TypeAlias = Refuse | Cut | Slow | Greylist


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """What an address asks for.

    Attributes:
        asked: the words that ask for it, lower-cased, without the tag.
        step: where it happens; None: where the address is said.
    """

    asked: str
    step: Step | None
    action: Action


class Malformed(msgspec.Struct, frozen=True, kw_only=True):
    """It reads like a failure, and is none; `problem` says why, without repeating what was said."""

    problem: str


class Word(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table of words.

    Attributes:
        form: how it is written, as people read it.
        examples: each of them is one.
        effect: what happens, for people.
        step: where, for the refusals.
        status: subject and detail that its enhanced code always has; "": see statuses.py.
    """

    form: str
    examples: tuple[str, ...]
    effect: str
    step: Step | None = None
    status: str = ""


REFUSALS: Final[dict[str, Word]] = {
    "auth": Word(
        form="auth-CODE[-STATUS]",
        examples=("auth-535", "auth-454", "auth-534-5.7.9"),
        effect="AUTH ends with this code",
        step="auth",
    ),
    "mail": Word(
        form="mail-CODE[-STATUS]",
        examples=("mail-450", "mail-421", "mail-553-5.1.8"),
        effect="MAIL is refused with it",
        step="mail",
    ),
    "rcpt": Word(
        form="rcpt-CODE[-STATUS]",
        examples=("rcpt-550", "rcpt-550-5.1.1", "rcpt-451"),
        effect="RCPT is refused with it",
        step="rcpt",
    ),
    "datacmd": Word(
        form="datacmd-CODE[-STATUS]",
        examples=("datacmd-451", "datacmd-554-5.5.1"),
        effect="DATA, or the first BDAT, is refused with it",
        step="datacmd",
    ),
    "data": Word(
        form="data-CODE[-STATUS]",
        examples=("data-554-5.7.1", "data-451", "data-421"),
        effect="the message is refused with it, after its end; with LMTP for this recipient only",
        step="data",
    ),
    "quota": Word(
        form="quota-CODE",
        examples=("quota-452", "quota-552"),
        effect="RCPT is refused: the mailbox is full (x.2.2)",
        step="rcpt",
        status="2.2",
    ),
    "size": Word(
        form="size-CODE",
        examples=("size-552",),
        effect="the message is refused after its end: it is too big (x.3.4)",
        step="data",
        status="3.4",
    ),
}
OTHERS: Final[dict[str, Word]] = {
    "greylist": Word(
        form="greylist",
        examples=("greylist", "greylist+alice"),
        effect="RCPT gets 450 4.7.1 once for each pair of sender and recipient, from then on 250",
    ),
    "drop": Word(
        form="drop[-STEP]",
        examples=("drop", "drop-data"),
        effect="the connection is closed instead of the reply; `drop-data` does so after the whole message, "
        "when the app cannot know whether it was taken: the classic cause of duplicates",
    ),
    "reset": Word(
        form="reset[-STEP]",
        examples=("reset", "reset-data"),
        effect="the same with a TCP reset",
    ),
    "slow": Word(
        form="slow[-STEP]-SECONDS",
        examples=("slow-5", "slow-data-30"),
        effect=f"the usual reply, that many seconds later (1 to {MAX_SLOW_S})",
    ),
}

_STEP_NAMES: Final = "|".join(STEPS)
_REFUSAL = re.compile(rf"({'|'.join(REFUSALS)})-([0-9]{{3}})(?:-(.*))?\Z", re.DOTALL)
_CUT = re.compile(rf"(drop|reset)(?:-({_STEP_NAMES}))?\Z")
_SLOW = re.compile(rf"slow(?:-({_STEP_NAMES}))?-([0-9]+)\Z")
_STATUS = re.compile(r"[45]\.[0-9]{1,3}\.[0-9]{1,3}\Z")
_ORDER: Final[tuple[Step, ...]] = get_args(Step)


def parse_failure(local: str) -> Failure | Malformed | None:
    """What a local part or a user name asks for.

    Args:
        local: without quotes and domain.

    Returns:
        None for an ordinary one, which is everything that does not begin as the table says: `mail-order`,
        `data-2024` and `reset-password` are ordinary, `rcpt-999` is Malformed.
    """
    asked = local.partition("+")[0].lower()
    if asked == "greylist":
        return Failure(asked=asked, step="rcpt", action=Greylist())
    if match := _CUT.match(asked):
        return Failure(asked=asked, step=_step(match[2]), action=Cut(is_reset=match[1] == "reset"))
    if match := _SLOW.match(asked):
        seconds = int(match[2]) if len(match[2]) <= len(str(MAX_SLOW_S)) else 0
        if not 1 <= seconds <= MAX_SLOW_S:
            return Malformed(problem=f"slow takes 1 to {MAX_SLOW_S} seconds")
        return Failure(asked=asked, step=_step(match[1]), action=Slow(seconds=seconds))
    if match := _REFUSAL.match(asked):
        return _refusal(asked, REFUSALS[match[1]], int(match[2]), match[3])
    return None


def _refusal(asked: str, word: Word, code: int, status: str | None) -> Failure | Malformed:
    step = word.step
    assert step is not None
    kind = code // 100
    if kind not in (4, 5):
        return Malformed(problem="the code of a failure is 400 to 599")
    if status is None:
        status = f"{kind}.{word.status}" if word.status else default_status(step, code)
    elif word.status:
        return Malformed(problem=f"this one is written {word.form}")
    elif not _STATUS.match(status) or int(status[0]) != kind:
        # RFC 2034 4: the first digit of both codes MUST agree.
        return Malformed(
            problem=f"after the code {code} comes an enhanced status such as {kind}.7.1, or nothing"
        )
    return Failure(asked=asked, step=step, action=Refuse(code=code, status=status))


def _step(name: str | None) -> Step | None:
    return next((step for step in _ORDER if step == name), None)


def is_due(failure: Failure, *, at: Step, said_at: Step) -> bool:
    """Whether a failure happens at this step, the address that asks for it having been said at `said_at`.

    One whose step was over when the address was said happens at once: an app whose sender never changes can
    ask for any failure by its recipient.
    """
    wanted = failure.step
    if at == said_at:
        return wanted is None or _ORDER.index(wanted) <= _ORDER.index(at)
    return wanted == at and _ORDER.index(said_at) < _ORDER.index(at)
