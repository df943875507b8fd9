"""A web port over a real log, in the test's own trio, without a proxy around it."""

import base64
import json
import os
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import h11
import httpx
import trio
from trio_websocket import WebSocketConnection, wrap_client_stream

from smtpproxy.recording.codec import encode
from smtpproxy.store.log import EventLog, open_log
from smtpproxy.web.security import Access
from smtpproxy.web.server import serve_web
from smtpproxy.web.sockets import WebAddress, bind_web
from smtpproxy.web.surroundings import RouteShown, Surroundings
from tests.conversation import Conversation

PATIENCE_S = 10.0


class Stage:
    """The port, and the log behind it.

    Attributes:
        reported: what the operator was told.
        is_over: set it, once the log is closed, to end the port.
    """

    def __init__(self, log: EventLog, store: Path, address: WebAddress) -> None:
        self.log = log
        self.store = store
        self.address = address
        self.reported: list[str] = []
        self.is_over = trio.Event()

    @property
    def url(self) -> str:
        return self.address.url

    @property
    def host(self) -> str:
        """As the Host header says it."""
        return self.url.removeprefix("http://")

    async def keep(self, *talks: Conversation) -> None:
        """Record conversations, and wait until they are in the log."""
        for talk in talks:
            for event in talk.events:
                self.log.append(encode(event), event)
        await self.log.flush()

    @asynccontextmanager
    async def client(self, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
        """An HTTP client for the port; it sends the Origin that the page would."""
        headers = {"Origin": self.url, **settings.pop("headers", {})}
        with trio.fail_after(PATIENCE_S * 3):
            async with httpx.AsyncClient(base_url=self.url, headers=headers, **settings) as client:
                yield client

    async def get(self, path: str, **settings: Any) -> httpx.Response:
        """One GET."""
        async with self.client() as client:
            return await client.get(path, **settings)

    async def ask(self, *pieces: bytes) -> bytes:
        """Say these octets on a connection of its own; all that comes back until the port closes it."""
        with trio.fail_after(PATIENCE_S):
            async with await self.connect() as stream:
                for piece in pieces:
                    await stream.send_all(piece)
                answer = b""
                while data := await stream.receive_some():
                    answer += bytes(data)
                return answer

    async def connect(self) -> trio.SocketStream:
        return await trio.open_tcp_stream(self.address.host, self.address.port)

    @asynccontextmanager
    async def live(self, query: str = "") -> AsyncIterator[WebSocketConnection]:
        """A subscription by trio-websocket's client, which forgets to close its socket at times."""
        stream = await self.connect()
        try:
            async with trio.open_nursery() as nursery:
                with trio.fail_after(PATIENCE_S):
                    websocket = await wrap_client_stream(nursery, stream, self.host, f"/live{query}")
                yield websocket
                with trio.move_on_after(1):
                    await websocket.aclose()
                nursery.cancel_scope.cancel()
        finally:
            await trio.aclose_forcefully(stream)

    def upgrade(self, query: str = "", **fields: bytes | None) -> bytes:
        """The request that opens a websocket; keywords replace, add or (None) leave out header fields."""
        headers: dict[str, bytes | None] = {
            "Host": self.host.encode(),
            "Upgrade": b"websocket",
            "Connection": b"Upgrade",
            "Sec-WebSocket-Version": b"13",
            "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)),
            **{name.replace("_", "-"): value for name, value in fields.items()},
        }
        lines = [b"GET /live%s HTTP/1.1" % query.encode()]
        lines += [name.encode() + b": " + value for name, value in headers.items() if value is not None]
        return b"\r\n".join([*lines, b"", b""])

    async def answer(self, request: bytes) -> tuple[int, str]:
        """The status of the answer to these octets, and the error's text where it is an error."""
        with trio.fail_after(PATIENCE_S):
            async with await self.connect() as stream:
                await stream.send_all(request)
                client = h11.Connection(h11.CLIENT)
                client.send(h11.Request(method="GET", target="/", headers=[("Host", "x"), ("Upgrade", "x")]))
                client.send(h11.EndOfMessage())
                status, body = 0, b""
                while True:
                    event = client.next_event()
                    if event is h11.NEED_DATA:
                        client.receive_data(await stream.receive_some())
                    elif isinstance(event, h11.Response | h11.InformationalResponse):
                        status = event.status_code
                        if status == 101:
                            return status, ""
                    elif isinstance(event, h11.Data):
                        body += event.data
                    elif isinstance(event, h11.EndOfMessage):
                        is_error = body.startswith(b'{"error"')
                        return status, json.loads(body)["error"]["text"] if is_error else body.decode()

    async def is_well(self) -> bool:
        """Whether the port still serves a page, and nothing was reported."""
        return (await self.get("/livez")).status_code == 200 and self.reported == []


@asynccontextmanager
async def web_port(
    folder: Path, *, host: str = "127.0.0.1", token: str = "", names: tuple[str, ...] = ()
) -> AsyncIterator[Stage]:
    """A web port on a free port of its own."""
    store = folder / "mail.db"
    certificate = folder / "ca.pem"
    certificate.write_text("-----BEGIN CERTIFICATE-----\n")
    async with open_log(store, encode=encode) as log:
        with ExitStack() as closing:
            sockets = bind_web(host, 0, closing=closing)
            stage = Stage(log, store, sockets.address)
            around = Surroundings(
                version="0.1.0",
                store=store,
                feed=log.feed,
                status=log.status,
                routes=(RouteShown(name="default", listen="smtp://127.0.0.1:1025", upstream="sandbox:"),),
                ca=certificate,
                report=stage.reported.append,
            )
            access = Access(sockets.address, token=token, names=names)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(serve_web, around, access, sockets, is_over=stage.is_over))
                yield stage
                nursery.cancel_scope.cancel()


async def told(websocket: WebSocketConnection) -> list[dict[str, Any]]:
    """The lines of the next frame."""
    with trio.fail_after(PATIENCE_S):
        frame = await websocket.get_message()
    assert isinstance(frame, str)
    return [json.loads(line) for line in frame.split("\n")]


async def told_until(websocket: WebSocketConnection, seq: int) -> list[dict[str, Any]]:
    """All lines up to the one at that position, the hello line left out."""
    lines: list[dict[str, Any]] = []
    while not lines or lines[-1].get("seq", lines[-1].get("to_seq", 0)) < seq:
        lines += [line for line in await told(websocket) if line["kind"] != "hello"]
    return lines
