"""Says when a test needs root, which Postfix does to give up its privileges; it starts nothing."""

import os

import pytest


def require_root(what: str) -> None:
    """Skip the test for an ordinary user; fail it where every program is required."""
    if os.geteuid() == 0:
        return
    reason = f"{what} has to be started by root"
    if os.environ.get("SMTPPROXY_REQUIRE_PROGRAMS"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
