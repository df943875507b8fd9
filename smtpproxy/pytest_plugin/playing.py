"""A cassette's recording as a mock, and what the app did differently, in words; it starts no proxy.

Where a test has no recording, a mock of no sessions takes its place: only the test that sends mail needs one.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from smtpproxy.endpoints import Endpoint
from smtpproxy.pytest_plugin.places import shown_path
from smtpproxy.recording.files import index_recording
from smtpproxy.replay.credentials import CredentialBook
from smtpproxy.replay.matching import read_match
from smtpproxy.replay.mock import Mock
from smtpproxy.replay.report import render_result
from smtpproxy.replay.script import Script
from smtpproxy.service.sources import script_of
from smtpproxy.session.decisions import Answer, Connected, Decision, Policy, Turn
from smtpproxy.wire.replies import render_reply

MOCK: Final = str(Endpoint(scheme="mock"))
"""The upstream of sessions that were played."""


class Playing:
    """One recording that is played to the app.

    Attributes:
        mock: the provider it stands in for.
        listen_scheme: how the app connected when it was recorded, TLS and LMTP considered.
        upstream: the URL of the server that was recorded.
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
        self.upstream = scripts[0].upstream

    def difference(self, name: str, command: Callable[[str], str]) -> str:
        """What was not said as it was recorded, and the command that records again; "" where all was.

        Args:
            name: what the recording is called.
            command: the command that runs the test in a record mode.
        """
        results = [result for result in self.mock.results() if result.status != "same"]
        if not results:
            return ""
        shown = "\n".join(line.text for result in results for line in render_result(result))
        advice = [f"If the app is right, record anew:  {command('rewrite')}"]
        if not results[-1].session:
            advice.append(f"To add the sessions that are too many:  {command('new')}")
        return "\n".join([f"the app did not say what is recorded in {name}", "", shown, "", *advice])


class Unrecorded:
    """In place of a recording that is not there: every session is refused, and fails the test in the end.

    Attributes:
        mock, listen_scheme, upstream: as of Playing.
    """

    def __init__(self) -> None:
        self.mock: Mock = _Refusing(())
        self.listen_scheme = "smtp"
        self.upstream = ""

    def difference(self, name: str, command: Callable[[str], str]) -> str:
        """That there is no recording, and the command that makes it; "" where none was needed."""
        if next(self.mock.results(), None) is None:
            return ""
        return (
            f"{name}: there is no recording for this test yet; this makes it:\n\n    {command('once')}\n\n"
            "It records the server of --smtp-upstream or ini smtp_upstream; without one, the sandbox."
        )


class _Refusing(Mock):
    """A mock of no sessions, which says why."""

    def open(self, client: str, *, is_lmtp: bool, is_tls: bool, offers_starttls: bool, nonce: str) -> Policy:
        policy = super().open(
            client, is_lmtp=is_lmtp, is_tls=is_tls, offers_starttls=offers_starttls, nonce=nonce
        )

        def decide(turn: Turn) -> Decision:
            decision = policy(turn)
            if isinstance(turn, Connected):
                reply = render_reply(421, "4.3.2 smtpproxy: there is no recording for this test yet")
                return Answer((reply,), close=True)
            return decision

        return decide


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
        ConfigError, ReplayError: as for Playing; it ends where the app would wait for ever.
    """
    name = shown_path(path, root)
    scripts = [script_of(session, "client") for session in index_recording(path)]
    named = [msgspec.structs.replace(script, source=name) for script in scripts]
    return Playing(named, match, credentials)
