"""Records one scenario through `smtpproxy run`, exports it, and looks whether it shows what it is to show."""

import json
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from smtpproxy.recording.files import load_recording
from smtpproxy.session.events import End, Reply
from tests.real.proxy import Proxy, run_proxy, smtpproxy
from tests.real.recorded import forms_of
from tools.library.scenario import App, Scenario, Target

UPSTREAM_NAME = "mx.example.test"
"""What the app's settings would name; the proxy dials the server's free port instead."""


class NotShownError(Exception):
    """The conversation did not go as the scenario says; the message is for whoever runs the script."""


def record(scenario: Scenario, folder: Path, file: Path) -> None:
    """Start server and proxy, let the app play, export all sessions to the file.

    Args:
        scenario: what to record.
        folder: empty, for everything that is not the recording.
        file: the recording; replaced where there is one, and only if it shows what it is to show.

    Raises:
        NotShownError: it does not.
        pytest.skip.Exception: a program is not installed, or root is needed.
    """
    with _recording_proxy(scenario, folder) as proxy:
        scenario.play(
            App(
                url=proxy.listen[0],
                ca=proxy.ca,
                folder=_made(folder / "app"),
                account=scenario.account,
                topic=scenario.name,
            )
        )
        proxy.sessions(0, len(scenario.outcomes))
    exported = _made(folder / "exported") / file.name
    smtpproxy("export", "--all", "--store", proxy.store, "-o", exported)
    if scenario.ignored_headers:
        _tell_mocks(exported, scenario.ignored_headers)
    check(scenario, exported, private=[str(folder), socket.gethostname()])
    file.write_bytes(exported.read_bytes())


def check(scenario: Scenario, file: Path, private: list[str] | None = None) -> None:
    """Look whether a recording shows what its scenario says, and nothing that it must not.

    Raises:
        NotShownError: it does not.
        RecordingError: it is no recording.
    """
    events = [recorded.event for recorded in load_recording(file)]
    outcomes = tuple(event.outcome for event in events if isinstance(event, End))
    if outcomes != scenario.outcomes:
        raise NotShownError(f"{scenario.name}: {outcomes} came of it, not {scenario.outcomes}")
    codes = {event.code for event in events if isinstance(event, Reply) and event.to == "client"}
    if scenario.code not in codes:
        raise NotShownError(f"{scenario.name}: the client was never told {scenario.code}")
    text = file.read_text()
    secrets = scenario.account.secrets if scenario.account else ()
    if any(form in text.encode() for secret in secrets for form in forms_of(secret)):
        raise NotShownError(f"{scenario.name}: a secret is in it")
    # Certificates are left out: a short host name is soon found in base64.
    spoken = "\n".join(line for line in text.splitlines() if '"certificates":' not in line)
    words = [word for word in private or [] if word != "localhost"]
    if told := [word for word in words if re.search(rf"(?<!\w){re.escape(word)}(?!\w)", spoken)]:
        raise NotShownError(f"{scenario.name}: it tells of this machine: {told}")


def _tell_mocks(file: Path, headers: tuple[str, ...]) -> None:
    """Add to each line that opens a session what of the message need not match (docs/recording-format.md)."""
    match = json.dumps({"ignore_headers": headers}, separators=(",", ":"))
    lines = file.read_text().splitlines()
    opened = [
        f'{line[:-1]},"match":{match}}}' if line.startswith('{"kind":"session"') else line for line in lines
    ]
    file.write_text("".join(f"{line}\n" for line in opened))


@contextmanager
def _recording_proxy(scenario: Scenario, folder: Path) -> Iterator[Proxy]:
    listen = f"{scenario.listen}://127.0.0.1:0"
    if scenario.is_sandbox:
        with run_proxy(folder / "proxy", (listen, None)) as proxy:
            yield proxy
        return
    with scenario.start_server(_made(folder / "server")) as server:
        scheme = urlsplit(server.url).scheme
        with run_proxy(
            folder / "proxy",
            (listen, f"{scheme}://{UPSTREAM_NAME}"),
            upstream_ca=server.ca,
            arguments=["--connect-to", _address_of(server)],
        ) as proxy:
            yield proxy


def _address_of(server: Target) -> str:
    return f"127.0.0.1:{urlsplit(server.url).port}"


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
