"""How many sessions there may be, and what a flood, a refusal or a fault in one does to the others."""

import contextlib
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
import trio.testing

from smtpproxy.errors import ServiceError
from smtpproxy.net.listener import REFUSALS, serve_routes
from smtpproxy.net.route import Limits
from smtpproxy.session.decisions import Answer, CommandTurn, Decision, Delay, Forward, Policy, Turn
from tests.net.ends import PATIENCE_S, End, connect, send_mail, serve_mail, server
from tests.net.stage import Certificates, MemoryRecording, make_route, proxy


def policy_that(on_noop: Callable[[], Decision]) -> Callable[[str], Policy]:
    """A provider that greets and says 250, and does something of its own on NOOP."""

    def answer(turn: Turn) -> Decision:
        if isinstance(turn, CommandTurn):
            return on_noop() if turn.verb == "NOOP" else Answer((b"250 ok\r\n",))
        return Answer((b"220 here\r\n",))

    return lambda client: answer


POLITE = policy_that(lambda: Answer((b"250 noop\r\n",)))


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (Limits(max_sessions=3), b"too many sessions (limit 3); try again later"),
        (Limits(max_sessions_per_address=3), b"too many sessions from your address (limit 3)"),
    ],
)
async def test_one_session_too_many_is_told_so(limits: Limits, reason: bytes) -> None:
    async with (
        proxy(make_route("sandbox:", make_policy=POLITE, limits=limits)) as stage,
        contextlib.AsyncExitStack() as apps,
    ):
        # All in the backlog before the first is accepted.
        ends = [await apps.enter_async_context(connect(stage.address)) for _ in range(5)]
        greetings = [await end.reply() for end in ends]
        assert greetings == [b"220 here\r\n"] * 3 + [b"421 4.3.2 smtpproxy: " + reason + b"\r\n"] * 2
        for end in ends[3:]:
            assert await end.to_end() == b""
            end.close()
        # The others live, and a place that becomes free is taken.
        assert await ends[0].ask("NOOP") == b"250 noop\r\n"
        ends[0].close()
        await stage.recording.until(lambda: sum(log.is_over for log in stage.recording.sessions) == 3)
        async with connect(stage.address) as late:
            assert await late.reply() == b"220 here\r\n"
        refused = [log for log in stage.recording.sessions if "limit" in log.findings]
        assert [log.end.outcome for log in refused] == ["failed"] * 2


async def test_a_refused_session_is_told_so_under_tls(
    certificates: Certificates, app_context: ssl.SSLContext
) -> None:
    route = make_route(
        "smtp://127.0.0.1:9", certificates, listen="smtps://127.0.0.1:0", limits=Limits(max_sessions=0)
    )
    async with proxy(route) as stage, connect(stage.address) as app:
        await app.start_tls(app_context, server_name="localhost")
        assert (await app.to_end()).startswith(b"421 4.3.2 smtpproxy: too many sessions")


async def test_recording_that_failed_refuses_new_sessions_and_keeps_old_ones() -> None:
    async with proxy(make_route("sandbox:", make_policy=POLITE)) as stage, connect(stage.address) as old:
        assert await old.reply() == b"220 here\r\n"
        stage.recording.refused = "recording failed: the disk is full"
        async with connect(stage.address) as new:
            assert await new.reply() == b"421 4.3.2 smtpproxy: recording failed: the disk is full\r\n"
        await stage.recording.found("recording-failed")
        assert await old.ask("NOOP") == b"250 noop\r\n"


async def test_a_flood_beyond_the_refusals_is_just_closed() -> None:
    count = REFUSALS + 40
    route = make_route("sandbox:", make_policy=POLITE, limits=Limits(max_sessions=1))
    async with proxy(route) as stage, connect(stage.address) as first, contextlib.AsyncExitStack() as apps:
        assert await first.reply() == b"220 here\r\n"
        flood = [await apps.enter_async_context(connect(stage.address)) for _ in range(count)]
        heard = [await end.to_end() for end in flood]
        assert {line[:9] for line in heard} == {b"421 4.3.2", b""}
        assert len([line for line in heard if line]) == REFUSALS
        assert len(stage.recording.sessions) == 1 + REFUSALS
        assert await first.ask("NOOP") == b"250 noop\r\n"


async def test_a_burst_of_connections_that_leave_at_once() -> None:
    async with proxy(make_route("sandbox:", make_policy=POLITE)) as stage:
        for _ in range(300):
            async with connect(stage.address) as end:
                end.reset()
        async with connect(stage.address) as app:
            assert await app.reply() == b"220 here\r\n"
            assert await app.ask("NOOP") == b"250 noop\r\n"
        await stage.recording.until(lambda: all(log.is_over for log in stage.recording.sessions))


# -- faults


def fail() -> Decision:
    raise ZeroDivisionError("the password is tanstaaf1")


@pytest.mark.parametrize(
    "fault",
    [fail, Forward, lambda: Delay(0.01, Forward())],
    ids=["policy raises", "core raises", "core raises when a timer wakes it"],
)
async def test_an_exception_ends_its_session_alone(fault: Callable[[], Decision]) -> None:
    async with (
        proxy(make_route("sandbox:", make_policy=policy_that(fault))) as stage,
        connect(stage.address) as other,
    ):
        await other.reply()
        async with connect(stage.address) as app:
            await app.reply()
            await app.say(b"NOOP\r\n")
            assert await app.to_end() == b""
        await stage.recording.found("internal-error")
        failed = stage.recording.sessions[1]
        assert failed.end.outcome == "failed"
        assert "tanstaaf1" not in failed.finding("internal-error"), "an exception's text may hold anything"
        assert await other.ask("EHLO app.test") == b"250 ok\r\n"
        async with connect(stage.address) as app:
            assert await app.reply() == b"220 here\r\n"


async def test_a_policy_that_cannot_be_made_ends_its_session_alone() -> None:
    def make_policy(client: str) -> Policy:
        raise ZeroDivisionError

    async with proxy(make_route("sandbox:", make_policy=make_policy)) as stage:
        for _ in range(2):
            async with connect(stage.address) as app:
                assert await app.to_end() == b""
        session = await stage.recording.over(2)
    assert session.findings == ["internal-error"]


class Unusable(MemoryRecording):
    """A recording that breaks its promise never to raise."""

    def open_session(self) -> "Unusable":  # type: ignore[override]
        return self

    def record(self, events: object) -> None:
        raise ZeroDivisionError


class Unopenable(MemoryRecording):
    def open_session(self) -> "Unopenable":  # type: ignore[override]
        raise ZeroDivisionError


@pytest.mark.parametrize("recording", [Unusable, Unopenable])
async def test_a_recorder_that_raises_takes_no_other_session_with_it(
    recording: type[MemoryRecording],
) -> None:
    async with proxy(make_route("sandbox:", make_policy=POLITE), recording=recording()) as stage:
        for _ in range(2):
            async with connect(stage.address) as app:
                await app.to_end()


# -- files and addresses


async def test_an_address_in_use_is_told_in_words() -> None:
    async with server(serve_mail) as mx:
        route = make_route("sandbox:", make_policy=POLITE, listen=f"smtp://127.0.0.1:{mx.port}")
        with pytest.raises(
            ServiceError, match=rf"^cannot listen on smtp://127.0.0.1:{mx.port}: the address is in use"
        ):
            await serve_routes([route], MemoryRecording(), shutdown=trio.Event())


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("no-such-host.invalid", "the host name is not known"),
        ("192.0.2.1", "this machine has no such address"),
    ],
)
async def test_an_address_that_is_not_ours_is_told_in_words(host: str, reason: str) -> None:
    route = make_route("sandbox:", make_policy=POLITE, listen=f"smtp://{host}:0")
    with pytest.raises(ServiceError, match=f"^cannot listen on smtp://{host}:0: {reason}$"):
        await serve_routes([route], MemoryRecording(), shutdown=trio.Event())


async def test_a_unix_socket_that_nobody_listens_on_is_replaced_and_another_file_is_not(
    tmp_path: Path,
) -> None:
    path = tmp_path / "listen"
    async with server(serve_mail, str(path)):
        pass
    assert path.is_socket(), "a stale one"
    route = make_route("sandbox:", make_policy=POLITE, listen=f"unix:{path}")
    async with proxy(route) as stage, connect(stage.address) as app:
        assert await app.reply() == b"220 here\r\n"
        assert path.stat().st_mode & 0o777 == 0o600
        with pytest.raises(ServiceError, match="in use"):
            await serve_routes([route], MemoryRecording(), shutdown=trio.Event())
        assert await app.ask("NOOP") == b"250 noop\r\n"
    assert not path.exists()
    path.write_text("precious")
    with pytest.raises(ServiceError, match="in use"):
        await serve_routes([route], MemoryRecording(), shutdown=trio.Event())
    assert path.read_text() == "precious"


OUT_OF_FILES = """
import resource, socket, sys
import trio
import trio.testing
from smtpproxy.session.decisions import Answer
from tests.net.ends import connect
from tests.net.stage import make_route, proxy

async def main() -> None:
    route = make_route("sandbox:", make_policy=lambda client: lambda turn: Answer((b"220 here\\r\\n",)))
    async with proxy(route) as stage:
        async with connect(stage.address) as first:
            assert await first.reply() == b"220 here\\r\\n"
            spare = []
            # So many that connecting takes the last descriptor: none is left to accept with.
            resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
            try:
                while True:
                    spare.append(socket.socket())
            except OSError:
                pass
            waiting = spare.pop()
            waiting.setblocking(False)
            try:
                waiting.connect(stage.address)
            except BlockingIOError:
                pass
            await trio.lowlevel.wait_writable(waiting)
            with trio.move_on_after(0.3):
                await trio.lowlevel.wait_readable(waiting)
                raise SystemExit("accepted without a descriptor")
            for sock in spare:
                sock.close()
            with trio.fail_after(10):
                await trio.lowlevel.wait_readable(waiting)
            assert waiting.recv(100) == b"220 here\\r\\n"
            waiting.close()
            assert await first.ask("NOOP") == b"220 here\\r\\n"
        await stage.recording.over(2)

trio.run(main)
print("lives")
"""


def test_running_out_of_files_does_not_kill_the_listener() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", OUT_OF_FILES],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert (done.stdout, done.stderr) == ("lives\n", "")


# -- many at once


async def test_five_hundred_sessions_at_once_leave_nothing_behind() -> None:
    count = 500
    before = len(list(Path("/proc/self/fd").iterdir()))
    bodies: set[bytes] = set()
    everyone_is_there = trio.Event()
    arrived = 0

    async def provider(end: End) -> None:
        bodies.update(await serve_mail(end))

    async def app(address: tuple[str, int] | str, number: int) -> None:
        nonlocal arrived
        async with connect(address) as end:
            assert (await end.reply()).startswith(b"220 ")
            arrived += 1
            if arrived == count:
                everyone_is_there.set()
            with trio.fail_after(PATIENCE_S * 3):
                await everyone_is_there.wait()
            await send_mail(end, body(number), greeted=True)

    def body(number: int) -> bytes:
        return b"X: %d\r\n" % number * 2000

    async with server(provider) as mx, proxy(make_route(f"smtp://127.0.0.1:{mx.port}")) as stage:
        tasks_before = trio.lowlevel.current_statistics().tasks_living
        async with trio.open_nursery() as nursery:
            for number in range(count):
                nursery.start_soon(app, stage.address, number)
        await stage.recording.over(count)
        await mx.finished(count)
        await trio.testing.wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().tasks_living == tasks_before
    assert bodies == {body(number) for number in range(count)}
    assert {log.end.outcome for log in stage.recording.sessions} == {"delivered"}
    assert len(list(Path("/proc/self/fd").iterdir())) == before
