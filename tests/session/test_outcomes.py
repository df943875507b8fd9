"""What sessions come to: one rule each, in one table."""

from typing import get_args

import pytest

from smtpproxy.session.events import Outcome
from smtpproxy.session.outcomes import RULES, Facts, outcome_of


@pytest.mark.parametrize(
    ("facts", "outcome"),
    [
        (Facts(), "empty"),
        (Facts(refused=1), "rejected"),
        (Facts(messages=1, accepted=1), "delivered"),
        (Facts(messages=1, accepted=1, refused=1), "delivered"),
        (Facts(messages=2, accepted=1, refused=1, refused_mail=1), "partial"),
        (Facts(messages=1, refused=1, refused_mail=1), "rejected"),
        (Facts(messages=1, is_cut=True), "aborted"),
        (Facts(messages=1, accepted=1, is_cut=True), "aborted"),
        (Facts(messages=1, accepted=1, is_cut=True, is_failed=True), "failed"),
    ],
)
def test_outcome(facts: Facts, outcome: Outcome) -> None:
    assert outcome_of(facts) == outcome


def test_every_outcome_of_a_finished_session_has_one_rule() -> None:
    assert sorted([outcome for outcome, _, _ in RULES] + ["open", "interrupted"]) == sorted(get_args(Outcome))
