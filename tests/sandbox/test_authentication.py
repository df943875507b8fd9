"""Configured credentials: who knows the password is let in, by each mechanism; nobody else is."""

import base64
import hashlib
import hmac
import smtplib

import pytest

from smtpproxy.sandbox import Sandbox
from tests.sandbox.dialogue import Client

SECRET = "tr0ub4dor&3"


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def lines(mechanism: str, user: str, password: str) -> list[str]:
    """What an app says after EHLO; for CRAM-MD5 to the session's first challenge."""
    match mechanism:
        case "PLAIN":
            return ["AUTH PLAIN " + b64(f"\0{user}\0{password}".encode())]
        case "LOGIN":
            return ["AUTH LOGIN", b64(user.encode()), b64(password.encode())]
        case "XOAUTH2":
            return ["AUTH XOAUTH2 " + b64(f"user={user}\x01auth=Bearer {password}\x01\x01".encode()), ""]
    digest = hmac.new(password.encode(), b"<01KTEST.1@sandbox.localhost>", hashlib.md5).hexdigest()
    return ["AUTH CRAM-MD5", b64(f"{user} {digest}".encode())]


def log_in(mechanism: str, user: str, password: str) -> list[str]:
    client = Client(Sandbox(credentials={"alice": SECRET}))
    client.say("EHLO app")
    replies = []
    for line in lines(mechanism, user, password):
        replies.append(client.say(line))
        if not client.is_sasl:
            break
    return replies


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5", "XOAUTH2"])
def test_credentials(mechanism: str) -> None:
    assert log_in(mechanism, "alice", SECRET)[-1].startswith("235 ")
    assert log_in(mechanism, "alice", "wrong")[-1] == "535 5.7.8 The credentials are not valid"
    assert log_in(mechanism, "bob", SECRET)[-1] == "535 5.7.8 The credentials are not valid"


def test_a_failed_attempt_can_be_repeated() -> None:
    client = Client(Sandbox(credentials={"alice": SECRET}))
    client.say("EHLO app")
    assert client.say(lines("PLAIN", "alice", "wrong")[0]).startswith("535 ")
    assert client.say(lines("PLAIN", "alice", SECRET)[0]).startswith("235 ")


def test_smtplib_agrees_on_cram_md5() -> None:
    """The challenge as smtplib answers it."""
    client = Client(Sandbox(credentials={"alice": SECRET}))
    client.say("EHLO app")
    challenge = base64.b64decode(client.say("AUTH CRAM-MD5").removeprefix("334 "))
    library = smtplib.SMTP()
    library.user, library.password = "alice", SECRET
    assert client.say(b64(library.auth_cram_md5(challenge).encode())).startswith("235 ")


def test_an_exchange_ends_with_the_next_command() -> None:
    client = Client()
    client.say("EHLO app")
    client.say("AUTH LOGIN")
    client.is_sasl = False
    client.say("NOOP")
    client.is_sasl = True
    assert client.say(b64(b"alice")) == "503 5.5.1 No authentication is under way"


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5", "XOAUTH2"])
@pytest.mark.parametrize("user", ["alice", "bob", "auth-535", "auth-999-" + SECRET])
def test_no_reply_repeats_a_secret(mechanism: str, user: str) -> None:
    for password in (SECRET, SECRET + "x"):
        heard = "\n".join(log_in(mechanism, user, password))
        for line in lines(mechanism, user, password):
            blob = line.rpartition(" ")[2]
            assert len(blob) < 12 or blob not in heard
        assert SECRET not in heard


@pytest.mark.parametrize(
    "line",
    [
        SECRET,
        f"AUTH {SECRET}",
        f"AUTH PLAIN {SECRET}",
        f"AUTH {SECRET} {SECRET} {SECRET}",
        f"NOOP {SECRET}",
        f"VRFY {SECRET}",
        f"HELP {SECRET}",
        f"STARTTLS {SECRET}",
        f"ETRN {SECRET}",
        f"MAIL FROM:{SECRET}",
        f"BDAT {SECRET}",
    ],
)
def test_nothing_in_the_wrong_place_is_repeated(line: str) -> None:
    client = Client()
    client.say("EHLO app")
    assert SECRET.lower() not in client.say(line).lower()
