"""Reply lines: code, whether more follow, enhanced codes; and ours as they go out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpproxy.wire.replies import ReplyReader, enhanced_code_of, parse_reply_line, render_reply


@pytest.mark.parametrize(
    ("line", "parsed"),
    [
        (b"250 ok\r\n", (250, True)),
        (b"250-more\r\n", (250, False)),
        (b"250\r\n", (250, True)),
        (b"250\n", (250, True)),
        (b"250", (250, True)),
        (b"250\tok\r\n", (250, True)),
        (b"250-\r\n", (250, False)),
        (b"100 x\r\n", (100, True)),
        (b"999 x\r\n", (999, True)),
        (b"250 \xff\xfe\0\r\n", (250, True)),
        (b"099 x\r\n", (None, True)),
        (b"25 x\r\n", (None, True)),
        (b"2500 x\r\n", (None, True)),
        (b"250x\r\n", (None, True)),
        (b" 250 x\r\n", (None, True)),
        (b"+25 x\r\n", (None, True)),
        ("٢٥٠ x\r\n".encode(), (None, True)),
        (b"\r\n", (None, True)),
        (b"", (None, True)),
    ],
)
def test_reply_line(line: bytes, parsed: tuple[int | None, bool]) -> None:
    assert parse_reply_line(line) == parsed


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"250 2.1.0 ok\r\n", "2.1.0"),
        (b"550-5.7.123 no\r\n", "5.7.123"),
        (b"250 2.1.0\r\n", "2.1.0"),
        (b"550 5.7.1000 no\r\n", None),
        (b"250 3.1.0 ok\r\n", None),
        (b"250 2.1 ok\r\n", None),
        (b"250 2.1.0ok\r\n", None),
        (b"250 ok 2.1.0\r\n", None),
        (b"250\r\n", None),
    ],
)
def test_enhanced_code(line: bytes, code: str | None) -> None:
    assert enhanced_code_of(line) == code


@given(st.integers(200, 599), st.text())
def test_ours_is_one_line_of_printable_ascii(code: int, text: str) -> None:
    line = render_reply(code, text)
    assert parse_reply_line(line) == (code, True)
    assert len(line) <= 512
    assert line.endswith(b"\r\n")
    assert all(0x20 <= octet <= 0x7E for octet in line[:-2])


def taken(reader: ReplyReader) -> list[tuple[bytes, bool]]:
    found = []
    while (reply := reader.take()) is not None:
        found.append(reply)
    return found


@pytest.mark.parametrize(
    ("octets", "replies"),
    [
        (b"220 a\r\n", [(b"220 a\r\n", False)]),
        (b"220-a\r\n220 b\r\n250 c\n", [(b"220-a\r\n220 b\r\n", False), (b"250 c\n", False)]),
        (b"220-a\r\n", []),
        (b"220 a", []),
        (b"\r\n \n250\r\n\r\n", [(b"250\r\n", False)]),
        (b"hello\r\n250 x\r\n", [(b"hello\r\n250 x\r\n", True)]),
        (b"250-a\r\n\r\n", [(b"250-a\r\n\r\n", True)]),
        (b"250-a\r\n251 b\r\n", [(b"250-a\r\n251 b\r\n", False)]),
    ],
)
def test_whole_replies(octets: bytes, replies: list[tuple[bytes, bool]]) -> None:
    whole = ReplyReader(limit=100)
    whole.feed(octets)
    assert taken(whole) == replies
    bytewise, found = ReplyReader(limit=100), []
    for octet in octets:
        bytewise.feed(bytes([octet]))
        found += taken(bytewise)
    if not any(is_garbled for _, is_garbled in replies):
        assert found == replies


@pytest.mark.parametrize("octets", [b"2" * 101, b"250-" + b"x" * 97 + b"\r\n", b"250-a\r\n" * 15])
def test_a_reply_beyond_the_limit_is_garbled(octets: bytes) -> None:
    reader = ReplyReader(limit=100)
    reader.feed(octets)
    assert taken(reader) == [(octets, True)]


@given(st.lists(st.binary(max_size=20)))
def test_every_octet_is_taken_once_in_order(pieces: list[bytes]) -> None:
    reader, found = ReplyReader(limit=64), b""
    for piece in pieces:
        reader.feed(piece)
        found += b"".join(raw for raw, _ in taken(reader))
    rest = b"".join(pieces)
    # Blank lines between replies are all that goes missing.
    assert len(found) + reader.pending <= len(rest)
    assert found.split() == rest.split()[: len(found.split())] or reader.pending
