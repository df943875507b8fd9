"""Who speaks when in a replay: messages with commands behind them in one group, replies nobody asked for."""

from tests.conversation import Conversation
from tests.replay.playing import SILENT, Answer, Played, plan_for

OFFERS = "250-mx\n250-PIPELINING\n250 CHUNKING"


def hello() -> Conversation:
    return (
        Conversation().server("220 mx").client("EHLO app").server("250-mx", "250-PIPELINING", "250 CHUNKING")
    )


def envelope(talk: Conversation, sender: str) -> Conversation:
    """MAIL, RCPT and DATA, one by one, but DATA in group 3."""
    talk.client(f"MAIL FROM:<{sender}@example.com>").server("250 ok")
    talk.client("RCPT TO:<bob@example.com>").server("250 ok")
    return talk.client("DATA", group=3).server("354 go")


def two_messages() -> Conversation:
    """The second MAIL goes out with the first message, before the reply to that is in."""
    talk = envelope(hello(), "a").content("One\r\n")
    first = talk.n
    talk.client("MAIL FROM:<b@example.com>", group=3)
    mail = talk.n
    talk.server("250 queued 1", answers=first).server("250 ok", answers=mail)
    talk.client("RCPT TO:<bob@example.com>").server("250 ok").client("DATA", group=4).server("354 go")
    return talk.content("Two\r\n").server("250 queued 2").client("QUIT").server("221 bye").end()


def two_chunks() -> Conversation:
    """The same with chunks (RFC 3030)."""
    talk = hello().client("MAIL FROM:<a@example.com>").server("250 ok")
    talk.client("RCPT TO:<bob@example.com>").server("250 ok")
    talk.client("BDAT 5 LAST", size=5, last=True, group=3)
    chunk = talk.n
    talk.content(b"One\r\n", end="", bdat=True).client("MAIL FROM:<b@example.com>", group=3)
    mail = talk.n
    talk.server("250 queued 1", answers=chunk).server("250 ok", answers=mail)
    return talk.client("RCPT TO:<bob@example.com>").server("250 ok").client("QUIT").server("221 bye").end()


def test_what_was_said_with_a_message_is_said_with_it_again() -> None:
    answers: list[Answer] = ["220 mx", OFFERS, "250 ok", "250 ok", "354 go"]
    answers += ["250 queued", "250 ok", "250 ok", "354 go", "250 queued", "221 bye"]
    played = Played(two_messages(), answers)
    assert "One\n.\nMAIL FROM:<b@example.com>\n" in played.said
    assert played.result.status == "same"


def test_what_was_said_with_a_message_waits_where_the_server_offers_no_pipelining() -> None:
    answers: list[Answer] = ["220 mx", "250-mx\n250 CHUNKING", "250 ok", "250 ok", "354 go"]
    answers += ["250 queued", "250 ok", "250 ok", "354 go", "250 queued", "221 bye"]
    played = Played(two_messages(), answers)
    assert "One\n.\n" in played.said


def test_a_message_that_is_refused_leaves_the_next_transaction_alone() -> None:
    answers: list[Answer] = ["220 mx", OFFERS, "250 ok", "250 ok", "354 go"]
    answers += ["554 no", "250 ok", "250 ok", "354 go", "250 queued", "221 bye"]
    played = Played(two_messages(), answers)
    assert "RSET" not in played.lines
    assert [step for step, _, _ in played.differences] == [6]
    assert "not-played" not in played.verdicts


def test_a_last_chunk_that_is_refused_leaves_the_next_transaction_alone() -> None:
    answers: list[Answer] = ["220 mx", OFFERS, "250 ok", "250 ok", "554 no", "250 ok", "250 ok", "221 bye"]
    played = Played(two_chunks(), answers)
    assert "RSET" not in played.lines
    assert [step for step, _, _ in played.differences] == [5]
    assert "not-played" not in played.verdicts


def test_a_message_that_may_be_tried_again_has_nothing_said_with_it() -> None:
    answers: list[Answer] = ["220 mx", OFFERS, "250 ok", "250 ok", "354 go", "451 later"]
    answers += ["250 ok", "250 ok", "354 go", "250 queued"]
    answers += ["250 ok", "250 ok", "354 go", "250 queued", "221 bye"]
    played = Played(two_messages(), answers, plan=plan_for(retry_4xx=1))
    assert played.result.status == "same"
    assert played.said.count("One\n.\n") == 2


def test_a_refusal_in_the_middle_of_a_message_is_the_reply_to_it() -> None:
    talk = envelope(hello(), "a").server("552 5.3.4 too big", answers=0)
    talk.content("Long\r\n").client("QUIT").server("221 bye").end("rejected")
    answers: list[Answer] = ["220 mx", OFFERS, "250 ok", "250 ok", "354 go", "552 5.3.4 too big", "221 bye"]
    played = Played(talk, answers)
    assert played.result.status == "same"
    assert played.result.steps[5].expected == "552 5.3.4 too big"


def test_what_a_server_said_unasked_is_heard_before_the_next_command() -> None:
    talk = hello().client("NOOP").server("250 ok").server("250 and more", answers=0)
    talk.client("QUIT").server("221 bye").end()
    played = Played(talk, ["220 mx", OFFERS, "250 ok", "250 and more", "221 bye"])
    assert played.result.status == "same"
    assert played.timeouts[3] == 2.0


def test_what_a_server_does_not_say_unasked_any_more_is_a_difference() -> None:
    talk = hello().client("NOOP").server("250 ok").server("250 and more", answers=0)
    unasked = talk.n
    talk.client("QUIT").server("221 bye").end()
    played = Played(talk, ["220 mx", OFFERS, "250 ok", SILENT, "221 bye"])
    text = f"event {unasked} is the reply to no step of this leg, and none like it came"
    assert played.differences == [(3, "missing-reply", text)]
    assert played.result.differences[0].fix == "if that is right, record the session again"
