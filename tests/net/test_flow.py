"""How octets and endings flow between ends of unlike speed: back-pressure, holding, half-close, resets."""

import shutil
import ssl
import subprocess
from collections.abc import Callable

import pytest
import trio
import trio.testing

from smtpproxy.session.turns import MAX_HELD_BYTES
from tests.net.ends import (
    PATIENCE_S,
    End,
    connect,
    send_envelope,
    serve_commands,
    serve_ehlo,
    serve_mail,
    server,
)
from tests.net.stage import Certificates, MemoryRecording, make_route, proxy

SMALL = 4096
PLENTY = 24 * 1024 * 1024
"""More than the kernel buffers on all of the way."""
LINE = b"x" * 1000 + b"\r\n"


def help_lines(octets: int) -> bytes:
    return (b"214-" + LINE) * (octets // 1006) + b"214 end\r\n"


# -- unlike speeds


async def test_a_client_that_does_not_read_stops_the_reading_of_the_server() -> None:
    reply = help_lines(PLENTY)

    async def provider(end: End) -> None:
        await end.say(b"220 mx.test\r\n")
        await end.hear(b"HELP\r\n")
        await end.say(reply)
        has_said_all.set()
        await end.to_end()

    has_said_all = trio.Event()
    async with server(provider) as mx, proxy(make_route(f"smtp://127.0.0.1:{mx.port}")) as stage:
        async with connect(stage.address, receive_buffer=SMALL) as app:
            await app.reply()
            await app.say(b"HELP\r\n")
            await trio.testing.wait_all_tasks_blocked(0.1)
            assert not has_said_all.is_set(), "the server feels that the client does not read"
            await app.hear(reply)
        session = await stage.recording.over()
        await mx.finished()
    assert session.said("server", "client") == b"220 mx.test\r\n" + reply


async def test_a_server_that_answers_a_chunk_without_reading_it_does_not_deadlock() -> None:
    # RFC 3030 2: a chunk comes whole whatever the reply will be; this server says a lot before it reads.
    chunk = bytes(PLENTY)
    reply = (b"552-" + LINE) * (PLENTY // 1006) + b"552 5.3.4 too large\r\n"
    client_has_heard = trio.Event()

    async def provider(end: End) -> None:
        await serve_ehlo(end, "CHUNKING")
        await end.hear(b"BDAT %d LAST\r\n" % PLENTY)
        await end.say(reply)
        await client_has_heard.wait()
        await end.hear(chunk)

    async with server(provider) as mx, proxy(make_route(f"smtp://127.0.0.1:{mx.port}")) as stage:
        async with connect(stage.address) as app, trio.open_nursery() as nursery:
            await app.reply()
            await app.ask("EHLO app.test")
            nursery.start_soon(app.say, b"BDAT %d LAST\r\n" % PLENTY + chunk)
            await app.hear(reply)
            client_has_heard.set()
            await mx.finished()
        session = await stage.recording.over()
    assert len(session.said("client", "server")) == len(app.said)


async def test_what_comes_ahead_of_a_reply_is_held_up_to_a_bound() -> None:
    body = LINE * (PLENTY // len(LINE))
    may_go_ahead = trio.Event()

    async def provider(end: End) -> None:
        await serve_ehlo(end)
        for _ in range(2):
            await end.line()
            await end.say(b"250 2.0.0 ok\r\n")
        await end.hear(b"DATA\r\n")
        await may_go_ahead.wait()
        await end.say(b"354 go ahead\r\n")
        await end.hear(body + b".\r\n")
        await end.say(b"250 2.0.0 queued\r\n")

    async with server(provider) as mx, proxy(make_route(f"smtp://127.0.0.1:{mx.port}")) as stage:
        async with connect(stage.address) as app, trio.open_nursery() as nursery:
            await app.reply()
            await app.ask("EHLO app.test")
            await app.ask("MAIL FROM:<a@app.test>")
            await app.ask("RCPT TO:<b@mx.test>")
            has_said_all = trio.Event()

            async def say() -> None:
                await app.say(b"DATA\r\n" + body + b".\r\n")
                has_said_all.set()

            nursery.start_soon(say)
            await trio.testing.wait_all_tasks_blocked(0.1)
            assert not has_said_all.is_set(), f"reading goes on beyond {MAX_HELD_BYTES} octets"
            may_go_ahead.set()
            assert await app.reply() == b"354 go ahead\r\n"
            assert await app.reply() == b"250 2.0.0 queued\r\n"
        session = await stage.recording.over()
    assert "early-bytes" in session.findings
    assert session.said("client", "server") == bytes(app.said)


async def test_recording_that_is_behind_pauses_reading() -> None:
    recording = MemoryRecording()
    async with (
        server(serve_mail) as mx,
        proxy(make_route(f"smtp://127.0.0.1:{mx.port}"), recording=recording) as stage,
        connect(stage.address) as app,
    ):
        await app.reply()
        await app.ask("EHLO app.test")
        recording.full_until = trio.Event()
        await app.say(b"NOOP\r\n")  # a read that has begun is not taken back
        await recording.until(lambda: recording.waiting > 0)
        await app.say(b"HELP\r\n")
        await trio.testing.wait_all_tasks_blocked()
        assert b"HELP" not in mx.ends[0].heard
        recording.full_until.set()
        assert await app.reply() == b"250 2.0.0 ok\r\n"
        assert await app.reply() == b"250 2.0.0 ok\r\n"
        await app.ask("QUIT")


# -- half-close


@pytest.mark.parametrize("kind", ["clear", "TLS"])
async def test_a_client_that_has_said_all_still_hears_its_reply(
    certificates: Certificates, server_context: ssl.SSLContext, app_context: ssl.SSLContext, kind: str
) -> None:
    is_tls = kind == "TLS"
    has_left = trio.Event()

    async def provider(end: End) -> None:
        if is_tls:
            await end.start_tls(server_context)
        await serve_ehlo(end)
        await end.hear(b"NOOP\r\n")
        await has_left.wait()
        if is_tls:
            # Under TLS the end is passed on once nothing is owed: servers answer it by closing.
            await end.say(b"250 2.0.0 still here\r\n")
            assert await end.to_end() == b""
            assert end.ended == "close_notify"
            await end.close_notify()
        else:
            assert await end.to_end() == b""
            await end.say(b"250 2.0.0 still here\r\n")

    async with server(provider) as mx:
        scheme = "smtps" if is_tls else "smtp"
        route = make_route(f"{scheme}://localhost:{mx.port}", certificates, listen=f"{scheme}://127.0.0.1:0")
        async with proxy(route) as stage:
            async with connect(stage.address) as app:
                if is_tls:
                    await app.start_tls(app_context, server_name="localhost")
                await app.reply()
                await app.ask("EHLO app.test")
                await app.say(b"NOOP\r\n")
                if is_tls:
                    await app.close_notify()
                app.half_close()
                has_left.set()
                assert await app.to_end() == b"250 2.0.0 still here\r\n"
            session = await stage.recording.over()
        await mx.finished()
    assert session.end.reason == "client-eof"
    assert "truncated-tls" not in session.findings


@pytest.mark.parametrize("kind", ["clear", "TLS"])
async def test_a_server_that_has_said_all_is_heard_to_the_end(
    certificates: Certificates, server_context: ssl.SSLContext, app_context: ssl.SSLContext, kind: str
) -> None:
    is_tls = kind == "TLS"

    async def provider(end: End) -> None:
        if is_tls:
            await end.start_tls(server_context)
        await serve_ehlo(end)
        await end.hear(b"NOOP\r\n")
        await end.say(b"421 4.3.0 leaving\r\n")
        if is_tls:
            await end.close_notify()
        end.half_close()
        await end.to_end()

    async with server(provider) as mx:
        scheme = "smtps" if is_tls else "smtp"
        route = make_route(f"{scheme}://localhost:{mx.port}", certificates, listen=f"{scheme}://127.0.0.1:0")
        async with proxy(route) as stage:
            async with connect(stage.address) as app:
                if is_tls:
                    await app.start_tls(app_context, server_name="localhost")
                await app.reply()
                await app.ask("EHLO app.test")
                await app.say(b"NOOP\r\n")
                assert await app.to_end() == b"421 4.3.0 leaving\r\n"
                assert app.ended == ("close_notify" if is_tls else "fin")
            session = await stage.recording.over()
    assert session.end.reason == "server-eof"


# -- resets

PHASES = ["between commands", "in content"]


async def reach(app: End, phase: str) -> None:
    await app.reply()
    await app.ask("EHLO app.test")
    if phase == "in content":
        await send_envelope(app)
        await app.say(b"Subject: half\r\n")


@pytest.mark.parametrize("phase", PHASES)
async def test_a_client_that_resets(phase: str) -> None:
    async with server(serve_mail) as mx, proxy(make_route(f"smtp://127.0.0.1:{mx.port}")) as stage:
        async with connect(stage.address) as app:
            await reach(app, phase)
            app.reset()
        session = await stage.recording.over()
        await mx.finished()
    assert mx.ends[0].ended == "reset"
    assert session.findings == ["client-reset"]
    assert session.end.reason == "client-reset"


@pytest.mark.parametrize("phase", PHASES)
async def test_a_server_that_resets(phase: str) -> None:
    may_reset = trio.Event()

    async def provider(end: End) -> None:
        await serve_ehlo(end)
        if phase == "in content":
            for reply in (b"250 ok\r\n", b"250 ok\r\n", b"354 go ahead\r\n"):
                await end.line()
                await end.say(reply)
            await end.hear(b"Subject: half\r\n")
        await may_reset.wait()
        end.reset()

    async with server(provider) as mx, proxy(make_route(f"smtp://127.0.0.1:{mx.port}")) as stage:
        async with connect(stage.address) as app:
            await reach(app, phase)
            may_reset.set()
            await app.to_end()
            assert app.ended == "reset"
        session = await stage.recording.over()
    assert "server-reset" in session.findings
    assert session.end.reason == "server-reset"


async def test_a_server_that_resets_while_much_is_said_to_it() -> None:
    async def provider(end: End) -> None:
        await serve_ehlo(end)
        for reply in (b"250 ok\r\n", b"250 ok\r\n", b"354 go ahead\r\n"):
            await end.line()
            await end.say(reply)
        await end.hear(LINE * 1000)
        end.reset()

    async with server(provider) as mx, proxy(make_route(f"smtp://127.0.0.1:{mx.port}")) as stage:
        async with connect(stage.address) as app:
            await app.reply()
            await app.ask("EHLO app.test")
            await send_envelope(app)
            with pytest.raises(OSError):
                await app.say(LINE * (PLENTY // len(LINE)))
        session = await stage.recording.over()
    assert session.end.reason == "server-reset"


# -- TLS that goes on changing


@pytest.mark.skipif(not shutil.which("openssl"), reason="the program openssl is not there")
async def test_key_update_in_mid_session(certificates: Certificates) -> None:
    async def provider(end: End) -> None:
        await serve_ehlo(end)
        await serve_commands(end)

    async with server(provider) as mx:
        route = make_route(f"smtp://127.0.0.1:{mx.port}", certificates, listen="smtps://127.0.0.1:0")
        async with proxy(route) as stage, trio.open_nursery() as nursery:
            address = stage.endpoints[0].hostport
            ca = str(certificates.authority.certificate_path)
            client = await trio.lowlevel.open_process(
                ["openssl", "s_client", "-connect", address, "-CAfile", ca, "-crlf", "-tls1_3"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            assert client.stdin is not None
            assert client.stdout is not None
            said = bytearray()

            async def until(holds: Callable[[], bool]) -> None:
                assert client.stdout is not None
                with trio.fail_after(PATIENCE_S):
                    while not holds():
                        said.extend(await client.stdout.receive_some())

            await until(lambda: b"220 mx.test" in said)
            # s_client takes a K at the start of a line for a command: update the keys, both ways.
            for line, heard in [
                (b"ehlo app.test\n", b"250 mx.test"),
                (b"K\n", b"KEYUPDATE"),
                (b"noop\n", b"250 2.0.0 ok"),
                (b"quit\n", b"221 2.0.0 bye"),
            ]:
                await client.stdin.send_all(line)
                await until(lambda heard=heard: heard in said)  # type: ignore[misc]
            await client.stdin.aclose()
            await stage.recording.over()
            nursery.start_soon(client.wait)
            await client.stdout.aclose()
