"""Recorded messages out of the log: their octets, their fate, and what a list or a page says of them.

Everything here blocks and is called in a thread. It knows no HTTP.
"""

from collections import OrderedDict
from collections.abc import Iterator
from itertools import takewhile
from typing import Final, NamedTuple

from smtpproxy.inspect.messages import message_octets
from smtpproxy.inspect.mime import Mail, mismatches
from smtpproxy.inspect.mime import Part as MimePart
from smtpproxy.recording.codec import UnknownEvent, decode
from smtpproxy.session.events import AnyEvent, Command, Content, End, Gap, Reply
from smtpproxy.store.reader import LogReader, StoredMessage
from smtpproxy.web import models
from smtpproxy.web.reading import session_rows

GLANCE_BYTES: Final = 256 * 1024
"""How much of a message is looked into for a list."""
LOOK_BACK: Final = 64
"""How many positions before its content the command that announced it is looked for at first."""
AT_ONCE: Final = 80
"""Events that are read at once: most messages are small, and what follows them is the next one."""
MAX_MIME_BYTES: Final = 33 * 1024 * 1024
MAX_REMEMBERED: Final = 2000


class Fate(NamedTuple):
    """What became of a message.

    Attributes:
        is_complete: the client finished it.
        is_kept: every octet that was looked at is in the recording.
        is_final: nothing will change any more.
    """

    outcome: models.MessageOutcome
    is_complete: bool
    is_kept: bool
    is_final: bool


class Glances:
    """What lists said of messages, remembered: a message does not change once it was answered."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, int, int], models.Message] = OrderedDict()

    def describe(self, reader: LogReader, stored: StoredMessage) -> models.Message:
        """A message as a list shows it, from its first GLANCE_BYTES.

        Raises:
            StoreError: the store cannot be read.
        """
        key = (stored.session, stored.message, stored.last_seq)
        known = self._known.get(key)
        if known is not None:
            return known
        octets, is_kept = _beginning(reader, stored, GLANCE_BYTES)
        fate = fate_of(reader, stored)
        described = _described(stored, Mail(octets), fate, is_kept=is_kept and fate.is_kept)
        if fate.is_final:
            self._known[key] = described
            # Several threads may be here: the bound is kept by each of them well enough.
            while len(self._known) > MAX_REMEMBERED:
                self._known.popitem(last=False)
        return described


def describe_fully(reader: LogReader, stored: StoredMessage) -> models.MessageDetail:
    """A message taken apart.

    Raises:
        StoreError: the store cannot be read.
    """
    mail, is_kept = read_mail(reader, stored)
    fate = fate_of(reader, stored)
    listed = _described(stored, mail, fate, is_kept=is_kept and fate.is_kept)
    return models.MessageDetail.model_construct(
        **dict(listed),
        headers=mail.headers,
        parts=[_part(mail.root)],
        text=mail.text,
        html=mail.html is not None,
        envelope=models.Envelope(
            mail_from=stored.mail_from,
            rcpt_to=stored.rcpt_to,
            mismatches=mismatches(mail, stored.mail_from, stored.rcpt_to),
        ),
        defects=mail.defects,
    )


def read_mail(reader: LogReader, stored: StoredMessage) -> tuple[Mail, bool]:
    """A message parsed, and whether all of it was recorded.

    Raises:
        StoreError: the store cannot be read.
    """
    octets, is_kept = _beginning(reader, stored, MAX_MIME_BYTES)
    return Mail(octets), is_kept


def octets_of(reader: LogReader, stored: StoredMessage) -> Iterator[bytes]:
    """The octets of a message as the client meant it, in pieces.

    Raises:
        StoreError: the store cannot be read.
    """
    return message_octets(_events(reader, stored), stored.message)


def fate_of(reader: LogReader, stored: StoredMessage) -> Fate:
    """What became of a message, by the replies to its end.

    Raises:
        StoreError: the store cannot be read.
    """
    # With BDAT it is the command that is answered, and other replies may still be owed before (RFC 3030).
    answered: set[int] = set()
    codes: list[int] = []
    is_complete, is_kept, has_ended, is_followed = False, True, False, False
    after = max(0, stored.last_seq - LOOK_BACK)
    for seq, _, kind, line in session_rows(reader, stored.session, after_seq=after, at_once=AT_ONCE):
        if kind not in ("command", "content", "reply", "end", "gap"):
            continue
        event = decode(line)
        if seq <= stored.last_seq:
            if isinstance(event, Command) and event.verb == "BDAT":
                answered = {event.n}
            elif isinstance(event, Content) and event.message == stored.message:
                is_complete = event.end
                is_kept = is_kept and not isinstance(event.sha256, str)
                if seq == stored.last_seq:
                    answered |= {event.n}
        elif isinstance(event, Reply):
            if event.to == "client" and event.answers in answered and isinstance(event.code, int):
                codes.append(event.code)
        elif isinstance(event, End):
            has_ended = True
        elif isinstance(event, Content | Command) and codes:
            is_followed = True
            break
    codes = [code for code in codes if code // 100 != 3]  # PRDR's 353 only announces the others
    accepted = sum(code // 100 == 2 for code in codes)
    outcome: models.MessageOutcome
    if not codes:
        outcome = "aborted" if has_ended else "pending"
    elif accepted == len(codes):
        outcome = "delivered"
    else:
        outcome = "partial" if accepted else "rejected"
    return Fate(outcome, is_complete, is_kept, has_ended or is_followed)


def _beginning(reader: LogReader, stored: StoredMessage, limit: int) -> tuple[bytes, bool]:
    """A message's first octets, about `limit`, and whether what was looked at was recorded."""
    octets = bytearray()
    is_kept = True

    def watched() -> Iterator[AnyEvent]:
        nonlocal is_kept
        for event in _events(reader, stored):
            is_lost = isinstance(event, Content) and isinstance(event.sha256, str)
            is_kept = is_kept and not is_lost and not isinstance(event, Gap)
            yield event

    for piece in message_octets(watched(), stored.message):
        octets += piece
        if len(octets) >= limit:
            break
    return bytes(octets[:limit]), is_kept


def _events(reader: LogReader, stored: StoredMessage) -> Iterator[AnyEvent]:
    """The events from the command that announced a message to its last content."""
    after = max(0, stored.first_seq - LOOK_BACK)
    if not _is_announced(reader, stored, after):
        after = 0
    rows = session_rows(reader, stored.session, after_seq=after, at_once=AT_ONCE)
    for _, _, _, line in takewhile(lambda row: row[0] <= stored.last_seq, rows):
        event = decode(line)
        if not isinstance(event, UnknownEvent):
            yield event


def _is_announced(reader: LogReader, stored: StoredMessage, after: int) -> bool:
    """Whether the command that says how the content is framed stands behind that position."""
    for seq, _, kind, line in reader.rows(stored.session, after_seq=after, limit=LOOK_BACK):
        if seq >= stored.first_seq:
            break
        if kind == "command":
            event = decode(line)
            if isinstance(event, Command) and event.verb in ("DATA", "BDAT"):
                return True
    return False


def _described(stored: StoredMessage, mail: Mail, fate: Fate, *, is_kept: bool) -> models.Message:
    values = {
        "session": stored.session,
        "message": stored.message,
        "mail_from": stored.mail_from,
        "rcpt_to": stored.rcpt_to,
        "size": stored.size,
        "outcome": fate.outcome,
        "subject": mail.header("Subject"),
        "from": mail.header("From"),
        "to": mail.header("To"),
        "date": mail.header("Date"),
        "has_html": mail.html is not None,
        "attachments": mail.attachments,
        "is_complete": fate.is_complete,
        "is_kept": is_kept,
    }
    return models.Message.model_validate(values)


def _part(part: MimePart) -> models.Part:
    return models.Part(
        path=part.path,
        content_type=part.content_type,
        charset=part.charset,
        disposition=part.disposition,
        filename=part.filename,
        size=part.size,
        content_id=part.content_id,
        parts=[_part(inner) for inner in part.parts],
    )
