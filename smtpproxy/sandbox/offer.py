"""What the sandbox says of itself: greeting, EHLO keywords, HELP; it knows no state of a session."""

from typing import Final

import msgspec

from smtpproxy.sandbox.replies import render_reply

MECHANISMS: Final = ("PLAIN", "LOGIN", "CRAM-MD5", "XOAUTH2")
"""What AUTH is offered with: a server that lets in whoever comes cannot speak SCRAM (RFC 5802 3)."""
_HELP: Final = (
    "This is smtpproxy's sandbox: it accepts and keeps mail, and never delivers it.",
    "Commands: EHLO HELO LHLO STARTTLS AUTH MAIL RCPT DATA BDAT RSET NOOP QUIT VRFY EXPN ETRN HELP",
    "An address can ask for a failure: rcpt-550, data-554-5.7.1, greylist, drop-data, slow-5...",
)


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for a session from its beginning.

    Attributes:
        size_limit: octets of a message; 0 for none.
        has_starttls: STARTTLS is offered where there is no TLS yet.
    """

    hostname: str
    size_limit: int
    is_lmtp: bool
    has_starttls: bool

    @property
    def hello(self) -> str:
        """The command that begins a session: EHLO, or LHLO (RFC 2033 4.1)."""
        return "LHLO" if self.is_lmtp else "EHLO"

    def render_greeting(self) -> bytes:
        """The 220 at the beginning."""
        protocol = "LMTP" if self.is_lmtp else "ESMTP"
        return render_reply(220, "", f"{self.hostname} {protocol} smtpproxy sandbox, nothing is delivered")

    def render_helo(self, client: str) -> bytes:
        """The reply to HELO."""
        return render_reply(250, "", self._identity(client))

    def render_ehlo(self, client: str, *, is_tls: bool) -> bytes:
        """The reply to EHLO or LHLO: STARTTLS is gone once TLS stands (RFC 3207 4.2)."""
        keywords = ["PIPELINING", f"SIZE {self.size_limit}", "VRFY", "ETRN"]
        if self.has_starttls and not is_tls:
            keywords.append("STARTTLS")
        keywords.append(f"AUTH {' '.join(MECHANISMS)}")
        keywords += ["ENHANCEDSTATUSCODES", "8BITMIME", "DSN", "SMTPUTF8", "CHUNKING", "BINARYMIME", "HELP"]
        return render_reply(250, "", self._identity(client), *keywords)

    def render_help(self) -> bytes:
        """The reply to HELP."""
        return render_reply(214, "2.0.0", *_HELP)

    def _identity(self, client: str) -> str:
        # RFC 5321 4.1.1.1: the first word is the server's name; the port would differ from run to run.
        address = client.rpartition(":")[0].strip("[]")
        return f"{self.hostname} at your service, [{address}]" if address else self.hostname
