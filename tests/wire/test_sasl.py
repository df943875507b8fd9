"""SASL lines: whose account, and that everything else is secret, even what is no base64."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smtpproxy.wire.sasl import SaslExchange, decode_base64


def b64(octets: bytes) -> bytes:
    """A SASL line."""
    return base64.b64encode(octets)


@pytest.mark.parametrize(
    ("mechanism", "octets", "identity"),
    [
        ("PLAIN", b"\0alice\0secret", "alice"),
        ("PLAIN", b"root\0alice\0secret", "alice"),
        ("PLAIN", b"alice\0secret", None),
        ("PLAIN", b"\0\0secret", None),
        ("PLAIN", "\0jürgen\0secret".encode(), "jürgen"),
        ("PLAIN", b"\0\xff\0secret", None),
        ("PLAIN", b"\0a\x1b[31m\0secret", None),
        ("PLAIN", b"\0" + b"a" * 257 + b"\0secret", None),
        ("LOGIN", b"alice", "alice"),
        ("CRAM-MD5", b"alice smith 0123456789abcdef0123456789abcdef", "alice smith"),
        ("CRAM-MD5", b"alice short", None),
        ("SCRAM-SHA-256", b"n,,n=a=2Cb=3Dc,r=x", "a,b=c"),
        ("SCRAM-SHA-256", b"n,a=root,n=alice,r=x", "alice"),
        ("XOAUTH2", b"user=alice\x01auth=Bearer t\x01\x01", "alice"),
        ("OAUTHBEARER", b"n,a=alice,\x01auth=Bearer t\x01\x01", "alice"),
        ("OAUTHBEARER", b"n,,\x01auth=Bearer t\x01\x01", None),
        ("EXTERNAL", b"alice", "alice"),
        ("NTLM", b"alice", None),
        ("X-UNKNOWN", b"\0alice\0secret", None),
    ],
)
def test_identity(mechanism: str, octets: bytes, identity: str | None) -> None:
    assert SaslExchange(mechanism).client_line(b64(octets)) == (True, identity)


def test_login_after_a_prompt_for_the_password_gives_no_identity() -> None:
    exchange = SaslExchange("LOGIN")
    exchange.server_line(b"334 " + b64(b"Password:") + b"\r\n")
    assert exchange.client_line(b64(b"secret")) == (True, None)


def test_the_second_line_of_login_is_no_identity() -> None:
    exchange = SaslExchange("LOGIN")
    assert exchange.client_line(b64(b"alice"))[1] == "alice"
    assert exchange.client_line(b64(b"secret")) == (True, None)


@pytest.mark.parametrize("text", [b"", b"*", b"="])
def test_what_is_not_secret(text: bytes) -> None:
    assert SaslExchange("PLAIN").client_line(text) == (False, None)


@given(
    st.sampled_from(["PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "XOAUTH2", "OAUTHBEARER", "", "NTLM"]),
    st.binary(),
)
def test_everything_else_is_secret_and_nothing_raises(mechanism: str, text: bytes) -> None:
    exchange = SaslExchange(mechanism)
    is_secret, _ = exchange.client_line(text)
    assert is_secret == (text not in (b"", b"*", b"="))
    exchange.server_line(b"334 " + text + b"\r\n")


def test_scrams_signature_is_found_in_replies() -> None:
    exchange = SaslExchange("SCRAM-SHA-1")
    raw = b"235 " + b64(b"v=signature") + b" welcome\r\n"
    [(start, end)] = exchange.server_line(raw)
    assert raw[start:end] == b64(b"v=signature")
    assert exchange.server_line(b"334 " + b64(b"r=x,s=y,i=1") + b"\r\n") == []


@pytest.mark.parametrize(
    ("text", "octets"),
    [(b"YQ==", b"a"), (b"YQ", b"a"), (b"", b""), (b"Y", None), (b"a b!", None), (b"\xff", None)],
)
def test_base64(text: bytes, octets: bytes | None) -> None:
    assert decode_base64(text) == octets
