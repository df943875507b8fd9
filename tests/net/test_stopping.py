"""What time ends: silence, and the proxy itself, which cuts nobody's mail while it can wait."""

import socket
import ssl

import pytest
import trio
import trio.testing

from smtpproxy.net import driver
from smtpproxy.net.route import Limits
from tests.net.ends import PATIENCE_S, End, connect, send_envelope, send_mail, serve_ehlo, serve_mail, server
from tests.net.stage import Certificates, make_route, proxy

GOODBYE = b"421 4.3.2 smtpproxy: shutting down; try again\r\n"


# -- silence


async def test_silence_between_commands() -> None:
    async with (
        server(serve_mail) as mx,
        proxy(make_route(f"smtp://127.0.0.1:{mx.port}", limits=Limits(idle_timeout_s=0.2))) as stage,
    ):
        async with connect(stage.address) as app:
            await app.reply()
            await app.ask("EHLO app.test")
            assert await app.to_end() == b"421 4.4.2 smtpproxy: timed out waiting for a command\r\n"
        session = await stage.recording.over()
    assert session.findings == ["timeout"]


async def test_silence_of_a_server_that_does_not_greet() -> None:
    async with (
        server(End.to_end) as mx,
        proxy(make_route(f"smtp://127.0.0.1:{mx.port}", limits=Limits(idle_timeout_s=0.2))) as stage,
        connect(stage.address) as app,
    ):
        assert await app.to_end() == b"421 4.4.2 smtpproxy: timed out waiting for the server's greeting\r\n"


async def test_no_silence_is_too_long_between_the_final_dot_and_its_reply() -> None:
    idle_s = 0.1

    async def provider(end: End) -> None:
        await serve_ehlo(end)
        for reply in (b"250 ok\r\n", b"250 ok\r\n", b"354 go ahead\r\n"):
            await end.line()
            await end.say(reply)
        await end.hear(b"Subject: hi\r\n.\r\n")
        await trio.sleep(4 * idle_s)  # the thing itself: a server that takes its time (RFC 5321 4.5.3.2.6)
        await end.say(b"250 2.0.0 queued\r\n")
        await end.hear(b"QUIT\r\n")
        await end.say(b"221 2.0.0 bye\r\n")

    async with (
        server(provider) as mx,
        proxy(make_route(f"smtp://127.0.0.1:{mx.port}", limits=Limits(idle_timeout_s=idle_s))) as stage,
        connect(stage.address) as app,
    ):
        await send_mail(app, b"Subject: hi\r\n")


async def test_octets_now_and_then_are_no_silence() -> None:
    async with (
        server(serve_mail) as mx,
        proxy(make_route(f"smtp://127.0.0.1:{mx.port}", limits=Limits(idle_timeout_s=0.6))) as stage,
        connect(stage.address) as app,
    ):
        await app.reply()
        await app.ask("EHLO app.test")
        for octet in b"NOOP\r\n":
            await trio.sleep(0.15)
            await app.say(bytes([octet]))
        assert await app.reply() == b"250 2.0.0 ok\r\n"


# -- the end of the proxy


async def test_shutdown_between_commands() -> None:
    async with server(serve_mail) as mx, proxy(make_route(f"smtp://127.0.0.1:{mx.port}")) as stage:
        async with connect(stage.address) as app:
            await app.reply()
            await app.ask("EHLO app.test")
            stage.shutdown.set()
            assert await app.to_end() == GOODBYE
        await stage.until_stopped()
        session = await stage.recording.over()
        with socket.socket() as late:
            assert late.connect_ex(stage.address) != 0, "nobody listens any more"
    assert session.findings == ["shutdown"]


async def test_shutdown_says_goodbye_under_tls(
    certificates: Certificates, server_context: ssl.SSLContext, app_context: ssl.SSLContext
) -> None:
    async def provider(end: End) -> None:
        await end.start_tls(server_context)
        await serve_mail(end)
        assert end.ended == "close_notify"

    async with server(provider) as mx:
        route = make_route(f"smtps://localhost:{mx.port}", certificates, listen="smtps://127.0.0.1:0")
        async with proxy(route) as stage:
            async with connect(stage.address) as app:
                await app.start_tls(app_context, server_name="localhost")
                await app.reply()
                await app.ask("EHLO app.test")
                stage.shutdown.set()
                assert await app.to_end() == GOODBYE
                assert app.ended == "close_notify"
            await stage.until_stopped()
        await mx.finished()


@pytest.mark.parametrize("half", [b"Subject: h", b"Subject: hi\r\n.\r\n"], ids=["in content", "reply owed"])
async def test_shutdown_waits_for_the_message_and_its_reply(half: bytes) -> None:
    whole = b"Subject: hi\r\n.\r\n"
    is_stopping = trio.Event()

    async def provider(end: End) -> None:
        await serve_ehlo(end)
        for reply in (b"250 ok\r\n", b"250 ok\r\n", b"354 go ahead\r\n"):
            await end.line()
            await end.say(reply)
        await end.hear(whole)
        await is_stopping.wait()
        await end.say(b"250 2.0.0 queued\r\n")
        assert await end.to_end() == b""

    async with server(provider) as mx, proxy(make_route(f"smtp://127.0.0.1:{mx.port}")) as stage:
        async with connect(stage.address) as app:
            await app.reply()
            await app.ask("EHLO app.test")
            await send_envelope(app)
            await app.say(half)
            await stage.recording.until(
                lambda: b"DATA" in stage.recording.sessions[0].said("client", "server")
            )
            stage.shutdown.set()
            await trio.testing.wait_all_tasks_blocked()
            assert not stage.stopped.is_set()
            await app.say(whole[len(half) :])
            is_stopping.set()
            assert await app.reply() == b"250 2.0.0 queued\r\n"
            assert await app.to_end() == GOODBYE
        await stage.until_stopped()
        await mx.finished()
    (session,) = stage.recording.sessions
    assert session.end.outcome == "delivered"


async def test_the_deadline_of_a_shutdown_cuts_what_is_left() -> None:
    limits = Limits(shutdown_timeout_s=0.2)
    async with (
        server(serve_mail) as mx,
        proxy(make_route(f"smtp://127.0.0.1:{mx.port}", limits=limits)) as stage,
    ):
        async with connect(stage.address) as app:
            await app.reply()
            await app.ask("EHLO app.test")
            await send_envelope(app)
            await app.say(b"Subject: never ends\r\n")
            stage.shutdown.set()
            assert await app.to_end() == b""
        await stage.until_stopped()
        await mx.finished()
    (session,) = stage.recording.sessions
    assert session.findings == ["shutdown"]
    assert session.end.outcome == "failed"
    assert session.said("client", "server") == bytes(app.said)


async def test_the_last_octets_do_not_wait_for_ever_for_a_client_that_does_not_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(driver, "CLOSE_TIMEOUT_S", 0.2)

    async def provider(end: End) -> None:
        await end.say(b"220 mx.test\r\n")
        await end.hear(b"HELP\r\n")
        with pytest.raises(OSError):
            await end.say((b"214-" + b"x" * 1000 + b"\r\n") * 20_000)

    limits = Limits(shutdown_timeout_s=0.2)
    async with (
        server(provider) as mx,
        proxy(make_route(f"smtp://127.0.0.1:{mx.port}", limits=limits)) as stage,
    ):
        async with connect(stage.address, receive_buffer=4096) as app:
            await app.reply()
            await app.say(b"HELP\r\n")
            await trio.testing.wait_all_tasks_blocked(0.05)
            stage.shutdown.set()
            await stage.until_stopped()
        await mx.finished()
    assert stage.recording.sessions[0].is_over


async def test_a_second_shutdown_does_not_wait() -> None:
    async with server(serve_mail) as mx, proxy(make_route(f"smtp://127.0.0.1:{mx.port}")) as stage:
        async with connect(stage.address) as app:
            await app.reply()
            await app.ask("EHLO app.test")
            await send_envelope(app)
            stage.shutdown.set()
            await trio.testing.wait_all_tasks_blocked()
            assert not stage.stopped.is_set()
            stage.scope.cancel()  # what the second signal does
            with trio.fail_after(PATIENCE_S):
                assert await app.to_end() == b""
        await stage.until_stopped()
        await mx.finished()
    (session,) = stage.recording.sessions
    assert session.is_over
    assert session.findings == ["shutdown"]


async def test_shutdown_while_nobody_is_there() -> None:
    async with proxy(make_route("smtp://127.0.0.1:9")) as stage:
        stage.shutdown.set()
        await stage.until_stopped()
    assert stage.recording.sessions == []


async def test_shutdown_of_a_session_that_was_accepted_a_moment_ago() -> None:
    async with server(End.to_end) as mx, proxy(make_route(f"smtp://127.0.0.1:{mx.port}")) as stage:
        async with connect(stage.address) as app:
            stage.shutdown.set()
            assert (await app.to_end())[-len(GOODBYE) :] in (GOODBYE, b"")
        await stage.until_stopped()
        assert all(session.is_over for session in stage.recording.sessions)
