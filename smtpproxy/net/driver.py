"""Runs one session: feeds the core what both sockets say, does what it asks for; it reads no SMTP itself.

The one driver for relay, sandbox and mock. Sockets that are ready call back (net/poller.py); whatever follows
is done at once, and nothing waits: what a socket does not take is queued, and while much waits for one side
the other is not read. The session's task only dials, and waits for the end.
"""

import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Final, Protocol

import trio

from smtpproxy import __version__
from smtpproxy.errors import SmtpProxyError
from smtpproxy.net.channel import Channel
from smtpproxy.net.dial import dial, reason_for
from smtpproxy.net.ids import new_session_id
from smtpproxy.net.poller import READ, WRITE, Poller
from smtpproxy.net.route import Recording, Route
from smtpproxy.net.timers import Timer, Timers
from smtpproxy.net.transport import Eof, PeerReset, Received, TlsDown, TlsUp, Transport
from smtpproxy.session import effects as fx
from smtpproxy.session.decisions import Decision, Policy, Turn
from smtpproxy.session.events import Leg
from smtpproxy.session.relay import Relay
from smtpproxy.tls.contexts import sni_of
from smtpproxy.tls.inspection import failure_of, info_of
from smtpproxy.tls.names import server_hostname_for, sni_for

HIGH_WATER_BYTES: Final = 256 * 1024
"""Above this many octets waiting for one side, the other side is not read."""
READS_IN_A_ROW: Final = 4
CLOSE_TIMEOUT_S: Final = 5.0
"""How long the last octets of a session may take to leave."""
PROXY: Final = f"smtpproxy {__version__}"


class LogGate(Protocol):
    """Holds sessions back while the log is behind."""

    def is_full(self) -> bool:
        """Whether nothing should be read for now; cheap."""

    def hold(self, resume: Callable[[], None]) -> None:
        """Call back once when reading may go on."""


class Session:
    """One client connection, from accept to close."""

    def __init__(
        self,
        sock: socket.socket,
        peer: str,
        route: Route,
        recording: Recording,
        *,
        timers: Timers,
        poller: Poller,
        gate: LogGate,
    ) -> None:
        """Take over an accepted socket; `run` does the rest."""
        self._route = route
        self._recorder = recording.open_session()
        self._timers = timers
        self._poller = poller
        self._gate = gate
        self._running: dict[str, Timer] = {}
        self._client = Channel("client", sock, poller, self._on_ready)
        self._server: Channel | None = None
        self._began = time.perf_counter()
        self._dialling: trio.CancelScope | None = None
        self._is_held_by_log = False
        self._is_crashed = False
        self._is_closing = False
        self._closed = trio.Event()
        """Both sockets are closed."""
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
            if refusal is None and self._route.make_policy is None:
                self._dialling = trio.CancelScope()
            self._feed(lambda: self._begin(refusal))
            if self._dialling is not None:
                await self._dial(self._dialling)
            await self._closed.wait()
        except Exception as error:  # noqa: BLE001 - a session's failure must never reach the listener
            self._on_crash(error)
        finally:
            self._stop_timers()
            self.abort("shutdown", "cut off")
            self._abandon()
            self._client.release()
            if self._server is not None:
                self._server.release()

    def _begin(self, refusal: tuple[str, str] | None) -> None:
        if refusal is not None:
            self.relay.refuse(*refusal, self._now())
        else:
            self.relay.start(self._now())

    async def _dial(self, scope: trio.CancelScope) -> None:
        route = self._route
        try:
            with scope, trio.fail_after(route.limits.dial_timeout_s):
                sock = await dial(route.upstream, route.connect_to)
        except (OSError, trio.TooSlowError) as error:
            reason = reason_for(error) if isinstance(error, OSError) else "timed out"
            self._dialling = None
            self._feed(lambda: self.relay.server_unreachable(reason, self._now()))
            return
        self._dialling = None
        if scope.cancelled_caught:
            self._feed(lambda: None)
            return
        self._server = Channel("server", sock, self._poller, self._on_ready)
        self._feed(lambda: self.relay.server_connected(self._now()))

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

    # -- inputs

    def _feed(self, step: Callable[[], None]) -> None:
        """Give the core an input, and do what follows; a fault ends this session alone."""
        if self._is_crashed:
            return
        try:
            step()
            self._pump()
            self._settle()
        except Exception as error:  # noqa: BLE001 - as in run
            self._is_crashed = True
            self._on_crash(error)
            self._abandon()

    def _abandon(self) -> None:
        self._client.transport.abandon()
        if self._server is not None:
            self._server.transport.abandon()
        if self._dialling is not None:
            self._dialling.cancel()
        self._closed.set()

    def _on_ready(self, channel: Channel, ready: int) -> None:
        """The poller's call: that side's socket can be read, or written, or both."""
        if self._is_crashed or channel.transport.is_closed:
            return
        try:
            if ready & WRITE:
                channel.transport.flush()
            if ready & READ and channel.mask & READ:
                self._read(channel)
            self._settle()
        except Exception as error:  # noqa: BLE001 - as in run
            self._is_crashed = True
            self._on_crash(error)
            self._abandon()

    def _read(self, channel: Channel) -> None:
        """Read what is there by now, a few times where there is much; the others have their turn too."""
        if self._gate.is_full():
            self._hold_for_log()
            return
        relay, transport, side = self.relay, channel.transport, channel.side
        reads = 0
        while True:
            item = transport.read()
            if type(item) is bytes:
                relay.receive(side, item, time.perf_counter() - self._began)
                self._pump()
            elif item is not None:
                channel.has_ended = not self._on_signal(side, transport, item)
                self._pump()
            reads += 1
            is_more = transport.has_more or (transport.is_full_read and reads < READS_IN_A_ROW)
            if not is_more or self._is_paused(channel):
                return

    def _hold_for_log(self) -> None:
        if not self._is_held_by_log:
            self._is_held_by_log = True
            self._gate.hold(lambda: self._feed(self._resume_from_log))

    def _resume_from_log(self) -> None:
        self._is_held_by_log = False

    def _is_paused(self, channel: Channel) -> bool:
        """Whether that side is not to be read for now, or any more."""
        if channel.has_ended or self._is_held_by_log or self.relay.is_over or channel.transport.is_closed:
            return True
        other = self._server if channel is self._client else self._client
        return (other is not None and other.is_choking) or not self.relay.wants(channel.side)

    def _settle(self) -> None:
        """Watch each socket for what there is to do with it; see to the end of the session."""
        client, server = self._client, self._server
        if (
            server is not None
            and client.mask == server.mask == READ
            and not (client.transport.queued or server.transport.queued)
            and not (client.has_ended or server.has_ended or self._is_held_by_log)
            and not self.relay.is_over
            and self.relay.wants("client")
        ):
            return  # as nearly always
        for channel in (client, server) if server is not None else (client,):
            transport = channel.transport
            queued = transport.queued
            if queued > HIGH_WATER_BYTES:
                channel.is_choking = True
            elif channel.is_choking and queued <= HIGH_WATER_BYTES // 2:
                channel.is_choking = False
        for channel in (client, server) if server is not None else (client,):
            transport = channel.transport
            if transport.is_closed:
                continue
            mask = WRITE if transport.needs_flush else 0
            if not self._is_paused(channel):
                mask |= READ
                if transport.has_more and not channel.mask & READ:
                    # What was decrypted before the pause: no socket tells of it.
                    self._timers.call_soon(partial(self._on_ready, channel, READ))
            if mask != channel.mask:
                channel.watch(mask)
        if self.relay.is_over:
            self._see_to_the_end(client, server)

    def _see_to_the_end(self, client: Channel, server: Channel | None) -> None:
        if self._dialling is not None:
            self._dialling.cancel()
        if client.transport.is_closed and (server is None or server.transport.is_closed):
            self._closed.set()
        elif not self._is_closing:
            self._is_closing = True
            self._stop_timers()
            self._running["close"] = self._timers.call_later(CLOSE_TIMEOUT_S, self._abandon)

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
        effects = relay.effects()
        while effects:
            for effect in effects:
                if type(effect) is fx.Send:
                    channel = self._client if effect.side == "client" else self._server
                    if channel is not None:
                        channel.transport.send(effect.data)
                else:
                    self._do(effect)
            effects = relay.effects() if self._has_fed_back else []
            self._has_fed_back = False
        events = relay.events()
        if events:
            self._recorder.record(events)

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
        channel = self._client if side == "client" else self._server
        return None if channel is None else channel.transport

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
