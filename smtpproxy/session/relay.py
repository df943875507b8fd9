"""The relay core: octets, endings and time in; effects and events out. It observes and does not police.

    relay = Relay(options, session=…, …)
    relay.start(at)
    relay.receive("client", data, at)          # and the other inputs below
    for effect in relay.effects(): …           # what to do, in order
    record(relay.events())                     # what happened, in order

Time (`at`, seconds since the session began, monotonic) comes in as data. Nothing here awaits, calls back or
looks at a clock; every input may be followed by both drains.
"""

from typing import Final

from smtpproxy.session import effects as fx
from smtpproxy.session.conversation import Expectation
from smtpproxy.session.decisions import Connected, Ended, Policy
from smtpproxy.session.events import FORMAT, AnyEvent, Leg, Preface, SessionStarted, TlsInfo, set_octets
from smtpproxy.session.options import RelayOptions
from smtpproxy.session.turns import MAX_HELD_BYTES, MAX_OWED_REPLIES, Turns
from smtpproxy.wire.proxy_protocol import Header, Malformed, NeedMore, parse_preface

_SLOW_HANDSHAKE: Final = "the handshake took too long"


class Relay(Turns):
    """One session between a client and its server (or the policy that stands in for one)."""

    def __init__(
        self,
        options: RelayOptions,
        *,
        session: str,
        started: str,
        client: str,
        route: str = "default",
        listen: str = "",
        upstream: str = "",
        proxy: str = "smtpproxy",
        policy: Policy | None = None,
    ) -> None:
        """Begin a session.

        Args:
            options: the route's.
            session: its id.
            started: the wall clock at accept, ISO 8601, UTC.
            client: the client's address, for people.
            route, listen, upstream: the route's name and URLs.
            proxy: our name and version.
            policy: answers every turn where there is no server leg.
        """
        super().__init__(options, session=session, policy=policy)
        self._client = client
        self._is_server_ready = False
        self._has_provider_greeted = False
        self._events.append(
            SessionStarted(
                n=0,
                session=session,
                t=0.0,
                format=FORMAT,
                started=started,
                route=route,
                client=client,
                upstream=upstream,
                proxy=proxy,
                listen=listen,
            )
        )
        self._n = 1

    # -- drains

    def effects(self) -> list[fx.AnyEffect]:
        """Take what is to be done, in order."""
        if self._is_ending and not self._is_over:
            self._conclude()
        self._flush()
        effects = self._effects
        if effects:
            self._effects = []
        return effects

    def events(self) -> list[AnyEvent]:
        """Take what happened, in order."""
        if self._is_ending and not self._is_over:
            self._conclude()
        events = self._events
        if events:
            self._events = []
        return events

    @property
    def is_over(self) -> bool:
        """Whether the session has its end; further input is ignored."""
        return self._is_over

    def wants(self, side: Leg) -> bool:
        """Whether that side should be read: the client not while too much of it is held, or unanswered."""
        if side == "server":
            return True
        return self._held_bytes < MAX_HELD_BYTES and len(self._fifo) < MAX_OWED_REPLIES

    # -- inputs

    def start(self, at: float) -> None:
        """The client has connected; the server is being dialled (or there is none)."""
        self._t = at
        options = self._options
        if not options.is_server_verified and options.server_tls != "none":
            self._add_finding("upstream-not-verified")
        if options.is_keeping_secrets:
            self._add_finding("keep-secrets")
        self._do(fx.Wait(options.idle_timeout_s, "idle"))
        if options.accept_proxy_protocol:
            self._state = "preface"
            self._do(fx.Wait(options.proxy_header_timeout_s, "preface"))
        else:
            self._start_client(b"")

    def refuse(self, finding: str, text: str, at: float) -> None:
        """This session may not begin (limits, recording failed): 421 4.3.2 and close."""
        self._t = at
        if self._options.is_client_tls and not self._options.is_tunnel:
            self._do(fx.StartTls("client"))
        self._fail(finding, text, code=421, enhanced="4.3.2", text=f"smtpproxy: {text}")

    def server_connected(self, at: float) -> None:
        """The server's leg is connected; TLS begins here where it comes first."""
        self._t = at
        if self._is_over or self._is_winding_up:
            self._do(fx.Close("server"))
        elif self._options.server_tls == "implicit" and not self._options.is_tunnel:
            self._server_is_switching = True
            self._do(fx.StartTls("server"))
        else:
            self._server_is_up()

    def server_unreachable(self, reason: str, at: float) -> None:
        """Dialling failed, in words for people."""
        self._t = at
        self._has_left["server"] = True
        text = f"smtpproxy: cannot reach {self._options.upstream}: {reason}"
        self._fail(
            "upstream-unreachable",
            f"{self._options.upstream}: {reason}",
            code=421,
            enhanced="4.4.1",
            text=text,
        )

    def receive(self, side: Leg, data: bytes, at: float) -> None:
        """Octets came from that side, decrypted."""
        if self._is_over:
            return
        self._t = self._last_heard = at
        if side == "client":
            if self._state == "preface":
                self._read_preface(data)
            else:
                self._is_fresh_after_tls = False
                self._read_client(data)
        else:
            self._read_server(data)
        if self._held:
            self._release()

    def receive_eof(self, side: Leg, at: float, *, is_truncated: bool = False) -> None:
        """That side said that it will say no more (FIN); truncated: under TLS, without close_notify."""
        if self._is_over:
            return
        self._t = at
        if is_truncated and not self._has_quit and not self._is_winding_up:
            self._add_finding_once("truncated-tls", f"the {side}")
        if side == "server":
            self._server_left("server-eof")
        elif self._held or self._delayed is not None or (self._is_upgrade_due and self._state == "held"):
            self._is_leaving = True  # what it said before is read first, when its turn has come
        else:
            self._client_left()

    def receive_reset(self, side: Leg, at: float) -> None:
        """That side reset its connection."""
        if self._is_over:
            return
        self._t = at
        self._reset_by(side)

    def tls_starting(self, side: Leg, at: float) -> None:
        """TLS begins on that side; after STARTTLS: no early octets were found, and the 220 goes out."""
        self._t = at
        self._on_tls_starting(side)
        self._do(fx.Wait(self._options.handshake_timeout_s, f"handshake-{side}"))
        self._read_waiting()

    def tls_established(self, side: Leg, info: TlsInfo, at: float) -> None:
        """The handshake on that side is complete."""
        if self._is_over:
            return
        self._t = self._last_heard = at
        is_first = side == "server" and not self._is_server_ready
        self._on_tls(side, info)
        if is_first:
            self._server_is_up()
        elif side == "client" and self._state in ("waiting", "command") and not self._has_server:
            self._greet()
        self._release()

    def tls_failed(self, side: Leg, info: TlsInfo, at: float) -> None:
        """The handshake on that side failed; `info` says why, with the chain where there is one."""
        if self._is_over:
            return
        self._t = at
        self._on_tls_failed(side, info)

    def wake(self, token: str, at: float) -> None:
        """The time asked for by a Wait is over."""
        if self._is_over:
            return
        self._t = at
        match token:
            case "idle":
                self._on_idle()
            case "stall":
                self._on_stall()
            case "delay":
                self._on_delay_over()
                self._release()
            case "drain" if self._is_winding_up:
                self._end()
            case "linger" if not self._is_reply_owed:
                self._end()
            case "preface" if self._state == "preface":
                self._time_out("the PROXY protocol header")
            case "handshake-client" if self._is_handshaking("client"):
                self._on_tls_failed("client", TlsInfo(error=_SLOW_HANDSHAKE))
            case "handshake-server" if self._is_handshaking("server"):
                self._on_tls_failed("server", TlsInfo(error=_SLOW_HANDSHAKE))

    def shutdown(self, at: float) -> None:
        """We are to stop: 421 to a client between commands; otherwise as soon as it is there."""
        if self._is_over:
            return
        self._t = at
        self._is_stopping = True
        if self._has_quit or self._has_left["client"]:
            return  # it is ending by itself
        is_idle = self._state in ("command", "waiting", "preface") and not self._content_is_open
        is_owed = any(owed.verb != "greeting" and not owed.is_optional for owed in self._fifo)
        if is_idle and not is_owed and self._delayed is None:
            self._stop()

    def abort(self, finding: str, detail: str, at: float) -> None:
        """End now, saying nothing more: the deadline of a shutdown has passed, or the driver failed."""
        if self._is_over:
            return
        self._t = at
        self._facts.is_failed = True
        self._add_finding(finding, detail)
        self._record_unread(is_forwarded=False)
        self._reason = self._reason or finding
        self._end()

    # -- the beginning

    def _read_preface(self, data: bytes) -> None:
        self._line += data
        octets = bytes(self._line)
        parsed = parse_preface(octets)
        match parsed:
            case NeedMore():
                return
            case Malformed():
                self._facts.is_failed = True
                self._add_finding("bad-proxy-header", parsed.reason)
                self._wind_up("bad-proxy-header")
            case Header():
                self._line.clear()
                event = Preface(
                    n=self._n,
                    session=self._session,
                    t=self._t,
                    from_="client",
                    to="proxy",
                    version=parsed.version,
                    source=parsed.source,
                    destination=parsed.destination,
                )
                set_octets(event, octets[: parsed.size])
                if isinstance(parsed.source, str):
                    self._client = parsed.source
                self._events.append(event)
                self._n += 1
                self._move("header")
                self._start_client(octets[parsed.size :])
                self._read_waiting()

    def _start_client(self, early: bytes) -> None:
        """TLS first where the listener says so; otherwise the client may speak."""
        if self._options.is_client_tls and not self._options.is_tunnel:
            self._do(fx.StartTls("client", early=early))
            early = b""
        elif not self._has_server:
            self._greet()
        if self._is_server_ready and self._state == "waiting":
            self._move("ready")
        if early:
            self._read_client(early)

    def _greet(self) -> None:
        """Without a server leg the policy greets."""
        if self._has_provider_greeted:
            return
        self._has_provider_greeted = True
        if self._state == "waiting":
            self._move("ready")
        self._decide(Expectation("greeting", None), Connected(client=self._client))

    def _server_is_up(self) -> None:
        self._is_server_ready = True
        if self._options.is_tunnel and self._options.server_tls == "implicit":
            if self._state == "waiting":
                self._move("ready")
            self._lose_thread("TLS is passed on unread", is_withheld=True)
            self._release()
            return
        self._fifo.append(Expectation("greeting", None))
        if self._state == "waiting":
            self._move("ready")
        if self._held:
            self._release()

    # -- timers

    def _is_handshaking(self, side: Leg) -> bool:
        if self._has_tls[side] or self._has_left[side] or self._is_winding_up:
            return False
        return side == "client" or self._server_is_switching

    def _on_idle(self) -> None:
        quiet_s = self._t - self._last_heard
        limit_s = self._options.idle_timeout_s
        if self._is_final_reply_owed or quiet_s < limit_s:
            # No limit between the final dot and its reply: RFC 5321 4.5.3.2.6 gives it 10 minutes at least.
            self._do(fx.Wait(limit_s if self._is_final_reply_owed else limit_s - quiet_s, "idle"))
            return
        self._time_out(self._waiting_for)

    @property
    def _waiting_for(self) -> str:
        if not self._is_server_ready and self._has_server:
            return "the connection to the server"
        if self._fifo:
            return f"the reply to {self._fifo[0].verb}".replace("reply to greeting", "server's greeting")
        return "the message" if self._content_is_open else "a command"

    def _time_out(self, step: str) -> None:
        self._fail(
            "timeout",
            f"waiting for {step}",
            code=421,
            enhanced="4.4.2",
            text=f"smtpproxy: timed out waiting for {step}",
        )

    def _wind_up(self, reason: str) -> None:
        self._record_withheld()
        super()._wind_up(reason)

    def _end(self) -> None:
        self._record_withheld()
        super()._end()

    def _conclude(self) -> None:
        self._record_withheld()
        super()._conclude()
        if self._policy is not None and not self._has_server:
            self._policy(Ended(reason=self._reason))
