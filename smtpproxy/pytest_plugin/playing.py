"""A cassette's recording as a mock, and what the app did differently, in words; it starts no proxy."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
import pytest

from smtpproxy.endpoints import Endpoint
from smtpproxy.pytest_plugin.places import command_for, shown_path
from smtpproxy.recording.files import index_recording
from smtpproxy.replay.credentials import CredentialBook
from smtpproxy.replay.matching import read_match
from smtpproxy.replay.mock import Mock
from smtpproxy.replay.report import render_result
from smtpproxy.replay.script import Script
from smtpproxy.service.sources import script_of

MOCK: Final = str(Endpoint(scheme="mock"))
"""The upstream of sessions that were played."""


class Playing:
    """One recording that is played to the app.

    Attributes:
        mock: the provider it stands in for.
        listen_scheme: how the app connected when it was recorded, TLS and LMTP considered.
    """

    def __init__(
        self, scripts: Sequence[Script], match: Mapping[str, object] | None, credentials: CredentialBook
    ) -> None:
        """Take over a recording's sessions.

        Args:
            scripts: of the client's leg, in order.
            match: what the test asks for, over what the file's headers do.
            credentials: for SCRAM, in which the server proves that it knows the password too.

        Raises:
            ConfigError: `match` has a key or a value that is not known.
            ReplayError: a session cannot be played.
        """
        self.mock = Mock(scripts, match=None if match is None else read_match(match), credentials=credentials)
        is_lmtp = any(script.is_lmtp for script in scripts)
        is_tls = any(script.is_implicit_tls for script in scripts)
        self.listen_scheme = "lmtp" if is_lmtp else "smtps" if is_tls else "smtp"

    def difference(self, item: pytest.Item, path: Path) -> str:
        """What was not said as it was recorded, and the command that records again; "" where all was."""
        results = [result for result in self.mock.results() if result.status != "same"]
        if not results:
            return ""
        name = shown_path(path, item.config.rootpath)
        shown = "\n".join(line.text for result in results for line in render_result(result))
        advice = [f"If the app is right, record anew:  {command_for(item, 'rewrite')}"]
        if not results[-1].session:
            advice.append(f"To add the sessions that are too many:  {command_for(item, 'new')}")
        return "\n".join([f"the app did not say what is recorded in {name}", "", shown, "", *advice])


def load_playing(
    path: Path, match: Mapping[str, object] | None, credentials: CredentialBook, *, root: Path
) -> Playing:
    """Read a recording that is to be played.

    Args:
        path: the file.
        match, credentials: as for Playing.
        root: reports name the file as it is seen from there.

    Raises:
        RecordingError: it cannot be read, or is broken; names file and line.
        ConfigError, ReplayError: as for Playing.
    """
    name = shown_path(path, root)
    scripts = [script_of(session, "client") for session in index_recording(path)]
    named = [msgspec.structs.replace(script, source=name) for script in scripts]
    return Playing(named, match, credentials)
