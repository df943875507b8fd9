"""What a rerun asks of whoever holds the socket, and what it is told; it knows no socket and no clock.

A player is a generator: it yields what it wants done and is sent what came of that, so that it reads as the
conversation it is, and a test can play the server by hand.

    reply = yield Say(b"EHLO app.example.com\\r\\n")     # -> None | Gone
    heard = yield Hear(timeout_s=300.0)                # -> Heard | Gone | Silent
"""

from collections.abc import Generator, Iterable
from typing import TypeAlias, TypeVar

import msgspec

from smtpproxy.session.events import TlsInfo


class Connect(msgspec.Struct, frozen=True, kw_only=True):
    """Dial the target that the user named; always the first. Answered by Connected or Gone."""

    is_tls: bool = False
    """TLS from the first octet; the handshake is part of it."""


class Connected(msgspec.Struct, frozen=True, kw_only=True):
    """The connection stands.

    Attributes:
        tls: what the handshake came to, where there was one.
        at: seconds, monotonic, of any origin.
    """

    tls: TlsInfo | None = None
    at: float = 0.0


class Say(msgspec.Struct, frozen=True):
    """Send these octets; what the server says meanwhile is kept for Hear. Answered by Said or Gone."""

    pieces: Iterable[bytes]


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """It was handed to the network. `at`: seconds, as above."""

    at: float = 0.0


class Hear(msgspec.Struct, frozen=True, kw_only=True):
    """Wait for one whole reply. Answered by Heard, Silent or Gone."""

    timeout_s: float


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """A reply, all of its lines with their line ends; `at`: seconds, when its last octet came.

    Attributes:
        is_garbled: what came is no reply (RFC 5321 4.2), or longer than is kept: the thread is lost.
    """

    raw: bytes
    at: float = 0.0
    is_garbled: bool = False


class Silent(msgspec.Struct, frozen=True, kw_only=True):
    """No reply came in time."""

    seconds: float


class Upgrade(msgspec.Struct, frozen=True):
    """Begin TLS now, after the 220 to STARTTLS (RFC 3207). Answered by Upgraded or Gone."""


class Upgraded(msgspec.Struct, frozen=True, kw_only=True):
    """The handshake is over; `tls.error` says why it failed, and then nothing more can be said."""

    tls: TlsInfo
    at: float = 0.0


class Gone(msgspec.Struct, frozen=True, kw_only=True):
    """The connection could not be made, or is over.

    Attributes:
        reason: for people: `connection refused`, `the server closed the connection`, `… reset it`.
        is_connected: whether there was a connection at all.
        tls: how a handshake failed, where that is why.
    """

    reason: str
    is_connected: bool = True
    tls: TlsInfo | None = None


class Pause(msgspec.Struct, frozen=True, kw_only=True):
    """Wait so many seconds (the recording's pace, a retry). Answered by Said, or Gone if the server left."""

    seconds: float


Ask: TypeAlias = Connect | Say | Hear | Upgrade | Pause
Told: TypeAlias = Connected | Said | Heard | Silent | Upgraded | Gone

Result = TypeVar("Result")
Exchange: TypeAlias = Generator[Ask, Told, Result]
"""A conversation with one server; when it returns, the connection is closed."""
