"""Conversations with Postfix smtpd: the table alone; what its columns are is said in `scenario`."""

from dataclasses import replace

from smtpproxy.session.events import Outcome
from tools.library.apps import (
    ABROAD,
    BOB,
    CAROL,
    LONG,
    NOBODY,
    ask_around,
    relay_by_postfix,
    send_eight_bit,
    send_in_chunks,
    send_international,
    send_one,
    send_three,
    send_to_some,
    send_with_notification,
    sends,
    talks,
)
from tools.library.scenario import Play, Scenario, StartServer
from tools.library.servers import APP, SMALL, SUBMISSION, greylisting_postfix, postfix

WRONG = replace(APP, password="Marmalade*19/harbour")  # noqa: S106 (invented, and wrong)


def _scenario(
    name: str,
    shows: str,
    client: str,
    code: int,
    play: Play,
    *,
    outcomes: tuple[Outcome, ...] = ("delivered",),
    start_server: StartServer | None = None,
) -> Scenario:
    return Scenario(
        name=f"postfix-{name}",
        shows=shows,
        server="Postfix",
        client=client,
        outcomes=outcomes,
        code=code,
        start_server=start_server or postfix(),
        play=play,
    )


def _login(name: str, shows: str, client: str, mechanism: str) -> Scenario:
    """A message abroad, which only those may send who have logged in, under STARTTLS."""
    play = sends(client, tls="starttls", recipients=[ABROAD], mechanism=mechanism)
    scenario = _scenario(name, shows, client, 235, play, start_server=postfix(settings=SUBMISSION))
    return replace(scenario, account=APP)


def _wrong_login(name: str, shows: str, client: str, mechanism: str) -> Scenario:
    right = _login(name, shows, client, mechanism)
    return replace(right, outcomes=("rejected",), code=535, account=WRONG)


SCENARIOS = [
    # taken
    _scenario("accepted", "one message, plain", "swaks", 250, sends("swaks")),
    _scenario("helo", "HELO instead of EHLO: no extensions", "smtp-source", 250, sends("smtp-source")),
    _scenario("starttls", "STARTTLS, then EHLO anew", "curl", 220, sends("curl", tls="starttls")),
    replace(
        _scenario(
            "implicit-tls",
            "TLS from the first octet (port 465)",
            "smtplib",
            250,
            talks(send_one, tls="implicit"),
        ),
        start_server=postfix("smtps"),
        listen="smtps",
    ),
    _scenario(
        "upgraded-by-the-proxy",
        "a plain app; the proxy takes the server's STARTTLS by itself",
        "msmtp",
        250,
        sends("msmtp"),
        start_server=postfix("smtp+starttls", settings={"starttls_level": "encrypt"}),
    ),
    _scenario("two-recipients", "one message for two", "curl", 250, sends("curl", recipients=[BOB, CAROL])),
    _scenario("three-messages", "three messages in one session, and RSET", "smtplib", 250, talks(send_three)),
    _scenario(
        "load",
        "three messages in one session by HELO",
        "smtp-source",
        250,
        sends("smtp-source", "-d", "-m", "3"),
    ),
    replace(
        _scenario(
            "relayed-by-postfix",
            "a mail server as the client: opportunistic STARTTLS, all that can be pipelined is",
            "Postfix",
            250,
            relay_by_postfix,
        ),
        ignored_headers=("received",),
    ),
    # extensions
    _scenario(
        "pipelining",
        "MAIL, RCPT and DATA in one segment (RFC 2920)",
        "swaks",
        354,
        sends("swaks", "--pipeline"),
    ),
    _scenario(
        "pipelining-refused",
        "the same where the only recipient is refused, and so is DATA",
        "swaks",
        550,
        sends("swaks", "--pipeline", recipients=[NOBODY]),
        outcomes=("rejected",),
    ),
    _scenario(
        "8bitmime",
        "BODY=8BITMIME (RFC 6152)",
        "smtplib",
        250,
        talks(send_eight_bit, "Grüße aus Köln ✓", "", "Ihre App"),
    ),
    _scenario(
        "smtputf8",
        "addresses beyond ASCII (RFC 6531)",
        "smtplib",
        250,
        talks(send_international),
        start_server=postfix(mailboxes=("bob", "jürgen")),
    ),
    _scenario(
        "dsn", "RET, ENVID, NOTIFY and ORCPT (RFC 3461)", "smtplib", 250, talks(send_with_notification)
    ),
    _scenario(
        "dsn-never",
        "RET and NOTIFY=NEVER",
        "msmtp",
        250,
        sends("msmtp", "--dsn-notify=never", "--dsn-return=headers"),
    ),
    _scenario(
        "chunking",
        "BDAT in place of DATA, the last chunk empty (RFC 3030)",
        "smtplib",
        250,
        talks(send_in_chunks),
    ),
    # refused
    _scenario(
        "unknown-user-550",
        "a mailbox that does not exist",
        "swaks",
        550,
        sends("swaks", recipients=[NOBODY]),
        outcomes=("rejected",),
    ),
    _scenario(
        "relay-denied-554",
        "a domain that is not the server's",
        "msmtp",
        554,
        sends("msmtp", recipients=[ABROAD]),
        outcomes=("rejected",),
    ),
    _scenario(
        "partial-550",
        "three recipients, one of them refused; sent to the others",
        "smtplib",
        550,
        talks(send_to_some),
        outcomes=("partial",),
    ),
    _scenario(
        "partial-550-curl",
        "two recipients, one of them refused, and `--mail-rcpt-allowfails`",
        "curl",
        550,
        sends("curl", "--mail-rcpt-allowfails", recipients=[NOBODY, BOB]),
        outcomes=("partial",),
    ),
    _scenario(
        "greylisting-450",
        "put off at RCPT, taken on the second try",
        "swaks",
        450,
        sends("swaks", times=2),
        outcomes=("rejected", "delivered"),
        start_server=greylisting_postfix,
    ),
    _scenario(
        "size-552-announced",
        "too large by MAIL's SIZE=, refused at once (RFC 1870)",
        "curl",
        552,
        sends("curl", text=LONG),
        outcomes=("rejected",),
        start_server=postfix(settings=SMALL),
    ),
    _scenario(
        "size-552-after-data",
        "too large, found out after the whole message",
        "swaks",
        552,
        sends("swaks", text=LONG),
        outcomes=("rejected",),
        start_server=postfix(settings=SMALL),
    ),
    _scenario(
        "starttls-required-530",
        "MAIL before STARTTLS where that is required",
        "swaks",
        530,
        sends("swaks"),
        outcomes=("rejected",),
        start_server=postfix(settings={"starttls_level": "encrypt"}),
    ),
    _scenario(
        "other-commands",
        "NOOP, VRFY, RSET; HELP and another that it does not know; DATA too early, an unknown parameter",
        "smtplib",
        500,
        talks(ask_around),
        outcomes=("rejected",),
    ),
    # AUTH
    _login("auth-plain", "AUTH PLAIN with an initial response, then a message abroad", "swaks", "PLAIN"),
    _login("auth-login", "AUTH LOGIN", "smtplib", "LOGIN"),
    _login("auth-cram-md5", "AUTH CRAM-MD5, a challenge and a digest", "curl", "CRAM-MD5"),
    _login("auth-scram-sha-256", "AUTH SCRAM-SHA-256 (RFC 5802, RFC 7677)", "msmtp", "SCRAM-SHA-256"),
    _wrong_login("auth-plain-535", "AUTH PLAIN with a wrong password", "swaks", "PLAIN"),
    _wrong_login("auth-login-535", "AUTH LOGIN with a wrong password", "curl", "LOGIN"),
    _wrong_login(
        "auth-scram-sha-256-535", "AUTH SCRAM-SHA-256 with a wrong password", "msmtp", "SCRAM-SHA-256"
    ),
]
