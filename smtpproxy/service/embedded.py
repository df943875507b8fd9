"""A proxy in a thread of its own, for programs that are not about proxies: test suites; it knows no pytest.

All calls are synchronous, so that it makes no difference whether the caller is sync code, asyncio or trio:
the thread has a `trio.run` to itself. No signal is listened to, and nothing is written to any store.
"""

import atexit
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Final, TypeVar

import trio
import trio.testing

from smtpproxy.config.model import Config
from smtpproxy.errors import ServiceError
from smtpproxy.service.proxy import run_proxy
from smtpproxy.service.ready import Ready
from smtpproxy.service.stopping import Stop
from smtpproxy.store.kept import KeptLog

if TYPE_CHECKING:
    from smtpproxy.replay.mock import Mock

CALL_TIMEOUT_S: Final = 60.0
"""A call into the thread that is not answered by then never will be."""
SETTLE_TIMEOUT_S: Final = 2.0
"""How long `recorded` waits for a proxy that has always something to do."""
END_TIMEOUT_S: Final = 1.0
"""How long `recorded` waits for a session to end whose client has said goodbye: the server closes it."""
JOIN_TIMEOUT_S: Final = 5.0
"""Beyond the shutdown's own deadline."""

Answer = TypeVar("Answer")


class EmbeddedProxy:
    """Starts, stops and looks at one proxy. The caller's side is one thread at a time.

    Attributes:
        reports: what an operator would have been told, a line each.
    """

    def __init__(self, config: Config, *, mock: "Mock | None" = None) -> None:
        """Nothing is started yet.

        Args:
            config: what to run; its store and its output are not used.
            mock: the recorded sessions that routes to `mock:` are answered from.
        """
        self._mock = mock
        self.reports: list[str] = []
        self._config = config
        self._log = KeptLog()
        self._stop = Stop(has_signals=False)
        self._ready: Future[Ready] = Future()
        self._token: trio.lowlevel.TrioToken | None = None
        self._failure: BaseException | None = None
        # A daemon: an interpreter that ends without asking us must not wait for sessions that are open.
        self._thread = threading.Thread(target=self._run, name="smtpproxy", daemon=True)

    def start(self) -> Ready:
        """Return when every listener accepts connections.

        Raises:
            SmtpProxyError: what `run_proxy` raises; the thread has ended then.
        """
        self._thread.start()
        atexit.register(self.stop)
        try:
            return self._ready.result()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End sessions in good order, within the configured time; a second call does nothing.

        Raises:
            BaseException: what made the proxy fail meanwhile.
        """
        atexit.unregister(self.stop)
        deadline_s = max(self._config.limits.shutdown_timeout_s, 0.0) + JOIN_TIMEOUT_S
        for _ in range(2):
            if not self._thread.is_alive():
                break
            self._ask_to_stop()
            self._thread.join(deadline_s)
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def call(self, function: Callable[..., Awaitable[Answer]], *args: object) -> Answer:
        """Run an async function in the proxy's loop and return what it returns.

        Raises:
            ServiceError: the proxy has ended.
            Exception: what the function raises.
        """
        # Not trio.from_thread.run: it refuses a caller that is in a trio.run of its own, as a trio test is.
        answer: Future[Answer] = Future()

        async def carry_out() -> None:
            try:
                result = await function(*args)
            except trio.Cancelled:
                answer.set_exception(ServiceError("the proxy has ended"))
                raise
            except Exception as error:  # noqa: BLE001 - the caller's to see; here it would end the loop
                answer.set_exception(error)
            else:
                answer.set_result(result)

        if self._token is None:
            raise ServiceError("the proxy has not been started")
        try:
            self._token.run_sync_soon(trio.lowlevel.spawn_system_task, carry_out)
            return answer.result(CALL_TIMEOUT_S)
        except (trio.RunFinishedError, TimeoutError):
            raise ServiceError("the proxy has ended") from None

    def recorded(self) -> dict[str, list[bytes]]:
        """Every session's lines, oldest session first, with all that either end has sent by now.

        It waits until what lies in sockets is read, and for nothing that a client is yet to say; where a QUIT
        was answered, also for the end of that session. After `stop` it is the whole of what was recorded.
        """
        return self._look(waits_for_ends=True)

    def wait_until(
        self, finds: Callable[[dict[str, list[bytes]]], Answer | None], timeout_s: float
    ) -> Answer | None:
        """Look at what is recorded whenever that grows, until `finds` finds something or time is over."""
        deadline = time.monotonic() + timeout_s
        while True:
            # An end that is waited for comes like all else: nothing here takes longer than was asked.
            sessions = self._look(waits_for_ends=False)
            found = finds(sessions)
            left_s = deadline - time.monotonic()
            if found is not None or left_s <= 0 or not self._thread.is_alive():
                return found
            self.call(self._log.wait_for_more, sum(map(len, sessions.values())), left_s)

    def _look(self, *, waits_for_ends: bool) -> dict[str, list[bytes]]:
        return self.call(self._settle, waits_for_ends) if self._thread.is_alive() else self._log.sessions()

    # ---- the thread

    def _run(self) -> None:
        try:
            trio.run(self._serve)
        except BaseException as error:  # noqa: BLE001 - told in the caller's thread
            if self._ready.done():
                self._failure = error
            else:
                self._ready.set_exception(error)

    async def _serve(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        await run_proxy(
            self._config,
            ready=self._ready.set_result,
            report=self.reports.append,
            stop=self._stop,
            log=self._log,
            mock=self._mock,
        )

    async def _settle(self, waits_for_ends: bool) -> dict[str, list[bytes]]:
        # Sockets that can be read are read before the loop idles, and what is read is recorded in one go.
        with trio.move_on_after(SETTLE_TIMEOUT_S):
            await trio.testing.wait_all_tasks_blocked()
        if waits_for_ends:
            await self._log.wait_for_ends(END_TIMEOUT_S)
        return self._log.sessions()

    def _ask_to_stop(self) -> None:
        if self._token is not None:
            try:
                self._token.run_sync_soon(self._stop.ask)
            except trio.RunFinishedError:
                return
