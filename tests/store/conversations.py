"""What sessions look like when they come to the store: lines, and the events they were made from."""

import msgspec

from smtpproxy.session.events import (
    FORMAT,
    AnyEvent,
    Command,
    Content,
    End,
    Outcome,
    Reply,
    SessionStarted,
)
from smtpproxy.store.contract import Item, Log, Recorded, Removed, Row

_encoder = msgspec.json.Encoder()


def encode(event: AnyEvent) -> bytes:
    return _encoder.encode(event)


def recorded(*events: AnyEvent) -> list[Recorded]:
    return [(encode(event), event) for event in events]


def start(session: str, *, day: int = 1) -> SessionStarted:
    return SessionStarted(
        n=0,
        session=session,
        t=0.0,
        format=FORMAT,
        started=f"2026-11-{day:02d}T17:00:00.123456Z",
        route="default",
        client="127.0.0.1:50312",
        upstream="smtp://127.0.0.1:25",
        proxy="smtpproxy test",
    )


def noop(session: str, n: int) -> Command:
    return Command(n=n, session=session, t=n / 100, from_="client", to="server", raw="NOOP\r\n", verb="NOOP")


def content(session: str, n: int, raw: str, *, message: int = 1, end: bool = False) -> Content:
    return Content(
        n=n, session=session, t=n / 100, from_="client", to="server", raw=raw, message=message, end=end
    )


def end(session: str, n: int, outcome: Outcome = "empty") -> End:
    return End(n=n, session=session, t=n / 100, outcome=outcome, messages=0, reason="quit")


def short_session(session: str, *, commands: int = 1, day: int = 1) -> list[AnyEvent]:
    """Connect, NOOP a few times, gone."""
    return [
        start(session, day=day),
        *(noop(session, n) for n in range(1, commands + 1)),
        end(session, commands + 1),
    ]


def probe(session: str, *, day: int = 1) -> list[AnyEvent]:
    """Connect and close."""
    return [start(session, day=day), end(session, 1)]


def mail_session(session: str, *, body: str = "Subject: hi\r\n\r\nHello\r\n", day: int = 1) -> list[AnyEvent]:
    """One message, delivered."""
    spoken: list[tuple[str, str, str]] = [
        ("MAIL", "MAIL FROM:<alice@example.org>\r\n", "250 ok\r\n"),
        ("RCPT", "RCPT TO:<bob@example.net>\r\n", "250 ok\r\n"),
        ("DATA", "DATA\r\n", "354 go\r\n"),
    ]
    events: list[AnyEvent] = [start(session, day=day)]
    for verb, raw, reply in spoken:
        n = len(events)
        events.append(
            Command(n=n, session=session, t=n / 100, from_="client", to="server", raw=raw, verb=verb)
        )
        events.append(
            Reply(
                n=n + 1,
                session=session,
                t=n / 100,
                from_="server",
                to="client",
                raw=reply,
                code=int(reply[:3]),
                answers=n,
            )
        )
    n = len(events)
    events.append(content(session, n, body))
    events.append(content(session, n + 1, ".\r\n", end=True))
    events.append(
        Reply(
            n=n + 2,
            session=session,
            t=n / 100,
            from_="server",
            to="client",
            raw="250 taken\r\n",
            code=250,
            answers=n + 1,
        )
    )
    events.append(end(session, n + 3, "delivered"))
    return events


def append_all(log: Log, events: list[AnyEvent]) -> list[bytes]:
    """Record events; their lines."""
    lines = []
    for line, event in recorded(*events):
        log.append(line, event)
        lines.append(line)
    return lines


def positions(items: list[Item]) -> list[int | tuple[int, int]]:
    """What a subscriber got: each row's position, and each hole as a pair."""
    seen: list[int | tuple[int, int]] = []
    for item in items:
        if isinstance(item, Removed):
            seen.append((item.from_seq, item.to_seq))
        else:
            seen.extend(row[0] for row in item)
    return seen


def kinds(rows: list[Row]) -> list[str]:
    return [kind for _, _, kind, _ in rows]
