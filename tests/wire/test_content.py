"""The end of a message: CR LF . CR LF alone, wherever the octets are cut; and what a lenient server sees."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpproxy.wire.content import (
    MAX_MESSAGE_LINE_BYTES,
    TerminatorScanner,
    has_long_line,
    lenient_end,
    lenient_terminator_in,
)


def end_of(*reads: bytes) -> int:
    """Where the message ends in all that was read, or -1."""
    scanner, before = TerminatorScanner(), 0
    for data in reads:
        end = scanner.scan(data)
        if end >= 0:
            return before + end
        before += len(data)
    return -1


MESSAGES = [
    (b".\r\n", 3),
    (b"\r\n.\r\n", 5),
    (b"hi\r\n.\r\n", 7),
    (b"hi\r\n..\r\n.\r\n", 11),
    (b"\r\r\n.\r\n", 6),
    (b"hi\r\n.\r\n.\r\n", 7),
    (b"", -1),
    (b"hi\n.\n", -1),
    (b"hi\r\n.\n", -1),
    (b"hi\n.\r\n", -1),
    (b"hi\r.\r\n", -1),
    (b"hi\r\n.\r", -1),
    (b"hi\r\n.\0\r\n", -1),
    (b"hi.\r\n", -1),
    (b"..\r\n", -1),
]


@pytest.mark.parametrize(("message", "end"), MESSAGES)
def test_whole_in_octets_and_with_more_behind(message: bytes, end: int) -> None:
    assert end_of(message) == end
    assert end_of(*(message[at : at + 1] for at in range(len(message)))) == end
    if end >= 0:
        assert end_of(message + b"QUIT\r\n.\r\n") == end


@given(st.lists(st.text("\r\n.x", max_size=6).map(str.encode)))
def test_any_chunking_finds_the_same_end(reads: list[bytes]) -> None:
    joined = b"\r\n" + b"".join(reads)
    at = joined.find(b"\r\n.\r\n")
    assert end_of(*reads) == (at + 3 if at >= 0 else -1)


def test_from_the_middle_of_a_read() -> None:
    scanner = TerminatorScanner()
    assert scanner.scan(b"DATA\r\nhi\r\n.", 6) == -1
    assert scanner.scan(b"\r\nQUIT") == 2


@pytest.mark.parametrize(
    ("tail", "spelt"),
    [
        (b"x\n.\n", "LF . LF"),
        (b"x\n.\r\n", "LF . CR LF"),
        (b"x\r\n.\n", "CR LF . LF"),
        (b"x\r.\r", "CR . CR"),
        (b"x\r\n.\0\r\n", "CR LF . NUL CR LF"),
        (b"x\r\n\0.\r\n", "CR LF NUL . CR LF"),
        (b"x\r\n.\r\r\n", "CR LF . CR CR LF"),
        (b"x\r\n.\r\n", None),
        (b"x\n..\n", None),
        (b"x\n.\nx", None),
        (b"", None),
    ],
)
def test_lenient_end(tail: bytes, spelt: str | None) -> None:
    assert lenient_end(tail) == spelt
    if not tail.endswith(b"x"):
        assert lenient_terminator_in(b"before" + tail + b"after") == spelt


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_long_lines(end: bytes) -> None:
    line = b"x" * MAX_MESSAGE_LINE_BYTES + b"\r\n"
    assert not has_long_line(line * 3)
    assert has_long_line(line + b"x" * 1001 + end + line)
