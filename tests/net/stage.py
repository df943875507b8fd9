"""smtpproxy's listeners in the test's own event loop, and a log in memory that can be waited for."""

import contextlib
import re
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import trio
import trustme

from smtpproxy.endpoints import Endpoint, parse_endpoint
from smtpproxy.net.listener import serve_routes
from smtpproxy.net.route import Limits, Route
from smtpproxy.session.decisions import Policy
from smtpproxy.session.events import AnyEvent, End, Finding, SpokenEvent, Tls, octets_of
from smtpproxy.session.options import RelayOptions
from smtpproxy.tls.authority import Authority
from smtpproxy.tls.contexts import make_client_leg_context, make_server_leg_context
from tests.net.ends import PATIENCE_S

SERVER_TLS = {
    "smtp": "in-step",
    "lmtp": "in-step",
    "smtp+starttls": "starttls",
    "smtps": "implicit",
    "sandbox": "none",
}


class Log:
    """One session's events."""

    def __init__(self, recording: "MemoryRecording") -> None:
        self.events: list[AnyEvent] = []
        self._recording = recording

    def record(self, events: list[AnyEvent]) -> None:
        self.events += events
        self._recording.change()

    # what a test asks of it

    @property
    def is_over(self) -> bool:
        return bool(self.events) and isinstance(self.events[-1], End)

    @property
    def end(self) -> End:
        (end,) = [event for event in self.events if isinstance(event, End)]
        return end

    @property
    def findings(self) -> list[str]:
        return [event.code for event in self.events if isinstance(event, Finding)]

    def finding(self, code: str) -> str:
        """The text of the one finding of that code."""
        (text,) = [event.text for event in self.events if isinstance(event, Finding) and event.code == code]
        return text

    def tls(self, leg: str) -> Tls:
        """That leg's one handshake."""
        (tls,) = [event for event in self.events if isinstance(event, Tls) and event.leg == leg]
        return tls

    def said(self, from_: str, to: str) -> bytes:
        """All octets that one party said to another."""
        return b"".join(
            octets_of(event)
            for event in self.events
            if isinstance(event, SpokenEvent) and (event.from_, event.to) == (from_, to)
        )


class MemoryRecording:
    """The log as a whole; a test may declare it full, or refuse new sessions."""

    def __init__(self) -> None:
        self.sessions: list[Log] = []
        self.refused: str | None = None
        self.full_until: trio.Event | None = None
        self.waiting = 0
        self._changed = trio.Event()

    def change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until that holds; it is looked at whenever something is recorded."""
        with trio.fail_after(PATIENCE_S):
            while not holds():
                await self._changed.wait()

    async def over(self, sessions: int = 1) -> Log:
        """Wait until so many sessions have ended, and all that began; the last one's log."""
        await self.until(
            lambda: len(self.sessions) >= sessions and all(session.is_over for session in self.sessions)
        )
        return self.sessions[-1]

    async def found(self, code: str) -> None:
        """Wait for a finding, in any session."""
        await self.until(lambda: any(code in session.findings for session in self.sessions))

    # the driver's questions

    def open_session(self) -> Log:
        self.sessions.append(Log(self))
        return self.sessions[-1]

    def is_full(self) -> bool:
        return self.full_until is not None and not self.full_until.is_set()

    async def wait_until_ready(self) -> None:
        assert self.full_until is not None
        self.waiting += 1
        self.change()
        await self.full_until.wait()

    def refusal(self) -> str | None:
        return self.refused


class Certificates:
    """Who certifies whom: our own authority towards apps, another one for the servers.

    Attributes:
        authority: smtpproxy's.
        provider: the CA of the servers.
        provider_ca: its certificate, as a file.
    """

    def __init__(self, folder: Path) -> None:
        self.authority = Authority.create(folder / "certs")
        self.provider = trustme.CA()
        self.provider_ca = folder / "provider.pem"
        self.provider.cert_pem.write_to_path(str(self.provider_ca))


class Stage:
    """A running proxy.

    Attributes:
        endpoints: what each route listens on.
        recording: its log.
        shutdown: set it to stop the proxy gracefully.
        stopped: set once it has stopped.
    """

    def __init__(self, recording: MemoryRecording) -> None:
        self.endpoints: list[Endpoint] = []
        self.recording = recording
        self.shutdown = trio.Event()
        self.stopped = trio.Event()
        self.scope = trio.CancelScope()

    @property
    def address(self) -> tuple[str, int] | str:
        """Of the first route: to connect to."""
        first = self.endpoints[0]
        return first.path or (first.host, first.port)

    async def run(self, routes: list[Route], *, task_status: trio.TaskStatus[list[Endpoint]]) -> None:
        with self.scope:
            await serve_routes(routes, self.recording, shutdown=self.shutdown, task_status=task_status)
        self.stopped.set()

    async def until_stopped(self) -> None:
        with trio.fail_after(PATIENCE_S):
            await self.stopped.wait()


@contextlib.asynccontextmanager
async def proxy(*routes: Route, recording: MemoryRecording | None = None) -> AsyncIterator[Stage]:
    """Serve the routes; cut off at the end."""
    stage = Stage(recording or MemoryRecording())
    async with trio.open_nursery() as nursery:
        stage.endpoints = await nursery.start(partial(stage.run, list(routes)))
        try:
            yield stage
        finally:
            stage.scope.cancel()


def make_route(
    upstream: str,
    certificates: Certificates | None = None,
    *,
    listen: str = "smtp://127.0.0.1:0",
    limits: Limits | None = None,
    connect_to: tuple[str, int] | None = None,
    make_policy: Callable[[str], Policy] | None = None,
    is_tunnel: bool = False,
    client_certificate: Path | None = None,
    **options: Any,
) -> Route:
    """A route as `service` would build it; contexts only where certificates are given."""
    listen_at, leads_to = parse_endpoint(listen, is_listen=True), parse_endpoint(upstream, is_listen=False)
    limits = limits or Limits()
    client_context = server_context = None
    if certificates is not None and not is_tunnel:
        client_context = make_client_leg_context(certificates.authority, names=["localhost", "127.0.0.1"])
        server_context = make_server_leg_context(
            ca_file=certificates.provider_ca,
            client_certificate=None if client_certificate is None else (client_certificate, None),
        )
    return Route(
        name=re.sub(r"\W+", "-", f"{listen_at.scheme}-{leads_to.scheme}"),
        listen=listen_at,
        upstream=leads_to,
        options=RelayOptions(
            is_client_tls=listen_at.scheme == "smtps",
            server_tls=SERVER_TLS[leads_to.scheme],  # type: ignore[arg-type]
            is_lmtp=listen_at.is_lmtp,
            is_tunnel=is_tunnel,
            idle_timeout_s=limits.idle_timeout_s,
            handshake_timeout_s=limits.handshake_timeout_s,
            proxy_header_timeout_s=limits.proxy_header_timeout_s,
            upstream=leads_to.hostport,
            **options,
        ),
        connect_to=connect_to,
        client_context=client_context,
        server_context=server_context,
        make_policy=make_policy,
        is_tunnel=is_tunnel,
        limits=limits,
    )
