"""A recorded session as values to assert on: what the client said, what it heard, how it ended; no I/O.

It takes the client's point of view: its commands, and the replies that reached it. What only the proxy and
the server said to each other is in `events`.
"""

from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import TypeVar

from smtpproxy.inspect.mail import Message
from smtpproxy.inspect.messages import list_messages, message_octets
from smtpproxy.inspect.spoken import CommandLine, FindingCode, ReplyLines
from smtpproxy.inspect.summary import SessionSummary, Summarizer
from smtpproxy.inspect.transcript import Transcript
from smtpproxy.recording.codec import UnknownEvent, decode
from smtpproxy.session.events import (
    AnyEvent,
    Auth,
    Command,
    Content,
    End,
    Finding,
    Outcome,
    Reply,
    SessionStarted,
    Tls,
)

Piece = TypeVar("Piece", Command, Reply)


class TlsLegs:
    """TLS on each leg; true where there is any.

    Attributes:
        client, server: the handshake that stands, with version, cipher, sni, verified, certificates…; None
            where that leg is plain.
        failed: handshakes that failed, with error, alert and advice.
    """

    def __init__(self, handshakes: Iterable[Tls]) -> None:
        self.client: Tls | None = None
        self.server: Tls | None = None
        self.failed: list[Tls] = []
        for handshake in handshakes:
            if handshake.error:
                self.failed.append(handshake)
            elif handshake.leg == "client":
                self.client = handshake
            else:
                self.server = handshake

    def __bool__(self) -> bool:
        return self.client is not None or self.server is not None

    def __repr__(self) -> str:
        legs = [(name, leg) for name, leg in (("client", self.client), ("server", self.server)) if leg]
        told = [f"{name}: {leg.version} {leg.cipher}" for name, leg in legs]
        told += [f"{leg.leg}: failed, {leg.error}" for leg in self.failed]
        return f"<TLS {', '.join(told) or 'on no leg'}>"


class Conversation:
    """One session as it was recorded; a picture of that moment, which grows no further.

    Attributes:
        lines: the recording's, one of JSON for each event, without line ends.
        events: the same as values.
        commands, replies: what the client said and heard, in order.
        tls: per leg.
        findings: their codes, each a str with more to it.
        transcript: all of it as people read it, contents included.
    """

    def __init__(self, lines: Iterable[bytes]) -> None:
        """Read a session's lines, in order.

        Raises:
            LineError: one of them is no event.
        """
        self.lines = list(lines)
        decoded = map(decode, self.lines)
        self.events: list[AnyEvent] = [event for event in decoded if not isinstance(event, UnknownEvent)]

    @cached_property
    def summary(self) -> SessionSummary:
        """The session in one row."""
        summarizer = Summarizer()
        for event in self.events:
            summarizer.add(event)
        return summarizer.summary

    @property
    def id(self) -> str:
        """The session's id."""
        return self.summary.session

    @property
    def client(self) -> str:
        """The client's address."""
        return self.summary.client

    @property
    def upstream(self) -> str:
        """The URL of the server it was led to."""
        return self.summary.upstream

    @property
    def outcome(self) -> Outcome:
        """`open` until the session has ended; then delivered, rejected, empty… (docs: session outcomes)."""
        return self.summary.outcome

    @property
    def reason(self) -> str:
        """Who ended it and how: quit, client-eof, server-reset…; "" while it is open."""
        last = self.events[-1]
        return last.reason if isinstance(last, End) else ""

    @property
    def is_open(self) -> bool:
        """Whether it had not ended yet."""
        return not isinstance(self.events[-1], End)

    @cached_property
    def replies(self) -> list[ReplyLines]:
        """What the client heard, the greeting first."""
        heard = (event for event in self.events if isinstance(event, Reply) and event.to == "client")
        return [ReplyLines.of(pieces) for pieces in _whole(heard)]

    @cached_property
    def commands(self) -> list[CommandLine]:
        """What the client said; neither SASL lines nor content."""
        said = [event for event in self.events if isinstance(event, Command) and event.from_ == "client"]
        answers: dict[int | None, list[ReplyLines]] = {}
        asked = self._commands_of_sasl_lines()
        for reply in self.replies:
            answers.setdefault(asked.get(reply.answers, reply.answers), []).append(reply)
        return [CommandLine.of(pieces, answers.get(pieces[-1].n, ())) for pieces in _whole(said)]

    @cached_property
    def tls(self) -> TlsLegs:
        """TLS on each leg."""
        return TlsLegs(event for event in self.events if isinstance(event, Tls))

    @cached_property
    def findings(self) -> list[FindingCode]:
        """What is worth a person's eye."""
        return [FindingCode.of(event) for event in self.events if isinstance(event, Finding)]

    @cached_property
    def messages(self) -> list[Message]:
        """The messages that the client finished, accepted or not."""
        ends = {event.message: event.n for event in self.events if isinstance(event, Content) and event.end}
        return [
            Message(
                mail_from=message.row.mail_from,
                rcpt_to=message.row.rcpt_to,
                content=b"".join(message_octets(self.events, message.row.message)),
                replies=self._replies_to_message(ends[message.row.message]),
                is_kept=message.is_kept,
            )
            for message in list_messages(self.events)
            if message.is_complete
        ]

    @cached_property
    def transcript(self) -> str:
        """All of it as people read it, with swaks's marks; contents included."""
        render = Transcript(content_lines=None).render
        return "\n".join(line.text for event in self.events for line in render(event))

    def _commands_of_sasl_lines(self) -> dict[int | None, int]:
        """Which AUTH each line of a SASL exchange belongs to, by their numbers (RFC 4954 4)."""
        found: dict[int | None, int] = {}
        command = 0
        for event in self.events:
            if isinstance(event, Command):
                command = event.n
            elif isinstance(event, Auth):
                found[event.n] = command
        return found

    def _replies_to_message(self, end: int) -> list[ReplyLines]:
        """With BDAT the reply answers the command of the chunk, which stands before the content."""
        commands = (event.n for event in self.events if isinstance(event, Command) and event.n < end)
        command = max(commands, default=-1)
        return [reply for reply in self.replies if reply.answers in (end, command) and reply.n > end]

    def __repr__(self) -> str:
        start = self.events[0]
        where = f", {start.client} to {start.upstream}" if isinstance(start, SessionStarted) else ""
        return f"<session {self.id}{where}: {self.outcome}>\n{self.transcript}\n"


def _whole(pieces: Iterable[Piece]) -> Iterator[list[Piece]]:
    """Lists of the pieces that belong together; mostly of one."""
    gathered: list[Piece] = []
    for piece in pieces:
        gathered.append(piece)
        if not piece.partial:
            yield gathered
            gathered = []
    if gathered:
        yield gathered
