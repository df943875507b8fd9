"""One reply against the recorded one: what differs at which level, what a header allows."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpproxy.recording.overrides import LEVELS, Level, Overrides, ReplayHeader, ReplyRule
from smtpproxy.replay.aliases import Aliases
from smtpproxy.replay.comparison import Comparison, compare_reply, shown
from smtpproxy.replay.results import MAX_SHOWN_BYTES, Difference
from smtpproxy.replay.rules import Rules
from smtpproxy.replay.script import Script
from tests.replay.scripts import script_of

SESSION = """
S: 220 mx.example.com ESMTP Postfix
C: EHLO app
S: 250-mx.example.com Hello app [192.0.2.7]
S: 250-SIZE 1000
S: 250-AUTH PLAIN LOGIN
S: 250-STARTTLS
S: 250 ENHANCEDSTATUSCODES
C: MAIL FROM:<a@example.com>
S: 250 2.1.0 Ok
C: RCPT TO:<b@example.com>
S: 250 2.1.5 Ok
C: RCPT TO:<c@example.com>
S: 550 5.1.1 <c@example.com>: unknown
C: DATA
S: 354 End data with <CR><LF>.<CR><LF>
M: Subject: x
S: 250 2.0.0 Ok: queued as 4bXyz12345z3abc
C: AUTH CRAM-MD5
S: 334 PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2U+
C: NOOP
C: QUIT
S: 221 2.0.0 mx.example.com closing
"""
GREETING, EHLO, MAIL, RCPT, RCPT_2, DATA, MESSAGE, AUTH, NOOP, QUIT = range(1, 11)
EHLO_REPLY = (
    b"250-mx.example.com Hello app [192.0.2.7]\r\n250-SIZE 1000\r\n250-AUTH PLAIN LOGIN\r\n"
    b"250-STARTTLS\r\n250 ENHANCEDSTATUSCODES\r\n"
)


def session(*rules: ReplyRule, level: Level | None = None) -> Script:
    header = ReplayHeader(level=level or "", steps=rules)
    return script_of(SESSION, overrides=Overrides(replay=header))


def compare(
    number: int,
    heard: bytes | None,
    *rules: ReplyRule,
    level: Level | None = None,
    strict_ehlo: bool = False,
    is_tls: bool = False,
    index: int = 0,
) -> Comparison:
    script = session(*rules)
    return compare_reply(
        script.steps[number - 1],
        index,
        heard,
        rules=Rules.of(script, level=level, strict_ehlo=strict_ehlo),
        aliases=Aliases(),
        is_tls=is_tls,
    )


def difference(number: int, heard: bytes | None, *rules: ReplyRule, level: Level | None = None) -> Difference:
    (found,) = compare(number, heard, *rules, level=level).differences
    return found


# Each reply and the first level at which it differs.
CASES: list[tuple[int, bytes, Level | None]] = [
    (RCPT, b"250 2.1.5 Ok\r\n", None),
    (RCPT, b"550 5.1.1 no\r\n", "class"),
    (RCPT, b"what?\r\n", "class"),
    (RCPT, b"251 2.1.5 Ok\r\n", "code"),
    (RCPT, b"250 2.1.0 Ok\r\n", "enhanced"),
    (RCPT, b"250 Ok\r\n", "enhanced"),
    (RCPT, b"250 2.1.5 Okay\r\n", "text"),
    (RCPT, b"250-2.1.5 Ok\r\n250 2.1.5 Ok\r\n", "text"),
    (RCPT, b"250 2.1.5 Ok \r\n", "exact"),
    (RCPT, b"250 2.1.5 Ok\n", "exact"),
    (MESSAGE, b"250 2.0.0 Ok: queued as 9F2A31234B\r\n", "exact"),
    (MESSAGE, b"250 2.0.0 Ok: held as 9F2A31234B\r\n", "text"),
    (GREETING, b"220 localhost ESMTP Postfix\r\n", "exact"),
    (GREETING, b"220 localhost ESMTP Exim\r\n", "text"),
    (GREETING, b"554 mx.example.com go away\r\n", "class"),
    (AUTH, b"334 PHNvbWV0aGluZyBlbHNlPg==\r\n", "exact"),
    (AUTH, b"334\r\n", "exact"),
    (AUTH, b"535 5.7.8 no\r\n", "class"),
    (EHLO, EHLO_REPLY, None),
    (EHLO, EHLO_REPLY.replace(b"mx.example.com Hello app", b"localhost greets"), "exact"),
    (EHLO, EHLO_REPLY.replace(b"PLAIN LOGIN", b"LOGIN PLAIN"), "exact"),
    (EHLO, EHLO_REPLY.replace(b"250-SIZE 1000\r\n", b"250-8BITMIME\r\n250-SIZE 1000\r\n"), "exact"),
    (EHLO, EHLO_REPLY.replace(b"1000", b"2000"), "enhanced"),
    (EHLO, EHLO_REPLY.replace(b"250-STARTTLS\r\n", b""), "code"),
    (EHLO, EHLO_REPLY.replace(b"PLAIN LOGIN", b"PLAIN"), "code"),
    (EHLO, EHLO_REPLY.replace(b"AUTH PLAIN LOGIN", b"AUTH=PLAIN LOGIN"), "exact"),
    (EHLO, b"502 5.5.2 what?\r\n", "class"),
]


@pytest.mark.parametrize(("number", "heard", "first"), CASES, ids=lambda value: repr(value)[:50])
def test_a_reply_differs_from_some_level_on(number: int, heard: bytes, first: Level | None) -> None:
    differing = [level for level in LEVELS if compare(number, heard, level=level).verdict == "differs"]
    assert differing == (list(LEVELS[LEVELS.index(first) :]) if first else [])


@given(st.binary(max_size=200), st.sampled_from(LEVELS), st.sampled_from(range(1, 11)))
def test_any_octets_are_compared(heard: bytes, level: Level, number: int) -> None:
    found = compare(number, heard, level=level)
    assert (found.verdict == "differs") == bool(found.differences)
    for one in found.differences:
        assert one.actual == shown(heard)


@given(
    st.lists(
        st.sampled_from([b"250-a", b"250 b", b"\n", b"\r\n", b"\r", b"550 5.1.1", b"\xff", b" "]), max_size=8
    ),
    st.sampled_from(LEVELS),
)
def test_what_was_recorded_is_as_recorded(pieces: list[bytes], level: Level) -> None:
    script = session()
    raw = b"".join(pieces)
    reply = script.steps[RCPT - 1].replies[0]
    step = msgspec.structs.replace(
        script.steps[RCPT - 1], replies=(msgspec.structs.replace(reply, raw=raw),), verb="EHLO"
    )
    rules = Rules.of(script, level=level, strict_ehlo=True)
    assert compare_reply(step, 0, raw, rules=rules, aliases=Aliases(), is_tls=False).verdict == "same"


def test_a_difference_says_which_step_what_and_what_to_do() -> None:
    assert difference(RCPT, b"550 5.1.1 <c@example.com>: unknown\r\n") == Difference(
        what="reply",
        step=RCPT,
        n=11,
        said="RCPT TO:<b@example.com>",
        expected="250 2.1.5 Ok",
        actual="550 5.1.1 <c@example.com>: unknown",
        text="550 5.1.1 came, where 250 2.1.5 was recorded",
        fields=(("code", "250", "550"), ("enhanced status code", "2.1.5", "5.1.1")),
        nearest="step 5, RCPT TO:<c@example.com>, was answered so",
        fix=(
            'if that is right, record again, or add {"n":11,"ignore":true} to "replay":{"steps":[...]} '
            "in the line that opens the session (mail.smtp.jsonl:1)"
        ),
    )


@pytest.mark.parametrize(
    ("number", "heard", "level", "rule"),
    [
        (RCPT, b"251 2.1.5 Ok\r\n", "text", ReplyRule(n=11, level="class")),
        (RCPT, b"250 2.1.0 Ok\r\n", "text", ReplyRule(n=11, level="code")),
        (RCPT, b"250 2.1.5 Okay\r\n", "text", ReplyRule(n=11, level="enhanced")),
        (RCPT, b"250 2.1.5 Ok\n", "exact", ReplyRule(n=11, level="text")),
        (RCPT, b"250 2.1.5 Okay\r\n", "exact", ReplyRule(n=11, level="enhanced")),
        (RCPT, b"250 2.1.0 Okay\r\n", "exact", ReplyRule(n=11, level="code")),
        (RCPT, b"251 2.1.5 Okay\r\n", "exact", ReplyRule(n=11, level="class")),
        (GREETING, b"220 localhost ESMTP Postfix\r\n", "exact", ReplyRule(n=1, level="text")),
        (EHLO, b"250-localhost\r\n250 SIZE\r\n", "exact", ReplyRule(n=3, level="class")),
        (RCPT, b"550 no\r\n", "code", ReplyRule(n=11, ignore=True)),
        (EHLO, b"250-localhost\r\n250 SIZE\r\n", "code", ReplyRule(n=3, level="class")),
        (EHLO, EHLO_REPLY.replace(b"1000", b"1"), "text", ReplyRule(n=3, level="class")),
    ],
    ids=str,
)
def test_the_fix_fixes_it(number: int, heard: bytes, level: Level, rule: ReplyRule) -> None:
    found = difference(number, heard, level=level)
    assert msgspec.json.encode(rule).decode() in found.fix
    assert compare(number, heard, rule, level=level).verdict != "differs"


def test_a_changed_class_is_told_apart() -> None:
    assert compare(RCPT, b"550 no\r\n").is_class_changed
    assert not compare(RCPT, b"251 ok\r\n").is_class_changed
    assert compare(RCPT, None).is_class_changed
    assert not compare(RCPT, b"550 no\r\n", ReplyRule(verb="RCPT", present=True)).is_class_changed


def test_a_reply_that_does_not_come_and_one_that_nobody_expects() -> None:
    missing = difference(QUIT, None)
    assert (missing.what, missing.actual) == ("missing-reply", "")
    assert missing.text == "no reply came, where 221 2.0.0 was recorded"
    extra = difference(NOOP, b"250 Ok\r\n")
    assert (extra.what, extra.expected, extra.n) == ("extra-reply", "", 20)
    assert compare(NOOP, None).verdict == "same"
    assert compare(RCPT, b"250 Ok\r\n", index=1).differences[0].what == "extra-reply"


def test_the_line_that_differs_is_named() -> None:
    script = script_of("S: 220 mx\nC: HELP\nS: 214-one\nS: 214-two\nS: 214 three")
    rules = Rules.of(script, level="text")
    heard = b"214-one\r\n214-zwei\r\n214 three\r\n"
    (found,) = compare_reply(
        script.steps[1], 0, heard, rules=rules, aliases=Aliases(), is_tls=False
    ).differences
    assert found.fields == (("line 2", "two", "zwei"),)
    assert found.text == "214 came as recorded, but in line 2 the text differs"


def test_missing_keywords_are_differences_and_added_ones_notes() -> None:
    heard = b"250-mx.example.com\r\n250-SIZE 2000\r\n250-AUTH LOGIN XOAUTH2\r\n250-DSN\r\n"
    heard += b"250 ENHANCEDSTATUSCODES\r\n"
    found = compare(EHLO, heard)
    assert found.differences[0].text == "AUTH lacks PLAIN; STARTTLS is not offered"
    assert found.differences[0].fields == (
        ("AUTH", "AUTH PLAIN LOGIN", "AUTH LOGIN XOAUTH2"),
        ("STARTTLS", "STARTTLS", ""),
    )
    assert found.notes == (
        "after EHLO: SIZE 2000 is offered, where SIZE 1000 was",
        "after EHLO: AUTH offers XOAUTH2 as well",
        "after EHLO: DSN is offered as well",
    )
    strict = compare(EHLO, heard, strict_ehlo=True)
    assert "DSN is offered as well" in strict.differences[0].text
    assert strict.notes == ("after EHLO: SIZE 2000 is offered, where SIZE 1000 was",)


def test_under_tls_nobody_offers_starttls() -> None:
    """RFC 3207 4.2: a server must not offer it again; in a recording without TLS it did."""
    heard = EHLO_REPLY.replace(b"250-STARTTLS\r\n", b"")
    assert compare(EHLO, heard).verdict == "differs"
    found = compare(EHLO, heard, is_tls=True)
    assert (found.verdict, found.notes) == ("same", ("after EHLO under TLS: STARTTLS is not offered",))


@pytest.mark.parametrize(
    ("rule", "heard", "verdict"),
    [
        (ReplyRule(n=11, ignore=True), b"550 no\r\n", "ignored"),
        (ReplyRule(n=10, ignore=True), None, "ignored"),
        (ReplyRule(verb="rcpt", ignore=True), b"550 no\r\n", "ignored"),
        (ReplyRule(n=11, present=True), b"550 no\r\n", "same"),
        (ReplyRule(n=11, present=True), None, "differs"),
        (ReplyRule(n=11, regex=r"25\d 2\.1\.5 .*"), b"251 2.1.5 yes\r\n", "same"),
        (ReplyRule(n=11, regex=r"25\d 2\.1\.5 .*"), b"250 2.1.6 yes\r\n", "differs"),
        (ReplyRule(n=11, regex=r"250-a\n250 b"), b"250-a\r\n250 b\r\n", "same"),
        (ReplyRule(n=11, regex=r"(a|a|b?)+(a|aa)+c"), b"a" * 5000, "differs"),
        (ReplyRule(n=11, level="class"), b"299 ok\r\n", "same"),
        (ReplyRule(n=11, level="exact"), b"250 2.1.5 Ok\n", "differs"),
        (ReplyRule(n=12, ignore=True), b"550 no\r\n", "differs"),
    ],
    ids=str,
)
def test_a_rule_for_a_step(rule: ReplyRule, heard: bytes | None, verdict: str) -> None:
    assert compare(RCPT, heard, rule).verdict == verdict


def test_a_message_is_selected_by_its_terminator_its_content_or_a_dot() -> None:
    for rule in (
        ReplyRule(n=16, ignore=True),
        ReplyRule(n=17, ignore=True),
        ReplyRule(verb=".", ignore=True),
    ):
        assert compare(MESSAGE, b"554 no\r\n", rule).verdict == "ignored"
    assert compare(GREETING, b"554 no\r\n", ReplyRule(verb="connect", ignore=True)).verdict == "ignored"


def test_of_rules_that_fit_the_first_counts() -> None:
    one, two = ReplyRule(verb="RCPT", level="class"), ReplyRule(n=11, level="exact")
    assert compare(RCPT, b"251 Ok\r\n", one, two).verdict == "same"
    assert compare(RCPT, b"251 Ok\r\n", two, one).verdict == "differs"


def test_the_user_goes_before_the_headers_level_and_behind_its_rules() -> None:
    heard = b"251 2.1.5 Ok\r\n"
    script = session(level="class")
    for asked, verdict in ((None, "same"), ("", "same"), ("code", "differs")):
        rules = Rules.of(script, level=asked)
        found = compare_reply(script.steps[RCPT - 1], 0, heard, rules=rules, aliases=Aliases(), is_tls=False)
        assert found.verdict == verdict
    assert compare(RCPT, heard, ReplyRule(n=11, level="class"), level="exact").verdict == "same"


def test_a_rule_that_fits_nothing_is_noted() -> None:
    rules = Rules.of(
        session(ReplyRule(n=99, ignore=True), ReplyRule(verb="VRFY", ignore=True), ReplyRule(n=11))
    )
    assert rules.notes == (
        "the header's rule for n 99 fits no step of this leg",
        "the header's rule for verb VRFY fits no step of this leg",
    )


def test_what_an_edited_recording_says_is_its_raw() -> None:
    script = session()
    step = script.steps[RCPT - 1]
    edited = msgspec.structs.replace(step, replies=(msgspec.structs.replace(step.replies[0], code=550),))
    found = compare_reply(
        edited, 0, b"250 2.1.5 Ok\r\n", rules=Rules.of(script), aliases=Aliases(), is_tls=False
    )
    assert found.verdict == "same"
    assert found.notes == ("event 11 has the code 550, but its raw has 250: raw counts",)


def test_what_is_shown_is_escaped_and_bounded() -> None:
    assert shown(b"250-a\x1b]52\r\n250 b\xff\r\n") == "250-a\\x1b]52\n250 b\\xff"
    assert shown(b"250 a\nb\r\n") == "250 a\\nb"
    assert shown(b"x" * (MAX_SHOWN_BYTES + 2)) == "x" * MAX_SHOWN_BYTES + " … (2 more octets)"
