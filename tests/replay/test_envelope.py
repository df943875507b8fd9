"""Who may get mail: globs, replaced recipients, and recordings that hide one."""

import pytest

from smtpproxy.errors import ConfigError, ReplayError
from smtpproxy.replay.clearance import Clearance
from smtpproxy.replay.envelope import Envelope, read_rcpt_to
from smtpproxy.replay.plan import obstacles_of
from tests.conversation import Conversation, delivery
from tests.replay.playing import plan_for, script_of

REMOTE = "smtp://mx.example.com"


def cleared(talk: Conversation, to: str = REMOTE, **envelope: object) -> None:
    clearance = Clearance(plan_for(to, envelope=Envelope(**envelope)))  # type: ignore[arg-type]
    clearance.look_at(script_of(talk))
    clearance.require_playable()
    clearance.require_allowed()


def rcpt(line: str | bytes) -> Conversation:
    return Conversation().server("220 mx").client(line).server("250 ok").end("empty")


def test_loopback_is_told_everything() -> None:
    for to in ("smtp://127.0.0.1", "smtp://[::1]", "smtp://localhost", "unix:/run/lmtp.sock"):
        cleared(delivery(), to)


def test_nobody_off_this_machine_gets_mail_unasked() -> None:
    with pytest.raises(ReplayError) as refused:
        cleared(delivery())
    text = str(refused.value)
    assert "bob@example.com, carol@example.com would get real mail (mail.smtp.jsonl:1)" in text
    assert "--allow-rcpt '*@example.com'" in text
    assert "--rcpt-to" in text


def test_globs_in_any_case() -> None:
    cleared(delivery(), allowed=("*@EXAMPLE.com",))
    cleared(delivery(), allowed=("bob@*", "carol@example.com"))
    with pytest.raises(
        ReplayError, match=r"^smtp://mx.example.com:25 is off this machine, and carol@example.com"
    ):
        cleared(delivery(), allowed=("bob@*",))


def test_all_of_it_to_one_address() -> None:
    cleared(delivery(), rcpt_to="me@example.net")


@pytest.mark.parametrize(
    ("line", "replaced"),
    [
        (b"RCPT TO:<bob@example.com>\r\n", b"RCPT TO:<me@x.net>\r\n"),
        (b"rcpt to: <bob@example.com> NOTIFY=NEVER\n", b"rcpt to: <me@x.net> NOTIFY=NEVER\n"),
        (b"RCPT TO:bob@example.com ORCPT=x\r\n", b"RCPT TO:<me@x.net> ORCPT=x\r\n"),
        (b'RCPT TO:<"a > b"@example.com>\r\n', b"RCPT TO:<me@x.net>\r\n"),
        (b"RCPT TO:<>\r\n", b"RCPT TO:<me@x.net>\r\n"),
        (b"RCPT nonsense\r\n", b"RCPT TO:<me@x.net>\r\n"),
    ],
)
def test_the_address_is_replaced_and_its_parameters_stay(line: bytes, replaced: bytes) -> None:
    assert Envelope(rcpt_to="me@x.net").recipient_line(line) == replaced
    assert Envelope().recipient_line(line) == line


@pytest.mark.parametrize("text", ["a@b\r\nRCPT TO:<c@d>", "a b@c", "", "a@b>", "a@b\0", "<>"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ConfigError, match="--rcpt-to"):
        read_rcpt_to(text)


def test_an_address_may_have_its_angle_brackets() -> None:
    assert read_rcpt_to("<me@example.com>") == read_rcpt_to("me@example.com") == "me@example.com"


@pytest.mark.parametrize(
    "talk",
    [
        rcpt(b"RCPT TO:<ok@allowed.com>\rRCPT TO:<evil@x>\r\n"),
        rcpt(b"NOOP \rRCPT TO:<evil@x>\r\n"),
        rcpt(b"NOOP x\0RCPT TO:<evil@x>\r\n"),
        rcpt(b"RCPT TO:<ok@allowed.com> <evil@x>\r\n"),
        rcpt(b"RCPT TO:<ok@allowed.com>evil@x\r\n"),
        rcpt(b"RCPT TO:<@evil.com:ok@allowed.com>\r\n"),
        rcpt(b"RCPT evil@x\r\n"),
        Conversation()
        .server("220 x")
        .client("DATA")
        .server("354 go")
        .content("a\r\n", "x\n", ".\r\nRCPT TO:<evil@x>\r\n"),
        Conversation()
        .server("220 x")
        .client("DATA")
        .server("354 go")
        .content("a\r\n.\rRCPT TO:<evil@x>\r\n"),
    ],
)
def test_no_recipient_is_hidden_from_the_check(talk: Conversation) -> None:
    with pytest.raises(ReplayError, match="cannot be replayed, and nothing was connected"):
        cleared(talk, allowed=("*@allowed.com",))
    cleared(talk, "smtp://127.0.0.1")


@pytest.mark.parametrize(
    "talk",
    [
        Conversation().server("220 x").client(b"NOOP\r\nRCPT TO:<evil@x>\r\n").server("250 x"),
        Conversation()
        .server("220 x")
        .client("DATA")
        .server("354 go")
        .content("a\r\n.\r\n", "RCPT TO:<evil@x>\r\n"),
        Conversation().server("220 x").client("DATA").server("354 go").content("a\r\n", ".\r", "\nNOOP\r\n"),
        Conversation()
        .server("220 x")
        .client("BDAT 2", size=30, last=False)
        .content(b"x" * 30, bdat=True)
        .server("250 x"),
        Conversation()
        .server("220 x")
        .client("BDAT x", size=3, last=False)
        .content(b"xxx", bdat=True)
        .server("250 x"),
        Conversation()
        .server("220 x")
        .client("BDAT 9", size=9)
        .content(b"x", end="", bdat=True)
        .server("250 x")
        .client("NOOP"),
    ],
)
def test_a_recording_that_is_not_what_it_says_is_refused_anywhere(talk: Conversation) -> None:
    with pytest.raises(ReplayError, match=r"mail.smtp.jsonl:1: step \d"):
        cleared(talk, "smtp://127.0.0.1")


def test_a_verb_that_is_not_the_lines_own_is_refused() -> None:
    talk = rcpt("RCPT TO:<evil@x>")
    talk.events[2].verb = "NOOP"  # type: ignore[union-attr]
    with pytest.raises(ReplayError, match="does not begin with NOOP"):
        cleared(talk, "smtp://127.0.0.1")


def test_what_was_recorded_whole_and_well_has_no_obstacle() -> None:
    assert not list(obstacles_of(script_of(delivery()), plan_for(REMOTE)))
