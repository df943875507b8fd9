"""Ends that end: FIN, half-close, close_notify or none, RST, by either side, in every phase, plain and TLS.

The other end must see the same kind of end, whatever was said before must have arrived, and the session must
be recorded to its end.
"""

import threading
from collections.abc import Callable
from contextlib import suppress

import pytest

from tests.ends import PATIENCE_S, End, Patience, serve_ehlo, trusting
from tests.real.proxy import smtpproxy
from tests.real.stage import Stage

PHASES = ["greeted", "half a command", "command owed", "in content", "final reply owed", "after 221"]
ENDINGS: dict[str, Callable[[End], None]] = {
    "close": End.close,
    "half-close": End.half_close,
    "reset": End.reset,
    "close_notify": lambda end: end.half_close(with_close_notify=True),
}
MESSAGE = b"Subject: hi\r\n\r\nhello\r\n"


def act_as_client(app: End, phase: str) -> None:
    """Talk up to the phase, as the client."""
    app.reply()
    app.ask("EHLO app")
    if phase == "greeted":
        return
    if phase == "half a command":
        app.say(b"MAIL FRO")
    elif phase == "command owed":
        app.say(b"NOOP\r\n")
    elif phase == "after 221":
        assert app.ask("QUIT").startswith(b"221 ")
    else:
        app.ask("MAIL FROM:<a@b.test>")
        app.ask("RCPT TO:<c@d.test>")
        app.ask("DATA")
        app.say(MESSAGE if phase == "in content" else MESSAGE + b".\r\n")


def act_as_server(end: End, phase: str) -> None:
    """The same as the server, up to the moment when all of it has been heard."""
    serve_ehlo(end)
    if phase == "command owed":
        end.hear(b"NOOP\r\n")
    elif phase == "after 221":
        end.hear(b"QUIT\r\n")
        end.say(b"221 2.0.0 bye\r\n")
    elif phase in ("in content", "final reply owed"):
        for reply in (b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"):
            end.line()
            end.say(reply)
        end.hear(MESSAGE if phase == "in content" else MESSAGE + b".\r\n")


def cases() -> list[object]:
    """(route, ending) pairs: close_notify is TLS's alone."""
    return [
        pytest.param(route, ending, id=f"{route}-{ending}")
        for route in ("smtp-smtp", "smtps-smtps")
        for ending in ENDINGS
        if route == "smtps-smtps" or ending != "close_notify"
    ]


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize(("route", "ending"), cases())
def test_client_ends(stage: Stage, route: str, ending: str, phase: str) -> None:
    def server(end: End) -> None:
        if route == "smtps-smtps":
            end.start_tls(stage.server_context)
        act_as_server(end, phase)
        if phase in ("command owed", "final reply owed"):
            # The proxy stays while a reply is owed, so that the recording has it; only then it leaves too.
            assert has_left.wait(PATIENCE_S)
            with suppress(OSError):
                end.say(b"250 2.0.0 queued\r\n")
        end.to_end()

    has_left = threading.Event()
    with stage.play(server, route) as app:
        if route == "smtps-smtps":
            app.start_tls(trusting(stage.proxy.ca), server_name="localhost")
        act_as_client(app, phase)
        if phase in ("in content", "command owed", "final reply owed"):
            # RST destroys what is on its way: only what has arrived counts.
            Patience("the server to hear it").until(lambda: len(stage.provider.heard) >= len(app.said))
        stage.nudge()
        ENDINGS[ending](app)
        has_left.set()
        if ending == "half-close":
            app.to_end()

    session = stage.session()
    assert session.is_over
    heard = bytes(stage.provider.heard)
    assert bytes(app.said).startswith(heard), "nothing else than what was said"
    if ending != "reset":
        assert heard == bytes(app.said)
        assert session.said("client", "server") == heard
    expected = {"in content": {"aborted"}, "greeted": {"empty"}, "after 221": {"empty"}}
    assert session.outcome in expected.get(phase, {"aborted", "empty", "delivered"}), session


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize(("route", "ending"), cases())
def test_server_ends(stage: Stage, route: str, ending: str, phase: str) -> None:
    def server(end: End) -> None:
        if route == "smtps-smtps":
            end.start_tls(stage.server_context)
        act_as_server(end, phase)
        if phase not in ("greeted", "half a command"):
            end.say(b"421 4.3.0 leaving\r\n")
        assert has_spoken.wait(PATIENCE_S)
        stage.nudge()
        ENDINGS[ending](end)
        if ending in ("half-close", "close_notify"):
            end.to_end()

    has_spoken = threading.Event()
    with stage.play(server, route) as app:
        if route == "smtps-smtps":
            app.start_tls(trusting(stage.proxy.ca), server_name="localhost")
        act_as_client(app, phase)
        has_spoken.set()
        rest = app.to_end()

    if phase not in ("greeted", "half a command"):
        assert rest == b"421 4.3.0 leaving\r\n", "what was said before the end arrives"
    else:
        assert rest == b""
    if phase != "after 221":
        assert (app.ended == "reset") == (ending == "reset")
    session = stage.session()
    assert session.is_over
    assert session.heard_by_client() == bytes(app.heard)


def test_client_that_left_before_the_final_reply_is_told_of_in_the_recording(stage: Stage) -> None:
    def server(end: End) -> None:
        act_as_server(end, "final reply owed")
        assert end.ended == ""
        stage.wait_for("finding", code="app-left-before-final-reply")
        end.say(b"250 2.0.0 queued as 4711\r\n")
        end.to_end()

    with stage.play(server) as app:
        act_as_client(app, "final reply owed")
        stage.nudge()
        app.close()

    session = stage.session()
    assert b"queued as 4711" in session.said("server", "client")
    assert "app-left-before-final-reply" in session.findings
    assert session.outcome == "delivered"


def test_half_close_still_gets_its_reply(stage: Stage) -> None:
    def server(end: End) -> None:
        serve_ehlo(end)
        end.hear(b"NOOP\r\n")
        assert end.to_end() == b""
        end.say(b"250 2.0.0 still here\r\n")

    with stage.play(server) as app:
        app.reply()
        app.ask("EHLO app")
        app.say(b"NOOP\r\n")
        app.half_close()
        assert app.reply() == b"250 2.0.0 still here\r\n"
        assert app.to_end() == b""

    assert stage.session().codes()[-1] == 250


def test_a_bare_connect_and_close_is_not_listed(stage: Stage) -> None:
    def server(end: End) -> None:
        end.say(b"220 mx.test ESMTP\r\n")
        end.to_end()

    with stage.play(server) as app:
        app.reply()

    session = stage.session()
    listed = smtpproxy("sessions", "--store", stage.proxy.store, "--json")
    assert session.id not in listed
