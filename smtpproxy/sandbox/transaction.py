"""One mail transaction: its envelope, and which failures its addresses ask for; it says no reply."""

from typing import Final

import msgspec

from smtpproxy.sandbox.failures import Failure, Step, is_due

MAX_RECIPIENTS: Final = 1000
"""Postfix's default; RFC 5321 4.5.3.1.8 asks for 100."""


class Party(msgspec.Struct, frozen=True, kw_only=True):
    """A sender, a recipient or a user, and the failure that its name asks for."""

    address: str
    failure: Failure | None = None

    def due(self, at: Step, said_at: Step) -> list[Failure]:
        """The failure, where it happens at this step."""
        failure = self.failure
        return [failure] if failure is not None and is_due(failure, at=at, said_at=said_at) else []


class Transaction:
    """From an accepted MAIL to the reply to the message.

    Attributes:
        recipients: the accepted ones, in order, duplicates included (RFC 2033 4.2 counts them).
        is_binary, is_utf8: MAIL said BODY=BINARYMIME, SMTPUTF8.
        octets: of the chunks so far.
        has_chunks: a BDAT was seen.
        has_failed_chunk: one of them was refused; those after it are too, up to LAST or RSET (RFC 3030 2).
    """

    __slots__ = (
        "has_chunks",
        "has_failed_chunk",
        "is_binary",
        "is_utf8",
        "octets",
        "recipients",
        "sender",
        "user",
    )

    def __init__(self, *, sender: Party, user: Party | None, is_binary: bool, is_utf8: bool) -> None:
        self.sender = sender
        self.user = user
        self.is_binary = is_binary
        self.is_utf8 = is_utf8
        self.recipients: list[Party] = []
        self.octets = 0
        self.has_chunks = False
        self.has_failed_chunk = False

    def due_at_mail(self) -> list[Failure]:
        """What goes wrong at MAIL: asked for by the user, then by the sender."""
        return self._due_for_all("mail")

    def due_at_rcpt(self, recipient: Party) -> list[Failure]:
        """What goes wrong at RCPT of a recipient that is not accepted yet."""
        return self._due_for_all("rcpt") + recipient.due("rcpt", "rcpt")

    def due_for(self, at: Step, recipient: Party) -> list[Failure]:
        """What goes wrong at a later step for one recipient: LMTP's way."""
        return self._due_for_all(at) + recipient.due(at, "rcpt")

    def due_for_message(self, at: Step) -> list[Failure]:
        """What goes wrong at a later step for the whole message: SMTP's way, where the first one decides."""
        theirs = [failure for recipient in self.recipients for failure in recipient.due(at, "rcpt")]
        return self._due_for_all(at) + theirs

    def _due_for_all(self, at: Step) -> list[Failure]:
        user = self.user.due(at, "auth") if self.user else []
        return user + self.sender.due(at, "mail")
