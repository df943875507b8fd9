"""A mock reads a session when it gives it out, and refuses one with which an app would wait for ever."""

from collections.abc import Sequence
from pathlib import Path
from typing import overload

import pytest

from smtpproxy.errors import RecordingError, ReplayError
from smtpproxy.recording.codec import encode
from smtpproxy.replay.mock import Mock
from smtpproxy.replay.script import Script
from smtpproxy.service.sources import Scripts
from tests.conversation import Conversation, delivery
from tests.replay.app import App, client_script


def no_store() -> Path:
    raise AssertionError("no store was named")


def write(path: Path, *talks: Conversation) -> Path:
    path.write_bytes(b"".join(encode(event) + b"\n" for talk in talks for event in talk.events))
    return path


def talk(session: str) -> Conversation:
    return Conversation(session).server("220 mx").client("NOOP").server("250 ok").end("empty")


def test_sessions_are_read_when_they_are_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "mail.smtp.jsonl", talk("S0"), talk("S1"), talk("S2"))
    scripts = Scripts([str(path)], leg="client", store=no_store)
    assert len(scripts) == 3
    assert [script.session for script in scripts] == ["S0", "S1", "S2"]
    assert scripts[1] is not scripts[1]
    assert [script.session for script in scripts[1:]] == ["S1", "S2"]


def test_a_folder_is_read_in_the_order_of_its_paths(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    write(tmp_path / "b" / "x.smtp.jsonl", talk("S2"))
    write(tmp_path / "a.smtp.jsonl", talk("S1"))
    scripts = Scripts([str(tmp_path)], leg="client", store=no_store)
    assert [script.session for script in scripts] == ["S1", "S2"]


class Vanishing(Sequence[Script]):
    """Scripts of a file that is gone after a mock has looked at it."""

    def __init__(self, *scripts: Script) -> None:
        self.scripts = scripts
        self.is_gone = False

    def __len__(self) -> int:
        return len(self.scripts)

    @overload
    def __getitem__(self, at: int) -> Script: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Script]: ...
    def __getitem__(self, at: int | slice) -> Script | Sequence[Script]:
        if self.is_gone:
            raise RecordingError("mail.smtp.jsonl", 0, "cannot be read: No such file or directory")
        return self.scripts[at]


def test_a_recording_that_is_gone_meanwhile_is_told_to_the_app_and_in_the_report() -> None:
    scripts = Vanishing(client_script(talk("S0")), client_script(talk("S1")))
    mock = Mock(scripts)
    scripts.is_gone = True
    app = App(mock)
    assert bytes(app.client.heard).startswith(b"421 4.3.0 smtpproxy mock: mail.smtp.jsonl: cannot be read")
    first, second = mock.results()
    assert (first.status, second.status) == ("error", "error")
    assert "cannot be read" in first.error


def test_what_was_cut_short_before_a_reply_is_refused() -> None:
    cut = Conversation("S0").server("220 mx").client("NOOP")
    with pytest.raises(ReplayError, match=r"session S0 was cut short before step 2 was answered"):
        Mock([client_script(cut)])


def test_what_was_cut_short_behind_a_reply_is_played() -> None:
    Mock([client_script(Conversation("S0").server("220 mx").client("NOOP").server("250 ok"))])
    Mock([client_script(delivery("S0"))])
