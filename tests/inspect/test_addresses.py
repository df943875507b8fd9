"""MAIL and RCPT lines as clients write them, and the address in each."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpproxy.inspect.addresses import parse_odd_path, parse_path


@pytest.mark.parametrize(
    ("line", "address"),
    [
        ("MAIL FROM:<alice@example.com>\r\n", "alice@example.com"),
        ("mail from:<alice@example.com> SIZE=10 BODY=8BITMIME\r\n", "alice@example.com"),
        ("RCPT TO: <bob@example.com> NOTIFY=NEVER\r\n", "bob@example.com"),
        ("RCPT TO:\t<bob@example.com>\n", "bob@example.com"),
        ("RCPT TO : <bob@example.com>\r\n", "bob@example.com"),
        ("MAIL FROM:<>\r\n", ""),
        ("MAIL FROM:<> SIZE=3\r\n", ""),
        ("MAIL FROM:\r\n", ""),
        ("MAIL\r\n", ""),
        ("MAIL FROM:alice@example.com SIZE=10\r\n", "alice@example.com"),
        ("RCPT TO:bob@example.com\r\n", "bob@example.com"),
        ("RCPT bob@example.com\r\n", "bob@example.com"),
        ("RCPT TO:<@a.example,@b.example:bob@example.com>\r\n", "bob@example.com"),
        ('RCPT TO:<"a b"@example.com>\r\n', '"a b"@example.com'),
        ('RCPT TO:<"a>b"@example.com>\r\n', '"a>b"@example.com'),
        ('RCPT TO:<"a\\">b"@example.com> X=<y>\r\n', '"a\\">b"@example.com'),
        ('RCPT TO:"a b"@example.com X=1\r\n', '"a b"@example.com'),
        ("RCPT TO:<bob@example.com\r\n", "bob@example.com"),
        ("RCPT TO:<Postmaster>\r\n", "Postmaster"),
        ("RCPT TO:<jürgen@exämple.com>\r\n", "jürgen@exämple.com"),
        ("SOML FROM:<alice@example.com>\r\n", "alice@example.com"),
    ],
)
def test_the_address_is_found_however_it_is_written(line: str, address: str) -> None:
    assert parse_path(line) == address


@given(st.text())
def test_no_line_raises_or_brings_its_line_end_along(rest: str) -> None:
    address = parse_path(f"RCPT TO:<{rest.replace(chr(13), '').replace(chr(10), '')}\r\n")
    assert not address.endswith(("\r", "\n"))


@given(
    st.sampled_from(["RCPT TO:<", "mail from:<", "MAIL FROM: <", "SOML FROM:<"]),
    st.text(alphabet='ab@.:,"\\<> \t\u00a0ü'),
    st.sampled_from([">", "> SIZE=1", ""]),
)
def test_the_short_way_to_an_address_leads_where_the_long_one_does(start: str, path: str, rest: str) -> None:
    line = f"{start}{path}{rest}\r\n"
    assert parse_path(line) == parse_odd_path(line)


def test_a_long_line_of_quotes_is_read_in_linear_time() -> None:
    assert parse_path("RCPT TO:<" + '"\\' * 500_000) == ""
