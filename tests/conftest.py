"""What all tests share: hypothesis' settings, and system programs by name; it starts nothing.

SMTPPROXY_EXAMPLES raises the number of examples of every law, to millions for a night's fuzzing.
"""

import os
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings

from tests.programs import program as find_program

pytest_plugins = "pytester"  # for tests/pytest_plugin; pytest wants it said here

# No deadline: an example's wall-clock time says more about the machine's other work than about ours.
settings.register_profile("smtpproxy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile(
    "many",
    settings.get_profile("smtpproxy"),
    max_examples=int(os.environ.get("SMTPPROXY_EXAMPLES", "100")),
)
settings.load_profile("many" if "SMTPPROXY_EXAMPLES" in os.environ else "smtpproxy")


@pytest.fixture
def program() -> Callable[[str], str]:
    """`program("swaks")`: its full path, or the test is skipped (in CI: failed) with what to install."""
    return find_program
