"""`smtpproxy watch` beside a real proxy: what it shows, and that no break loses or doubles anything."""

import base64
import hashlib
import json
import os
import pty
import signal
import smtplib
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from smtpproxy.errors import ConfigError
from smtpproxy.web.client import PageUrl, parse_page_url
from tests.cli.conftest import Run
from tests.cli.running import DEADLINE_S, Running, clean_environment

HOSTILE = rb'{"error":{"code":"x","text":"\u001b[31mred\u202e\n"}}'
TOKEN = "correct-horse-battery-staple"


class Proxy(Running):
    """A proxy with a page, on a port that a later one can have again."""

    def __init__(self, folder: Path, *flags: str, page_port: int = 0) -> None:
        ends = ("--listen", "smtp://127.0.0.1:0", "--web", f"127.0.0.1:{page_port}", "--store", "mail.db")
        super().__init__(folder, "--json", "--quiet", *ends, *flags, command=("run",))
        first, self.port = self.ready()
        self.url: str = first["web"]
        self.page_port = int(self.url.rsplit(":", 1)[1])

    def deliver(self, subject: str = "hello", *, to: str = "you@example.com") -> None:
        with smtplib.SMTP("127.0.0.1", self.port, "app.example", timeout=DEADLINE_S) as client:
            client.sendmail("app@example.com", [to], f"Subject: {subject}\r\n\r\nHello.\r\n".encode())


class Watch(Running):
    """`smtpproxy watch`, in a process of its own."""

    def __init__(self, folder: Path, *arguments: str, env: dict[str, str] | None = None) -> None:
        super().__init__(folder, *arguments, env=env, command=("watch",))

    def said(self, words: str) -> str:
        """Wait for a line on standard error."""
        assert self.process.stderr is not None
        line = self.process.stderr.readline().decode()
        assert words in line
        return line

    def events(self, ends: int = 1) -> list[dict[str, object]]:
        """All event lines up to the end of so many sessions."""
        events = []
        while ends:
            events.append(self.event())
            ends -= events[-1]["kind"] == "end"
        return events


def seqs(events: list[dict[str, object]]) -> list[object]:
    return [event["seq"] for event in events]


def test_people_see_what_run_would_show(tmp_path: Path) -> None:
    with Proxy(tmp_path) as proxy, Watch(tmp_path, "--url", proxy.url) as watch:
        watch.said(f"smtpproxy: watching {proxy.url}\n")
        proxy.deliver("hello \x1b[31mred")
        shown = "".join(watch.lines_until("end: delivered"))
        assert " -> mail FROM:<app@example.com>" in shown
        assert " -> Subject: hello \\x1b[31mred" in shown
        assert "=== session " in shown
        assert "\x1b" not in shown
        assert watch.stop(signal.SIGINT) == (0, [])
        assert watch.errors() == ""


def test_programs_get_the_lines_that_run_prints(tmp_path: Path) -> None:
    with Proxy(tmp_path) as proxy:
        proxy.deliver("first")
        with Watch(tmp_path, "--url", proxy.url, "--json", "--after", "0") as watch:
            proxy.deliver("second")
            events = watch.events(2)
            assert seqs(events) == list(range(1, len(events) + 1))
            assert "second" in "".join(str(e.get("raw")) for e in events if e["kind"] == "content")
            assert watch.stop() == (0, [])
        with Watch(tmp_path, "--json", "--after", "3", env={"SMTPPROXY_WEB_URL": proxy.url}) as watch:
            assert watch.events(1)[0]["seq"] == 4


def test_a_filter_chooses_sessions(tmp_path: Path) -> None:
    with Proxy(tmp_path) as proxy:
        proxy.deliver("one", to="a@example.com")
        proxy.deliver("two", to="b@example.com")
        command = ("--json", "--after", "0", "to:*@example.com", "-to:a@example.com")
        with Watch(tmp_path, "--url", proxy.url, *command) as watch:
            said = [event.get("raw") for event in watch.events()]
    assert "rcpt TO:<b@example.com>\r\n" in said
    assert "rcpt TO:<a@example.com>\r\n" not in said


@pytest.mark.parametrize("is_killed", [False, True])
def test_a_restart_loses_nothing_and_doubles_nothing(tmp_path: Path, is_killed: bool) -> None:
    with Proxy(tmp_path) as first:
        watch = Watch(tmp_path, "--url", first.url, "--json", "--after", "0")
        with watch:
            first.deliver("one")
            events = watch.events()
            watch.said("watching")
            first.process.send_signal(signal.SIGKILL if is_killed else signal.SIGTERM)
            first.process.wait(DEADLINE_S)
            watch.said("is lost")
            with Proxy(tmp_path, page_port=first.page_port) as second:
                for subject in ("two", "three"):
                    second.deliver(subject)
                events += watch.events(2)
                watch.said(f"connected again to {first.url}\n")
                second.deliver("four")
                events += watch.events()
                assert (watch.stop(signal.SIGINT)[0], watch.errors()) == (0, "")
            assert seqs(events) == list(range(1, len(events) + 1))
            assert [event["n"] for event in events if event["kind"] == "session"] == [0] * 4


def test_ctrl_c_ends_it_while_it_connects_again(tmp_path: Path) -> None:
    with Proxy(tmp_path) as proxy, Watch(tmp_path, "--url", proxy.url) as watch:
        watch.said("watching")
        proxy.stop()
        watch.said("is lost")
        assert (watch.stop(signal.SIGINT), watch.errors()) == ((0, []), "")


def test_where_it_began_counts_though_nothing_was_seen(tmp_path: Path) -> None:
    with Proxy(tmp_path) as first:
        first.deliver("one")
        with Watch(tmp_path, "--url", first.url, "--json") as watch:
            watch.said("watching")
            assert first.stop()[0] == 0
            watch.said("is lost (it is stopping)")
            with Proxy(tmp_path, page_port=first.page_port) as second:
                second.deliver("two")
                events = watch.events()
            assert "two" in "".join(str(e.get("raw")) for e in events if e["kind"] == "content")
            assert events[0]["n"] == 0


def test_another_log_is_told(tmp_path: Path) -> None:
    with Proxy(tmp_path) as first, Watch(tmp_path, "--url", first.url, "--json", "--after", "0") as watch:
        watch.said("watching")
        first.deliver("one")
        watch.events()
        first.stop()
        watch.said("is lost")
        with Proxy(tmp_path, "--store", "other.db", page_port=first.page_port) as second:
            watch.said("has another log now")
            watch.said("connected again")
            second.deliver("two")
            assert watch.events()[0]["seq"] == 1


def test_nobody_there_is_one_line(smtpproxy: Run) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        ran = smtpproxy("watch", "--url", f"127.0.0.1:{port}")
    url = f"http://127.0.0.1:{port}"
    assert ran == (
        2,
        "",
        f"smtpproxy: cannot watch {url}: connection refused; is it running? Start it by smtpproxy run"
        f" --web 127.0.0.1:{port}, or name another page by --url\n",
    )


def test_a_mistake_in_the_filter_is_pointed_at(smtpproxy: Run) -> None:
    ran = smtpproxy("watch", "code:5xx", "cdoe:550")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.splitlines()[:2] == ["  code:5xx cdoe:550", "           ^"]


def test_the_token_is_asked_for_and_never_shown(smtpproxy: Run, tmp_path: Path) -> None:
    with Proxy(tmp_path, "--web-token", TOKEN) as proxy:
        ran = smtpproxy("watch", "--url", proxy.url)
        assert (ran.code, ran.out) == (2, "")
        assert "wants a token: give it by --token" in ran.err
        ran = smtpproxy("watch", "--url", proxy.url, "--token", "wrong-horse-battery-staple")
        assert (ran.code, ran.out) == (2, "")
        assert "does not know that token" in ran.err
        assert "horse" not in ran.err
        with Watch(tmp_path, "--url", proxy.url, env={"SMTPPROXY_WEB_TOKEN": TOKEN}) as watch:
            watch.said("watching")


def test_a_host_that_the_page_does_not_answer_to_is_told_in_words(smtpproxy: Run, tmp_path: Path) -> None:
    with Proxy(tmp_path) as proxy, forwarded(proxy.page_port) as port:
        ran = smtpproxy("watch", "--url", f"http://127.0.0.1:{port}")
    assert (ran.code, ran.out) == (2, "")
    assert "refuses to be watched: this port is not known by that name" in ran.err
    assert "--web-host" in ran.err


@contextmanager
def forwarded(port: int) -> Iterator[int]:
    """Another port that leads there, for one connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            near, _ = server.accept()
            with near, socket.create_connection(("127.0.0.1", port)) as far:
                far.sendall(near.recv(65536))
                while data := far.recv(65536):
                    near.sendall(data)
                    if data.endswith(b"}}"):
                        break

        thread = threading.Thread(target=serve)
        thread.start()
        yield int(server.getsockname()[1])
        thread.join(DEADLINE_S)


@contextmanager
def answering(answer: Callable[[bytes], bytes]) -> Iterator[str]:
    """A server that is not smtpproxy: it answers one request with these octets."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            near, _ = server.accept()
            with near:
                near.sendall(answer(near.recv(65536)))
                near.settimeout(DEADLINE_S)
                while near.recv(65536):
                    pass

        def guarded() -> None:
            try:
                serve()
            except OSError:
                return

        thread = threading.Thread(target=guarded)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        thread.join(DEADLINE_S)


def upgraded(request: bytes, frame: bytes, *, opcode: int = 1) -> bytes:
    """An accepted upgrade, and one frame."""
    key = next(
        line.split(b": ")[1]
        for line in request.split(b"\r\n")
        if line.lower().startswith(b"sec-websocket-key")
    )
    accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    head = (
        b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
        + accept
        + b"\r\n\r\n"
    )
    length = len(frame)
    size = bytes([length]) if length < 126 else bytes([127]) + length.to_bytes(8, "big")
    return head + bytes([0x80 | opcode]) + size + frame


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda _: b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno", "it answers HTTP 404"),
        (lambda _: b"220 mx.example.com ESMTP\r\n\r\n", "does not answer as a websocket does"),
        (lambda _: b"HTTP/1.1 101 x\r\nConnection: \xff\r\n\r\n", "does not answer as a websocket does"),
        (
            lambda _: b"HTTP/1.1 400 x\r\nContent-Length: %d\r\n\r\n%b" % (len(HOSTILE), HOSTILE),
            "\\x1b[31mred\\u202e",
        ),
        (lambda request: upgraded(request, b'{"kind":"hello"}\n[1,2]'), "not what smtpproxy says"),
        (lambda request: upgraded(request, b'{"kind":"x","seq":"no"}'), "not what smtpproxy says"),
        (lambda request: upgraded(request, b'{"kind":"x","n":1,"seq":5}'), "not what smtpproxy says"),
        (lambda request: upgraded(request, b"\xff\xfe\x00", opcode=2), "not what smtpproxy says"),
        (lambda request: upgraded(request, b"x" * (3 * 1024 * 1024)), "cannot watch"),
    ],
)
def test_who_is_not_smtpproxy_is_told_apart_and_controls_no_terminal(
    smtpproxy: Run, answer: Callable[[bytes], bytes], words: str
) -> None:
    with answering(answer) as url:
        ran = smtpproxy("watch", "--url", url)
    assert (ran.code, ran.out) == (2, "")
    assert words in ran.err
    assert ran.err.replace("\n", "").isprintable()


def test_what_the_server_cannot_read_of_a_filter_is_pointed_at(smtpproxy: Run) -> None:
    body = b'{"error":{"code":"bad-filter","text":"filter, column 3: what is that"}}'
    head = b"HTTP/1.1 400 x\r\nContent-Length: %d\r\n\r\n" % len(body)
    with answering(lambda _: head + body) as url:
        ran = smtpproxy("watch", "--url", url, "code:550")
    assert ran.err.splitlines() == [
        "  code:550",
        "    ^",
        "smtpproxy: filter, column 3: what is that",
    ]
    assert ran.code == 2


def test_a_terminal_gets_json_that_does_nothing_to_it(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    with Proxy(tmp_path) as proxy:
        proxy.deliver("a \x7f\u202e b")
        watch = subprocess.Popen(
            [sys.executable, "-m", "smtpproxy", "watch", "--json", "--after", "0", "--url", proxy.url],
            cwd=tmp_path,
            env=clean_environment(tmp_path, {}),
            stdout=theirs,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs)
        shown = b""
        while b'"kind":"end"' not in shown:
            shown += os.read(ours, 65536)
        watch.send_signal(signal.SIGINT)
        assert watch.wait(DEADLINE_S) == 0
    os.close(ours)
    assert b"\\u007f\\u202e" in shown
    assert shown.decode().replace("\r\n", "").isprintable()
    assert all(json.loads(line) for line in shown.split(b"\r\n")[:3])


@pytest.mark.parametrize("is_quiet", [False, True])
def test_it_ends_when_nobody_reads(tmp_path: Path, is_quiet: bool) -> None:
    ours, theirs = os.pipe()
    with (
        Proxy(tmp_path) as proxy,
        subprocess.Popen(
            [sys.executable, "-m", "smtpproxy", "watch", "--json", "--url", proxy.url],
            cwd=tmp_path,
            env=clean_environment(tmp_path, {}),
            stdout=theirs,
            stderr=subprocess.PIPE,
        ) as watch,
    ):
        os.close(theirs)
        assert watch.stderr is not None
        assert b"watching" in watch.stderr.readline()
        os.close(ours)
        if not is_quiet:
            proxy.deliver("one")
        assert watch.wait(DEADLINE_S) == 1


@pytest.mark.parametrize(
    ("text", "url", "host", "port"),
    [
        ("http://127.0.0.1:8025", "http://127.0.0.1:8025", "127.0.0.1", 8025),
        ("127.0.0.1:8025", "http://127.0.0.1:8025", "127.0.0.1", 8025),
        ("ws://localhost:8025/live", "http://localhost:8025", "localhost", 8025),
        ("https://mail.example.com/", "https://mail.example.com", "mail.example.com", 443),
        ("http://[::1]:99", "http://[::1]:99", "::1", 99),
    ],
)
def test_urls_that_name_a_page(text: str, url: str, host: str, port: int) -> None:
    parsed = parse_page_url(text)
    assert (str(parsed), parsed.host, parsed.port) == (url, host, port)
    assert parse_page_url(url) == parsed
    assert isinstance(parsed, PageUrl)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "smtp://x",
        "http://",
        "http://h:0",
        "http://h:99999",
        "http://h/x",
        "http://h?x=1",
        "http://[::1",
        "h\n",
    ],
)
def test_urls_that_name_none(text: str) -> None:
    with pytest.raises(ConfigError, match="--url must be the page's URL"):
        parse_page_url(text)


def test_a_password_in_a_url_is_not_repeated() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_page_url(f"http://me:{TOKEN}@h:1")
    assert TOKEN not in str(caught.value)
