"""One side's socket: octets in, wire octets out, TLS in place; it knows nothing of SMTP or of the other side.

`ssl.MemoryBIO` over a raw non-blocking socket, because STARTTLS needs a transport that owns its buffers: what
was read in clear can be told from what belongs to TLS, and alerts are flushed before a failure is reported.

Nothing here waits. Sending encrypts at once, tries the socket once, and what the socket would not take stays
in a queue for `flush`, which is due when the socket is writable again. FIN, RST and close are items of that
queue, so that nothing overtakes anything.
"""

import contextlib
import socket
import ssl
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

READ_BYTES: Final = 64 * 1024
_HANDSHAKE_TYPES: Final = (0x15, 0x16)
"""First octet of a TLS record during a handshake: alert, handshake (RFC 8446 5.1)."""
_QUICKACK: Final[int | None] = getattr(socket, "TCP_QUICKACK", None)
_RESET: Final = struct.pack("ii", 1, 0)

_Mark: TypeAlias = Literal["fin", "rst", "close"]


@dataclass(frozen=True, slots=True)
class Eof:
    """The peer will say no more; truncated: under TLS, without close_notify."""

    is_truncated: bool = False


@dataclass(frozen=True, slots=True)
class PeerReset:
    """The peer reset the connection."""


@dataclass(frozen=True, slots=True)
class TlsUp:
    """The handshake is complete."""


@dataclass(frozen=True, slots=True)
class TlsDown:
    """TLS failed; the alert, if any, is already queued.

    Attributes:
        error: what OpenSSL or the socket said.
        is_late: octets had been exchanged under TLS before: this is no failed handshake.
        is_silent: the peer left before it said anything of TLS.
    """

    error: Exception
    is_late: bool = False
    is_silent: bool = False


Received: TypeAlias = bytes | Eof | PeerReset | TlsUp | TlsDown


class Transport:
    """One connected socket.

    Attributes:
        queued: octets that wait for the socket.
        has_more: something under TLS can be read without the socket.
        is_full_read: the last read took as much as it may: mostly there is more.
        is_closed: by us; nothing can be done with it any more.
        ssl_object: of the handshake or the session under TLS, else None.
    """

    __slots__ = (
        "_has_close_notify",
        "_has_octets",
        "_has_shaken",
        "_inb",
        "_is_broken",
        "_is_ending",
        "_is_handshaking",
        "_is_reset",
        "_is_upgrade",
        "_on_closing",
        "_outb",
        "_plain",
        "_queue",
        "_sock",
        "has_more",
        "is_closed",
        "is_full_read",
        "queued",
        "ssl_object",
    )

    def __init__(self, sock: socket.socket, *, on_closing: Callable[[], None] | None = None) -> None:
        """Take over a connected non-blocking socket; `on_closing` is called just before it is closed."""
        self._sock = sock
        self._on_closing = on_closing
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.ssl_object: ssl.SSLObject | None = None
        self.queued = 0
        self._queue: deque[bytes | memoryview | _Mark] = deque()
        self._plain: list[bytes | Literal["fin"]] = []
        """What was said during the handshake; it counts as queued."""
        self._inb: ssl.MemoryBIO
        self._outb: ssl.MemoryBIO
        self._is_handshaking = False
        self._is_upgrade = False
        self._has_shaken = False
        self._has_octets = False
        self.has_more = False
        self.is_full_read = False
        self._has_close_notify = False
        self._is_ending = False
        self._is_broken = False
        self._is_reset = False
        self.is_closed = False

    # -- TLS

    def start_tls(
        self,
        context: ssl.SSLContext,
        *,
        is_server: bool,
        hostname: str | None,
        is_upgrade: bool,
        early: bytes = b"",
    ) -> None:
        """Begin a handshake; the side's reader drives it and gets TlsUp or TlsDown.

        Args:
            context: of the leg.
            is_server: whether we are TLS's server.
            hostname: the name to check and to send as SNI (not for addresses).
            is_upgrade: octets in clear came before: the first that is no TLS record is handed out as it is.
            early: octets of the handshake that were read before.
        """
        self._inb, self._outb = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.ssl_object = context.wrap_bio(
            self._inb, self._outb, server_side=is_server, server_hostname=hostname or None
        )
        self._is_handshaking = True
        self._is_upgrade = is_upgrade
        if early:
            self._inb.write(early)
            self.has_more = True
        elif not is_server:
            # Our ClientHello goes out now; it cannot fail.
            with contextlib.suppress(ssl.SSLWantReadError):
                self.ssl_object.do_handshake()
            self._write_pending()

    def _shake(self) -> TlsUp | TlsDown | None:
        assert self.ssl_object is not None
        self._has_shaken = True
        try:
            self.ssl_object.do_handshake()
        except ssl.SSLWantReadError:
            self._write_pending()
            return None
        except (ssl.SSLError, ValueError) as error:
            # The peer is told why: without the flush it would see a bare EOF.
            self._write_pending()
            self._is_handshaking = False
            self._is_broken = True
            return TlsDown(error)
        self._write_pending()
        self._is_handshaking = False
        self.has_more = bool(self._inb.pending)
        if self.ssl_object.server_side and _QUICKACK is not None:
            # TLS 1.3's last flight is the client's. Its next octets would wait for our delayed ACK (40 ms)
            # where it leaves Nagle's algorithm on, since we send no ticket that could carry it.
            with contextlib.suppress(OSError):
                self._sock.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
        plain, self._plain = self._plain, []
        for item in plain:
            if isinstance(item, bytes):
                self.queued -= len(item)
                self._encrypt(item)
            else:
                self._end_write()
        return TlsUp()

    def _write_pending(self) -> None:
        if self._outb.pending:
            self._put(self._outb.read())

    # -- reading

    def receive_nowait(self) -> bytes:
        """What the socket has right now, in clear; empty where it has nothing."""
        try:
            return self._sock.recv(READ_BYTES)
        except OSError:
            return b""

    def read(self) -> Received | None:
        """The next thing from the peer, or None where there is nothing to tell yet.

        Takes from the socket at most once. `has_more` says whether to ask again at once; otherwise again
        when the socket is readable. After Eof, PeerReset and TlsDown nothing more comes.
        """
        if self.has_more:
            item = self._advance_tls()
            if item is not None:
                return item
        if self.is_closed:
            return None
        try:
            data = self._sock.recv(READ_BYTES)
        except BlockingIOError:
            self.is_full_read = False
            return None
        except OSError:
            data = b""
            self._is_reset = True
        self.is_full_read = len(data) == READ_BYTES
        if not data and self._is_reset:
            return self._on_reset()
        if self.ssl_object is None:
            return data or Eof()
        if not data:
            return self._on_eof()
        if self._is_upgrade:
            if data[0] not in _HANDSHAKE_TYPES:
                return data
            self._is_upgrade = False
        self._inb.write(data)
        return self._advance_tls()

    def _on_reset(self) -> Received:
        if self._is_handshaking:
            self._is_handshaking = False
            return TlsDown(ConnectionResetError(), is_silent=not self._has_shaken)
        return PeerReset()

    def _on_eof(self) -> Received:
        if self._is_handshaking:
            self._is_handshaking = False
            return TlsDown(EOFError(), is_silent=not self._has_shaken)
        return Eof(is_truncated=not self._has_close_notify)

    def _advance_tls(self) -> Received | None:
        if self._is_handshaking:
            self.has_more = False
            return self._shake() if self._inb.pending else None
        assert self.ssl_object is not None
        if self._has_close_notify:
            self.has_more = False
            return Eof()
        if self._is_broken:
            self.has_more = False
            return None
        read, inb = self.ssl_object.read, self._inb
        parts: list[bytes] = []
        failure: Exception | None = None
        self.has_more = False
        try:
            while True:
                part = read(READ_BYTES)
                if not part:
                    self._has_close_notify = True
                    break
                parts.append(part)
                # A record is at most 16 KiB: nothing of it is left behind. Asking once more than needed
                # would raise, which costs more than the read.
                if not inb.pending:
                    break
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self._has_close_notify = True
        except ssl.SSLError as error:
            failure = error
        if self._outb.pending:
            self._write_pending()
        if parts:
            self._has_octets = True
            # What came behind these octets is told at the next read.
            self.has_more = failure is not None or self._has_close_notify
            return parts[0] if len(parts) == 1 else b"".join(parts)
        if failure is not None:
            self._is_broken = True
            return TlsDown(failure, is_late=self._has_octets)
        return Eof() if self._has_close_notify else None

    # -- writing

    def send(self, data: bytes) -> None:
        """Hand octets to the peer; never waits."""
        if self._is_ending:
            return
        if self.ssl_object is None:
            self._put(data)
        elif self._is_handshaking:
            self._plain.append(data)
            self.queued += len(data)
        else:
            self._encrypt(data)

    def _encrypt(self, data: bytes) -> None:
        if self._is_broken:
            return
        assert self.ssl_object is not None
        try:
            self.ssl_object.write(data)
        except ssl.SSLError:
            self._is_broken = True
            return
        self._put(self._outb.read())

    def _put(self, wire: bytes) -> None:
        if not wire or self.is_closed:
            return
        if not self._queue:
            try:
                sent = self._sock.send(wire)
            except BlockingIOError:
                sent = 0
            except OSError as error:
                self._note_lost(error)
                return
            if sent == len(wire):
                return
            self._queue.append(memoryview(wire)[sent:])
            self.queued += len(wire) - sent
        else:
            self._queue.append(wire)
            self.queued += len(wire)

    def half_close(self) -> None:
        """Say no more: close_notify under TLS, then FIN, behind what is queued."""
        if self._is_ending:
            return
        self._is_ending = True
        if self._is_handshaking:
            self._plain.append("fin")
        else:
            self._end_write()

    def _end_write(self) -> None:
        if self.ssl_object is not None and not self._is_broken:
            # Raises where the peer's close_notify is not in yet; ours is written all the same.
            with contextlib.suppress(ssl.SSLError, ValueError):
                self.ssl_object.unwrap()
            self._write_pending()
        self._put_mark("fin")

    def close(self) -> None:
        """Close behind what is queued; a handshake that does not stand by now is given up."""
        if self.is_closed:
            return
        if not self._is_ending and not self._is_handshaking:
            self.half_close()
        self._is_ending = True
        self._put_mark("close")

    def reset(self) -> None:
        """Close with RST at once, whatever is queued (SO_LINGER 0)."""
        self._queue.clear()
        self.queued = 0
        self._put_mark("rst")

    def _put_mark(self, mark: _Mark) -> None:
        if self._queue:
            self._queue.append(mark)
        else:
            self._carry_out(mark)

    def _carry_out(self, mark: _Mark) -> None:
        if self.is_closed:
            return
        if mark == "fin":
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_WR)
            return
        if mark == "rst":
            with contextlib.suppress(OSError):
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.is_closed = True
        if self._on_closing is not None:
            self._on_closing()
        self._sock.close()

    @property
    def needs_flush(self) -> bool:
        """Whether something waits for the socket to become writable."""
        return bool(self._queue)

    def flush(self) -> None:
        """Write out of the queue what the socket takes."""
        queue = self._queue
        while queue and not self.is_closed:
            head = queue[0]
            if isinstance(head, str):
                queue.popleft()
                self._carry_out(head)
                continue
            try:
                sent = self._sock.send(head)
            except BlockingIOError:
                return
            except OSError as error:
                self._note_lost(error)
                self._drop_octets()
                continue
            self.queued -= sent
            if sent == len(head):
                queue.popleft()
            else:
                queue[0] = memoryview(head)[sent:]

    def _note_lost(self, error: OSError) -> None:
        """The kernel tells of a reset once, to whoever asks first: the reader would see a mere EOF.

        EPIPE is no such news: the peer's FIN, or our own, came before it.
        """
        if not isinstance(error, BrokenPipeError):
            self._is_reset = True

    def _drop_octets(self) -> None:
        """The peer takes nothing more; FIN and close still have their turn."""
        marks = [item for item in self._queue if isinstance(item, str)]
        self._queue.clear()
        self._queue.extend(marks)
        self._plain = [item for item in self._plain if item == "fin"]
        self.queued = 0

    def abandon(self) -> None:
        """Close at once, whatever is queued."""
        self._queue.clear()
        self.queued = 0
        self._carry_out("close")
