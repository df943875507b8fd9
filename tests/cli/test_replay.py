"""`smtpproxy replay` as a user sees it: against our own sandbox and aiosmtpd, and where it cannot run."""

import json
import signal
import smtplib
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Sink

from smtpproxy.recording.codec import encode
from smtpproxy.recording.files import save_recording
from tests.cli.conftest import Run, keep
from tests.cli.running import DEADLINE_S, Running, clean_environment
from tests.conversation import Conversation, delivery
from tests.ends import PATIENCE_S, free_port

LISTEN = ("--listen", "smtp://127.0.0.1:0", "--listen", "smtps://127.0.0.1:0")
MESSAGE = "Subject: hello\r\nTo: you@example.com\r\n\r\nHello, you.\r\n.with a dot\r\n"


class Sandbox:
    """A running `smtpproxy run` with the sandbox behind it, and what it recorded of two clients."""

    def __init__(self, folder: Path, proxy: Running) -> None:
        ready, _ = proxy.ready()
        self.smtp, self.smtps = ready["listen"]
        self.ca = ready["ca"]
        self.folder = folder
        self.recording = folder / "mail.smtp.jsonl"
        port = int(self.smtp.rsplit(":", 1)[1])
        context = ssl.create_default_context(cafile=self.ca)
        with smtplib.SMTP("127.0.0.1", port, "app.example", timeout=DEADLINE_S) as client:
            client.sendmail("app@example.com", ["you@example.com"], MESSAGE)
        with smtplib.SMTP("localhost", port, "app.example", timeout=DEADLINE_S) as client:
            client.starttls(context=context)
            client.login("alice", "correct horse")
            client.sendmail("app@example.com", ["you@example.com", "x@example.com"], MESSAGE)
        ended = 0
        while ended < 2:
            ended += proxy.event()["kind"] == "end"


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    folder = tmp_path_factory.mktemp("sandbox")
    with Running(folder, *LISTEN, "--store", "mail.db", "--certs", "certs", "--json") as proxy:
        running = Sandbox(folder, proxy)
        subprocess.run(
            [
                sys.executable,
                "-m",
                "smtpproxy",
                "export",
                "--all",
                "--store",
                "mail.db",
                "-o",
                "mail.smtp.jsonl",
            ],
            cwd=folder,
            env=clean_environment(folder, {}),
            check=True,
            capture_output=True,
        )
        yield running


@pytest.fixture(autouse=True)
def _no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("USERNAME", "PASSWORD", "TOKEN"):
        monkeypatch.delenv(f"SMTPPROXY_{name}", raising=False)


def recorded(folder: Path, *talks: Conversation, name: str = "mail.smtp.jsonl") -> Path:
    path = folder / name
    save_recording(path, [[encode(event) for event in talk.events] for talk in talks])
    return path


def test_what_the_sandbox_said_it_says_again(
    sandbox: Sandbox, smtpproxy: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMTPPROXY_PASSWORD", "correct horse")
    localhost = sandbox.smtp.replace("127.0.0.1", "localhost")
    ran = smtpproxy(
        "replay", sandbox.recording, "--to", localhost, "--upstream-ca", sandbox.ca, "--level", "text"
    )
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines()[-1].startswith("2 sessions, 2 same, ")
    assert "correct horse" not in ran.out


def test_a_login_without_its_secret_is_refused_before_connecting(sandbox: Sandbox, smtpproxy: Run) -> None:
    ran = smtpproxy("replay", sandbox.recording, "--to", f"smtp://127.0.0.1:{free_port()}")
    assert (ran.code, ran.out) == (2, "")
    assert "(AUTH " in ran.err
    assert "as alice) needs a password" in ran.err


def test_implicit_tls_by_the_url(sandbox: Sandbox, smtpproxy: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMTPPROXY_PASSWORD", "correct horse")
    ran = smtpproxy(
        "replay",
        sandbox.recording,
        "--to",
        sandbox.smtps,
        "--upstream-ca",
        sandbox.ca,
        "--json",
        "--junit",
        "r.xml",
    )
    plain, upgraded, summary = [json.loads(line) for line in ran.out.splitlines()]
    assert ran.code == 1
    assert [found["text"].split(":")[0] for found in plain["differences"]] == ["extra upgrade"]
    assert (upgraded["status"], summary["kind"], summary["same"]) == ("same", "summary", 1)
    (suite,) = ElementTree.parse("r.xml").getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")


def test_sessions_of_the_store(sandbox: Sandbox, smtpproxy: Run, store: Path) -> None:
    talk = Conversation().server("220 x").client("EHLO app").server("250 x").client("QUIT").server("221 x")
    keep(store, talk.end("empty"))
    to = ("--to", sandbox.smtp, "--store", store)
    assert smtpproxy("replay", "latest", *to, "--quiet") == (0, "", "")
    assert f"session {talk.session}" in smtpproxy("replay", talk.session[:5], *to).out
    ran = smtpproxy("replay", "nosuchsession", *to)
    assert ran.code == 2
    assert "no session nosuchsession" in ran.err


def test_fifty_at_a_time_in_order(sandbox: Sandbox, smtpproxy: Run, tmp_path: Path) -> None:
    talks = []
    for number in range(50):
        talk = Conversation(f"01K{number:03}").server("220 x").client("EHLO app").server("250 x")
        talks.append(talk.client("NOOP").server("250 x").client("QUIT").server("221 x").end("empty"))
    (tmp_path / "b").mkdir()
    recorded(tmp_path, *talks[:20])
    recorded(tmp_path / "b", *talks[20:], name="a.smtp.jsonl")
    to = ("--to", sandbox.smtp, "--concurrency", "50", "--repeat", "4", "--json")
    ran = smtpproxy("replay", "mail.smtp.jsonl", "b", *to)
    *results, summary = [json.loads(line) for line in ran.out.splitlines()]
    assert (ran.code, summary["sessions"], summary["same"]) == (0, 200, 200)
    expected = [(f"01K{number:03}", attempt) for number in range(50) for attempt in (1, 2, 3, 4)]
    assert [(result["session"], result.get("attempt", 1)) for result in results] == expected


def test_aiosmtpd(smtpproxy: Run, tmp_path: Path) -> None:
    controller = Controller(Sink(), hostname="127.0.0.1", port=free_port(), server_hostname="mx")
    controller.start()
    try:
        talk = delivery()
        talk.events[3] = (
            Conversation()
            .client("x")
            .client("x")
            .server("250-mx", "250-SIZE 33554432", "250-8BITMIME", "250-SMTPUTF8", "250 HELP")
            .events[3]
        )
        path = recorded(tmp_path, talk)
        ran = smtpproxy("replay", path, "--to", f"smtp://127.0.0.1:{controller.port}")
        assert (ran.code, ran.err) == (0, ""), ran.out
    finally:
        controller.stop()


def test_a_difference_is_shown_with_its_step(sandbox: Sandbox, smtpproxy: Run, tmp_path: Path) -> None:
    path = recorded(tmp_path, Conversation().server("220 x").client("VRFY x").server("550 no").end("empty"))
    ran = smtpproxy("replay", path, "--to", sandbox.smtp)
    assert ran.code == 1
    assert "step 2 · VRFY x" in ran.out
    assert "- 550 no" in ran.out


def test_nobody_there_could_not_run(smtpproxy: Run, tmp_path: Path) -> None:
    ran = smtpproxy("replay", recorded(tmp_path, delivery()), "--to", f"smtp://127.0.0.1:{free_port()}")
    assert ran.code == 2
    assert "connection refused" in ran.out


def test_real_people_get_no_mail_by_accident(smtpproxy: Run, tmp_path: Path, sandbox: Sandbox) -> None:
    path = recorded(tmp_path, delivery())
    ran = smtpproxy("replay", path, "--to", "smtp://mx.example.com")
    assert (ran.code, ran.out) == (2, "")
    assert "--allow-rcpt '*@example.com'" in ran.err
    # What counts is whom it dials.
    address = sandbox.smtp.removeprefix("smtp://")
    assert smtpproxy("replay", path, "--to", "smtp://mx.example.com", "--connect-to", address, "-q").code != 2
    ran = smtpproxy("replay", path, "--to", sandbox.smtp, "--connect-to", "mx.example.com:25")
    assert "--connect-to mx.example.com:25 is off this machine" in ran.err


def test_a_dry_run_connects_to_nothing(smtpproxy: Run, sandbox: Sandbox, tmp_path: Path) -> None:
    nowhere = ("--to", f"smtp://127.0.0.1:{free_port()}", "--dry-run")
    ran = smtpproxy("replay", recorded(tmp_path, delivery()), *nowhere, "--rcpt-to", "me@example.net")
    assert ran.code == 0
    assert "RCPT TO:<me@example.net> (recorded: RCPT TO:<bob@example.com>)" in ran.out
    ran = smtpproxy("replay", sandbox.recording, *nowhere)
    assert ran.code == 2
    assert "AUTH CRAM-MD5" in ran.out
    assert "! step " in ran.out
    assert (
        smtpproxy("replay", recorded(tmp_path, delivery()), "--to", "smtp://mx.example.com", "--dry-run").code
        == 2
    )


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda data: data[:-20], "mail.smtp.jsonl:18: the last line is cut off"),
        (lambda data: data.replace(b'"format":1', b'"format":99'), "mail.smtp.jsonl:1: "),
        (lambda data: data.replace(b'"n":3', b'"n":1'), "mail.smtp.jsonl:4: event 1"),
        (lambda data: data.replace(b"DATA", b"DA\xffTA"), "mail.smtp.jsonl:11: "),
        (lambda data: b"", "there is no recorded session"),
        (
            lambda data: data.replace(b'"proxy":', b'"replay":{"level":"loud"},"proxy":'),
            "mail.smtp.jsonl:1: ",
        ),
        (
            lambda data: data.replace(b'"proxy":', b'"replay":{"steps":[{"n":1,"regex":"("}]},"proxy":'),
            "mail.smtp.jsonl:1: ",
        ),
        (lambda data: data.replace(b"RCPT TO:<bob@", b"MAIL TO:<bob@"), "mail.smtp.jsonl:1: step 4"),
    ],
)
def test_a_broken_file_is_refused_by_file_and_line(
    change: "object", told: str, smtpproxy: Run, tmp_path: Path
) -> None:
    path = recorded(tmp_path, delivery())
    path.write_bytes(change(path.read_bytes()))  # type: ignore[operator]
    ran = smtpproxy("replay", "mail.smtp.jsonl", "--to", f"smtp://127.0.0.1:{free_port()}")
    assert (ran.code, ran.out) == (2, "")
    assert told in ran.err


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--to", "127.0.0.1:25"), "has no scheme"),
        (("--to", "sandbox:"), "nothing listens there; name a server"),
        (("--to", "smtp://user:pw@x"), "carries user info"),
        (("--connect-to", "nowhere"), "--connect-to must be HOST:PORT"),
        (("--rcpt-to", "a b"), "--rcpt-to 'a b' is not an address"),
        (("--speed", "fast"), "neither none nor recorded"),
        (("--credentials", "/nowhere"), "--credentials /nowhere cannot be read"),
        (("--upstream-ca", "/nowhere"), "--upstream-ca /nowhere: No such file"),
        (("--junit", "/nowhere/r.xml"), "--junit /nowhere/r.xml cannot be written"),
        (("--level", "loud"), "loud"),
    ],
)
def test_a_wrong_flag_is_one_line(flags: tuple[str, ...], told: str, smtpproxy: Run, tmp_path: Path) -> None:
    path = recorded(tmp_path, delivery())
    ran = smtpproxy("replay", path, "--to", f"smtp://127.0.0.1:{free_port()}", *flags)
    assert (ran.code, ran.out) == (2, "")
    assert told in ran.err
    assert "Traceback" not in ran.err


def test_ctrl_c_ends_with_what_there_is(sandbox: Sandbox, tmp_path: Path) -> None:
    talk = Conversation().server("220 x").client("EHLO app").server("250 x").client("QUIT").server("221 x")
    quick = recorded(tmp_path, talk.end("empty"), name="a.smtp.jsonl")
    slow = (
        Conversation("01KSLOW")
        .server("220 x")
        .client("EHLO app")
        .server("250 x")
        .client("NOOP")
        .server("250 x")
    )
    slow.events[4].t = 500.0
    recorded(tmp_path, slow.end("empty"), name="b.smtp.jsonl")
    with subprocess.Popen(
        [
            sys.executable,
            "-m",
            "smtpproxy",
            "replay",
            ".",
            "--to",
            sandbox.smtp,
            "--speed",
            "recorded",
            "--json",
        ],
        cwd=tmp_path,
        env=clean_environment(tmp_path, {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        assert first["source"] == quick.name
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 2
    assert json.loads(out)["sessions"] == 1
    assert b"interrupted: 1 of 2 sessions were played to their end" in err
