"""The yardstick: the least a trio proxy with TLS on both legs can do; it parses nothing and records nothing.

It checks the server's certificate, as smtpproxy does.

Up to STARTTLS it passes lines and replies on one by one; from the handshakes on it moves octets.

    pump.py MODE LISTEN_PORT UPSTREAM_PORT CERT KEY CA        MODE is plain, starttls or implicit
"""

import contextlib
import socket
import ssl
import sys

import trio

CHUNK_BYTES = 65536
GONE = (OSError, ssl.SSLError, trio.BrokenResourceError, trio.ClosedResourceError)


class Plain:
    """A socket as it is."""

    def __init__(self, sock: trio.socket.SocketType) -> None:
        self.sock = sock

    async def receive(self) -> bytes:
        """Up to 64 KiB; empty at the end of the connection."""
        return await self.sock.recv(CHUNK_BYTES)

    async def send(self, data: bytes) -> None:
        """All of it."""
        sent = await self.sock.send(data)
        while sent < len(data):
            sent += await self.sock.send(memoryview(data)[sent:])

    async def close(self) -> None:
        """Without ceremony."""
        self.sock.close()


class Tls:
    """TLS over a socket through two memory BIOs: cheaper than trio.SSLStream, and what smtpproxy does too."""

    def __init__(self, plain: Plain, context: ssl.SSLContext, *, is_server: bool) -> None:
        self.plain = plain
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()
        name = None if is_server else "localhost"
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=is_server, server_hostname=name)

    async def flush(self) -> None:
        """Send what OpenSSL has made."""
        if self.outgoing.pending:
            await self.plain.send(self.outgoing.read())

    async def more(self) -> bool:
        """Hand OpenSSL the next octets from the wire; false at the end of the connection."""
        await self.flush()
        data = await self.plain.receive()
        self.incoming.write(data)
        return bool(data)

    async def handshake(self) -> None:
        """Until it stands."""
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                if not await self.more():
                    raise trio.BrokenResourceError from None
            else:
                return await self.flush()

    async def receive(self) -> bytes:
        """Every record that is there, up to 64 KiB together."""
        while True:
            records: list[bytes] = []
            room = CHUNK_BYTES
            try:
                while room > 0 and (record := self.tls.read(room)):
                    records.append(record)
                    room -= len(record)
            except ssl.SSLWantReadError:
                if not records and await self.more():
                    continue
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                pass
            return records[0] if len(records) == 1 else b"".join(records)

    async def send(self, data: bytes) -> None:
        """All of it."""
        self.tls.write(data)
        await self.flush()

    async def close(self) -> None:
        """With close_notify, without waiting for the peer's."""
        with contextlib.suppress(ssl.SSLError):
            self.tls.unwrap()
        with contextlib.suppress(*GONE):
            await self.flush()
        await self.plain.close()


async def pass_reply(server: Plain, client: Plain) -> None:
    """Pass one whole reply on: the line without a hyphen after its code is the last (RFC 5321 4.2.1)."""
    reply = b""
    while not reply.endswith(b"\n") or reply.splitlines()[-1][3:4] == b"-":
        data = await server.receive()
        if not data:
            raise trio.BrokenResourceError
        reply += data
    await client.send(reply)


async def until_starttls(client: Plain, server: Plain) -> None:
    """Pass the conversation on up to and including the 220 that answers STARTTLS."""
    await pass_reply(server, client)
    line = b""
    while not line.upper().startswith(b"STARTTLS"):
        line = await client.receive()
        if not line:
            raise trio.BrokenResourceError
        await server.send(line)
        await pass_reply(server, client)


async def pump(source: Plain | Tls, target: Plain | Tls, session: trio.CancelScope) -> None:
    """Move octets until one side is gone, then end the session."""
    try:
        while data := await source.receive():
            await target.send(data)
    except GONE:
        pass
    session.cancel()


async def serve(mode: str, listen: int, upstream: int, cert: str, key: str, ca: str) -> None:
    """Listen until killed."""
    as_server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    as_server.load_cert_chain(cert, key)
    as_client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    as_client.load_verify_locations(ca)

    async def session(accepted: trio.socket.SocketType) -> None:
        dialled = trio.socket.socket()
        client: Plain | Tls = Plain(accepted)
        server: Plain | Tls = Plain(dialled)
        try:
            for sock in (accepted, dialled):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await dialled.connect(("127.0.0.1", upstream))
            if mode == "starttls":
                await until_starttls(Plain(accepted), Plain(dialled))
            if mode != "plain":
                server = Tls(Plain(dialled), as_client, is_server=False)
                await server.handshake()
                client = Tls(Plain(accepted), as_server, is_server=True)
                await client.handshake()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(pump, server, client, nursery.cancel_scope)
                await pump(client, server, nursery.cancel_scope)
        except GONE:
            pass
        finally:
            with trio.CancelScope(shield=True):
                await client.close()
                await server.close()

    listener = trio.socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    await listener.bind(("127.0.0.1", listen))
    listener.listen(4096)
    async with trio.open_nursery() as nursery:
        while True:
            accepted, _ = await listener.accept()
            nursery.start_soon(session, accepted)


if __name__ == "__main__":
    mode, listen, upstream, cert, key, ca = sys.argv[1:]
    trio.run(serve, mode, int(listen), int(upstream), cert, key, ca)
