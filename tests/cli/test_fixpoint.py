"""Record, replay against a mock of that recording, record again: the same recording, by processes."""

import json
import smtplib
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.cli.running import DEADLINE_S, Running, clean_environment

ACCOUNT = {"SMTPPROXY_USERNAME": "alice", "SMTPPROXY_PASSWORD": "open sesame"}
MESSAGE = b"From: a@example.com\r\nSubject: fixpoint\r\n\r\n.\r\nHello\r\n"
ANOTHER_EACH_TIME = ("session", "t", "started", "client", "listen", "upstream", "certificates")


def smtpproxy(folder: Path, *arguments: str) -> None:
    """Run a command that ends by itself, and well."""
    command = [sys.executable, "-m", "smtpproxy", *arguments]
    environment = clean_environment(folder, ACCOUNT)
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, timeout=DEADLINE_S, check=False
    )
    assert done.returncode == 0, (done.stdout.decode(), done.stderr.decode())


def send(port: int, ca: Path) -> None:
    """An app that upgrades, logs in, sends to two, and says goodbye."""
    with smtplib.SMTP("127.0.0.1", port, "app.test", timeout=DEADLINE_S) as smtp:
        smtp.starttls(context=ssl.create_default_context(cafile=str(ca)))
        smtp.login("alice", "open sesame")
        refused = smtp.sendmail("a@example.com", ["b@example.com", "rcpt-550@example.com"], MESSAGE)
        assert list(refused) == ["rcpt-550@example.com"]


def rerun(folder: Path, recording: str, again: str) -> None:
    """Replay a recording through a recording proxy against a mock of it."""
    certs = ("--certs", "certs")
    playing = ("--once", "--json", "--leg", "server", "--listen", "smtp://127.0.0.1:0", *certs)
    with Running(folder, recording, *playing, command=("mock",)) as mock:
        ready, port = mock.ready()
        ca = str(ready["ca"])
        upstream = ("--upstream", f"smtp://127.0.0.1:{port}", "--upstream-ca", ca)
        flags = ("--json", "--listen", "smtp://127.0.0.1:0", "--store", f"{again}.db", *certs, *upstream)
        with Running(folder, *flags) as proxy:
            _, port = proxy.ready()
            smtpproxy(folder, "replay", recording, "--to", f"smtp://127.0.0.1:{port}", "--upstream-ca", ca)
            assert proxy.stop()[0] == 0
        code, rest = mock.rest()
        assert code == 0, rest
    smtpproxy(folder, "export", "latest", "--store", f"{again}.db", "-o", again)


def normal(path: Path) -> list[dict[str, Any]]:
    """A recording's events without what is another one each time."""
    events = [json.loads(line) for line in path.read_text().splitlines()]
    return [{key: value for key, value in event.items() if key not in ANOTHER_EACH_TIME} for event in events]


def client_leg(path: Path) -> list[tuple[bool, str]]:
    """What the client said and heard, for recordings of which one has a leg that the other has not."""
    said = [event for event in normal(path) if "client" in (event.get("from"), event.get("to"))]
    return [(event["from"] == "client", event["raw"]) for event in said]


def test_a_recording_rerun_against_its_mock_is_recorded_the_same(tmp_path: Path) -> None:
    flags = ("--json", "--listen", "smtp://127.0.0.1:0", "--store", "first.db", "--certs", "certs")
    with Running(tmp_path, *flags) as proxy:
        ready, port = proxy.ready()
        send(port, Path(ready["ca"]))
        assert proxy.stop()[0] == 0
    smtpproxy(tmp_path, "export", "latest", "--store", "first.db", "-o", "first.smtp.jsonl")
    rerun(tmp_path, "first.smtp.jsonl", "second.smtp.jsonl")
    assert client_leg(tmp_path / "second.smtp.jsonl") == client_leg(tmp_path / "first.smtp.jsonl")
    rerun(tmp_path, "second.smtp.jsonl", "third.smtp.jsonl")
    assert normal(tmp_path / "third.smtp.jsonl") == normal(tmp_path / "second.smtp.jsonl")
