"""A recorded session as a script: what the client's end said, step by step, and what it was answered.

One reading of the events serves both reruns. A replay plays the server leg: what was said *to the server* is
sent, what came *from the server* is expected. A mock plays the client leg: what came *from the client* is
expected, what was said *to the client* is sent.
"""

from collections.abc import Callable, Iterator
from typing import Literal, TypeAlias

import msgspec
from msgspec import UNSET

from smtpproxy.recording.overrides import Overrides
from smtpproxy.recording.spans import PLACEHOLDER
from smtpproxy.session.events import (
    AnyEvent,
    Content,
    Leg,
    Outcome,
    Redacted,
    Tls,
    octets_of,
)
from smtpproxy.wire.commands import word_spans

StepKind: TypeAlias = Literal["connect", "command", "auth", "content"]


class Body:
    """The content of a message, or of a BDAT chunk, as it stood on the wire, without the terminator.

    Attributes:
        octets: its size.
        sha256: of its octets, hex.
        is_kept: whether the recording has the octets, and not only their digest.
        first_n: the number of its first event.
    """

    __slots__ = ("_cached", "_last_n", "_source", "first_n", "is_kept", "octets", "sha256")

    def __init__(
        self,
        *,
        octets: int,
        sha256: str,
        is_kept: bool,
        cached: bytes | None,
        first_n: int,
        last_n: int,
        source: Callable[[], Iterator[AnyEvent]],
    ) -> None:
        self.octets = octets
        self.sha256 = sha256
        self.is_kept = is_kept
        self._cached = cached
        self.first_n = first_n
        self._last_n = last_n
        self._source = source

    def pieces(self) -> Iterator[bytes]:
        """Its octets in order; nothing where they are not kept."""
        if self._cached is not None:
            yield self._cached
            return
        for event in self._source():
            if event.n > self._last_n:
                return
            if isinstance(event, Content) and event.n >= self.first_n and event.octets is UNSET:
                yield octets_of(event)


class ReplyStep(msgspec.Struct, frozen=True, kw_only=True):
    """One reply of the recording, whole.

    Attributes:
        n: the event's number.
        t: seconds since the session began.
        raw: all of its lines with their line ends.
        code: of its last line; None where that has none.
        enhanced: "" where it has none (RFC 2034).
    """

    n: int
    t: float
    raw: bytes
    code: int | None
    enhanced: str = ""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that the client's end said, and what it was answered.

    Attributes:
        number: counts the script's steps from 1; the first is the connection, which the greeting answers.
        kind: connect; command: one line, with BDAT also its chunk; auth: a SASL line after a 334; content:
            a message after DATA, with its terminator.
        n: the event's number in the recording; of the terminator for content.
        t: seconds since the session began.
        verb: upper-cased; `connect`, `.` for content, that of AUTH for auth.
        raw: the command line with its line end and placeholders; empty for connect and content.
        redacted: where the placeholders stand in `raw`, and what they stand for.
        group: commands sent while an earlier reply was outstanding share a number, 0 is none (RFC 2920).
        mechanism: of AUTH, upper-cased.
        identity: whose account, where the exchange told.
        body: of content and BDAT.
        size, is_last: of BDAT (RFC 3030).
        is_tls: whether the leg was encrypted when it was said.
        replies: in order; more than one where LMTP or PRDR gave them; none where none came.
        unasked: replies that answer nothing and came before the next step (a 421 on idling).
        tls: the handshake that followed: after STARTTLS' 220, or before the greeting.
    """

    number: int
    kind: StepKind
    n: int
    t: float
    verb: str
    raw: bytes = b""
    redacted: tuple[Redacted, ...] = ()
    group: int = 0
    mechanism: str = ""
    identity: str = ""
    body: Body | None = None
    size: int = 0
    is_last: bool = False
    is_tls: bool = False
    replies: tuple[ReplyStep, ...] = ()
    unasked: tuple[ReplyStep, ...] = ()
    tls: Tls | None = None

    @property
    def said(self) -> str:
        """What it is, in one line for people; secrets are placeholders, even if the recording kept them."""
        if self.kind == "connect":
            return "connect"
        if self.kind == "content":
            return f"message of {self.body.octets if self.body else 0} octets"
        line = self.raw.rstrip(b"\r\n")
        if self.verb == "AUTH" and not self.redacted:
            line = _without_response(line, is_command=self.kind == "command")
        return line.decode("utf-8", "backslashreplace")


def _without_response(line: bytes, *, is_command: bool) -> bytes:
    """AUTH, or a line of its exchange, of a recording that kept its secrets; only these three are none."""
    words = word_spans(line) if is_command else [(0, 0), (0, 0), (0, len(line))]
    if len(words) < 3 or line[slice(*words[2])].strip() in (b"", b"*", b"="):
        return line
    return line[: words[2][0]] + PLACEHOLDER


class Obstacle(msgspec.Struct, frozen=True, kw_only=True):
    """Why a session cannot be rerun from here on.

    Attributes:
        n: the event's number.
        step: the number of the step it belongs to, or that would come next.
        text: for people, such as `its content was recorded as a digest only`.
    """

    n: int
    step: int
    text: str


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """One leg of a recorded session.

    Attributes:
        session: its id.
        source: where it comes from, for people: the file, or the store.
        line: of the file, where the session is opened; 0 for a store.
        leg: which leg it is.
        started: ISO 8601, UTC.
        upstream, listen: the recorded route's URLs, for people only: never dialled.
        is_lmtp: LHLO was said.
        is_implicit_tls: TLS stood before the greeting.
        steps: never empty.
        obstacles: what cannot be rerun; empty mostly.
        reason: how the session ended: quit, client-eof, server-eof, server-reset… (session/events.py End);
            "" where the recording was cut short.
        outcome: the session's.
        overrides: what the header asks for.
    """

    session: str
    source: str
    line: int = 0
    leg: Leg
    started: str
    upstream: str
    listen: str
    is_lmtp: bool
    is_implicit_tls: bool
    steps: tuple[Step, ...]
    obstacles: tuple[Obstacle, ...] = ()
    reason: str = ""
    outcome: Outcome = "open"
    overrides: Overrides = Overrides()

    @property
    def recipients(self) -> tuple[str, ...]:
        """The addresses of all RCPT commands, in order, without angle brackets and doubles."""
        found = [address_of(step.raw) for step in self.steps if step.verb == "RCPT"]
        return tuple(dict.fromkeys(found))


def address_of(line: bytes) -> str:
    """The path of a MAIL or RCPT command without its angle brackets; what stands there where it has none."""
    return path_and_rest(line)[0]


def path_and_rest(line: bytes) -> tuple[str, str]:
    """The path of a MAIL or RCPT command, as above, and what follows it: its parameters and line end."""
    _, colon, rest = line.partition(b":")
    text = (rest if colon else line).strip().decode("utf-8", "backslashreplace")
    if text.startswith("<"):
        quoted = False
        for at, char in enumerate(text):
            if char == '"' and text[at - 1] != "\\":
                quoted = not quoted
            elif char == ">" and not quoted:
                return text[1:at], text[at + 1 :]
    path, _, after = text.partition(" ")
    return path, after
