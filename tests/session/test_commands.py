"""How each command is framed and answered: what is passed on at once, what is held, what switches modes."""

from collections.abc import Callable
from typing import Any

import pytest
from msgspec import UNSET

from smtpproxy.session.events import Auth, Command, Content, Opaque, Reply, octets_of
from tests.session.harness import Scene
from tests.session.talk import asks, greeted, passes, quits, up_to_data, up_to_rcpt

Stage = Callable[..., Scene]


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        (b"EHLO app.example\r\n", b"250-mx\r\n250 8BITMIME\r\n"),
        (b"HELO app\r\n", b"250 mx\r\n"),
        (b"MAIL FROM:<a@b> SIZE=42 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=1\r\n", b"250 2.1.0 ok\r\n"),
        (b"mail from:<a@b> BY=120;R HOLDFOR=9 MT-PRIORITY=3 REQUIRETLS AUTH=<>\r\n", b"250 ok\r\n"),
        (b"RCPT TO:<b@c> NOTIFY=SUCCESS ORCPT=rfc822;b@c\r\n", b"251 will forward\r\n"),
        (b"SEND FROM:<a@b>\r\n", b"502 5.5.1 no\r\n"),
        (b"SOML FROM:<a@b>\r\n", b"502 5.5.1 no\r\n"),
        (b"SAML FROM:<a@b>\r\n", b"502 5.5.1 no\r\n"),
        (b"RSET\r\n", b"250 ok\r\n"),
        (b"NOOP anything at all\r\n", b"250 ok\r\n"),
        (b"VRFY J\xc3\xbcrgen SMTPUTF8\r\n", b"252-maybe\r\n252 J\xc3\xbcrgen\r\n"),
        (b"EXPN list\r\n", b"250-<a@b>\r\n250 <c@d>\r\n"),
        (b"HELP\r\n", b"214-see\r\n214-RFC\r\n214 5321\r\n"),
        (b"ETRN example.com\r\n", b"253 3 pending\r\n"),
        (b"XFORWARD NAME=x ADDR=192.0.2.1\r\n", b"250 ok\r\n"),
        (b"BURL imap://u@h/INBOX;urlauth=submit+u:internal:91354 LAST\r\n", b"250 2.5.0 ok\r\n"),
        (b"NOOP\n", b"250 ok\n"),
        (b"noop\t\x00\xff\r\n", b"250 \xff\r\n"),
        (b"DATA\r\n", b"503 5.5.1 no recipients\r\n"),
        (b"STARTTLS\r\n", b"454 4.7.0 not now\r\n"),
        (b"AUTH PLAIN AGEAYg==\r\n", b"235 2.7.0 in\r\n"),
        (b"TURN\r\n", b"502 5.5.1 no\r\n"),
        (b"X-EXPS GSSAPI\r\n", b"504 no\r\n"),
        (b"X-ANONYMOUSTLS\r\n", b"500 no\r\n"),
        (b"X-LINK2STATE LAST CHUNK={x}\r\n", b"500 no\r\n"),
        (b"FROB nicate\r\n", b"500 5.5.2 what\r\n"),
    ],
)
def test_command_and_reply_pass_as_they_are(stage: Stage, line: bytes, reply: bytes) -> None:
    scene = greeted(stage())
    asks(scene, line, reply)
    command = scene.of(Command)[0]
    assert octets_of(command) == line
    answer = scene.of(Reply)[-1]
    assert (octets_of(answer), answer.answers) == (reply, command.n)
    asks(scene, b"NOOP\r\n", b"250 in step\r\n")
    assert scene.of(Reply)[-1].answers == scene.of(Command)[-1].n
    assert "unsolicited-reply" not in scene.findings
    quits(scene)


@pytest.mark.parametrize(
    "line", [b"DATA\r\n", b"AUTH LOGIN\r\n", b"XCLIENT NAME=x\r\n", b"TURN\r\n", b"FROB\r\n"]
)
def test_nothing_passes_behind_a_command_whose_reply_decides(stage: Stage, line: bytes) -> None:
    scene = greeted(stage())
    scene.client.says(line + b"NOOP\r\n")
    scene.client.says(b"RSET\r\n")
    assert scene.server.hears(line)
    scene.server.says(b"503 5.5.1 no\r\n")
    assert scene.server.hears(b"NOOP\r\nRSET\r\n")
    assert scene.findings.count("early-bytes") == 1


def test_pipelined_commands_pass_at_once_and_share_a_group(stage: Stage) -> None:
    scene = greeted(stage())
    group = b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\nDATA\r\n"
    passes(scene, group)
    scene.server.says(b"250 ok\r\n250 ok\r\n")
    scene.server.says(b"550 no\r\n354 go\r\n")
    assert scene.client.hears(b"250 ok\r\n250 ok\r\n550 no\r\n354 go\r\n")
    assert len({command.group for command in scene.of(Command)}) == 1
    passes(scene, b".\r\n")
    scene.server.says(b"250 taken\r\n")
    assert scene.client.hears(b"250 taken\r\n")
    asks(scene, b"NOOP\r\n", b"250 ok\r\n")
    assert scene.of(Command)[-1].group > scene.of(Command)[0].group


def test_xclient_gets_a_new_greeting_and_no_tls(stage: Stage) -> None:
    scene = greeted(stage())
    asks(scene, b"XCLIENT NAME=x LOGIN=bob\r\n", b"220 mx again\r\n")
    assert not scene.client.is_tls
    assert not scene.server.is_tls
    [span] = scene.of(Command)[0].redacted or []
    assert octets_of(scene.of(Command)[0])[span.at : span.at + span.length] == b"bob"
    asks(scene, b"EHLO x\r\n", b"250 mx\r\n")


def test_burl_hides_its_url_and_nothing_follows_it(stage: Stage) -> None:
    scene = greeted(stage())
    line = b"BURL imap://u@h/INBOX;urlauth=submit+u:internal:91354 LAST\r\n"
    asks(scene, line, b"250 2.5.0 ok\r\n")
    [span] = scene.of(Command)[0].redacted or []
    assert line[span.at : span.at + span.length].startswith(b"imap://")
    assert b"LAST" not in line[span.at : span.at + span.length]


def test_xexch50_takes_a_counted_blob_and_one_more_reply(stage: Stage) -> None:
    scene = greeted(stage())
    asks(scene, b"XEXCH50 7 2\r\n", b"354 send\r\n")
    passes(scene, b"QUIT\r\n\0NOOP\r\n")
    assert [octets_of(event) for event in scene.of(Opaque)] == [b"QUIT\r\n\0"]
    scene.server.says(b"250 blob\r\n250 noop\r\n")
    assert scene.client.hears(b"250 blob\r\n250 noop\r\n")
    assert scene.findings == []


@pytest.mark.parametrize("verb", [b"TURN", b"ATRN example.com"])
def test_reversed_roles_are_opaque_and_only_counted(stage: Stage, verb: bytes) -> None:
    scene = greeted(stage())
    asks(scene, verb + b"\r\n", b"250 ok\r\n")
    scene.server.says(b"EHLO mx\r\n")
    assert scene.client.hears(b"EHLO mx\r\n")
    passes(scene, b"250 app\r\n")
    scene.client.leaves()
    scene.server.leaves()
    kept = [(event.from_, event.octets) for event in scene.of(Opaque)]
    assert sorted(kept, key=str) == [("client", 9), ("server", 9)]
    assert all(event.raw is UNSET and event.raw_b64 is UNSET for event in scene.of(Opaque))


def test_an_unknown_verb_that_gets_3xx_is_a_mode_we_do_not_know(stage: Stage) -> None:
    scene = greeted(stage())
    scene.client.says(b"FROB\r\nMAIL FROM:<a@b>\r\n")
    assert scene.server.hears(b"FROB\r\n")
    scene.server.says(b"350 send frobs\r\n")
    assert scene.client.hears(b"350 send frobs\r\n")
    assert scene.server.hears(b"MAIL FROM:<a@b>\r\n")
    assert scene.findings == ["unknown-verb", "early-bytes", "desync"]
    assert [octets_of(event) for event in scene.of(Opaque)] == [b"MAIL FROM:<a@b>\r\n"]


@pytest.mark.parametrize("blank", [b"\r\n", b"\n", b" \t \r\n"])
def test_a_blank_line_that_gets_a_reply(stage: Stage, blank: bytes) -> None:
    scene = greeted(stage())
    passes(scene, blank + b"NOOP\r\n")
    scene.server.says(b"500 5.5.2 what\r\n250 ok\r\n")
    replies = scene.of(Reply)[1:]
    assert [reply.answers for reply in replies] == [command.n for command in scene.of(Command)]
    assert scene.client.hears(b"500 5.5.2 what\r\n250 ok\r\n")
    quits(scene)


def test_blank_lines_that_get_no_reply_double_nothing(stage: Stage) -> None:
    scene = greeted(stage())
    passes(scene, b"\r\n\r\n")
    asks(scene, b"EHLO x\r\n", b"250-mx\r\n250 8BITMIME\r\n")
    assert [reply.answers for reply in scene.of(Reply)[1:]] == [scene.of(Command)[-1].n]
    quits(scene)
    assert scene.end.outcome == "empty"


def test_a_session_of_two_messages(stage: Stage) -> None:
    scene = greeted(stage())
    asks(scene, b"EHLO x\r\n", b"250 mx\r\n")
    for number in (1, 2):
        up_to_data(scene)
        passes(scene, b"Subject: %d\r\n\r\n..dot\r\n.\r\n" % number)
        scene.server.says(b"250 queued\r\n")
        assert scene.client.hears(b"250 queued\r\n")
    assert [(event.message, event.end) for event in scene.of(Content)] == [
        (1, False),
        (1, True),
        (2, False),
        (2, True),
    ]
    assert [octets_of(event) for event in scene.of(Content) if event.end] == [b".\r\n", b".\r\n"]
    quits(scene)
    assert (scene.end.outcome, scene.end.messages) == ("delivered", 2)


def test_an_empty_message_is_its_terminator(stage: Stage) -> None:
    scene = up_to_data(greeted(stage()))
    passes(scene, b".\r\n")
    scene.server.says(b"250 taken\r\n")
    assert [octets_of(event) for event in scene.of(Content)] == [b".\r\n"]
    assert scene.of(Reply)[-1].answers == scene.of(Content)[-1].n


def test_a_refused_data_whose_message_comes_all_the_same(stage: Stage) -> None:
    scene = up_to_rcpt(greeted(stage()))
    asks(scene, b"DATA\r\n", b"554 5.5.1 no\r\n")
    passes(scene, b"Subject: hi\r\n")
    scene.server.says(b"500 what\r\n")
    passes(scene, b"\r\n")
    scene.server.says(b"500 what\r\n")
    passes(scene, b".\r\n")
    scene.server.says(b"500 what\r\n")
    assert "body-after-refusal" in scene.findings
    assert scene.of(Content) == []
    assert scene.of(Auth) == []


def test_the_client_speaks_before_the_greeting(stage: Stage) -> None:
    scene = stage()
    passes(scene, b"EHLO x\r\n")
    scene.server.says(b"220 mx\r\n250 hello\r\n")
    assert scene.client.hears(b"220 mx\r\n250 hello\r\n")
    assert scene.findings == ["pregreet"]
    assert [reply.answers for reply in scene.of(Reply)] == [UNSET, scene.of(Command)[0].n]


def test_a_client_that_is_faster_than_the_dial_waits(stage: Stage) -> None:
    scene = stage(is_dialled=False)
    scene.client.says(b"EHLO x\r\n")
    assert scene.server.hears(b"")
    scene.dialled()
    assert scene.server.hears(b"EHLO x\r\n")


def test_tls_on_a_plain_port_is_told_and_passed_on(stage: Stage) -> None:
    scene = greeted(stage())
    passes(scene, b"\x16\x03\x01\x00\x05hello")
    assert scene.findings == ["tls-on-plain-port", "desync"]


def test_findings_name_the_event_that_they_are_about(stage: Stage) -> None:
    scene: Any = greeted(stage())
    scene.client.says(b"NOOP\n")
    finding = scene.events[-2]
    assert (finding.code, finding.about) == ("bare-lf", scene.of(Command)[0].n)
