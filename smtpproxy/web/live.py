"""/live: the event log as it grows, over a websocket; it decides nothing about who may watch.

Each subscriber is a position in the log. One that reads slowly falls behind and then reads the log by itself;
one that does not read at all is dropped. Whatever goes wrong with one ends that one alone.
"""

import base64
import binascii
import re
import socket
import time
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import parse_qs

import h11
import msgspec
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_server_stream
from wsproto.utilities import ProtocolError

from smtpproxy.errors import FilterError, StoreError
from smtpproxy.inspect.filters.parsing import parse_filter
from smtpproxy.store.contract import Removed, Row
from smtpproxy.store.feed import Feed
from smtpproxy.web.hub import Hub, Lens, Track, Wish
from smtpproxy.web.security import SECURITY_HEADERS, Refusal

MAX_SUBSCRIBERS: Final = 128
HANDSHAKE_TIMEOUT_S: Final = 5.0
SEND_TIMEOUT_S: Final = 10.0
"""For one frame; who takes none for so long is gone, or will never keep up."""
PING_INTERVAL_S: Final = 20.0
PONG_TIMEOUT_S: Final = 10.0
CLOSE_TIMEOUT_S: Final = 2.0
RETRY_S: Final = 1.0
"""When to look again for a log that cannot be read."""
MAX_MESSAGE_BYTES: Final = 4096
"""Of what subscribers say, which nobody listens to."""
SEND_BUFFER_BYTES: Final = 256 * 1024
"""What the kernel holds for a subscriber; left to itself it takes megabytes for each that does not read."""
MAX_SEQ: Final = 2**63 - 1
GOING_AWAY: Final = 1001
_SEQ: Final = re.compile(r"[0-9]{1,19}\Z")
# What a websocket ends by when its peer is gone, is mad, or talks while it is being closed (the last is a
# fault of trio-websocket that must not go further than this connection).
_GONE: Final = (
    ConnectionClosed,
    ProtocolError,
    trio.BrokenResourceError,
    trio.ClosedResourceError,
    trio.TooSlowError,
)


class Asked(msgspec.Struct, frozen=True):
    """What a subscriber asks for.

    Attributes:
        after: the last position already seen; None begins at the head.
    """

    wish: Wish
    after: int | None = None


class Live:
    """The subscribers.

    Attributes:
        count: how many there are.
    """

    def __init__(
        self,
        feed: Feed,
        hub: Hub,
        *,
        hello: Callable[[], Awaitable[dict[str, object]]],
    ) -> None:
        """Serve that feed.

        Args:
            hello: what is told first; its `kind` is added.
        """
        self._feed = feed
        self._hub = hub
        self._hello = hello
        self.count = 0
        self._alone = trio.Event()

    async def wait_until_alone(self) -> None:
        """Return when there is no subscriber."""
        while self.count:
            self._alone = trio.Event()
            await self._alone.wait()

    def refusal(self, request: h11.Request) -> Refusal | None:
        """Why that upgrade does not become a subscriber; None where it does."""
        if self.count >= MAX_SUBSCRIBERS:
            return Refusal(
                status=503,
                code="busy",
                text=f"there are {MAX_SUBSCRIBERS} subscribers already; try again later",
                headers=((b"retry-after", b"5"),),
            )
        headers = dict(request.headers)
        if headers.get(b"sec-websocket-version") != b"13":
            return Refusal(
                status=426,
                code="bad-websocket",
                text="only version 13 of the websocket protocol is spoken here (RFC 6455)",
                headers=((b"sec-websocket-version", b"13"),),
            )
        if request.method != b"GET" or not _is_key(headers.get(b"sec-websocket-key", b"")):
            return Refusal(status=400, code="bad-websocket", text="this is no websocket handshake (RFC 6455)")
        try:
            asked = parse_query(request.target)
            parse_filter(asked.wish.filter, now=time.time())
        except ValueError as error:
            return Refusal(status=400, code="bad-request", text=str(error))
        except FilterError as error:
            return Refusal(status=400, code="bad-filter", text=str(error))
        return None

    async def serve(
        self, transport: trio.SocketStream, stream: trio.abc.Stream, request: h11.Request
    ) -> None:
        """Serve one subscriber whose upgrade was not refused, until either side ends it.

        Args:
            transport: its socket; the caller closes it, by force.
            stream: gives the upgrade request and what follows it.
        """
        asked = parse_query(request.target)
        transport.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        self.count += 1
        try:
            async with trio.open_nursery() as nursery:
                with trio.fail_after(HANDSHAKE_TIMEOUT_S):
                    proposed = await wrap_server_stream(
                        nursery, stream, message_queue_size=1, max_message_size=MAX_MESSAGE_BYTES
                    )
                    websocket = await proposed.accept(extra_headers=list(SECURITY_HEADERS))
                async with trio.open_nursery() as watching:
                    watching.start_soon(_drain, websocket, nursery.cancel_scope)
                    watching.start_soon(_keep_alive, websocket, nursery.cancel_scope)
                    await self._tell(websocket, asked)
                    watching.cancel_scope.cancel()
                with trio.move_on_after(CLOSE_TIMEOUT_S):
                    await websocket.aclose(GOING_AWAY, "smtpproxy is stopping")
                nursery.cancel_scope.cancel()
        except* _GONE:
            pass
        finally:
            self.count -= 1
            if not self.count:
                self._alone.set()

    async def _tell(self, websocket: WebSocketConnection, asked: Asked) -> None:
        """Tell the log from the position asked for, until it ends."""
        with self._hub.lens(asked.wish) as lens, self._feed.subscribe(asked.after) as subscription:
            # After subscribing: whatever is not in the log yet will be told.
            hello = msgspec.json.encode({"kind": "hello", **await self._hello()})
            await _send(websocket, hello.decode())
            track = lens.new_track()
            while True:
                try:
                    async for item in subscription:
                        for frame in await _rendered(lens, item, track):
                            await _send(websocket, frame)
                except StoreError:
                    await trio.sleep(RETRY_S)
                else:
                    return


async def _rendered(lens: Lens, item: list[Row] | Removed, track: Track | None) -> list[str]:
    """An item's frames; once it was taken from the feed it is not given again, so this tries until it can."""
    while True:
        try:
            return await lens.frames(item, track)
        except StoreError:
            await trio.sleep(RETRY_S)


async def _send(websocket: WebSocketConnection, frame: str) -> None:
    # Cancelled half-way it leaves half a frame behind: whoever sees TooSlowError closes the socket.
    with trio.fail_after(SEND_TIMEOUT_S):
        await websocket.send_message(frame)


async def _drain(websocket: WebSocketConnection, whole: trio.CancelScope) -> None:
    """Take what a subscriber says, to no end: unread it would keep pings and closes from being seen."""
    try:
        while True:
            await websocket.get_message()
    except ConnectionClosed:
        whole.cancel()


async def _keep_alive(websocket: WebSocketConnection, whole: trio.CancelScope) -> None:
    """Ping, and end it all when no pong comes."""
    while True:
        await trio.sleep(PING_INTERVAL_S)
        with trio.move_on_after(PONG_TIMEOUT_S) as waiting:
            await websocket.ping()
        if waiting.cancelled_caught:
            whole.cancel()
            return


def parse_query(target: bytes) -> Asked:
    """What the target of an upgrade asks for: `after`, `filter` and `content`.

    Raises:
        ValueError: says what is wrong with it.
    """
    query = target.partition(b"?")[2].decode("ascii", "replace")
    try:
        fields = parse_qs(query, keep_blank_values=True, max_num_fields=10)
    except ValueError:
        raise ValueError("the query has too many fields") from None
    after = fields.get("after", [""])[-1]
    if after and (not _SEQ.match(after) or int(after) > MAX_SEQ):
        raise ValueError("after must be a position in the log: a whole number, 0 for the oldest")
    content = fields.get("content", ["none"])[-1]
    if content not in ("none", "full"):
        raise ValueError("content must be none or full")
    wish = Wish(fields.get("filter", [""])[-1], "full" if content == "full" else "none")
    return Asked(wish, int(after) if after else None)


def _is_key(value: bytes) -> bool:
    try:
        return len(base64.b64decode(value, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False
