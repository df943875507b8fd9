"""Every session of the library, played by a mock to an app that says the same again: all of it matches."""

from pathlib import Path

import pytest

from smtpproxy.endpoints import Endpoint, Scheme
from smtpproxy.replay.credentials import CredentialBook, Credentials
from smtpproxy.replay.mock import Mock
from smtpproxy.replay.plan import Plan
from smtpproxy.replay.script import Script
from smtpproxy.service.sources import read_scripts
from smtpproxy.session.events import Leg
from tests.replay.app import App
from tests.replay.meeting import Meeting

LIBRARY = Path(__file__).parents[2] / "replay"


def name_of(path: Path) -> str:
    return path.name.removesuffix(".smtp.jsonl")


FILES = sorted(LIBRARY.glob("*.smtp.jsonl"))
ANYBODY = CredentialBook(Credentials(username="nobody", password="-", token="-"))


def no_store() -> Path:
    raise AssertionError("no name in here is a session of the store")


def scripts_of(path: Path, leg: Leg) -> list[Script]:
    return list(read_scripts([str(path)], leg=leg, store=no_store))


def is_scram(script: Script) -> bool:
    return any(step.mechanism.startswith("SCRAM-") for step in script.steps)


PLAYED = [path for path in FILES if not any(is_scram(script) for script in scripts_of(path, "client"))]
"""SCRAM is proved with a password, not with a recording: those are only met by a player."""


@pytest.mark.parametrize("path", PLAYED, ids=name_of)
def test_what_was_recorded_matches_itself(path: Path) -> None:
    scripts = scripts_of(path, "client")
    mock = Mock(scripts, credentials=ANYBODY)
    for script in scripts:
        app = App(mock, is_lmtp=script.is_lmtp, is_tls=script.is_implicit_tls)
        app.rerun(script)
        app.finish()
        recorded = b"".join(reply.raw for step in script.steps for reply in (*step.replies, *step.unasked))
        assert bytes(app.client.heard) == recorded
    assert [(result.status, result.differences) for result in mock.results()] == [("same", ())] * len(scripts)
    assert mock.is_exhausted


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_replay_meets_its_own_mock(path: Path) -> None:
    scripts = scripts_of(path, "server")
    mock = Mock(scripts, credentials=ANYBODY)
    for script in scripts:
        app = App(mock, is_lmtp=script.is_lmtp, is_tls=script.is_implicit_tls)
        scheme: Scheme = "smtps" if script.is_implicit_tls else "lmtp" if script.is_lmtp else "smtp"
        target = Endpoint(scheme=scheme, host="127.0.0.1", port=25)
        plan = Plan(target=target, is_loopback=True, credentials=ANYBODY)
        meeting = Meeting(script, plan, app)
        assert (meeting.result.differences, meeting.result.error) == ((), "")
    assert [result.differences for result in mock.results()] == [()] * mock.size
