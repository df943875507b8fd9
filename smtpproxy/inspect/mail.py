"""A recorded message as values to assert on: envelope, headers, bodies, attachments; it knows no session."""

from collections.abc import Sequence
from email import message_from_bytes, policy
from email.message import EmailMessage
from functools import cached_property
from typing import NamedTuple


class Attachment(NamedTuple):
    """A part of a message that is not its text.

    Attributes:
        name: as the message calls the file; "" where it has no name.
        type: such as application/pdf.
        content: its octets, decoded.
    """

    name: str
    type: str
    content: bytes


class Message:
    """One message as the client meant it: dot-stuffing undone, BDAT chunks joined.

    Attributes:
        mail_from: of the envelope, without brackets; "" for the null path.
        rcpt_to: of the envelope: the recipients that were not refused, in order.
        content: the octets of the message.
        replies: what the client heard on it: one, or with LMTP one for each recipient; none while it waits.
        is_kept: whether `content` is all of it.
    """

    def __init__(
        self,
        *,
        mail_from: str,
        rcpt_to: Sequence[str],
        content: bytes,
        replies: Sequence[str] = (),
        is_kept: bool = True,
    ) -> None:
        self.mail_from = mail_from
        self.rcpt_to = list(rcpt_to)
        self.content = content
        self.replies = list(replies)
        self.is_kept = is_kept

    @cached_property
    def email(self) -> EmailMessage:
        """The message parsed by Python's `email` (policy SMTP); parsed when it is first asked for."""
        return message_from_bytes(self.content, EmailMessage, policy=policy.SMTP)

    @property
    def headers(self) -> EmailMessage:
        """Header fields by name, whatever their case: `headers["subject"]`, `headers.get_all("received")`."""
        return self.email

    @property
    def subject(self) -> str:
        """The subject, decoded; "" where there is none."""
        return str(self.email["subject"] or "")

    @property
    def text(self) -> str:
        """The plain text body with LF as line end; "" where there is none."""
        return self._body("plain")

    @property
    def html(self) -> str:
        """The HTML body with LF as line end; "" where there is none."""
        return self._body("html")

    @property
    def attachments(self) -> list[Attachment]:
        """Its attachments, in order."""
        return [
            Attachment(
                name=part.get_filename() or "",
                type=part.get_content_type(),
                content=_octets(part),
            )
            for part in self.email.iter_attachments()
            if isinstance(part, EmailMessage)
        ]

    def _body(self, kind: str) -> str:
        part = self.email.get_body((kind,))
        if not isinstance(part, EmailMessage):
            return ""
        content = part.get_content()
        return content.replace("\r\n", "\n") if isinstance(content, str) else ""

    def __repr__(self) -> str:
        envelope = f"from {self.mail_from!r} to {', '.join(self.rcpt_to)!r}"
        return f"<message {envelope}: {self.subject!r}, {len(self.content)} octets>"


def _octets(part: EmailMessage) -> bytes:
    """What an attachment is made of; of an attached message (or several parts) its own octets."""
    payload = part.get_payload(decode=True)
    if isinstance(payload, bytes):
        return payload
    inner = part.get_payload()
    if isinstance(inner, list) and len(inner) == 1 and part.get_content_maintype() == "message":
        return bytes(inner[0]) if isinstance(inner[0], EmailMessage) else b""
    return bytes(part)
