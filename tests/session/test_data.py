"""Messages after DATA: where they end for us, for a strict and a lenient server; odd octets in them."""

from collections.abc import Callable

import pytest

from smtpproxy.session.content import INSPECTED_BYTES, PIECE_BYTES
from smtpproxy.session.events import Command, Content, octets_of
from tests.session.harness import Scene
from tests.session.talk import asks, greeted, passes, quits, up_to_data

Stage = Callable[..., Scene]

VARIANTS = [
    b"\n.\n",
    b"\n.\r\n",
    b"\n.\r",
    b"\r.\n",
    b"\r.\r",
    b"\r.\r\n",
    b"\r\n.\n",
    b"\r\n.\r",
    b"\r\n\0.\r\n",
    b"\r\n.\0\r\n",
    b"\r\r\n.\r\r\n",
    b"\r\n.\r\r\n",
    b"\n.\0\n",
]
SMUGGLED = b"MAIL FROM:<evil@example.com>\r\n"


def body_of(scene: Scene) -> bytes:
    """All content, joined."""
    return b"".join(octets_of(event) for event in scene.of(Content))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("is_slow", [False, True])
def test_a_strict_server_gets_one_message(stage: Stage, variant: bytes, is_slow: bool) -> None:
    scene = up_to_data(greeted(stage()))
    message = b"Subject: hi\r\n\r\nhello" + variant + SMUGGLED + b"\r\n.\r\n"
    if is_slow:
        scene.client.drips(message)
    else:
        scene.client.says(message)
    assert scene.server.hears(message)
    scene.server.says(b"250 queued\r\n")
    assert scene.client.hears(b"250 queued\r\n")
    assert body_of(scene) == message
    assert [command.verb for command in scene.of(Command)] == ["MAIL", "RCPT", "DATA"]
    assert "lenient-terminator" in scene.findings
    quits(scene)
    assert (scene.end.outcome, scene.end.messages) == ("delivered", 1)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_lenient_server_that_answers_at_its_end_is_followed(stage: Stage, variant: bytes) -> None:
    scene = up_to_data(greeted(stage()))
    passes(scene, b"Subject: hi\r\n\r\nhello" + variant)
    scene.server.says(b"250 queued\r\n")
    assert scene.client.hears(b"250 queued\r\n")
    assert "smuggling-suspect" in scene.findings
    asks(scene, SMUGGLED, b"250 ok\r\n")
    assert scene.of(Command)[-1].verb == "MAIL"
    quits(scene)
    assert scene.end.outcome == "delivered"


@pytest.mark.parametrize("variant", [b".\n", b".\r"])
def test_the_crlf_of_data_counts_as_the_messages_first(stage: Stage, variant: bytes) -> None:
    scene = up_to_data(greeted(stage()))
    passes(scene, variant)
    scene.server.says(b"250 queued\r\n")
    assert "smuggling-suspect" in scene.findings


def test_a_lenient_end_inside_one_segment_loses_the_thread(stage: Stage) -> None:
    scene = up_to_data(greeted(stage()))
    passes(scene, b"hello\n.\n" + SMUGGLED + b"more")
    scene.server.says(b"250 queued\r\n250 sender ok\r\n")
    assert scene.client.hears(b"250 queued\r\n250 sender ok\r\n")
    assert scene.findings[:3] == ["early-reply", "smuggling-suspect", "desync"]
    passes(scene, b"RCPT TO:<v@example.com>\r\n")


def test_a_refusal_in_the_middle_is_passed_on_and_the_message_goes_on(stage: Stage) -> None:
    scene = up_to_data(greeted(stage()))
    passes(scene, b"Subject: hi\r\n\r\n")
    scene.server.says(b"552 5.3.4 too big\r\n")
    assert scene.client.hears(b"552 5.3.4 too big\r\n")
    passes(scene, b"QUIT\r\nmore\r\n.\r\n")
    asks(scene, b"RSET\r\n", b"250 ok\r\n")
    assert scene.findings == ["early-reply"]
    quits(scene)
    assert scene.end.outcome == "rejected"


def test_octets_behind_the_message_are_commands(stage: Stage) -> None:
    scene = up_to_data(greeted(stage()))
    passes(scene, b"hi\r\n.\r\nNOOP\r\nQUIT\r\n")
    scene.server.says(b"250 queued\r\n250 noop\r\n221 bye\r\n")
    assert [command.verb for command in scene.of(Command)][-2:] == ["NOOP", "QUIT"]
    assert scene.findings == []


@pytest.mark.parametrize(
    ("body", "finding"),
    [
        (b"a\nb\r\n", "bare-lf"),
        (b"a\rb\r\n", "bare-cr"),
        (b"a\0b\r\n", "nul"),
        (b"gr\xc3\xbc\xc3\x9fe\r\n", "eight-bit"),
        (b"x" * 999 + b"\r\n", "long-line"),
    ],
)
def test_what_is_odd_in_a_message_is_found_and_passed_on(stage: Stage, body: bytes, finding: str) -> None:
    scene = up_to_data(greeted(stage()))
    passes(scene, body + b".\r\n")
    assert scene.findings == [finding]


def test_what_is_announced_is_not_odd(stage: Stage) -> None:
    scene = greeted(stage())
    asks(scene, b"MAIL FROM:<a@b> BODY=8BITMIME\r\n", b"250 ok\r\n")
    asks(scene, b"DATA\r\n", b"354 go\r\n")
    passes(scene, b"gr\xc3\xbc\xc3\x9fe\r\n" + b"x" * 998 + b"\r\n.\r\n")
    assert scene.findings == []


def test_pieces_are_cut_at_the_last_lf_before_64_kib(stage: Stage) -> None:
    line = b"x" * 76 + b"\r\n"
    message = line * 3000
    whole, cut = up_to_data(greeted(stage())), up_to_data(greeted(stage()))
    whole.client.says(message + b".\r\n")
    for start in range(0, len(message), 1000):
        cut.client.says(message[start : start + 1000])
    cut.client.drips(b".\r\n")
    pieces = [octets_of(event) for event in whole.of(Content)]
    assert pieces == [octets_of(event) for event in cut.of(Content)]
    assert [len(piece) for piece in pieces[:-2]] == [PIECE_BYTES // 78 * 78] * (len(pieces) - 2)
    assert pieces[-1] == b".\r\n"


def test_a_lenient_end_across_two_pieces_is_found(stage: Stage) -> None:
    scene = up_to_data(greeted(stage()))
    first = b"x" * (PIECE_BYTES - 1) + b"\n"
    scene.client.says(first + b".\n" + b"y" * 10 + b"\r\n.\r\n")
    assert octets_of(scene.of(Content)[0]) == first
    assert "lenient-terminator" in scene.findings


def test_line_ends_are_inspected_only_so_far(stage: Stage) -> None:
    scene = up_to_data(greeted(stage()))
    for _ in range(2 * INSPECTED_BYTES // PIECE_BYTES):
        scene.client.says(b"x" * 62 + b"\r\n" + (b"y" * 62 + b"\r\n") * 1023)
    passed = len(scene.server.heard)
    scene.client.says(b"a\nb\r\n.\r\n")
    assert scene.findings == []
    assert len(scene.server.heard) == passed + 8


def test_a_stalled_message_is_recorded_line_by_line(stage: Stage) -> None:
    scene = up_to_data(greeted(stage()))
    scene.client.says(b"Subject: hi\r\n\r\nhel")
    assert scene.of(Content) == []
    scene.passes("stall")
    assert [octets_of(event) for event in scene.of(Content)] == [b"Subject: hi\r\n\r\n"]
    scene.client.says(b"lo\r\n.")
    scene.passes("stall")
    scene.client.says(b"\r\n")
    assert [octets_of(event) for event in scene.of(Content)][1:] == [b"hello\r\n", b".\r\n"]
