"""A store and the command line, for the tests of the commands that read."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from smtpproxy.cli.main import main
from smtpproxy.recording.codec import encode
from smtpproxy.store.importing import import_session
from tests.conversation import Conversation


class Ran(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def smtpproxy(
    capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Run:
    """`smtpproxy("sessions", "--json")` runs that command line in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SMTPPROXY_STORE", raising=False)

    def run(*argv: str | Path) -> Ran:
        with pytest.raises(SystemExit) as left:
            main([str(argument) for argument in argv])
        captured = capfdbinary.readouterr()
        assert isinstance(left.value.code, int)
        return Ran(left.value.code, captured.out.decode("utf-8", "surrogateescape"), captured.err.decode())

    return run


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Where the test's store is to be."""
    return tmp_path / "store.db"


def keep(store: Path, *talks: Conversation) -> None:
    """Put conversations into a store, as if they had been recorded."""
    for talk in talks:
        import_session(store, talk.session, lambda talk=talk: ((encode(e), e) for e in talk.events))
