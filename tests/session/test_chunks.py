"""BDAT (RFC 3030): chunks are counted, whatever is in them and whatever the server says to them."""

from collections.abc import Callable

import pytest

from smtpproxy.session.events import Command, Content, Reply, octets_of
from tests.session.harness import Scene
from tests.session.talk import asks, greeted, passes, quits, up_to_rcpt

Stage = Callable[..., Scene]


def contents(scene: Scene) -> list[tuple[bytes, int, bool]]:
    """Octets, message and end of each piece."""
    return [(octets_of(event), event.message, event.end) for event in scene.of(Content)]


def test_a_chunk_refused_before_it_came_is_still_a_chunk(stage: Stage) -> None:
    scene = greeted(stage())
    asks(scene, b"BDAT 12 LAST\r\n", b"503 5.5.1 no sender\r\n")
    passes(scene, b"QUIT\r\nRSET\r\n")
    asks(scene, b"NOOP\r\n", b"250 ok\r\n")
    assert [command.verb for command in scene.of(Command)] == ["BDAT", "NOOP"]
    assert contents(scene) == [(b"QUIT\r\nRSET\r\n", 1, True)]
    quits(scene)
    assert scene.end.outcome == "rejected"


def test_chunks_and_commands_in_one_segment(stage: Stage) -> None:
    scene = up_to_rcpt(greeted(stage()))
    passes(scene, b"BDAT 5\r\nhelloBDAT 3\r\n\r\n.BDAT 0 LAST\r\nMAIL FROM:<x@y>\r\nNOOP\r\n")
    scene.server.says(b"250 5\r\n250 3\r\n250 queued\r\n250 sender\r\n250 noop\r\n")
    assert [command.verb for command in scene.of(Command)][2:] == ["BDAT", "BDAT", "BDAT", "MAIL", "NOOP"]
    assert contents(scene) == [(b"hello", 1, False), (b"\r\n.", 1, False), (b"", 1, True)]
    assert [reply.answers for reply in scene.of(Reply)][-5:] == [command.n for command in scene.of(Command)][
        2:
    ]
    assert scene.findings == []
    assert scene.client.hears(b"250 5\r\n250 3\r\n250 queued\r\n250 sender\r\n250 noop\r\n")
    asks(scene, b"RSET\r\n", b"250 ok\r\n")
    quits(scene)
    assert (scene.end.outcome, scene.end.messages) == ("delivered", 1)


def test_octet_by_octet(stage: Stage) -> None:
    scene = up_to_rcpt(greeted(stage()))
    scene.client.drips(b"bdat 7 last\r\n\0\xff\r\n.\r\nNOOP\r\n")
    assert scene.server.hears(b"bdat 7 last\r\n\0\xff\r\n.\r\nNOOP\r\n")
    assert contents(scene) == [(b"\0\xff\r\n.\r\n", 1, True)]
    assert (scene.of(Command)[-2].size, scene.of(Command)[-2].last) == (7, True)
    assert scene.of(Command)[-1].verb == "NOOP"


def test_replies_pass_while_a_chunk_is_on_its_way(stage: Stage) -> None:
    scene = up_to_rcpt(greeted(stage()))
    passes(scene, b"BDAT 100\r\nbegin")
    scene.server.says(b"552 5.3.4 too big\r\n")
    assert scene.client.hears(b"552 5.3.4 too big\r\n")
    passes(scene, b"x" * 95)
    asks(scene, b"RSET\r\n", b"250 ok\r\n")
    up_to_rcpt(scene)
    passes(scene, b"BDAT 1 LAST\r\ny")
    scene.server.says(b"250 queued\r\n")
    assert [message for _, message, _ in contents(scene)] == [1, 2]


@pytest.mark.parametrize(
    "argument",
    [
        b"",
        b" ",
        b"-1",
        b"+5 LAST",
        b"0x5",
        b"5 FIRST",
        b"5 LAST LAST",
        b"5LAST",
        b"1e3",
        b"9223372036854775808",
    ],
)
def test_without_a_proper_size_the_framing_is_lost(stage: Stage, argument: bytes) -> None:
    scene = greeted(stage())
    passes(scene, b"BDAT " + argument + b"\r\nhello\r\n.\r\n")
    scene.server.says(b"521 5.5.1 bye\r\n")
    assert scene.client.hears(b"521 5.5.1 bye\r\n")
    assert scene.findings == ["bad-bdat", "desync"]
    scene.server.leaves()
    assert scene.client.ended == "fin"


def test_the_largest_size_is_a_size(stage: Stage) -> None:
    scene = greeted(stage())
    passes(scene, b"BDAT 9223372036854775807 LAST\r\nhello")
    scene.client.leaves()
    assert contents(scene) == [(b"hello", 1, False)]
    assert scene.findings == ["app-left-before-final-reply"]


def test_chunks_without_a_last_end_at_rset(stage: Stage) -> None:
    scene = up_to_rcpt(greeted(stage()))
    passes(scene, b"BDAT 5\r\nhelloRSET\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nBDAT 2 LAST\r\nhi")
    scene.server.says(b"250 5\r\n250 reset\r\n250 ok\r\n250 ok\r\n250 queued\r\n")
    assert contents(scene) == [(b"hello", 1, False), (b"hi", 2, True)]
    scene.client.hears(b"250 5\r\n250 reset\r\n250 ok\r\n250 ok\r\n250 queued\r\n")
    quits(scene)
    assert (scene.end.outcome, scene.end.messages) == ("delivered", 2)


def test_binary_octets_are_no_findings(stage: Stage) -> None:
    scene = up_to_rcpt(greeted(stage()))
    passes(scene, b"BDAT 9 LAST\r\n\0\xff\n.\n\r.\r\n")
    assert scene.findings == []


def test_under_lmtp_the_last_chunk_gets_a_reply_per_recipient(stage: Stage) -> None:
    scene = up_to_rcpt(greeted(stage(is_lmtp=True)), recipients=2)
    passes(scene, b"BDAT 2\r\nhiBDAT 0 LAST\r\nNOOP\r\n")
    scene.server.says(b"250 2\r\n250 one\r\n452 two\r\n250 noop\r\n")
    first, last, noop = scene.of(Command)[-3:]
    assert [reply.answers for reply in scene.of(Reply)][-4:] == [first.n, last.n, last.n, noop.n]
