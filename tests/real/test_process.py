"""The process itself: stopped, killed at any moment, out of disk, and refused what it cannot have."""

import json
import random
import resource
import signal
import smtplib
import socket
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.ends import PATIENCE_S, End, Patience, ScriptedServer, client, is_listening, serve_ehlo
from tests.programs import program
from tests.real.proxy import COMMAND, Proxy, run_proxy, smtpproxy

SANDBOX = ("smtp://127.0.0.1:0", None)


def listed(store: Path) -> list[dict[str, Any]]:
    """The sessions as `smtpproxy sessions --json` has them."""
    return [json.loads(line) for line in smtpproxy("sessions", "--store", store, "--json").splitlines()]


# stopping


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_stopped_between_commands(tmp_path: Path, how: signal.Signals) -> None:
    with run_proxy(tmp_path, SANDBOX) as proxy, client(proxy.port) as app:
        app.reply()
        app.ask("EHLO app")
        proxy.process.send_signal(how)
        assert app.reply().startswith(b"421 4.3.2 ")
        assert app.to_end() == b""
        app.close()
        assert proxy.wait() == 0
        (session,) = proxy.sessions(0)
        assert "shutdown" in session.findings


def test_stopped_in_the_middle_of_a_message(tmp_path: Path) -> None:
    def server(end: End) -> None:
        serve_ehlo(end)
        for reply in (b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"):
            end.line()
            end.say(reply)
        end.until(b"\r\n.\r\n")
        end.say(b"250 2.0.0 queued all the same\r\n")
        end.to_end()

    with ScriptedServer(server) as provider:
        route = ("smtp://127.0.0.1:0", f"smtp://127.0.0.1:{provider.port}")
        with run_proxy(tmp_path, route) as proxy, client(proxy.port) as app:
            app.reply()
            app.ask("EHLO app")
            app.ask("MAIL FROM:<a@b.test>")
            app.ask("RCPT TO:<c@d.test>")
            app.ask("DATA")
            app.say(b"Subject: cut?\r\n\r\nfirst half\r\n")
            proxy.process.terminate()
            Patience("the listener to close").until(lambda: not is_listening(proxy.port))
            app.say(b"second half\r\n.\r\n")
            assert app.reply() == b"250 2.0.0 queued all the same\r\n"
            assert app.reply().startswith(b"421 4.3.2 ")
            assert app.to_end() == b""
            app.close()
            assert proxy.wait() == 0
            session = proxy.session(0)
    assert session.content() == b"Subject: cut?\r\n\r\nfirst half\r\nsecond half\r\n"
    assert session.outcome == "delivered"
    (row,) = [row for row in listed(proxy.store) if row["messages"]]
    assert row["outcome"] == "delivered"


# killed


@pytest.mark.parametrize("seed", range(5))
def test_killed_at_a_random_moment(tmp_path: Path, seed: int) -> None:
    moment = random.Random(seed).randrange(1, 400)
    with run_proxy(tmp_path, SANDBOX) as proxy:
        source = subprocess.Popen(
            [
                program("smtp-source"),
                *("-s", "4", "-m", "500", "-l", "20000", "-t", "bob@example.test"),
                f"127.0.0.1:{proxy.port}",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        Patience(f"{moment} events").until(lambda: len(proxy.lines) >= moment)
        proxy.process.kill()
        proxy.wait()
        source.wait()

    rows = listed(proxy.store)
    check_store(proxy)
    assert rows, "what had happened by then is there"

    with run_proxy(tmp_path, SANDBOX) as proxy:
        assert {row["outcome"] for row in listed(proxy.store)} <= {"delivered", "interrupted", "empty"}
        with client(proxy.port) as app:
            app.reply()
            app.ask("EHLO again")
            app.ask("QUIT")
        proxy.session(0)
    assert len(listed(proxy.store)) >= len(rows) + 1


def check_store(proxy: Proxy) -> None:
    """Nothing is corrupt, and no session has a hole that no `gap` tells of."""
    with closing(sqlite3.connect(proxy.store)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        runs = database.execute("SELECT lines FROM runs ORDER BY seq").fetchall()
    lines = [line for (run,) in runs for line in run.split(b"\n")]
    sessions: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        event = json.loads(line)
        sessions.setdefault(event["session"], []).append(event)
    assert sessions
    for events in sessions.values():
        # A gap has the number of the first event that is missing, and is written once the store works again.
        missing = sum(event["events"] for event in events if event["kind"] == "gap")
        kept = [event["n"] for event in events if event["kind"] != "gap"]
        assert len(set(kept)) == len(kept)
        assert len(kept) + missing == max(kept) + 1, events


def test_session_cut_by_the_kill_is_interrupted(tmp_path: Path) -> None:
    with run_proxy(tmp_path, SANDBOX) as proxy, client(proxy.port) as app:
        app.reply()
        app.ask("EHLO app")
        app.ask("MAIL FROM:<a@b.test>")
        proxy.wait_for_event(0, lambda event: event.get("verb") == "MAIL")
        proxy.process.kill()
        proxy.wait()
    with run_proxy(tmp_path, SANDBOX) as proxy:
        (row,) = listed(proxy.store)
    assert row["outcome"] == "interrupted"
    assert row["mail_from"] == "a@b.test"


# out of disk


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A file system of two megabytes."""
    folder.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m,mode=700", "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("only root outside of a container may mount a small file system")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def send(proxy: Proxy, number: int) -> None:
    """Send a message of 128 KiB; it must be taken."""
    with smtplib.SMTP("127.0.0.1", proxy.port, "app.test", timeout=PATIENCE_S) as smtp:
        body = b"Subject: number %d\r\n\r\n" % number + (b"x" * 70 + b"\r\n") * 1_820
        assert smtp.sendmail("a@b.test", ["c@d.test"], body) == {}


def test_full_disk_does_not_stop_the_mail(tmp_path: Path) -> None:
    store = tmp_path / "store"
    with small_disk(store), run_proxy(tmp_path, SANDBOX) as proxy:
        for number in range(100):
            send(proxy, number)
        Patience("the console to say so").until(lambda: "recording drops events" in proxy.stderr())
        subprocess.run(["mount", "-o", "remount,size=64m", str(store)], check=True)
        assert "gap" in kinds_after_recovery(proxy)
        assert listed(proxy.store), "it can be read beside the proxy"
        proxy.stop()
        check_store(proxy)


def test_file_size_limit_does_not_stop_the_mail(tmp_path: Path) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, hard))

    with run_proxy(tmp_path, SANDBOX, preexec=limit) as proxy:
        for number in range(100):
            send(proxy, number)
        Patience("the console to say so").until(lambda: "recording drops events" in proxy.stderr())
        resource.prlimit(proxy.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
        assert "gap" in kinds_after_recovery(proxy)
        assert listed(proxy.store), "it can be read beside the proxy"
        proxy.stop()
        check_store(proxy)


def kinds_after_recovery(proxy: Proxy) -> set[str]:
    """Connect until a session is recorded again; the kinds of events that are printed until the gap is told.

    What was said while recording dropped only content may be printed ahead of the gap.
    """

    def is_recorded() -> bool:
        before = proxy.mark()
        with client(proxy.port) as app:
            app.reply()
            app.ask("EHLO recovered")
            app.ask("QUIT")
        return proxy.mark() > before and "EHLO recovered" in "".join(proxy.lines[-20:])

    Patience("recording to go on").until(is_recorded)
    Patience("the gap to be told").until(lambda: '"kind":"gap"' in "".join(proxy.lines))
    return {json.loads(line)["kind"] for line in proxy.lines}


# refused


def refused(*arguments: str | Path) -> str:
    """A command that cannot be done: exit status 2, one line for people, no traceback; that line."""
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 2, (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    return done.stderr


def test_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        text = refused(
            *("run", "--no-web", "--listen", f"smtp://127.0.0.1:{port}"),
            *("--store", tmp_path / "mail.db", "--certs", tmp_path / "certs"),
        )
    assert str(port) in text


def test_store_that_is_in_use(tmp_path: Path) -> None:
    with run_proxy(tmp_path, SANDBOX) as proxy:
        text = refused(
            *("run", "--no-web", "--listen", "smtp://127.0.0.1:0"),
            *("--store", proxy.store, "--certs", tmp_path / "certs"),
        )
    assert str(proxy.store) in text


@pytest.mark.parametrize(
    "arguments",
    [
        ["--upstream", "smtp://alice:Kestrel27@mail.test"],
        ["--upstream", "gopher://mail.test"],
        ["--upstream", "smtp://127.0.0.1:0"],
        ["--upstream-ca", "/nonexistent/ca.pem", "--upstream", "smtps://mail.test"],
    ],
    ids=["user info", "scheme", "port 0", "no such CA"],
)
def test_wrong_arguments(tmp_path: Path, arguments: list[str]) -> None:
    text = refused(
        *("run", "--no-web", "--listen", "smtp://127.0.0.1:0", *arguments),
        *("--store", tmp_path / "mail.db", "--certs", tmp_path / "certs"),
    )
    assert "Kestrel27" not in text


def test_files_are_for_their_owner_only(tmp_path: Path) -> None:
    with run_proxy(tmp_path, SANDBOX) as proxy:
        send(proxy, 0)
        kept = [proxy.store, *proxy.store.parent.glob("mail.db*"), *(tmp_path / "certs").rglob("*.key")]
        assert len(kept) >= 3
        assert [file for file in kept if file.stat().st_mode & 0o077] == []
