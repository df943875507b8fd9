"""The web port of a running proxy: told in the ready line, served beside the mail, ended with it."""

import json
import signal
import smtplib
import socket
from pathlib import Path

import httpx
import pytest
import websockets.exceptions
import websockets.sync.client

from tests.cli.running import Running
from tests.web.running import RunningWeb

STORE = ("--store", "mail.db", "--certs", "certs")
ENDS = ("--listen", "smtp://127.0.0.1:0")


def send(port: int, subject: str = "Hello") -> None:
    with smtplib.SMTP("127.0.0.1", port) as app:
        app.sendmail("a@example.com", ["b@example.com"], f"Subject: {subject}\r\n\r\nHi\r\n")


def test_a_mail_is_watched_and_read(tmp_path: Path) -> None:
    with RunningWeb(tmp_path, *STORE) as proxy:
        assert proxy.first["live"] == proxy.url.replace("http", "ws") + "/live"
        assert list(proxy.first) == ["kind", "listen", "upstream", "web", "live", "store", "ca"]
        proxy.wait_for_page()
        with websockets.sync.client.connect(proxy.first["live"], origin=proxy.url) as live:
            assert json.loads(live.recv(10))["kind"] == "hello"
            send(proxy.port)
            told = ""
            while '"kind":"end"' not in told:
                told += str(live.recv(10))
            message = httpx.get(f"{proxy.url}/api/v1/sessions/latest/messages/1").json()
            assert message["subject"] == "Hello"
            proxy.process.send_signal(signal.SIGTERM)
            with pytest.raises(websockets.exceptions.ConnectionClosed) as closed:
                live.recv(10)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001
        assert proxy.rest()[0] == 0
        assert proxy.errors() == ""


def test_mail_flows_before_the_page_is_there(tmp_path: Path) -> None:
    with RunningWeb(tmp_path, *STORE) as proxy:
        send(proxy.port)
        proxy.wait_for_page()
        assert httpx.get(f"{proxy.url}/api/v1/sessions").json()["sessions"][0]["outcome"] == "delivered"
        assert proxy.stop()[0] == 0


def test_stopped_before_the_page_is_there(tmp_path: Path) -> None:
    with RunningWeb(tmp_path, *STORE) as proxy:
        assert proxy.stop()[0] == 0
        assert proxy.errors() == ""


def test_without_a_store_one_can_still_watch(tmp_path: Path) -> None:
    with RunningWeb(tmp_path, "--store", "none", "--certs", "certs") as proxy:
        proxy.wait_for_page()
        with websockets.sync.client.connect(proxy.first["live"]) as live:
            live.recv(10)
            send(proxy.port)
            told = ""
            while '"kind":"end"' not in told:
                told += str(live.recv(10))
        assert httpx.get(f"{proxy.url}/api/v1/sessions").json() == {"sessions": [], "cursor": None}
        gone = httpx.get(f"{proxy.url}/api/v1/sessions/latest")
        assert gone.status_code == 404
        assert "nothing is recorded" in gone.text
        assert httpx.get(f"{proxy.url}/api/v1/state").json()["store"] is None
        assert httpx.get(f"{proxy.url}/metrics").status_code == 200
        assert proxy.stop()[0] == 0


def test_people_are_told_where_the_page_is(tmp_path: Path) -> None:
    with Running(tmp_path, *STORE, command=("run", *ENDS, "--web", "127.0.0.1:0")) as proxy:
        lines, _ = proxy.header()
    assert any(line.startswith("  page       http://127.0.0.1:") for line in lines)


def failed(folder: Path, *flags: str, env: dict[str, str] | None = None) -> str:
    """What a start that fails says: one line, exit code 2."""
    with Running(folder, *STORE, *flags, command=("run", *ENDS), env=env) as proxy:
        assert proxy.rest() == (2, [])
        said = proxy.errors()
    assert said.count("\n") == 1
    return said


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        said = failed(tmp_path, "--web", f"127.0.0.1:{taken.getsockname()[1]}")
    assert "the page cannot listen on 127.0.0.1:" in said
    assert "--web 127.0.0.1:0" in said
    assert "--no-web" in said


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "192.0.2.7", "mail.example.com"])
def test_off_loopback_there_must_be_a_token(tmp_path: Path, host: str) -> None:
    assert "SMTPPROXY_WEB_TOKEN" in failed(tmp_path, "--web", f"{host}:0")


def test_a_token_is_never_repeated(tmp_path: Path) -> None:
    said = failed(tmp_path, "--web", "127.0.0.1:0", env={"SMTPPROXY_WEB_TOKEN": "short-s3cret"[:11]})
    assert "SMTPPROXY_WEB_TOKEN must be 12 to 200" in said
    assert "s3cre" not in said


def test_bound_to_every_address_with_a_token(tmp_path: Path) -> None:
    token = "correct-horse-battery"
    ends = ("run", *ENDS, "--json", "--web", "0.0.0.0:0")
    with Running(tmp_path, *STORE, command=ends, env={"SMTPPROXY_WEB_TOKEN": token}) as proxy:
        ready, _ = proxy.ready()
        url = ready["web"]
        assert url.startswith("http://127.0.0.1:")
        with httpx.Client(base_url=url, transport=httpx.HTTPTransport(retries=5)) as client:
            assert client.get("/api/v1/state").status_code == 401
            told = client.get("/api/v1/state", headers={"Authorization": f"Bearer {token}"})
            assert told.status_code == 200
        assert proxy.stop()[0] == 0
