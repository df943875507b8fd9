"""Both ends and the driver of one session, in memory: a test says who says what, and who hears what.

The driver here does what net/driver.py does, without sockets: it carries out effects in order, looks for
early octets before an upgrade, and lets every handshake stand at once unless the test says otherwise.
"""

from collections.abc import Iterator
from typing import Any, TypeVar

from msgspec import UNSET

from smtpproxy.session import effects as fx
from smtpproxy.session.decisions import Policy
from smtpproxy.session.events import (
    AnyEvent,
    Auth,
    Command,
    Content,
    End,
    Event,
    Finding,
    Leg,
    Opaque,
    Preface,
    Reply,
    SessionStarted,
    SpokenEvent,
    TlsInfo,
    octets_of,
)
from smtpproxy.session.options import RelayOptions
from smtpproxy.session.relay import Relay

SPOKEN = (Command, Auth, Reply, Content, Opaque, Preface)
TLS = TlsInfo(version="TLSv1.3", cipher="TLS_AES_256_GCM_SHA384", verified=True)
E = TypeVar("E", bound=Event)


class Peer:
    """The client or the server.

    Attributes:
        said: every octet that the relay was given of it.
        heard: every octet that the relay sent to it.
        is_tls: its leg is encrypted.
        ended: how the relay ended its leg: "", "fin", "close" or "reset".
        fails_tls: why its handshake will fail; "" where it will stand.
        has_left: it said that it will say no more.
        is_slow: its handshake stands only when the test calls `shakes_hands`.
    """

    def __init__(self, scene: "Scene", side: Leg) -> None:
        self.scene = scene
        self.side = side
        self.said = bytearray()
        self.heard = bytearray()
        self.is_tls = False
        self.ended = ""
        self.fails_tls = ""
        self.is_slow = False
        self.is_shaking = False
        self.has_left = False
        self._unheard = bytearray()
        self._early = b""

    def says(self, data: bytes) -> None:
        """These octets arrive in one read."""
        assert not self.has_left, f"the {self.side} has left"
        self._given(data)
        self.scene.relay.receive(self.side, data, self.scene.now())
        self.scene.pump()

    def drips(self, data: bytes) -> None:
        """The same, one octet a read."""
        for octet in data:
            self.says(bytes([octet]))

    def has_already_sent(self, data: bytes) -> None:
        """These octets are in the socket, unread, when an upgrade looks."""
        self._early = data

    def hears(self, expected: bytes) -> bool:
        """Whether exactly these octets came since the last question."""
        heard, self._unheard = bytes(self._unheard), bytearray()
        assert heard == expected, f"{self.side} heard {heard!r}"
        return True

    def heeds_nothing(self) -> None:
        """What came since the last question is not asked about."""
        self._unheard.clear()

    def hears_line(self, start: bytes) -> bytes:
        """The one line that came since the last question; it begins like this."""
        heard, self._unheard = bytes(self._unheard), bytearray()
        assert heard.startswith(start), f"{self.side} heard {heard!r}"
        assert heard.endswith(b"\r\n"), heard
        assert heard.count(b"\n") == 1, heard
        return heard

    def leaves(self, *, is_truncated: bool = False) -> None:
        """FIN."""
        self.has_left = True
        self.scene.relay.receive_eof(self.side, self.scene.now(), is_truncated=is_truncated)
        self.scene.pump()

    def resets(self) -> None:
        """RST."""
        self.has_left = True
        self.scene.relay.receive_reset(self.side, self.scene.now())
        self.scene.pump()

    def shakes_hands(self) -> None:
        """The handshake that was slow stands now."""
        assert self.is_shaking
        self.is_slow = False
        self.scene.finish_handshake(self)
        self.scene.pump()

    # what the driver does to it

    def _given(self, data: bytes) -> None:
        if not self.scene.relay.is_over:
            self.said += data

    def take(self, data: bytes) -> None:
        assert not self.ended, f"{data!r} after {self.ended} to the {self.side}"
        self.heard += data
        self._unheard += data

    def start_tls(self, effect: fx.StartTls) -> None:
        relay, now = self.scene.relay, self.scene.now()
        if effect.is_upgrade and self._early:
            early, self._early = self._early, b""
            self._given(early)
            relay.receive(self.side, early, now)
            return
        if effect.reply:
            self.take(effect.reply)
        relay.tls_starting(self.side, now)
        self.is_shaking = True


class Scene:
    """One session on its stage."""

    def __init__(self, *, policy: Policy | None = None, is_dialled: bool = True, **options: Any) -> None:
        if policy is not None:
            options.setdefault("server_tls", "none")
        options.setdefault("upstream", "mx.example.com:25")
        self.options = RelayOptions(**options)
        self.relay = Relay(
            self.options,
            session="S1",
            started="2026-11-23T17:00:00.123456Z",
            client="127.0.0.1:50312",
            policy=policy,
        )
        self.client = Peer(self, "client")
        self.server = Peer(self, "server")
        self.events: list[AnyEvent] = []
        self.waits: dict[str, float] = {}
        self._now = 0.0
        self.relay.start(0.0)
        self.pump()
        if is_dialled and policy is None:
            self.dialled()

    def dialled(self) -> None:
        """The server's leg is connected."""
        self.relay.server_connected(self.now())
        self.pump()

    def now(self) -> float:
        """A thousandth of a second later."""
        self._now += 0.001
        return self._now

    def passes(self, token: str, seconds: float | None = None) -> None:
        """The time that was asked for under that token is over."""
        self._now += self.waits.pop(token) if seconds is None else seconds
        self.relay.wake(token, self._now)
        self.pump()

    def shuts_down(self) -> None:
        """The proxy is asked to stop."""
        self.relay.shutdown(self.now())
        self.pump()

    def pump(self) -> None:
        """Do what the core asks for, and collect what happened."""
        while True:
            effects = self.relay.effects()
            for effect in effects:
                self._do(effect)
            shaking = [peer for peer in (self.server, self.client) if peer.is_shaking and not peer.is_slow]
            if not effects and not shaking:
                break
            for peer in shaking:
                self.finish_handshake(peer)
        self.events += self.relay.events()

    def finish_handshake(self, peer: Peer) -> None:
        """What the transport tells when a handshake is over."""
        peer.is_shaking = False
        if peer.fails_tls:
            self.relay.tls_failed(peer.side, TlsInfo(error=peer.fails_tls), self.now())
        else:
            peer.is_tls = True
            self.relay.tls_established(peer.side, TLS, self.now())

    def _do(self, effect: fx.AnyEffect) -> None:
        match effect:
            case fx.Wait():
                self.waits[effect.token] = effect.seconds
            case fx.Send():
                self.peer(effect.side).take(effect.data)
            case fx.StartTls():
                self.peer(effect.side).start_tls(effect)
            case fx.HalfClose():
                self.peer(effect.side).ended = "fin"
            case fx.Close():
                peer = self.peer(effect.side)
                peer.ended = peer.ended if peer.ended == "reset" else "close"
            case fx.Reset():
                self.peer(effect.side).ended = "reset"

    def peer(self, side: Leg) -> Peer:
        """The peer on that side."""
        return self.client if side == "client" else self.server

    # what was recorded

    def of(self, kind: type[E]) -> list[E]:
        """All events of a kind."""
        return [event for event in self.events if isinstance(event, kind)]

    def spoken(self, **where: Any) -> list[SpokenEvent]:
        """What was said, `from_` or `to` somebody."""
        return [
            event
            for event in self.events
            if isinstance(event, SPOKEN) and all(getattr(event, key) == value for key, value in where.items())
        ]

    @property
    def findings(self) -> list[str]:
        """The codes of all findings, in order."""
        return [event.code for event in self.of(Finding)]

    @property
    def end(self) -> End:
        """The last event, which is the session's end."""
        assert isinstance(self.events[-1], End), self.events[-1]
        return self.events[-1]

    def transcript(self) -> Iterator[str]:
        """Who said what to whom, one line each."""
        for event in self.spoken():
            yield f"{event.from_} > {event.to}: {octets_of(event)!r}"

    def check_record(self) -> None:
        """The laws that hold for every session at every end.

        Every octet of each side is in exactly one event, in order; every octet sent is recorded as sent, in
        order; events are numbered without a gap; one beginning, first; one end, last.
        """
        events = self.events
        assert [event.n for event in events] == list(range(len(events)))
        assert [type(event) is SessionStarted for event in events] == [True] + [False] * (len(events) - 1)
        assert [type(event) is End for event in events] == [False] * (len(events) - 1) + [True]
        assert [event.t for event in events] == sorted(event.t for event in events)
        # Without a server's leg what a policy says counts as the server's.
        for peer in (self.client, self.server) if self.options.server_tls != "none" else (self.client,):
            said = self.spoken(from_=peer.side)
            withheld = sum(e.octets for e in said if isinstance(e, Opaque) and e.octets is not UNSET)
            recorded = b"".join(map(octets_of, said))
            assert len(recorded) + withheld == len(peer.said), f"octets of the {peer.side} are missing"
            assert peer.said.startswith(recorded) if withheld else recorded == peer.said
            if not withheld and not self._withheld_of(peer.side):
                sent = b"".join(map(octets_of, self.spoken(to=peer.side)))
                assert sent == peer.heard, f"what the {peer.side} heard is not what is recorded"

    def _withheld_of(self, side: Leg) -> bool:
        return any(isinstance(e, Opaque) and e.octets is not UNSET for e in self.spoken(to=side))

    def finish(self) -> None:
        """End the session if it has not, and check its record."""
        if not self.relay.is_over:
            self.relay.abort("shutdown", "the test is over", self.now())
            self.pump()
        self.check_record()
