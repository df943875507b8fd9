import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpproxy.errors import EndpointError
from smtpproxy.tls.names import parse_name, server_hostname_for, sni_for


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Mail.Example.COM", "mail.example.com"),
        ("mail.example.com.", "mail.example.com"),
        ("mail_server", "mail_server"),
        ("münchen.de", "xn--mnchen-3ya.de"),
        ("127.0.0.1", ipaddress.ip_address("127.0.0.1")),
        ("[::1]", ipaddress.ip_address("::1")),
        ("fe80::1%eth0", ipaddress.ip_address("fe80::1")),
        ("*.example.com", None),
        ("", None),
        (".", None),
        ("a..b", None),
        ("a b", None),
        ("a%b", None),
        ("-a.example", None),
        ("x" * 64 + ".example", None),
        (".".join(["x" * 50] * 6), None),
        ("\ud800", None),
    ],
)
def test_names_that_a_certificate_can_have(text: str, name: object) -> None:
    assert parse_name(text) == name


def test_what_the_server_is_asked_for() -> None:
    assert (server_hostname_for("localhost."), sni_for("localhost.")) == ("localhost", "localhost")
    assert (server_hostname_for("::1"), sni_for("::1")) == ("::1", "")
    with pytest.raises(EndpointError, match=r"'a\.\.b'"):
        server_hostname_for("a..b")


@given(st.text())
def test_any_text_is_a_name_that_reads_as_itself_or_none(text: str) -> None:
    name = parse_name(text)
    assert name is None or parse_name(str(name)) == name
