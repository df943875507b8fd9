"""Recordings as tests: with `--smtp-replay-to URL` each session is rerun against URL; it compares nothing."""

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
import trio

from smtpproxy.endpoints import parse_endpoint
from smtpproxy.errors import ConfigError, SmtpProxyError
from smtpproxy.pytest_plugin.places import shown_path
from smtpproxy.pytest_plugin.settings import in_words_of_pytest, read_credentials, read_upstream_ca
from smtpproxy.recording.files import FiledSession, index_recording
from smtpproxy.replay.envelope import Envelope, read_rcpt_to
from smtpproxy.replay.plan import Plan
from smtpproxy.replay.report import render_result
from smtpproxy.replay.results import SessionResult
from smtpproxy.service.replaying import Run, replay_scripts
from smtpproxy.service.sources import script_of
from smtpproxy.tls.contexts import make_server_leg_context

REPLAYING: Final = pytest.StashKey["Replaying"]()


class Replaying:
    """Where to and how, for all of a run's recordings.

    Attributes:
        plan: how each session is played.
        run: how it is connected.
    """

    def __init__(self, config: pytest.Config) -> None:
        """Read the flags; credentials are in the environment.

        Raises:
            SmtpProxyError: a flag is wrong, the CA cannot be read.
        """
        url = str(config.getoption("--smtp-replay-to"))
        target = parse_endpoint(url, is_listen=False)
        if not target.host and not target.path:
            raise ConfigError(f"--smtp-replay-to {url}: nothing listens there; name a server")
        allowed, rcpt_to = config.getoption("--smtp-allow-rcpt"), config.getoption("--smtp-rcpt-to")
        # Known before anything is read or played: no test needs to tell it.
        if not (target.is_loopback or allowed or rcpt_to):
            raise ConfigError(
                f"--smtp-replay-to {target} is off this machine, and mail there is real mail: say who may "
                "get it, with --smtp-rcpt-to YOUR@ADDRESS (all of it) or --smtp-allow-rcpt GLOB (as recorded)"
            )
        self.plan = Plan(
            target=target,
            is_loopback=target.is_loopback,
            credentials=read_credentials(config),
            envelope=Envelope(
                allowed=tuple(allowed),
                rcpt_to=read_rcpt_to(str(rcpt_to)) if rcpt_to else "",
            ),
            level=config.getoption("--smtp-replay-level"),
        )
        self.run = Run(context=make_server_leg_context(ca_file=read_upstream_ca(config, {})))


class DifferenceError(Exception):
    """A session that was not as recorded.

    Attributes:
        result: what it came to.
    """

    def __init__(self, result: SessionResult) -> None:
        super().__init__(result.status)
        self.result = result


class RecordingFile(pytest.File):
    """A recording; its sessions are its tests."""

    def collect(self) -> Iterable["SessionItem"]:
        """One test for each session, in order.

        Raises:
            CollectError: the file is broken, or cannot be rerun; names the line.
        """
        items: list[SessionItem] = []
        try:
            for number, filed in enumerate(index_recording(self.path), 1):
                # Read once to see that it can be read; kept it is not, for a folder may hold gigabytes.
                outcome = script_of(filed, "server").outcome
                name = f"{number}-{outcome}-{filed.session}"
                items.append(SessionItem.from_parent(self, name=name, filed=filed))
        except SmtpProxyError as error:
            shown = shown_path(self.path, self.config.rootpath)
            raise self.CollectError(str(error).replace(str(self.path), shown)) from None
        return items


class SessionItem(pytest.Item):
    """One recorded session, to be rerun."""

    def __init__(self, *, filed: FiledSession, **more: Any) -> None:
        super().__init__(**more)
        self._filed = filed

    def runtest(self) -> None:
        """Play it.

        Raises:
            DifferenceError: something is not as recorded, or it could not be played.
            SmtpProxyError: the recording cannot be used.
        """
        replaying = self.config.stash[REPLAYING]
        results: list[SessionResult] = []
        script = msgspec.structs.replace(
            script_of(self._filed, "server"), source=shown_path(self.path, self.config.rootpath)
        )
        trio.run(
            partial(
                replay_scripts,
                iter([script]),
                replaying.plan,
                replaying.run,
                on_result=results.append,
                obeys_signals=False,
            )
        )
        (result,) = results
        if result.status != "same":
            raise DifferenceError(result)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """What differs, step by step; a traceback only for a fault of ours."""
        error = excinfo.value
        if isinstance(error, DifferenceError):
            return in_words_of_pytest("\n".join(line.text for line in render_result(error.result)))
        if isinstance(error, SmtpProxyError):
            return in_words_of_pytest(str(error))
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Where it stands: the line that opens the session."""
        return self.path, self._filed.number - 1, self.name
