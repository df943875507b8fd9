"""The script records a conversation anew, and it is the one that is committed; a wrong one it refuses."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from smtpproxy.recording.files import load_recording
from smtpproxy.session.events import Command, Reply
from tools.library.record import NotShownError, check, record
from tools.library.scenario import FOLDER
from tools.library.scenarios import SCENARIOS

ONE_OF_EACH = [
    "postfix-greylisting-450",
    "postfix-auth-cram-md5",
    "aiosmtpd-lmtp",
    "smtp-sink-lmtp",
    "sandbox-greylist",
]


def conversation(file: Path) -> list[tuple[str, str, object]]:
    """Who gave which command or reply code, without ids, times and texts."""
    said: list[tuple[str, str, object]] = []
    for read in load_recording(file):
        match read.event:
            case Command(from_=from_, to=to, verb=verb):
                said.append((from_, to, verb))
            case Reply(from_=from_, to=to, code=code):
                said.append((from_, to, code))
    return said


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_it_is_the_same_conversation_again(name: str, tmp_path: Path) -> None:
    scenario = SCENARIOS[name]
    again = tmp_path / scenario.file.name
    (tmp_path / "work").mkdir()

    record(scenario, tmp_path / "work", again)

    assert conversation(again) == conversation(scenario.file)


def test_what_does_not_show_what_it_should_is_not_written(tmp_path: Path) -> None:
    scenario = replace(SCENARIOS["sandbox-accepted"], code=550)
    file = tmp_path / scenario.file.name
    (tmp_path / "work").mkdir()
    with pytest.raises(NotShownError, match="never told 550"):
        record(scenario, tmp_path / "work", file)
    assert not file.exists()


def test_a_secret_in_a_recording_is_seen(tmp_path: Path) -> None:
    scenario = SCENARIOS["sandbox-starttls"]
    assert scenario.account is not None
    text = scenario.file.read_text()
    assert "{{secret}}" in text
    leaking = tmp_path / scenario.file.name
    leaking.write_text(text.replace("{{secret}}", scenario.account.password, 1))
    with pytest.raises(NotShownError, match="a secret is in it"):
        check(scenario, leaking)


def test_the_script_names_its_scenarios_and_knows_no_others() -> None:
    script = FOLDER.parent / "tools" / "record_library.py"
    listed = subprocess.run([sys.executable, script, "--list"], capture_output=True, text=True, check=True)
    assert [line.split()[0] for line in listed.stdout.splitlines()] == list(SCENARIOS)
    wrong = subprocess.run([sys.executable, script, "--only", "nothing"], capture_output=True, check=False)
    assert wrong.returncode == 2
    assert b"Traceback" not in wrong.stderr
