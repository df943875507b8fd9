"""Sessions without a server: a policy answers every turn, and what it says counts as the server's."""

from collections.abc import Callable

import pytest
from msgspec import UNSET

from smtpproxy.session.decisions import (
    Answer,
    CommandTurn,
    Connected,
    ContentTurn,
    Decision,
    Delay,
    Drop,
    Ended,
    SaslTurn,
    Turn,
)
from smtpproxy.session.events import Command, Content, Reply, Tls, octets_of
from tests.session.harness import Scene

Stage = Callable[..., Scene]


class Script:
    """A provider that says 250 to everything, but for what the test wants; it remembers what it was asked."""

    def __init__(self, **wanted: Decision) -> None:
        self.wanted = wanted
        self.turns: list[Turn] = []

    def __call__(self, turn: Turn) -> Decision:
        self.turns.append(turn)
        match turn:
            case Connected():
                return self.wanted.get("greeting", say(b"220 here\r\n"))
            case CommandTurn():
                usual = {"DATA": b"354 go\r\n", "QUIT": b"221 bye\r\n", "STARTTLS": b"220 go\r\n"}
                return self.wanted.get(turn.verb, say(usual.get(turn.verb, b"250 ok\r\n")))
            case SaslTurn():
                return self.wanted.get("sasl", say(b"235 in\r\n"))
            case ContentTurn():
                return self.wanted.get("message", say(b"250 kept\r\n"))


def say(*replies: bytes, close: bool = False) -> Answer:
    """Reply so."""
    return Answer(replies, close=close)


def test_a_message(stage: Stage) -> None:
    script = Script()
    scene = stage(policy=script)
    assert scene.client.hears(b"220 here\r\n")
    scene.client.says(b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n")
    assert scene.client.hears(b"250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n")
    scene.client.says(b"Subject: hi\r\n\r\n..\r\n.\r\nQUIT\r\n")
    assert scene.client.hears(b"250 kept\r\n221 bye\r\n")
    assert scene.client.ended == "fin"
    scene.client.leaves()
    assert (scene.end.outcome, scene.end.reason, scene.end.messages) == ("delivered", "quit", 1)
    assert scene.spoken(from_="proxy") == scene.spoken(to="proxy") == []
    [content] = [turn for turn in script.turns if isinstance(turn, ContentTurn)]
    assert (content.octets, content.sample) == (19, b"Subject: hi\r\n\r\n..\r\n")


def test_a_chunk_is_asked_about_when_it_is_there(stage: Stage) -> None:
    script = Script()
    scene = stage(policy=script)
    scene.client.says(b"BDAT 5\r\nhel")
    assert len(script.turns) == 1
    scene.client.says(b"loBDAT 0 LAST\r\nBDAT 1 LAST\r\nxNOOP\r\n")
    chunks = [(t.size, t.is_last) for t in script.turns if isinstance(t, CommandTurn) and t.verb == "BDAT"]
    assert chunks == [(5, False), (0, True), (1, True)]
    assert scene.client.hears(b"220 here\r\n" + b"250 ok\r\n" * 4)
    assert [(event.message, event.end) for event in scene.of(Content)] == [(1, False), (1, True), (2, True)]


def test_several_replies_to_one_message(stage: Stage) -> None:
    scene = stage(policy=Script(message=say(b"250 one\r\n", b"550 two\r\n")), is_lmtp=True)
    scene.client.says(b"DATA\r\n")
    scene.client.says(b".\r\n")
    scene.client.leaves()
    assert [reply.code for reply in scene.of(Reply)][-2:] == [250, 550]
    assert {reply.answers for reply in scene.of(Reply)[-2:]} == {scene.of(Content)[-1].n}
    assert scene.end.outcome == "partial"


def test_auth(stage: Stage) -> None:
    script = Script(AUTH=say(b"334 VXNlcm5hbWU6\r\n"))
    scene = stage(policy=script)
    scene.client.says(b"AUTH LOGIN\r\nYWxpY2U=\r\nNOOP\r\n")
    assert scene.client.hears(b"220 here\r\n334 VXNlcm5hbWU6\r\n235 in\r\n250 ok\r\n")
    assert isinstance(script.turns[2], SaslTurn)
    assert script.turns[2].line == b"YWxpY2U="


def test_starttls(stage: Stage) -> None:
    script = Script()
    scene = stage(policy=script)
    scene.client.says(b"STARTTLS\r\n")
    assert scene.client.hears(b"220 here\r\n220 go\r\n")
    assert scene.client.is_tls
    scene.client.says(b"EHLO x\r\n")
    assert isinstance(script.turns[-1], CommandTurn)
    assert script.turns[-1].is_tls
    assert [event.leg for event in scene.of(Tls)] == ["client"]


def test_starttls_refused_and_closed(stage: Stage) -> None:
    scene = stage(policy=Script(STARTTLS=say(b"421 bye\r\n", close=True)))
    scene.client.says(b"STARTTLS\r\n")
    assert scene.client.hears(b"220 here\r\n421 bye\r\n")
    assert scene.client.ended == "fin"


def test_injection_at_a_provider_of_ours(stage: Stage) -> None:
    scene = stage(policy=Script())
    scene.client.says(b"STARTTLS\r\nNOOP\r\n")
    assert scene.client.heard.startswith(b"220 here\r\n501 5.5.4 ")
    assert scene.findings == ["starttls-injection"]


def test_greeting_comes_under_tls_where_tls_comes_first(stage: Stage) -> None:
    scene = stage(policy=Script(), is_client_tls=True)
    assert scene.client.is_tls
    assert scene.client.hears(b"220 here\r\n")


@pytest.mark.parametrize("turn", ["greeting", "NOOP", "DATA", "sasl", "message", "BDAT", "STARTTLS"])
@pytest.mark.parametrize("is_reset", [True, False])
def test_a_connection_cut_without_a_word(stage: Stage, turn: str, is_reset: bool) -> None:
    wanted: dict[str, Decision] = {"AUTH": say(b"334 \r\n"), turn: Drop(is_reset=is_reset)}
    scene = stage(policy=Script(**wanted))
    for line in (
        b"NOOP\r\n",
        b"BDAT 2\r\nhi",
        b"AUTH X\r\n",
        b"x\r\n",
        b"DATA\r\n",
        b".\r\n",
        b"STARTTLS\r\n",
    ):
        if not scene.client.ended:
            scene.client.says(line)
    assert scene.client.ended == ("reset" if is_reset else "close")
    assert (scene.end.outcome, scene.end.reason) == ("aborted", "server-reset" if is_reset else "server-eof")


@pytest.mark.parametrize(
    ("turn", "says", "heard"),
    [
        ("NOOP", [b"NOOP\r\nRSET\r\n"], b"slow\r\n250 ok\r\n"),
        ("MAIL", [b"MAIL FROM:<a@b>\r\n", b"NOOP\r\n"], b"slow\r\n250 ok\r\n"),
        ("BDAT", [b"BDAT 2 LAST\r\nhiNOOP\r\n"], b"slow\r\n250 ok\r\n"),
        ("message", [b"DATA\r\n", b".\r\nNOOP\r\n"], b"slow\r\n250 ok\r\n"),
    ],
)
def test_a_delay_holds_what_follows(stage: Stage, turn: str, says: list[bytes], heard: bytes) -> None:
    scene = stage(policy=Script(**{turn: Delay(5.0, say(b"250 slow\r\n"))}))
    for line in says:
        scene.client.says(line)
    scene.client.heeds_nothing()
    assert scene.waits["delay"] == 5.0
    scene.passes("delay")
    assert scene.client.hears(b"250 " + heard)


def test_a_slow_greeting(stage: Stage) -> None:
    scene = stage(policy=Script(greeting=Delay(5.0, say(b"220 slow\r\n"))))
    scene.client.says(b"NOOP\r\n")
    assert scene.client.hears(b"")
    scene.passes("delay")
    assert scene.client.hears(b"220 slow\r\n250 ok\r\n")


def test_a_client_that_leaves_meanwhile_is_answered(stage: Stage) -> None:
    scene = stage(policy=Script(NOOP=Delay(5.0, say(b"250 slow\r\n"))))
    scene.client.says(b"NOOP\r\nQUIT\r\n")
    scene.client.leaves()
    assert not scene.relay.is_over
    scene.passes("delay")
    assert scene.client.hears(b"220 here\r\n250 slow\r\n221 bye\r\n")
    assert (scene.end.outcome, scene.end.reason) == ("empty", "quit")


def test_shutdown_waits_for_a_delayed_answer(stage: Stage) -> None:
    scene = stage(policy=Script(NOOP=Delay(5.0, say(b"250 slow\r\n"))))
    scene.client.says(b"NOOP\r\n")
    scene.client.heeds_nothing()
    scene.shuts_down()
    assert scene.client.hears(b"")
    scene.passes("delay")
    assert scene.client.hears(b"250 slow\r\n421 4.3.2 smtpproxy: shutting down; try again\r\n")


def test_an_answer_that_closes(stage: Stage) -> None:
    scene = stage(policy=Script(RCPT=say(b"421 4.3.2 bye\r\n", close=True)))
    scene.client.says(b"RCPT TO:<a@b>\r\nNOOP\r\n")
    assert scene.client.hears(b"220 here\r\n421 4.3.2 bye\r\n")
    assert scene.client.ended == "fin"
    scene.client.leaves()
    assert (scene.end.outcome, scene.end.reason) == ("rejected", "server-closed")


def test_what_is_said_unasked_answers_nothing(stage: Stage) -> None:
    scene = stage(policy=Script(NOOP=Answer((b"250 ok\r\n",), close=True, unasked=(b"421 idle\r\n",))))
    scene.client.says(b"NOOP\r\n")
    assert scene.client.hears(b"220 here\r\n250 ok\r\n421 idle\r\n")
    assert scene.client.ended == "fin"
    last = scene.of(Reply)[-1]
    assert (last.code, last.answers) == (421, UNSET)


def test_a_line_too_long_for_a_provider_of_ours(stage: Stage) -> None:
    scene = stage(policy=Script())
    scene.client.says(b"MAIL FROM:<" + b"x" * 150_000 + b">\r\nNOOP\r\n")
    assert scene.client.hears(b"220 here\r\n500 5.5.6 smtpproxy: line too long\r\n250 ok\r\n")
    assert [command.partial for command in scene.of(Command)] == [True, True, False, False]
    assert len(b"".join(octets_of(command) for command in scene.of(Command))) == 150_020


def test_a_policy_that_wants_all_of_a_message_is_shown_so_much_and_not_more(stage: Stage) -> None:
    script = Script()
    scene = stage(policy=script, policy_content_octets=100_000)
    scene.client.says(b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n")
    body = b"x" * 70 + b"\r\n"
    scene.client.says(body * 1000 + b".\r\n")
    scene.client.says(b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n")
    scene.client.says(body * 2000 + b".\r\n")
    scene.client.says(b"BDAT 70 LAST\r\n" + body[:70])
    short, long = [turn for turn in script.turns if isinstance(turn, ContentTurn)]
    assert (short.octets, short.sample) == (72_000, body * 1000)
    assert (long.octets, long.sample) == (144_000, (body * 2000)[:100_000])
    chunk = script.turns[-1]
    assert isinstance(chunk, CommandTurn)
    assert chunk.sample == body[:70]


def test_a_policy_is_told_of_the_end(stage: Stage) -> None:
    script = Script()
    scene = stage(policy=script)
    scene.client.says(b"QUIT\r\n")
    assert not [turn for turn in script.turns if isinstance(turn, Ended)]
    scene.client.leaves()
    assert script.turns[-1] == Ended(reason="quit")
