"""What sessions say goes into the log once, without secrets, and never stops the mail."""

from smtpproxy.recording.codec import decode
from smtpproxy.service.recording import LogRecording
from smtpproxy.session.events import AnyEvent, Command, End, Gap, Redacted, Reply
from smtpproxy.store.memory import NullLog

SECRET = "AGFsaWNlAHNlY3JldHB3"


def auth(n: int) -> Command:
    raw = f"AUTH PLAIN {SECRET}\r\n"
    span = Redacted(at=11, kind="password", length=len(SECRET))
    return Command(
        n=n, session="s1", t=0.5, from_="client", to="server", raw=raw, verb="AUTH", redacted=[span]
    )


def reply(n: int, text: str) -> Reply:
    return Reply(n=n, session="s1", t=0.6, from_="server", to="client", raw=f"{text}\r\n", code=500)


class KeepingLog(NullLog):
    """Remembers what it was given, as if somebody watched."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[bytes] = []

    def wants_events(self) -> bool:
        return True

    def append(self, line: bytes, event: AnyEvent) -> None:
        self.lines.append(line)


def recording(log: NullLog, reports: list[str]) -> LogRecording:
    return LogRecording(log, keep_secrets=False, bodies="full", report=reports.append)


def test_a_secret_is_gone_from_the_line_and_from_its_echo() -> None:
    log, reports = KeepingLog(), list[str]()
    recorder = recording(log, reports).open_session()
    recorder.record([auth(0)])
    recorder.record([reply(1, f"500 what is {SECRET}?"), reply(2, "500 secretpw")])
    assert [line.count(b"{{secret}}") for line in log.lines] == [1, 1, 1]
    assert SECRET.encode() not in b"".join(log.lines)
    assert b"secretpw" not in b"".join(log.lines)
    assert reports == []


def test_a_failure_in_here_becomes_a_gap_and_nothing_unredacted_follows() -> None:
    broken = auth(1)
    broken.raw = SECRET.encode()  # type: ignore[assignment]  # what no core makes: text is str
    log, reports = KeepingLog(), list[str]()
    recorder = recording(log, reports).open_session()
    recorder.record([reply(0, "220 hi"), broken, reply(2, "235 ok")])
    recorder.record([auth(3), End(n=4, session="s1", t=1.0, outcome="empty")])
    events = [decode(line) for line in log.lines]
    assert [type(event) for event in events] == [Reply, Gap, End]
    assert isinstance(events[1], Gap)
    assert (events[1].n, events[1].events) == (1, 2)
    assert reports == ["session s1 is not recorded any further: AttributeError"]
    assert SECRET.encode() not in b"".join(log.lines)


def test_where_nobody_wants_events_they_are_not_even_looked_at() -> None:
    broken = auth(0)
    broken.raw = SECRET.encode()  # type: ignore[assignment]
    reports = list[str]()
    recording(NullLog(), reports).open_session().record([broken])
    assert reports == []
