"""Every session of the library, played by a mock to an app that says the same again: all of it matches."""

from pathlib import Path

import pytest

from smtpproxy.replay.credentials import CredentialBook, Credentials
from smtpproxy.replay.mock import Mock
from smtpproxy.replay.script import Script
from smtpproxy.service.sources import read_scripts
from tests.replay.app import App

LIBRARY = Path(__file__).parents[2] / "replay"
FILES = sorted(LIBRARY.glob("*.smtp.jsonl"))
ANYBODY = CredentialBook(Credentials(username="nobody", password="-"))


def no_store() -> Path:
    raise AssertionError("no name in here is a session of the store")


def scripts_of(path: Path) -> list[Script]:
    return list(read_scripts([str(path)], leg="client", store=no_store))


def is_scram(script: Script) -> bool:
    return any(step.mechanism.startswith("SCRAM-") for step in script.steps)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name.removesuffix(".smtp.jsonl"))
def test_what_was_recorded_matches_itself(path: Path) -> None:
    scripts = scripts_of(path)
    if any(is_scram(script) for script in scripts):
        pytest.skip("SCRAM is proved with a password, not with a recording: tests/replay/test_mock_auth.py")
    mock = Mock(scripts, credentials=ANYBODY)
    for script in scripts:
        app = App(mock, is_lmtp=script.is_lmtp, is_tls=script.is_implicit_tls)
        app.rerun(script)
        app.finish()
        recorded = b"".join(reply.raw for step in script.steps for reply in (*step.replies, *step.unasked))
        assert bytes(app.client.heard) == recorded
    assert [(result.status, result.differences) for result in mock.results()] == [("same", ())] * len(scripts)
    assert mock.is_exhausted
