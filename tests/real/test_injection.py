"""Octets glued to STARTTLS, by either side, in one segment or the next: they never count (CVE-2011-0411)."""

import ssl
import threading
from contextlib import suppress

import pytest

from tests.ends import PATIENCE_S, End, serve_commands, serve_ehlo, trusting
from tests.real.stage import Stage


def greeted(app: End) -> None:
    """Up to the EHLO reply."""
    assert app.reply().startswith(b"220 ")
    assert b"STARTTLS" in app.ask("EHLO app")


def test_command_in_the_segment_of_starttls(stage: Stage) -> None:
    def server(end: End) -> None:
        serve_ehlo(end, "STARTTLS")
        end.to_end()

    with stage.play(server) as app:
        greeted(app)
        app.say(b"STARTTLS\r\nNOOP\r\n")
        assert app.reply().startswith(b"501 5.5.4 ")
        assert app.to_end() == b""

    session = stage.session()
    assert "starttls-injection" in session.findings
    assert b"NOOP" not in stage.provider.heard
    assert b"NOOP\r\n" in session.said("client", "proxy")
    assert "NOOP" not in session.verbs()
    assert session.outcome == "failed"


def test_command_in_the_segment_after_starttls(stage: Stage) -> None:
    go = threading.Event()

    def server(end: End) -> None:
        serve_ehlo(end, "STARTTLS")
        end.hear(b"STARTTLS\r\n")
        assert go.wait(PATIENCE_S)
        with suppress(OSError):  # the proxy has left already, or leaves in the handshake
            end.say(b"220 2.0.0 go\r\n")
            end.start_tls(context)
            end.to_end()

    context = stage.server_context
    with stage.play(server) as app:
        greeted(app)
        app.say(b"STARTTLS\r\n")
        stage.wait_for("command", verb="STARTTLS")
        app.say(b"NOOP\r\n")
        go.set()
        assert app.reply().startswith(b"501 5.5.4 ")
        assert app.to_end() == b""

    session = stage.session()
    assert "starttls-injection" in session.findings
    assert b"NOOP" not in stage.provider.heard
    assert b"NOOP\r\n" in session.said("client", "proxy")


@pytest.mark.parametrize("route", ["smtp-starttls", "smtp-smtps"])
def test_command_glued_to_starttls_that_the_proxy_answers(stage: Stage, route: str) -> None:
    context = stage.server_context

    def server(end: End) -> None:
        if route == "smtp-starttls":
            serve_ehlo(end, "STARTTLS")
            end.hear(b"STARTTLS\r\n")
            end.say(b"220 2.0.0 go\r\n")
            end.start_tls(context)
            serve_ehlo(end, greeting=None)
        else:
            end.start_tls(context)
            serve_ehlo(end)
        end.to_end()

    with stage.play(server, route) as app:
        greeted(app)
        app.say(b"STARTTLS\r\nRSET\r\n")
        assert app.reply().startswith(b"501 5.5.4 ")
        assert app.to_end() == b""

    assert "starttls-injection" in stage.session().findings
    assert b"RSET" not in stage.provider.heard


def test_eager_client_hello_is_injection_too(stage: Stage) -> None:
    def server(end: End) -> None:
        serve_ehlo(end, "STARTTLS")
        end.to_end()

    with stage.play(server) as app:
        greeted(app)
        app.say(b"STARTTLS\r\n\x16\x03\x01\x00\x05hello")
        assert app.reply().startswith(b"501 5.5.4 ")
        app.to_end()

    assert "starttls-injection" in stage.session().findings


def test_commands_before_starttls_are_answered_first(stage: Stage) -> None:
    context = stage.server_context

    def server(end: End) -> None:
        serve_ehlo(end, "PIPELINING", "STARTTLS")
        end.hear(b"NOOP\r\n")
        end.say(b"250 2.0.0 noop first\r\n")
        end.hear(b"STARTTLS\r\n")
        end.say(b"220 2.0.0 go\r\n")
        end.start_tls(context)
        assert serve_ehlo(end, greeting=None) == b"EHLO app\r\n"
        serve_commands(end, {})

    with stage.play(server) as app:
        greeted(app)
        app.say(b"NOOP\r\nSTARTTLS\r\n")
        assert app.reply() == b"250 2.0.0 noop first\r\n"
        assert app.reply() == b"220 2.0.0 go\r\n"
        app.start_tls(trusting(stage.proxy.ca), server_name="localhost")
        assert b"STARTTLS" not in app.ask("EHLO app")
        assert app.ask("QUIT").startswith(b"221 ")

    session = stage.session()
    assert session.findings == set()
    assert (session.tls("client"), session.tls("server")) == ("TLSv1.3", "TLSv1.3")


@pytest.mark.parametrize("fragment", [b"250-SMTPUTF8 X\r\n", b"250 X", b"220 2.0.0 once more\r\n"])
@pytest.mark.parametrize("is_one_segment", [True, False])
@pytest.mark.parametrize("route", ["smtp-smtp", "smtp-starttls"])
def test_reply_glued_to_the_servers_220(
    stage: Stage, route: str, fragment: bytes, is_one_segment: bool
) -> None:
    def server(end: End) -> None:
        serve_ehlo(end, "STARTTLS")
        end.hear(b"STARTTLS\r\n")
        if is_one_segment:
            end.say(b"220 go\r\n" + fragment)
        else:
            end.say(b"220 go\r\n")
            end.say(fragment)
        end.to_end()

    with stage.play(server, route) as app:
        app.reply()
        if route == "smtp-smtp":
            app.ask("EHLO app")
            reply = app.ask("STARTTLS")
        else:
            reply = app.ask("EHLO app")
        assert reply.startswith(b"421 4.7.0 "), reply
        assert app.to_end() == b""

    session = stage.session()
    assert "starttls-injection" in session.findings
    assert fragment in session.said("server", "proxy")
    assert b"X" not in session.heard_by_client()
    assert session.tls("client") == session.tls("server") == ""


@pytest.mark.parametrize(
    "reply", [b"454 4.7.0 not now\r\n", b"250 ok\r\n", b"503 5.5.1 no\r\n", b"221 bye\r\n"]
)
def test_only_220_starts_tls(stage: Stage, reply: bytes) -> None:
    def server(end: End) -> None:
        serve_ehlo(end, "STARTTLS")
        end.hear(b"STARTTLS\r\n")
        end.say(reply)
        end.hear(b"NOOP\r\n")
        end.say(b"250 2.0.0 still in clear\r\n")
        end.to_end()

    with stage.play(server) as app:
        greeted(app)
        assert app.ask("STARTTLS") == reply
        assert app.ask("NOOP") == b"250 2.0.0 still in clear\r\n"

    session = stage.session()
    assert session.of("tls") == []
    assert session.said("client", "server") == bytes(stage.provider.heard)


def test_starttls_twice_is_not_shown_and_is_the_servers_to_refuse(stage: Stage) -> None:
    context = stage.server_context

    def server(end: End) -> None:
        serve_ehlo(end, "STARTTLS")
        end.hear(b"STARTTLS\r\n")
        end.say(b"220 go\r\n")
        end.start_tls(context)
        serve_ehlo(end, "STARTTLS", greeting=None)
        end.to_end()

    with stage.play(server) as app:
        greeted(app)
        app.ask("STARTTLS")
        app.start_tls(trusting(stage.proxy.ca), server_name="localhost")
        assert b"STARTTLS" not in app.ask("EHLO app")
        assert isinstance(app.tls, ssl.SSLObject)
    assert stage.session().codes()[-1] == 250
