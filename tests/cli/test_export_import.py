"""Sessions out of one store and into another, beside a proxy that goes on writing or without one."""

import stat
from pathlib import Path

import pytest

from smtpproxy.recording.codec import encode
from smtpproxy.recording.overrides import (
    Match,
    Overrides,
    ReplayHeader,
    ReplyRule,
    read_overrides,
    with_overrides,
)
from tests.cli.conftest import Run, keep
from tests.conversation import Conversation, delivery


def test_an_exported_session_shows_identically_where_it_is_imported(
    smtpproxy: Run, store: Path, tmp_path: Path
) -> None:
    talk = delivery("01K-ONE", subject="größe \x1b", is_open=True)
    keep(store, talk.tls("server").opaque(b"\xff\x00").end())
    file, other = tmp_path / "one.smtp.jsonl", tmp_path / "other.db"
    exported = smtpproxy("export", "latest", "--store", store, "-o", file)
    assert (exported.code, exported.out) == (0, "")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert smtpproxy("import", file, "--store", other) == (0, "01K-ONE imported\n", "")
    for form in ("text", "json", "eml"):
        here = smtpproxy("show", "01K-ONE", "--store", store, "--format", form)
        there = smtpproxy("show", "01K-ONE", "--store", other, "--format", form)
        assert here == there == smtpproxy("show", file, "--format", form)
        assert here.code == 0
    for argv in (["sessions", "--json"], ["sessions"]):
        assert smtpproxy(*argv, "--store", store).out == smtpproxy(*argv, "--store", other).out


def test_all_sessions_in_one_file_oldest_first(smtpproxy: Run, store: Path, tmp_path: Path) -> None:
    keep(
        store,
        delivery("01K-B", started="2026-11-23T18:00:00Z"),
        delivery("01K-A", started="2026-11-23T17:00:00Z"),
        Conversation("01K-PROBE", started="2026-11-23T19:00:00Z").end("empty"),
    )
    assert smtpproxy("export", "--all", "--store", store).code == 0
    file, other = tmp_path / "sessions.smtp.jsonl", tmp_path / "other.db"
    imported = smtpproxy("import", file, "--store", other)
    assert imported.out.splitlines() == [f"01K-{name} imported" for name in ("A", "B", "PROBE")]
    listed = ("sessions", "--json", "--all", "--store")
    assert smtpproxy(*listed, other).out == smtpproxy(*listed, store).out


def test_the_file_is_named_after_its_session_and_not_replaced_unasked(
    smtpproxy: Run, store: Path, tmp_path: Path
) -> None:
    keep(store, delivery("01K-ONE"))
    export = ("export", "01K-ONE", "--store", store)
    assert smtpproxy(*export).code == 0
    file = tmp_path / "01K-ONE.smtp.jsonl"
    file.write_text("mine")
    again = smtpproxy(*export)
    assert (again.code, len(again.err.splitlines()), file.read_text()) == (2, 1, "mine")
    assert smtpproxy(*export, "-o", file).code == 0
    assert smtpproxy("show", file).code == 0


def test_standard_output_takes_the_lines(smtpproxy: Run, store: Path) -> None:
    talk = delivery()
    keep(store, talk)
    ran = smtpproxy("export", "latest", "latest", "--store", store, "-o", "-")
    assert ran.out.encode() == b"".join(encode(event) + b"\n" for event in talk.events)


@pytest.mark.parametrize(
    "argv", [["01K-NONE"], ["--all", "latest"], [], ["latest", "-o", "no/such/folder/x"]]
)
def test_an_export_that_cannot_be_is_exit_2(
    smtpproxy: Run, store: Path, argv: list[str], tmp_path: Path
) -> None:
    keep(store, delivery())
    ran = smtpproxy("export", *argv, "--store", store)
    assert (ran.code, ran.out) == (2, "")
    assert not list(tmp_path.glob("*.jsonl"))


def test_an_export_of_nothing_is_exit_2(smtpproxy: Run, store: Path) -> None:
    keep(store)
    assert smtpproxy("export", "--all", "--store", store).code == 2


def test_importing_twice_changes_nothing_and_other_content_gets_another_id(
    smtpproxy: Run, store: Path, tmp_path: Path
) -> None:
    keep(store, delivery("01K-ONE", subject="mine"))
    before = smtpproxy("show", "01K-ONE", "--store", store).out
    other = tmp_path / "other.db"
    keep(other, delivery("01K-ONE", subject="theirs"))
    smtpproxy("export", "01K-ONE", "--store", other, "-o", "theirs.smtp.jsonl")
    first = smtpproxy("import", "theirs.smtp.jsonl", "--store", store)
    second = smtpproxy("import", "theirs.smtp.jsonl", "--store", store)
    assert first.out.startswith("01K-ONE imported as 01K-ONE-")
    assert second.out.endswith(" is in the store already\n")
    assert smtpproxy("show", "01K-ONE", "--store", store).out == before
    renamed = first.out.split()[3].removesuffix(":")
    assert "Subject: theirs" in smtpproxy("show", renamed, "--store", store).out


def test_of_a_broken_file_whole_lines_are_imported(smtpproxy: Run, store: Path, tmp_path: Path) -> None:
    file = tmp_path / "torn.smtp.jsonl"
    lines = [encode(event) for event in delivery("01K-TORN").events]
    file.write_bytes(b"\n".join(lines[:6]) + b"\n" + lines[6][:30])
    ran = smtpproxy("import", file, "--store", store)
    assert (ran.code, ran.out) == (0, "01K-TORN imported\n")
    assert ran.err == f"smtpproxy: warning: {file}:7: the last line is cut off\n"
    assert '"outcome":"interrupted"' in smtpproxy("sessions", "--json", "--store", store).out


def test_positions_of_a_live_log_are_not_imported(smtpproxy: Run, store: Path, tmp_path: Path) -> None:
    file = tmp_path / "live.jsonl"
    lines = [encode(event) for event in delivery("01K-LIVE").events]
    file.write_bytes(b"".join(b'{"seq":%d,%s\n' % (seq, line[1:]) for seq, line in enumerate(lines, 7)))
    assert smtpproxy("import", file, "--store", store).code == 0
    shown = smtpproxy("show", "01K-LIVE", "--store", store, "--format", "json").out
    assert shown.encode().splitlines() == lines


def test_events_of_kinds_to_come_survive(smtpproxy: Run, store: Path, tmp_path: Path) -> None:
    file = tmp_path / "later.smtp.jsonl"
    first, last = [encode(event) for event in Conversation("01K").end("empty").events]
    later = b'{"kind":"mood","n":1,"session":"01K","t":0.0,"is":"good"}'
    file.write_bytes(b"\n".join([first, later, last.replace(b'"n":1', b'"n":2'), b""]))
    smtpproxy("import", file, "--store", store)
    assert smtpproxy("export", "01K", "--store", store, "-o", "-").out.encode() == file.read_bytes()


def test_a_file_that_is_not_there_is_one_line_and_exit_2(smtpproxy: Run, store: Path) -> None:
    ran = smtpproxy("import", "none.smtp.jsonl", "--store", store)
    assert (ran.code, ran.out, len(ran.err.splitlines())) == (2, "", 1)


def test_what_a_header_asks_of_those_who_rerun_it_travels(
    smtpproxy: Run, store: Path, tmp_path: Path
) -> None:
    """`replay` and `match` are written by hand into a file; nothing on the way knows them."""
    keep(store, delivery("01K-ONE"))
    file, other, again = tmp_path / "one.smtp.jsonl", tmp_path / "other.db", tmp_path / "again.smtp.jsonl"
    smtpproxy("export", "latest", "--store", store, "-o", file)
    overrides = Overrides(
        replay=ReplayHeader(level="text", steps=(ReplyRule(n=9, ignore=True),)), match=Match(ehlo="exact")
    )
    first, *rest = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(with_overrides(first, overrides) + b"\n" + b"".join(rest))
    assert smtpproxy("import", file, "--store", other).out == "01K-ONE imported\n"
    assert smtpproxy("export", "latest", "--store", other, "-o", again).code == 0
    assert again.read_bytes() == file.read_bytes()
    assert read_overrides(again.read_bytes().splitlines()[0]) == overrides
