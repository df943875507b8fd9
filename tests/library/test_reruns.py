"""Every recording of the library rerun: against the server that it was recorded from, and as that server.

In the second case the recorded client plays again. It takes another way through the same file: a replay
reads the server's leg, a mock the client's.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.ends import PATIENCE_S
from tools.library.scenario import App, Scenario, Target
from tools.library.scenarios import SCENARIOS

EVERY = pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=lambda scenario: scenario.name)

LEGS_DIFFER = {"postfix-hidden-keywords", "postfix-upgraded-by-the-proxy"}
"""What the proxy did to these conversations is what they show: a replay of one leg is no app of the other."""


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "smtpproxy", *map(str, arguments)]


def environment(scenario: Scenario) -> dict[str, str]:
    """Ours, with the account of the scenario and no other."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SMTPPROXY_")}
    return kept | (scenario.account.environment if scenario.account else {})


def replay(server: Target, scenario: Scenario, *more: Scenario) -> subprocess.CompletedProcess[str]:
    """`smtpproxy replay` of their files; a reply that does not come in five seconds is a difference."""
    files = [scenario.file, *(one.file for one in more)]
    trust: list[str | Path] = ["--upstream-ca", server.ca] if server.ca else []
    return subprocess.run(
        command("replay", *files, "--to", server.url, *trust, "--timeout", "5"),
        capture_output=True,
        text=True,
        env=environment(scenario),
        timeout=PATIENCE_S * 2,
        check=False,
    )


class Mock:
    """A running `smtpproxy mock --once`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout is not None
        self.ready = json.loads(process.stdout.readline())

    def play(self, scenario: Scenario, folder: Path) -> None:
        """Let the scenario's app talk to it."""
        app = App(
            url=self.ready["listen"][0],
            ca=Path(self.ready["ca"]),
            folder=folder,
            account=scenario.account,
            topic=scenario.name,
        )
        scenario.play(app)

    def end(self) -> tuple[int, str]:
        """Its exit code and what it printed, once it has ended by itself."""
        output, _ = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, output


@contextmanager
def mock(folder: Path, scenario: Scenario, *more: Scenario) -> Iterator[Mock]:
    """All of them in this order; the first one's account, and its kind of listener."""
    files = [scenario.file, *(one.file for one in more)]
    listen = ["--listen", f"{scenario.listen}://127.0.0.1:0"]
    process = subprocess.Popen(
        command("mock", *files, *listen, "--certs", folder / "certs", "--once", "--json"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(scenario),
    )
    try:
        yield Mock(process)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


@EVERY
def test_the_server_still_says_the_same(scenario: Scenario, tmp_path: Path) -> None:
    with scenario.start_server(tmp_path) as server:
        done = replay(server, scenario)
    assert done.returncode == 0, done.stdout + done.stderr


@EVERY
def test_its_mock_satisfies_the_client(scenario: Scenario, tmp_path: Path) -> None:
    with mock(tmp_path, scenario) as server:
        server.play(scenario, tmp_path)
        code, output = server.end()
    assert code == 0, output


def test_client_and_server_of_the_same_recordings_agree(tmp_path: Path) -> None:
    """One replay of what one mock plays: the two legs of a recording are one conversation."""
    alike = [
        scenario
        for name, scenario in SCENARIOS.items()
        if scenario.listen == "smtp" and scenario.account is None and name not in LEGS_DIFFER
    ]
    with mock(tmp_path, *alike) as server:
        done = replay(Target(url=server.ready["listen"][0], ca=Path(server.ready["ca"])), *alike)
        assert done.returncode == 0, done.stdout + done.stderr
        code, output = server.end()
    assert code == 0, output


def test_another_server_is_another(tmp_path: Path) -> None:
    """The sandbox takes what Postfix refuses: were this the same, the tests above would show nothing."""
    refused = SCENARIOS["postfix-unknown-user-550"]
    with SCENARIOS["sandbox-accepted"].start_server(tmp_path) as server:
        done = replay(server, refused)
    assert done.returncode == 1
    assert "550" in done.stdout


def test_another_client_is_another(tmp_path: Path) -> None:
    with mock(tmp_path, SCENARIOS["sandbox-rcpt-550"]) as server:
        server.play(SCENARIOS["sandbox-rcpt-451"], tmp_path)
        code, output = server.end()
    assert code == 1
    assert "rcpt-451@example.test" in output
