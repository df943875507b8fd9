"""Which steps belong to one mail transaction, and which may be said without waiting; it knows no server.

A transaction is what stands or falls together: from MAIL to the end of its message (RFC 5321 3.3).
"""

from collections.abc import Sequence
from typing import Final

from smtpproxy.replay.script import Step
from smtpproxy.wire.replies import parse_reply_line

HELLOS: Final = frozenset(("EHLO", "LHLO", "HELO"))
_BEGINS_ANEW: Final = HELLOS | {"RSET", "QUIT", "STARTTLS", "AUTH"}
LAST_OF_GROUP: Final = HELLOS | {
    "DATA",
    "VRFY",
    "EXPN",
    "TURN",
    "QUIT",
    "NOOP",
    "STARTTLS",
    "AUTH",
    "XCLIENT",
    "ATRN",
}
"""Behind these nothing may be said before they are answered (RFC 2920 3.1, RFC 3207 4, RFC 4954 4)."""
SAID_ALONE: Final = frozenset(("STARTTLS", "AUTH"))
"""What follows them depends on the reply, down to who reads it."""


def number_transactions(steps: Sequence[Step]) -> list[int]:
    """For each step the number of its transaction, from 1; 0 for what belongs to none."""
    numbers: list[int] = []
    current = count = 0
    is_refused = False
    for step in steps:
        if step.verb in _BEGINS_ANEW and step.kind != "content":
            current = 0
        elif step.verb == "MAIL" and (current == 0 or is_refused):
            count += 1
            current = count
        numbers.append(current)
        if step.verb == "MAIL":
            is_refused = code_of(step) >= 400
        elif ends_message(step):
            current = 0
    return numbers


def ends_message(step: Step) -> bool:
    """Whether a message ends with this step: that of DATA, or the last chunk (RFC 3030 2)."""
    return step.kind == "content" or (step.verb == "BDAT" and step.is_last)


def code_of(step: Step) -> int:
    """Of its first recorded reply, as its octets have it; 0 where there is none."""
    lines = step.replies[0].raw.splitlines() if step.replies else []
    return (parse_reply_line(lines[-1])[0] or 0) if lines else 0


def group_end(steps: Sequence[Step], start: int) -> int:
    """Behind which step one must wait, where from `start` on all is said as it was: in groups or alone.

    A message may be the first in a group (RFC 2920 3.1): what was said before the reply to it came, has the
    number of its DATA.
    """
    end = start + 1
    is_message = steps[start].kind == "content" and start > 0
    group = steps[start - 1 if is_message else start].group
    while (
        group
        and end < len(steps)
        and steps[end].kind == "command"
        and steps[end].group == group
        and steps[end - 1].verb not in LAST_OF_GROUP
        and steps[end].verb not in SAID_ALONE
    ):
        end += 1
    return end


def skipped_under_tls(steps: Sequence[Step]) -> int:
    """How many steps behind the greeting only lead to TLS, where the target speaks it from the first octet.

    That is everything up to a STARTTLS that was taken, since the client says its EHLO again behind it
    (RFC 3207 4.2); STARTTLS alone where it did not.
    """
    for position, step in enumerate(steps):
        if step.verb == "STARTTLS" and step.kind == "command" and code_of(step) == 220:
            following = steps[position + 1].verb if position + 1 < len(steps) else ""
            return position if following in HELLOS else 0
    return 0
