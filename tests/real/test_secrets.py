"""AUTH as it goes wrong: split, cancelled, refused, echoed; the server gets all of it, files no secret."""

import base64
import hashlib
import hmac

import pytest

from tests.ends import End, serve_commands, serve_ehlo
from tests.real.recorded import leaks
from tests.real.stage import Stage

PASSWORD = "Kestrel+27/plumb9=Quay"
TOKEN = "ya29.Bearer-token_0123456789.abcdefghijklmnop"


def b64(text: str | bytes) -> bytes:
    """In base64, without a line end."""
    return base64.b64encode(text.encode() if isinstance(text, str) else text)


def log_in(app: End) -> None:
    """Up to the prompt for the password."""
    app.reply()
    app.ask("EHLO app")
    assert app.ask("AUTH LOGIN") == b"334 VXNlcm5hbWU6\r\n"
    assert app.ask(b64("alice")) == b"334 UGFzc3dvcmQ6\r\n"


def serve_log_in(end: End) -> None:
    """The server's part of it."""
    serve_ehlo(end, "AUTH LOGIN PLAIN XOAUTH2 OAUTHBEARER CRAM-MD5 X-OWN")
    end.hear(b"AUTH LOGIN\r\n")
    end.say(b"334 VXNlcm5hbWU6\r\n")
    end.hear(b64("alice") + b"\r\n")
    end.say(b"334 UGFzc3dvcmQ6\r\n")


def nothing_leaked(stage: Stage, *secrets: str) -> None:
    """Not in a file, not on standard output, not on standard error."""
    stage.session()
    assert leaks(stage.proxy.folder, *secrets) == []
    output = stage.proxy.folder / "output"
    output.mkdir(exist_ok=True)
    (output / "lines").write_text("".join(stage.proxy.lines))
    assert leaks(output, *secrets) == []


@pytest.mark.parametrize("cut", [1, 7, 20, len(b64(PASSWORD)), len(b64(PASSWORD)) + 1])
def test_password_split_between_segments(stage: Stage, cut: int) -> None:
    line = b64(PASSWORD) + b"\r\n"

    def server(end: End) -> None:
        serve_log_in(end)
        end.hear(line)
        end.say(b"235 2.7.0 welcome\r\n")
        serve_commands(end, {})

    with stage.play(server) as app:
        log_in(app)
        app.say(line[:cut])
        stage.nudge()
        app.say(line[cut:])
        assert app.reply() == b"235 2.7.0 welcome\r\n"
        app.ask("QUIT")

    nothing_leaked(stage, PASSWORD)
    (command,) = stage.session().of("command", verb="AUTH")
    assert command["mechanism"] == "LOGIN"
    assert len(stage.session().of("auth")) == 2


def test_client_that_leaves_in_the_middle_of_its_password(stage: Stage) -> None:
    def server(end: End) -> None:
        serve_log_in(end)
        end.to_end()

    with stage.play(server) as app:
        log_in(app)
        app.say(b64(PASSWORD)[:20])
        stage.nudge()

    nothing_leaked(stage, PASSWORD)


def test_cancelled_after_the_password_was_half_typed(stage: Stage) -> None:
    def server(end: End) -> None:
        serve_log_in(end)
        end.hear(b"*\r\n")
        end.say(b"501 5.7.0 cancelled\r\n")
        serve_commands(end, {})

    with stage.play(server) as app:
        log_in(app)
        assert app.ask("*") == b"501 5.7.0 cancelled\r\n"
        assert app.ask("NOOP").startswith(b"250 ")
        app.ask("QUIT")

    session = stage.session()
    assert session.verbs() == ["EHLO", "AUTH", "NOOP", "QUIT"]
    assert [event["raw"] for event in session.of("auth")][-1] == "*\r\n"


def test_refused_auth_and_the_lines_that_follow_and_their_echo(stage: Stage) -> None:
    def server(end: End) -> None:
        serve_ehlo(end, "AUTH LOGIN")
        end.hear(b"AUTH LOGIN\r\n")
        end.say(b"503 5.5.1 already authenticated\r\n")
        for secret in (b64("alice"), b64(PASSWORD)):
            end.hear(secret + b"\r\n")
            end.say(b'500 Error: command "' + secret + b'" not recognized\r\n')
        serve_commands(end, {})

    with stage.play(server) as app:
        app.reply()
        app.ask("EHLO app")
        assert app.ask("AUTH LOGIN").startswith(b"503 ")
        app.ask(b64("alice"))
        assert app.ask(b64(PASSWORD)) == b'500 Error: command "' + b64(PASSWORD) + b'" not recognized\r\n'
        app.ask("QUIT")

    nothing_leaked(stage, PASSWORD)
    assert b"not recognized" in stage.session().heard_by_client()


def test_password_that_the_server_decodes_and_echoes(stage: Stage) -> None:
    def server(end: End) -> None:
        serve_log_in(end)
        end.hear(b64(PASSWORD) + b"\r\n")
        end.say(b"535-5.7.8 no such password:\r\n535 5.7.8 " + PASSWORD.encode() + b"\r\n")
        serve_commands(end, {})

    with stage.play(server) as app:
        log_in(app)
        assert PASSWORD.encode() in app.ask(b64(PASSWORD))
        app.ask("QUIT")

    nothing_leaked(stage, PASSWORD)
    assert b"535 5.7.8 " in stage.session().heard_by_client()


@pytest.mark.parametrize("answer", [b"", b"AQ=="])
@pytest.mark.parametrize("mechanism", ["OAUTHBEARER", "XOAUTH2"])
def test_bearer_token_refused_with_json_that_is_answered_with_little(
    stage: Stage, mechanism: str, answer: bytes
) -> None:
    blob = b64(
        f"n,a=alice,\1auth=Bearer {TOKEN}\1\1"
        if mechanism == "OAUTHBEARER"
        else f"user=alice\1auth=Bearer {TOKEN}\1\1"
    )

    def server(end: End) -> None:
        serve_ehlo(end, "AUTH OAUTHBEARER XOAUTH2")
        end.hear(f"AUTH {mechanism} ".encode() + blob + b"\r\n")
        end.say(b"334 " + b64('{"status":"401"}') + b"\r\n")
        end.hear(answer + b"\r\n")
        end.say(b"535 5.7.8 refused\r\n")
        serve_commands(end, {})

    with stage.play(server) as app:
        app.reply()
        app.ask("EHLO app")
        assert app.ask(f"AUTH {mechanism} ".encode() + blob).startswith(b"334 ")
        assert app.ask(answer) == b"535 5.7.8 refused\r\n"
        assert app.ask("NOOP").startswith(b"250 ")
        app.ask("QUIT")

    nothing_leaked(stage, TOKEN)
    session = stage.session()
    assert session.verbs() == ["EHLO", "AUTH", "NOOP", "QUIT"], "the short line is no command"
    assert session.of("command", verb="AUTH")[0]["identity"] == "alice"


def test_unknown_mechanism_is_secret_throughout(stage: Stage) -> None:
    lines = [b64("first " + PASSWORD), b64("x"), b64(PASSWORD + " third")]

    def server(end: End) -> None:
        serve_ehlo(end, "AUTH X-OWN")
        end.hear(b"AUTH X-OWN " + lines[0] + b"\r\n")
        for line in lines[1:]:
            end.say(b"334 bmV4dA==\r\n")
            end.hear(line + b"\r\n")
        end.say(b"235 2.7.0 welcome\r\n")
        serve_commands(end, {})

    with stage.play(server) as app:
        app.reply()
        app.ask("EHLO app")
        app.ask(b"AUTH X-OWN " + lines[0])
        app.ask(lines[1])
        assert app.ask(lines[2]).startswith(b"235 ")
        app.ask("QUIT")

    nothing_leaked(stage, PASSWORD)


def test_digest_of_cram_md5_allows_no_guessing(stage: Stage) -> None:
    challenge = b"<1896.697170952@mx.test>"
    digest = hmac.new(PASSWORD.encode(), challenge, hashlib.md5).hexdigest()

    def server(end: End) -> None:
        serve_ehlo(end, "AUTH CRAM-MD5")
        end.hear(b"AUTH CRAM-MD5\r\n")
        end.say(b"334 " + b64(challenge) + b"\r\n")
        end.hear(b64(f"alice {digest}") + b"\r\n")
        end.say(b"235 2.7.0 welcome\r\n")
        serve_commands(end, {})

    with stage.play(server) as app:
        app.reply()
        app.ask("EHLO app")
        assert app.ask("AUTH CRAM-MD5") == b"334 " + b64(challenge) + b"\r\n"
        assert app.ask(b64(f"alice {digest}")).startswith(b"235 ")
        app.ask("QUIT")

    nothing_leaked(stage, digest)
    assert b64(challenge) in stage.session().heard_by_client()


def test_the_same_text_in_a_message_is_just_text(stage: Stage) -> None:
    content = b"Subject: hi\r\n\r\n" + PASSWORD.encode() + b"\r\nAUTH PLAIN " + b64("\0a\0b") + b"\r\n.\r\n"

    def server(end: End) -> None:
        serve_log_in(end)
        end.line()
        end.say(b"235 2.7.0 welcome\r\n")
        for reply in (b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"):
            end.line()
            end.say(reply)
        end.hear(content)
        end.say(b"250 2.0.0 kept\r\n")
        serve_commands(end, {})

    with stage.play(server) as app:
        log_in(app)
        app.ask(b64(PASSWORD + "x"))
        app.ask("MAIL FROM:<a@b.test>")
        app.ask("RCPT TO:<c@d.test>")
        app.ask("DATA")
        app.say(content)
        app.reply()
        app.ask("QUIT")

    assert stage.session().content() == content[:-3]
