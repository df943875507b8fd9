"""Octets that pass unread once the thread is lost, recorded, or only counted and digested."""

import hashlib

from smtpproxy.session.decisions import Policy
from smtpproxy.session.events import Leg, Opaque, Party
from smtpproxy.session.options import RelayOptions
from smtpproxy.session.upgrades import Upgrades


class Unread(Upgrades):
    """The layer that gives up reading, so that recording never breaks the app's traffic."""

    def __init__(self, options: RelayOptions, *, session: str, policy: Policy | None) -> None:
        super().__init__(options, session=session, policy=policy)
        self._has_server = options.server_tls != "none"
        self._is_withheld = False
        self._withheld: dict[Leg, tuple[int, hashlib._Hash]] = {}

    def _read_other(self, data: bytes) -> None:
        if self._server_is_switching:
            self._on_injection("server", data)
        else:
            self._pass_opaque("server", data)

    def _pass_opaque(self, side: Leg, data: bytes) -> None:
        other: Leg = "server" if side == "client" else "client"
        self._send(other, data)
        self._keep_opaque(side, data, to=other)

    def _keep_opaque(self, side: Leg, data: bytes, *, to: Party) -> None:
        if self._is_withheld:
            octets, digest = self._withheld.setdefault(side, (0, hashlib.sha256()))
            digest.update(data)
            self._withheld[side] = (octets + len(data), digest)
        else:
            self._add_opaque(data, from_=side, to=to)

    def _lose_thread(self, why: str, *, is_withheld: bool = False) -> None:
        if self._is_opaque or self._is_winding_up:
            return
        if self._is_upgrade_due or not self._has_server:
            self._fail(
                "desync",
                why,
                code=421,
                enhanced="4.7.0",
                text=f"smtpproxy: {why}; closing, since nothing may go to the server in clear",
            )
            return
        if not (is_withheld and self._options.is_tunnel):
            self._add_finding("desync", why)
        self._is_opaque = True
        self._is_withheld = is_withheld
        if self._content is not None:
            piece = self._content.finish(0)
            if piece:
                self._add_content(piece)
            self._content = None
        self._record_unfinished_reply(is_passed=True)
        self._fifo.clear()
        self._sasl = None
        self._holding = None
        self._move("lost")
        rest = bytes(self._line)
        self._line.clear()
        if rest:
            self._pass_opaque("client", rest)

    def _record_withheld(self) -> None:
        """What passed unread (or, after the end, went nowhere), as length and digest."""
        for side, (octets, digest) in self._withheld.items():
            other: Leg = "server" if side == "client" else "client"
            self._events.append(
                Opaque(
                    n=self._n,
                    session=self._session,
                    t=self._t,
                    from_=side,
                    to="proxy" if self._is_winding_up else other,
                    octets=octets,
                    sha256=digest.hexdigest(),
                )
            )
            self._n += 1
        self._withheld.clear()
