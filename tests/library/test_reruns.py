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


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "smtpproxy", *map(str, arguments)]


def environment(scenario: Scenario) -> dict[str, str]:
    """Ours, with the account of the scenario and no other."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SMTPPROXY_")}
    return kept | (scenario.account.environment if scenario.account else {})


def replay(scenario: Scenario, server: Target) -> subprocess.CompletedProcess[str]:
    """`smtpproxy replay` of its file; a reply that does not come in five seconds is a difference."""
    trust: list[str | Path] = ["--upstream-ca", server.ca] if server.ca else []
    return subprocess.run(
        command("replay", scenario.file, "--to", server.url, *trust, "--timeout", "5"),
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
def mock(scenario: Scenario, folder: Path) -> Iterator[Mock]:
    listen = f"{scenario.listen}://127.0.0.1:0"
    process = subprocess.Popen(
        command("mock", scenario.file, "--listen", listen, "--certs", folder / "certs", "--once", "--json"),
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
        done = replay(scenario, server)
    assert done.returncode == 0, done.stdout + done.stderr


@EVERY
def test_its_mock_satisfies_the_client(scenario: Scenario, tmp_path: Path) -> None:
    with mock(scenario, tmp_path) as server:
        server.play(scenario, tmp_path)
        code, output = server.end()
    assert code == 0, output


def test_another_server_is_another(tmp_path: Path) -> None:
    """The sandbox takes what Postfix refuses: were this the same, the tests above would show nothing."""
    refused = SCENARIOS["postfix-unknown-user-550"]
    with SCENARIOS["sandbox-accepted"].start_server(tmp_path) as server:
        done = replay(refused, server)
    assert done.returncode == 1
    assert "550" in done.stdout


def test_another_client_is_another(tmp_path: Path) -> None:
    with mock(SCENARIOS["sandbox-rcpt-550"], tmp_path) as server:
        server.play(SCENARIOS["sandbox-rcpt-451"], tmp_path)
        code, output = server.end()
    assert code == 1
    assert "rcpt-451@example.test" in output
