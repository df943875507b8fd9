"""What a route can be told: upgrades that must not leak, PROXY headers, tunnels, certificates, bodies."""

import hashlib
import ssl
import threading
from pathlib import Path

import pytest
import trustme

from tests.ends import PATIENCE_S, End, ScriptedServer, client, serve_commands, serve_ehlo, trusting
from tests.real.proxy import run_proxy
from tests.real.recorded import Recorded
from tests.real.stage import Stage


def serve(end: End) -> None:
    """A whole plain session, with messages."""
    serve_ehlo(end, "AUTH PLAIN")
    while line := end.line():
        if line == b"DATA\r\n":
            end.say(b"354 go\r\n")
            end.until(b"\r\n.\r\n")
            end.say(b"250 2.0.0 kept\r\n")
        elif line == b"QUIT\r\n":
            end.say(b"221 2.0.0 bye\r\n")
            return
        else:
            end.say(b"250 2.0.0 ok\r\n")


def converse(app: End, body: bytes = b"Subject: hi\r\n\r\nhello\r\n") -> None:
    """The client's part of it."""
    assert app.reply().startswith(b"220 ")
    app.ask("EHLO app")
    app.ask("MAIL FROM:<a@b.test>")
    app.ask("RCPT TO:<c@d.test>")
    app.ask("DATA")
    app.say(body + b".\r\n")
    assert app.reply() == b"250 2.0.0 kept\r\n"
    assert app.ask("QUIT").startswith(b"221 ")


# nothing goes out in clear where the server's leg is to be upgraded


@pytest.mark.parametrize("first", [b"HELO app", b"MAIL FROM:<secret@sender.test>", b"AUTH PLAIN AGEAYg=="])
def test_whatever_comes_first_goes_out_encrypted(stage: Stage, first: bytes) -> None:
    in_clear: list[bytes] = []

    def server(end: End) -> None:
        serve_ehlo(end, "STARTTLS")
        end.hear(b"STARTTLS\r\n")
        in_clear.append(bytes(end.heard))
        end.say(b"220 go\r\n")
        end.start_tls(stage.server_context)
        end.hear(first + b"\r\n")
        end.say(b"250 2.0.0 heard under TLS\r\n")
        serve_commands(end, {})

    with stage.play(server, "smtp-starttls") as app:
        app.reply()
        assert app.ask(first) == b"250 2.0.0 heard under TLS\r\n"
        app.ask("QUIT")

    (clear,) = in_clear
    assert [line[:5].upper() for line in clear.splitlines()] == [b"EHLO ", b"START"]
    assert stage.session().tls("server") == "TLSv1.3"


@pytest.mark.parametrize("keywords", [[], ["PIPELINING", "AUTH PLAIN"]])
def test_server_without_starttls_gets_nothing_in_clear(stage: Stage, keywords: list[str]) -> None:
    def server(end: End) -> None:
        serve_ehlo(end, *keywords)
        end.to_end()

    with stage.play(server, "smtp-starttls") as app:
        app.reply()
        assert app.ask("EHLO app").startswith(b"421 4.7.5 ")
        assert app.to_end() == b""

    session = stage.session()
    assert "starttls-missing" in session.findings
    assert bytes(stage.provider.heard) == b"EHLO app\r\n"


@pytest.mark.parametrize("route", ["smtp-smtp", "smtp-starttls"])
def test_greeting_that_refuses_reaches_the_app(stage: Stage, route: str) -> None:
    def server(end: End) -> None:
        end.say(b"554-5.7.1 go away\r\n")
        end.say(b"554 5.7.1 your address is listed\r\n")
        end.to_end()

    with stage.play(server, route) as app:
        assert app.reply() == b"554-5.7.1 go away\r\n554 5.7.1 your address is listed\r\n"

    assert stage.session().outcome == "rejected"


def test_greeting_that_comes_in_parts_is_passed_on_in_parts(stage: Stage) -> None:
    def server(end: End) -> None:
        end.say(b"220-mx.test teaser\r\n")
        # The second part only once the client has the first.
        assert has_first.wait(PATIENCE_S)
        end.say(b"220 mx.test ESMTP\r\n")
        end.to_end()

    has_first = threading.Event()
    with stage.play(server) as app:
        assert app.line() == b"220-mx.test teaser\r\n"
        has_first.set()
        assert app.line() == b"220 mx.test ESMTP\r\n"


# flags


def run(tmp_path: Path, *arguments: str | Path, body: bytes = b"Subject: hi\r\n\r\nhello\r\n") -> Recorded:
    """One plain session through a proxy with these flags."""
    with ScriptedServer(serve) as provider:
        route = ("smtp://127.0.0.1:0", f"smtp://127.0.0.1:{provider.port}")
        with run_proxy(tmp_path, route, arguments=arguments) as proxy:
            with client(proxy.port) as app:
                converse(app, body)
            session = proxy.session(0)
        provider.finish()
    return session


def test_headers_alone_are_kept(tmp_path: Path) -> None:
    secret = b"body-nobody-keeps"
    session = run(tmp_path, "--bodies", "headers", body=b"Subject: hi\r\n\r\n" + secret + b"\r\n")
    assert session.outcome == "delivered"
    assert b"Subject: hi\r\n" in session.said("client", "server")
    assert secret not in (tmp_path / "store" / "mail.db").read_bytes()
    assert secret.decode() not in repr(session)


def test_digests_stand_for_bodies(tmp_path: Path) -> None:
    body = b"Subject: hi\r\n\r\nnobody keeps this\r\n"
    session = run(tmp_path, "--bodies", "digest", body=body)
    pieces = [event for event in session.of("content") if "sha256" in event]
    assert sum(event["octets"] for event in pieces) in (len(body), len(body) + 3)
    assert hashlib.sha256(body).hexdigest() in {event["sha256"] for event in pieces}


def test_connect_to_dials_elsewhere_and_checks_the_name(
    authority: trustme.CA, server_ca: Path, tmp_path: Path
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("smtp.provider.example").configure_cert(context)

    def server(end: End) -> None:
        end.start_tls(context)
        serve(end)

    with ScriptedServer(server) as provider:
        with run_proxy(
            tmp_path,
            ("smtp://127.0.0.1:0", "smtps://smtp.provider.example"),
            upstream_ca=server_ca,
            arguments=["--connect-to", f"127.0.0.1:{provider.port}"],
        ) as proxy:
            with client(proxy.port) as app:
                converse(app)
            session = proxy.session(0)
        provider.finish()
    (tls,) = session.of("tls", leg="server")
    assert (tls["sni"], tls["verified"]) == ("smtp.provider.example", True)


def test_client_certificate_is_shown_to_the_server(
    authority: trustme.CA, server_ca: Path, tmp_path: Path
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    ours = tmp_path / "client.pem"
    authority.issue_cert("app@sender.test").private_key_and_cert_chain_pem.write_to_path(str(ours))
    names: list[object] = []

    def server(end: End) -> None:
        end.start_tls(context)
        assert end.tls is not None
        names.append((end.tls.getpeercert() or {}).get("subjectAltName"))
        serve(end)

    with ScriptedServer(server) as provider:
        route = ("smtp://127.0.0.1:0", f"smtps://localhost:{provider.port}")
        with (
            run_proxy(
                tmp_path / "proxy", route, upstream_ca=server_ca, arguments=["--upstream-cert", ours]
            ) as proxy,
            client(proxy.port) as app,
        ):
            converse(app)
        provider.finish()
    assert names == [(("email", "app@sender.test"),)]


def test_missing_client_certificate_is_told_as_what_it_is(
    authority: trustme.CA, server_ca: Path, tmp_path: Path
) -> None:
    """In TLS 1.3 the refusal comes after our handshake has succeeded."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    context.verify_mode = ssl.CERT_REQUIRED

    def server(end: End) -> None:
        with pytest.raises(ssl.SSLError):
            end.start_tls(context)

    with ScriptedServer(server) as provider:
        route = ("smtp://127.0.0.1:0", f"smtps://localhost:{provider.port}")
        with run_proxy(tmp_path, route, upstream_ca=server_ca) as proxy:
            with client(proxy.port) as app:
                assert app.reply().startswith(b"421 4.7.5 ")
            session = proxy.session(0)
        provider.finish()
    assert "upstream-tls" in session.findings
    assert session.of("tls", leg="server")[-1]["alert"] == "certificate_required"


def test_own_certificate_is_shown_to_the_app(authority: trustme.CA, server_ca: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.pem"
    authority.issue_cert("mail.app.test").private_key_and_cert_chain_pem.write_to_path(str(own))
    with (
        run_proxy(
            tmp_path / "proxy", ("smtps://127.0.0.1:0", None), arguments=["--listen-cert", own]
        ) as proxy,
        client(proxy.port) as app,
    ):
        app.start_tls(trusting(server_ca), server_name="mail.app.test")
        assert app.reply().startswith(b"220 ")
        app.ask("QUIT")


def test_require_tls_refuses_mail_in_clear(tmp_path: Path) -> None:
    with (
        run_proxy(tmp_path, ("smtp://127.0.0.1:0", None), arguments=["--require-tls"]) as proxy,
        client(proxy.port) as app,
    ):
        app.reply()
        assert b"STARTTLS" in app.ask("EHLO app")
        assert app.ask("MAIL FROM:<a@b.test>").startswith(b"530 ")
        app.ask("STARTTLS")
        app.start_tls(trusting(proxy.ca), server_name="localhost")
        app.ask("EHLO app")
        assert app.ask("MAIL FROM:<a@b.test>").startswith(b"250 ")
        app.ask("QUIT")


PROXY_V2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x07\x7f\x00\x00\x01\x30\x39\x00\x19"


@pytest.mark.parametrize(
    "header", [b"PROXY TCP4 192.0.2.7 127.0.0.1 12345 25\r\n", PROXY_V2], ids=["v1", "v2"]
)
@pytest.mark.parametrize("listen", ["smtp", "smtps"])
def test_proxy_header_names_the_client_and_goes_no_further(
    tmp_path: Path, listen: str, header: bytes
) -> None:
    with ScriptedServer(serve) as provider:
        route = (f"{listen}://127.0.0.1:0", f"smtp://127.0.0.1:{provider.port}")
        with run_proxy(tmp_path, route, arguments=["--accept-proxy-protocol"]) as proxy:
            with client(proxy.port) as app:
                app.say(header)
                if listen == "smtps":
                    app.start_tls(trusting(proxy.ca), server_name="localhost")
                converse(app)
            session = proxy.session(0)
        provider.finish()
    (preface,) = session.of("preface")
    assert "192.0.2.7" in preface["source"]
    assert bytes(provider.ends[0].heard).startswith(b"EHLO app\r\n")


def test_missing_proxy_header_is_refused(tmp_path: Path) -> None:
    with run_proxy(tmp_path, ("smtp://127.0.0.1:0", None), arguments=["--accept-proxy-protocol"]) as proxy:
        with client(proxy.port) as app:
            app.say(b"EHLO app\r\n")
            assert b"250" not in app.to_end()
        assert "bad-proxy-header" in proxy.session(0).findings


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
def test_tunnel_passes_tls_on_unread(
    server_context: ssl.SSLContext, server_ca: Path, tmp_path: Path, scheme: str
) -> None:
    def server(end: End) -> None:
        if scheme == "smtp":
            serve_ehlo(end, "STARTTLS")
            end.hear(b"STARTTLS\r\n")
            end.say(b"220 go\r\n")
        end.start_tls(server_context)
        serve(end)

    with ScriptedServer(server) as provider:
        route = (f"{scheme}://127.0.0.1:0", f"{scheme}://localhost:{provider.port}")
        with run_proxy(tmp_path, route, arguments=["--tunnel"]) as proxy:
            with client(proxy.port) as app:
                if scheme == "smtp":
                    app.reply()
                    app.ask("EHLO app")
                    app.ask("STARTTLS")
                app.start_tls(trusting(server_ca), server_name="localhost")  # the server's own certificate
                converse(app)
            session = proxy.session(0)
        provider.finish()
    assert b"hello" not in session.said("client", "server")
    assert session.of("content") == []


def test_key_logs_open_both_legs(server_context: ssl.SSLContext, server_ca: Path, tmp_path: Path) -> None:
    def server(end: End) -> None:
        end.start_tls(server_context)
        serve(end)

    logs = tmp_path / "keys"
    with ScriptedServer(server) as provider:
        route = ("smtps://127.0.0.1:0", f"smtps://localhost:{provider.port}")
        with (
            run_proxy(
                tmp_path / "proxy", route, upstream_ca=server_ca, arguments=["--keylog", logs]
            ) as proxy,
            client(proxy.port) as app,
        ):
            app.start_tls(trusting(proxy.ca), server_name="localhost")
            converse(app)
        provider.finish()
    files = sorted(logs.iterdir())
    assert len(files) == 2
    for file in files:
        assert "CLIENT_TRAFFIC_SECRET_0 " in file.read_text()
        assert file.stat().st_mode & 0o077 == 0


def test_more_sessions_than_allowed(tmp_path: Path) -> None:
    with (
        run_proxy(tmp_path, ("smtp://127.0.0.1:0", None), arguments=["--max-sessions", "2"]) as proxy,
        client(proxy.port) as one,
        client(proxy.port) as two,
    ):
        assert one.reply().startswith(b"220 ")
        assert two.reply().startswith(b"220 ")
        with client(proxy.port) as three:
            assert three.reply().startswith(b"421 4.3.2 ")
            assert three.to_end() == b""
        assert one.ask("EHLO app").startswith(b"250")


def test_silence_ends_a_session_in_the_end(tmp_path: Path) -> None:
    with run_proxy(tmp_path, ("smtp://127.0.0.1:0", None), arguments=["--idle-timeout", "1s"]) as proxy:
        with client(proxy.port) as app:
            app.reply()
            app.ask("EHLO app")
            assert app.reply().startswith(b"421 4.4.2 ")
            assert app.to_end() == b""
        assert "timeout" in proxy.session(0).findings


def test_kept_secrets_are_a_finding(tmp_path: Path) -> None:
    with run_proxy(tmp_path, ("smtp://127.0.0.1:0", None), arguments=["--keep-secrets"]) as proxy:
        with client(proxy.port) as app:
            app.reply()
            app.ask("EHLO app")
            app.ask("AUTH PLAIN AGFsaWNlAHBhc3N3b3Jk")
            app.ask("QUIT")
        session = proxy.session(0)
    assert "keep-secrets" in session.findings
    assert b"AUTH PLAIN AGFsaWNlAHBhc3N3b3Jk\r\n" in session.said("client", "server")


def test_nothing_is_recorded_where_there_is_no_store(tmp_path: Path) -> None:
    with run_proxy(tmp_path, ("smtp://127.0.0.1:0", None), arguments=["--store", "none"]) as proxy:
        assert proxy.ready["store"] in (None, "none")
        with client(proxy.port) as app:
            app.reply()
            assert app.ask("EHLO app").startswith(b"250")
            app.ask("QUIT")
    assert list((tmp_path / "store").iterdir()) == []
