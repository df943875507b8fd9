"""Where messages end and whose the replies are: terminators, BDAT, refused DATA, LMTP, PRDR, XCLIENT."""

import threading
from typing import Any

import pytest

from tests.ends import PATIENCE_S, End, serve_commands, serve_ehlo
from tests.real.recorded import octets
from tests.real.stage import Stage

VARIANTS = [
    b"\n.\n",
    b"\n.\r\n",
    b"\n.\r",
    b"\r.\r",
    b"\r.\n",
    b"\r.\r\n",
    b"\r\n.\n",
    b"\r\n.\r",
    b"\r\n.\x00\r\n",
    b"\n.\x00\r\n",
    b"\r\r\n.\r\r\n",
    b"\r\n\x00.\r\n",
    b"\r\n..\r\n",
]
"""Thirteen sequences that are not CR LF . CR LF; all but the last three are known to have ended messages."""
LENIENT = VARIANTS[:10]
VOLATILE = ("seq", "session", "t")
"""What differs between two sessions in which the same was said."""
SMUGGLED = b"MAIL FROM:<evil@test>\r\nRCPT TO:<v@test>\r\nDATA\r\nSubject: smuggled\r\n\r\nx\r\n"


def spelt(octets: bytes) -> str:
    """An id for a test."""
    return octets.replace(b"\r", b"CR").replace(b"\n", b"LF").replace(b"\0", b"NUL").decode()


def up_to_data(app: End) -> None:
    """Everything before the content."""
    app.reply()
    app.ask("EHLO app")
    app.ask("MAIL FROM:<a@b.test>")
    app.ask("RCPT TO:<c@d.test>")
    assert app.ask("DATA").startswith(b"354 ")


def serve_up_to_data(end: End) -> None:
    """The server's part of it."""
    serve_ehlo(end, "PIPELINING", "CHUNKING")
    for reply in (b"250 2.1.0 ok\r\n", b"250 2.1.5 ok\r\n", b"354 go\r\n"):
        end.line()
        end.say(reply)


@pytest.mark.parametrize("variant", VARIANTS, ids=spelt)
def test_strict_server_gets_one_message(stage: Stage, variant: bytes) -> None:
    content = b"Subject: one\r\n\r\nbefore" + variant + SMUGGLED + b".\r\n"

    def server(end: End) -> None:
        serve_up_to_data(end)
        end.hear(content)
        end.say(b"250 2.0.0 one message\r\n")
        serve_commands(end, {})

    with stage.play(server) as app:
        up_to_data(app)
        app.say(content)
        assert app.reply() == b"250 2.0.0 one message\r\n"
        assert app.ask("QUIT").startswith(b"221 ")

    session = stage.session()
    assert b"".join(map(octets, session.of("content"))) == content
    assert session.end["messages"] == 1
    assert session.outcome == "delivered"
    assert session.verbs() == ["EHLO", "MAIL", "RCPT", "DATA", "QUIT"]
    if variant in LENIENT:
        assert "lenient-terminator" in session.findings


@pytest.mark.parametrize("variant", LENIENT, ids=spelt)
def test_lenient_server_ends_the_message_early_and_we_follow(stage: Stage, variant: bytes) -> None:
    def server(end: End) -> None:
        serve_up_to_data(end)
        end.until(variant)
        end.say(b"250 2.0.0 taken already\r\n")
        end.hear(b"NOOP\r\n")
        end.say(b"250 2.0.0 a command again\r\n")
        serve_commands(end, {})

    with stage.play(server) as app:
        up_to_data(app)
        app.say(b"Subject: one\r\n\r\nbefore" + variant)
        assert app.reply() == b"250 2.0.0 taken already\r\n"
        assert app.ask("NOOP") == b"250 2.0.0 a command again\r\n"
        assert app.ask("QUIT").startswith(b"221 ")

    session = stage.session()
    assert "smuggling-suspect" in session.findings
    assert session.verbs() == ["EHLO", "MAIL", "RCPT", "DATA", "NOOP", "QUIT"]
    assert session.said("client", "server") == bytes(stage.provider.heard)


def test_server_that_refuses_in_the_middle_of_a_message(stage: Stage) -> None:
    def server(end: End) -> None:
        serve_up_to_data(end)
        end.until(b"first part\r\n")
        end.say(b"552 5.3.4 too large already\r\n")
        end.until(b"\r\n.\r\n")
        serve_commands(end, {})

    with stage.play(server) as app:
        up_to_data(app)
        app.say(b"first part\r\n")
        assert app.reply() == b"552 5.3.4 too large already\r\n"
        app.say(b"MAIL FROM:<still@content>\r\n.\r\n")
        assert app.ask("QUIT").startswith(b"221 ")

    session = stage.session()
    assert session.said("client", "server") == bytes(stage.provider.heard)
    assert "early-reply" in session.findings


def test_refused_data_and_the_message_all_the_same(stage: Stage) -> None:
    body = b"Subject: shipped anyway\r\n\r\nhello\r\n.\r\n"

    def server(end: End) -> None:
        serve_ehlo(end)
        for reply in (b"250 ok\r\n", b"550 5.1.1 nobody\r\n", b"554 5.5.1 no valid recipients\r\n"):
            end.line()
            end.say(reply)
        for _ in range(4):
            end.line()
            end.say(b"502 5.5.2 Error: command not recognized\r\n")
        serve_commands(end, {})

    with stage.play(server) as app:
        app.reply()
        app.ask("EHLO app")
        app.ask("MAIL FROM:<a@b.test>")
        app.ask("RCPT TO:<c@d.test>")
        assert app.ask("DATA").startswith(b"554 ")
        app.say(body)
        assert [app.reply()[:3] for _ in range(4)] == [b"502"] * 4
        assert app.ask("QUIT").startswith(b"221 ")

    session = stage.session()
    assert "body-after-refusal" in session.findings
    assert session.of("content") == []
    assert session.said("client", "server") == bytes(stage.provider.heard)
    assert session.outcome == "rejected"


@pytest.mark.parametrize("is_chunk_sent_at_once", [True, False])
def test_bdat_chunk_is_counted_whatever_the_reply_is(stage: Stage, is_chunk_sent_at_once: bool) -> None:
    chunk = b"QUIT\r\nSTARTTLS\r\nAUTH PLAIN AHgAeQ==\r\n.\r\n"

    def server(end: End) -> None:
        serve_ehlo(end, "PIPELINING", "CHUNKING")
        end.line()
        end.say(b"503 5.5.1 refused before the chunk is read\r\n")
        end.hear(chunk)
        serve_commands(end, {})

    with stage.play(server) as app:
        app.reply()
        app.ask("EHLO app")
        command = b"BDAT %d LAST\r\n" % len(chunk)
        app.say(command + chunk if is_chunk_sent_at_once else command)
        assert app.reply().startswith(b"503 ")
        if not is_chunk_sent_at_once:
            app.say(chunk)
        assert app.ask("QUIT").startswith(b"221 ")

    session = stage.session()
    assert b"".join(map(octets, session.of("content"))) == chunk
    assert session.verbs() == ["EHLO", "BDAT", "QUIT"]
    assert session.of("command", verb="BDAT")[0]["size"] == len(chunk)


def test_bdat_in_chunks_carries_every_octet(stage: Stage) -> None:
    chunks = [bytes(range(256)) * 8, b"", b"\r\n.\r\n\x00\xff"]

    def server(end: End) -> None:
        serve_ehlo(end, "CHUNKING", "BINARYMIME")
        for chunk in chunks:
            end.line()
            end.hear(chunk)
            end.say(b"250 2.0.0 chunk\r\n")
        serve_commands(end, {})

    with stage.play(server) as app:
        app.reply()
        app.ask("EHLO app")
        for chunk in chunks:
            last = b" LAST" if chunk is chunks[-1] else b""
            app.say(b"BDAT %d%s\r\n%s" % (len(chunk), last, chunk))
            assert app.reply() == b"250 2.0.0 chunk\r\n"
        app.ask("QUIT")

    session = stage.session()
    assert b"".join(map(octets, session.of("content"))) == b"".join(chunks)
    assert session.said("client", "server") == bytes(stage.provider.heard)


def test_lmtp_gives_a_reply_for_each_accepted_recipient(stage: Stage) -> None:
    def server(end: End) -> None:
        assert serve_ehlo(end, "PIPELINING").startswith(b"LHLO ")
        end.line()
        end.say(b"250 2.1.0 ok\r\n")
        for reply in (b"250 2.1.5 bob\r\n", b"550 5.1.1 nobody\r\n", b"250 2.1.5 bob again\r\n"):
            end.line()
            end.say(reply)
        end.line()
        end.say(b"354 go\r\n")
        end.until(b"\r\n.\r\n")
        end.say(b"250 2.0.0 bob\r\n452 4.2.2 bob again: full\r\n")
        serve_commands(end, {b"NOOP": b"250 2.0.0 noop\r\n"})

    with stage.play(server, "lmtp-lmtp") as app:
        app.reply()
        app.ask("LHLO app")
        recipients = [b"RCPT TO:<%s@d.test>\r\n" % name for name in (b"bob", b"nobody", b"bob")]
        app.say(b"MAIL FROM:<a@b.test>\r\n" + b"".join(recipients) + b"DATA\r\n")
        assert [app.reply()[:3] for _ in range(5)] == [b"250", b"250", b"550", b"250", b"354"]
        app.say(b"Subject: lmtp\r\n\r\nhi\r\n.\r\nNOOP\r\n")
        assert [app.reply() for _ in range(3)] == [
            b"250 2.0.0 bob\r\n",
            b"452 4.2.2 bob again: full\r\n",
            b"250 2.0.0 noop\r\n",
        ]
        app.ask("QUIT")

    session = stage.session()
    (noop,) = session.of("command", verb="NOOP")
    (end_of_content,) = session.of("content", end=True)
    answers = [(reply["code"], reply.get("answers")) for reply in session.of("reply", to="client")[-4:]]
    assert answers[:3] == [(250, end_of_content["n"]), (452, end_of_content["n"]), (250, noop["n"])]
    assert session.outcome == "partial"


def test_prdr_is_decided_when_the_353_is_seen(stage: Stage) -> None:
    def server(end: End) -> None:
        serve_ehlo(end, "PRDR", "PIPELINING")
        for reply in (b"250 ok\r\n", b"250 one\r\n", b"250 two\r\n", b"354 go\r\n"):
            end.line()
            end.say(reply)
        end.until(b"\r\n.\r\n")
        end.say(b"353 content analysis has started\r\n")
        end.say(b"250 2.0.0 one\r\n550 5.7.1 not two\r\n250 2.0.0 in all\r\n")
        serve_commands(end, {b"NOOP": b"250 2.0.0 noop\r\n"})

    with stage.play(server) as app:
        app.reply()
        assert b"PRDR" in app.ask("EHLO app")
        app.ask("MAIL FROM:<a@b.test> PRDR")
        app.ask("RCPT TO:<one@d.test>")
        app.ask("RCPT TO:<two@d.test>")
        app.ask("DATA")
        app.say(b"Subject: prdr\r\n\r\nhi\r\n.\r\n")
        assert [app.reply()[:3] for _ in range(4)] == [b"353", b"250", b"550", b"250"]
        assert app.ask("NOOP") == b"250 2.0.0 noop\r\n"
        app.ask("QUIT")

    session = stage.session()
    (noop,) = session.of("command", verb="NOOP")
    assert session.of("reply", answers=noop["n"])[0]["raw"] == "250 2.0.0 noop\r\n"
    assert session.findings == set()


def test_220_to_xclient_is_a_new_greeting_and_not_tls(stage: Stage) -> None:
    def server(end: End) -> None:
        serve_ehlo(end, "XCLIENT NAME ADDR LOGIN")
        end.hear(b"XCLIENT NAME=spike.test ADDR=192.0.2.1\r\n")
        end.say(b"220 mx.test ESMTP again\r\n")
        serve_ehlo(end, "XCLIENT NAME ADDR LOGIN", greeting=None)
        serve_commands(end, {})

    with stage.play(server) as app:
        app.reply()
        assert b"XCLIENT" not in app.ask("EHLO app"), "it is the proxy's address that the server trusts"
        assert app.ask("XCLIENT NAME=spike.test ADDR=192.0.2.1") == b"220 mx.test ESMTP again\r\n"
        assert app.ask("EHLO spike").startswith(b"250")
        assert app.ask("QUIT").startswith(b"221 ")

    session = stage.session()
    assert session.of("tls") == []
    assert session.said("client", "server") == bytes(stage.provider.heard)


def test_octet_by_octet_is_the_same_conversation(stage: Stage) -> None:
    said = [
        b"EHLO app\r\n",
        b"MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n",
        b"Subject: slow\r\n\r\n..\r\nhello\r\n.\r\n",
        b"BDAT 5 LAST\r\nQUIT\n",
        b"QUIT\r\n",
    ]
    replies = [
        b"220 mx.test\r\n",
        b"250-mx.test\r\n250-PIPELINING\r\n250 CHUNKING\r\n",
        b"250 2.1.0 ok\r\n250 2.1.5 ok\r\n354 go\r\n",
        b"250 2.0.0 kept\r\n",
        b"250-2.0.0 kept\r\n250 2.0.0 this too\r\n",
        b"221 2.0.0 bye\r\n",
    ]

    def converse(step: int) -> list[dict[str, Any]]:
        def in_pieces(end: End, data: bytes) -> None:
            for start in range(0, len(data), step):
                end.say(data[start : start + step])

        def server(end: End) -> None:
            in_pieces(end, replies[0])
            for heard, reply in zip(said, replies[1:], strict=True):
                end.hear(heard)
                in_pieces(end, reply)

        with stage.play(server) as app:
            app.hear(replies[0])
            for line, reply in zip(said, replies[1:], strict=True):
                in_pieces(app, line)
                app.hear(reply)
        events = stage.session().events[1:]
        return [{key: value for key, value in event.items() if key not in VOLATILE} for event in events]

    whole = converse(1_000)
    assert whole[-1]["outcome"] == "delivered"
    assert converse(1) == whole


def test_server_that_answers_before_it_reads_does_not_block(stage: Stage) -> None:
    """Chunks larger than all buffers, each refused by a server that does not read meanwhile (RFC 3030 2)."""
    chunk, number = b"x" * 4_000_000, 3
    has_answered = threading.Event()

    def server(end: End) -> None:
        serve_ehlo(end, "PIPELINING", "CHUNKING")
        for _ in range(number):
            end.line()
            end.say(b"552 5.3.4 too large " + b"y" * 400 + b"\r\n")
            assert has_answered.wait(PATIENCE_S)
            end.hear(chunk)
        serve_commands(end, {})

    def send(app: End) -> None:
        for _ in range(number):
            app.say(b"BDAT %d LAST\r\n" % len(chunk) + chunk)

    with stage.play(server) as app:
        app.reply()
        app.ask("EHLO app")
        sender = threading.Thread(target=send, args=(app,))
        sender.start()
        # The first reply comes while the chunk that it refuses is still stuck.
        assert app.reply().startswith(b"552 ")
        has_answered.set()
        assert [app.reply()[:3] for _ in range(number - 1)] == [b"552"] * (number - 1)
        sender.join()
        assert app.ask("QUIT").startswith(b"221 ")

    assert stage.session().codes().count(552) == number


def test_large_message_passes_without_a_changed_octet(stage: Stage) -> None:
    line = bytes(octet for octet in range(256) if octet not in b"\r\n.") + b"\r\n"
    content = line * 20_000 + b".\r\n"

    def server(end: End) -> None:
        serve_up_to_data(end)
        assert end.until(b"\r\n.\r\n") == content
        end.say(b"250 2.0.0 kept\r\n")
        serve_commands(end, {})

    with stage.play(server) as app:
        up_to_data(app)
        app.say(content)
        assert app.reply() == b"250 2.0.0 kept\r\n"
        app.ask("QUIT")

    session = stage.session()
    assert b"".join(map(octets, session.of("content"))) == content
    assert session.outcome == "delivered"
