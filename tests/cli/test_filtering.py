"""Filters on the command line: sessions and export, what a mistake looks like, what a dash means."""

import json
import sqlite3
from pathlib import Path

import pytest

from smtpproxy.cli.filtering import point_at
from smtpproxy.store.retention import Retention
from smtpproxy.store.writer import SqliteWriter
from tests.cli.conftest import Run, keep
from tests.conversation import Conversation, delivery


@pytest.fixture
def filled(store: Path) -> Path:
    """Three sessions and a probe."""
    refused = (
        Conversation("01K-REFUSED", started="2026-11-23T18:00:00Z")
        .server("220 mx")
        .client("MAIL FROM:<bob@example.org>")
        .server("250 ok")
        .client("RCPT TO:<nobody@example.com>")
        .server("550 5.1.1 who")
        .client("QUIT")
        .server("221 bye")
        .finding("bare-lf")
        .end("rejected")
    )
    keep(
        store,
        delivery("01K-HELLO", started="2026-11-23T17:00:00Z", subject="Hello there"),
        refused,
        delivery("01K-RESET", started="2026-11-23T19:00:00Z", subject="Password reset"),
        Conversation("01K-PROBE", started="2026-11-23T20:00:00Z").server("220 mx").end("empty", "client-eof"),
    )
    return store


def listed(out: str) -> list[str]:
    return [json.loads(line)["session"].removeprefix("01K-") for line in out.splitlines()]


MATCHES: list[tuple[list[str], list[str]]] = [
    ([], ["RESET", "REFUSED", "HELLO"]),
    (["code:5xx"], ["REFUSED"]),
    (["-code:5xx"], ["RESET", "HELLO"]),
    (["-code:5xx", "-subject:reset"], ["HELLO"]),
    (["-is:rejected subject:hello"], ["HELLO"]),
    (["-has:message"], ["REFUSED"]),
    (['subject:"password reset" OR finding:bare-lf'], ["RESET", "REFUSED"]),
    (["(", "from:@example.org", "OR", "hello", ")"], ["REFUSED", "HELLO"]),
    (["after:2026-11-23T17:30", "before:2026-11-23T19:00"], ["REFUSED"]),
    (["dotted", "--limit", "1"], ["RESET"]),
    (["--limit", "2", "*"], ["RESET", "REFUSED"]),
    (["--all", "-has:message", "-finding:*"], ["PROBE"]),
    (["--", "-code:5xx"], ["RESET", "HELLO"]),
    (["before:5000w"], []),
]


@pytest.mark.parametrize(("words", "found"), MATCHES)
def test_sessions_that_match(smtpproxy: Run, filled: Path, words: list[str], found: list[str]) -> None:
    ran = smtpproxy("sessions", "--json", "--store", filled, *words)
    assert (ran.code, listed(ran.out), ran.err) == (0, found, "")


@pytest.mark.parametrize(("words", "found"), MATCHES)
def test_the_index_alone_finds_them_too(
    smtpproxy: Run, filled: Path, words: list[str], found: list[str]
) -> None:
    writer = SqliteWriter(filled, retention=Retention())
    while writer.index():
        pass
    writer.close()
    with sqlite3.connect(filled) as connection:
        connection.execute("DELETE FROM runs")
    connection.close()
    ran = smtpproxy("sessions", "--json", "--store", filled, *words)
    assert (ran.code, listed(ran.out), ran.err) == (0, found, "")


def test_a_table_of_nothing_says_so(smtpproxy: Run, filled: Path) -> None:
    ran = smtpproxy("sessions", "--store", filled, "is:open")
    assert ran == (0, "", f"smtpproxy: no session in {filled} matches\n")


def test_a_mistake_is_pointed_at(smtpproxy: Run, filled: Path) -> None:
    ran = smtpproxy("sessions", "--store", filled, "from:größe@x", "cdoe:550")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.splitlines() == [
        "  from:größe@x cdoe:550",
        "               ^",
        "smtpproxy: filter, column 14: there is no key cdoe: (did you mean code:?);"
        " quote it to search for it as text",
    ]


def test_a_mistyped_option_is_no_filter(smtpproxy: Run, filled: Path) -> None:
    ran = smtpproxy("sessions", "--store", filled, "--jsn")
    assert (ran.code, ran.out) == (2, "")
    assert "No such option" in ran.err


def test_a_mistake_is_told_before_any_store_is_looked_for(smtpproxy: Run, store: Path) -> None:
    assert smtpproxy("sessions", "--store", store, "is:opn").code == 2
    assert smtpproxy("export", "--store", store, "--filter", "is:opn").code == 2


def test_a_caret_stands_under_its_column_in_a_terminal() -> None:
    assert point_at("日本 x:y", 4) == ("  日本 x:y", "       ^")
    assert point_at("\x1b[2J x:y", 6) == ("  \\x1b[2J x:y", "          ^")
    line, caret = point_at("a" * 100 + " x:y " + "b" * 100, 102)
    assert line == "  …" + "a" * 49 + " x:y " + "b" * 16 + "…"
    assert line[caret.index("^") :].startswith("x:y")


def test_what_matches_is_exported_oldest_first(smtpproxy: Run, filled: Path, tmp_path: Path) -> None:
    file, other = tmp_path / "some.smtp.jsonl", tmp_path / "other.db"
    ran = smtpproxy("export", "--store", filled, "--filter", "-code:5xx", "-o", file)
    assert (ran.code, ran.err) == (0, f"smtpproxy: 2 sessions written to {file}\n")
    imported = smtpproxy("import", file, "--store", other)
    assert imported.out == "01K-HELLO imported\n01K-RESET imported\n"
    assert smtpproxy("sessions", "--json", "--store", other).out == (
        smtpproxy("sessions", "--json", "--store", filled, "-code:5xx").out
    )


def test_nothing_to_export_is_told(smtpproxy: Run, filled: Path, tmp_path: Path) -> None:
    ran = smtpproxy("export", "--store", filled, "--filter", "is:open", "-o", "none.smtp.jsonl")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == f"smtpproxy: there is no session that matches in {filled} to export\n"
    assert not (tmp_path / "none.smtp.jsonl").exists()


@pytest.mark.parametrize("more", [["latest"], ["--all"]])
def test_sessions_are_named_or_chosen_not_both(smtpproxy: Run, filled: Path, more: list[str]) -> None:
    ran = smtpproxy("export", "--store", filled, "--filter", "is:open", *more)
    assert ran.code == 2
    assert "--filter" in ran.err
