"""Finds the system programs that tests talk to; it runs none of them.

A missing program skips the test on a developer's machine and fails it where SMTPPROXY_REQUIRE_PROGRAMS is
set, as .ci/run does: there, a test that did not run is a test that is broken.
"""

import os
import shutil

import pytest

DEBIAN_PACKAGES = {
    "cc": "gcc libc6-dev libssl-dev",
    "curl": "curl",
    "msmtp": "msmtp",
    "openssl": "openssl",
    "perl": "perl",
    "postconf": "postfix",
    "postfix": "postfix",
    "saslpasswd2": "sasl2-bin",
    "smtp-sink": "postfix",
    "smtp-source": "postfix",
    "smtpd": "postfix",
    "swaks": "swaks",
}
"""Program → the Debian package that has it, for the sentence that tells what to install."""

SYSTEM_FOLDERS = ("/usr/sbin", "/sbin", "/usr/lib/postfix/sbin", "/usr/libexec/postfix")
"""Where servers live that a user's PATH does not name."""


def program(name: str) -> str:
    """The full path of a system program; callable in a test, in a fixture or at a module's top level.

    Without it the test is skipped, saying what to install; it fails where every program is required.
    """
    path = shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", os.defpath), *SYSTEM_FOLDERS)))
    if path is not None:
        return path
    reason = f"{name} is not installed (on Debian: apt-get install {DEBIAN_PACKAGES.get(name, name)})"
    if os.environ.get("SMTPPROXY_REQUIRE_PROGRAMS"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason, allow_module_level=True)
