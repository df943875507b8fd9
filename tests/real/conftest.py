"""Servers that nobody here wrote, running for the whole suite, and the authority that certifies them."""

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.programs import program
from tests.real.postfix import run_postfix
from tests.real.privileges import require_root
from tests.real.servers import AiosmtpdServer, PostfixServer, SinkServer, run_sink
from tests.real.stage import Stage, run_stage

ALICE = ("alice", "Kestrel+27/plumb9=Quay")
"""User and password of the only account; the password has what base64, URLs and JSON treat specially."""


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """Who certifies the servers."""
    return trustme.CA()


@pytest.fixture(scope="session")
def server_ca(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the proxy must trust to accept them."""
    file = tmp_path_factory.mktemp("authority") / "servers.pem"
    authority.cert_pem.write_to_path(str(file))
    return file


@pytest.fixture(scope="session")
def server_certificate(authority: trustme.CA) -> trustme.LeafCert:
    """Good for localhost by name and by address."""
    return authority.issue_cert("localhost", "127.0.0.1")


@pytest.fixture(scope="session")
def server_context(server_certificate: trustme.LeafCert) -> ssl.SSLContext:
    """For servers that speak TLS in this process."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_certificate.configure_cert(context)
    return context


@pytest.fixture(scope="session")
def postfix(server_certificate: trustme.LeafCert) -> Iterator[PostfixServer]:
    """Postfix smtpd."""
    require_root("Postfix")
    chain = b"".join(pem.bytes() for pem in server_certificate.cert_chain_pems)
    key = server_certificate.private_key_pem.bytes()
    with run_postfix(program=program, certificate=chain, key=key, accounts=dict([ALICE])) as postfix:
        yield PostfixServer(postfix=postfix)


@pytest.fixture(scope="session")
def aiosmtpd(server_context: ssl.SSLContext) -> Iterator[AiosmtpdServer]:
    """aiosmtpd."""
    with AiosmtpdServer(server_context).running() as server:
        yield server


@pytest.fixture(scope="session")
def sink() -> Iterator[SinkServer]:
    """Postfix smtp-sink."""
    with run_sink() as server:
        yield server


@pytest.fixture(scope="module")
def stage(
    server_ca: Path, server_context: ssl.SSLContext, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    """A proxy between scripted ends, for all tests of a module."""
    with run_stage(tmp_path_factory.mktemp("stage"), server_ca, server_context) as stage:
        yield stage


def message_with(marker: bytes) -> bytes:
    """A message with what relays get wrong: dots, blank lines, 8-bit text, words that look like commands."""
    return (
        b"From: App <app@sender.test>\r\n"
        b"To: Bob <bob@example.test>\r\n"
        b"Subject: marked " + marker + b"\r\n"
        b"Date: Mon, 23 Nov 2026 17:00:00 +0000\r\n"
        b"Message-ID: <" + marker + b"@sender.test>\r\n"
        b"MIME-Version: 1.0\r\n"
        b"Content-Type: text/plain; charset=utf-8\r\n"
        b"Content-Transfer-Encoding: 8bit\r\n"
        b"\r\n"
        b".\r\n"
        b"..two dots\r\n"
        b".QUIT\r\n"
        b"STARTTLS\r\n"
        b"AUTH PLAIN AGFsaWNlAHRlYQ==\r\n"
        b"\r\n"
        b"Gr\xc3\xbc\xc3\x9fe \xe2\x9c\x93\r\n"
        b"\r\n" + b"x" * 900 + b"\r\n"
        b"the last line\r\n"
    )
