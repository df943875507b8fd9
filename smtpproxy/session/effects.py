"""What the core asks the driver to do, as plain values in order; it neither does it nor waits for it."""

from typing import TypeAlias

import msgspec

from smtpproxy.session.events import Leg


class Effect(msgspec.Struct, frozen=True, gc=False):
    """One thing for the driver to do."""


class Send(Effect, frozen=True, gc=False):
    """Hand these octets to that side, after everything handed to it before."""

    side: Leg
    data: bytes


class StartTls(Effect, frozen=True, gc=False):
    """Begin TLS on that side, behind everything queued for it.

    Attributes:
        side: whose leg.
        reply: the 220 that goes out just before, on the client's side.
        is_upgrade: octets were exchanged in clear before (STARTTLS): the driver first looks whether the
            peer has already sent something, and if so hands that to `Relay.receive` instead (it is
            injection, RFC 3207 6), sending nothing.
        early: octets that came ahead of the handshake and belong to it: what followed a PROXY header.
    """

    side: Leg
    reply: bytes = b""
    is_upgrade: bool = False
    early: bytes = b""


class HalfClose(Effect, frozen=True, gc=False):
    """That side will be told no more: FIN (with close_notify under TLS) after what is queued."""

    side: Leg


class Close(Effect, frozen=True, gc=False):
    """Flush what is queued for that side, then close it politely: shut down, drain briefly, close."""

    side: Leg


class Reset(Effect, frozen=True, gc=False):
    """End that side with RST, so that the peer sees the same error class that we saw."""

    side: Leg


class Wait(Effect, frozen=True, gc=False):
    """Call `Relay.wake(token, at)` in that many seconds; a later Wait for the same token replaces it."""

    seconds: float
    token: str


AnyEffect: TypeAlias = Send | StartTls | HalfClose | Close | Reset | Wait
