"""The pytest plugin: options, markers, fixtures, hooks; it imports nothing but pytest until a test uses it.

Every run of pytest loads this, whether or not its tests send mail: all else is imported where it is needed.
"""

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from smtpproxy.pytest_plugin.cassettes import Cassette
    from smtpproxy.pytest_plugin.collecting import RecordingFile
    from smtpproxy.pytest_plugin.live import LiveProxy

_SUFFIX = ".smtp.jsonl"
_LEVELS = ("class", "code", "enhanced", "text", "exact")
_MODES = ("none", "once", "new", "all", "rewrite")
_cassette = pytest.StashKey["Cassette"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """What can be said on the command line and in the configuration file."""
    group = parser.getgroup("smtpproxy", "smtpproxy: recorded SMTP")
    group.addoption(
        "--smtp-record-mode",
        choices=_MODES,
        help="what smtp_cassette does: none plays the recording (default); once records where there is none; "
        "new records sessions beyond the recorded ones; all records anew; rewrite too, if the test passes",
    )
    group.addoption("--smtp-upstream", metavar="URL", help="the server that is recorded, or sandbox:")
    group.addoption(
        "--smtp-upstream-ca", metavar="FILE", help="PEM file to trust instead of the system's roots"
    )
    group.addoption(
        "--smtp-replay-to",
        metavar="URL",
        help=f"collect *{_SUFFIX} files, and rerun each session against URL",
    )
    group.addoption("--smtp-replay-level", choices=_LEVELS, help="how replies are compared (default: code)")
    group.addoption(
        "--smtp-allow-rcpt",
        metavar="GLOB",
        action="append",
        default=[],
        help="recipients that a target off loopback may get mail for; repeatable",
    )
    group.addoption("--smtp-rcpt-to", metavar="ADDRESS", help="replay sends to this recipient alone")
    group.addoption(
        "--smtp-credentials", metavar="FILE", help="user names, passwords and tokens for AUTH (mode 0600)"
    )
    parser.addini("smtp_record_mode", "the record mode where --smtp-record-mode is not given")
    parser.addini("smtp_upstream", "URL of the server that smtp_proxy leads to and smtp_cassette records")
    parser.addini("smtp_upstream_ca", "PEM file to trust instead of the system's roots, relative to rootdir")
    parser.addini("smtp_cassettes", "the folder of cassettes, relative to rootdir", default="replay")


def pytest_configure(config: pytest.Config) -> None:
    """The markers, and a summary of this run's own."""
    config.pluginmanager.register(_Summary(), "smtpproxy-summary")
    if config.getoption("--smtp-replay-to"):
        from smtpproxy.errors import SmtpProxyError
        from smtpproxy.pytest_plugin.collecting import REPLAYING, Replaying
        from smtpproxy.pytest_plugin.settings import in_words_of_pytest

        try:
            config.stash[REPLAYING] = Replaying(config)
        except SmtpProxyError as error:
            raise pytest.UsageError(in_words_of_pytest(str(error))) from None
        # The sessions of a recording follow each other: a second one is taken because a first was greylisted.
        if getattr(config.option, "dist", "") == "load":  # pytest-xdist's, where nothing else was asked for
            config.option.dist = "loadfile"
    config.addinivalue_line(
        "markers",
        "smtp_proxy(*, upstream, upstream_ca, upstream_insecure, listen): "
        "where the fixture smtp_proxy leads, and how it listens (smtp, smtps, lmtp)",
    )
    config.addinivalue_line(
        "markers",
        "smtp_cassette(*, name, path, match, upstream, upstream_ca, upstream_insecure, listen): "
        "the recording of the fixture smtp_cassette, how it is matched, and what is recorded",
    )


@pytest.fixture(scope="session")
def _smtpproxy_certs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the run's own authority; nothing of the user's is touched."""
    return tmp_path_factory.mktemp("smtpproxy-certs")


@pytest.fixture
def smtp_proxy(request: pytest.FixtureRequest, _smtpproxy_certs: Path) -> Iterator["LiveProxy"]:
    """A live SMTP proxy for this test: .host .port .url .ca, then .sessions and .messages to assert on.

    It leads to the embedded sandbox, or to --smtp-upstream, the marker's upstream, or ini smtp_upstream.
    """
    from smtpproxy.pytest_plugin.live import open_live_proxy

    with open_live_proxy(request, certs=_smtpproxy_certs) as proxy:
        yield proxy


@pytest.fixture
def smtp_cassette(request: pytest.FixtureRequest, _smtpproxy_certs: Path) -> Iterator["Cassette"]:
    """The recorded SMTP provider of this test: .host .port .url .ca, then .session, .sessions and .messages.

    It plays the test's recording to the app; --smtp-record-mode makes or renews it.
    """
    from smtpproxy.pytest_plugin.cassettes import open_cassette

    with open_cassette(request, certs=_smtpproxy_certs) as cassette:
        request.node.stash[_cassette] = cassette
        yield cassette
        del request.node.stash[_cassette]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """What the recording has and the app did not say fails the test, like any assertion in it."""
    try:
        yield
    finally:
        cassette = item.stash.get(_cassette, None)
        if cassette is not None:
            cassette.is_test_over = True
    # A unittest.TestCase that failed has not raised: pytest collects what happened in it here.
    if cassette is not None and not getattr(item, "_excinfo", None):
        cassette.require_all_played()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Save what was recorded, now that it is known whether the test passed."""
    report = yield
    cassette = item.stash.get(_cassette, None)
    if cassette is not None and call.when == "call":
        if cassette.is_test_over:
            cassette.conclude(report)
        else:
            cassette.note_subtest(report)
    return report


class _Summary:
    """Tells which cassettes were written: they belong into a commit."""

    def __init__(self) -> None:
        self._saved: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember what was saved; under pytest-xdist the reports come from the workers."""
        saved = getattr(report, "smtp_cassette_saved", "")
        if saved:
            self._saved.append(saved)

    # Quoted: pytest has this name since 8.1, and an annotation that cannot be evaluated would end every run.
    def pytest_terminal_summary(self, terminalreporter: "pytest.TerminalReporter") -> None:
        """A line for each file."""
        if self._saved:
            terminalreporter.section("smtp cassettes written")
            for line in self._saved:
                terminalreporter.line(line)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> "RecordingFile | None":
    """Recordings are tests where there is a server to rerun them against."""
    if not parent.config.getoption("--smtp-replay-to") or not file_path.name.endswith(_SUFFIX):
        return None
    from smtpproxy.pytest_plugin.collecting import RecordingFile

    return RecordingFile.from_parent(parent, path=file_path)
