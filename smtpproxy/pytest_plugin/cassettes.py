"""What the fixture `smtp_cassette` hands out: a provider that was recorded, or is being recorded.

mode     the recording is there                       it is not              saved
none     played                                       sessions are refused   never
once     played                                       recorded               where the test passed
new      played, further sessions are recorded        recorded               where the test passed
rewrite  recorded                                     recorded               where the test passed
all      recorded                                     recorded               always
"""

import contextlib
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from smtpproxy.config.model import RouteConfig
from smtpproxy.endpoints import Endpoint
from smtpproxy.errors import ConfigError, RecordingError, SmtpProxyError
from smtpproxy.inspect.conversations import Conversation
from smtpproxy.pytest_plugin.live import LiveProxy, fail
from smtpproxy.pytest_plugin.places import SUFFIX, cassette_path, command_for, shown_path
from smtpproxy.pytest_plugin.playing import MOCK, Playing, Unrecorded, load_playing
from smtpproxy.pytest_plugin.saving import append_sessions, replace_sessions
from smtpproxy.pytest_plugin.settings import (
    CASSETTE_KEYS,
    RecordMode,
    in_words_of_pytest,
    proxy_config,
    read_credentials,
    read_listen,
    read_marker,
    read_mode,
    read_upstream,
    recording_flags,
)
from smtpproxy.service.embedded import EmbeddedProxy
from smtpproxy.service.ready import Ready

END_TIMEOUT_S: Final = 1.0
"""How long sessions may take to end before they are saved as they are."""
SECTION: Final = "smtp cassette"


class Cassette(LiveProxy):
    """A recorded provider that runs as long as the test.

    Attributes:
        mode: the record mode.
        path: the recording.
        is_recording: whether sessions are recorded in this run.
        is_test_over: whether the test function has returned; set by the plugin.
    """

    def __init__(
        self,
        proxy: EmbeddedProxy,
        ready: Ready,
        *,
        item: pytest.Item,
        mode: RecordMode,
        path: Path,
        playing: Playing | Unrecorded | None,
        flags: Sequence[str],
    ) -> None:
        super().__init__(proxy, ready)
        self.mode = mode
        self.path = path
        self.is_recording = playing is None or mode == "new"
        self.is_test_over = False
        self._has_failed_subtest = False
        self._playing = playing
        self._command = partial(command_for, item, flags=flags)
        self._name = shown_path(path, item.config.rootpath)

    @property
    def session(self) -> Conversation:
        """The one session there was.

        Raises:
            AssertionError: there was none, or there were several.
        """
        __tracebackhide__ = True
        sessions = self.sessions
        if len(sessions) != 1:
            shown = "".join(map(repr, sessions))
            raise AssertionError(f"there were {len(sessions)} sessions, not one; .sessions has all\n{shown}")
        return sessions[0]

    def assert_all_played(self) -> None:
        """Everything that was recorded has been said by the app, and nothing else has.

        The plugin sees to that at the end of each test; while recording there is nothing to compare.

        Raises:
            AssertionError: what differs, step by step, and what can be done about it.
        """
        __tracebackhide__ = True
        difference = self._difference()
        if difference:
            raise AssertionError(difference)

    def require_all_played(self) -> None:
        """The same at the end of a test, without a traceback."""
        difference = self._difference()
        if difference:
            fail(difference)

    def note_subtest(self, report: pytest.TestReport) -> None:
        """A part of the test has its result, and the test goes on: it is too early to save anything."""
        self._has_failed_subtest |= report.failed

    def conclude(self, report: pytest.TestReport) -> None:
        """Save what is to be saved; tell in the report of a test that failed what the app did differently."""
        if self.is_recording:
            self._save(report)
        if report.failed and (difference := self._difference()) and difference not in str(report.longrepr):
            report.sections.append((SECTION, difference))

    def _difference(self) -> str:
        if self._playing is None:
            return ""
        self._proxy.recorded()  # what the app has said by now has reached the mock
        return self._playing.difference(self._name, self._command)

    def _save(self, report: pytest.TestReport) -> None:
        has_passed = report.passed and not self._has_failed_subtest
        if not (has_passed or self.mode == "all"):
            report.sections.append((SECTION, f"{self._name} is as it was: the test did not pass"))
            return
        try:
            self._require_provider()
            recorded = self._to_be_saved()
            if recorded and self.mode == "new":
                count = append_sessions(self.path, recorded)
            elif recorded:
                count = replace_sessions(self.path, recorded)
            elif self._playing is None and self.path.exists():
                raise RecordingError(
                    self._name,
                    0,
                    f"is as it was: the app said nothing to {self.url}; if that is right, delete it",
                )
            elif self._playing is None:
                self._tell(report, f"not written: the app said nothing to {self.url}")
                return
            else:
                return
        except SmtpProxyError as error:
            words = str(error).replace(str(self.path), self._name)
            if report.passed:
                report.outcome = "failed"
                report.longrepr = words
            else:
                report.sections.append((SECTION, words))
        else:
            self._tell(report, f"{count} session{'' if count == 1 else 's'}")

    def _tell(self, report: pytest.TestReport, what: str) -> None:
        # Beside the report and not within it: it reaches the summary from pytest-xdist's workers too.
        report.__dict__["smtp_cassette_saved"] = f"{self._name}: {what}"

    def _require_provider(self) -> None:
        """A recording holds what the provider said, and nothing that we said because it could not.

        Raises:
            RecordingError: in some session we spoke for the server: it was not reached, or not trusted.
        """
        for session in self.sessions:
            spoken = (reply for reply in session.replies if reply.from_ == "proxy" and reply.code >= 400)
            reply = next(spoken, None)
            if session.upstream != MOCK and reply is not None:
                raise RecordingError(
                    self._name, 0, f"not written, for it was not {session.upstream} that answered: {reply}"
                )

    def _to_be_saved(self) -> list[list[bytes]]:
        """Lines of the sessions that were relayed; connections on which nobody spoke say nothing."""

        def all_ended(recorded: dict[str, list[bytes]]) -> bool | None:
            return None if any(session.is_open for session in self._conversations(recorded)) else True

        # An app may keep its connection: such a session is saved as far as it has come.
        self._proxy.wait_until(all_ended, END_TIMEOUT_S)
        return [
            session.lines
            for session in self.sessions
            if session.upstream != MOCK and not session.summary.is_probe
        ]


@contextlib.contextmanager
def open_cassette(request: pytest.FixtureRequest, *, certs: Path) -> Iterator[Cassette]:
    """The fixture `smtp_cassette`: started, and stopped on leaving; a mistake fails the test in one line."""
    item = request.node
    path = None
    try:
        keywords = read_marker(item, "smtp_cassette", CASSETTE_KEYS)
        mode = read_mode(item.config)
        path = _path(item, keywords)
        playing = _playing(item, path, mode, keywords)
        flags = recording_flags(item.config, keywords, "" if playing is None else playing.upstream)
        route = _route(item.config, keywords, mode, playing)
        proxy = EmbeddedProxy(
            proxy_config(route, certs=certs), mock=None if playing is None else playing.mock
        )
        ready = proxy.start()
    except SmtpProxyError as error:
        words = str(error)
        if path is not None:
            words = words.replace(str(path), shown_path(path, item.config.rootpath))
        fail(in_words_of_pytest(words))
    try:
        yield Cassette(proxy, ready, item=item, mode=mode, path=path, playing=playing, flags=flags)
    finally:
        proxy.stop()


def _path(item: pytest.Item, keywords: dict[str, Any]) -> Path:
    root: Path = item.config.rootpath
    folder = root / item.config.getini("smtp_cassettes")
    if "path" in keywords:
        path = root / str(keywords["path"])
    elif "name" in keywords:
        name = Path(str(keywords["name"]))
        if name.is_absolute() or ".." in name.parts or not name.name:
            raise ConfigError(
                f"marker keyword name={str(name)!r}: it is a name below {folder}; path= leads elsewhere"
            )
        path = folder / name.with_name(name.name.removesuffix(SUFFIX) + SUFFIX)
    else:
        path = cassette_path(item, folder)
    if not path.name.endswith(SUFFIX):
        raise ConfigError(f"{path}: a recording's name ends in {SUFFIX}")
    return path


def _playing(
    item: pytest.Item, path: Path, mode: RecordMode, keywords: dict[str, Any]
) -> Playing | Unrecorded | None:
    """What is played, where this mode plays."""
    if mode in ("all", "rewrite"):
        return None
    if path.exists():
        return load_playing(
            path, keywords.get("match"), read_credentials(item.config), root=item.config.rootpath
        )
    return Unrecorded() if mode == "none" else None


def _route(
    config: pytest.Config, keywords: dict[str, Any], mode: RecordMode, playing: Playing | Unrecorded | None
) -> RouteConfig:
    if playing is None:
        return read_upstream(config, keywords, read_listen(keywords))
    listen = read_listen(keywords, default=playing.listen_scheme)
    beyond = read_upstream(config, keywords, listen) if mode == "new" else None
    return RouteConfig(listen=listen, upstream=Endpoint(scheme="mock"), beyond=beyond)
