"""What the failures that are due come to: a delay, a refusal, a cut; it knows nothing of what is refused."""

from collections.abc import Callable, Iterable
from typing import TypeAlias, assert_never

import msgspec

from smtpproxy.sandbox.failures import Cut, Failure, Greylist, Refuse, Slow
from smtpproxy.sandbox.replies import render_reply
from smtpproxy.sandbox.statuses import text_of
from smtpproxy.session.decisions import Answer, Decision, Delay, Drop


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """A whole reply to give instead of the usual one; a 421 closes the connection too."""

    code: int
    reply: bytes


Blow: TypeAlias = Refused | Cut


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What happens instead of success, and how late.

    Attributes:
        delay_s: before the reply.
        blow: None where all is well.
    """

    delay_s: int = 0
    blow: Blow | None = None


def judge(failures: Iterable[Failure], *, is_first_time: Callable[[], bool] = lambda: False) -> Verdict:
    """The verdict of those failures: the longest delay, and the first thing that goes wrong.

    Args:
        is_first_time: whether a greylisted pair has to wait; asked only where greylisting was asked for.
    """
    delay_s = 0
    blow: Blow | None = None
    for failure in failures:
        match failure.action:
            case Slow(seconds=seconds):
                delay_s = max(delay_s, seconds)
            case Greylist():
                if blow is None and is_first_time():
                    blow = _refused(450, "4.7.1", "greylisted, try again", failure)
            case Refuse(code=code, status=status):
                blow = blow or _refused(code, status, text_of(status), failure)
            case Cut() as cut:
                blow = blow or cut
            case _ as never:
                assert_never(never)
    return Verdict(delay_s=delay_s, blow=blow)


def _refused(code: int, status: str, text: str, failure: Failure) -> Refused:
    return Refused(code=code, reply=render_reply(code, status, f"{text} (asked for by {failure.asked})"))


def decide(verdicts: list[Verdict], success: bytes) -> Decision:
    """What to do where each verdict is owed a reply (several: RFC 2033 4.2); one cut cuts them all."""
    replies: list[bytes] = []
    does_close = False
    then: Answer | Drop | None = None
    for verdict in verdicts:
        match verdict.blow:
            case None:
                replies.append(success)
            case Refused(code=code, reply=reply):
                replies.append(reply)
                does_close = does_close or code == 421
            case Cut(is_reset=is_reset):
                then = then or Drop(is_reset=is_reset)
            case _ as never:
                assert_never(never)
    then = then or Answer(tuple(replies), close=does_close)
    delay_s = max(verdict.delay_s for verdict in verdicts)
    return Delay(float(delay_s), then) if delay_s else then
