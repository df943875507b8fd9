"""What filters ask of a session: its summary, and what a summary has no room for; it knows no filter.

`FactsFolder` folds it from events as they happen, `SeenFolder` what a summary lacks from recorded ones.
Every set is bounded: a client can say as many verbs as it likes.
"""

from collections.abc import Collection
from typing import Final

import msgspec

from smtpproxy.inspect.addresses import parse_path
from smtpproxy.inspect.filters.mailtext import MAX_HEADER_BYTES, header_section, subject_of
from smtpproxy.inspect.filters.words import WordFolder
from smtpproxy.inspect.summary import SessionSummary, Summarizer, text_of
from smtpproxy.session.events import AnyEvent, Auth, Command, Content, End, Reply, octets_of

MAX_SEEN: Final = 1000
"""Distinct values of each sort that are kept of a session: the first."""

_OPENING: Final = frozenset({"MAIL", "SEND", "SOML", "SAML"})


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What a session's events tell beyond its summary.

    Attributes:
        codes: of all replies, whoever said them.
        enhanced: enhanced status codes of all replies (RFC 2034).
        verbs: of the client's commands, upper-cased.
        mechanisms, identities: of AUTH; an identity is whose account.
        senders: of every MAIL the client said, without brackets; "" for the null path.
        subjects: of its messages, decoded.
    """

    codes: frozenset[int] = frozenset()
    enhanced: frozenset[str] = frozenset()
    verbs: frozenset[str] = frozenset()
    mechanisms: frozenset[str] = frozenset()
    identities: frozenset[str] = frozenset()
    senders: frozenset[str] = frozenset()
    subjects: frozenset[str] = frozenset()


class SessionFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a session.

    Attributes:
        seen: None where only its summary is known.
        found: which of the filter's phrases its messages have; None where nobody has looked.
    """

    summary: SessionSummary
    seen: Seen | None = None
    found: frozenset[str] | None = None


class SeenFolder:
    """Folds one session's events, in order, into what a summary lacks."""

    def __init__(self) -> None:
        self._codes: set[int] = set()
        self._enhanced: set[str] = set()
        self._verbs: set[str] = set()
        self._mechanisms: set[str] = set()
        self._identities: set[str] = set()
        self._senders: set[str] = set()
        self._subjects: set[str] = set()
        self._message = 0
        self._head: bytearray | None = None
        self._seen: Seen | None = None

    def add(self, event: AnyEvent) -> None:
        """Take the session's next event."""
        if isinstance(event, Reply):
            self._on_reply(event)
        elif isinstance(event, Command):
            self._on_command(event)
        elif isinstance(event, Content):
            self._on_content(event)
        elif isinstance(event, Auth):
            self._keep(self._mechanisms, event.mechanism)
            if isinstance(event.identity, str):
                self._keep(self._identities, event.identity)
        elif isinstance(event, End):
            self._end_head()

    @property
    def seen(self) -> Seen:
        """What was seen so far."""
        if self._seen is None:
            self._seen = Seen(
                codes=frozenset(self._codes),
                enhanced=frozenset(self._enhanced),
                verbs=frozenset(self._verbs),
                mechanisms=frozenset(self._mechanisms),
                identities=frozenset(self._identities),
                senders=frozenset(self._senders),
                subjects=frozenset(self._subjects),
            )
        return self._seen

    def _keep(self, kept: set[str], value: str) -> None:
        if value not in kept and len(kept) < MAX_SEEN:
            kept.add(value)
            self._seen = None

    def _on_reply(self, event: Reply) -> None:
        if isinstance(event.code, int) and event.code not in self._codes:
            self._codes.add(event.code)  # of three digits, as every reader of recordings checks
            self._seen = None
        if isinstance(event.enhanced, str):
            self._keep(self._enhanced, event.enhanced)

    def _on_command(self, event: Command) -> None:
        if event.from_ != "client":
            return
        self._keep(self._verbs, event.verb)
        if event.verb in _OPENING:
            self._keep(self._senders, parse_path(text_of(event)))
        if isinstance(event.mechanism, str):
            self._keep(self._mechanisms, event.mechanism)
        if isinstance(event.identity, str):
            self._keep(self._identities, event.identity)

    def _on_content(self, event: Content) -> None:
        if event.message != self._message:
            self._end_head()
            self._message = event.message
            self._head = bytearray()
        head = self._head
        if head is None:
            return
        raw = event.raw
        # As many characters hold at least as many octets: no need to encode 64 KiB.
        head += raw[:MAX_HEADER_BYTES].encode() if isinstance(raw, str) else octets_of(event)
        if event.end or header_section(bytes(head)) is not None:
            self._end_head()

    def _end_head(self) -> None:
        head, self._head = self._head, None
        if head:
            section = header_section(bytes(head))
            subject = subject_of(bytes(head) if section is None else section)
            if subject is not None:
                self._keep(self._subjects, subject)


class FactsFolder:
    """Folds one session's events, in order and from its first, into all that a filter can ask."""

    def __init__(self, phrases: Collection[str] = ()) -> None:
        """Begin with nothing.

        Args:
            phrases: what to look for in messages: `phrases` of the filters that will ask.
        """
        self._summarizer = Summarizer()
        self._seen = SeenFolder()
        self._words = WordFolder(phrases)

    def add(self, event: AnyEvent) -> None:
        """Take the session's next event."""
        self._summarizer.add(event)
        self._summarizer.take_messages()
        self._seen.add(event)
        self._words.add(event)

    @property
    def facts(self) -> SessionFacts:
        """The session as far as it has come."""
        return SessionFacts(summary=self._summarizer.summary, seen=self._seen.seen, found=self._words.found)
