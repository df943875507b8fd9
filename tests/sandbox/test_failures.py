"""Failures on request: the table, what reads like one, where each happens, and that docs/ says the same."""

import base64

import pytest

from smtpproxy.sandbox import Sandbox
from smtpproxy.sandbox.failures import OTHERS, REFUSALS, Failure, Malformed, parse_failure
from smtpproxy.sandbox.greylist import GreylistMemory
from tests.sandbox.dialogue import Client

EXAMPLES = [example for word in (*REFUSALS.values(), *OTHERS.values()) for example in word.examples]


def greeted(sandbox: Sandbox | None = None) -> Client:
    client = Client(sandbox)
    client.say("EHLO app")
    return client


def send(client: Client, *, sender: str = "a", recipient: str = "b") -> list[str]:
    """One message up to the first thing that is not well; all replies, MAIL's first."""
    replies = []
    for line in (f"MAIL FROM:<{sender}@x.example>", f"RCPT TO:<{recipient}@y.example>", "DATA", "text"):
        replies.append(client.say(line))
        if not replies[-1].startswith(("250 ", "354 ")):
            break
    return replies


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_of_the_table_is_one(example: str) -> None:
    assert isinstance(parse_failure(example), Failure)
    assert parse_failure(example.upper()) == parse_failure(example)


@pytest.mark.parametrize(
    ("recipient", "last", "replies"),
    [
        ("rcpt-550", "550 5.1.1 there is no such mailbox (asked for by rcpt-550)", 2),
        ("RCPT-550+alice", "550 5.1.1 there is no such mailbox (asked for by rcpt-550)", 2),
        ('"rcpt-550"', "550 5.1.1 there is no such mailbox (asked for by rcpt-550)", 2),
        ("rcpt-550-5.7.1", "550 5.7.1 refused by policy (asked for by rcpt-550-5.7.1)", 2),
        ("rcpt-577", "577 5.0.0 refused (other problem) (asked for by rcpt-577)", 2),
        ("rcpt-450-4.6.3", "450 4.6.3 refused (content problem) (asked for by rcpt-450-4.6.3)", 2),
        ("rcpt-421", "421 4.3.2 the service is not available (asked for by rcpt-421) (close)", 2),
        ("quota-452", "452 4.2.2 the mailbox is full (asked for by quota-452)", 2),
        ("mail-450", "450 4.1.8 the sender's domain is not known (asked for by mail-450)", 2),
        (
            "datacmd-554-5.5.1",
            "554 5.5.1 this command is not possible now (asked for by datacmd-554-5.5.1)",
            3,
        ),
        ("data-554-5.7.1", "554 5.7.1 refused by policy (asked for by data-554-5.7.1)", 4),
        ("size-552", "552 5.3.4 the message is too big (asked for by size-552)", 4),
        ("drop", "drop", 2),
        ("drop-rcpt", "drop", 2),
        ("drop-mail", "drop", 2),
        ("drop-datacmd", "drop", 3),
        ("drop-data", "drop", 4),
        ("reset", "reset", 2),
        ("reset-data", "reset", 4),
        ("slow-5", "(5 s) 250 2.1.5 Ok", 2),
        ("slow-datacmd-7", "(7 s) 354 End data with <CR><LF>.<CR><LF>", 3),
        ("slow-data-3600", "(3600 s) 250 2.0.0 Ok, 4 octets kept as 01KTEST-1, not delivered", 4),
    ],
)
def test_by_recipient(recipient: str, last: str, replies: int) -> None:
    heard = send(greeted(), recipient=recipient)
    assert (heard[-1], len(heard)) == (last, replies)


@pytest.mark.parametrize(
    ("sender", "last", "replies"),
    [
        ("mail-421", "421 4.3.2 the service is not available (asked for by mail-421) (close)", 1),
        ("mail-553", "553 5.1.7 the sender's address is not valid (asked for by mail-553)", 1),
        ("drop", "drop", 1),
        ("slow-5", "(5 s) 250 2.1.0 Ok", 1),
        ("rcpt-550", "550 5.1.1 there is no such mailbox (asked for by rcpt-550)", 2),
        ("data-451", "451 4.3.0 local error in processing (asked for by data-451)", 4),
        ("auth-535", "535 5.7.8 the credentials are not valid (asked for by auth-535)", 1),
    ],
)
def test_by_sender(sender: str, last: str, replies: int) -> None:
    heard = send(greeted(), sender=sender)
    assert (heard[-1], len(heard)) == (last, replies)


@pytest.mark.parametrize(
    ("user", "reply"),
    [
        ("auth-535@x.example", "535 5.7.8 the credentials are not valid (asked for by auth-535)"),
        ("auth-454", "454 4.7.0 refused for security reasons (asked for by auth-454)"),
        ("auth-534-5.7.9", "534 5.7.9 the mechanism is too weak (asked for by auth-534-5.7.9)"),
        ("auth-421", "421 4.7.0 refused for security reasons (asked for by auth-421) (close)"),
        ("drop", "drop"),
        ("slow-auth-2", "(2 s) 235 2.7.0 Authentication successful"),
        ("auth-235", "535 5.7.8 the code of a failure is 400 to 599"),
        ("alice", "235 2.7.0 Authentication successful"),
    ],
)
def test_by_user(user: str, reply: str) -> None:
    blob = base64.b64encode(f"\0{user}\0secret".encode()).decode()
    assert greeted().say(f"AUTH PLAIN {blob}") == reply


def test_a_user_asks_for_the_whole_session() -> None:
    client = greeted()
    client.say("AUTH PLAIN " + base64.b64encode(b"\0data-451\0secret").decode())
    for _ in range(2):
        assert send(client)[-1].startswith("451 4.3.0 ")


def test_one_recipient_fails_the_message_of_all() -> None:
    client = greeted()
    client.say("MAIL FROM:<a@x.example>")
    client.say("RCPT TO:<b@y.example>")
    client.say("RCPT TO:<slow-data-3@y.example>")
    client.say("RCPT TO:<data-554@y.example>")
    client.say("DATA")
    assert client.say("text") == "(3 s) 554 5.7.1 refused by policy (asked for by data-554)"


def test_a_refused_recipient_does_not_count() -> None:
    client = greeted()
    client.say("MAIL FROM:<a@x.example>")
    client.say("RCPT TO:<rcpt-550@y.example>")
    assert client.say("DATA") == "554 5.5.1 No valid recipients"


@pytest.mark.parametrize(
    "local",
    [
        "rcpt-999",
        "rcpt-250",
        "rcpt-550-9.9.9",
        "rcpt-550-4.1.1",
        "rcpt-550-later",
        "quota-452-4.2.2",
        "slow-0",
        "slow-3601",
        "slow-99999999999999999999",
        "data-399",
    ],
)
def test_what_reads_like_a_failure_and_is_none_says_so(local: str) -> None:
    assert isinstance(parse_failure(local), Malformed)
    heard = send(greeted(), recipient=local)
    assert heard[-1].startswith(f"501 5.1.3 <{local}@y.example> asks for no failure there is: ")


@pytest.mark.parametrize(
    "local",
    [
        "mail-order",
        "data-2024",
        "reset-password",
        "drops",
        "slow-down",
        "slow",
        "rcpt",
        "rcpt-5",
        "mail+550",
        "greylisted",
        "my-rcpt-550",
        "",
        "auth-",
        "size-xl",
        "drop-everything",
        "slow-rcpt",
    ],
)
def test_ordinary_addresses_are_ordinary(local: str) -> None:
    assert parse_failure(local) is None


def test_greylisting_is_once_for_each_pair_across_sessions() -> None:
    sandbox = Sandbox()
    deferred = "450 4.7.1 greylisted, try again (asked for by greylist)"
    assert send(greeted(sandbox), recipient="greylist")[-1] == deferred
    assert len(send(greeted(sandbox), recipient="GreyList")) == 4
    assert send(greeted(sandbox), recipient="greylist+2")[-1] == deferred
    assert send(greeted(sandbox), sender="other", recipient="greylist")[-1] == deferred
    assert send(greeted(sandbox), sender="greylist", recipient="b")[-1] == deferred
    assert len(send(greeted(sandbox), sender="greylist", recipient="b")) == 4
    assert send(greeted(Sandbox()), recipient="greylist")[-1] == deferred


def test_the_greylist_forgets_whom_it_has_not_seen_for_longest() -> None:
    memory = GreylistMemory(max_pairs=2)
    assert memory.defers("a", "1")
    assert memory.defers("a", "2")
    assert not memory.defers("a", "1")
    assert memory.defers("a", "3")
    assert not memory.defers("a", "1")
    assert memory.defers("a", "2")
