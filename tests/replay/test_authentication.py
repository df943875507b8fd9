"""SASL's client end against the examples of the RFCs, and against servers that lie."""

import base64

import pytest

from smtpproxy.replay.authentication import MAX_ITERATIONS, ChallengeError, Client
from smtpproxy.replay.credentials import Credentials

USER = Credentials(username="user", password="pencil", token="vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==")


def b64(text: str | bytes) -> bytes:
    return base64.b64encode(text.encode() if isinstance(text, str) else text)


def test_plain() -> None:
    client = Client("PLAIN", Credentials(username="tim", password="tanstaaftanstaaf"), nonce="")
    assert client.initial == b"AHRpbQB0YW5zdGFhZnRhbnN0YWFm"  # RFC 4616 4
    assert client.begin(b"") == client.initial


def test_login_takes_any_prompt() -> None:
    client = Client("LOGIN", USER, nonce="")
    assert client.initial == b64("user")
    assert client.begin(b64("Username:")) == b64("user")
    assert client.respond(b"Password:") == b64("pencil")


def test_cram_md5() -> None:
    client = Client("CRAM-MD5", Credentials(username="tim", password="tanstaaftanstaaf"), nonce="")
    assert client.initial is None
    challenge = b64("<1896.697170952@postoffice.reston.mci.net>")
    assert client.begin(challenge) == b64("tim b913a602c7eda7a495b4e6e7334d3890")  # RFC 2195 2


SCRAM = {
    # RFC 5802 5
    "SCRAM-SHA-1": (
        "fyko+d2lbbFgONRv9qkxdawL",
        "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
        "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
        "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
    ),
    # RFC 7677 3
    "SCRAM-SHA-256": (
        "rOprNGfwEbeRWgbNEkqO",
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
        "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
    ),
}


@pytest.mark.parametrize("mechanism", SCRAM)
def test_scram(mechanism: str) -> None:
    nonce, server_first, final, signature = SCRAM[mechanism]
    client = Client(mechanism, USER, nonce=nonce)
    assert client.initial == b64(f"n,,n=user,r={nonce}")
    assert client.respond(b64(server_first)) == b64(final)
    assert client.has_no_proof
    assert client.respond(b64(signature)) == b""
    assert not client.has_no_proof


@pytest.mark.parametrize(
    ("server_first", "problem"),
    [
        ("r=other,s=QSXCR+Q6sek8bf92,i=4096", "does not continue ours"),
        ("r=abc,s=QSXCR+Q6sek8bf92,i=4096", "does not continue ours"),
        ("r=abcd,s=QSXCR+Q6sek8bf92,i=0", "iteration count"),
        (f"r=abcd,s=QSXCR+Q6sek8bf92,i={MAX_ITERATIONS + 1}", "iteration count"),
        ("r=abcd,s=QSXCR+Q6sek8bf92,i=many", "no salt or no iteration count"),
        ("r=abcd,s=?,i=4096", "no salt or no iteration count"),
        ("m=x,r=abcd,s=QSXCR+Q6sek8bf92,i=4096", "an extension"),
        ("e=unknown-user", "with an error"),
        (b"r=abcd\xff", "not UTF-8"),
        ("", "does not continue ours"),
    ],
)
def test_scram_challenges_that_lie(server_first: str | bytes, problem: str) -> None:
    client = Client("SCRAM-SHA-256", USER, nonce="abc")
    with pytest.raises(ChallengeError, match=problem):
        client.respond(b64(server_first))


@pytest.mark.parametrize("final", ["v=AAAA", "v=?", "x=y", ""])
def test_scram_servers_that_do_not_know_the_password(final: str) -> None:
    nonce, server_first, _, _ = SCRAM["SCRAM-SHA-256"]
    client = Client("SCRAM-SHA-256", USER, nonce=nonce)
    client.respond(b64(server_first))
    with pytest.raises(ChallengeError, match="signature"):
        client.respond(b64(final))


def test_scram_names_and_passwords_beyond_ascii_are_prepared() -> None:
    client = Client("SCRAM-SHA-1", Credentials(username="a=b,\u2168", password="x"), nonce="n")
    assert base64.b64decode(client.initial or b"") == b"n,,n=a=3Db=2CIX,r=n"


def test_xoauth2_asks_for_the_reply_behind_an_error() -> None:
    client = Client("XOAUTH2", USER, nonce="")
    assert client.initial == b64(f"user=user\x01auth=Bearer {USER.token}\x01\x01")
    assert client.respond(b64('{"status":"400"}')) == b""


def test_oauthbearer() -> None:
    token = Credentials(username="user@example.com", token=USER.token)
    client = Client("OAUTHBEARER", token, nonce="", host="server.example.com", port=143)
    # RFC 7628 4.1
    assert client.initial == (
        b"bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9QmVhcmVyI"
        b"HZGOWRmdDRxbVRjMk52YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB"
    )
    assert client.respond(b64("{}")) == b"AQ=="


MAX_RESPONSES = {"PLAIN": 0, "LOGIN": 1, "CRAM-MD5": 1, "XOAUTH2": 1}


@pytest.mark.parametrize("mechanism", MAX_RESPONSES)
def test_a_server_that_asks_on_gets_no_answer(mechanism: str) -> None:
    client = Client(mechanism, USER, nonce="")
    for _ in range(MAX_RESPONSES[mechanism]):
        client.respond(b64("more"))
    with pytest.raises(ChallengeError, match="asks on"):
        client.respond(b64("more"))


def test_a_challenge_that_is_not_base64() -> None:
    with pytest.raises(ChallengeError, match="not base64"):
        Client("CRAM-MD5", USER, nonce="").begin(b"<1@x>")


def test_credentials_do_not_print() -> None:
    assert repr(USER) == "Credentials(username='user', …)"
