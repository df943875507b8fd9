"""Whole sessions through listener and driver: the six TLS cells, tunnels, LMTP, sockets of every family."""

import ssl
from pathlib import Path

import pytest

from smtpproxy.session.events import Opaque, Preface
from tests.net.ends import (
    End,
    connect,
    send_envelope,
    send_mail,
    serve_commands,
    serve_ehlo,
    serve_mail,
    server,
)
from tests.net.stage import Certificates, make_route, proxy

BODY = b"Subject: caf\xc3\xa9\r\n\r\n..stuffed\r\nhello\r\n"
CELLS = [
    ("smtp", "smtp", False),
    ("smtp", "smtp", True),
    ("smtp", "smtp+starttls", False),
    ("smtp", "smtp+starttls", True),
    ("smtp", "smtps", False),
    ("smtp", "smtps", True),
    ("smtps", "smtp", False),
    ("smtps", "smtp+starttls", False),
    ("smtps", "smtps", False),
]
PROXY_V1 = b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 25\r\n"
PROXY_V2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes([192, 0, 2, 7, 127, 0, 0, 1]) + b"\x12\x67\x00\x19"


@pytest.mark.parametrize(("listen", "upstream", "takes_starttls"), CELLS)
async def test_the_six_cells(
    certificates: Certificates,
    server_context: ssl.SSLContext,
    app_context: ssl.SSLContext,
    listen: str,
    upstream: str,
    takes_starttls: bool,
) -> None:
    bodies: list[bytes] = []
    upgrades = upstream == "smtp+starttls" or (listen, upstream, takes_starttls) == ("smtp", "smtp", True)

    async def provider(end: End) -> None:
        if upstream == "smtps":
            await end.start_tls(server_context)
        assert await serve_ehlo(end, *([] if upstream == "smtps" else ["STARTTLS"])) == b"EHLO app.test\r\n"
        if upgrades:
            await end.hear(b"STARTTLS\r\n")
            await end.say(b"220 go ahead\r\n")
            await end.start_tls(server_context)
            assert await serve_ehlo(end, greeting=b"") == b"EHLO app.test\r\n"
        bodies.extend(await serve_commands(end))

    async with server(provider) as mx:
        route = make_route(
            f"{upstream}://localhost:{mx.port}", certificates, listen=f"{listen}://127.0.0.1:0"
        )
        async with proxy(route) as stage:
            async with connect(stage.address) as app:
                if listen == "smtps":
                    await app.start_tls(app_context, server_name="localhost")
                assert await app.reply() == b"220 mx.test ESMTP\r\n"
                offer = await app.ask("EHLO app.test")
                assert (b"STARTTLS" in offer) == (listen == "smtp"), offer
                if takes_starttls:
                    assert (await app.ask("STARTTLS")).startswith(b"220 ")
                    await app.start_tls(app_context, server_name="localhost")
                    assert b"STARTTLS" not in await app.ask("EHLO app.test")
                await send_envelope(app)
                await app.say(BODY + b".\r\n")
                assert await app.reply() == b"250 2.0.0 queued\r\n"
                assert await app.ask("QUIT") == b"221 2.0.0 bye\r\n"
                assert await app.to_end() == b""
            session = await stage.recording.over()
        await mx.finished()

    assert bodies == [BODY]
    assert (session.end.outcome, session.end.reason) == ("delivered", "quit")
    assert app.ended == ("close_notify" if listen == "smtps" or takes_starttls else "fin")
    if app.tls is not None:
        assert session.tls("client").version == "TLSv1.3"
        assert session.tls("client").sni == "localhost"
    if upstream != "smtp" or upgrades:
        assert session.tls("server").verified
        assert session.tls("server").certificates


async def test_tunnel_of_implicit_tls_is_not_read(
    certificates: Certificates, server_context: ssl.SSLContext
) -> None:
    async def provider(end: End) -> None:
        await end.start_tls(server_context)
        assert await serve_mail(end) == [BODY]

    async with server(provider) as mx:
        route = make_route(
            f"smtps://localhost:{mx.port}", certificates, listen="smtps://127.0.0.1:0", is_tunnel=True
        )
        async with proxy(route) as stage:
            async with connect(stage.address) as app:
                # The server's own certificate arrives: nothing stands in between.
                await app.start_tls(
                    ssl.create_default_context(cafile=str(certificates.provider_ca)), server_name="localhost"
                )
                await send_mail(app, BODY)
            session = await stage.recording.over()
        await mx.finished()
    opaque = [event for event in session.events if isinstance(event, Opaque)]
    assert {(event.from_, event.to) for event in opaque} == {("client", "server"), ("server", "client")}
    assert all(event.octets and event.sha256 for event in opaque)
    assert session.said("client", "server") == b""


async def test_tunnel_of_starttls_is_read_up_to_the_220(
    certificates: Certificates, server_context: ssl.SSLContext
) -> None:
    async def provider(end: End) -> None:
        await serve_ehlo(end, "STARTTLS")
        await end.hear(b"STARTTLS\r\n")
        await end.say(b"220 go ahead\r\n")
        await end.start_tls(server_context)
        assert await serve_mail(end, greeting=b"") == [BODY]

    async with server(provider) as mx:
        route = make_route(f"smtp://localhost:{mx.port}", certificates, is_tunnel=True)
        async with proxy(route) as stage:
            async with connect(stage.address) as app:
                await app.reply()
                assert b"STARTTLS" in await app.ask("EHLO app.test")
                assert await app.ask("STARTTLS") == b"220 go ahead\r\n"
                await app.start_tls(
                    ssl.create_default_context(cafile=str(certificates.provider_ca)), server_name="localhost"
                )
                await send_mail(app, BODY, greeted=True)
            session = await stage.recording.over()
        await mx.finished()
    assert session.said("client", "server") == b"EHLO app.test\r\nSTARTTLS\r\n"


@pytest.mark.parametrize("listen", ["tcp", "unix"])
@pytest.mark.parametrize("upstream", ["tcp", "unix"])
async def test_lmtp_over_tcp_and_unix_sockets(tmp_path: Path, listen: str, upstream: str) -> None:
    async def provider(end: End) -> None:
        assert await serve_ehlo(end) == b"LHLO app.test\r\n"
        for _ in range(4):
            assert await end.line()
            await end.say(b"250 2.1.0 ok\r\n")
        await end.hear(b"DATA\r\n")
        await end.say(b"354 go ahead\r\n")
        await end.hear(BODY + b".\r\n")
        # One reply for each recipient that was accepted (RFC 2033 4.2).
        await end.say(b"250 2.0.0 a\r\n452 4.2.2 b is full\r\n")
        await end.say(b"250 2.0.0 c\r\n")
        await end.hear(b"QUIT\r\n")
        await end.say(b"221 2.0.0 bye\r\n")

    at = str(tmp_path / "mx") if upstream == "unix" else "127.0.0.1"
    async with server(provider, at) as mx:
        route = make_route(
            f"lmtp+unix:{at}" if upstream == "unix" else f"lmtp://127.0.0.1:{mx.port}",
            listen=f"lmtp+unix:{tmp_path / 'proxy'}" if listen == "unix" else "lmtp://127.0.0.1:0",
        )
        async with proxy(route) as stage:
            async with connect(stage.address) as app:
                await app.reply()
                await app.ask("LHLO app.test")
                await app.ask("MAIL FROM:<x@app.test>")
                for recipient in "abc":
                    await app.ask(f"RCPT TO:<{recipient}@mx.test>")
                assert await app.ask("DATA") == b"354 go ahead\r\n"
                await app.say(BODY + b".\r\n")
                assert [await app.reply() for _ in "abc"] == [
                    b"250 2.0.0 a\r\n",
                    b"452 4.2.2 b is full\r\n",
                    b"250 2.0.0 c\r\n",
                ]
                await app.ask("QUIT")
            session = await stage.recording.over()
        await mx.finished()
    assert session.end.outcome == "partial"
    assert not (tmp_path / "proxy").exists(), "the listener's socket goes with it"


async def test_connect_to_dials_elsewhere_and_keeps_the_name_for_tls(
    certificates: Certificates, server_context: ssl.SSLContext
) -> None:
    async def provider(end: End) -> None:
        await end.start_tls(server_context)
        await serve_mail(end)

    async with server(provider) as mx:
        route = make_route(
            "smtps://localhost:465",
            certificates,
            connect_to=("127.0.0.1", mx.port),
            listen="smtp://127.0.0.1:0",
        )
        async with proxy(route) as stage, connect(stage.address) as app:
            await send_mail(app, BODY)
            assert stage.recording.sessions[0].tls("server").sni == "localhost"


async def test_ipv6_on_both_sides() -> None:
    async def provider(end: End) -> None:
        assert await serve_mail(end) == [BODY]

    async with server(provider, "::1") as mx:
        route = make_route(f"smtp://[::1]:{mx.port}", listen="smtp://[::1]:0")
        async with proxy(route) as stage:
            async with connect(stage.address) as app:
                await send_mail(app, BODY)
            session = await stage.recording.over()
        await mx.finished()
    assert session.events[0].client.startswith("[::1]:")  # type: ignore[union-attr]


@pytest.mark.parametrize(("version", "header"), [(1, PROXY_V1), (2, PROXY_V2)], ids=["v1", "v2"])
async def test_proxy_protocol_header_in_one_segment_with_the_client_hello(
    certificates: Certificates, app_context: ssl.SSLContext, version: int, header: bytes
) -> None:
    async with server(serve_mail) as mx:
        route = make_route(
            f"smtp://127.0.0.1:{mx.port}",
            certificates,
            listen="smtps://127.0.0.1:0",
            accept_proxy_protocol=True,
        )
        async with proxy(route) as stage:
            async with connect(stage.address) as app:
                tls = app.begin_tls(app_context, server_name="localhost")
                with pytest.raises(ssl.SSLWantReadError):
                    tls.do_handshake()
                await app.send_raw(header + app.outgoing.read())
                app.incoming.write(await app.read_raw())
                while True:
                    try:
                        tls.do_handshake()
                        break
                    except ssl.SSLWantReadError:
                        app.incoming.write(await app.read_raw())
                await app.flush()
                app.tls = tls
                await send_mail(app, BODY)
            session = await stage.recording.over()
    (preface,) = [event for event in session.events if isinstance(event, Preface)]
    assert (preface.version, preface.source) == (version, "192.0.2.7:4711")
    assert session.said("client", "proxy") == header


@pytest.mark.parametrize("header", [PROXY_V1, PROXY_V2], ids=["v1", "v2"])
async def test_proxy_protocol_header_octet_by_octet(header: bytes) -> None:
    async with server(serve_mail) as mx:
        route = make_route(f"smtp://127.0.0.1:{mx.port}", accept_proxy_protocol=True)
        async with proxy(route) as stage:
            async with connect(stage.address) as app:
                for octet in header:
                    await app.say(bytes([octet]))
                await send_mail(app, BODY)
            session = await stage.recording.over()
    assert session.said("client", "proxy") == header
    assert session.end.outcome == "delivered"


@pytest.mark.parametrize("leaves", ["half_close", "reset"])
async def test_bare_connection_to_an_implicit_tls_port_is_no_failed_handshake(
    certificates: Certificates, leaves: str
) -> None:
    async with server(End.to_end) as mx:
        route = make_route(f"smtp://127.0.0.1:{mx.port}", certificates, listen="smtps://127.0.0.1:0")
        async with proxy(route) as stage, connect(stage.address) as probe:
            getattr(probe, leaves)()
            session = await stage.recording.over()
    assert (session.end.outcome, set(session.findings) - {"client-reset"}) == ("empty", set())


async def test_slow_ends_that_say_one_octet_at_a_time() -> None:
    async def provider(end: End) -> None:
        for octet in b"220 mx.test\r\n":
            await end.say(bytes([octet]))
        assert await serve_mail(end, greeting=b"") == [BODY]

    async with server(provider) as mx, proxy(make_route(f"smtp://127.0.0.1:{mx.port}")) as stage:
        async with connect(stage.address) as app:
            assert await app.reply() == b"220 mx.test\r\n"
            await app.ask("EHLO app.test")
            await send_envelope(app)
            for octet in BODY + b".\r\n":
                await app.say(bytes([octet]))
            assert await app.reply() == b"250 2.0.0 queued\r\n"
            await app.ask("QUIT")
        session = await stage.recording.over()
        await mx.finished()
    assert session.said("client", "server") == bytes(app.said)
