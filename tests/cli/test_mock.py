"""`smtpproxy mock` as an app, a person and a CI job meet it: processes, sockets, exit codes, files."""

import json
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from smtpproxy.recording.codec import encode
from smtpproxy.recording.files import save_recording
from tests.cli.conftest import Run, keep
from tests.cli.running import DEADLINE_S, Running
from tests.conversation import Conversation, delivery
from tests.programs import program

MESSAGE = b"Date: now\r\nSubject: Hello\r\nFrom: Alice <alice@example.com>\r\n\r\nHi Bob,\r\n.dotted\r\n"


def save(path: Path, *talks: Conversation) -> Path:
    """A recording of these sessions."""
    save_recording(path, [[encode(event) for event in talk.events] for talk in talks])
    return path


def mock(folder: Path, *flags: str | Path, env: dict[str, str] | None = None) -> Running:
    """A mock on a free port, its authority in the test's folder."""
    listen = () if "--listen" in flags else ("--listen", "smtp://127.0.0.1:0")
    return Running(
        folder, *map(str, flags), *listen, "--certs", str(folder / "certs"), command=("mock",), env=env
    )


def send(port: int, *, sender: str = "alice@example.com") -> None:
    """What the recorded app does, done by smtplib."""
    with smtplib.SMTP("127.0.0.1", port, timeout=DEADLINE_S) as smtp:
        smtp.sendmail(sender, ["bob@example.com", "carol@example.com"], MESSAGE)


def port_of(running: Running) -> int:
    """Where it listens, from the header that people get."""
    lines = running.lines_until("  authority ")
    assert running.line() == "\n"
    return int(lines[1].split(" -> ")[0].rsplit(":", 1)[1])


def test_what_people_see(tmp_path: Path) -> None:
    save(tmp_path / "mail.smtp.jsonl", delivery())
    with mock(tmp_path, "mail.smtp.jsonl", "--once", "--quiet") as running:
        lines = running.lines_until("  authority ")
        assert lines[1].endswith(" -> the mock (1 session from mail.smtp.jsonl)\n")
        running.line()
        send(int(lines[1].split(" -> ")[0].rsplit(":", 1)[1]))
        code, rest = running.rest()
    assert code == 0
    assert rest[0].startswith("✓ same     mail.smtp.jsonl:1 · session 01KAAAA")
    assert rest[1].startswith("1 session, 1 same, 8 steps played in ")


def test_a_failure_is_told_with_what_to_do(tmp_path: Path) -> None:
    save(tmp_path / "mail.smtp.jsonl", delivery())
    with mock(tmp_path, "mail.smtp.jsonl", "--once", "--quiet", "--junit", "report.xml") as running:
        with pytest.raises(smtplib.SMTPSenderRefused, match="step 3 expects MAIL FROM:<alice@"):
            send(port_of(running), sender="mallory@example.com")
        code, rest = running.rest()
    text = "".join(rest)
    assert code == 1
    assert "      - <alice@example.com>\n      + <mallory@example.com>\n" in text
    assert '"match":{"steps":[{"n":4,"ignore":true}]}' in text
    suite = ET.parse(tmp_path / "report.xml").getroot()
    assert suite.attrib["failures"] == "1"


def test_what_programs_see(tmp_path: Path) -> None:
    save(tmp_path / "mail.smtp.jsonl", delivery())
    with mock(tmp_path, "mail.smtp.jsonl", "--json") as running:
        ready, port = running.ready()
        send(port)
        events = [running.event()]
        while events[-1]["kind"] != "end":
            events.append(running.event())
        code, rest = running.stop(signal.SIGTERM)
    assert (ready["kind"], ready["upstream"], ready["store"], ready["web"]) == (
        "ready",
        ["mock:"],
        None,
        None,
    )
    assert events[0]["upstream"] == "mock:"
    result, summary = map(json.loads, rest)
    assert (result["kind"], result["status"], result["source"]) == ("result", "same", "mail.smtp.jsonl")
    assert (summary["kind"], summary["sessions"], summary["same"]) == ("summary", 1, 1)
    assert code == 0


def test_stopped_before_all_was_played(tmp_path: Path) -> None:
    save(tmp_path / "mail.smtp.jsonl", delivery())
    with mock(tmp_path, "mail.smtp.jsonl", "--quiet") as running:
        port_of(running)
        code, rest = running.stop(signal.SIGINT)
    assert code == 1
    assert "no session of the app came for this recording" in "".join(rest)


def test_a_folder_is_played_by_path_and_probes_take_nothing(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    save(tmp_path / "b" / "2.smtp.jsonl", greeting("two"))
    save(tmp_path / "a.smtp.jsonl", greeting("one"), greeting("one and a half"))
    (tmp_path / "notes.txt").write_text("no recording")
    with mock(tmp_path, ".", "--once", "--quiet") as running:
        port = port_of(running)
        assert [hello(port, says=words) for words in ("", "QUIT", "", "QUIT", "QUIT")] == [
            "220 one",
            "220 one",
            "220 one and a half",
            "220 one and a half",
            "220 two",
        ]
        code, _ = running.rest()
    assert code == 0


def greeting(words: str) -> Conversation:
    """A session that only says goodbye."""
    session = "01K" + "".join(filter(str.isalpha, words)).upper()
    return Conversation(session).server(f"220 {words}").client("QUIT").server("221 bye").end("empty")


def hello(port: int, *, says: str) -> str:
    """The greeting, after which the app says this, if anything, and leaves."""
    with socket.create_connection(("127.0.0.1", port), DEADLINE_S) as sock, sock.makefile("rb") as lines:
        heard = lines.readline()
        if says:
            sock.sendall(says.encode() + b"\r\n")
            lines.readline()
        sock.shutdown(socket.SHUT_WR)
        assert lines.read() == b""
    return heard.decode().rstrip()


def test_one_session_too_many_is_a_failure(tmp_path: Path) -> None:
    save(tmp_path / "mail.smtp.jsonl", greeting("one"))
    with mock(tmp_path, "mail.smtp.jsonl", "--quiet") as running:
        port = port_of(running)
        hello(port, says="QUIT")
        assert hello(port, says="").startswith("421 4.3.2 smtpproxy mock: one session too many")
        code, rest = running.stop()
    assert code == 1
    assert "one session too many" in "".join(rest)


def test_rules_from_the_command_line(tmp_path: Path) -> None:
    save(tmp_path / "mail.smtp.jsonl", delivery())
    flags = ("--match", "addresses=ignore", "--match", "content=ignore")
    with mock(tmp_path, "mail.smtp.jsonl", "--once", "--quiet", *flags) as running:
        send(port_of(running), sender="anybody@example.net")
        code, _ = running.rest()
    assert code == 0


def test_a_session_of_the_store(tmp_path: Path, store: Path) -> None:
    keep(store, delivery())
    with mock(tmp_path, "latest", "--store", store, "--once", "--quiet") as running:
        send(port_of(running))
        code, _ = running.rest()
    assert code == 0


def test_implicit_tls_under_our_own_authority(tmp_path: Path) -> None:
    save(tmp_path / "mail.smtp.jsonl", delivery())
    with mock(tmp_path, "mail.smtp.jsonl", "--once", "--json", "--listen", "smtps://127.0.0.1:0") as running:
        ready, port = running.ready()
        context = ssl.create_default_context(cafile=ready["ca"])
        with smtplib.SMTP_SSL("127.0.0.1", port, context=context, timeout=DEADLINE_S) as smtp:
            smtp.sendmail("alice@example.com", ["bob@example.com", "carol@example.com"], MESSAGE)
        code, _ = running.rest()
    assert code == 0


def login() -> Conversation:
    """A session that logs in."""
    talk = Conversation().server("220 mx").client("EHLO app").server("250-mx", "250 AUTH CRAM-MD5")
    talk.client("AUTH CRAM-MD5", mechanism="CRAM-MD5").server("334 PDE4OTYuNjk3MTcwOTUyQG14Pg==")
    talk.sasl("{{secret}}", mechanism="CRAM-MD5").server("235 2.7.0 in")
    return talk.client("QUIT").server("221 bye").end("empty")


@pytest.mark.parametrize(("password", "expected"), [("sesame", 0), ("open", 1)])
def test_credentials_that_are_checked(tmp_path: Path, password: str, expected: int) -> None:
    save(tmp_path / "mail.smtp.jsonl", login())
    given = {"SMTPPROXY_USERNAME": "alice", "SMTPPROXY_PASSWORD": "sesame"}
    with mock(tmp_path, "mail.smtp.jsonl", "--once", "--json", "--check-credentials", env=given) as running:
        _, port = running.ready()
        with smtplib.SMTP("127.0.0.1", port, timeout=DEADLINE_S) as smtp:
            if expected:
                with pytest.raises(smtplib.SMTPAuthenticationError, match="a wrong password"):
                    smtp.login("alice", password)
            else:
                smtp.login("alice", password)
        code, rest = running.rest()
    assert code == expected
    assert "sesame" not in "".join(rest)


# ---- apps that nobody here wrote, each against a recording of itself


def app_of_smtplib(port: int, ca: Path) -> Sequence[str]:
    script = (
        "import smtplib, ssl, sys; s = smtplib.SMTP('127.0.0.1', int(sys.argv[1]), 'app.test');"
        "s.starttls(context=ssl.create_default_context(cafile=sys.argv[2])); s.login('alice', 'sesame');"
        "s.sendmail('app@example.test', ['bob@example.test'], 'Subject: x\\n\\n.dot\\n'); s.quit()"
    )
    return [sys.executable, "-c", script, str(port), str(ca)]


def app_of_swaks(port: int, ca: Path) -> Sequence[str]:
    command = [program("swaks"), "--server", f"127.0.0.1:{port}", "--ehlo", "app.test", "--tls"]
    command += ["--from", "app@example.test", "--to", "bob@example.test,eve@example.test"]
    return [
        *command,
        "--auth",
        "LOGIN",
        "--auth-user",
        "alice",
        "--auth-password",
        "sesame",
        "--h-Subject",
        "x",
    ]


def app_of_curl(port: int, ca: Path) -> Sequence[str]:
    body = ca.parent.parent / "curl-message"
    body.write_bytes(b"Subject: x\r\n\r\n.\r\n..\r\n")
    command = [program("curl"), "-s", "-S", "--cacert", str(ca), "--ssl-reqd", "--upload-file", str(body)]
    command += ["--url", f"smtp://127.0.0.1:{port}/app.test", "--mail-from", "app@example.test"]
    return [*command, "--mail-rcpt", "bob@example.test", "--user", "alice:sesame"]


def app_of_msmtp(port: int, ca: Path) -> Sequence[str]:
    command = [program("msmtp"), "--host=127.0.0.1", f"--port={port}", "--from=app@example.test"]
    command += ["--domain=app.test", "--tls=on", "--tls-starttls=on", f"--tls-trust-file={ca}", "--auth=off"]
    return [*command, "--", "bob@example.test"]


def app_of_perl(port: int, ca: Path) -> Sequence[str]:
    script = (
        "use Net::SMTP; my $s = Net::SMTP->new('127.0.0.1', Port => $ARGV[0], Hello => 'app.test') or die;"
        "$s->mail('app@example.test') or die; $s->to('bob@example.test') or die; $s->data() or die;"
        "$s->datasend(qq{Subject: x\\n\\n.dot\\n}) or die; $s->dataend() or die; $s->quit() or die;"
    )
    return [program("perl"), "-e", script, str(port)]


APPS = [app_of_smtplib, app_of_swaks, app_of_curl, app_of_msmtp, app_of_perl]


@pytest.mark.parametrize("app", APPS, ids=lambda app: app.__name__.removeprefix("app_of_"))
def test_an_app_against_its_own_recording(tmp_path: Path, smtpproxy: Run, app: Any) -> None:
    certs = str(tmp_path / "certs")
    flags = ("--json", "--listen", "smtp://127.0.0.1:0", "--store", "mail.db", "--certs", certs)
    with Running(tmp_path, *flags) as recording:
        ready, port = recording.ready()
        run_app(app(port, Path(ready["ca"])))
        assert recording.stop()[0] == 0
    assert smtpproxy("export", "latest", "--store", "mail.db", "-o", "app.smtp.jsonl").code == 0
    with mock(tmp_path, "app.smtp.jsonl", "--once", "--json") as running:
        ready, port = running.ready()
        run_app(app(port, Path(ready["ca"])))
        code, rest = running.rest()
    assert code == 0, rest


def run_app(command: Sequence[str]) -> None:
    """Run it to its end; it must succeed."""
    done = subprocess.run(
        command, input=b"Subject: x\n\nhello\n", capture_output=True, timeout=DEADLINE_S, check=False
    )
    assert done.returncode == 0, (done.stdout, done.stderr)


# ---- what cannot run: exit code 2, and a line that says why


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (b"", "there is no recorded session in it"),
        (b"nonsense\n", "bad.smtp.jsonl:1: "),
        (b'{"kind":"session","n":0,"session":"S","t":0,"format":99}\n', "bad.smtp.jsonl"),
    ],
)
def test_a_broken_recording(smtpproxy: Run, tmp_path: Path, lines: bytes, told: str) -> None:
    (tmp_path / "bad.smtp.jsonl").write_bytes(lines)
    ran = smtpproxy("mock", "bad.smtp.jsonl")
    assert ran.code == 2
    assert told in ran.err
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--match", "content"), "write KEY=VALUE"),
        (("--match", "colour=red"), "the keys are ehlo, addresses, parameters, content, ignore_headers"),
        (("--match", "content=most"), "Invalid enum value 'most'"),
        (("--listen", "mock:"), "listen URL"),
        (("--listen", "nonsense"), "listen URL"),
        (("--check-credentials",), "mail.smtp.jsonl"),
        (("--junit", "no/such/folder/report.xml"), "--junit"),
    ],
)
def test_flags_that_cannot_be(smtpproxy: Run, tmp_path: Path, flags: tuple[str, ...], told: str) -> None:
    save(tmp_path / "mail.smtp.jsonl", login())
    ran = smtpproxy("mock", "mail.smtp.jsonl", *flags)
    assert ran.code == 2
    assert told in ran.err


def test_no_recording(smtpproxy: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "there is no recording" in smtpproxy("mock", "empty").err
    assert "cannot be read" in smtpproxy("mock", "none.smtp.jsonl").err
