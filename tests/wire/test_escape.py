"""Hostile text, and what a terminal gets of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpproxy.wire.escape import escape


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("250 ok größe 例え 😀", "250 ok größe 例え 😀"),
        ("\x1b]52;c;ZXZpbA==\x07", "\\x1b]52;c;ZXZpbA==\\x07"),
        ("\x9b31m", "\\x9b31m"),
        ("a\x00b\x7f\tc\r\n", "a\\x00b\\x7f\\tc\\r\\n"),
        ("user\u202egnp.exe", "user\\u202egnp.exe"),
        ("pay\u200bpal\ufeff", "pay\\u200bpal\\ufeff"),
        ("a\u2028b\u2029", "a\\u2028b\\u2029"),
        ("\u3164\u115f", "\\u3164\\u115f"),
        ("\U000e0041", "\\U000e0041"),
        ("domain\\user", "domain\\user"),
    ],
)
def test_what_is_not_plainly_visible_is_spelled_out(text: str, shown: str) -> None:
    assert escape(text) == shown


@given(st.text())
def test_nothing_but_printable_characters_comes_out(text: str) -> None:
    assert escape(text).isprintable()
    assert (
        escape(text) == text
        or not text.isprintable()
        or any(c in "\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0" for c in text)
    )
