"""The door: requests one after the other, within bounds; whatever comes in, the port goes on."""

from pathlib import Path

import httpx
import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smtpproxy.web import door as door_module
from tests.conversation import Conversation, delivery
from tests.ends import until
from tests.web.stage import PATIENCE_S, web_port


async def test_several_requests_on_a_connection_pipelined(tmp_path: Path) -> None:
    async with web_port(tmp_path) as stage:
        host = stage.host.encode()
        one = b"GET /livez HTTP/1.1\r\nHost: %s\r\n\r\n" % host
        last = b"GET /readyz HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % host
        answers = await stage.ask(one + one + last)
    assert answers.count(b"HTTP/1.1 200 OK") == 3


async def test_a_head_that_comes_octet_by_octet(tmp_path: Path) -> None:
    async with web_port(tmp_path) as stage:
        asked = b"GET /livez HTTP/1.0\r\nHost: %s\r\n\r\n" % stage.host.encode()
        answer = await stage.ask(*[bytes([octet]) for octet in asked])
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert answer.endswith(b'{"status":"ok","reason":""}')


async def test_a_body_that_is_waited_for(tmp_path: Path) -> None:
    async with web_port(tmp_path) as stage, await stage.connect() as stream:
        with trio.fail_after(PATIENCE_S):
            ends = (stage.host.encode(), stage.url.encode())
            await stream.send_all(b"POST /login HTTP/1.1\r\nHost: %s\r\nOrigin: %s\r\n" % ends)
            await stream.send_all(b"Content-Length: 7\r\nExpect: 100-continue\r\n\r\n")
            assert b"100" in bytes(await stream.receive_some())
            await stream.send_all(b"token=x")
            assert b"401 Unauthorized" in bytes(await stream.receive_some())


@pytest.mark.parametrize(
    ("octets", "status"),
    [
        (b"EHLO app\r\n\r\n", b"400"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"GET / HTTP/1.0\r\n\r\n", b"403"),
        (b"GET / HTTP/1.1\r\nHost: \xff\r\n\r\n", b"403"),
        (b"GET http://127.0.0.1/ HTTP/1.1\r\nHost: HERE\r\n\r\n", b"400"),
        (b"OPTIONS * HTTP/1.1\r\nHost: HERE\r\n\r\n", b"400"),
        (b"CONNECT mx.example.com:25 HTTP/1.1\r\nHost: HERE\r\n\r\n", b"400"),
        (b"GET /live HTTP/1.1\r\nHost: HERE\r\nConnection: close\r\n\r\n", b"426"),
        (
            b"GET /other HTTP/1.1\r\nHost: HERE\r\nUpgrade: websocket\r\nConnection: Upgrade, close\r\n\r\n",
            b"404",
        ),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: HERE\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: HERE\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"400"),
        (b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: HERE\r\n\r\n", b"431"),
        (
            b"POST /login HTTP/1.1\r\nHost: HERE\r\nOrigin: http://HERE\r\nContent-Length: 9999999\r\n\r\n"
            + b"x" * 99_999,
            b"413",
        ),
    ],
)
async def test_odd_requests_are_refused_and_the_port_goes_on(
    tmp_path: Path, octets: bytes, status: bytes
) -> None:
    async with web_port(tmp_path) as stage:
        async with await stage.connect() as stream:
            with trio.fail_after(PATIENCE_S):
                await stream.send_all(octets.replace(b"HERE", stage.host.encode()))
                await stream.send_eof()
                answer = b""
                while data := await stream.receive_some():
                    answer += bytes(data)
        assert answer.split(b" ", 2)[1] == status
        assert await stage.is_well()


@pytest.mark.parametrize(
    ("path", "host", "status"),
    [
        ("/", "", 200),
        ("/livez", "", 200),
        ("/api/v1/sessions", "", 200),
        ("/api/v1/sessions/01A", "", 404),
        ("/nothing", "", 404),
        ("/", "evil.example", 403),
        ("/live", "", 426),
    ],
)
async def test_head_asks_for_no_body(tmp_path: Path, path: str, host: str, status: int) -> None:
    async with web_port(tmp_path) as stage:
        asked = f"HEAD {path} HTTP/1.1\r\nHost: {host or stage.host}\r\nConnection: close\r\n\r\n"
        answer = await stage.ask(asked.encode())
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert answer.endswith(b"\r\n\r\n")
        assert await stage.is_well()


async def test_who_says_nothing_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door_module, "HEAD_TIMEOUT_S", 0.05)
    async with web_port(tmp_path) as stage:
        assert await stage.ask(b"GET / HTT") == b""
        assert await stage.ask() == b""


async def test_more_connections_than_there_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door_module, "MAX_CONNECTIONS", 3)
    async with web_port(tmp_path) as stage:
        await stage.get("/livez")
        held = [await stage.connect() for _ in range(4)]

        async def turned_away() -> httpx.Response | None:
            answer = await stage.get("/livez")
            return answer if answer.status_code == 503 else None

        assert (await until(turned_away)).headers["retry-after"] == "1"
        for stream in held:
            await stream.aclose()
        await until(stage.is_well)


async def test_who_says_nothing_takes_no_more_than_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door_module, "MAX_OPEN", 3)
    async with web_port(tmp_path) as stage:
        await stage.get("/livez")
        held = [await stage.connect() for _ in range(3)]
        for stream in held:
            await stream.send_all(b"GET / HTT")
        assert await stage.ask() == b""  # long before its time would be up
        for stream in held:
            await stream.aclose()
        await until(lambda: stage.ask(b"GET / HTTP/1.0\r\n\r\n"))


async def test_who_leaves_in_the_middle_of_an_answer(tmp_path: Path) -> None:
    talk = Conversation("01A").client("DATA").content(*["x" * 60_000 + "\r\n"] * 100).end()
    async with web_port(tmp_path) as stage:
        await stage.keep(talk)
        asked = b"GET /api/v1/sessions/01A/recording HTTP/1.1\r\nHost: %s\r\n\r\n" % stage.host.encode()
        for _ in range(5):
            stream = await stage.connect()
            await stream.send_all(asked)
            assert await stream.receive_some(100)
            await trio.aclose_forcefully(stream)
        assert await stage.is_well()


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    octets=st.lists(
        st.binary(max_size=200)
        | st.sampled_from(
            [
                b"GET / HTTP/1.1\r\n",
                b"Host: HERE\r\n",
                b"\r\n",
                b"Upgrade: websocket\r\n",
                b"Connection: upgrade\r\n",
                b"Content-Length: 3\r\n",
            ]
        ),
        max_size=12,
    )
)
def test_arbitrary_octets_harm_nobody(tmp_path_factory: pytest.TempPathFactory, octets: list[bytes]) -> None:
    async def send() -> None:
        async with web_port(tmp_path_factory.mktemp("web")) as stage:
            async with await stage.connect() as stream:
                await stream.send_all(b"".join(octets).replace(b"HERE", stage.host.encode()))
                await stream.send_eof()
                with trio.fail_after(PATIENCE_S):
                    while await stream.receive_some():
                        pass
            assert await stage.is_well()

    trio.run(send)


async def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    async with web_port(tmp_path) as stage:
        await stage.keep(delivery("01A"))
        await stage.get("/livez")
        (private,) = folder.iterdir()
        assert private.stat().st_mode & 0o777 == 0o700
        await stage.log.aclose()
        stage.is_over.set()
        await until(lambda: not list(folder.iterdir()))
