"""Listening sockets of all routes: binds, accepts within limits, stops gracefully; runs no session itself."""

import contextlib
import errno
import logging
import os
import socket
import stat
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import trio

from smtpproxy.endpoints import Endpoint
from smtpproxy.errors import ServiceError
from smtpproxy.listening import listen_on, why_not
from smtpproxy.net.driver import Session
from smtpproxy.net.poller import Poller
from smtpproxy.net.route import Recording, Route
from smtpproxy.net.timers import Timers

_LOG: Final = logging.getLogger(__name__)
BACKLOG: Final = 1024
REFUSALS: Final = 64
"""Sessions over the limit that are told so; beyond these connections are just closed."""
EMFILE_PAUSE_S: Final = 0.1
_ADVICE: Final = "stop what listens there, or choose another port (0 takes a free one)"
_OUT_OF_FILES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


async def serve_routes(
    routes: Sequence[Route],
    recording: Recording,
    *,
    shutdown: trio.Event,
    task_status: trio.TaskStatus[list[Endpoint]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until `shutdown` is set, then end gracefully.

    Starts with the endpoints that are really listened on (port 0 resolved), in the order of the routes.
    Cancelled, it cuts all sessions; either way it closes every socket it opened.

    Raises:
        ServiceError: an address cannot be listened on; says which and why.
    """
    server = _Server(recording)
    with contextlib.closing(server.poller), contextlib.ExitStack() as sockets:
        bound: list[tuple[Route, list[socket.socket]]] = []
        for route in routes:
            endpoint, listeners = _bind(route.listen, sockets)
            bound.append((replace(route, listen=endpoint), listeners))
        async with trio.open_nursery() as background:
            background.start_soon(server.timers.run)
            background.start_soon(server.poller.run)
            background.start_soon(server.reopen_gate)
            async with trio.open_nursery() as sessions:
                async with trio.open_nursery() as accepting:
                    for route, listeners in bound:
                        for listener in listeners:
                            accepting.start_soon(server.accept, listener, route, sessions)
                    task_status.started([route.listen for route, _ in bound])
                    await shutdown.wait()
                    accepting.cancel_scope.cancel()
                sockets.close()
                deadline_s = max(route.limits.shutdown_timeout_s for route in routes)
                await server.wind_down(deadline_s)
            background.cancel_scope.cancel()


class _Server:
    """The sessions that run, over all routes."""

    def __init__(self, recording: Recording) -> None:
        self.timers = Timers()
        self.poller = Poller()
        self._recording = recording
        self._waiting: list[Callable[[], None]] = []
        self._has_waiting = trio.Event()
        self.is_full = recording.is_full
        self._sessions: set[Session] = set()
        self._by_address: Counter[str] = Counter()
        self._refusing = 0
        self._empty = trio.Event()

    def hold(self, resume: Callable[[], None]) -> None:
        """Call back once when the log has caught up."""
        self._waiting.append(resume)
        self._has_waiting.set()

    async def reopen_gate(self) -> None:
        """Let sessions read on that the log held back, for ever."""
        while True:
            await self._has_waiting.wait()
            await self._recording.wait_until_ready()
            self._has_waiting = trio.Event()
            waiting, self._waiting = self._waiting, []
            for resume in waiting:
                resume()

    async def accept(self, listener: socket.socket, route: Route, sessions: trio.Nursery) -> None:
        """Accept connections of one socket, for ever."""
        while True:
            await trio.lowlevel.wait_readable(listener)
            # Everything that is there by now; the cap keeps other tasks running under a flood.
            for _ in range(64):
                try:
                    sock, address = listener.accept()
                except BlockingIOError:
                    break
                except OSError as error:
                    if error.errno in _OUT_OF_FILES:
                        await trio.sleep(EMFILE_PAUSE_S)
                    # Otherwise the client has left again already (ECONNABORTED and its like).
                    break
                self._begin(sock, address, route, sessions)

    def _begin(self, sock: socket.socket, address: object, route: Route, sessions: trio.Nursery) -> None:
        host, peer = _name_of(address)
        refusal = self._refusal(host, route)
        if refusal is not None and self._refusing >= REFUSALS:
            sock.close()
            return
        sock.setblocking(False)
        try:
            if route.choose is not None:
                route = replace(route.choose(), listen=route.listen)
            session = Session(
                sock, peer, route, self._recording, timers=self.timers, poller=self.poller, gate=self
            )
        except Exception as error:  # noqa: BLE001 - a session's failure must never reach the listener
            _LOG.error(
                "a session could not begin: internal error, please report it (%s)", type(error).__name__
            )
            sock.close()
            return
        # Counted here and not when its task begins: a burst is accepted before any of its tasks run.
        self._sessions.add(session)
        self._by_address[host] += 1
        self._refusing += refusal is not None
        sessions.start_soon(self._run, session, host, refusal)

    def _refusal(self, host: str, route: Route) -> tuple[str, str] | None:
        limits = route.limits
        if len(self._sessions) - self._refusing >= limits.max_sessions:
            return "limit", f"too many sessions (limit {limits.max_sessions}); try again later"
        if limits.max_sessions_per_address and self._by_address[host] >= limits.max_sessions_per_address:
            return "limit", f"too many sessions from your address (limit {limits.max_sessions_per_address})"
        refused = self._recording.refusal()
        return None if refused is None else ("recording-failed", refused)

    async def _run(self, session: Session, host: str, refusal: tuple[str, str] | None) -> None:
        try:
            await session.run(refusal)
        except Exception as error:  # noqa: BLE001 - it could not even be recorded; the others must live
            # The error's name alone: its text may hold what a peer said.
            _LOG.error("internal error: a session was cut off (%s)", type(error).__name__)
        finally:
            self._sessions.discard(session)
            self._by_address[host] -= 1
            if not self._by_address[host]:
                del self._by_address[host]
            self._refusing -= refusal is not None
            if not self._sessions:
                self._empty.set()

    async def wind_down(self, deadline_s: float) -> None:
        """Let sessions end by themselves, up to the deadline; then end them."""
        # Let the tasks of sessions begin that were accepted a moment ago.
        await trio.lowlevel.checkpoint()
        for session in list(self._sessions):
            session.shutdown()
        with trio.move_on_after(deadline_s):
            await self._wait_until_empty()
        for session in list(self._sessions):
            session.cut()
        await self._wait_until_empty()

    async def _wait_until_empty(self) -> None:
        while self._sessions:
            self._empty = trio.Event()
            await self._empty.wait()


def _name_of(address: object) -> tuple[str, str]:
    """The peer's host (for limits) and its address for people; a unix socket's peer has no name."""
    if isinstance(address, tuple) and len(address) >= 2:
        host = str(address[0])
        return host, f"[{host}]:{address[1]}" if ":" in host else f"{host}:{address[1]}"
    return "unix", "unix"


def _bind(listen: Endpoint, sockets: contextlib.ExitStack) -> tuple[Endpoint, list[socket.socket]]:
    """Listen on every address that the host stands for, on one port.

    Raises:
        ServiceError: says which address and why.
    """
    if listen.path:
        return listen, [_bind_unix(listen.path, sockets)]
    listeners = listen_on(
        listen.host,
        listen.port,
        backlog=BACKLOG,
        closing=sockets,
        what=f"cannot listen on {listen}",
        advice=_ADVICE,
    )
    return listen.with_port(listeners[0].getsockname()[1]), listeners


def _bind_unix(path: str, sockets: contextlib.ExitStack) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sockets.callback(sock.close)
    sock.setblocking(False)
    try:
        _remove_stale(path)
        # The socket is made private: whoever may connect is for the operator to say.
        previous = os.umask(0o177)
        try:
            sock.bind(path)
        finally:
            os.umask(previous)
        sock.listen(BACKLOG)
    except OSError as error:
        # What EACCES means for ports does not hold here.
        why = "permission denied" if error.errno == errno.EACCES else why_not(error, _ADVICE)
        raise ServiceError(f"cannot listen on unix:{path}: {why}") from None
    sockets.callback(_unlink, path)
    return sock


def _remove_stale(path: str) -> None:
    """Remove a socket that nobody listens on any more; anything else in the way stays."""
    try:
        is_socket = stat.S_ISSOCK(os.lstat(path).st_mode)
    except FileNotFoundError:
        return
    if not is_socket:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink()


def _unlink(path: str) -> None:
    with contextlib.suppress(OSError):
        Path(path).unlink()
