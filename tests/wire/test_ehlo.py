"""The one rewrite: whole lines and AUTH mechanisms are taken away, the rest stays as it is."""

from hypothesis import given
from hypothesis import strategies as st

from smtpproxy.wire.ehlo import (
    HIDDEN_BY_DEFAULT,
    KNOWN_KEYWORDS,
    keyword_of,
    keywords_of,
    rewrite_ehlo,
    with_starttls,
)
from smtpproxy.wire.replies import parse_reply_line

WORDS = [
    "STARTTLS",
    "starttls",
    "AUTH PLAIN LOGIN",
    "AUTH=PLAIN",
    "AUTH SCRAM-SHA-1-PLUS",
    "XCLIENT NAME",
    "SIZE 1",
]
keyword_lines = st.tuples(st.sampled_from([*WORDS, "", " ", "=", "TURN"]), st.sampled_from(["\r\n", "\n"]))


def reply_of(words: list[tuple[str, str]]) -> list[bytes]:
    """An EHLO reply with these lines."""
    texts = [("mx", "\r\n"), *words]
    last = len(texts) - 1
    return [f"250{' ' if at == last else '-'}{word}{end}".encode() for at, (word, end) in enumerate(texts)]


@given(st.lists(keyword_lines, max_size=8), st.sampled_from(["keep", "hide", "show"]), st.booleans())
def test_the_rewritten_reply_is_well_formed_and_adds_only_starttls(
    words: list[tuple[str, str]], starttls: str, hides_external: bool
) -> None:
    lines = reply_of(words)
    shown = rewrite_ehlo(
        lines,
        is_hidden=HIDDEN_BY_DEFAULT.__contains__,
        starttls=starttls,  # type: ignore[arg-type]
        hides_external=hides_external,
    )
    flags = [parse_reply_line(line) for line in shown]
    assert flags == [(250, False)] * (len(shown) - 1) + [(250, True)]
    assert shown[0][4:] == lines[0][4:]
    texts = [line[4:] for line in lines]
    for line in shown:
        assert line[4:] in texts or keyword_of(line) in ("AUTH", "STARTTLS")
    seen = keywords_of(shown)
    assert not set(seen) & HIDDEN_BY_DEFAULT.keys()
    assert seen.count("STARTTLS") <= 1
    if starttls != "keep":
        assert ("STARTTLS" in seen) == (starttls == "show")


def test_nothing_to_change_gives_back_the_very_lines() -> None:
    lines = reply_of([("SIZE 1", "\r\n"), ("AUTH PLAIN", "\n")])
    assert rewrite_ehlo(lines, is_hidden=lambda _: False, starttls="keep", hides_external=False) is lines


def test_keywords() -> None:
    lines = [b"250-mx SIZE\r\n", b"250-size 1\r\n", b"250-AUTH=PLAIN\r\n", b"250-\r\n", b"250 \xff\r\n"]
    assert keywords_of(lines) == ["SIZE", "AUTH", "", "\xff"]


def test_what_is_hidden_is_known() -> None:
    assert HIDDEN_BY_DEFAULT.keys() <= KNOWN_KEYWORDS


def test_starttls_alone_is_put_in_or_taken_out() -> None:
    lines = [b"250-mx\r\n", b"250-STARTTLS\r\n", b"250 AUTH GSSAPI PLAIN\r\n"]
    without = [b"250-mx\r\n", b"250 AUTH GSSAPI PLAIN\r\n"]
    assert with_starttls(lines, is_shown=True) is lines
    assert with_starttls(lines, is_shown=False) == without
    assert with_starttls([b"250-mx\r\n", b"250 starttls\r\n"], is_shown=False) == [b"250 mx\r\n"]
    assert with_starttls([b"250\r\n"], is_shown=True) == [b"250-\r\n", b"250 STARTTLS\r\n"]
