"""One session in one row, folded event by event as they happen; it knows neither store nor text layout.

This runs for every event on the recording path: it dispatches on the event's type, looks at a few
fields, and touches content only for its length and for the first 16 KiB of each message.
"""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec
from msgspec import UNSET

from smtpproxy.inspect.addresses import parse_path
from smtpproxy.session.events import (
    AnyEvent,
    Auth,
    Command,
    Content,
    End,
    Finding,
    Gap,
    Opaque,
    Outcome,
    Preface,
    Reply,
    SessionStarted,
    SpokenEvent,
    Tls,
    octets_of,
)

MAX_RECIPIENTS: Final = 1000
"""Recipients that a summary or a message row names; more are in the log all the same."""
MAX_HEADER_BYTES: Final = 16 * 1024
"""Octets of a message's header section that its row keeps."""

# Findings that a connection nobody spoke on has too: what the route is set to, and how probes hang up.
_NO_FAILURE: Final = frozenset(
    {"keep-secrets", "upstream-not-verified", "client-reset", "truncated-tls", "shutdown"}
)
# RFC 5321 4.1.4, RFC 3207 4.2, XCLIENT: what ends a mail transaction without a message.
_RESETTING: Final = frozenset({"RSET", "EHLO", "HELO", "LHLO", "STARTTLS", "XCLIENT"})
_OPENING: Final = frozenset({"MAIL", "SEND", "SOML", "SAML"})


class SessionSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What a list of sessions tells of one.

    Attributes:
        duration: seconds from accept to the last event.
        outcome: `open` until the session has ended.
        mail_from: of the first MAIL, without brackets; "" for the null path, None where there was no MAIL.
        rcpt_to: every recipient asked for, in order, accepted or not; the first MAX_RECIPIENTS.
        last_code: of the last reply to the client other than the one to QUIT.
        messages: contents that were carried to their end, accepted or not.
        bytes: octets of all content as it stood on the wire, terminators not counted.
        tls_client, tls_server: the TLS version of that leg, such as TLSv1.3; "" where it is plain.
        findings: their distinct codes in order of appearance.
        is_probe: the session has ended, the client never said a word, and nothing went wrong.
        route, listen: which listener it came in by.
    """

    session: str
    started: str = ""
    duration: float = 0.0
    client: str = ""
    upstream: str = ""
    outcome: Outcome = "open"
    mail_from: str | None = None
    rcpt_to: list[str] = []
    last_code: int | None = None
    messages: int = 0
    bytes: int = 0
    tls_client: str = ""
    tls_server: str = ""
    findings: list[str] = []
    is_probe: bool = False
    route: str = ""
    listen: str = ""


class MessageRow(msgspec.Struct, frozen=True, kw_only=True):
    """One message of a session: its envelope, and where its content stands in the log.

    Attributes:
        message: counts the session's messages from 1.
        mail_from: "" for the null path.
        rcpt_to: the recipients that were not refused, in order; the first MAX_RECIPIENTS.
        size: octets of content as they stood on the wire, terminator not counted.
        first_n, last_n: `n` of its first and last content event.
        headers: the header section as it stood on the wire, without the blank line; at most
            MAX_HEADER_BYTES octets.
    """

    message: int
    mail_from: str
    rcpt_to: list[str]
    size: int
    first_n: int
    last_n: int
    headers: bytes


class _Transaction:
    """A mail transaction as it grows (RFC 5321 3.3); recipients are keyed by the `n` of their RCPT."""

    __slots__ = ("mail_from", "mail_n", "recipients")

    def __init__(self, mail_from: str, mail_n: int) -> None:
        self.mail_from = mail_from
        self.mail_n = mail_n
        self.recipients: dict[int, str] = {}


class _Message:
    """A message whose content is coming, or whose final reply is still owed."""

    __slots__ = (
        "command_n",
        "first_n",
        "has_ended",
        "headers",
        "is_in_headers",
        "last_n",
        "number",
        "size",
        "transaction",
    )

    def __init__(self, number: int, first_n: int, command_n: int) -> None:
        self.number = number
        self.first_n = self.last_n = first_n
        self.command_n = command_n
        self.size = 0
        self.headers = b""
        self.is_in_headers = True
        self.has_ended = False
        self.transaction: _Transaction | None = None


class Summarizer:
    """Folds one session's events, in order, into its summary and its message rows."""

    def __init__(self) -> None:
        self._session = ""
        self._start: SessionStarted | None = None
        self._source: str = ""
        self._t = 0.0
        self._outcome: Outcome = "open"
        self._mail_from: str | None = None
        self._rcpt_to: list[str] = []
        self._last_code: int | None = None
        self._messages = 0
        self._bytes = 0
        self._tls = {"client": "", "server": ""}
        self._findings: list[str] = []
        self._has_client_spoken = False
        self._has_failed = False
        self._quit_n = -1
        self._command_n = -1
        self._is_bdat = False
        self._open: _Transaction | None = None
        self._before: _Transaction | None = None
        self._current: _Message | None = None
        self._complete: list[MessageRow] = []

    def add(self, event: AnyEvent) -> None:
        """Take the session's next event."""
        self._t = event.t
        self._session = event.session
        handler = _HANDLERS.get(type(event))
        if handler is not None:
            handler(self, event)

    def add_all(self, events: Sequence[AnyEvent]) -> None:
        """Take the session's next events.

        Raises:
            Exception: what the first that could not be taken raised; those after it are taken all the same.
        """
        if not events:
            return
        handler_of = _HANDLERS.get
        failure: Exception | None = None
        for event in events:
            handler = handler_of(type(event))
            if handler is not None:
                try:
                    handler(self, event)
                except Exception as error:  # noqa: BLE001 - raised below
                    failure = failure or error
        self._t = event.t
        self._session = event.session
        if failure is not None:
            raise failure

    @property
    def summary(self) -> SessionSummary:
        """The session as far as it has come."""
        start = self._start
        has_ended = self._outcome != "open"
        return SessionSummary(
            session=self._session,
            started=start.started if start else "",
            duration=self._t,
            client=self._source or (start.client if start else ""),
            upstream=start.upstream if start else "",
            outcome=self._outcome,
            mail_from=self._mail_from,
            rcpt_to=list(self._rcpt_to),
            last_code=self._last_code,
            messages=self._messages,
            bytes=self._bytes,
            tls_client=self._tls["client"],
            tls_server=self._tls["server"],
            findings=list(self._findings),
            is_probe=has_ended and not self._has_client_spoken and not self._has_failed,
            route=start.route if start else "",
            listen=start.listen if start else "",
        )

    def take_messages(self) -> list[MessageRow]:
        """The messages that have become complete since this was last asked."""
        complete, self._complete = self._complete, []
        return complete

    def take_unfinished(self) -> list[MessageRow]:
        """The message that was going on when the events ended; at most one. Nothing may be added after."""
        if self._current is not None:
            self._complete_message(self._current)
        return self.take_messages()

    def _on_start(self, event: SessionStarted) -> None:
        self._start = event

    def _on_preface(self, event: Preface) -> None:
        # Behind a balancer the client is whom its header names (PROXY protocol).
        if event.source is not UNSET:
            self._source = event.source

    def _on_command(self, event: Command) -> None:
        if event.from_ != "client":
            return
        self._has_client_spoken = True
        verb = event.verb
        if verb == "RCPT":
            address = parse_path(text_of(event))
            if len(self._rcpt_to) < MAX_RECIPIENTS:
                self._rcpt_to.append(address)
            if self._open is not None and len(self._open.recipients) < MAX_RECIPIENTS:
                self._open.recipients[event.n] = address
        elif verb in _OPENING:
            address = parse_path(text_of(event))
            if self._mail_from is None:
                self._mail_from = address
            self._before, self._open = self._open, _Transaction(address, event.n)
        elif verb in ("DATA", "BDAT"):
            self._command_n = event.n
            self._is_bdat = verb == "BDAT"
        elif verb == "QUIT":
            self._quit_n = event.n
        elif verb in _RESETTING:
            self._open = self._before = None

    def _on_reply(self, event: Reply) -> None:
        code, answers = event.code, event.answers
        if code is UNSET:
            return
        assert isinstance(code, int)
        if event.to == "client" and (answers is UNSET or answers != self._quit_n):
            self._last_code = code
        current = self._current
        if code >= 400 and isinstance(answers, int):
            self._on_refusal(answers)
        if current is not None and current.has_ended and answers in (current.last_n, current.command_n):
            self._complete_message(current)

    def _on_refusal(self, answers: int) -> None:
        # With BDAT a message may be over before its recipients are answered (RFC 3030 4.2).
        ended = self._current.transaction if self._current else None
        for transaction in (ended, self._open):
            if transaction is not None:
                transaction.recipients.pop(answers, None)
        if self._open is not None and answers == self._open.mail_n:
            # A MAIL inside a transaction is refused (RFC 5321 4.1.4): the earlier one goes on, and takes
            # what was pipelined after.
            if self._before is not None:
                self._before.recipients.update(self._open.recipients)
            self._open, self._before = self._before, None

    def _on_content(self, event: Content) -> None:
        self._has_client_spoken = True
        current = self._current
        if current is None or current.number != event.message:
            if current is not None:
                self._complete_message(current)
            self._current = current = _Message(event.message, event.n, self._command_n)
        current.last_n = event.n
        if not event.end or self._is_bdat:
            size = size_of(event)
            current.size += size
            self._bytes += size
            if current.is_in_headers:
                _collect_headers(current, event)
        if event.end:
            current.has_ended = True
            current.command_n = self._command_n
            # Bound now: the next MAIL may be pipelined ahead of this message's reply (RFC 2920 3.2).
            current.transaction, self._open, self._before = self._open, None, None
            self._messages += 1

    def _complete_message(self, message: _Message) -> None:
        self._current = None
        transaction = message.transaction or (None if message.has_ended else self._open)
        self._complete.append(
            MessageRow(
                message=message.number,
                mail_from=transaction.mail_from if transaction else "",
                rcpt_to=list(transaction.recipients.values()) if transaction else [],
                size=message.size,
                first_n=message.first_n,
                last_n=message.last_n,
                headers=message.headers,
            )
        )

    def _on_tls(self, event: Tls) -> None:
        if event.error:
            self._has_failed = True
        else:
            self._tls[event.leg] = event.version

    def _on_finding(self, event: Finding) -> None:
        if event.code not in self._findings:
            self._findings.append(event.code)
        if event.code not in _NO_FAILURE:
            self._has_failed = True

    def _on_spoken(self, event: Auth | Opaque) -> None:
        if event.from_ == "client":
            self._has_client_spoken = True

    def _on_gap(self, event: Gap) -> None:
        # What is missing may well have been the client's.
        self._has_client_spoken = True

    def _on_end(self, event: End) -> None:
        self._outcome = event.outcome
        # A session that we cut was listed while it was open: it must not vanish from the list.
        is_bad = event.outcome in ("failed", "interrupted")
        if is_bad or (self._last_code is not None and self._last_code >= 400):
            self._has_failed = True
        if self._current is not None:
            self._complete_message(self._current)


_HANDLERS: Final[dict[type, Callable[..., None]]] = {
    SessionStarted: Summarizer._on_start,
    Preface: Summarizer._on_preface,
    Command: Summarizer._on_command,
    Auth: Summarizer._on_spoken,
    Opaque: Summarizer._on_spoken,
    Reply: Summarizer._on_reply,
    Content: Summarizer._on_content,
    Tls: Summarizer._on_tls,
    Finding: Summarizer._on_finding,
    Gap: Summarizer._on_gap,
    End: Summarizer._on_end,
}


def text_of(event: SpokenEvent) -> str:
    """An event's octets as text for people; what is not UTF-8 stands as `\\xNN`."""
    if isinstance(event.raw, str):
        return event.raw
    return octets_of(event).decode("utf-8", "backslashreplace")


def size_of(event: Content) -> int:
    """Octets that a content event stands for, whether they were kept or not."""
    if isinstance(event.octets, int):
        return event.octets
    raw = event.raw
    if isinstance(raw, str):
        return len(raw) if raw.isascii() else len(raw.encode())
    return len(octets_of(event))


def _collect_headers(message: _Message, event: Content) -> None:
    raw = event.raw
    # The first MAX_HEADER_BYTES characters hold at least as many octets: no need to encode 64 KiB.
    piece = raw[:MAX_HEADER_BYTES].encode() if isinstance(raw, str) else octets_of(event)[:MAX_HEADER_BYTES]
    headers = message.headers + piece
    end = headers.find(b"\n\r\n")
    # A bare LF twice ends them too, where it comes first; what lies behind the end is not searched.
    bare_end = headers.find(b"\n\n", 0, end + 1 if end >= 0 else len(headers))
    if headers.startswith((b"\r\n", b"\n")):
        headers = b""
        message.is_in_headers = False
    elif end >= 0 or bare_end >= 0:
        headers = headers[: (bare_end if bare_end >= 0 else end) + 1]
        message.is_in_headers = False
    elif len(headers) >= MAX_HEADER_BYTES:
        message.is_in_headers = False
    message.headers = headers[:MAX_HEADER_BYTES]
