"""`smtpproxy run` as a user and a script see it: what it prints, what it keeps, how it ends."""

import json
import os
import pty
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.running import DEADLINE_S, Running, clean_environment

LISTEN = ("--listen", "smtp://127.0.0.1:0")
MESSAGE = "Subject: hello\r\nTo: you@example.com\r\n\r\nHello, you.\r\n.with a dot\r\n"


def send(port: int, *, user: str = "", password: str = "", context: ssl.SSLContext | None = None) -> None:
    with smtplib.SMTP("127.0.0.1", port, "app.example", timeout=DEADLINE_S) as client:
        client.ehlo()
        if context is not None:
            client._host = "localhost"  # type: ignore[attr-defined]
            client.starttls(context=context)
        if user:
            client.login(user, password)
        client.sendmail("app@example.com", ["you@example.com"], MESSAGE)


def events_of_a_session(proxy: Running) -> list[dict[str, object]]:
    events = [proxy.event()]
    while events[-1]["kind"] != "end":
        events.append(proxy.event())
    return events


def test_a_script_gets_a_ready_line_and_then_events(tmp_path: Path) -> None:
    with Running(tmp_path, *LISTEN, "--store", "mail.db", "--certs", "certs", "--json") as proxy:
        ready, port = proxy.ready()
        assert list(ready) == ["kind", "listen", "upstream", "web", "live", "store", "ca"]
        assert ready == {
            "kind": "ready",
            "listen": [f"smtp://127.0.0.1:{port}"],
            "upstream": ["sandbox:"],
            "web": None,
            "live": None,
            "store": str(tmp_path / "mail.db"),
            "ca": str(tmp_path / "certs" / "ca.pem"),
        }
        assert (tmp_path / "certs" / "ca.pem").exists()
        assert (tmp_path / "mail.db").stat().st_mode & 0o777 == 0o600
        send(port)
        events = events_of_a_session(proxy)
        assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
        assert [event["n"] for event in events] == list(range(len(events)))
        assert events[0]["kind"] == "session"
        said = [event["raw"] for event in events if event["kind"] == "content"]
        assert "".join(map(str, said)) == MESSAGE.replace("\r\n.", "\r\n..") + ".\r\n"
        assert (events[-1]["outcome"], events[-1]["messages"]) == ("delivered", 1)
        assert proxy.stop() == (0, [])
        assert proxy.errors() == ""


def test_people_get_a_header_and_a_plain_transcript_in_a_pipe(tmp_path: Path) -> None:
    with Running(tmp_path, *LISTEN) as proxy:
        header, port = proxy.header()
        assert header[0].startswith("smtpproxy ")
        assert any(line.startswith("  try        swaks") and f"--port {port}" in line for line in header)
        send(port)
        shown = "".join(proxy.lines_until("end: delivered"))
        assert " -> mail from:<app@example.com>" in shown.lower()
        assert "<-  250" in shown or "<-| 250" in shown
        assert " -> Subject: hello" in shown
        assert "\x1b" not in shown
        assert proxy.stop()[0] == 0


def test_secrets_and_control_characters_stay_out_of_everything(tmp_path: Path) -> None:
    password = "correct-horse-battery"
    with Running(tmp_path, *LISTEN, "--store", "mail.db", "--log", "mail.log") as proxy:
        _, port = proxy.header()
        send(port, user="alice", password=password)
        shown = "".join(proxy.lines_until("end: delivered"))
        with (
            socket.create_connection(("127.0.0.1", port), DEADLINE_S) as client,
            client.makefile("rwb") as stream,
        ):
            stream.readline()
            stream.write(b"NOOP \x1b]52;c;aGk=\x07\r\nQUIT\r\n")
            stream.flush()
            assert len(stream.readlines()) == 2
        shown += "".join(proxy.lines_until("end: "))
        assert proxy.stop()[0] == 0
    assert "{{secret}}" in shown
    assert "\\x1b]52;c;aGk=\\x07" in shown
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()) + shown.encode()
    for secret in (password.encode(), b"\x1b]52"):
        assert secret not in kept
    assert b"alice" in kept


def test_quiet_says_nothing_but_the_first_line(tmp_path: Path) -> None:
    with Running(tmp_path, *LISTEN, "--json", "--quiet") as proxy:
        _, port = proxy.ready()
        send(port)
        assert proxy.stop() == (0, [])


def test_the_log_file_is_the_owners_and_is_appended_to(tmp_path: Path) -> None:
    for times in (1, 2):
        with Running(tmp_path, *LISTEN, "--json", "--quiet", "--log", "mail.log") as proxy:
            send(proxy.ready()[1])
            assert proxy.stop() == (0, [])
        assert (tmp_path / "mail.log").read_text().count("end: delivered") == times
    assert (tmp_path / "mail.log").stat().st_mode & 0o777 == 0o600


def test_without_a_store_nothing_is_kept_and_all_is_shown(tmp_path: Path) -> None:
    with Running(tmp_path, *LISTEN, "--store", "none", "--json") as proxy:
        ready, port = proxy.ready()
        assert ready["store"] is None
        send(port)
        assert events_of_a_session(proxy)[-1]["outcome"] == "delivered"
        assert proxy.stop()[0] == 0
    assert not list(tmp_path.rglob("*.db*"))


def test_variables_and_the_file_in_the_folder_count(tmp_path: Path) -> None:
    (tmp_path / "smtpproxy.toml").write_text(
        'json = true\nstore = "from-file.db"\n[[route]]\nname = "one"\nlisten = "smtp://127.0.0.1:0"\n'
    )
    with Running(tmp_path, env={"SMTPPROXY_STORE": "from-variable.db"}) as proxy:
        ready, port = proxy.ready()
        assert ready["store"] == str(tmp_path / "from-variable.db")
        send(port)
        assert events_of_a_session(proxy)[0]["route"] == "one"


def test_an_app_that_trusts_the_ca_can_use_starttls(tmp_path: Path) -> None:
    with Running(tmp_path, *LISTEN, "--json", "--keylog", "keys") as proxy:
        ready, port = proxy.ready()
        send(port, context=ssl.create_default_context(cafile=ready["ca"]))
        events = events_of_a_session(proxy)
        assert [(event["leg"], event["sni"]) for event in events if event["kind"] == "tls"] == [
            ("client", "localhost")
        ]
        assert "CLIENT_HANDSHAKE_TRAFFIC_SECRET" in (tmp_path / "keys" / "client-leg.keys").read_text()
        assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700


def test_one_proxy_before_another_records_both_legs(tmp_path: Path) -> None:
    with Running(tmp_path, *LISTEN, "--store", "far.db", "--certs", "far", "--json") as far:
        far_ready, far_port = far.ready()
        upstream = f"smtp+starttls://localhost:{far_port}"
        trust = ("--upstream-ca", far_ready["ca"])
        with Running(
            tmp_path, *LISTEN, "--upstream", upstream, *trust, "--store", "near.db", "--json"
        ) as near:
            ready, port = near.ready()
            assert ready["upstream"] == [upstream]
            send(port)
            events = events_of_a_session(near)
            assert [(event["leg"], event["verified"]) for event in events if event["kind"] == "tls"] == [
                ("server", True)
            ]
            assert events[-1]["outcome"] == "delivered"
            assert near.stop()[0] == 0
        assert events_of_a_session(far)[-1]["outcome"] == "delivered"


def test_a_client_between_commands_is_told_on_sigterm(tmp_path: Path) -> None:
    with Running(tmp_path, *LISTEN, "--json") as proxy:
        _, port = proxy.ready()
        with (
            socket.create_connection(("127.0.0.1", port), DEADLINE_S) as client,
            client.makefile("rwb") as stream,
        ):
            assert stream.readline().startswith(b"220 ")
            stream.write(b"EHLO app.example\r\n")
            stream.flush()
            while stream.readline()[3:4] == b"-":
                pass
            code, rest = proxy.stop(signal.SIGINT)
            assert stream.read().startswith(b"421 4.3.2 ")
    assert code == 0
    kinds = [json.loads(line)["kind"] for line in rest]
    assert (kinds[0], kinds[-1]) == ("session", "end")


def test_a_second_signal_ends_a_session_in_mid_message(tmp_path: Path) -> None:
    with Running(tmp_path, *LISTEN, "--json", "--shutdown-timeout", "1h") as proxy:
        _, port = proxy.ready()
        with smtplib.SMTP("127.0.0.1", port, "app.example", timeout=DEADLINE_S) as client:
            client.ehlo()
            client.mail("app@example.com")
            client.rcpt("you@example.com")
            assert client.docmd("DATA")[0] == 354
            client.send(b"Subject: half\r\n")
            proxy.process.send_signal(signal.SIGTERM)
            # Once nobody new is let in, the first signal has been seen; the message goes on meanwhile.
            wait_until_refused(port)
            client.send(b"\r\nnearly\r\n")
            code, rest = proxy.stop(signal.SIGTERM)
            client.close()
    assert code == 1
    assert "Subject: half" in "".join(rest)


def wait_until_refused(port: int) -> None:
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), DEADLINE_S).close()
        except OSError:
            return


def test_a_reader_that_goes_away_does_not_stop_the_mail(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-m", "smtpproxy", "run", "--no-web", *LISTEN, "--json", "--store", "mail.db"],
        cwd=tmp_path,
        env=clean_environment(tmp_path, {}),
        stdout=writing,
        stderr=subprocess.PIPE,
    ) as process:
        os.close(writing)
        try:
            with os.fdopen(reading) as pipe:
                port = int(json.loads(pipe.readline())["listen"][0].rsplit(":", 1)[1])
            send(port)
            send(port)
            process.terminate()
            _, errors = process.communicate(timeout=DEADLINE_S)
            assert (process.returncode, errors) == (0, b"")
        finally:
            process.kill()


@pytest.mark.parametrize(("env", "is_coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_a_terminal_gets_colours_unless_it_wants_none(
    tmp_path: Path, env: dict[str, str], is_coloured: bool
) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "smtpproxy", "run", "--no-web", *LISTEN, "--store", "none"],
        cwd=tmp_path,
        env={**clean_environment(tmp_path, {"TERM": "xterm"}), **env},
        stdout=theirs,
    )
    os.close(theirs)
    try:
        seen = read_until(ours, b"  try ")
        send(int(seen.split(b"smtp://127.0.0.1:")[1].split()[0]))
        seen += read_until(ours, b"end: delivered")
        assert (b"\x1b[36m" in seen) is is_coloured
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def read_until(fd: int, word: bytes) -> bytes:
    seen = b""
    while word not in seen:
        seen += os.read(fd, 4096)
    return seen


def test_a_users_mistake_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    with Running(tmp_path, *LISTEN, "--store", "mail.db", "--json") as other:
        _, taken = other.ready()
        for flags, says in {
            ("--listen", f"smtp://127.0.0.1:{taken}"): str(taken),
            ("--listen", "mail.example.com"): "has no scheme",
            (*LISTEN, "--upstream", "smtps://u:hunter2@mail.example.com"): "user info",
            (*LISTEN, "--upstream", "smtp://mail.example.com", "--upstream-ca", "no.pem"): "no.pem",
            (*LISTEN, "--listen-cert", "no.pem"): "no.pem",
            (*LISTEN, "--store", "mail.db"): "in use",
            (*LISTEN, "--store", "."): "folder",
            (*LISTEN, "--log", "."): "transcript",
            (*LISTEN, "--config", "no.toml"): "no such file",
            (*LISTEN, "--certs", "/dev/null/x"): "/dev/null",
            ("--listen", "smtp://127.0.0.1:2599", "--upstream", "smtp://localhost:2599"): "own listener",
            (*LISTEN, "--max-sessions", "none"): "whole number",
        }.items():
            store = () if "--store" in flags else ("--store", "other.db")
            with Running(tmp_path, *flags, *store) as proxy:
                errors = proxy.errors()
                assert proxy.process.returncode == 2, (flags, errors)
            assert errors.startswith("smtpproxy: ")
            assert errors.count("\n") == 1
            assert says in errors
            assert "hunter2" not in errors
        send(taken)


def test_a_listener_that_others_can_reach_is_warned_about(tmp_path: Path) -> None:
    flags = ("--listen", "smtp://0.0.0.0:0", "--upstream", "smtp://mail.example.com", "--json")
    with Running(tmp_path, *flags) as proxy:
        proxy.ready()
        assert proxy.stop()[0] == 0
        assert "open relay" in proxy.errors()
