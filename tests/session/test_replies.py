"""Replies: streamed line by line, paired in order, however odd they are; LMTP's and PRDR's counts."""

from collections.abc import Callable

import pytest
from msgspec import UNSET

from smtpproxy.session.events import Command, Content, Reply, octets_of
from tests.session.harness import Scene
from tests.session.talk import asks, greeted, passes, quits, up_to_data, up_to_rcpt

Stage = Callable[..., Scene]


def answered(scene: Scene) -> list[int | None]:
    """What each reply answers, the greeting's aside."""
    return [None if reply.answers is UNSET else reply.answers for reply in scene.of(Reply)[1:]]


@pytest.mark.parametrize(
    "reply",
    [
        b"250\r\n",
        b"250 \r\n",
        b"250\tok\r\n",
        b"250 ok\n",
        b"250-a\n250-\n250 b\n",
        b"250-a\r\n250\r\n",
        b"250 caf\xe9\r\n",
        b"250-a\r\n251 b\r\n",
        b"250-a\r\nno code\r\n250 b\r\n",
        b"250 " + b"x" * 100_000 + b"\r\n",
        b"250-" + b"x" * 100_000 + b"\r\n250 b\r\n",
        b"250-a\r\n250 " + b"x" * 100_000 + b"\r\n",
        b"250-line\r\n" * 10_000 + b"250 end\r\n",
    ],
    ids=range(13),
)
@pytest.mark.parametrize("cut", [0, 1, 4096])
def test_a_reply_is_passed_on_and_answers_its_command(stage: Stage, reply: bytes, cut: int) -> None:
    scene = greeted(stage())
    passes(scene, b"VRFY a\r\nDATA\r\n")
    for start in range(0, len(reply), cut or len(reply)):
        scene.server.says(reply[start : start + (cut or len(reply))])
    assert scene.client.hears(reply)
    scene.server.says(b"354 go\r\n")
    passes(scene, b".\r\n")
    assert len(scene.of(Content)) == 1
    vrfy, data = (command.n for command in scene.of(Command))
    pieces = [event for event in scene.of(Reply) if event.answers == vrfy]
    assert b"".join(map(octets_of, pieces)) == reply
    assert [piece.partial for piece in pieces] == [True] * (len(pieces) - 1) + [False]
    assert pieces[-1].code == (251 if b"251" in reply else 250)
    assert scene.of(Reply)[-1].answers == data


@pytest.mark.parametrize(
    "noise", [b"\r\n", b"\n", b"hello\r\n", b"2x0 what\r\n", b"25\r\n", b"250x\r\n", b"\0\r\n"]
)
def test_what_is_no_reply_answers_nothing(stage: Stage, noise: bytes) -> None:
    scene = greeted(stage())
    passes(scene, b"NOOP\r\n")
    scene.server.says(noise + b"250 ok\r\n" + noise)
    assert scene.client.hears(noise + b"250 ok\r\n" + noise)
    assert answered(scene) == [None, scene.of(Command)[0].n, None]
    assert scene.findings == ["malformed-reply"]


def test_lines_pass_before_the_reply_is_complete(stage: Stage) -> None:
    scene = stage()
    scene.server.says(b"220-teaser\r\n220")
    assert scene.client.hears(b"220-teaser\r\n")
    scene.server.says(b" mx\r\n")
    assert scene.client.hears(b"220 mx\r\n")
    assert [octets_of(reply) for reply in scene.of(Reply)] == [b"220-teaser\r\n220 mx\r\n"]


def test_mixed_codes_are_found_and_the_last_one_counts(stage: Stage) -> None:
    scene = greeted(stage())
    asks(scene, b"NOOP\r\n", b"250-a\r\n421 b\r\n")
    assert scene.findings == ["mixed-codes"]
    assert scene.of(Reply)[-1].code == 421


@pytest.mark.parametrize(
    ("reply", "findings"),
    [
        (b"250 what\r\n", ["unsolicited-reply"]),
        (b"421 4.3.2 bye\r\n", []),
        (b"221 2.7.0 I can break rules too\r\n", []),
        (b"354 go\r\n", ["desync"]),
    ],
)
def test_a_reply_that_nothing_asked_for(stage: Stage, reply: bytes, findings: list[str]) -> None:
    scene = greeted(stage())
    scene.server.says(reply)
    assert scene.client.hears(reply)
    assert scene.findings == findings


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        (b"NOOP\r\n", b"354 go\r\n"),
        (b"DATA\r\n", b"334 \r\n"),
        (b"RSET\r\n", b"350 x\r\n"),
        (b"AUTH X\r\n", b"354 x\r\n"),
    ],
)
def test_a_3xx_in_the_wrong_place_loses_the_thread(stage: Stage, line: bytes, reply: bytes) -> None:
    scene = greeted(stage())
    passes(scene, line)
    scene.server.says(reply)
    assert scene.client.hears(reply)
    assert scene.findings[-1] == "desync"
    passes(scene, b"anything\0at all")
    scene.server.says(b"\xff")
    assert scene.client.hears(b"\xff")


def test_lmtp_gives_each_accepted_recipient_its_reply_in_order(stage: Stage) -> None:
    scene = greeted(stage(is_lmtp=True))
    asks(scene, b"LHLO app\r\n", b"250 mx\r\n")
    asks(scene, b"MAIL FROM:<a@b>\r\n", b"250 ok\r\n")
    for address, reply in ((b"x", b"250 ok\r\n"), (b"y", b"550 no\r\n"), (b"x", b"250 again\r\n")):
        asks(scene, b"RCPT TO:<" + address + b"@d>\r\n", reply)
    asks(scene, b"DATA\r\n", b"354 go\r\n")
    passes(scene, b"hi\r\n.\r\nRSET\r\n")
    scene.server.says(b"250 one\r\n452 two\r\n250 reset\r\n")
    end, reset = scene.of(Content)[-1].n, scene.of(Command)[-1].n
    assert answered(scene)[-3:] == [end, end, reset]
    assert scene.client.hears(b"250 one\r\n452 two\r\n250 reset\r\n")
    quits(scene)
    assert scene.end.outcome == "partial"


def test_lhlo_means_lmtp_on_any_route(stage: Stage) -> None:
    scene = greeted(stage())
    asks(scene, b"LHLO app\r\n", b"250 mx\r\n")
    up_to_data(scene, recipients=2)
    passes(scene, b".\r\nNOOP\r\n")
    scene.server.says(b"250 one\r\n250 two\r\n250 noop\r\n")
    assert answered(scene)[-1] == scene.of(Command)[-1].n
    assert scene.findings == []


def test_prdr_is_decided_by_the_353(stage: Stage) -> None:
    scene = up_to_data(greeted(stage()), recipients=2)
    passes(scene, b".\r\nNOOP\r\n")
    scene.server.says(b"353 each\r\n250 one\r\n550 two\r\n250 all\r\n250 noop\r\n")
    end, noop = scene.of(Content)[-1].n, scene.of(Command)[-1].n
    assert answered(scene)[-5:] == [end, end, end, end, noop]
    assert scene.client.hears(b"353 each\r\n250 one\r\n550 two\r\n250 all\r\n250 noop\r\n")
    up_to_data(scene, recipients=2)
    passes(scene, b".\r\nNOOP\r\n")
    scene.server.says(b"250 no prdr\r\n250 noop\r\n")
    assert answered(scene)[-1] == scene.of(Command)[-1].n
    assert scene.findings == []


def test_a_tail_without_a_line_end_is_passed_on_when_the_server_leaves(stage: Stage) -> None:
    scene = greeted(stage())
    passes(scene, b"EHLO x\r\n")
    scene.server.says(b"250-mx\r\n250 SI")
    assert scene.client.hears(b"")
    scene.server.leaves()
    assert scene.client.hears(b"250-mx\r\n250 SI")
    assert scene.of(Reply)[-1].partial
    assert scene.findings == ["server-left"]


def test_refused_recipients_do_not_count(stage: Stage) -> None:
    scene = up_to_rcpt(greeted(stage(is_lmtp=True)))
    asks(scene, b"RSET\r\n", b"250 ok\r\n")
    up_to_data(scene, recipients=1)
    passes(scene, b".\r\nNOOP\r\n")
    scene.server.says(b"250 one\r\n250 noop\r\n")
    assert answered(scene)[-1] == scene.of(Command)[-1].n
