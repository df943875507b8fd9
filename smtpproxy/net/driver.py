"""Runs one session: feeds the core what both sockets say, does what it asks for; it reads no SMTP itself.

The one driver for relay, sandbox and mock. Each side has one reader task; nothing that reads one side ever
waits to write the other: sending is never awaited, and while much waits for one side the other is not read.
"""

import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import trio

from smtpproxy import __version__
from smtpproxy.errors import SmtpProxyError
from smtpproxy.net.dial import dial, reason_for
from smtpproxy.net.ids import new_session_id
from smtpproxy.net.route import Recording, Route
from smtpproxy.net.timers import Timer, Timers
from smtpproxy.net.transport import Eof, PeerReset, Received, TlsDown, TlsUp, Transport, Unsent
from smtpproxy.session import effects as fx
from smtpproxy.session.decisions import Decision, Policy, Turn
from smtpproxy.session.events import Leg
from smtpproxy.session.relay import Relay
from smtpproxy.tls.contexts import sni_of
from smtpproxy.tls.inspection import failure_of, info_of
from smtpproxy.tls.names import server_hostname_for, sni_for

HIGH_WATER_BYTES: Final = 256 * 1024
"""Above this many octets waiting for one side, the other side is not read."""
CLOSE_TIMEOUT_S: Final = 5.0
"""How long the last octets of a session may take to leave."""
PROXY: Final = f"smtpproxy {__version__}"


class Session:
    """One client connection, from accept to close."""

    def __init__(
        self, sock: socket.socket, peer: str, route: Route, recording: Recording, timers: Timers
    ) -> None:
        """Take over an accepted socket; `run` does the rest."""
        self._route = route
        self._recording = recording
        self._recorder = recording.open_session()
        self._timers = timers
        self._running: dict[str, Timer] = {}
        self._client = Transport(sock)
        self._server: Transport | None = None
        self._began = time.perf_counter()
        self._nursery: trio.Nursery
        self._dialling: trio.CancelScope | None = None
        self._resumed: trio.Event | None = None
        self._has_fed_back = False
        """Doing an effect has given the core further input."""
        self.relay = Relay(
            route.options,
            session=new_session_id(),
            started=datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
            client=peer,
            route=route.name,
            listen=str(route.listen),
            upstream=str(route.upstream),
            proxy=PROXY,
            policy=None if route.make_policy is None else _made_when_asked(route.make_policy, peer),
        )

    def _now(self) -> float:
        return time.perf_counter() - self._began

    async def run(self, refusal: tuple[str, str] | None = None) -> None:
        """Carry the session to its end; never raises, and leaves no socket open.

        Args:
            refusal: finding and text, where the session may not begin.
        """
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                if refusal is not None:
                    self.relay.refuse(*refusal, self._now())
                else:
                    self.relay.start(self._now())
                    if self._route.make_policy is None:
                        # Here, not in the task: the client may leave before that has begun.
                        self._dialling = trio.CancelScope()
                        nursery.start_soon(self._run_server, self._dialling)
                self._pump()
                await self._read("client", self._client)
        except Exception as error:  # noqa: BLE001 - a session's failure must never reach the listener
            self._on_crash(error)
        except BaseExceptionGroup as group:
            crashes, rest = group.split(Exception)
            if crashes is not None:
                self._on_crash(crashes)
            if rest is not None:
                raise rest from None
        finally:
            self._stop_timers()
            self.abort("shutdown", "cut off")
            self._client.abandon()
            if self._server is not None:
                self._server.abandon()

    def _on_crash(self, error: BaseException) -> None:
        """End the session and say where the fault is; an exception's text may hold what a peer said."""
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        place = error.__traceback__
        while place is not None and place.tb_next is not None:
            place = place.tb_next
        where = f" at {place.tb_frame.f_code.co_qualname}:{place.tb_lineno}" if place is not None else ""
        self.abort("internal-error", f"{type(error).__name__}{where}")

    # -- from outside

    def shutdown(self) -> None:
        """Ask the session to end as soon as that harms nobody."""
        self._feed(lambda: self.relay.shutdown(self._now()))

    def abort(self, finding: str, detail: str) -> None:
        """End the session now, and record that."""
        relay = self.relay
        if not relay.is_over:
            relay.abort(finding, detail, self._now())
        # No effects: the sockets are closed by `run`, and nothing more is said.
        relay.effects()
        events = relay.events()
        if events:
            self._recorder.record(events)

    def cut(self) -> None:
        """The deadline of a shutdown has passed: end now, flushing what the sockets take."""
        self._feed(lambda: self.relay.abort("shutdown", "the deadline passed", self._now()))

    def _feed(self, step: Callable[[], None]) -> None:
        """An input that comes from no reader task of this session."""
        try:
            step()
            self._pump()
        except Exception as error:  # noqa: BLE001 - as in run
            self._on_crash(error)
            self._client.abandon()
            if self._server is not None:
                self._server.abandon()

    # -- reading

    async def _run_server(self, dialling: trio.CancelScope) -> None:
        route = self._route
        try:
            with dialling, trio.fail_after(route.limits.dial_timeout_s):
                await trio.lowlevel.checkpoint_if_cancelled()
                sock = await dial(route.upstream, route.connect_to)
        except (OSError, trio.TooSlowError) as error:
            reason = reason_for(error) if isinstance(error, OSError) else "timed out"
            self._dialling = None
            self.relay.server_unreachable(reason, self._now())
            self._pump()
            return
        if dialling.cancelled_caught:
            return
        self._dialling = None
        self._server = Transport(sock)
        self.relay.server_connected(self._now())
        self._pump()
        await self._read("server", self._server)

    async def _read(self, side: Leg, transport: Transport) -> None:
        relay, recording = self.relay, self._recording
        try:
            while not relay.is_over:
                other = self._server if side == "client" else self._client
                if other is not None and other.queued > HIGH_WATER_BYTES:
                    await other.wait_below(HIGH_WATER_BYTES // 2)
                if recording.is_full():
                    await recording.wait_until_ready()
                if not relay.wants(side):
                    self._resumed = trio.Event()
                    await self._resumed.wait()
                    continue
                item = await transport.receive()
                if type(item) is bytes:
                    relay.receive(side, item, self._now())
                    self._pump()
                else:
                    is_open = self._on_signal(side, transport, item)
                    self._pump()
                    if not is_open:
                        return
        except trio.ClosedResourceError:
            return

    def _on_signal(self, side: Leg, transport: Transport, item: Received) -> bool:
        """What is not octets; returns whether more can come from that side."""
        relay, at = self.relay, self._now()
        match item:
            case TlsUp():
                assert transport.ssl_object is not None
                sni = sni_of(transport.ssl_object) if side == "client" else sni_for(self._route.upstream.host)
                is_verified = self._route.options.is_server_verified
                info = info_of(transport.ssl_object, leg=side, sni=sni, is_verified=is_verified)
                relay.tls_established(side, info, at)
                return True
            case Unsent():
                return True  # the pump that follows starts the flush
            case TlsDown() if item.is_late:
                relay.receive_reset(side, at)
            case TlsDown() if item.is_silent and side == "client" and self._route.options.is_client_tls:
                # A bare connection, as health checks make them: no handshake was even tried.
                if isinstance(item.error, ConnectionResetError):
                    relay.receive_reset(side, at)
                else:
                    relay.receive_eof(side, at)
            case TlsDown():
                ssl_object = transport.ssl_object
                host = self._route.upstream.host
                sni = sni_for(host) if side == "server" else ""
                if side == "client" and ssl_object is not None:
                    sni = sni_of(ssl_object)
                info = failure_of(item.error, leg=side, ssl_object=ssl_object, sni=sni, host=host)
                relay.tls_failed(side, info, at)
            case Eof():
                relay.receive_eof(side, at, is_truncated=item.is_truncated)
            case PeerReset():
                relay.receive_reset(side, at)
        return False

    # -- doing

    def _pump(self) -> None:
        """Do what the core asks for, then record what happened: forward first."""
        relay = self.relay
        client = self._client
        effects = relay.effects()
        while effects:
            for effect in effects:
                if type(effect) is fx.Send:
                    transport = client if effect.side == "client" else self._server
                    if transport is not None:
                        transport.send(effect.data)
                else:
                    self._do(effect)
            effects = relay.effects() if self._has_fed_back else []
            self._has_fed_back = False
        events = relay.events()
        if events:
            self._recorder.record(events)
        server = self._server
        if client.needs_flush:
            self._nursery.start_soon(self._flush, client)
        if server is not None and server.needs_flush:
            self._nursery.start_soon(self._flush, server)
        if self._resumed is not None and (relay.is_over or relay.wants("client")):
            self._resumed.set()
            self._resumed = None
        if relay.is_over:
            self._stop_timers()
            if self._dialling is not None:
                self._dialling.cancel()
            if client.queued or (server is not None and server.queued):
                self._nursery.cancel_scope.deadline = trio.current_time() + CLOSE_TIMEOUT_S

    async def _flush(self, transport: Transport) -> None:
        if transport.needs_flush:
            await transport.flush()

    def _do(self, effect: fx.AnyEffect) -> None:
        match effect:
            case fx.Send():
                pass
            case fx.Wait():
                self._wait(effect)
            case fx.StartTls():
                self._start_tls(effect)
            case fx.HalfClose():
                if transport := self._side(effect.side):
                    transport.half_close()
            case fx.Close():
                if transport := self._side(effect.side):
                    transport.close()
                elif self._dialling is not None and effect.side == "server":
                    self._dialling.cancel()
            case fx.Reset():
                if transport := self._side(effect.side):
                    transport.reset()

    def _side(self, side: Leg) -> Transport | None:
        return self._client if side == "client" else self._server

    def _start_tls(self, effect: fx.StartTls) -> None:
        side, transport, route = effect.side, self._side(effect.side), self._route
        assert transport is not None
        if effect.is_upgrade:
            early = transport.receive_nowait()
            if early:
                self.relay.receive(side, early, self._now())
                self._has_fed_back = True
                return
        context = route.client_context if side == "client" else route.server_context
        if context is None:
            raise SmtpProxyError(f"route {route.name} has no TLS context for its {side}'s leg")
        if effect.reply:
            transport.send(effect.reply)
        transport.start_tls(
            context,
            is_server=side == "client",
            hostname=None if side == "client" else server_hostname_for(route.upstream.host),
            is_upgrade=effect.is_upgrade and side == "server",
            early=effect.early,
        )
        self.relay.tls_starting(side, self._now())
        self._has_fed_back = True

    # -- timers

    def _wait(self, effect: fx.Wait) -> None:
        running = self._running.pop(effect.token, None)
        if running is not None:
            running.cancel()
        token = effect.token

        def wake() -> None:
            self._running.pop(token, None)
            self._feed(lambda: self.relay.wake(token, self._now()))

        self._running[token] = self._timers.call_later(effect.seconds, wake)

    def _stop_timers(self) -> None:
        for timer in self._running.values():
            timer.cancel()
        self._running.clear()


def _made_when_asked(make_policy: Callable[[str], Policy], client: str) -> Policy:
    """A policy that is made at the first turn: a fault in making it ends that session alone."""
    policy: Policy | None = None

    def decide(turn: Turn) -> Decision:
        nonlocal policy
        if policy is None:
            policy = make_policy(client)
        return policy(turn)

    return decide
