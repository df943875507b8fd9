"""Laws over generated sessions: a recording matches itself, and rerun against itself it is itself."""

from collections.abc import Callable, Iterator

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from smtpproxy.endpoints import Endpoint
from smtpproxy.recording.redaction import Redactor
from smtpproxy.replay.credentials import CredentialBook, Credentials
from smtpproxy.replay.mock import Mock
from smtpproxy.replay.plan import Plan
from smtpproxy.replay.script import Script
from smtpproxy.replay.script_reader import read_script
from smtpproxy.session.events import AnyEvent, Auth, Command, Content, Finding, Leg, Reply, octets_of
from tests.conversation import Conversation
from tests.replay.app import App, client_script
from tests.replay.generated import conversations
from tests.replay.meeting import Meeting
from tests.session.strategies import CLIENT_LINES

PLAN = Plan(
    target=Endpoint(scheme="smtp", host="127.0.0.1", port=25),
    is_loopback=True,
    credentials=CredentialBook(Credentials(username="alice", password="sesame")),
)


@given(st.lists(conversations(), min_size=1, max_size=3))
def test_every_recording_matches_itself(talks: list[Conversation]) -> None:
    scripts = [client_script(talk) for talk in talks]
    mock = Mock(scripts)
    for script in scripts:
        app = App(mock)
        app.rerun(script)
        app.finish()
        said = b"".join(reply.raw for step in script.steps for reply in (*step.replies, *step.unasked))
        assert bytes(app.client.heard) == said
    assert [result.differences for result in mock.results()] == [()] * len(talks)
    assert mock.is_exhausted


@given(conversations(is_lmtp=True))
def test_every_recording_of_lmtp_matches_itself(talk: Conversation) -> None:
    mock = Mock([client_script(talk)])
    App(mock, is_lmtp=True).rerun(client_script(talk))
    assert [result.differences for result in mock.results()] == [()]


def leg_of(events: list[AnyEvent], leg: Leg) -> Script:
    source: Callable[[], Iterator[AnyEvent]] = lambda: iter(events)  # noqa: E731
    return read_script(source, leg=leg, name="mail.smtp.jsonl", line=1)


def rerun(events: list[AnyEvent]) -> list[AnyEvent]:
    """Replay a recording against a mock of itself, and record that, as a proxy would."""
    mock = Mock([leg_of(events, "client")])
    app = App(mock)
    meeting = Meeting(leg_of(events, "server"), PLAN, app)
    assert (meeting.result.differences, meeting.result.error) == ((), "")
    assert [result.differences for result in mock.results()] == [()]
    app.finish()
    redactor = Redactor()
    return [redactor.redact(event) for event in app.events]


def normal(events: list[AnyEvent]) -> list[object]:
    """What a recording says, without what is another one each time: times, ids, addresses, findings.

    Pieces of one message are one, since where they are cut is up to whoever sends them.
    """
    told: list[object] = []
    for event in events:
        match event:
            case Content(message=message, end=end):
                last = told[-1] if told else None
                octets = octets_of(event)
                if isinstance(last, list) and last[:2] == ["content", message] and not last[3]:
                    last[2] += octets
                    last[3] = end
                else:
                    told.append(["content", message, octets, end])
            case Command() | Auth() | Reply():
                kind = type(event).__name__
                told.append((kind, event.from_, event.to, octets_of(event), event.redacted))
            case Finding():
                pass
    return told


@given(conversations())
def test_a_recording_rerun_against_its_own_mock_is_the_same_recording(talk: Conversation) -> None:
    once = rerun(talk.events)
    assert [event for event in normal(once) if isinstance(event, list)] == [
        event for event in normal(talk.events) if isinstance(event, list)
    ]
    twice = rerun(once)
    assert normal(twice) == normal(once)


@given(conversations(), st.lists(st.sampled_from(CLIENT_LINES), max_size=20), st.booleans())
def test_whatever_an_app_says_is_answered_and_told(
    talk: Conversation, lines: list[bytes], is_tls: bool
) -> None:
    mock = Mock([client_script(talk)])
    app = App(mock, is_tls=is_tls)
    for line in lines:
        if not (app.client.ended or app.relay.is_over):
            app.client.says(line)
    app.leave()
    app.finish()
    told = msgspec.json.encode(list(mock.results()))
    assert b"AGFsaWNlAHMzY3JldA==" not in told
