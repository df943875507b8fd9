"""A recorded session played: what is said, what is waited for, and what a reply that differs means."""

import msgspec
import pytest

from smtpproxy.recording.overrides import Overrides, ReplayHeader, ReplyRule
from smtpproxy.replay.exchange import Gone
from smtpproxy.replay.player import MAX_PAUSE_S
from tests.conversation import Conversation, delivery
from tests.replay.playing import CLOSED, SILENT, Answer, Played, plan_for, script_of

MESSAGE = "Subject: Hello\nFrom: Alice <alice@example.com>\n\nHi Bob,\n..dotted\n"
ENVELOPE = [
    "MAIL FROM:<alice@example.com> SIZE=42",
    "RCPT TO:<bob@example.com>",
    "RCPT TO:<carol@example.com>",
]


def hello() -> Conversation:
    return (
        Conversation().server("220 mx").client("EHLO app").server("250-mx", "250-PIPELINING", "250 CHUNKING")
    )


def pipelined(*, refused: bool = False) -> Conversation:
    """MAIL, two RCPT and DATA in one group, as Postfix says them."""
    talk = hello()
    first = talk.n + 1
    for line in (*ENVELOPE, "DATA"):
        talk.client(line, group=1)
    talk.server("250 ok", answers=first)
    talk.server("550 no" if refused else "250 ok", answers=first + 1)
    talk.server("250 ok", answers=first + 2)
    talk.server("354 go", answers=first + 3)
    return talk.content("Hi\r\n").server("250 queued").client("QUIT").server("221 bye").end()


def test_a_delivery_is_said_as_it_was_and_found_the_same() -> None:
    played = Played(
        delivery(),
        [
            "220 mx",
            "250-mx\n250 PIPELINING",
            "250 ok",
            "250 ok",
            "250 ok",
            "354 go",
            "250 queued as 7A2",
            "221 x",
        ],
    )
    assert played.said == [
        "EHLO app\n",
        *(line + "\n" for line in ENVELOPE),
        "DATA\n",
        MESSAGE + ".\n",
        "QUIT\n",
    ]
    assert played.result.status == "same"
    assert set(played.verdicts) == {"same"}
    assert (played.result.source, played.result.line) == ("mail.smtp.jsonl", 1)
    assert played.timeouts == [300.0] * 6 + [600.0, 300.0]
    assert played.result.steps[6].elapsed_s == 0.5


def test_a_timeout_of_the_users_holds_everywhere() -> None:
    answers: list[Answer] = [
        "220 mx",
        "250-mx\n250 PIPELINING",
        "250 1",
        "250 2",
        "250 3",
        "354 go",
        "250 4",
        "221 5",
    ]
    assert set(Played(delivery(), answers, plan=plan_for(timeout_s=7.0)).timeouts) == {7.0}


def test_a_group_goes_out_in_one_where_the_server_offers_pipelining() -> None:
    answers: list[Answer] = [
        "220 mx",
        "250-mx\n250-PIPELINING\n250 CHUNKING",
        *["250 ok"] * 3,
        "354 go",
        "250 x",
        "221 x",
    ]
    played = Played(pipelined(), answers)
    assert played.said[1:3] == ["\n".join([*ENVELOPE, "DATA", ""]), "Hi\n.\n"]
    assert played.result.status == "same"


def test_a_group_goes_out_one_by_one_where_the_server_does_not() -> None:
    played = Played(
        pipelined(), ["220 mx", "250-mx\n250 CHUNKING", *["250 ok"] * 3, "354 go", "250 x", "221 x"]
    )
    assert played.said[1:5] == [line + "\n" for line in (*ENVELOPE, "DATA")]
    assert [step for step, _, _ in played.differences] == [2]


@pytest.mark.parametrize(
    "last", ["EHLO again", "VRFY bob", "EXPN list", "NOOP", "DATA", "QUIT", "XCLIENT NAME=x"]
)
def test_nothing_is_said_behind_what_must_be_the_last_of_a_group(last: str) -> None:
    talk = hello()
    first = talk.n + 1
    talk.client("RSET", group=1).client(last, group=1).client("HELP", group=1)
    for number in range(3):
        talk.server("250 ok", answers=first + number)
    played = Played(
        talk.end(), ["220 mx", "250-mx\n250-PIPELINING\n250 CHUNKING", "250 ok", "250 ok", "250 ok"]
    )
    assert played.said[1:] == [f"RSET\n{last}\n", "HELP\n"]


def test_a_refused_recipient_ends_the_transaction() -> None:
    played = Played(
        delivery(), ["220 mx", "250-mx\n250 PIPELINING", "250 ok", "550 no such user", "250 reset", "221 bye"]
    )
    assert played.lines == ["EHLO app", *ENVELOPE[:2], "RSET", "QUIT"]
    assert played.verdicts == ["same"] * 3 + ["differs"] + ["not-played"] * 3 + ["same"]
    assert [(step, what) for step, what, _ in played.differences] == [(4, "reply"), (5, "not-played")]
    assert played.differences[1][2] == "steps 5 to 7 were not played because of step 4"


def test_a_recipient_that_is_taken_where_it_was_refused_gets_no_mail() -> None:
    talk = hello().client("MAIL FROM:<a@b>").server("250 ok").client("RCPT TO:<x@b>").server("550 no")
    talk.client("QUIT").server("221 bye").end("rejected")
    played = Played(
        talk, ["220 mx", "250-mx\n250-PIPELINING\n250 CHUNKING", "250 ok", "250 ok", "250 reset", "221 x"]
    )
    assert played.lines[-2:] == ["RSET", "QUIT"]
    assert [(step, what) for step, what, _ in played.differences] == [(4, "reply")]


def test_the_next_transaction_is_played_all_the_same() -> None:
    talk = hello()
    for address in ("a@b", "c@d"):
        talk.client(f"MAIL FROM:<{address}>").server("250 ok").client("DATA").server("354 go")
        talk.content("Hi\r\n").server("250 ok")
    answers: list[Answer] = [
        "220 mx",
        "250-mx\n250-PIPELINING\n250 CHUNKING",
        "550 not you",
        "250 ok",
        "354 go",
        "250 ok",
    ]
    played = Played(talk.end(), answers)
    assert played.lines[1:] == ["MAIL FROM:<a@b>", "MAIL FROM:<c@d>", "DATA", "Hi", "."]
    assert played.verdicts[2:5] == ["differs", "not-played", "not-played"]
    assert played.verdicts[5:] == ["same"] * 3


def test_no_content_without_354() -> None:
    answers: list[Answer] = [
        "220 mx",
        "250-mx\n250 PIPELINING",
        *["250 ok"] * 3,
        "451 later",
        "250 reset",
        "221 bye",
    ]
    played = Played(delivery(), answers)
    assert played.lines[-3:] == ["DATA", "RSET", "QUIT"]
    assert "Hi Bob," not in played.lines


def test_no_content_without_354_even_where_a_rule_ignores_the_reply() -> None:
    overrides = Overrides(replay=ReplayHeader(steps=(ReplyRule(verb="DATA", ignore=True),)))
    answers: list[Answer] = [
        "220 mx",
        "250-mx\n250 PIPELINING",
        *["250 ok"] * 3,
        "451 later",
        "250 reset",
        "221 bye",
    ]
    played = Played(script_of(delivery(), overrides=overrides), answers)
    assert played.lines[-3:] == ["DATA", "RSET", "QUIT"]
    assert played.differences == [
        (7, "not-played", "the message was not sent, since DATA was not answered 354")
    ]


def test_data_that_was_taken_in_a_group_behind_a_refusal_is_left_by_leaving() -> None:
    answers: list[Answer] = [
        "220 mx",
        "250-mx\n250-PIPELINING\n250 CHUNKING",
        "250 ok",
        "550 no",
        "250 ok",
        "354 go",
    ]
    played = Played(pipelined(), answers)
    assert played.lines[-1] == "DATA"
    assert played.verdicts[-2:] == ["not-played", "not-played"]
    assert [step for step, _, _ in played.differences] == [4, 7]


def test_data_that_was_taken_though_nobody_was_is_ended_by_a_lone_dot() -> None:
    answers: list[Answer] = [
        "220 mx",
        "250-mx\n250-PIPELINING\n250 CHUNKING",
        "250 ok",
        "550 no",
        "550 no",
        "354 go",
    ]
    played = Played(pipelined(), [*answers, "554 no valid recipients", "250 reset", "221 bye"])
    assert played.lines[-4:] == ["DATA", ".", "RSET", "QUIT"]


def test_a_message_that_is_refused_needs_no_rset() -> None:
    answers: list[Answer] = [
        "220 mx",
        "250-mx\n250 PIPELINING",
        *["250 ok"] * 3,
        "354 go",
        "554 spam",
        "221 bye",
    ]
    played = Played(delivery(), answers)
    assert played.lines[-2:] == [".", "QUIT"]
    assert [(step, what) for step, what, _ in played.differences] == [(7, "reply")]


def test_chunks_follow_their_command() -> None:
    talk = hello().client("MAIL FROM:<a@b>").server("250 ok").chunk(b"Hi\r\n").server("250 ok")
    talk.chunk(b".\r\n", last=True).server("250 queued").end()
    played = Played(talk, ["220 mx", "250-mx\n250-PIPELINING\n250 CHUNKING", *["250 ok"] * 3])
    assert played.said[2:] == ["BDAT 4\nHi\n", "BDAT 3 LAST\n.\n"]
    assert played.result.status == "same"


def test_no_chunk_for_a_server_without_chunking() -> None:
    talk = hello().client("MAIL FROM:<a@b>").server("250 ok").chunk(b"Hi\r\n", last=True).server("250 queued")
    talk.client("QUIT").server("221 bye").end()
    played = Played(talk, ["220 mx", "250-mx\n250 PIPELINING", "250 ok", "250 reset", "221 bye"])
    assert played.lines[-2:] == ["RSET", "QUIT"]
    assert [(step, what) for step, what, _ in played.differences] == [(2, "ehlo"), (4, "not-played")]
    assert "does not offer CHUNKING" in played.differences[1][2]


def lmtp(*replies: str) -> Conversation:
    talk = (
        Conversation()
        .server("220 lmtp")
        .client("LHLO app")
        .server("250 lmtp")
        .client("MAIL FROM:<a@b>")
        .server("250 ok")
    )
    for address in ("x", "y", "z"):
        talk.client(f"RCPT TO:<{address}@b>").server("550 no" if address == "y" else "250 ok")
    talk.client("DATA").server("354 go").content("Hi\r\n")
    dot = talk.n
    for reply in replies:
        talk.server(reply, answers=dot)
    return talk.end()


def test_lmtp_answers_for_each_recipient_that_was_accepted() -> None:
    answers: list[Answer] = ["220 x", "250 x", "250 ok", "250 ok", "550 no", "250 ok", "354 go"]
    assert Played(lmtp("250 x", "452 full"), [*answers, "250 for x", "452 z is full"]).result.status == "same"
    played = Played(lmtp("250 x", "250 z"), [*answers, "250 for x", "550 not z"])
    assert [(step, what) for step, what, _ in played.differences] == [(8, "reply")]


def test_lmtp_replies_are_compared_by_recipient_where_another_one_was_accepted() -> None:
    overrides = Overrides(replay=ReplayHeader(steps=(ReplyRule(verb="RCPT", ignore=True),)))
    script = script_of(lmtp("250 x", "452 full"), overrides=overrides)
    answers: list[Answer] = [
        "220 x",
        "250 x",
        "250 ok",
        "550 no",
        "550 no",
        "250 ok",
        "354 go",
        "452 z is full",
    ]
    assert Played(script, answers).result.status == "same"


def test_prdr_is_one_353_then_all_recipients_then_the_whole() -> None:
    talk = hello().client("MAIL FROM:<a@b> PRDR").server("250 ok")
    for address in ("x", "y"):
        talk.client(f"RCPT TO:<{address}@b>").server("250 ok")
    talk.client("DATA").server("354 go").content("Hi\r\n")
    dot = talk.n
    for reply in ("353 each", "250 x", "550 y", "250 whole"):
        talk.server(reply, answers=dot)
    talk.client("QUIT").server("221 bye").end()
    answers: list[Answer] = ["220 mx", "250-mx\n250-PIPELINING\n250 CHUNKING", *["250 ok"] * 3, "354 go"]
    same = Played(talk, [*answers, "353 each", "250 x", "550 y", "250 whole", "221 bye"])
    assert same.result.status == "same"
    single = Played(talk, [*answers, "250 whole", "221 bye"])
    assert [(step, what) for step, what, _ in single.differences] == [(7, "reply")]


def test_a_421_is_the_end() -> None:
    played = Played(delivery(), ["220 mx", "250-mx\n250 PIPELINING", "421 shutting down"])
    assert played.verdicts[2:] == ["differs"] + ["not-played"] * 5


def test_a_recorded_421_is_as_recorded() -> None:
    talk = hello().client("MAIL FROM:<a@b>").server("421 too many").end("rejected", reason="server-eof")
    played = Played(talk, ["220 mx", "250-mx\n250-PIPELINING\n250 CHUNKING", "421 too many", CLOSED])
    assert played.result.status == "same"
    assert played.timeouts[-1] == 2.0  # it is the server that closes, as it was


def test_a_greeting_that_refuses_leaves_only_quit() -> None:
    played = Played(delivery(), ["554 not you", "221 bye"])
    assert played.lines == ["QUIT"]
    assert played.verdicts == ["differs"] + ["not-played"] * 6 + ["same"]


def test_an_ehlo_that_is_refused_goes_on_with_the_recorded_helo() -> None:
    talk = hello().client("HELO app").server("250 mx").client("MAIL FROM:<a@b>").server("250 ok").end()
    played = Played(talk, ["220 mx", "502 what", "250 mx", "250 ok"])
    assert played.lines == ["EHLO app", "HELO app", "MAIL FROM:<a@b>"]


@pytest.mark.parametrize("end", [CLOSED, SILENT, Gone(reason="the server reset the connection")])
def test_a_server_that_says_no_more_ends_it(end: Answer) -> None:
    played = Played(delivery(), ["220 mx", "250-mx\n250 PIPELINING", end])
    assert [(step, what) for step, what, _ in played.differences] == [(3, "missing-reply"), (4, "not-played")]
    assert played.result.steps[2].notes[0].startswith(("the server", "no reply within 300 s"))


def test_a_server_that_cannot_be_reached_is_an_error() -> None:
    gone = Gone(reason="cannot reach 127.0.0.1:2525: connection refused", is_connected=False)
    played = Played(delivery(), [], connected=gone)
    assert (played.result.status, played.result.error) == ("error", gone.reason)


def test_a_server_that_left_by_itself_should_leave_again() -> None:
    talk = hello().client("NOOP").end("aborted", reason="server-eof")
    answers: list[Answer] = ["220 mx", "250-mx\n250-PIPELINING\n250 CHUNKING"]
    assert Played(talk, [*answers, CLOSED]).result.status == "same"
    assert Played(talk, [*answers, "250 ok", SILENT]).differences[0][1] == "extra-reply"
    idle = hello().server("421 idle too long").end("empty", reason="server-eof")
    idle.events[-2] = msgspec.structs.replace(idle.events[-2], answers=msgspec.UNSET)
    assert Played(idle, [*answers, "421 idle too long"]).result.status == "same"
    patient = Played(idle, [*answers, SILENT])
    assert patient.result.status == "same"
    assert "this one has not within" in patient.result.notes[0]


def test_a_client_that_left_before_the_reply_does_not_wait_for_it() -> None:
    talk = hello().client("QUIT").end("empty")
    played = Played(talk, ["220 mx", "250-mx\n250-PIPELINING\n250 CHUNKING"])
    assert (played.lines[-1], played.result.status) == ("QUIT", "same")


def test_a_message_that_was_never_ended_is_not_ended() -> None:
    talk = (
        hello().client("DATA").server("354 go").content("Hi\r\n", end="").end("aborted", reason="client-eof")
    )
    played = Played(talk, ["220 mx", "250-mx\n250-PIPELINING\n250 CHUNKING", "354 go"])
    assert played.said[-1] == "Hi\n"


def test_what_was_put_off_is_tried_again() -> None:
    answers: list[Answer] = ["220 mx", "250-mx\n250 PIPELINING", "250 ok", "450 greylisted", "250 reset"]
    answers += ["250 ok", "450 still", "250 reset"]
    answers += ["250 ok", "250 ok", "250 ok", "354 go", "250 queued", "221 bye"]
    played = Played(delivery(), answers, plan=plan_for(retry_4xx=2, retry_after_s=3.0))
    assert played.result.status == "same"
    assert [line for line in played.lines if line.startswith("<")] == ["<PAUSE 3>", "<PAUSE 6>"]
    assert played.lines.count(ENVELOPE[0]) == 3
    assert len(played.result.notes) == 2


def test_it_is_tried_again_so_often_and_no_more() -> None:
    answers: list[Answer] = [
        "220 mx",
        "250-mx\n250 PIPELINING",
        *["250 ok", "450 no", "250 reset"] * 2,
        "221 bye",
    ]
    played = Played(delivery(), answers, plan=plan_for(retry_4xx=1))
    assert [(step, what) for step, what, _ in played.differences] == [(4, "reply"), (5, "not-played")]


def test_a_whole_group_is_tried_again() -> None:
    group: list[Answer] = ["250 ok", "450 later", "450 later", "503 no recipients"]
    answers: list[Answer] = ["220 mx", "250-mx\n250-PIPELINING\n250 CHUNKING", *group, "250 reset"]
    answers += ["250 ok", "250 ok", "250 ok", "354 go", "250 queued", "221 bye"]
    played = Played(pipelined(), answers, plan=plan_for(retry_4xx=1))
    assert played.result.status == "same"
    assert played.said.count("\n".join([*ENVELOPE, "DATA", ""])) == 2


def test_a_recorded_delay_is_compared_and_not_tried_again() -> None:
    talk = hello().client("MAIL FROM:<a@b>").server("250 ok").client("RCPT TO:<x@b>").server("450 later")
    played = Played(
        talk.end("rejected"),
        ["220 mx", "250-mx\n250-PIPELINING\n250 CHUNKING", "250 ok", "450 later"],
        plan=plan_for(retry_4xx=3),
    )
    assert played.result.status == "same"
    assert "RSET" not in played.lines


def test_the_recorded_pace_is_thinking_time() -> None:
    talk = hello()
    talk.events[3] = msgspec.structs.replace(talk.events[3], t=1.0)
    talk.client("NOOP").server("250 ok").client("QUIT").server("221 bye").end()
    for event, t in zip(talk.events[4:8], (1.5, 9.0, 9.25, 1e9), strict=True):
        event.t = t
    answers: list[Answer] = ["220 mx", "250-mx\n250-PIPELINING\n250 CHUNKING", "250 ok", "221 bye"]
    paced = Played(talk, answers, plan=plan_for(speed=1.0))
    assert [line for line in paced.lines if line.startswith("<")] == [
        "<PAUSE 0.01>",
        "<PAUSE 0.5>",
        "<PAUSE 0.25>",
    ]
    twice = Played(talk, answers, plan=plan_for(speed=2.0))
    assert [line for line in twice.lines if line.startswith("<")][1:] == ["<PAUSE 0.25>", "<PAUSE 0.125>"]
    talk.events[4].t = 1e12
    assert f"<PAUSE {MAX_PAUSE_S:g}>" in Played(talk, answers, plan=plan_for(speed=1.0)).lines
