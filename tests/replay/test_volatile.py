"""What providers put into their replies, and what of it is another one each time."""

import string
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpproxy.replay.volatile import tokens_of


def volatile(text: str) -> list[tuple[str, str]]:
    return [(token.kind, token.text) for token in tokens_of(text) if token.kind != "text"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2.0.0 Ok: queued as 9F2A31234B", [("id", "9F2A31234B")]),
        ("2.0.0 Ok: queued as 4bXyz12345z3abc", [("id", "4bXyz12345z3abc")]),
        ("2.0.0 Ok: queued as bXyzBcdfGzpqr.", [("id", "bXyzBcdfGzpqr")]),
        ("OK id=1rABCd-0001Ab-2X", [("id", "1rABCd-0001Ab-2X")]),
        ("OK 1rABCd-0001Ab-2X accepted", [("id", "1rABCd-0001Ab-2X")]),
        ("2.0.0 3ANMxaAb012345 Message accepted for delivery", [("id", "3ANMxaAb012345")]),
        (
            "2.0.0 OK  1700762376 d9443c01a7336-1cf8b5e6f8dsi12.12 - gsmtp",
            [("time", "1700762376"), ("id", "d9443c01a7336-1cf8b5e6f8dsi12.12")],
        ),
        (
            "Ok 0100018bf1a2b3c4-1a2b3c4d-1234-5678-9abc-def012345678-000000",
            [("id", "0100018bf1a2b3c4-1a2b3c4d-1234-5678-9abc-def012345678-000000")],
        ),
        ("ok 1700762376 qp 12345", [("time", "1700762376"), ("id", "12345")]),
        (
            "2.6.0 [InternalId=42, Hostname=AM0PR08MB1.eurprd.example] 8501 bytes in 0.156, 53.123 KB/sec",
            [
                ("id", "42"),
                ("id", "AM0PR08MB1.eurprd.example"),
                ("number", "8501 bytes"),
                ("number", "0.156"),
                ("number", "53.123 KB/sec"),
            ],
        ),
        ("<bob@example.com> YIebE8hpX2X5FgAA6kfO2g Saved", [("id", "YIebE8hpX2X5FgAA6kfO2g")]),
        ("Queued (0.030 seconds)", [("number", "0.030 seconds")]),
        (
            "ready at Mon, 23 Nov 2026 22:59:36 +0000 (UTC)",
            [("time", "Mon, 23 Nov 2026 22:59:36 +0000 (UTC)")],
        ),
        ("ready; Mon Nov 23 22:59:36 2026", [("time", "Mon Nov 23 22:59:36 2026")]),
        ("since 2026-11-23T22:59:36.805Z", [("time", "2026-11-23T22:59:36.805Z")]),
        ("Hello app [192.0.2.7:50312]", [("address", "192.0.2.7:50312")]),
        ("Hello app [IPv6:2001:db8::1]", [("address", "2001:db8::1")]),
        ("5.1.1 <user12345678@example.com>: unknown", []),
        ("8BITMIME, SMTPUTF8 and SCRAM-SHA-256-PLUS are not known", []),
        ("4.7.0 try again in 300 seconds, mailserver1", [("number", "300 seconds")]),
        ("5.3.4 Message too big for system 8.15.2", []),
    ],
)
def test_what_providers_say(text: str, expected: list[tuple[str, str]]) -> None:
    assert volatile(text) == expected


def test_a_server_is_known_by_the_name_it_gave() -> None:
    assert list(tokens_of("2.0.0 MX.example.com closing", names={"mx.example.com"}))[1].kind == "name"
    assert volatile("2.0.0 mx.example.com closing") == []


@given(st.text(), st.booleans())
def test_the_tokens_are_the_text(text: str, is_named: bool) -> None:
    assert "".join(token.text for token in tokens_of(text, is_named=is_named)) == text


PIECES = st.sampled_from(
    [
        "queued as ",
        "id=",
        "Mon, ",
        "23 Nov ",
        "12:",
        ":",
        "1.",
        "a1",
        "-",
        "f",
        " ",
        "=",
        "@",
        "<",
        "- gsmtp",
        "9" * 8,
    ]
)


@given(st.lists(PIECES, max_size=30))
def test_the_tokens_of_what_resembles_them_are_the_text(pieces: list[str]) -> None:
    text = "".join(pieces)
    assert "".join(token.text for token in tokens_of(text)) == text


@pytest.mark.parametrize(
    "piece", ["a", "1", "a1", "1:", "f:", "a.", "a-", "-", "id=", "queued as ", "Mon, ", "1 "]
)
def test_the_work_is_linear(piece: str) -> None:
    def seconds(octets: int) -> float:
        text = piece * (octets // len(piece))
        before = time.process_time()
        for _ in tokens_of(text):
            pass
        return time.process_time() - before

    # Quadratic work would take sixteen times 64 KiB's, which is minutes for what takes milliseconds.
    assert min(seconds(256 * 1024) for _ in range(2)) < 3


WORDS = st.text(string.ascii_lowercase, min_size=1, max_size=7)


@given(st.lists(WORDS, min_size=1, max_size=8))
def test_plain_words_are_literal(words: list[str]) -> None:
    text = " ".join(words)
    assert [token for token in tokens_of(text) if token.kind not in ("text", "id")] == []
    if "qp" not in words:
        assert volatile(text) == []
