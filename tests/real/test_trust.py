"""TLS that fails: whose certificate is not trusted, who is told, in which words, and what is recorded."""

import datetime
import re
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from tests.ends import End, ScriptedServer, client, free_port, serve_commands, serve_ehlo, trusting
from tests.real.clients import CLIENTS, Mail
from tests.real.conftest import message_with
from tests.real.proxy import run_proxy
from tests.real.stage import Stage

LAST_YEAR = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=365)


def context_of(certificate: trustme.LeafCert) -> ssl.SSLContext:
    """For a server with this certificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)
    return context


BAD_CERTIFICATES: dict[str, tuple[Callable[[trustme.CA], trustme.LeafCert], str]] = {
    "unknown authority": (lambda _: trustme.CA().issue_cert("localhost"), "issuer|self.signed"),
    "another name": (lambda ca: ca.issue_cert("mx.other.test"), "(?i)hostname|name"),
    "expired": (
        lambda ca: ca.issue_cert(
            "localhost", not_before=LAST_YEAR, not_after=LAST_YEAR + datetime.timedelta(days=30)
        ),
        "expired",
    ),
}


@pytest.mark.parametrize("scheme", ["smtp", "smtp+starttls", "smtps"])
@pytest.mark.parametrize("fault", BAD_CERTIFICATES)
def test_bad_upstream_certificate_is_a_421_with_the_reason(
    authority: trustme.CA, server_ca: Path, tmp_path: Path, fault: str, scheme: str
) -> None:
    make, reason = BAD_CERTIFICATES[fault]
    context = context_of(make(authority))

    def server(end: End) -> None:
        if scheme != "smtps":
            serve_ehlo(end, "STARTTLS")
            end.hear(b"STARTTLS\r\n")
            end.say(b"220 go\r\n")
        with pytest.raises(ssl.SSLError, match="ALERT"):
            end.start_tls(context)

    with ScriptedServer(server) as provider:
        route = ("smtp://127.0.0.1:0", f"{scheme}://localhost:{provider.port}")
        with run_proxy(tmp_path, route, upstream_ca=server_ca) as proxy:
            before = proxy.mark()
            with client(proxy.port) as app:
                reply = app.reply()
                if scheme != "smtps":
                    reply = app.ask("EHLO app")
                if scheme == "smtp":
                    reply = app.ask("STARTTLS")
                assert reply.startswith(b"421 4.7.5 "), reply
                assert app.to_end() == b""
            session = proxy.session(before)
        provider.finish()

    (tls,) = session.of("tls", leg="server")
    assert tls["certificates"], "the chain is recorded on failure too"
    assert session.outcome == "failed"
    assert "upstream-tls" in session.findings
    assert re.search(reason, reply.decode()), reply
    assert re.search(reason, tls["error"])


def test_insecure_upstream_is_used_and_told_of(tmp_path: Path) -> None:
    context = context_of(trustme.CA().issue_cert("elsewhere.test"))

    def server(end: End) -> None:
        end.start_tls(context)
        serve_ehlo(end)
        serve_commands(end, {})

    with ScriptedServer(server) as provider:
        route = ("smtp://127.0.0.1:0", f"smtps://localhost:{provider.port}")
        with run_proxy(tmp_path, route, arguments=["--upstream-insecure"]) as proxy:
            before = proxy.mark()
            with client(proxy.port) as app:
                app.reply()
                app.ask("EHLO app")
                assert app.ask("QUIT").startswith(b"221 ")
            session = proxy.session(before)
    assert "upstream-not-verified" in session.findings
    assert not session.of("tls", leg="server")[0].get("verified")


@pytest.mark.parametrize("route", ["smtps-smtp", "smtp-smtps"])
def test_app_that_does_not_trust_us_is_told_what_to_do(stage: Stage, server_ca: Path, route: str) -> None:
    def server(end: End) -> None:
        if route == "smtp-smtps":
            end.start_tls(stage.server_context)
            serve_ehlo(end)
        end.to_end()

    with stage.play(server, route) as app:
        if route == "smtp-smtps":
            app.reply()
            app.ask("EHLO app")
            app.ask("STARTTLS")
        with pytest.raises(ssl.SSLCertVerificationError):
            app.start_tls(trusting(server_ca), server_name="localhost")
        app.close()

    session = stage.session()
    (tls,) = session.of("tls", leg="client")
    assert tls["alert"] == "unknown_ca"
    (finding,) = session.of("finding", code="client-tls")
    assert "smtpproxy trust" in finding["text"] + tls["advice"]


@pytest.mark.parametrize("name", ["curl", "swaks", "msmtp"])
def test_real_clients_that_do_not_trust_us(stage: Stage, server_ca: Path, tmp_path: Path, name: str) -> None:
    def server(end: End) -> None:
        end.to_end()

    before = stage.proxy.mark()
    stage.server.script = server
    log = CLIENTS[name](
        Mail(
            url=f"smtps://localhost:{stage.ports['smtps-smtp']}",
            tls="implicit",
            ca=server_ca,
            message=message_with(b"never"),
            folder=tmp_path,
        )
    )
    assert log.status != 0
    session = stage.proxy.session(before)
    # GnuTLS finishes the handshake, looks at the certificate, and leaves without an alert.
    (finding,) = session.of("finding", code="client-left-after-tls" if name == "msmtp" else "client-tls")
    assert "smtpproxy trust" in finding["text"]


def test_app_that_we_cannot_agree_with_gets_an_alert(stage: Stage) -> None:
    context = trusting(stage.proxy.ca)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AES128-SHA256")  # RSA key exchange: our leaves have EC keys

    with (
        stage.play(End.to_end, "smtps-smtp", may_miss_server=True) as app,
        pytest.raises(ssl.SSLError, match="ALERT_HANDSHAKE_FAILURE"),
    ):
        app.start_tls(context, server_name="localhost")

    session = stage.session()
    assert session.of("tls", leg="client")[0]["alert"] == "handshake_failure"


def test_tls_1_2_is_enough_on_both_legs(stage: Stage, authority: trustme.CA) -> None:
    old = context_of(authority.issue_cert("localhost"))
    old.maximum_version = ssl.TLSVersion.TLSv1_2

    def server(end: End) -> None:
        end.start_tls(old)
        serve_ehlo(end)
        serve_commands(end, {})

    with stage.play(server, "smtps-smtps") as app:
        context = trusting(stage.proxy.ca)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        app.start_tls(context, server_name="localhost")
        app.reply()
        app.ask("EHLO app")
        app.ask("QUIT")

    session = stage.session()
    assert (session.tls("client"), session.tls("server")) == ("TLSv1.2", "TLSv1.2")


def test_name_asked_for_is_the_name_that_is_certified(stage: Stage) -> None:
    def server(end: End) -> None:
        serve_ehlo(end)
        serve_commands(end, {})

    with stage.play(server, "smtps-smtp") as app:
        app.start_tls(trusting(stage.proxy.ca), server_name="smtp.provider.example")
        app.reply()
        app.ask("EHLO app")
        app.ask("QUIT")

    assert stage.session().of("tls", leg="client")[0]["sni"] == "smtp.provider.example"


def test_plain_client_on_the_tls_port(stage: Stage) -> None:
    with stage.play(End.to_end, "smtps-smtp", may_miss_server=True) as app:
        app.say(b"EHLO app\r\n")
        app.to_end()

    assert "plain-on-tls-port" in stage.session().findings


def test_tls_client_on_the_plain_port(stage: Stage) -> None:
    def server(end: End) -> None:
        end.say(b"220 mx.test ESMTP\r\n")
        end.to_end()

    with stage.play(server) as app:
        with pytest.raises(ssl.SSLError):
            app.start_tls(trusting(stage.proxy.ca), server_name="localhost")
        app.close()

    assert "tls-on-plain-port" in stage.session().findings


@pytest.mark.parametrize("scheme", ["smtp", "smtps", "smtp+starttls"])
def test_upstream_that_nobody_listens_on(tmp_path: Path, scheme: str) -> None:
    port = free_port()
    with run_proxy(tmp_path, ("smtp://127.0.0.1:0", f"{scheme}://127.0.0.1:{port}")) as proxy:
        before = proxy.mark()
        with client(proxy.port) as app:
            reply = app.reply()
            assert reply.startswith(b"421 4.4.1 smtpproxy: cannot reach 127.0.0.1:%d: " % port)
            assert b"refused" in reply
            assert app.to_end() == b""
        session = proxy.session(before)
    assert "upstream-unreachable" in session.findings
    assert session.outcome == "failed"
