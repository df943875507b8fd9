"""The servers of the library, each started on a free port with a certificate of its own; no recording here.

Every function makes a `StartServer`, or is one. Mail goes nowhere: Postfix keeps it in maildirs that are
removed with it, and discards what it would have to relay.
"""

import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.lmtp import LMTP
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from tests.ends import free_port
from tests.programs import program
from tests.real.postfix import run_postfix
from tests.real.privileges import require_root
from tests.real.proxy import run_proxy
from tests.real.servers import run_sink
from tools.library.scenario import Account, StartServer, Target

APP = Account(user="app", password="Lantern/42+orchard=Sill")  # noqa: S106 (invented, for servers that live a second)
"""The only account that Postfix knows here."""

SUBMISSION = {
    "smtpd_relay_restrictions": "permit_sasl_authenticated, reject_unauth_destination",
    "smtpd_tls_auth_only": "yes",
}
"""As a provider's port 587: whoever has logged in may send to anyone, and nobody logs in without TLS."""

USUAL = {"default_transport": "discard:", "smtpd_authorized_xclient_hosts": ""}
"""What every Postfix here has: nothing goes abroad, and nobody may say that he is somebody else."""

SMALL = {"message_size_limit": "8192"}
"""So that a message beyond the limit makes a small recording."""


def postfix(
    scheme: str = "smtp",
    *,
    mailboxes: tuple[str, ...] = ("bob", "carol"),
    settings: dict[str, str] | None = None,
) -> StartServer:
    """Postfix smtpd, with STARTTLS or, as smtps, with TLS from the first octet."""

    @contextmanager
    def start(folder: Path) -> Iterator[Target]:
        require_root("Postfix")
        ca, leaf = _certificate(folder)
        with run_postfix(
            program=program,
            certificate=b"".join(pem.bytes() for pem in leaf.cert_chain_pems),
            key=leaf.private_key_pem.bytes(),
            accounts={APP.user: APP.password},
            mailboxes=mailboxes,
            settings=USUAL | (settings or {}),
        ) as running:
            port = running.implicit if scheme == "smtps" else running.starttls
            yield Target(url=f"{scheme}://localhost:{port}", ca=ca)

    return start


@contextmanager
def greylisting_postfix(folder: Path) -> Iterator[Target]:
    """Postfix asking a policy service that puts off whoever it sees for the first time."""
    with _PolicyService(("127.0.0.1", 0), _PolicyRequests) as service:
        thread = threading.Thread(target=service.serve_forever, name="policy")
        thread.start()
        check = f"check_policy_service inet:127.0.0.1:{service.server_address[1]}"
        try:
            with postfix(settings={"smtpd_recipient_restrictions": check})(folder) as target:
                yield target
        finally:
            service.shutdown()
            thread.join()


class _PolicyService(socketserver.ThreadingTCPServer):
    """Remembers who was seen, over all connections: each smtpd process keeps one."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.seen: set[tuple[str, str]] = set()


class _PolicyRequests(socketserver.StreamRequestHandler):
    """Postfix's policy delegation: attributes, one a line, up to a blank line; then one action."""

    def handle(self) -> None:
        assert isinstance(self.server, _PolicyService)
        seen = self.server.seen
        asked: dict[str, str] = {}
        for raw in self.rfile:
            name, has_value, value = raw.decode().rstrip("\n").partition("=")
            if has_value:
                asked[name] = value
                continue
            pair = (asked["sender"], asked["recipient"])
            action = "dunno" if pair in seen else "450 4.2.0 Greylisted, please try again later"
            seen.add(pair)
            self.wfile.write(f"action={action}\n\n".encode())


def aiosmtpd(scheme: str = "smtp", *, requires_login: bool = False) -> StartServer:
    """aiosmtpd with a handler that refuses `nobody` and viruses; with LMTP it answers for each recipient."""

    @contextmanager
    def start(folder: Path) -> Iterator[Target]:
        ca, leaf = _certificate(folder)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        leaf.configure_cert(context)
        controller = (_LmtpController if scheme == "lmtp" else Controller)(
            _Lmtp() if scheme == "lmtp" else _Handler(),
            hostname="127.0.0.1",
            port=free_port(),
            server_hostname="mx.example.test",
            enable_SMTPUTF8=True,
            tls_context=None if scheme == "lmtp" else context,
            authenticator=lambda *_: AuthResult(success=True),
            auth_required=requires_login,
        )
        controller.start()
        try:
            yield Target(url=f"{scheme}://localhost:{controller.port}", ca=ca)
        finally:
            controller.stop()

    return start


class _Handler:
    """An app's own hooks, as aiosmtpd's users write them."""

    async def handle_RCPT(  # noqa: N802 (aiosmtpd's name)
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address.startswith("nobody@"):
            return "550 5.1.1 No such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        is_virus = b"EICAR" in (envelope.original_content or b"")
        return "554 5.7.1 A virus was found" if is_virus else "250 2.0.0 OK"


class _Lmtp(_Handler):
    """RFC 2033 4.2: one reply for each recipient, in their order; carol's mailbox is full."""

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        return "\r\n".join(
            f"452 4.2.2 <{address}> is over quota" if address.startswith("carol@") else "250 2.1.5 delivered"
            for address in envelope.rcpt_tos
        )


class _LmtpController(Controller):
    def factory(self) -> SMTP:
        return LMTP(self.handler, **self.SMTP_kwargs)


@contextmanager
def lmtp_sink(folder: Path) -> Iterator[Target]:
    """Postfix's smtp-sink as an LMTP server."""
    with run_sink("-L", "-h", "mx.example.test") as sink:
        yield Target(url=f"lmtp://127.0.0.1:{sink.port}")


def sandbox(scheme: str = "smtp") -> StartServer:
    """The provider that smtpproxy brings along."""

    @contextmanager
    def start(folder: Path) -> Iterator[Target]:
        with run_proxy(folder / "sandbox", (f"{scheme}://127.0.0.1:0", None)) as proxy:
            yield Target(url=proxy.listen[0], ca=proxy.ca)

    return start


def _certificate(folder: Path) -> tuple[Path, trustme.LeafCert]:
    """A new authority's file, and a certificate of it for the server by all names that it is called by."""
    authority = trustme.CA()
    file = folder / "servers.pem"
    authority.cert_pem.write_to_path(str(file))
    return file, authority.issue_cert("mx.example.test", "localhost", "127.0.0.1")
