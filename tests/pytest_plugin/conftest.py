"""Suites of other people's: pytest runs inside of pytest, in a folder of its own."""

import pytest

# Loaded before any inner run: pytester forgets what an inner run imported, and cryptography's extension
# cannot be imported a second time.
import smtpproxy.pytest_plugin.cassettes
import smtpproxy.pytest_plugin.collecting
import smtpproxy.sandbox  # noqa: F401


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    """A folder for a suite that uses the plugin, and none of ours otherwise."""
    pytester.makepyprojecttoml(
        "[tool.pytest.ini_options]\nfilterwarnings = ['error']\naddopts = '--strict-markers'\n"
    )
    return pytester
