"""What people, programs and continuous integration are told of a rerun."""

import json
import xml.etree.ElementTree as ET

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpproxy.replay.junit import MAX_CASE_LINES, render_junit
from smtpproxy.replay.report import MAX_SHOWN_DIFFERENCES, render_result, render_text
from smtpproxy.replay.result_lines import encode_result, encode_summary
from smtpproxy.replay.results import Difference, SessionResult, StepResult
from smtpproxy.replay.tally import Summary, Tally

REPLY = Difference(
    what="reply",
    step=4,
    n=11,
    said="RCPT TO:<b@example.com>",
    expected="250-a\n250 2.1.5 Ok",
    actual="250-a\n550 5.1.1 no",
    text="550 5.1.1 came, where 250 2.1.5 was recorded",
    fields=(("code", "250", "550"),),
    nearest="step 9, NOOP, was answered so",
    fix="record again",
)
CONTENT = Difference(
    what="content",
    step=6,
    n=15,
    said="message of 10 octets",
    text="the message differs",
    fields=(("subject", "a", "b"), ("body, line 2", "x\ny", "")),
)
STEP = StepResult(number=1, n=0, said="connect", verdict="same")
SAME = SessionResult(
    session="01A", source="a.smtp.jsonl", line=1, status="same", steps=(STEP,), duration_s=0.25
)
DIFFERS = SessionResult(
    session="01B",
    source="b.smtp.jsonl",
    line=7,
    attempt=2,
    status="differs",
    steps=(
        msgspec.structs.replace(STEP, notes=("after EHLO: DSN is offered as well",)),
        msgspec.structs.replace(STEP, number=2, verdict="not-played"),
    ),
    differences=(REPLY, CONTENT),
    notes=("the server did not close",),
    duration_s=1.5,
)
ERROR = SessionResult(
    session="01C", source="b.smtp.jsonl", line=9, status="error", error="connection refused"
)


def not_played(step: int, because: str) -> Difference:
    return Difference(what="not-played", step=step, n=step, said="NOOP", text=because)


def texts(*results: SessionResult) -> list[str]:
    return [line.text for line in render_text(results)]


def test_it_reads_like_this() -> None:
    tally = Tally()
    for result in (SAME, DIFFERS, ERROR):
        tally.add(result)
    lines = render_text([SAME, DIFFERS, ERROR], tally.summary(duration_s=2))
    assert "\n".join(line.text for line in lines) == (
        "✓ same     a.smtp.jsonl:1 · session 01A · 1 step · 0.250 s\n"
        "✗ differs  b.smtp.jsonl:7 · session 01B · attempt 2 · 1 of 2 steps · 1.500 s\n"
        "    step 4 · RCPT TO:<b@example.com>\n"
        "      550 5.1.1 came, where 250 2.1.5 was recorded\n"
        "        250-a\n"
        "      - 250 2.1.5 Ok\n"
        "      + 550 5.1.1 no\n"
        "      nearest: step 9, NOOP, was answered so\n"
        "      fix: record again\n"
        "    step 6 · message of 10 octets\n"
        "      the message differs\n"
        "      subject:\n"
        "      - a\n"
        "      + b\n"
        "      body, line 2:\n"
        "      - x\n"
        "      - y\n"
        "    note: the server did not close\n"
        "    note: step 1: after EHLO: DSN is offered as well\n"
        "! error    b.smtp.jsonl:9 · session 01C\n"
        "    connection refused\n"
        "3 sessions, 1 same, 1 differs, 1 not run, 2 steps played, 1 not played, 2 differences in 2.000 s"
    )


def test_each_side_has_its_style() -> None:
    styles = {line.text.strip()[:1]: line.style for line in render_result(DIFFERS)}
    assert (styles["-"], styles["+"], styles["✗"]) == ("expected", "actual", "differs")


def test_steps_that_fell_away_for_one_reason_are_told_once() -> None:
    because = "not played because of step 4"
    gone = tuple(not_played(step, because) for step in range(5, 9))
    result = msgspec.structs.replace(DIFFERS, differences=(REPLY, *gone), notes=(), steps=())
    assert texts(result)[-2:] == ["    steps 5 to 8 · NOOP …", f"      {because}"]


def test_a_long_report_is_cut() -> None:
    many = msgspec.structs.replace(DIFFERS, differences=(REPLY,) * (MAX_SHOWN_DIFFERENCES + 7))
    lines = texts(many)
    assert "    … and 7 more differences" in lines
    wide = msgspec.structs.replace(REPLY, text="x" * 5000, expected="y\n" * 500, fields=())
    assert len(texts(msgspec.structs.replace(DIFFERS, differences=(wide,)))) < 60
    assert max(map(len, texts(msgspec.structs.replace(DIFFERS, differences=(wide,))))) < 1100


ODD = st.text(max_size=30)


@given(ODD, ODD, ODD)
def test_nothing_of_it_moves_a_terminal_or_breaks_xml(one: str, two: str, three: str) -> None:
    difference = msgspec.structs.replace(
        REPLY,
        said=one,
        expected=two,
        actual=three,
        text=one,
        nearest=two,
        fix=three,
        fields=((one, two, three),),
    )
    results = [
        msgspec.structs.replace(DIFFERS, source=one, differences=(difference,), notes=(three,)),
        msgspec.structs.replace(DIFFERS, differences=(msgspec.structs.replace(difference, what="content"),)),
        msgspec.structs.replace(ERROR, error=two),
    ]
    assert all(line.text.isprintable() for line in render_text(results))
    assert len(ET.fromstring(render_junit(results, name=one)).findall("testsuite/testcase")) == 3


def test_junit_counts_and_explains() -> None:
    root = ET.fromstring(render_junit([SAME, DIFFERS, ERROR]))
    assert root.tag == "testsuites"
    assert root.attrib == {
        "name": "smtpproxy replay", "tests": "3", "failures": "1", "errors": "1", "time": "1.750",
    }  # fmt: skip
    first, second = root
    assert (first.get("name"), first.get("tests"), first.get("failures")) == ("a.smtp.jsonl", "1", "0")
    assert (second.get("name"), second.get("tests"), second.get("errors")) == ("b.smtp.jsonl", "2", "1")
    (passed,), (failed, broken) = first, second
    assert len(passed) == 0
    assert passed.attrib == {"classname": "a.smtp.jsonl", "name": "session 01A line 1", "time": "0.250"}
    (failure,) = failed
    assert (failure.tag, failure.get("type")) == ("failure", "reply")
    assert failure.get("message") == "step 4: 550 5.1.1 came, where 250 2.1.5 was recorded"
    assert "      + 550 5.1.1 no" in (failure.text or "").splitlines()
    (error,) = broken
    assert (error.tag, error.get("message"), error.get("type")) == ("error", "connection refused", "not-run")


def test_a_test_case_is_bounded() -> None:
    long = msgspec.structs.replace(
        DIFFERS, differences=(msgspec.structs.replace(REPLY, expected="y\n" * 39),) * 50
    )
    (failure,) = ET.fromstring(render_junit([long])).iter("failure")
    assert len((failure.text or "").splitlines()) == MAX_CASE_LINES


def test_lines_for_programs() -> None:
    line = json.loads(encode_result(DIFFERS))
    assert (line["kind"], line["session"], line["status"], line["attempt"]) == ("result", "01B", "differs", 2)
    assert line["differences"][0]["fields"] == [["code", "250", "550"]]
    assert msgspec.json.decode(encode_result(DIFFERS), type=SessionResult) == DIFFERS
    assert json.loads(encode_summary(Summary(sessions=2, same=2, duration_s=0.5))) == {
        "kind": "summary", "sessions": 2, "same": 2, "differs": 0, "errors": 0, "steps": 0, "not_played": 0,
        "differences": 0, "duration_s": 0.5,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("results", "code"), [((), 0), ((SAME,), 0), ((SAME, DIFFERS), 1), ((SAME, DIFFERS, ERROR), 2)]
)
def test_the_worst_counts(results: tuple[SessionResult, ...], code: int) -> None:
    tally = Tally()
    for result in results:
        tally.add(result)
    assert tally.summary(duration_s=0).exit_code == code
