"""/live watched from another process: connection after connection, every event once; it shows nothing itself.

Whoever is at the other end is not trusted: frames are bounded, and what is no event line ends it.
"""

import os
import re
import socket
import ssl
from collections.abc import Callable
from typing import Final
from urllib.parse import quote, urlsplit

import h11
import msgspec
import trio
from trio_websocket import (
    ConnectionClosed,
    ConnectionRejected,
    HandshakeError,
    WebSocketConnection,
    wrap_client_stream,
)
from wsproto.utilities import ProtocolError

from smtpproxy.errors import ConfigError, FilterError, ServiceError, SmtpProxyError
from smtpproxy.recording.codec import MAX_LINE_BYTES
from smtpproxy.store.contract import Removed, Row
from smtpproxy.store.runs import kind_of
from smtpproxy.wire.escape import escape

CONNECT_TIMEOUT_S: Final = 10.0
PING_INTERVAL_S: Final = 20.0
PONG_TIMEOUT_S: Final = 10.0
RETRY_MIN_S: Final = 0.2
RETRY_MAX_S: Final = 5.0
MAX_FRAME_BYTES: Final = MAX_LINE_BYTES + 100
"""A frame is 64 KiB, or a single line with its position in front."""
MAX_SAID_CHARACTERS: Final = 300
"""Of why we are refused."""

_SCHEMES: Final = {"http": False, "ws": False, "https": True, "wss": True}
_COLUMN: Final = re.compile(r"filter, column ([0-9]{1,5}): (.*)\Z", re.DOTALL)
_TOKEN: Final = re.compile(r"[!-~]*\Z")
# What a connection ends by, or never comes to be by; some of it are faults of what reads it (h11, Unicode).
_LOST: Final = (
    ConnectionClosed,
    HandshakeError,
    ProtocolError,
    h11.ProtocolError,
    UnicodeDecodeError,
    OSError,
    trio.BrokenResourceError,
    trio.ClosedResourceError,
    trio.TooSlowError,
)


class PageUrl(msgspec.Struct, frozen=True, kw_only=True):
    """Where a page is."""

    host: str
    port: int
    is_tls: bool

    def __str__(self) -> str:
        return f"{'https' if self.is_tls else 'http'}://{self.authority}"

    @property
    def authority(self) -> str:
        """As the Host header says it; without the port where the scheme says that."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.is_tls else 80) else f"{host}:{self.port}"


def parse_page_url(text: str) -> PageUrl:
    """The page that a user names: its URL, the websocket's, or HOST:PORT.

    Raises:
        ConfigError: it is no such URL.
    """
    expected = f"--url must be the page's URL, such as http://127.0.0.1:8025, not {escape(text[:100])!r}"
    if not _TOKEN.match(text):
        raise ConfigError(expected)
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        port = parts.port
    except ValueError:
        raise ConfigError(expected) from None
    if "@" in parts.netloc:
        raise ConfigError("--url must not hold a user or a password; a token is given by --token")
    is_fit = parts.path in ("", "/", "/live") and not parts.query and not parts.fragment
    if parts.scheme not in _SCHEMES or not parts.hostname or port == 0 or not is_fit:
        raise ConfigError(expected)
    is_tls = _SCHEMES[parts.scheme]
    return PageUrl(host=parts.hostname, port=port or (443 if is_tls else 80), is_tls=is_tls)


class _Head(msgspec.Struct, frozen=True):
    """What is looked at of a line."""

    kind: str
    seq: int = 0
    session: str = ""
    from_seq: int = 0
    to_seq: int = 0
    log: str = ""
    newest: int = 0


class _Error(msgspec.Struct, frozen=True):
    code: str
    text: str


class _Problem(msgspec.Struct, frozen=True):
    error: _Error


_decode_head = msgspec.json.Decoder(_Head).decode


class LiveClient:
    """Follows one page's log, and finds its place again after each break."""

    def __init__(
        self,
        url: PageUrl,
        *,
        show: Callable[[list[Row] | Removed], bool],
        report: Callable[[str], None],
        wanted: str = "",
        after: int | None = None,
        token: str = "",
    ) -> None:
        """Nothing is connected yet.

        Args:
            url: the page.
            show: takes the next events, in order; called in a thread, may block; false to end.
            report: told in one line when the connection is lost, and when it is back.
            wanted: a filter; "" for everything.
            after: the last position already seen; None begins at the head.
            token: proves that we may watch; "" where none is needed.

        Raises:
            ConfigError: the token cannot be one.
        """
        if not _TOKEN.match(token):
            raise ConfigError("--token must be one word of ASCII characters")
        self._url = url
        self._show = show
        self._report = report
        self._wanted = wanted
        self._seen = after
        self._token = token
        self._log = ""
        # Where to begin again while nothing was seen yet.
        self._newest: int | None = None
        self._is_showing = False
        self._is_over = False
        self._has_been_connected = False
        self._is_connected = False
        # One at a time, also where a thread was left behind: lines stay in order.
        self._limiter = trio.CapacityLimiter(1)

    async def follow(self) -> None:
        """Watch until `show` has enough.

        Cancellation leaves a thread that is held up in `show` behind.

        Raises:
            ServiceError: the page cannot be reached at first, or refuses us; says what to do.
            FilterError: it cannot read the filter.
        """
        delay = RETRY_MIN_S
        while (problem := await self._try()) is not None:
            if not self._has_been_connected:
                raise ServiceError(
                    f"cannot watch {self._url}: {problem}; is it running? Start it by"
                    f" smtpproxy run --web {self._url.authority}, or name another page by --url"
                )
            if self._is_connected:
                self._is_connected = False
                delay = RETRY_MIN_S
                self._report(f"the connection to {self._url} is lost ({problem}); connecting again")
            await trio.sleep(delay)
            delay = min(delay * 2, RETRY_MAX_S)

    async def _try(self) -> str | None:
        """One connection, to its end; why it ended, None where we wanted it."""
        try:
            await self._connect()
        except BaseExceptionGroup as group:
            lost, others = group.split(_LOST)
            if others is not None:
                # The user's mistake, a bug, or a cancellation; what was lost beside it matters no more.
                mistakes = [error for error in _leaves(others) if isinstance(error, SmtpProxyError)]
                raise (mistakes[0] if mistakes else others) from None
            found = [] if lost is None else _leaves(lost)
            for error in found:
                if isinstance(error, ConnectionRejected):
                    return self._refused(error)
            return _why(found)
        return None if self._is_over else "no answer"

    async def _connect(self) -> None:
        async with trio.open_nursery() as nursery:
            with trio.fail_after(CONNECT_TIMEOUT_S):
                tcp = await trio.open_tcp_stream(self._url.host, self._url.port)
                try:
                    websocket = await self._shake_hands(tcp, nursery)
                except BaseException:
                    await trio.aclose_forcefully(tcp)
                    raise
            try:
                nursery.start_soon(self._keep_alive, websocket, nursery.cancel_scope)
                while not self._is_over:
                    await self._take(await websocket.get_message())
            finally:
                # Not the polite way, which waits for the other end: nothing that we say matters to it.
                await trio.aclose_forcefully(tcp)
                nursery.cancel_scope.cancel()

    async def _shake_hands(self, tcp: trio.SocketStream, nursery: trio.Nursery) -> WebSocketConnection:
        stream: trio.SocketStream | trio.SSLStream[trio.SocketStream] = tcp
        if self._url.is_tls:
            context = ssl.create_default_context()
            stream = trio.SSLStream(tcp, context, server_hostname=self._url.host, https_compatible=True)
            await stream.do_handshake()
        with trio.CancelScope() as shaking:
            reading, may_read = await nursery.start(_hold, shaking)
            may_read.set()
            return await wrap_client_stream(
                reading,
                stream,
                self._url.authority,
                self._target(),
                extra_headers=self._headers(),
                max_message_size=MAX_FRAME_BYTES,
            )
        raise HandshakeError

    def _target(self) -> str:
        after = self._newest if self._seen is None else self._seen
        fields = {"content": "full", "filter": self._wanted, "after": "" if after is None else str(after)}
        return "/live?" + "&".join(f"{name}={quote(text, safe='')}" for name, text in fields.items() if text)

    def _headers(self) -> list[tuple[bytes, bytes]]:
        return [(b"Authorization", b"Bearer " + self._token.encode())] if self._token else []

    async def _keep_alive(self, websocket: WebSocketConnection, whole: trio.CancelScope) -> None:
        """Ping, and end the connection when no pong comes; while we show, we may be what it waits for."""
        while True:
            await trio.sleep(PING_INTERVAL_S)
            with trio.move_on_after(PONG_TIMEOUT_S) as waiting:
                await websocket.ping()
            if waiting.cancelled_caught and not self._is_showing:
                whole.cancel()
                return

    async def _take(self, frame: str | bytes) -> None:
        rows: list[Row] = []
        for line in (frame.encode("utf-8", "replace") if isinstance(frame, str) else frame).split(b"\n"):
            head = _head_of(line)
            if head.kind == "hello":
                self._greet(head)
            elif head.kind == "removed":
                await self._tell(rows)
                rows = []
                self._seen = max(self._seen or 0, head.to_seq)
                await self._tell(Removed(head.from_seq, head.to_seq))
            elif self._seen is None or head.seq > self._seen:
                rows.append(_row(head, line))
        await self._tell(rows)

    def _greet(self, hello: _Head) -> None:
        if self._log and hello.log and hello.log != self._log:
            # Positions mean something only within one log (docs/live.md).
            self._log = hello.log
            self._seen = self._newest = None
            self._report(f"{self._url} has another log now, which is watched from here on")
            raise trio.ClosedResourceError("another log")
        self._log = hello.log or self._log
        if self._seen is None and self._newest is None:
            self._newest = hello.newest
        if self._is_connected:
            return
        self._is_connected = True
        self._report(f"{'connected again to' if self._has_been_connected else 'watching'} {self._url}")
        self._has_been_connected = True

    async def _tell(self, item: list[Row] | Removed) -> None:
        if not item:
            return
        if not isinstance(item, Removed):
            # Before it is shown: whatever becomes of the connection, the thread shows it to its end.
            self._seen = item[-1][0]
        self._is_showing = True
        try:
            is_wanted = await trio.to_thread.run_sync(
                self._show, item, abandon_on_cancel=True, limiter=self._limiter
            )
        finally:
            self._is_showing = False
        self._is_over = self._is_over or not is_wanted

    def _refused(self, error: ConnectionRejected) -> str:
        """Why the page does not let us watch, where that may change; else it raises."""
        code, text = _said(error)
        if error.status_code == 503:
            return text
        if error.status_code == 401:
            raise ServiceError(
                f"{self._url} does not know that token; --token, or SMTPPROXY_WEB_TOKEN, must be what it was"
                " started with"
                if self._token
                else f"{self._url} wants a token: give it by --token, or by SMTPPROXY_WEB_TOKEN"
            )
        column = _COLUMN.match(text) if code == "bad-filter" else None
        if column is not None:
            raise FilterError(int(column[1]), column[2])
        raise ServiceError(f"{self._url} refuses to be watched: {text}")


async def _hold(
    shaking: trio.CancelScope, *, task_status: trio.TaskStatus[tuple[trio.Nursery, trio.Event]]
) -> None:
    """Hold the nursery of trio_websocket's reader.

    Where the other end leaves before it has answered, or answers something else, only the reader's end tells:
    the handshake would be waited for all the same.
    """
    async with trio.open_nursery() as reading:
        may_read = trio.Event()
        task_status.started((reading, may_read))
        await may_read.wait()
    shaking.cancel()


def _head_of(line: bytes) -> _Head:
    try:
        return _decode_head(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ServiceError("what comes from there is not what smtpproxy says; check --url") from None


def _row(head: _Head, line: bytes) -> Row:
    """The event as it stands in the log, where its line has no position."""
    front = b'{"seq":%d,' % head.seq
    if head.seq < 1 or not line.startswith(front):
        raise ServiceError("what comes from there is not what smtpproxy says; check --url")
    recorded = b"{" + line[len(front) :]
    return head.seq, head.session, kind_of(recorded), recorded


def _said(error: ConnectionRejected) -> tuple[str, str]:
    """The code and the words of a refusal."""
    try:
        said = msgspec.json.decode(error.body or b"", type=_Problem).error
    except msgspec.DecodeError:
        return "", f"it answers HTTP {error.status_code}, as smtpproxy would not; check --url"
    return said.code, escape(said.text[:MAX_SAID_CHARACTERS])


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]


def _why(errors: list[BaseException]) -> str:
    """What ended a connection, in words."""
    for error in errors:
        match error:
            case trio.TooSlowError():
                return "no answer"
            case ConnectionClosed() if error.reason is not None and error.reason.code == 1001:
                return "it is stopping"
            case ssl.SSLCertVerificationError():
                return f"its certificate is not trusted: {error.verify_message}"
            case ProtocolError() | HandshakeError() | h11.ProtocolError() | UnicodeDecodeError():
                return "it does not answer as a websocket does"
            case OSError():
                return _os_words(error)
            case _:
                continue
    return "it was closed"


def _os_words(error: OSError) -> str:
    # trio tries every address of a name, and says what each try came to in the cause.
    for cause in [*(_leaves(error.__cause__) if error.__cause__ is not None else []), error]:
        if isinstance(cause, socket.gaierror):
            return "the host name is not known"
        if isinstance(cause, OSError) and cause.errno:
            return os.strerror(cause.errno).lower()
    return "it cannot be reached"
