"""A session's events without its secrets, before anything is done with them; it reads no SMTP of its own.

The core marks where a parsed line holds a secret. Here the marked octets give way to a placeholder, and what
was secret once is looked for in all that may quote it: replies, lines that are no commands, texts for people,
octets that are not read as SMTP. Envelope and content stay as they are: there, the same octets are the app's
own words. Events are values here: what is changed is a copy.
"""

import re
from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec import UNSET

from smtpproxy.recording.bodies import Bodies, BodyFilter
from smtpproxy.recording.lines import AUTH_VERBS, HARMLESS, LineScanner, is_mechanism
from smtpproxy.recording.spans import PLACEHOLDER, Span, marked_spans, without
from smtpproxy.recording.taint import MAX_FORM_BYTES, Seam, Taint
from smtpproxy.session.events import (
    AnyEvent,
    Auth,
    Command,
    Content,
    End,
    Finding,
    Gap,
    Opaque,
    Party,
    Reply,
    SpokenEvent,
    Tls,
    octets_of,
)
from smtpproxy.session.findings import FINDINGS
from smtpproxy.wire.commands import KNOWN_VERBS, word_spans

_ECHO: Final = "echo"
_SASL: Final = "sasl"
_AUTH_VERBS: Final = frozenset(verb.decode() for verb in AUTH_VERBS)


# What resembles AUTH (RFC 4954): misspelt, IMAP's AUTHENTICATE and LOGIN, POP's PASS, HTTP's Authorization.
_DOUBTED_VERB: Final = re.compile(r"AUTH|\APASS\Z|\ALOGIN\Z")


class Redactor:
    """One session's redaction; events are given to it in order, each once."""

    __slots__ = (
        "_bodies",
        "_handlers",
        "_identity",
        "_is_quoting",
        "_keeps_bodies",
        "_lines",
        "_pending",
        "_seams",
        "_taint",
    )

    def __init__(self, *, keep_secrets: bool = False, bodies: Bodies = "full") -> None:
        """A session's redaction from its first event on.

        Args:
            keep_secrets: replace nothing (`--keep-secrets`).
            bodies: how much of each message is kept.
        """
        self._handlers = _KEEPING if keep_secrets else _REDACTING
        self._keeps_bodies = bodies == "full"
        self._bodies = BodyFilter(bodies)
        self._taint = Taint()
        self._lines = LineScanner()
        self._seams: dict[Party, Seam] = {}
        # Whose account the last AUTH, or the last line of its exchange, was about.
        self._identity = ""
        # The client's line that is not over yet is no command, so that it may quote a secret.
        self._is_quoting = False
        # A secret that goes on in the client's next event, as far as it is known.
        self._pending = b""

    def redact(self, event: AnyEvent) -> AnyEvent:
        """The event as it may be recorded: itself where nothing in it is secret, else a copy."""
        handler = self._handlers.get(type(event))
        return event if handler is None else handler(self, event)

    def _content(self, event: Content) -> AnyEvent:
        return event if self._keeps_bodies else self._bodies.content(event)

    def _tls(self, event: Tls) -> AnyEvent:
        if not self._taint:
            return event
        error, advice = self._taint.clean(event.error), self._taint.clean(event.advice)
        return msgspec.structs.replace(event, error=error, advice=advice)

    def _finding(self, event: Finding) -> AnyEvent:
        """A finding's meaning is our own sentence; what follows it may quote anybody."""
        if not self._taint:
            return event
        meaning = FINDINGS.get(event.code, "")
        own = len(meaning) if event.text.startswith(meaning) else 0
        return msgspec.structs.replace(event, text=event.text[:own] + self._taint.clean(event.text[own:]))

    def _reasoned(self, event: End | Gap) -> AnyEvent:
        # Our own words again, that programs read: they stay where every quotation is doubted.
        if not self._taint or self._taint.is_full:
            return event
        return msgspec.structs.replace(event, reason=self._taint.clean(event.reason))

    # -- what the client says

    def _command(self, event: Command) -> AnyEvent:
        is_known = event.verb in KNOWN_VERBS
        is_sasl = event.verb in _AUTH_VERBS
        if event.redacted is UNSET and (
            event.from_ == "proxy" or (is_known and not is_sasl and self._lines.is_calm and not event.partial)
        ):
            return event
        octets = octets_of(event)
        spans = self._secrets_of(event, octets, is_known=is_known, is_sasl=is_sasl)
        if not spans and event.redacted is UNSET:
            return event
        return _without_words(without(event, octets, spans))

    def _auth(self, event: Auth) -> AnyEvent:
        octets = octets_of(event)
        spans = self._secrets_of(event, octets, is_known=True, is_sasl=True)
        return event if event.redacted is UNSET and not spans else without(event, octets, spans)

    def _secrets_of(
        self, event: Command | Auth, octets: bytes, *, is_known: bool, is_sasl: bool
    ) -> list[Span]:
        """What is secret in a line: what the core says, what stands at a secret's place, what quotes one.

        Args:
            event: of a line or a piece of one.
            octets: its own.
            is_known: its verb is a command's.
            is_sasl: it is AUTH, or a line of its exchange.
        """
        lines = self._lines
        spans = marked_spans(event, len(octets))
        if lines.place == "start":
            lines.is_awaited = False
            if isinstance(event, Command) and is_sasl:
                spans = _auth_spans(event, octets, spans)
            self._is_quoting = is_sasl or not is_known
            if is_sasl:
                self._identity = event.identity if event.identity is not UNSET else ""
            if is_known:
                lines.is_after_auth = is_sasl
            elif lines.is_after_auth and not spans and octets.strip() not in HARMLESS:
                # AUTH was refused, and the client goes on as if it had not been: these are its SASL lines.
                spans = [_whole(octets, _SASL)]
            elif isinstance(event, Command) and not is_known and _DOUBTED_VERB.search(event.verb):
                spans = [_argument(octets)]
        elif lines.place == "secret":
            spans = [_whole(octets, spans[0].kind if spans else _SASL)]
        if not event.partial:
            lines.place = "start"
        elif is_sasl or (spans and spans[-1].end == len(octets)):
            lines.place = "secret"
        else:
            lines.place = "plain"
        self._remember(octets, spans, goes_on=lines.place == "secret")
        if self._is_quoting and not (is_sasl and self._taint.is_full):
            spans += self._echoes("client", octets, is_open=event.partial)
        return spans

    def _remember(self, octets: bytes, spans: list[Span], *, goes_on: bool) -> None:
        """Taint the session with these secrets.

        One that goes on in the client's next event is known by its beginning at once, since a server may
        quote an over-long line before it ends, and whole when it is.
        """
        for span in spans:
            is_first = span.start > 0 or not self._pending
            secret = octets[span.start : span.end] if is_first else self._pending + octets[: span.end]
            is_unfinished = goes_on and span is spans[-1]
            if is_first or not is_unfinished or len(secret) > MAX_FORM_BYTES:
                self._taint.add(secret, identity=self._identity)
            # Of more than MAX_FORM_BYTES nothing but the beginning is looked for.
            self._pending = secret[: MAX_FORM_BYTES + 1] if is_unfinished else b""
        if not goes_on:
            self._pending = b""

    # -- what the server says

    def _reply(self, event: Reply) -> AnyEvent:
        lines = self._lines
        code = event.code
        if code == 334:
            lines.is_awaited = True
        elif code is not UNSET and not event.partial:
            lines.is_awaited = False
            if code == 235:
                lines.is_after_auth = False
        if event.redacted is UNSET and not self._taint:
            return event
        octets = octets_of(event)
        spans = marked_spans(event, len(octets))
        for span in spans:
            self._taint.add(octets[span.start : span.end])
        spans += self._echoes(event.from_, octets, is_open=event.partial)
        return without(event, octets, spans) if spans or event.redacted is not UNSET else event

    # -- what is not read as SMTP

    def _opaque(self, event: Opaque) -> AnyEvent:
        octets = octets_of(event)
        spans = marked_spans(event, len(octets))
        if event.from_ == "client":
            spans += [Span(start, end, _SASL) for start, end in self._lines.client(octets)]
            self._remember(octets, spans, goes_on=self._lines.place == "secret")
        else:
            self._lines.server(octets)
        if self._taint:
            spans += self._echoes(event.from_, octets, is_open=True)
        if spans or event.redacted is not UNSET:
            event = without(event, octets, spans)
        return event if self._keeps_bodies else self._bodies.opaque(event, len(octets))

    # -- what quotes

    def _echoes(self, speaker: Party, octets: bytes, *, is_open: bool) -> list[Span]:
        seam = self._seams.get(speaker)
        if seam is None and is_open:
            seam = self._seams[speaker] = Seam()
        return [
            Span(start, end, _ECHO) for start, end in self._taint.find(octets, seam=seam, is_open=is_open)
        ]


def _auth_spans(event: Command, octets: bytes, spans: list[Span]) -> list[Span]:
    """What is secret in the AUTH line itself, where the core has not split it into words or they are odd."""
    if spans and spans[0].start == 0:
        # An over-long line is marked as a whole: the verb and the mechanism are no secret, and no echo.
        return [Span(start, end, spans[0].kind) for start, end in LineScanner().client(octets)]
    words = word_spans(octets)
    if event.mechanism is not UNSET and len(words) > 1 and not is_mechanism(octets[slice(*words[1])]):
        return [Span(*words[1], _SASL), *spans]
    return spans


def _whole(octets: bytes, kind: str) -> Span:
    """A line, or the piece of one that octets are, without its line end."""
    return Span(0, len(octets.rstrip(b"\r\n")), kind)


def _argument(octets: bytes) -> Span:
    """What stands behind a line's first word; the whole line where that is one."""
    words = word_spans(octets)
    return Span(words[1][0] if len(words) > 1 else 0, len(octets.rstrip(b"\r\n")), _SASL)


def _without_words(event: Command) -> Command:
    """The fields that repeat the line's first words, where those have turned out to be secret."""
    octets = octets_of(event)
    is_secret = [PLACEHOLDER in octets[start:end] for start, end in word_spans(octets)[:2]]
    if is_secret[:1] == [True] and event.verb not in KNOWN_VERBS:
        event.verb = PLACEHOLDER.decode()
    if is_secret[1:] == [True] and event.mechanism is not UNSET:
        event.mechanism = PLACEHOLDER.decode()
    return event


def _unmarked(_: Redactor, event: SpokenEvent) -> AnyEvent:
    """With its secrets, of which then nothing is to be told."""
    return event if event.redacted is UNSET else msgspec.structs.replace(event, redacted=UNSET)


def _unmarked_opaque(redactor: Redactor, event: Opaque) -> AnyEvent:
    return _unmarked(redactor, redactor._bodies.opaque(event, len(octets_of(event))))


_Handler = Callable[[Redactor, Any], AnyEvent]
# By type, not by isinstance: this runs for every event, and most of them are none of our business.
_REDACTING: Final[dict[type, _Handler]] = {
    Command: Redactor._command,
    Auth: Redactor._auth,
    Reply: Redactor._reply,
    Content: Redactor._content,
    Opaque: Redactor._opaque,
    Tls: Redactor._tls,
    Finding: Redactor._finding,
    Gap: Redactor._reasoned,
    End: Redactor._reasoned,
}
_KEEPING: Final[dict[type, _Handler]] = {
    Command: _unmarked,
    Auth: _unmarked,
    Reply: _unmarked,
    Content: Redactor._content,
    Opaque: _unmarked_opaque,
}
