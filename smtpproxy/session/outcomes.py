"""What a session came to, one rule each, in one table; it looks at counted facts alone."""

from collections.abc import Callable
from typing import Final

import msgspec

from smtpproxy.session.events import Outcome


class Facts(msgspec.Struct, kw_only=True):
    """What is counted while a session runs.

    Attributes:
        messages: contents that were begun.
        accepted: contents, or recipients of one under LMTP, that the server took.
        refused: greetings, AUTHs, senders, recipients and contents that it refused (4xx and 5xx).
        refused_mail: those of them that were senders, recipients or contents.
        is_failed: the session ended by our hand, since relaying could not go on.
        is_cut: an end left in the middle of a transaction, or while a reply was owed.
    """

    messages: int = 0
    accepted: int = 0
    refused: int = 0
    refused_mail: int = 0
    is_failed: bool = False
    is_cut: bool = False


RULES: Final[list[tuple[Outcome, str, Callable[[Facts], bool]]]] = [
    ("failed", "ended by smtpproxy: relaying could not go on", lambda facts: facts.is_failed),
    ("aborted", "an end left in mid-transaction, or while a reply was owed", lambda facts: facts.is_cut),
    (
        "partial",
        "some mail was taken, and a sender, recipient or message was refused",
        lambda facts: facts.accepted > 0 and facts.refused_mail > 0,
    ),
    ("delivered", "every message was taken by the server", lambda facts: facts.accepted > 0),
    ("rejected", "no mail was taken, and something was refused", lambda facts: facts.refused > 0),
    ("empty", "no mail was tried", lambda _: True),
]
"""In order; the first that holds. `open` has no end yet; `interrupted` is cut short by our own death."""


def outcome_of(facts: Facts) -> Outcome:
    """The outcome by the first rule that holds."""
    return next(outcome for outcome, _, holds in RULES if holds(facts))
