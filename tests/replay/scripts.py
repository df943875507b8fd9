"""Recorded sessions written as transcripts, read as scripts."""

from collections.abc import Callable, Iterator

from smtpproxy.recording.overrides import Overrides
from smtpproxy.replay.script import Script
from smtpproxy.replay.script_reader import read_script
from smtpproxy.session.events import (
    AnyEvent,
    Command,
    Content,
    Reply,
    SessionStarted,
    set_octets,
)
from smtpproxy.wire.replies import enhanced_code_of, parse_reply_line

HEADER = SessionStarted(
    n=0,
    session="01KTEST",
    t=0.0,
    format=1,
    started="2026-11-23T17:00:00Z",
    route="default",
    client="127.0.0.1:50312",
    upstream="smtp://mx.example.com:25",
    proxy="smtpproxy 0.1.0",
)


def script_of(transcript: str, *, overrides: Overrides | None = None) -> Script:
    """A script of the server's leg.

    `C: line` is a command, `M: text` a message after DATA, `S: line` a line of a reply; the n-th line of the
    transcript is event n, but for the lines of one reply, which are one event of the first one's number.
    """
    events = list(_events(transcript))
    source: Callable[[], Iterator[AnyEvent]] = lambda: iter(events)  # noqa: E731
    return read_script(source, leg="server", name="mail.smtp.jsonl", line=1, overrides=overrides)


def _events(transcript: str) -> Iterator[AnyEvent]:
    yield HEADER
    asked = 0
    reply = b""
    first = 0
    for n, line in enumerate(transcript.strip().splitlines(), 1):
        who, _, text = line.strip().partition(": ")
        octets = text.encode() + b"\r\n"
        if who == "S":
            first = first if reply else n
            reply += octets
            code, is_last = parse_reply_line(octets)
            if is_last:
                event = Reply(n=first, session="01KTEST", t=n / 100, from_="server", to="client")
                set_octets(event, reply)
                if code is not None:
                    event.code = code
                if enhanced := enhanced_code_of(octets):
                    event.enhanced = enhanced
                if asked:
                    event.answers = asked
                yield event
                reply = b""
            continue
        asked = n
        if who == "M":
            content = Content(n=n, session="01KTEST", t=n / 100, from_="client", to="server", message=1)
            set_octets(content, octets)
            yield content
            end = Content(n=n, session="01KTEST", t=n / 100, from_="client", to="server", message=1, end=True)
            set_octets(end, b".\r\n")
            yield end
            continue
        command = Command(
            n=n,
            session="01KTEST",
            t=n / 100,
            from_="client",
            to="server",
            verb=text.split(maxsplit=1)[0].upper(),
        )
        set_octets(command, octets)
        yield command
