"""Many sessions against one server: their results in order, whatever becomes of the recordings meanwhile."""

from collections.abc import Iterator

import pytest
import trio

from smtpproxy.endpoints import parse_endpoint
from smtpproxy.errors import RecordingError
from smtpproxy.replay.envelope import Envelope
from smtpproxy.replay.plan import Plan
from smtpproxy.replay.results import SessionResult
from smtpproxy.replay.script import Script
from smtpproxy.service.replaying import Run, replay_scripts
from smtpproxy.tls.contexts import make_server_leg_context
from tests.conversation import Conversation, delivery
from tests.net.ends import PATIENCE_S, End, server
from tests.replay.playing import script_of

TO = parse_endpoint("smtp://127.0.0.1", is_listen=False)
CONTEXT = make_server_leg_context(is_insecure=True)


def session(number: int) -> Script:
    talk = Conversation(f"01K{number}").server("220 x").client(f"NOOP {number}").server("250 x")
    return script_of(talk.end("empty", reason="client-eof"))


async def test_results_come_in_order_though_sessions_end_in_any() -> None:
    last_is_in = trio.Event()

    async def script(app: End) -> None:
        number = (await app.ask("220 x")).split()[1]
        if number == b"2":
            last_is_in.set()
        await last_is_in.wait()
        await app.say(b"250 x\r\n")

    results: list[SessionResult] = []
    async with server(script) as served:
        run = Run(context=CONTEXT, connect_to=served.address, concurrency=3)
        with trio.fail_after(PATIENCE_S):
            summary, is_cut = await replay_scripts(
                map(session, range(3)),
                Plan(target=TO, is_loopback=True),
                run,
                on_result=results.append,
                obeys_signals=False,
            )
    assert [(result.session, result.status) for result in results] == [
        ("01K0", "same"),
        ("01K1", "same"),
        ("01K2", "same"),
    ]
    assert (summary.same, summary.exit_code, is_cut) == (3, 0, False)


async def test_a_recording_that_changes_meanwhile_is_an_error() -> None:
    async def script(app: End) -> None:
        await app.ask("220 x")
        await app.say(b"250 x\r\n")

    def scripts() -> Iterator[Script]:
        yield session(1)
        raise RecordingError("mail.smtp.jsonl", 0, "has become shorter while it was read")

    results: list[SessionResult] = []
    async with server(script) as served:
        run = Run(context=CONTEXT, connect_to=served.address)
        with pytest.raises(RecordingError, match="has become shorter"):
            await replay_scripts(
                scripts(),
                Plan(target=TO, is_loopback=True),
                run,
                on_result=results.append,
                obeys_signals=False,
            )
    assert [result.status for result in results] == ["same"]


async def test_what_was_never_cleared_is_not_played() -> None:
    async def script(app: End) -> None:
        raise AssertionError("it was connected")

    results: list[SessionResult] = []
    async with server(script) as served:
        plan = Plan(target=TO, is_loopback=False, envelope=Envelope(allowed=("*@example.net",)))
        run = Run(context=CONTEXT, connect_to=served.address, repeat=2)
        await replay_scripts(
            iter([script_of(delivery())]), plan, run, on_result=results.append, obeys_signals=False
        )
    assert [(result.status, result.attempt) for result in results] == [("error", 1), ("error", 2)]
    assert "would get real mail" in results[0].error
