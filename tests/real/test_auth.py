"""AUTH by every mechanism that the clients and Postfix's Cyrus SASL share, with TLS ended at the proxy."""

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real.clients import CLIENTS, Mail
from tests.real.conftest import ALICE, message_with
from tests.real.proxy import Proxy, run_proxy
from tests.real.recorded import forms_of, leaks
from tests.real.servers import PostfixServer

BOTH_KNOW = [
    ("smtplib", "PLAIN"),
    ("smtplib", "LOGIN"),
    ("smtplib", "CRAM-MD5"),
    ("swaks", "PLAIN"),
    ("swaks", "LOGIN"),
    ("swaks", "CRAM-MD5"),
    ("curl", "PLAIN"),
    ("curl", "LOGIN"),
    ("curl", "CRAM-MD5"),
    ("msmtp", "PLAIN"),
    ("msmtp", "LOGIN"),
    ("msmtp", "CRAM-MD5"),
    ("msmtp", "SCRAM-SHA-256"),
]
WRONG = (ALICE[0], "Not/the+password=at9all")
TOKEN = "ya29.Kestrel-bearer_token.0123456789"


@pytest.fixture(scope="module")
def proxy(
    postfix: PostfixServer, server_ca: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    """In front of Postfix's STARTTLS port."""
    folder = tmp_path_factory.mktemp("auth")
    upstream = f"smtp://localhost:{postfix.ports['starttls']}"
    with run_proxy(folder, ("smtp://127.0.0.1:0", upstream), upstream_ca=server_ca) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """In front of the embedded provider."""
    with run_proxy(tmp_path_factory.mktemp("sandbox"), ("smtp://127.0.0.1:0", None)) as proxy:
        yield proxy


@pytest.mark.parametrize(("client", "mechanism"), BOTH_KNOW)
def test_the_server_accepts_it_and_nothing_of_it_is_recorded(
    proxy: Proxy, client: str, mechanism: str, tmp_path: Path
) -> None:
    before = proxy.mark()
    mail = Mail(
        url=proxy.listen[0],
        tls="starttls",
        ca=proxy.ca,
        message=message_with(tmp_path.name.encode()),
        folder=tmp_path,
        account=ALICE,
        mechanism=mechanism,
    )

    log = CLIENTS[client](mail)

    assert log.status == 0, log.text
    session = proxy.session(before)
    assert session.outcome == "delivered"
    (command,) = session.of("command", verb="AUTH")
    assert command["mechanism"] == mechanism
    assert 235 in session.codes()
    assert all("redacted" in event for event in session.of("auth") if event["raw"].strip()), session
    recorded = "".join(proxy.lines).encode()
    sasl = [line.split()[-1] for line in log.commands if _is_sasl(line)]
    assert sasl, log.commands
    # The user's name alone is no secret: LOGIN's first line may stand.
    assert [blob for blob in sasl if len(blob) > 12 and blob.encode() in recorded] == []
    assert leaks(proxy.folder, ALICE[1]) == []


def _is_sasl(line: str) -> bool:
    words = line.split()
    return (
        bool(words) and (len(words) == 1 or (words[0] == "AUTH" and len(words) == 3)) and len(words[-1]) > 8
    )


@pytest.mark.parametrize(
    ("client", "mechanism"), [("smtplib", "LOGIN"), ("swaks", "PLAIN"), ("curl", "CRAM-MD5")]
)
def test_a_refused_password_is_kept_out_as_well(
    proxy: Proxy, client: str, mechanism: str, tmp_path: Path
) -> None:
    before = proxy.mark()
    mail = Mail(
        url=proxy.listen[0],
        tls="starttls",
        ca=proxy.ca,
        message=message_with(b"refused"),
        folder=tmp_path,
        account=WRONG,
        mechanism=mechanism,
    )

    if client == "smtplib":
        with pytest.raises(Exception, match="535"):
            CLIENTS[client](mail)
    else:
        assert CLIENTS[client](mail).status != 0

    session = proxy.session(before)
    assert 535 in session.codes()
    assert session.outcome != "delivered"
    assert leaks(proxy.folder, WRONG[1]) == []


def test_sandbox_takes_the_bearer_token_of_curl(sandbox: Proxy, tmp_path: Path) -> None:
    before = sandbox.mark()
    mail = Mail(
        url=sandbox.listen[0],
        tls="starttls",
        ca=sandbox.ca,
        message=message_with(b"token"),
        folder=tmp_path,
        options=["--user", "alice", "--oauth2-bearer", TOKEN, "--login-options", "AUTH=XOAUTH2"],
    )

    log = CLIENTS["curl"](mail)

    assert log.status == 0, log.text
    session = sandbox.session(before)
    (command,) = session.of("command", verb="AUTH")
    assert command["mechanism"] == "XOAUTH2"
    assert [event["identity"] for event in session.of("auth")] == ["alice"]
    assert leaks(sandbox.folder, TOKEN) == []


def test_a_leak_would_be_found(tmp_path: Path) -> None:
    """The search itself: every form that a password takes in SASL is recognised."""
    for blob in (b"\0alice\0" + ALICE[1].encode(), ALICE[1].encode(), b"x\0ali\0" + ALICE[1].encode()):
        file = tmp_path / "file"
        file.write_bytes(b"AUTH PLAIN " + base64.b64encode(blob) + b"\r\n")
        assert leaks(tmp_path, ALICE[1]), blob
    assert ALICE[1].encode() in forms_of(ALICE[1])
