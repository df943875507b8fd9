"""The client's end of one connection: carries out what an exchange asks for; it knows no recording.

It reads while it writes, so that a server which answers early, or stops reading, blocks nobody. Every wait is
bounded, and the connection is closed whatever happens.
"""

import math
import socket
import ssl
from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar, assert_never

import trio

from smtpproxy.endpoints import Endpoint
from smtpproxy.net.dial import dial, reason_for
from smtpproxy.net.transport import Eof, PeerReset, Received, TlsDown, TlsUp, Transport
from smtpproxy.replay.exchange import (
    Ask,
    Connect,
    Connected,
    Gone,
    Hear,
    Heard,
    Pause,
    Said,
    Say,
    Silent,
    Told,
    Upgrade,
    Upgraded,
)
from smtpproxy.session.events import TlsInfo
from smtpproxy.tls.inspection import failure_of, info_of
from smtpproxy.tls.names import server_hostname_for, sni_for
from smtpproxy.wire.replies import ReplyReader

MAX_REPLY_BYTES: Final = 256 * 1024
MAX_UNREAD_BYTES: Final = 1024 * 1024
"""Of replies that nobody asked for yet; above it the socket is not read."""
WRITE_BYTES: Final = 64 * 1024
EARLY_REPLY_STALL_S: Final = 5.0
"""How long a server that has answered already may take nothing before the rest is kept from it."""
CLOSE_TIMEOUT_S: Final = 2.0
_INJECTION: Final = (
    "the server said more behind its 220 to STARTTLS, in clear: it or somebody in between injects replies"
)
_NAMELESS: Final = "a unix socket has no name that the server's certificate could be checked for"

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientLimits:
    """Bounds of time, in seconds.

    Attributes:
        write_timeout_s: without the server taking a single octet (RFC 5321 4.5.3.2.5).
    """

    connect_timeout_s: float = 30.0
    handshake_timeout_s: float = 30.0
    write_timeout_s: float = 180.0


async def carry_out(
    exchange: Generator[Ask, Told, Result],
    target: Endpoint,
    context: ssl.SSLContext,
    *,
    connect_to: tuple[str, int] | None = None,
    is_verified: bool = True,
    limits: ClientLimits | None = None,
) -> Result:
    """Do what the exchange asks for until it returns.

    Args:
        exchange: asks; it is closed in any case.
        target: whom to dial, and the name that TLS checks.
        context: for TLS as a client.
        connect_to: dial this host and port instead.
        is_verified: the context checks the server's certificate.
        limits: bounds of time; Hear brings its own.

    Returns:
        What the exchange returned. The connection is closed, also on errors and cancellation.

    Raises:
        EndpointError: TLS cannot carry the target's name.
    """
    client = _Client(target, context, connect_to, is_verified=is_verified, limits=limits or ClientLimits())
    try:
        ask = next(exchange)
        while True:
            ask = exchange.send(await client.answer(ask))
    except StopIteration as stop:
        await client.close()
        result: Result = stop.value
        return result
    finally:
        exchange.close()
        client.abandon()


class _Client:
    """One connection, from dialling to its end."""

    def __init__(
        self,
        target: Endpoint,
        context: ssl.SSLContext,
        connect_to: tuple[str, int] | None,
        *,
        is_verified: bool,
        limits: ClientLimits,
    ) -> None:
        self._target = target
        self._context = context
        self._connect_to = connect_to
        self._is_verified = is_verified
        self._limits = limits
        self._replies = ReplyReader(limit=MAX_REPLY_BYTES)
        self._heard: tuple[bytes, bool] | None = None
        self._heard_at = 0.0
        self._gone: Gone | None = None
        self._is_stuck = False
        self._sock: socket.socket
        self._transport: Transport | None = None

    async def answer(self, ask: Ask) -> Told:
        """Do one thing that is asked for."""
        match ask:
            case Connect():
                return await self._connect(is_tls=ask.is_tls)
            case Say():
                return await self._say(ask.pieces)
            case Hear():
                return await self._hear(ask.timeout_s)
            case Upgrade():
                return await self._upgrade()
            case Pause():
                return await self._pause(ask.seconds)
            case _:
                assert_never(ask)

    # -- the connection

    async def _connect(self, *, is_tls: bool) -> Told:
        where = f"cannot reach {self._target.hostport}"
        try:
            with trio.fail_after(self._limits.connect_timeout_s):
                self._sock = await dial(self._target, self._connect_to)
        except trio.TooSlowError:
            reason = f"{where}: no answer within {self._limits.connect_timeout_s:g} s"
            return Gone(reason=reason, is_connected=False)
        except OSError as error:
            return Gone(reason=f"{where}: {reason_for(error)}", is_connected=False)
        self._transport = Transport(self._sock, on_closing=partial(trio.lowlevel.notify_closing, self._sock))
        if not is_tls:
            return Connected(at=trio.current_time())
        info = await self._shake(is_upgrade=False)
        if info.error:
            return Gone(reason=f"{self._target.hostport}: {info.error}", is_connected=False, tls=info)
        return Connected(tls=info, at=trio.current_time())

    async def close(self) -> None:
        """Say goodbye to the transport: close_notify, FIN; bounded."""
        transport = self._transport
        if transport is None or transport.is_closed or self._is_stuck:
            return
        transport.close()
        with trio.move_on_after(CLOSE_TIMEOUT_S):
            while transport.needs_flush and not transport.is_closed:
                await trio.lowlevel.wait_writable(self._sock)
                transport.flush()

    def abandon(self) -> None:
        """Close at once; nothing where that was done."""
        if self._transport is not None and not self._transport.is_closed:
            self._transport.abandon()

    # -- TLS

    async def _upgrade(self) -> Told:
        transport = self._transport
        assert transport is not None
        # What is there before our ClientHello was said in clear, by whomever (RFC 3207 6, CVE-2021-38371).
        self._replies.feed(transport.receive_nowait())
        if self._replies.pending or self._heard is not None:
            return Upgraded(tls=TlsInfo(error=_INJECTION), at=trio.current_time())
        info = await self._shake(is_upgrade=True)
        return Upgraded(tls=info, at=trio.current_time())

    async def _shake(self, *, is_upgrade: bool) -> TlsInfo:
        """Carry a handshake through; `error` tells of its failure, and then the connection is over."""
        transport, host = self._transport, self._target.host
        assert transport is not None
        if not host and self._context.check_hostname:
            return TlsInfo(error=_NAMELESS, advice="--upstream-insecure goes on without checking it")
        transport.start_tls(
            self._context,
            is_server=False,
            hostname=server_hostname_for(host) if host else None,
            is_upgrade=is_upgrade,
        )
        failure: Exception | None = None
        try:
            with trio.fail_after(self._limits.handshake_timeout_s):
                received = await self._handshake(transport)
        except trio.TooSlowError:
            received, failure = None, TimeoutError()
        match received:
            case TlsUp():
                assert transport.ssl_object is not None
                return info_of(
                    transport.ssl_object, leg="server", sni=sni_for(host), is_verified=self._is_verified
                )
            case bytes():
                self._gone = Gone(reason=_INJECTION)
                return TlsInfo(error=_INJECTION)
            case TlsDown():
                failure = received.error
        info = failure_of(
            failure or EOFError(), leg="server", ssl_object=transport.ssl_object, sni=sni_for(host), host=host
        )
        self._gone = Gone(reason=info.error, tls=info)
        return info

    async def _handshake(self, transport: Transport) -> Received:
        while True:
            received = transport.read()
            if received is not None:
                return received
            if transport.needs_flush:
                await _either(self._sock)
                transport.flush()
            elif not transport.has_more:
                await trio.lowlevel.wait_readable(self._sock)

    # -- hearing

    def _read(self) -> None:
        """Take what the socket has, once."""
        transport = self._transport
        assert transport is not None
        while self._gone is None:
            received = transport.read()
            match received:
                case bytes():
                    self._replies.feed(received)
                    self._heard_at = trio.current_time()
                case Eof():
                    self._gone = Gone(reason="the server closed the connection")
                case PeerReset():
                    self._gone = Gone(reason="the server reset the connection")
                case TlsDown():
                    self._gone = self._gone_by_tls(received)
                case TlsUp() | None:
                    pass
                case _:
                    assert_never(received)
            if not transport.has_more:
                return

    def _gone_by_tls(self, down: TlsDown) -> Gone:
        if down.is_late:
            return Gone(reason="the connection broke inside TLS")
        # In TLS 1.3 a server refuses our certificate when the handshake stands for us already.
        host = self._target.host
        assert self._transport is not None
        info = failure_of(
            down.error, leg="server", ssl_object=self._transport.ssl_object, sni=sni_for(host), host=host
        )
        return Gone(reason=info.error, tls=info)

    def _next_reply(self) -> Heard | None:
        reply, self._heard = self._heard or self._replies.take(), None
        if reply is None:
            return None
        return Heard(raw=reply[0], at=self._heard_at, is_garbled=reply[1])

    async def _hear(self, timeout_s: float) -> Told:
        with trio.move_on_after(timeout_s):
            while True:
                await trio.lowlevel.checkpoint()
                heard = self._next_reply()
                if heard is not None:
                    return heard
                if self._gone is not None:
                    return self._gone
                await trio.lowlevel.wait_readable(self._sock)
                self._read()
        return Silent(seconds=timeout_s)

    async def _pause(self, seconds: float) -> Told:
        with trio.move_on_after(seconds):
            while self._gone is None:
                if self._replies.pending > MAX_UNREAD_BYTES:
                    await trio.sleep(math.inf)
                await trio.lowlevel.wait_readable(self._sock)
                self._read()
            return self._gone
        return Said(at=trio.current_time())

    # -- saying

    async def _say(self, pieces: Iterable[bytes]) -> Told:
        transport = self._transport
        assert transport is not None
        for segment in _segments(pieces):
            if self._gone is not None:
                return self._gone
            transport.send(segment)
            if not await self._flush(transport):
                return self._gone or Gone(reason="the server takes no more octets")
        await trio.lowlevel.checkpoint()
        return Said(at=trio.current_time())

    async def _flush(self, transport: Transport) -> bool:
        """Wait until all is with the kernel; what the server says meanwhile is kept.

        Returns:
            Whether the server goes on taking octets.
        """
        left, moved_at = transport.queued, trio.current_time()
        while transport.needs_flush:
            stall_s = EARLY_REPLY_STALL_S if self._has_reply() else self._limits.write_timeout_s
            with trio.move_on_at(moved_at + stall_s) as waiting:
                if self._replies.pending > MAX_UNREAD_BYTES:
                    await trio.lowlevel.wait_writable(self._sock)
                else:
                    await _either(self._sock)
            if waiting.cancelled_caught:
                self._gone, self._is_stuck = Gone(reason=f"the server took nothing for {stall_s:g} s"), True
                return False
            if self._replies.pending <= MAX_UNREAD_BYTES:
                self._read()
            transport.flush()
            if self._gone is not None:
                return False
            if transport.queued != left:
                left, moved_at = transport.queued, trio.current_time()
        return True

    def _has_reply(self) -> bool:
        if self._heard is None:
            self._heard = self._replies.take()
        return self._heard is not None


async def _either(sock: socket.socket) -> None:
    """Return when the socket can be read or written."""

    async def first(wait: Callable[[socket.socket], Awaitable[None]]) -> None:
        await wait(sock)
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(first, trio.lowlevel.wait_readable)
        nursery.start_soon(first, trio.lowlevel.wait_writable)


def _segments(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same octets, small pieces together and large ones cut: a group of commands is one segment."""
    held = bytearray()
    for piece in pieces:
        for start in range(0, len(piece), WRITE_BYTES):
            held += piece[start : start + WRITE_BYTES]
            if len(held) >= WRITE_BYTES:
                yield bytes(held)
                held.clear()
    if held:
        yield bytes(held)
