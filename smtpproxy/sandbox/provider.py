"""The sandbox as a whole: what it offers, whom it knows, what it remembers; it knows no one session."""

from collections.abc import Mapping
from typing import Final

from smtpproxy.sandbox.greylist import GreylistMemory
from smtpproxy.sandbox.offer import Offer
from smtpproxy.sandbox.session import SandboxSession
from smtpproxy.session.decisions import Policy

DEFAULT_SIZE_LIMIT: Final = 256 * 1024 * 1024
DEFAULT_HOSTNAME: Final = "sandbox.localhost"


class Sandbox:
    """An embedded provider that accepts and never delivers; one serves any number of sessions.

    Args:
        hostname: how it calls itself.
        size_limit: octets of a message; 0 for none (RFC 1870 3).
        credentials: user → password or bearer token; None accepts whoever comes.

    Attributes:
        content_octets: how much of a message it wants to see: its first piece will do.
    """

    content_octets: Final = 0

    def __init__(
        self,
        *,
        hostname: str = DEFAULT_HOSTNAME,
        size_limit: int = DEFAULT_SIZE_LIMIT,
        credentials: Mapping[str, str] | None = None,
    ) -> None:
        self._hostname = hostname
        self._size_limit = size_limit
        self._credentials = None if credentials is None else dict(credentials)
        self._greylist = GreylistMemory()

    def open(self, client: str, *, is_lmtp: bool, is_tls: bool, offers_starttls: bool, nonce: str) -> Policy:
        """The policy of one new session.

        Args:
            client: the client's address, as `IP:PORT`.
            is_lmtp: RFC 2033 holds: LHLO, and a reply per recipient after the message.
            is_tls: TLS stands already.
            offers_starttls: STARTTLS is offered as long as there is no TLS.
            nonce: unique to the session; the CRAM-MD5 challenge and the queue ids are made of it.
        """
        offer = Offer(
            hostname=self._hostname,
            size_limit=self._size_limit,
            is_lmtp=is_lmtp,
            has_starttls=offers_starttls,
        )
        session = SandboxSession(
            client,
            offer=offer,
            is_tls=is_tls,
            nonce=nonce,
            credentials=self._credentials,
            greylist=self._greylist,
        )
        return session.decide
