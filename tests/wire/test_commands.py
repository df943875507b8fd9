"""Command lines: where they end however they arrive, their verb, BDAT's count."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpproxy.wire.commands import MAX_LINE_BYTES, argument_of, parse_bdat, take_line, verb_of, word_spans


def lines_of(*reads: bytes) -> tuple[list[bytes], bytes]:
    """What take_line makes of these reads: the lines and pieces, and what is left."""
    begun, lines = bytearray(), []
    for data in reads:
        pos = 0
        while pos < len(data):
            line, pos = take_line(begun, data, pos)
            if line is not None:
                lines.append(line)
        assert len(begun) <= MAX_LINE_BYTES
    return lines, bytes(begun)


STREAMS = [
    (b"NOOP\r\n", [b"NOOP\r\n"]),
    (b"NOOP\n", [b"NOOP\n"]),
    (b"\r\n\n", [b"\r\n", b"\n"]),
    (b"a\rb\r\n", [b"a\rb\r\n"]),
    (b"\0\xff\r\nx\r\n", [b"\0\xff\r\n", b"x\r\n"]),
    (b"x" * (MAX_LINE_BYTES - 1) + b"\n", [b"x" * (MAX_LINE_BYTES - 1) + b"\n"]),
    (b"x" * MAX_LINE_BYTES + b"\n", [b"x" * MAX_LINE_BYTES, b"\n"]),
    (b"x" * (2 * MAX_LINE_BYTES) + b"y\r\n", [b"x" * MAX_LINE_BYTES] * 2 + [b"y\r\n"]),
]


@pytest.mark.parametrize(("stream", "lines"), STREAMS, ids=range(len(STREAMS)))
@pytest.mark.parametrize("trailing", [b"", b"QUIT"])
def test_lines_whole_and_octet_by_octet(stream: bytes, lines: list[bytes], trailing: bytes) -> None:
    octets = stream + trailing
    assert lines_of(octets) == (lines, trailing)
    assert lines_of(*(octets[at : at + 1] for at in range(len(octets)))) == (lines, trailing)


@given(st.lists(st.binary(max_size=40)), st.integers(0, 3))
def test_any_chunking_gives_the_same_lines(reads: list[bytes], long: int) -> None:
    reads = [*reads, b"x" * (long * MAX_LINE_BYTES // 2), *reads]
    assert lines_of(*reads) == lines_of(b"".join(reads))
    lines, rest = lines_of(*reads)
    assert b"".join(lines) + rest == b"".join(reads)


@pytest.mark.parametrize(
    ("line", "verb", "argument"),
    [
        (b"EHLO app\r\n", "EHLO", b"app"),
        (b"ehlo\tapp \r\n", "EHLO", b"app"),
        (b"MaIl FROM:<a b>\n", "MAIL", b"FROM:<a b>"),
        (b"  QUIT  \r\n", "QUIT", b""),
        (b"\r\n", "", b""),
        (b" \t \n", "", b""),
        (b"x" * 100 + b"\r\n", "X" * 64, b""),
        (b"\xff\xfe\r\n", "\xff\xfe", b""),
        (b"NOOP", "NOOP", b""),
    ],
)
def test_verb_and_argument(line: bytes, verb: str, argument: bytes) -> None:
    assert verb_of(line) == verb
    assert argument_of(line) == argument


def test_word_spans() -> None:
    line = b" AUTH\tPLAIN  abc=\r\n"
    assert [line[slice(*span)] for span in word_spans(line)] == [b"AUTH", b"PLAIN", b"abc="]


@pytest.mark.parametrize(
    ("argument", "parsed"),
    [
        (b"0", (0, False)),
        (b"5", (5, False)),
        (b"5 LAST", (5, True)),
        (b"0005  last", (5, True)),
        (b"9223372036854775807", (2**63 - 1, False)),
        (b"9223372036854775808", None),
        (b"99999999999999999999", None),
        (b"", None),
        (b"LAST", None),
        (b"-5", None),
        (b"+5", None),
        (b"5 5", None),
        (b"5 LAST x", None),
        (b"0x10", None),
        (b"1_0", None),
        (b"\xb2", None),
    ],
)
def test_bdat(argument: bytes, parsed: tuple[int, bool] | None) -> None:
    assert parse_bdat(argument) == parsed
