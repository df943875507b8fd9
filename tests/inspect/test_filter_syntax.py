"""What is written and what it is read as; each mistake is told where it stands."""

import pytest

from smtpproxy.errors import FilterError
from smtpproxy.inspect.filters.keys import KEYS
from smtpproxy.inspect.filters.parsing import MAX_DEPTH, MAX_LENGTH, MAX_TERMS
from tests.inspect.filtering import read


@pytest.mark.parametrize(
    ("written", "read_as"),
    [
        ("", "*"),
        (" \t\n ", "*"),
        ("*", "*"),
        ("  from:alice   code:5xx ", "from:alice code:5xx"),
        ("CODE:550", "code:550"),
        ("a b OR c", "a b OR c"),
        ("(a b) OR c", "a b OR c"),
        ("a (b OR c)", "a (b OR c)"),
        ("a (b c)", "a b c"),
        ("a OR (b OR c)", "a OR b OR c"),
        ("((a))", "a"),
        ("a(b OR c)d", "a (b OR c) d"),
        ("-(a b)", "-(a b)"),
        ("-(a)", "-a"),
        ("-(-a)", "-(-a)"),
        ("a *", "a"),
        ("-*", "-*"),
        ('subject:"password reset"', 'subject:"password reset"'),
        ('subject:"reset"', "subject:reset"),
        (r'subject:"say \"hi\" \\ \x"', r'subject:"say \"hi\" \\ \\x"'),
        ('"code:550"', '"code:550"'),
        ('"OR"', '"OR"'),
        ("or and not", "or and not"),
        ("ORDER", "ORDER"),
        ("10:30", '"10:30"'),
        ("two-words", "two-words"),
        ('from:""', 'from:""'),
        ("listen::1025", "listen::1025"),
    ],
)
def test_a_filter_is_read_as_it_is_written_again(written: str, read_as: str) -> None:
    assert read(written).render() == read_as


@pytest.mark.parametrize(
    ("written", "column", "problem"),
    [
        ("from:a cdoe:550", 8, "there is no key cdoe: (did you mean code:?); quote it to search"),
        ("http://x", 1, "there is no key http:; quote it"),
        ("code:", 1, "code: wants a value right behind it, such as code:550"),
        ("code: 550", 1, "code: wants a value"),
        ("code:(550 OR 551)", 1, "code: wants a value"),
        ("a code:9", 8, "code: wants a reply code such as 550, 5xx or >=400"),
        ("code:xxx", 6, "code: wants a reply code"),
        ("code:>5xx", 6, "code: wants a reply code"),
        ("enhanced:9.1.1", 10, "enhanced: wants an enhanced status code"),
        ("is:opn", 4, "(did you mean open?)"),
        ("has:attachment", 5, "has: wants one of message, auth, tls, finding"),
        ("tls:1.4", 5, "tls: wants one of none"),
        ("finding:bare-fl", 9, "there is no finding bare-fl (did you mean bare-lf?)"),
        ("finding:zzz*", 9, "there is no finding"),
        ("client:mx.example.com", 8, "client: wants an address"),
        ("client:10.0.0.0/33", 8, "client: wants an address"),
        ("before:2026-02-29", 8, "there is no such day"),
        ("before:2026-13-01", 8, "there is no such day"),
        ("after:24:00", 7, "there is no such time of day"),
        ("after:yesterday", 7, "after: wants a UTC date or time"),
        ("after:2026-11-2317:00", 7, "after: wants a UTC date or time"),
        ("after:5", 7, "after: wants a UTC date or time"),
        ("duration:1.5", 10, "duration: wants a comparison"),
        ("duration:>1y", 10, "duration: wants a comparison"),
        ("size:1M", 6, "size: wants a comparison"),
        ("messages:many", 10, "messages: wants a number"),
        ("!!", 1, "there is no letter or digit in it"),
        ('""', 1, "there is no letter or digit in it"),
        ('"x', 1, "this quote is not closed"),
        (r'a "x\"', 3, "this quote is not closed"),
        ('subject:"x', 9, "this quote is not closed"),
        ('a"b"', 2, "a blank is missing here"),
        ('"a"b', 4, "a blank is missing here"),
        ("(a", 1, "this ( is not closed"),
        ("a)", 2, "this ) closes nothing"),
        ("()", 2, "a term is missing here"),
        ("OR a", 1, "a term is missing here"),
        ("a OR", 5, "a term is missing here"),
        ("a OR OR b", 6, "a term is missing here"),
        ("- a", 1, "- wants one term right behind it"),
        ("a -", 3, "- wants one term right behind it"),
        ("--json", 1, "- wants one term right behind it"),
        ("(a -)", 4, "- wants one term right behind it"),
        ("a AND b", 3, 'write "AND" to search for the word'),
        ("NOT a", 1, 'write "NOT" to search for the word'),
        ("-OR", 2, 'write "OR" to search for the word'),
        ("(" * (MAX_DEPTH + 1) + "a", MAX_DEPTH + 1, "parentheses go 16 deep at most"),
        ("a " * (MAX_TERMS + 1), 2 * MAX_TERMS + 1, "at most 64 terms"),
        ("a" * (MAX_LENGTH + 1), MAX_LENGTH + 1, "at most 2000 characters"),
    ],
)
def test_a_mistake_is_told_with_its_column(written: str, column: int, problem: str) -> None:
    with pytest.raises(FilterError) as raised:
        read(written)
    assert raised.value.column == column
    assert problem in raised.value.problem
    assert str(raised.value) == f"filter, column {column}: {raised.value.problem}"
    assert raised.value.exit_code == 2


@pytest.mark.parametrize("example", [example for key in KEYS.values() for example in key.examples])
def test_every_example_of_the_table_is_a_filter_of_its_key(example: str) -> None:
    assert example.split(":")[0] in KEYS
    assert read(example).render().startswith(example.split(":")[0])


def test_filters_are_equal_where_they_are_written_the_same_but_for_blanks() -> None:
    assert read("a  b") == read("(a b)")
    assert read("a b") != read("b a")
    assert read("") == read("*")
    assert read("").is_everything
    assert not read("-*").is_everything
