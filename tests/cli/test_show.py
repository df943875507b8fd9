"""`smtpproxy show` of sessions in a store and of files, whole and broken."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from smtpproxy.recording.codec import encode
from smtpproxy.recording.files import save_recording
from tests.cli.conftest import Run, keep
from tests.conversation import Conversation, delivery

MESSAGE = "Subject: Hello\r\nFrom: Alice <alice@example.com>\r\n\r\nHi Bob,\r\n.dotted\r\n"


def lines_of(talk: Conversation) -> list[bytes]:
    return [encode(event) for event in talk.events]


def test_the_latest_session_as_a_transcript(smtpproxy: Run, store: Path) -> None:
    keep(store, delivery("01K-OLD"), delivery("01K-NEW", started="2027-01-01T00:00:00Z"))
    ran = smtpproxy("show", "latest", "--store", store)
    assert (ran.code, ran.err) == (0, "")
    shown = ran.out.splitlines()
    assert shown[0].startswith("=== session 01K-NEW: ")
    assert shown[1:3] == ["<-  220 mx ESMTP", " -> EHLO app"]
    assert shown[13:18] == [
        " -> Subject: Hello",
        " -> From: Alice <alice@example.com>",
        " ->",
        " -> Hi Bob,",
        " -> ..dotted",
    ]
    assert shown[-1] == "=== end: delivered, 1 message, 0.170 s, quit"


def test_a_session_by_the_beginning_of_its_id(smtpproxy: Run, store: Path) -> None:
    keep(store, delivery("01K-ONE"), delivery("01K-TWO"))
    assert smtpproxy("show", "01K-T", "--store", store).out.startswith("=== session 01K-TWO")
    ambiguous = smtpproxy("show", "01K", "--store", store)
    assert (ambiguous.code, ambiguous.out, len(ambiguous.err.splitlines())) == (2, "", 1)


@pytest.mark.parametrize("name", ["01K-NONE", "latest", "nonsense!", "./none.smtp.jsonl", "none.eml"])
def test_what_is_not_there_is_one_line_and_exit_2(smtpproxy: Run, store: Path, name: str) -> None:
    keep(store, Conversation("01K-PROBE").end("empty"))
    ran = smtpproxy("show", name, "--store", store)
    assert (ran.code, ran.out, len(ran.err.splitlines())) == (2, "", 1)


def test_times_and_the_bound_of_content_are_options(smtpproxy: Run, store: Path) -> None:
    keep(store, delivery())
    shown = smtpproxy("show", "latest", "--store", store, "--times", "--content", "1").out.splitlines()
    assert shown[1] == "    0.010 <-  220 mx ESMTP"
    assert shown[14] == "    0.130 === message 1: 70 octets, the first 1 line shown"
    assert smtpproxy("show", "latest", "--store", store, "--content", "some").code == 2


def test_json_is_the_recorded_lines_octet_for_octet(smtpproxy: Run, store: Path) -> None:
    talk = delivery(subject="größe")
    keep(store, talk)
    ran = smtpproxy("show", "latest", "--store", store, "--format", "json")
    assert ran.out.encode() == b"".join(line + b"\n" for line in lines_of(talk))


def test_eml_is_the_message_as_it_was_meant(smtpproxy: Run, store: Path) -> None:
    keep(store, delivery())
    assert smtpproxy("show", "latest", "--store", store, "--format", "eml") == (0, MESSAGE, "")


def test_of_several_messages_one_is_chosen(smtpproxy: Run, store: Path) -> None:
    keep(store, Conversation().client("DATA").content("one\r\n").client("DATA").content("two\r\n").end())
    eml = ("show", "latest", "--store", store, "--format", "eml")
    ran = smtpproxy(*eml)
    assert (ran.code, ran.out) == (2, "")
    assert "--message" in ran.err
    assert smtpproxy(*eml, "--message", "2").out == "two\r\n"
    assert smtpproxy(*eml, "--message", "3").code == 2


def test_messages_that_cannot_be_had_are_refused(smtpproxy: Run, store: Path) -> None:
    keep(
        store,
        Conversation("01K-DIGEST").client("DATA").digested(9).end(),
        Conversation("01K-NONE").client("NOOP").end(),
    )
    for session in ("01K-DIGEST", "01K-NONE"):
        ran = smtpproxy("show", session, "--store", store, "--format", "eml")
        assert (ran.code, ran.out, len(ran.err.splitlines())) == (2, "", 1)


def test_a_message_cut_short_comes_with_a_warning(smtpproxy: Run, store: Path) -> None:
    keep(store, Conversation().client("DATA").content("Subject: x\r\n", end="").end("aborted", "client-eof"))
    ran = smtpproxy("show", "latest", "--store", store, "--format", "eml")
    assert (ran.code, ran.out) == (0, "Subject: x\r\n")
    assert ran.err.startswith("smtpproxy: warning: message 1 of session ")


def test_a_file_needs_no_store(smtpproxy: Run, tmp_path: Path) -> None:
    file = tmp_path / "bug.smtp.jsonl"
    save_recording(file, [lines_of(delivery("01K-ONE")), lines_of(delivery("01K-TWO"))])
    shown = smtpproxy("show", "bug.smtp.jsonl", "--store", "none").out.split("\n\n")
    assert [part.split(":")[0] for part in shown] == ["=== session 01K-ONE", "=== session 01K-TWO"]
    eml = ("show", file, "--format", "eml")
    assert smtpproxy(*eml).code == 2
    assert smtpproxy(*eml, "--message", "2").out == MESSAGE


def test_interleaved_sessions_and_positions_of_a_live_log(smtpproxy: Run, tmp_path: Path) -> None:
    one, two = lines_of(delivery("01K-ONE")), lines_of(delivery("01K-TWO"))
    mixed = [line for pair in zip(one, two, strict=True) for line in pair]
    file = tmp_path / "live.jsonl"
    file.write_bytes(b"".join(b'{"seq":%d,%s\n' % (seq, line[1:]) for seq, line in enumerate(mixed, 1)))
    ran = smtpproxy("show", file, "--format", "json")
    assert ran.out.encode() == b"".join(line + b"\n" for line in one + two)


def test_of_a_broken_file_whole_lines_are_shown(smtpproxy: Run, tmp_path: Path) -> None:
    file = tmp_path / "broken.smtp.jsonl"
    lines = lines_of(delivery())
    file.write_bytes(b"\n".join([lines[0], lines[1], b"\x00garbage", *lines[2:5], lines[5][:40]]))
    ran = smtpproxy("show", file)
    assert ran.code == 0
    assert [line[:3] for line in ran.out.splitlines()] == ["===", "<- ", " ->", "<- ", "<- ", " ->"]
    warnings = ran.err.splitlines()
    assert [line.split(": ")[:3] for line in warnings] == [
        ["smtpproxy", "warning", f"{file}:3"],
        ["smtpproxy", "warning", f"{file}:7"],
    ]


@pytest.mark.parametrize("content", [b"", b"\n\n", b"hello\n", b"\xff" * 100])
def test_a_file_without_any_event_is_exit_2(smtpproxy: Run, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "empty.smtp.jsonl"
    file.write_bytes(content)
    ran = smtpproxy("show", file)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.splitlines()[-1] == f"smtpproxy: {file}: there is no recorded session in it"


def test_a_newer_format_is_told(smtpproxy: Run, tmp_path: Path) -> None:
    file = tmp_path / "newer.smtp.jsonl"
    file.write_bytes(lines_of(delivery())[0].replace(b'"format":1', b'"format":2') + b"\n")
    ran = smtpproxy("show", file)
    assert (ran.code, ran.out, len(ran.err.splitlines())) == (2, "", 1)
    assert "newer" in ran.err


def test_events_of_kinds_to_come_are_passed_over(smtpproxy: Run, tmp_path: Path) -> None:
    file = tmp_path / "later.smtp.jsonl"
    first, *rest = lines_of(Conversation("01K").client("NOOP"))
    later = b'{"kind":"mood","n":1,"session":"01K","t":0.5,"is":"good"}'
    file.write_bytes(
        b"\n".join([first, later, *rest, b""]).replace(
            b'"n":1,"session":"01K","t":0.01', b'"n":2,"session":"01K","t":0.6'
        )
    )
    assert smtpproxy("show", file).out.splitlines()[1:] == [" -> NOOP"]
    assert later in smtpproxy("show", file, "--format", "json").out.encode().splitlines()


def on_a_terminal(*argv: str, **environment: str) -> str:
    """What a command writes to a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "smtpproxy", *argv],
        stdout=theirs,
        env={
            **{key: value for key, value in os.environ.items() if key != "NO_COLOR"},
            "TERM": "xterm",
            **environment,
        },
    )
    os.close(theirs)
    output = b""
    try:
        while data := os.read(ours, 65536):
            output += data
    except OSError:  # Linux: the other end is closed
        pass
    os.close(ours)
    assert process.wait(timeout=60) == 0
    return output.decode().replace("\r\n", "\n")


def test_a_terminal_gets_colours_and_nothing_hostile(store: Path) -> None:
    evil = "\x1b]52;c;ZXZpbA==\x07\x9b2J\u202e"
    keep(store, Conversation().client("DATA").content(f"Subject: {evil}\r\n\r\nx\r\n").end())
    show = ("show", "latest", "--store", str(store))
    coloured = on_a_terminal(*show)
    assert "\x1b[36m -> DATA\x1b[0m\n" in coloured
    plain = on_a_terminal(*show, NO_COLOR="1")
    assert " -> Subject: \\x1b]52;c;ZXZpbA==\\x07\\x9b2J\\u202e\n" in plain
    for text in (
        plain,
        on_a_terminal(*show, "--format", "json"),
        on_a_terminal(*show, "--format", "eml"),
        on_a_terminal("sessions", "--store", str(store)),
    ):
        assert all(line.isprintable() for line in text.split("\n"))
