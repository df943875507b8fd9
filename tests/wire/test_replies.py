"""Reply lines: code, whether more follow, enhanced codes; and ours as they go out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpproxy.wire.replies import enhanced_code_of, parse_reply_line, render_reply


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
