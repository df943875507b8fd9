"""Reads one leg of a recorded session into a script, event by event; it plays nothing of it."""

import hashlib
from collections.abc import Callable, Iterator
from typing import Final

from msgspec import UNSET

from smtpproxy.errors import ReplayError
from smtpproxy.recording.overrides import Overrides
from smtpproxy.replay.script import Body, Obstacle, ReplyStep, Script, Step, StepKind
from smtpproxy.session.events import (
    AnyEvent,
    Auth,
    Command,
    Content,
    End,
    Gap,
    Leg,
    Opaque,
    Redacted,
    Reply,
    SessionStarted,
    SpokenEvent,
    Tls,
    octets_of,
)

CACHED_BODY_BYTES: Final = 1024 * 1024
"""A message up to this size is kept in memory; a longer one is read from the recording when it is sent."""
MAX_STEPS: Final = 100_000
"""Of one session; a script is in memory while it is played."""
MAX_REPLY_BYTES: Final = 256 * 1024
MAX_LINE_BYTES: Final = 1024 * 1024


def read_script(
    source: Callable[[], Iterator[AnyEvent]],
    *,
    leg: Leg,
    name: str,
    line: int = 0,
    overrides: Overrides | None = None,
) -> Script:
    """Read a session's events once, as one leg saw them.

    Args:
        source: gives the session's events from the first; called again for long messages when they are sent.
        leg: which one.
        name: where it comes from, for people.
        line: of the file.
        overrides: what its header asks for.

    Raises:
        ReplayError: it is longer than can be rerun; names the session.
    """
    reading = _Reading(leg, source)
    for event in source():
        reading.take(event)
        if len(reading.steps) > MAX_STEPS:
            raise ReplayError(f"{name}: session {event.session} has more than {MAX_STEPS} steps")
    return reading.script(name, line, overrides or Overrides())


class _Draft:
    """A step while its events are still being read."""

    def __init__(self, kind: StepKind, event: AnyEvent, verb: str, *, is_tls: bool) -> None:
        self.kind = kind
        self.n = event.n
        self.t = event.t
        self.verb = verb
        self.is_tls = is_tls
        self.raw = bytearray()
        self.redacted: list[Redacted] = []
        self.group = 0
        self.mechanism = self.identity = ""
        self.size = 0
        self.is_last = False
        self.is_open = False
        """Its line, its chunk or its message goes on."""
        self.replies: list[ReplyStep] = []
        self.unasked: list[ReplyStep] = []
        self.tls: Tls | None = None
        self.body: _BodyDraft | None = None

    def say(self, event: Command | Auth) -> None:
        """Its line, or a piece of that."""
        before = len(self.raw)
        if before > MAX_LINE_BYTES:
            raise ReplayError(f"session {event.session}: the line of event {event.n} is too long to be rerun")
        self.raw += octets_of(event)
        if event.redacted is not UNSET:
            self.redacted += [
                Redacted(at=before + span.at, kind=span.kind, length=span.length) for span in event.redacted
            ]
        self.is_open = event.partial

    def finish(self, number: int, source: Callable[[], Iterator[AnyEvent]]) -> Step:
        return Step(
            number=number,
            kind=self.kind,
            n=self.n,
            t=self.t,
            verb=self.verb,
            raw=bytes(self.raw),
            redacted=tuple(self.redacted),
            group=self.group,
            mechanism=self.mechanism,
            identity=self.identity,
            body=None if self.body is None else self.body.finish(source),
            size=self.size,
            is_last=self.is_last,
            is_tls=self.is_tls,
            replies=tuple(self.replies),
            unasked=tuple(self.unasked),
            tls=self.tls,
        )


class _BodyDraft:
    """Content while its pieces are still being read."""

    def __init__(self, first_n: int) -> None:
        self._first_n = self._last_n = first_n
        self._octets = 0
        self._digest = hashlib.sha256()
        self._pieces: list[bytes] | None = []
        self._is_kept = True
        self._sha256 = ""

    def add(self, event: Content) -> None:
        self._last_n = event.n
        data = octets_of(event)
        if event.octets is not UNSET:
            # A digest stands for the piece; of several nothing can be said together.
            self._sha256 = event.sha256 if self._octets == 0 and event.sha256 is not UNSET else ""
            self._octets += event.octets
            self._is_kept, self._pieces = False, None
            return
        self._octets += len(data)
        self._digest.update(data)
        if self._pieces is not None:
            self._pieces.append(data)
            if self._octets > CACHED_BODY_BYTES:
                self._pieces = None

    def finish(self, source: Callable[[], Iterator[AnyEvent]]) -> Body:
        return Body(
            octets=self._octets,
            sha256=self._digest.hexdigest() if self._is_kept else self._sha256,
            is_kept=self._is_kept,
            cached=None if self._pieces is None else b"".join(self._pieces),
            first_n=self._first_n,
            last_n=self._last_n,
            source=source,
        )


class _Reading:
    """One pass over a session's events."""

    def __init__(self, leg: Leg, source: Callable[[], Iterator[AnyEvent]]) -> None:
        self.steps: list[_Draft] = []
        self._leg = leg
        self._source = source
        self._start: SessionStarted | None = None
        self._obstacles: list[Obstacle] = []
        self._by_n: dict[int, _Draft] = {}
        self._content: _Draft | None = None
        self._is_tls = False
        self._is_implicit_tls = False
        self._is_lmtp = False
        self._reply: tuple[Reply, bytearray] | None = None
        self._end: End | None = None
        self._first_unanswered = 0
        """Steps before it need not be looked at for a reply that does not say what it answers."""

    def take(self, event: AnyEvent) -> None:
        match event:
            case SessionStarted():
                self._start = event
                self.steps.append(_Draft("connect", event, "connect", is_tls=False))
            case Command() if self._is_said(event):
                self._on_command(event)
            case Auth() if self._is_said(event):
                self._on_auth(event)
            case Content():
                self._on_content(event)
            case Reply() if self._is_heard(event):
                self._on_reply(event)
            case Opaque(from_="client", to="proxy") if self._leg == "client":
                pass  # said when the session was over already, and read by nobody
            case Opaque() if self._is_said(event) or self._is_heard(event):
                if octets_of(event).strip() or event.octets is not UNSET:
                    self._stop(event, "from here on the conversation was not read as SMTP (opaque)")
            case Gap():
                self._stop(event, f"{event.events} events are missing here ({event.reason})")
            case Tls() if event.leg == self._tls_leg and not event.error:
                self._on_tls(event)
            case End():
                self._end = event

    def script(self, name: str, line: int, overrides: Overrides) -> Script:
        start, end = self._start, self._end
        if start is None:
            raise ReplayError(f"{name}: there is no session in it")
        steps = tuple(draft.finish(number, self._source) for number, draft in enumerate(self.steps, 1))
        for step in steps:
            if step.body is not None and not step.body.is_kept:
                text = "its content was recorded as a digest only (bodies = headers or digest)"
                self._obstacles.append(Obstacle(n=step.n, step=step.number, text=text))
        return Script(
            session=start.session,
            source=name,
            line=line,
            leg=self._leg,
            started=start.started,
            upstream=start.upstream,
            listen=start.listen,
            is_lmtp=self._is_lmtp,
            is_implicit_tls=self._is_implicit_tls,
            steps=steps,
            obstacles=tuple(sorted(self._obstacles, key=lambda obstacle: obstacle.n)),
            reason=end.reason if end is not None else "",
            outcome=end.outcome if end is not None else "open",
            overrides=overrides,
        )

    @property
    def _tls_leg(self) -> Leg:
        """Sandbox and mock have no server leg of their own: what is said to them is the client leg."""
        if self._start is not None and self._start.upstream in ("sandbox:", "mock:"):
            return "client"
        return self._leg

    def _is_said(self, event: SpokenEvent) -> bool:
        return event.to == "server" if self._leg == "server" else event.from_ == "client"

    def _is_heard(self, event: SpokenEvent) -> bool:
        return event.from_ == "server" if self._leg == "server" else event.to == "client"

    def _stop(self, event: AnyEvent, text: str) -> None:
        if not self._obstacles:
            self._obstacles.append(Obstacle(n=event.n, step=len(self.steps), text=text))

    def _add(self, draft: _Draft) -> _Draft:
        self.steps.append(draft)
        self._by_n[draft.n] = draft
        return draft

    def _on_command(self, event: Command) -> None:
        last = self.steps[-1] if self.steps else None
        if last is not None and last.kind == "command" and last.is_open and last.verb == event.verb:
            last.say(event)  # a line that was too long to be one event
            self._by_n[event.n] = last
            return
        draft = self._add(_Draft("command", event, event.verb, is_tls=self._is_tls))
        draft.say(event)
        draft.group = event.group
        draft.mechanism = event.mechanism if event.mechanism is not UNSET else ""
        draft.identity = event.identity if event.identity is not UNSET else ""
        self._is_lmtp = self._is_lmtp or event.verb == "LHLO"
        self._content = None
        if event.verb == "BDAT" and event.size is not UNSET:
            draft.size, draft.is_last = event.size, event.last
            draft.body = _BodyDraft(event.n)
            self._content = draft

    def _on_auth(self, event: Auth) -> None:
        last = self.steps[-1]
        if last.kind == "auth" and last.is_open:
            last.say(event)
            return
        draft = self._add(_Draft("auth", event, "AUTH", is_tls=self._is_tls))
        draft.say(event)
        draft.mechanism = event.mechanism
        draft.identity = event.identity if event.identity is not UNSET else ""

    def _on_content(self, event: Content) -> None:
        draft = self._content
        if draft is None:
            draft = self._content = _Draft("content", event, ".", is_tls=self._is_tls)
            draft.body = _BodyDraft(event.n)
            draft.is_open = True
            self._take_early_replies(draft)
            self.steps.append(draft)
        assert draft.body is not None
        draft.is_last = draft.is_last or event.end
        if draft.kind == "content" and event.end:
            draft.n, draft.is_open = event.n, False
            self._content = None
        else:
            draft.body.add(event)
        self._by_n[event.n] = draft

    def _take_early_replies(self, content: _Draft) -> None:
        """What the server said behind its 354 before any content was recorded, it said of the message."""
        data = self.steps[-1]
        if data.verb == "DATA":
            content.replies = data.replies[1:] + data.unasked
            del data.replies[1:]
            data.unasked = []

    def _on_reply(self, event: Reply) -> None:
        raw = octets_of(event)
        if self._reply is not None:
            first, before = self._reply
            if len(before) + len(raw) <= MAX_REPLY_BYTES:
                before += raw
            if event.partial:
                return
            raw, self._reply = bytes(before), None
            answers = first.answers if event.answers is UNSET else event.answers
        elif event.partial:
            self._reply = (event, bytearray(raw))
            return
        else:
            answers = event.answers
        reply = ReplyStep(
            n=event.n,
            t=event.t,
            raw=raw,
            code=event.code if event.code is not UNSET else None,
            enhanced=event.enhanced if event.enhanced is not UNSET else "",
        )
        asked = self._by_n.get(answers) if answers is not UNSET else self._oldest_unanswered()
        last = self.steps[-1]
        is_answered = asked is None or (asked.verb == "DATA" and bool(asked.replies))
        if is_answered and last.kind == "content" and last.is_open:
            last.replies.append(reply)  # a refusal that did not wait for the message's end
        elif asked is None:
            last.unasked.append(reply)
        else:
            asked.replies.append(reply)

    def _oldest_unanswered(self) -> _Draft | None:
        """Whom a reply without `answers` is for: the greeting's, or somebody wrote the file by hand."""
        for index in range(self._first_unanswered, len(self.steps)):
            draft = self.steps[index]
            if not draft.replies and draft.verb != "" and not draft.is_open:
                self._first_unanswered = index
                return draft
        return None

    def _on_tls(self, event: Tls) -> None:
        self._is_tls = True
        last = self.steps[-1]
        last.tls = event
        if last.kind == "connect":
            last.is_tls = self._is_implicit_tls = True
