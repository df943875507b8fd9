"""What cannot be reached or trusted: the client is told in words, the recording has the reason."""

import contextlib
import datetime
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from smtpproxy.net import transport
from smtpproxy.net.route import Limits
from smtpproxy.session.decisions import Answer, Policy
from tests.net.conftest import context_for
from tests.net.ends import End, connect, send_mail, serve_ehlo, serve_mail, server
from tests.net.stage import Certificates, Log, make_route, proxy

HOURS = datetime.timedelta(hours=1)


@contextlib.contextmanager
def full_backlog() -> Iterator[int]:
    """A port where connecting neither succeeds nor fails: its queue is full, and nobody accepts."""
    with socket.socket() as listener, contextlib.ExitStack() as others:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            other = others.enter_context(socket.socket())
            other.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                other.connect(listener.getsockname())
        yield listener.getsockname()[1]


async def refusal_of(upstream: str, **route: object) -> tuple[bytes, Log]:
    """What an app hears of a server that cannot be had, and the session's log."""
    async with proxy(make_route(upstream, **route)) as stage:  # type: ignore[arg-type]
        async with connect(stage.address) as app:
            heard = await app.to_end()
        return heard, await stage.recording.over()


# -- dialling


async def test_connection_refused() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        at = f"127.0.0.1:{nobody.getsockname()[1]}"
        heard, session = await refusal_of(f"smtp://{at}")
    assert heard == f"421 4.4.1 smtpproxy: cannot reach {at}: connection refused\r\n".encode()
    assert at in session.finding("upstream-unreachable")
    assert session.end.outcome == "failed"


async def test_unknown_name() -> None:
    heard, session = await refusal_of("smtp://no-such-host.invalid:25")
    assert heard == b"421 4.4.1 smtpproxy: cannot reach no-such-host.invalid:25: the name is not known\r\n"
    assert session.findings == ["upstream-unreachable"]


async def test_dialling_takes_too_long() -> None:
    with full_backlog() as port:
        heard, _ = await refusal_of(f"smtp://127.0.0.1:{port}", limits=Limits(dial_timeout_s=0.2))
    assert heard == f"421 4.4.1 smtpproxy: cannot reach 127.0.0.1:{port}: timed out\r\n".encode()


async def test_no_such_unix_socket(tmp_path: Path) -> None:
    heard, _ = await refusal_of(f"unix:{tmp_path}/mx")
    assert heard == f"421 4.4.1 smtpproxy: cannot reach {tmp_path}/mx: there is no such socket\r\n".encode()


async def test_unix_socket_with_a_full_backlog_is_waited_for(tmp_path: Path) -> None:
    path = str(tmp_path / "mx")
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as other:
        listener.bind(path)
        listener.listen(0)
        other.connect(path)
        async with proxy(make_route(f"unix:{path}")) as stage, connect(stage.address) as app:
            await trio.testing.wait_all_tasks_blocked()
            assert not stage.recording.sessions[0].is_over
            listener.accept()[0].close()  # the other one's: there is room now
            listener.setblocking(False)
            await trio.lowlevel.wait_readable(listener)
            served = End(listener.accept()[0])
            async with trio.open_nursery() as nursery:
                nursery.start_soon(serve_mail, served)
                await send_mail(app, b"Subject: hi\r\n")
            served.close()


async def test_client_leaves_while_the_server_is_dialled() -> None:
    with full_backlog() as port:
        async with proxy(make_route(f"smtp://127.0.0.1:{port}")) as stage:
            before = len(list(Path("/proc/self/fd").iterdir()))
            async with connect(stage.address):
                pass
            session = await stage.recording.over()
            await trio.testing.wait_all_tasks_blocked()
            assert len(list(Path("/proc/self/fd").iterdir())) == before, "nobody dials any more"
    assert session.end.reason == "client-eof"


# -- the server's certificate


def leaf_context(certificates: Certificates, case: str) -> ssl.SSLContext:
    ca = certificates.provider
    now = datetime.datetime.now(datetime.UTC)
    match case:
        case "wrong name":
            return context_for(ca.issue_cert("other.test"))
        case "expired":
            return context_for(
                ca.issue_cert("localhost", not_before=now - 48 * HOURS, not_after=now - 24 * HOURS)
            )
        case _:
            return context_for(type(ca)().issue_cert("localhost"))


@pytest.mark.parametrize("upstream", ["smtps", "smtp+starttls", "smtp"])
@pytest.mark.parametrize(
    ("case", "reason", "alert"),
    [
        ("untrusted", "unable to get local issuer certificate", "unknown_ca"),
        ("wrong name", "Hostname mismatch", "bad_certificate"),
        ("expired", "certificate has expired", "certificate_expired"),
    ],
)
async def test_server_that_is_not_to_be_trusted(
    certificates: Certificates, upstream: str, case: str, reason: str, alert: str
) -> None:
    context = leaf_context(certificates, case)
    context.num_tickets = 0
    seen: list[str] = []

    async def provider(end: End) -> None:
        if upstream != "smtps":
            await serve_ehlo(end, "STARTTLS")
            await end.hear(b"STARTTLS\r\n")
            await end.say(b"220 go ahead\r\n")
        try:
            await end.start_tls(context)
            await end.line()
        except ssl.SSLError as error:
            seen.append(error.reason.lower())
        assert not end.heard.endswith(b"EHLO app.test\r\n") or upstream == "smtp+starttls"

    async with server(provider) as mx:
        route = make_route(f"{upstream}://localhost:{mx.port}", certificates)
        async with proxy(route) as stage:
            async with connect(stage.address) as app:
                if upstream != "smtps":
                    await app.reply()
                    await app.say(b"EHLO app.test\r\n")
                if upstream == "smtp":
                    await app.reply()
                    await app.say(b"STARTTLS\r\n")
                refusal = await app.to_end()
            session = await stage.recording.over()
        await mx.finished()

    assert refusal.startswith(b"421 4.7.5 smtpproxy: TLS with localhost:"), refusal
    assert reason.encode() in refusal
    assert refusal.count(b"\r\n") == 1
    assert len(session.tls("server").certificates) == 1
    assert session.tls("server").alert == alert
    assert reason in session.finding("upstream-tls")
    assert [f"_alert_{alert}" in reason for reason in seen] == [True], seen


async def test_server_that_refuses_our_certificate_after_the_handshake(
    certificates: Certificates, server_context: ssl.SSLContext
) -> None:
    context = context_for(certificates.provider.issue_cert("localhost"))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cafile=str(certificates.provider_ca))

    async def provider(end: End) -> None:
        with pytest.raises(ssl.SSLError):
            await end.start_tls(context)

    async with server(provider) as mx:
        heard, session = await refusal_of(f"smtps://localhost:{mx.port}", certificates=certificates)
    assert heard.startswith(b"421 4.7.5 smtpproxy: TLS with localhost:")
    assert b"certificate_required" in heard
    assert b"--upstream-cert" in heard, "what to do about it"
    assert "certificate_required" in session.finding("upstream-tls")
    assert session.end.outcome == "failed"


async def test_refusal_after_the_220_was_passed_on_is_told_under_tls(
    certificates: Certificates, app_context: ssl.SSLContext
) -> None:
    context = context_for(certificates.provider.issue_cert("localhost"))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cafile=str(certificates.provider_ca))
    is_refused = trio.Event()

    async def provider(end: End) -> None:
        await serve_ehlo(end, "STARTTLS")
        await end.hear(b"STARTTLS\r\n")
        await end.say(b"220 go ahead\r\n")
        with pytest.raises(ssl.SSLError):
            await end.start_tls(context)
        end.half_close()
        is_refused.set()
        await end.read_raw()

    async with (
        server(provider) as mx,
        proxy(make_route(f"smtp://localhost:{mx.port}", certificates)) as stage,
    ):
        async with connect(stage.address) as app:
            await app.reply()
            await app.ask("EHLO app.test")
            assert await app.ask("STARTTLS") == b"220 go ahead\r\n"
            await is_refused.wait()
            await stage.recording.found("upstream-tls")
            await app.start_tls(app_context, server_name="localhost")
            assert (await app.to_end()).startswith(b"421 4.7.5 smtpproxy: TLS with localhost:")
        session = await stage.recording.over()
    assert session.end.outcome == "failed"


async def test_client_certificate_is_shown_to_the_server(certificates: Certificates, tmp_path: Path) -> None:
    ours = tmp_path / "ours.pem"
    certificates.provider.issue_cert("app.test").private_key_and_cert_chain_pem.write_to_path(str(ours))
    context = context_for(certificates.provider.issue_cert("localhost"))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cafile=str(certificates.provider_ca))

    async def provider(end: End) -> None:
        await end.start_tls(context)
        assert end.tls is not None
        assert end.tls.getpeercert()["subjectAltName"] == (("DNS", "app.test"),)  # type: ignore[index]
        await serve_mail(end)

    async with server(provider) as mx:
        route = make_route(f"smtps://localhost:{mx.port}", certificates, client_certificate=ours)
        async with proxy(route) as stage, connect(stage.address) as app:
            await send_mail(app, b"Subject: hi\r\n")


async def test_plain_server_on_an_implicit_tls_route(certificates: Certificates) -> None:
    async def provider(end: End) -> None:
        await end.say(b"220 mx.test ESMTP\r\n")
        await end.to_end()

    async with server(provider) as mx:
        heard, _ = await refusal_of(f"smtps://localhost:{mx.port}", certificates=certificates)
    assert heard.startswith(b"421 4.7.5 smtpproxy: ")
    assert b"plain" in heard
    assert b"smtp+starttls://" in heard


@pytest.mark.parametrize("glued", [True, False], ids=["same segment", "next segment"])
@pytest.mark.parametrize("octets", [b"250 injected\r\n", b"no line end"])
async def test_server_that_injects_behind_its_220(
    certificates: Certificates, octets: bytes, glued: bool
) -> None:
    async def provider(end: End) -> None:
        await serve_ehlo(end, "STARTTLS")
        await end.hear(b"STARTTLS\r\n")
        if glued:
            await end.say(b"220 go ahead\r\n" + octets)
        else:
            await end.say(b"220 go ahead\r\n")
            await end.read_raw(1)  # the ClientHello has begun
            await end.say(octets)
        await end.read_raw()

    async with server(provider) as mx:
        route = make_route(f"smtp+starttls://localhost:{mx.port}", certificates)
        async with proxy(route) as stage:
            async with connect(stage.address) as app:
                await app.reply()
                refusal = await app.ask("EHLO app.test")
            session = await stage.recording.over()
    assert refusal.startswith(b"421 4.7.0 smtpproxy: ")
    assert session.findings.count("starttls-injection") == 1
    assert octets in session.said("server", "proxy")


async def test_server_that_is_silent_in_the_handshake(certificates: Certificates) -> None:
    async def provider(end: End) -> None:
        await end.to_end()

    async with server(provider) as mx:
        heard, session = await refusal_of(
            f"smtps://localhost:{mx.port}", certificates=certificates, limits=Limits(handshake_timeout_s=0.2)
        )
    assert heard.startswith(b"421 4.7.5 smtpproxy: TLS with localhost:")
    assert session.findings == ["upstream-tls"]


# -- the client's handshake


async def test_client_that_distrusts_us(certificates: Certificates) -> None:
    async with server(End.to_end) as mx:
        route = make_route(f"smtp://127.0.0.1:{mx.port}", certificates, listen="smtps://127.0.0.1:0")
        async with proxy(route) as stage:
            async with connect(stage.address) as app:
                with pytest.raises(ssl.SSLCertVerificationError):
                    await app.start_tls(
                        ssl.create_default_context(cafile=str(certificates.provider_ca)),
                        server_name="localhost",
                    )
            session = await stage.recording.over()
    assert session.tls("client").alert == "unknown_ca"
    assert "smtpproxy trust" in session.finding("client-tls")
    assert session.end.outcome == "failed"


async def test_client_of_too_old_a_version_sees_an_alert(certificates: Certificates) -> None:
    old = ssl.create_default_context(cafile=str(certificates.authority.certificate_path))
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    async with server(End.to_end) as mx:
        route = make_route(f"smtp://127.0.0.1:{mx.port}", certificates, listen="smtps://127.0.0.1:0")
        assert route.client_context is not None
        route.client_context.minimum_version = ssl.TLSVersion.TLSv1_3
        async with proxy(route) as stage:
            async with connect(stage.address) as app:
                with pytest.raises(ssl.SSLError, match="ALERT_PROTOCOL_VERSION"):
                    await app.start_tls(old, server_name="localhost")
            session = await stage.recording.over()
    assert session.tls("client").alert == "protocol_version"


@pytest.mark.parametrize(
    ("speaks", "finding"),
    [(b"EHLO app.test\r\n", "plain-on-tls-port"), (b"", "client-tls")],
    ids=["plain", "silent"],
)
async def test_client_without_tls_on_an_implicit_tls_port(
    certificates: Certificates, speaks: bytes, finding: str
) -> None:
    async with server(End.to_end) as mx:
        route = make_route(
            f"smtp://127.0.0.1:{mx.port}",
            certificates,
            listen="smtps://127.0.0.1:0",
            limits=Limits(handshake_timeout_s=0.2),
        )
        async with proxy(route) as stage:
            async with connect(stage.address) as app:
                await app.say(speaks)
                await app.to_end()
            session = await stage.recording.over()
    assert session.findings == [finding]
    assert session.end.outcome == "failed"


@pytest.mark.parametrize("octets", [b"STARTTLS\r\nNOOP\r\n", b"STARTTLS\r\nx"])
async def test_client_that_glues_octets_to_starttls(certificates: Certificates, octets: bytes) -> None:
    async def provider(end: End) -> None:
        await serve_ehlo(end, "STARTTLS")
        assert await end.to_end() == b"", "not even STARTTLS is passed on"

    async with server(provider) as mx:
        async with proxy(make_route(f"smtp://localhost:{mx.port}", certificates)) as stage:
            async with connect(stage.address) as app:
                await app.reply()
                await app.ask("EHLO app.test")
                await app.say(octets)
                assert (await app.to_end()).startswith(b"501 5.5.4 smtpproxy: ")
            session = await stage.recording.over()
        await mx.finished()
    assert session.findings.count("starttls-injection") == 1


async def test_octets_that_come_between_starttls_and_its_220(
    certificates: Certificates, server_context: ssl.SSLContext
) -> None:
    has_injected = trio.Event()

    async def provider(end: End) -> None:
        await serve_ehlo(end, "STARTTLS")
        await end.hear(b"STARTTLS\r\n")
        await has_injected.wait()
        await end.say(b"220 go ahead\r\n")
        with contextlib.suppress(ssl.SSLError):
            await end.start_tls(server_context)

    async with (
        server(provider) as mx,
        proxy(make_route(f"smtp://localhost:{mx.port}", certificates)) as stage,
    ):
        async with connect(stage.address) as app:
            await app.reply()
            await app.ask("EHLO app.test")
            await app.say(b"STARTTLS\r\n")
            await stage.recording.until(
                lambda: b"STARTTLS" in stage.recording.sessions[0].said("client", "server")
            )
            await app.say(b"NOOP\r\n")
            has_injected.set()
            assert (await app.to_end()).startswith(b"501 5.5.4 smtpproxy: ")
        session = await stage.recording.over()
    assert session.findings.count("starttls-injection") == 1


async def test_octets_that_wait_in_the_socket_behind_starttls(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What was read ends with STARTTLS, and the next octets of the same segment are still to be read: what
    # tells them from a handshake is one look at the socket before the 220 goes out.
    said = b"NOOP\r\n" * 9 + b"STARTTLS\r\n"
    monkeypatch.setattr(transport, "READ_BYTES", len(said))

    def make_policy(client: str) -> Policy:
        return lambda turn: Answer((b"220 ok\r\n",))

    async with proxy(make_route("sandbox:", certificates, make_policy=make_policy)) as stage:
        async with connect(stage.address) as app:
            await app.say(said + b"MAIL FROM:<injected@app.test>\r\n")
            heard = await app.to_end()
        session = await stage.recording.over()
    assert heard.startswith(b"220 ok\r\n" * 10 + b"501 5.5.4 smtpproxy: ")
    assert session.findings.count("starttls-injection") == 1
    assert session.said("client", "proxy") == b"MAIL FROM:<injected@app.test>\r\n"


# -- the PROXY header


@pytest.mark.parametrize(
    ("header", "finding"),
    [(b"EHLO app.test\r\n", "bad-proxy-header"), (b"PROXY TCP4 192.0.2.7", "timeout")],
    ids=["none", "half"],
)
async def test_proxy_header_that_does_not_come(header: bytes, finding: str) -> None:
    async with server(End.to_end) as mx:
        route = make_route(
            f"smtp://127.0.0.1:{mx.port}",
            accept_proxy_protocol=True,
            limits=Limits(proxy_header_timeout_s=0.2),
        )
        async with proxy(route) as stage:
            async with connect(stage.address) as app:
                await app.say(header)
                heard = await app.to_end()
            session = await stage.recording.over()
    assert finding in session.findings
    assert session.said("client", "proxy") == header
    if finding == "timeout":
        assert heard == b"421 4.4.2 smtpproxy: timed out waiting for the PROXY protocol header\r\n"
