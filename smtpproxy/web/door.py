"""The one port: reads each request's head, refuses what it must, and leads on what remains.

An upgrade to /live goes to `live`; everything else, request by request, to the server behind a private unix
socket. Whatever a connection does ends that connection only. The door knows no page and no event.
"""

import contextlib
import errno
import socket
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Final, NoReturn

import h11
import trio

from smtpproxy.web.live import MAX_SUBSCRIBERS, Live
from smtpproxy.web.security import Access, Head, Headers, Refusal, with_security_headers
from smtpproxy.web.streams import ReplayedStream

MAX_HEAD_BYTES: Final = 32 * 1024
MAX_BODY_BYTES: Final = 64 * 1024
"""Of a request: the only one that needs a body is a login."""
MAX_CONNECTIONS: Final = 64
"""Besides those to /live, which has a bound of its own; one more is told to try again."""
MAX_OPEN: Final = MAX_CONNECTIONS + MAX_SUBSCRIBERS + 64
"""Whoever has not said what it wants counts here too; one more is closed at once, so that files are left."""
HEAD_TIMEOUT_S: Final = 5.0
BODY_TIMEOUT_S: Final = 10.0
IDLE_TIMEOUT_S: Final = 30.0
"""How long a connection may wait for its next request; browsers open another one without a word."""
SEND_TIMEOUT_S: Final = 30.0
"""For each piece of an answer, of at most 64 KiB."""
LINGER_S: Final = 1.0
_PIECE: Final = 65536
_OUT_OF_FILES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_STATUSES: Final = frozenset(HTTPStatus)
_NO_MORE_FILES_PAUSE_S: Final = 0.1
# RFC 9110 7.6.1: these concern one connection. The server behind us is never asked to upgrade.
_HOP_BY_HOP: Final = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade"}
)


class Door:
    """Serves the port, with a bound on connections."""

    def __init__(self, *, access: Access, live: Live, backend: Path, report: Callable[[str], None]) -> None:
        """A door that is not open yet.

        Args:
            backend: the unix socket that plain requests are led to.
            report: told of errors that are ours, by their names alone.
        """
        self._access = access
        self._live = live
        self._backend = backend
        self._report = report
        self._reported: set[str] = set()
        self._connections = 0

    async def serve(self, sockets: list[socket.socket]) -> NoReturn:
        """Accept connections until cancelled, which cuts those that there are."""
        async with trio.open_nursery() as nursery:
            for sock in sockets:
                nursery.start_soon(
                    self._accept, trio.SocketListener(trio.socket.from_stdlib_socket(sock)), nursery
                )
        raise AssertionError("accepting never ends")

    async def _accept(self, listener: trio.SocketListener, nursery: trio.Nursery) -> NoReturn:
        while True:
            try:
                stream = await listener.accept()
            except OSError as error:
                # Otherwise whoever connected has left again already.
                if error.errno in _OUT_OF_FILES:
                    await trio.sleep(_NO_MORE_FILES_PAUSE_S)
                continue
            if self._connections >= MAX_OPEN:
                await trio.aclose_forcefully(stream)
                continue
            self._connections += 1
            nursery.start_soon(self._guard, stream)

    async def _guard(self, stream: trio.SocketStream) -> None:
        """One connection, such that nothing that happens in it goes further."""
        try:
            with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
                await self._converse(stream)
        except Exception as error:  # noqa: BLE001 - see above
            self._tell(error)
        finally:
            self._connections -= 1
            await trio.aclose_forcefully(stream)

    def _tell(self, error: BaseException) -> None:
        """Report an error once: its text may hold what somebody sent, and somebody may send it often."""
        names = _names(error)
        if names not in self._reported and len(self._reported) < 20:
            self._reported.add(names)
            self._report(f"the page: internal error, please report it ({names})")

    async def _converse(self, stream: trio.SocketStream) -> None:
        """One request after the other."""
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
        timeout_s = HEAD_TIMEOUT_S
        while True:
            request: h11.Request | None = None
            body: bytes | None = None
            try:
                request = await self._read_head(stream, connection, timeout_s)
                if request is None:
                    return
                head = _head_of(request, stream)
                refusal = self._refusal(head, request)
                if refusal is None and head.is_upgrade:
                    await self._upgrade(stream, connection, request)
                    return
                body = await self._read_body(stream, connection)
                if refusal is None and body is None:
                    refusal = Refusal(status=413, code="too-large", text="the request's body is too large")
            except h11.RemoteProtocolError as error:
                refusal = Refusal(
                    status=error.error_status_hint, code="bad-request", text="this is no HTTP/1.1 request"
                )
            if refusal is not None:
                is_head = request is not None and request.method == b"HEAD"
                await self._refuse(stream, connection, refusal, is_head=is_head)
            elif request is not None:
                await self._forward(stream, connection, request, body or b"")
            if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                await _hang_up(stream)
                return
            connection.start_next_cycle()
            timeout_s = IDLE_TIMEOUT_S

    def _refusal(self, head: Head, request: h11.Request) -> Refusal | None:
        if not request.target.startswith(b"/"):
            return Refusal(status=400, code="bad-request", text="the target must be a path")
        refusal = self._access.refusal(head)
        if refusal is None and head.is_upgrade:
            if head.path != "/live":
                return Refusal(status=404, code="not-found", text="the only websocket here is /live")
            return self._live.refusal(request)
        if refusal is None and head.path == "/live":
            return Refusal(
                status=426,
                code="upgrade-required",
                text="/live is a websocket",
                headers=((b"upgrade", b"websocket"), (b"connection", b"upgrade")),
            )
        if refusal is None and self._connections - self._live.count > MAX_CONNECTIONS:
            return Refusal(
                status=503,
                code="busy",
                text="too many connections; try again",
                headers=((b"retry-after", b"1"), (b"connection", b"close")),
            )
        return refusal

    async def _read_head(
        self, stream: trio.SocketStream, connection: h11.Connection, timeout_s: float
    ) -> h11.Request | None:
        """The next request's head; None where none comes."""
        with trio.move_on_after(timeout_s):
            event = await _next_event(stream, connection)
            return event if isinstance(event, h11.Request) else None
        return None

    async def _read_body(self, stream: trio.SocketStream, connection: h11.Connection) -> bytes | None:
        """The request's body; None where it is too large, of which the rest is left unread."""
        body = bytearray()
        with trio.fail_after(BODY_TIMEOUT_S):
            while True:
                event = await _next_event(stream, connection)
                if not isinstance(event, h11.Data):
                    return bytes(body)
                body += event.data
                if len(body) > MAX_BODY_BYTES:
                    return None

    async def _upgrade(
        self, stream: trio.SocketStream, connection: h11.Connection, request: h11.Request
    ) -> None:
        while await _next_event(stream, connection) is not h11.PAUSED:
            pass
        # Only what a websocket needs is handed on: other header fields have crashed what reads them.
        key = next(value for name, value in request.headers if name == b"sec-websocket-key")
        first = (
            b"GET /live HTTP/1.1\r\nHost: smtpproxy\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key + b"\r\n\r\n"
        )
        early, _ = connection.trailing_data
        await self._live.serve(stream, ReplayedStream(stream, first + early), request)

    async def _refuse(
        self,
        stream: trio.SocketStream,
        connection: h11.Connection,
        refusal: Refusal,
        *,
        is_head: bool = False,
    ) -> None:
        if connection.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        body = refusal.body
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            *refusal.headers,
        ]
        await _send(stream, connection, _response(refusal.status, headers))
        if not is_head:
            await _send(stream, connection, h11.Data(data=body))
        await _send(stream, connection, h11.EndOfMessage())

    async def _forward(
        self, stream: trio.SocketStream, connection: h11.Connection, request: h11.Request, body: bytes
    ) -> None:
        """Ask the server behind us, and pass its answer on as it comes."""
        try:
            backend = await trio.open_unix_socket(str(self._backend))
        except OSError:
            starting = Refusal(status=503, code="starting", text="the page is being started; try again")
            await self._refuse(stream, connection, starting, is_head=request.method == b"HEAD")
            return
        client = h11.Connection(h11.CLIENT)
        headers = [
            (name, value)
            for name, value in request.headers
            if name not in _HOP_BY_HOP and name not in (b"content-length", b"expect")
        ]
        headers += [(b"connection", b"close"), (b"content-length", str(len(body)).encode())]
        is_head = request.method == b"HEAD"
        # RFC 9110 9.3.2: the answer to a GET but for its content, which most of what is there does not know.
        method = b"GET" if is_head else request.method
        asked = h11.Request(method=method, target=request.target, headers=headers)
        async with backend:
            for event in (asked, h11.Data(data=body), h11.EndOfMessage()):
                await _send(backend, client, event)
            while True:
                answer = await _next_event(backend, client)
                if isinstance(answer, h11.Response):
                    kept = [pair for pair in answer.headers if pair[0] not in (b"connection", b"keep-alive")]
                    await _send(stream, connection, _response(answer.status_code, kept))
                    if is_head:
                        await _send(stream, connection, h11.EndOfMessage())
                        return
                elif isinstance(answer, h11.Data | h11.EndOfMessage):
                    await _send(stream, connection, answer)
                    if isinstance(answer, h11.EndOfMessage):
                        return
                elif not isinstance(answer, h11.InformationalResponse):
                    return


def _head_of(request: h11.Request, stream: trio.SocketStream) -> Head:
    headers = list(request.headers)
    upgrades = [value.strip().lower() for name, value in headers if name == b"upgrade"]
    return Head(
        method=request.method,
        path=request.target.partition(b"?")[0].decode("ascii", "replace"),
        headers=headers,
        local=str(stream.socket.getsockname()[0]),
        is_upgrade=b"websocket" in upgrades,
    )


def _response(status: int, headers: Headers) -> h11.Response:
    reason = HTTPStatus(status).phrase if status in _STATUSES else ""
    return h11.Response(status_code=status, headers=with_security_headers(headers), reason=reason)


async def _next_event(
    stream: trio.SocketStream, connection: h11.Connection
) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
    """What the other end says next; NEED_DATA never."""
    while True:
        event = connection.next_event()
        if event is not h11.NEED_DATA:
            return event
        if connection.they_are_waiting_for_100_continue:
            await _send(stream, connection, h11.InformationalResponse(status_code=100, headers=[]))
        connection.receive_data(await stream.receive_some(_PIECE))


async def _send(stream: trio.SocketStream, connection: h11.Connection, event: h11.Event) -> None:
    data = connection.send(event)
    if data:
        with trio.fail_after(SEND_TIMEOUT_S):
            await stream.send_all(data)


async def _hang_up(stream: trio.SocketStream) -> None:
    """Close such that the answer arrives: unread octets would make the kernel reset the connection."""
    with trio.move_on_after(LINGER_S):
        await stream.send_eof()
        while await stream.receive_some(_PIECE):
            pass


def _names(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return ", ".join(sorted({_names(inner) for inner in error.exceptions}))
    return type(error).__name__
