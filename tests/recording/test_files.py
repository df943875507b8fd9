"""Recordings on disk: written whole or not at all, read line by line, and told apart when they are broken."""

import os
import random
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpproxy.errors import RecordingError, TooNewError
from smtpproxy.recording.codec import MAX_LINE_BYTES, UnknownEvent, encode, splice_seq
from smtpproxy.recording.files import RecordedLine, index_recording, load_recording, save_recording
from smtpproxy.session.events import AnyEvent, Reply
from tests.recording.events import any_events, ended, samples, started


def reply(n: int, *, session: str) -> Reply:
    return Reply(n=n, session=session, t=0.5, from_="server", to="client", raw="220 mx\r\n", code=220)


def session(name: str) -> list[bytes]:
    """A session of three events."""
    return [encode(started(session=name)), encode(reply(1, session=name)), encode(ended(session=name, n=2))]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "two.smtp.jsonl"


def write(path: Path, *lines: bytes) -> Path:
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


def names_in(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


# -- writing


def test_what_is_saved_is_loaded(path: Path) -> None:
    assert save_recording(path, [session("a"), session("b")]) == 2
    lines = list(load_recording(path))
    assert [line.line for line in lines] == session("a") + session("b")
    assert [line.number for line in lines] == [1, 2, 3, 4, 5, 6]
    assert [line.event.session for line in lines] == ["a"] * 3 + ["b"] * 3


def test_only_the_owner_may_read_it_whatever_the_umask(path: Path) -> None:
    old = os.umask(0)
    try:
        save_recording(path, [session("a")])
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert names_in(path.parent) == [path.name]


def test_an_older_recording_stays_until_the_new_one_is_whole(path: Path) -> None:
    save_recording(path, [session("a")])
    before = path.read_bytes()

    def breaks() -> Iterator[bytes]:
        yield session("b")[0]
        raise RuntimeError("the store went away")

    with pytest.raises(RuntimeError, match="went away"):
        save_recording(path, [breaks()])
    assert path.read_bytes() == before
    assert names_in(path.parent) == [path.name]
    save_recording(path, [session("b")])
    assert [line.event.session for line in load_recording(path)] == ["b"] * 3


def test_nothing_to_write_leaves_nothing_behind(path: Path) -> None:
    with pytest.raises(RecordingError, match="there is no session to write"):
        save_recording(path, [])
    assert names_in(path.parent) == []


def test_links_folders_and_devices_are_not_replaced(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("precious")
    path.symlink_to(target)
    for name, what in ((path, "a link"), (tmp_path, "a folder"), (Path(os.devnull), "a device or a pipe")):
        with pytest.raises(RecordingError, match=f"cannot be written: it is {what}, not a file"):
            save_recording(name, [session("a")])
    assert target.read_text() == "precious"
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)


def test_a_folder_that_is_not_there_is_told_in_words(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"nowhere/x.smtp.jsonl: cannot be written: No such file"):
        save_recording(tmp_path / "nowhere" / "x.smtp.jsonl", [session("a")])


# -- reading


def test_sessions_may_interleave_and_carry_their_positions(path: Path) -> None:
    a, b = session("a"), session("b")
    mixed = [splice_seq(line, seq) for seq, line in enumerate([a[0], b[0], a[1], b[1], b[2], a[2]], 40)]
    write(path, *mixed)
    assert [(line.event.session, line.event.n) for line in load_recording(path)] == [
        ("a", 0), ("b", 0), ("a", 1), ("b", 1), ("b", 2), ("a", 2),
    ]  # fmt: skip


def test_blank_lines_other_line_ends_and_later_kinds_pass(path: Path) -> None:
    a = session("a")
    later = b'{"kind":"weather","n":2,"session":"a","t":0.5,"sky":"blue"}'
    path.write_bytes(b"\n" + a[0] + b"\r\n   \r\n" + a[1] + b"\n" + later)
    lines = list(load_recording(path))
    assert [line.number for line in lines] == [2, 4, 5]
    assert isinstance(lines[2].event, UnknownEvent)
    assert lines[2].line == later


def test_numbers_may_be_missing_in_between_but_not_go_back(path: Path) -> None:
    write(path, session("a")[0], encode(reply(7, session="a")), encode(reply(9, session="a")))
    assert [line.event.n for line in load_recording(path)] == [0, 7, 9]


A = session("a")
LATER = A[0].replace(b'"format":1', b'"format":2')
REFUSED: dict[str, tuple[bytes, int, str]] = {
    "not JSON": (A[0] + b"\n220 mx ESMTP ready\n" + A[2] + b"\n", 2, "not "),
    "a torn last line": (A[0] + b"\n" + A[1][:40], 2, "the last line is cut off"),
    "an event before its session": (A[1] + b"\n" + A[0] + b"\n", 1, "stands before the line that opens it"),
    "a session nobody opened": (A[0] + b"\n" + session("b")[1] + b"\n", 2, "of session b stands before"),
    "n goes back": (b"\n".join([A[0], A[2], A[1]]), 3, "event 1 of session a comes after event 2"),
    "n twice": (b"\n".join([A[0], A[1], A[1]]), 3, "event 1 of session a comes after event 1"),
    "a session twice": (b"\n".join([*A, A[0]]), 4, "session a is opened a second time"),
    "opened in the middle": (A[0].replace(b'"n":0', b'"n":3'), 1, "is opened by event 3, not by event 0"),
    "not UTF-8 in a later field": (A[0] + b"\n" + A[1][:-1] + b',"later":"\xff"}\n' + A[2], 2, "not JSON"),
    "half a character in one": (A[0] + b"\n" + A[1][:-1] + b',"later":"\\ud800"}\n' + A[2], 2, "not JSON"),
    "over-long": (A[0] + b"\n" + b" " + b"x" * (3 * MAX_LINE_BYTES) + b"\n" + A[1], 2, "is longer than"),
    "over-long without end": (A[0] + b"\n" + b"x" * (3 * MAX_LINE_BYTES), 2, "the line is longer than"),
}  # fmt: skip


@pytest.mark.parametrize(("octets", "number", "problem"), REFUSED.values(), ids=REFUSED)
def test_a_broken_file_is_refused_by_file_and_line(
    path: Path, octets: bytes, number: int, problem: str
) -> None:
    path.write_bytes(octets)
    with pytest.raises(RecordingError) as caught:
        list(load_recording(path))
    assert str(caught.value).startswith(f"{path}:{number}: ")
    assert problem in caught.value.problem
    assert caught.value.line == number


@pytest.mark.parametrize(("octets", "number", "problem"), REFUSED.values(), ids=REFUSED)
def test_what_is_whole_in_a_broken_file_can_be_salvaged(
    path: Path, octets: bytes, number: int, problem: str
) -> None:
    path.write_bytes(octets + b"\n" + b"\n".join(session("z")) + b"\n")
    warnings: list[RecordingError] = []
    lines = list(load_recording(path, salvage=True, warn=warnings.append))
    assert [line.line for line in lines][-3:] == session("z")
    assert number in [warning.line for warning in warnings]
    good = [line for line in octets.splitlines() if line in (*A, *session("b"))]
    assert len(lines) - 3 + len(warnings) >= len(good)
    assert list(load_recording(path, salvage=True)) == lines


@pytest.mark.parametrize("salvage", [True, False])
def test_a_later_format_says_what_to_do(path: Path, salvage: bool) -> None:
    write(path, LATER)
    with pytest.raises(TooNewError) as caught:
        list(load_recording(path, salvage=salvage))
    assert str(caught.value) == (
        f"{path}:1: was written by a newer smtpproxy (format 2); this one reads up to 1: upgrade"
    )


@pytest.mark.parametrize("salvage", [True, False])
@pytest.mark.parametrize("octets", [b"", b"\n\n", b"  \r\n"])
def test_an_empty_file_is_no_recording(path: Path, salvage: bool, octets: bytes) -> None:
    path.write_bytes(octets)
    with pytest.raises(RecordingError, match=r"there is no recorded session in it$") as caught:
        list(load_recording(path, salvage=salvage))
    assert caught.value.line == 0


def test_nothing_that_can_be_salvaged_is_told_too(path: Path) -> None:
    path.write_bytes(b"\x7fELF\0\0\n\xff\xff\n")
    warnings: list[RecordingError] = []
    with pytest.raises(RecordingError, match="there is no recorded session in it"):
        list(load_recording(path, salvage=True, warn=warnings.append))
    assert [warning.line for warning in warnings] == [1, 2]


def test_what_cannot_be_opened_is_told_in_words(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="cannot be read: No such file or directory"):
        list(load_recording(tmp_path / "missing"))
    with pytest.raises(RecordingError, match="cannot be read: Is a directory"):
        list(load_recording(tmp_path))


def test_a_pipe_is_no_recording_to_rerun(tmp_path: Path) -> None:
    """Nobody writes to it: opening it would wait for ever."""
    pipe = tmp_path / "mail.smtp.jsonl"
    os.mkfifo(pipe)
    with pytest.raises(RecordingError, match=r"mail\.smtp\.jsonl: cannot be read: it is a device or a pipe"):
        index_recording(pipe)


def test_reading_stops_where_the_reader_stops(path: Path) -> None:
    write(path, *session("a"), b"broken")
    lines = load_recording(path)
    assert isinstance(next(lines), RecordedLine)


@given(st.lists(any_events.filter(lambda event: event.n > 0), max_size=10))
def test_any_session_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, events: list[AnyEvent]
) -> None:
    path = tmp_path_factory.getbasetemp() / "law.smtp.jsonl"
    for n, event in enumerate(events, 1):
        event.n, event.session = n, "law"
    written: list[AnyEvent] = [started(session="law"), *events]
    save_recording(path, [[encode(event) for event in written]])
    assert [line.event for line in load_recording(path)] == written


def test_ten_thousand_damaged_recordings_are_read_or_refused(path: Path) -> None:
    whole = b"".join(encode(event) + b"\n" for event in samples())
    dice = random.Random(5321)
    read = refused = 0
    for number in range(10_000):
        octets = bytearray(whole)
        for _ in range(dice.randint(1, 6)):
            at = dice.randrange(len(octets))
            match dice.randrange(4):
                case 0:
                    octets[at] = dice.randrange(256)
                case 1:
                    del octets[at : at + dice.randrange(1, 40)]
                case 2:
                    octets[at:at] = dice.randbytes(dice.randrange(1, 8))
                case 3:
                    # Digits and brackets make other JSON rather than none.
                    octets[at] = dice.choice(b'0123456789"{}[]:,-e')
        path.write_bytes(octets)
        try:
            read += len(list(load_recording(path, salvage=number % 10 == 0)))
        except RecordingError:
            refused += 1
    assert read > 0
    assert refused > 5_000
