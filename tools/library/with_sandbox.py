"""Conversations with the embedded provider and its failures by address: the table alone; see `scenario`."""

from smtpproxy.session.events import Outcome
from tools.library.apps import BOB, send_in_chunks_at_once, send_one, sends, talks
from tools.library.scenario import SANDBOX, Account, Play, Scenario
from tools.library.servers import sandbox

DOOR = Account(user="app", password="Lantern/42+orchard=Sill")  # noqa: S106 (any would do)
NO_ENTRY = Account(user="auth-535", password="Lantern/42+orchard=Sill")  # noqa: S106 (any would do)
BEARER = Account(user="app", token="ya29.Lantern-orchard_sill.4711")  # noqa: S106 (any would do)
NO_BEARER = Account(user="auth-535", token="ya29.Lantern-orchard_sill.4711")  # noqa: S106 (any would do)
XOAUTH2 = ("--login-options", "AUTH=XOAUTH2")


def _scenario(
    name: str,
    shows: str,
    client: str,
    code: int,
    play: Play,
    *,
    outcomes: tuple[Outcome, ...] = ("delivered",),
    listen: str = "smtp",
    account: Account | None = None,
) -> Scenario:
    return Scenario(
        name=f"sandbox-{name}",
        shows=shows,
        server=SANDBOX,
        client=client,
        outcomes=outcomes,
        code=code,
        start_server=sandbox(listen),
        play=play,
        listen=listen,
        account=account,
    )


def _refused(
    local_part: str, shows: str, client: str, code: int, *, outcome: Outcome = "rejected"
) -> Scenario:
    """What the recipient asks for by its local part."""
    play = sends(client, recipients=[f"{local_part}@example.test"])
    return _scenario(local_part, shows, client, code, play, outcomes=(outcome,))


SCENARIOS = [
    _scenario("accepted", "one message, plain", "smtplib", 250, talks(send_one)),
    _scenario(
        "starttls",
        "STARTTLS, AUTH LOGIN",
        "swaks",
        235,
        sends("swaks", tls="starttls", mechanism="LOGIN"),
        account=DOOR,
    ),
    _scenario(
        "implicit-tls",
        "TLS from the first octet, AUTH CRAM-MD5",
        "msmtp",
        235,
        sends("msmtp", tls="implicit", mechanism="CRAM-MD5"),
        listen="smtps",
        account=DOOR,
    ),
    _scenario(
        "xoauth2",
        "a bearer token by XOAUTH2",
        "curl",
        235,
        sends("curl", *XOAUTH2, tls="starttls"),
        account=BEARER,
    ),
    _scenario(
        "binarymime",
        "BODY=BINARYMIME, both chunks in one segment (RFC 3030)",
        "smtplib",
        250,
        talks(send_in_chunks_at_once),
    ),
    _scenario(
        "smtputf8",
        "SMTPUTF8 as curl asks for it",
        "curl",
        250,
        sends("curl", recipients=["jürgen@example.test"]),
    ),
    _scenario(
        "lmtp-partial",
        "LMTP: the message is taken for one recipient and refused for the other",
        "swaks",
        552,
        sends("swaks", "--protocol", "LMTP", recipients=[BOB, "data-552@example.test"]),
        outcomes=("partial",),
        listen="lmtp",
    ),
    _scenario(
        "mail-421",
        "MAIL is answered by 421, and the connection is closed",
        "curl",
        421,
        sends("curl", sender="mail-421@example.test"),
        outcomes=("rejected",),
    ),
    _refused("rcpt-550", "RCPT is refused for good", "smtplib", 550),
    _refused("rcpt-451", "RCPT is refused for now", "curl", 451),
    _refused("quota-452", "the mailbox is full", "msmtp", 452),
    _refused("datacmd-451", "DATA is refused", "curl", 451),
    _refused("data-554-5.7.1", "the message is refused after its end", "swaks", 554),
    _scenario(
        "greylist",
        "put off at RCPT, taken on the second try",
        "curl",
        450,
        sends("curl", recipients=["greylist@example.test"], times=2),
        outcomes=("rejected", "delivered"),
    ),
    _refused(
        "drop", "the connection is closed instead of the reply to RCPT", "swaks", 250, outcome="aborted"
    ),
    _refused(
        "drop-data",
        "the connection is closed after the whole message: was it taken?",
        "smtplib",
        354,
        outcome="aborted",
    ),
    _refused("slow-1", "the reply to RCPT comes a second late", "smtplib", 250, outcome="delivered"),
    _scenario(
        "auth-535",
        "AUTH PLAIN is refused",
        "smtplib",
        535,
        sends("smtplib", tls="starttls", mechanism="PLAIN"),
        outcomes=("rejected",),
        account=NO_ENTRY,
    ),
    _scenario(
        "xoauth2-535",
        "XOAUTH2 is refused in two steps: 334 with an error in JSON, an empty line, 535",
        "msmtp",
        535,
        sends("msmtp", tls="starttls", mechanism="XOAUTH2"),
        outcomes=("rejected",),
        account=NO_BEARER,
    ),
]
