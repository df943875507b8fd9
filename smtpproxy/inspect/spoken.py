"""Commands, replies and findings as strings that know more than their text, for assertions; no I/O."""

from collections.abc import Sequence

from msgspec import UNSET

from smtpproxy.inspect.summary import text_of
from smtpproxy.session.events import Command, Finding, Party, Reply, octets_of


class CommandLine(str):
    """A command as the client said it, without its line end; secrets are placeholders.

    Attributes:
        raw: its octets with the line end.
        verb: upper-cased; "" for a blank line.
        argument: what follows the verb.
        mechanism, identity: of AUTH; "" elsewhere.
        group: commands that were pipelined share a number (RFC 2920).
        n, t: the event's number, and seconds since the session began.
        from_, to: client→server where it was relayed, client→proxy where the proxy answered it itself.
        replies: what the client heard on it, with AUTH on the lines that followed it too; the reply to a
            message's end is the message's.
    """

    __slots__ = (
        "argument",
        "from_",
        "group",
        "identity",
        "mechanism",
        "n",
        "raw",
        "replies",
        "t",
        "to",
        "verb",
    )

    raw: bytes
    verb: str
    argument: str
    mechanism: str
    identity: str
    group: int
    n: int
    t: float
    from_: Party
    to: Party
    replies: tuple["ReplyLines", ...]

    @classmethod
    def of(cls, pieces: Sequence[Command], replies: Sequence["ReplyLines"]) -> "CommandLine":
        """The command that these events are; several where the line was too long for one."""
        first = pieces[0]
        line = cls("".join(map(text_of, pieces)).rstrip("\r\n"))
        line.raw = b"".join(map(octets_of, pieces))
        line.verb = first.verb
        line.argument = line.strip()[len(first.verb) :].strip()
        line.mechanism = first.mechanism if first.mechanism is not UNSET else ""
        line.identity = first.identity if first.identity is not UNSET else ""
        line.group, line.n, line.t = first.group, first.n, first.t
        line.from_, line.to = first.from_, first.to
        line.replies = tuple(replies)
        return line

    @property
    def reply(self) -> "ReplyLines | None":
        """The last of its replies; None where none came."""
        return self.replies[-1] if self.replies else None


class ReplyLines(str):
    """A reply as the client heard it: its lines joined by LF, without the last line end.

    Attributes:
        raw: its octets, line ends included.
        code: of its last line; 0 where that has none.
        enhanced: the enhanced status code, such as 5.1.1 (RFC 2034); "" where there is none.
        answers: the number of the event it answers; None for the greeting and what nobody asked for.
        n, t: the event's number, and seconds since the session began.
        from_, to: server→client, or proxy→client where the proxy said it.
    """

    __slots__ = ("answers", "code", "enhanced", "from_", "n", "raw", "t", "to")

    raw: bytes
    code: int
    enhanced: str
    answers: int | None
    n: int
    t: float
    from_: Party
    to: Party

    @classmethod
    def of(cls, pieces: Sequence[Reply]) -> "ReplyLines":
        """The reply that these events are; several where it was too long for one."""
        last = pieces[-1]
        whole = "".join(map(text_of, pieces)).rstrip("\r\n").replace("\r\n", "\n")
        reply = cls(whole)
        reply.raw = b"".join(map(octets_of, pieces))
        reply.code = last.code if last.code is not UNSET else 0
        reply.enhanced = last.enhanced if last.enhanced is not UNSET else ""
        reply.answers = last.answers if last.answers is not UNSET else None
        reply.n, reply.t = last.n, last.t
        reply.from_, reply.to = last.from_, last.to
        return reply

    @property
    def lines(self) -> list[str]:
        """Its lines without code and line end."""
        return [line[4:] if line[:3].isdigit() else line for line in self.split("\n")]

    @property
    def text(self) -> str:
        """What it says, without codes; lines are joined by LF."""
        return "\n".join(self.lines)


class FindingCode(str):
    """A finding's code, such as `bare-lf`.

    Attributes:
        text: one sentence for people.
        about: the number of the event it concerns; None where it concerns none.
        n, t: the event's number, and seconds since the session began.
    """

    __slots__ = ("about", "n", "t", "text")

    text: str
    about: int | None
    n: int
    t: float

    @classmethod
    def of(cls, event: Finding) -> "FindingCode":
        """The finding of this event."""
        finding = cls(event.code)
        finding.text = event.text
        finding.about = event.about if event.about is not UNSET else None
        finding.n, finding.t = event.n, event.t
        return finding
