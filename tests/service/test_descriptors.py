"""The limit on open files follows the sessions that are promised."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
from smtpproxy.service.descriptors import make_room
soft, hard, sessions = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
print(make_room(sessions), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(
    ("soft", "hard", "sessions", "room", "soft_after"),
    [
        (200, 1000, 10, 10, 200),  # enough as it is
        (200, 1000, 100, 100, 328),  # raised to fit
        (200, 300, 1000, 86, 300),  # raised as far as it goes, and fewer sessions
        (64, 100, 1000, 1, 100),
    ],
)
def test_room_is_made(soft: int, hard: int, sessions: int, room: int, soft_after: int) -> None:
    arguments = [str(number) for number in (soft, hard, sessions)]
    said = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, check=True, text=True
    )
    assert said.stdout.split() == [str(room), str(soft_after), str(hard)]
