"""Many recorded sessions rerun against one server, some at a time; results come in the recordings' order.

It holds no script that is not being played, and says nothing to anybody: results go to a callback.
"""

import signal
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import msgspec
import trio

from smtpproxy.errors import SmtpProxyError
from smtpproxy.net.client import carry_out
from smtpproxy.replay.clearance import Clearance
from smtpproxy.replay.plan import Plan
from smtpproxy.replay.player import play
from smtpproxy.replay.results import SessionResult
from smtpproxy.replay.script import Script
from smtpproxy.replay.tally import Summary, Tally
from smtpproxy.service.descriptors import make_room


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How often and how many at a time.

    Attributes:
        context: for TLS as a client.
        is_verified: it checks the server's certificate.
        connect_to: dial this host and port instead of the plan's target.
        repeat: each session so many times.
        concurrency: so many sessions at a time.
    """

    context: ssl.SSLContext
    is_verified: bool = True
    connect_to: tuple[str, int] | None = None
    repeat: int = 1
    concurrency: int = 1


async def replay_scripts(
    scripts: Iterator[Script],
    plan: Plan,
    run: Run,
    *,
    on_result: Callable[[SessionResult], None],
    obeys_signals: bool = True,
) -> tuple[Summary, bool]:
    """Play all of them.

    Args:
        scripts: read one by one, when their turn comes.
        plan: how each is played.
        run: how all are.
        on_result: told of each result, in the scripts' order.
        obeys_signals: SIGINT and SIGTERM end it early; only in the main thread.

    Returns:
        The numbers, and whether it was cut short; then what was being played is not among the results.

    Raises:
        SmtpProxyError: a recording cannot be read any more.
    """
    replaying = _Replaying(plan, run, on_result)
    began = trio.current_time()
    is_cut = False
    async with trio.open_nursery() as nursery:
        if obeys_signals:
            nursery.start_soon(_cancel_on_signal, nursery.cancel_scope)
        await replaying.run_all(scripts)
        nursery.cancel_scope.cancel()
    if replaying.is_running:
        is_cut = True
        replaying.hand_out_rest()
    if replaying.failure is not None:
        raise replaying.failure
    return replaying.tally.summary(duration_s=trio.current_time() - began), is_cut


async def _cancel_on_signal(scope: trio.CancelScope) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            scope.cancel()


class _Replaying:
    """The sessions that are being played, and the results that wait for their turn."""

    def __init__(self, plan: Plan, run: Run, on_result: Callable[[SessionResult], None]) -> None:
        self.tally = Tally()
        self.is_running = True
        self.failure: SmtpProxyError | None = None
        self._plan = plan
        self._run = run
        self._on_result = on_result
        self._waiting: dict[int, SessionResult] = {}
        self._next = 0
        self._slots = trio.CapacityLimiter(make_room(run.concurrency))

    async def run_all(self, scripts: Iterator[Script]) -> None:
        number = 0
        async with trio.open_nursery() as nursery:
            for script in self._until_failure(scripts):
                refusal = self._refusal(script)
                for attempt in range(1, self._run.repeat + 1):
                    # The slot is taken here, so that no script is read before one is free.
                    token = object()
                    await self._slots.acquire_on_behalf_of(token)
                    nursery.start_soon(self._run_one, number, script, attempt, refusal, token)
                    number += 1
        self.is_running = False

    def _until_failure(self, scripts: Iterator[Script]) -> Iterator[Script]:
        """The scripts up to the first that cannot be read any more, which is kept for the end."""
        try:
            yield from scripts
        except SmtpProxyError as error:
            self.failure = error

    def _refusal(self, script: Script) -> str:
        """Why it may not be played after all: it was read anew since it was cleared; a file can change."""
        clearance = Clearance(self._plan)
        try:
            clearance.look_at(script)
            clearance.require_playable()
            clearance.require_allowed()
            clearance.require_logins()
        except SmtpProxyError as error:
            return str(error)
        return ""

    async def _run_one(self, number: int, script: Script, attempt: int, refusal: str, token: object) -> None:
        try:
            result = _failed(script, refusal) if refusal else await self._play(script)
        finally:
            self._slots.release_on_behalf_of(token)
        self._waiting[number] = msgspec.structs.replace(result, attempt=attempt)
        while self._next in self._waiting:
            self._hand_out(self._waiting.pop(self._next))
            self._next += 1

    async def _play(self, script: Script) -> SessionResult:
        plan, run = self._plan, self._run
        try:
            return await carry_out(
                play(script, plan),
                plan.target,
                run.context,
                connect_to=run.connect_to,
                is_verified=run.is_verified,
            )
        except SmtpProxyError as error:
            return _failed(script, str(error))

    def hand_out_rest(self) -> None:
        """What has come to an end before the signal did, though something before it has not."""
        for number in sorted(self._waiting):
            self._hand_out(self._waiting.pop(number))

    def _hand_out(self, result: SessionResult) -> None:
        self.tally.add(result)
        self._on_result(result)


def _failed(script: Script, error: str) -> SessionResult:
    return SessionResult(
        session=script.session, source=script.source, line=script.line, status="error", error=error
    )
