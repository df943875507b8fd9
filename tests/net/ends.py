"""Both ends of a conversation on trio: real sockets, TLS on memory buffers; they do what a test says.

A script is an async function over an `End`, and reads as a transcript. It knows nothing of smtpproxy.
"""

import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Literal

import trio

PATIENCE_S = 10.0
"""How long a test waits for what should come at once; it runs out only where a test fails."""
RESET = struct.pack("ii", 1, 0)

Ending = Literal["", "fin", "close_notify", "reset"]
Script = Callable[["End"], Awaitable[object]]


class End:
    """One end of one connection.

    Attributes:
        heard: every octet that came, decrypted.
        said: every octet that was sent, before encryption.
        ended: how the other side ended its direction; "" while it has not.
        tls: the TLS state, once there is one.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = trio.socket.from_stdlib_socket(sock)
        self.heard = bytearray()
        self.said = bytearray()
        self.ended: Ending = ""
        self.tls: ssl.SSLObject | None = None
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()
        self._unread = bytearray()

    # saying

    async def say(self, data: bytes) -> None:
        """Send these octets, in one segment where they fit one."""
        self.said += data
        if self.tls is None:
            await self.send_raw(data)
        else:
            self.tls.write(data)
            await self.flush()

    async def send_raw(self, data: bytes) -> None:
        """Send octets as they are, whatever TLS thinks of it."""
        left = memoryview(data)
        while left:
            left = left[await self.sock.send(left) :]

    async def flush(self) -> None:
        """Send what TLS has written."""
        await self.send_raw(self.outgoing.read())

    async def ask(self, line: str) -> bytes:
        """Send a command line and return the whole reply."""
        await self.say(line.encode() + b"\r\n")
        return await self.reply()

    # hearing

    async def line(self) -> bytes:
        """The next line with its end; what there is of it where the other side ended first."""
        while b"\n" not in self._unread and await self._receive():
            pass
        return self._take(self._unread.find(b"\n") + 1 or len(self._unread))

    async def reply(self) -> bytes:
        """The next reply, all of its lines; b"" at the end."""
        lines = [await self.line()]
        while lines[-1][3:4] == b"-":
            lines.append(await self.line())
        return b"".join(lines)

    async def hear(self, expected: bytes) -> None:
        """Exactly these octets come next."""
        while len(self._unread) < len(expected) and await self._receive():
            pass
        assert self._take(len(expected)) == expected

    async def to_end(self) -> bytes:
        """Everything until the other side ends, by whatever means; see `ended`."""
        while await self._receive():
            pass
        return self._take(len(self._unread))

    # TLS

    def begin_tls(self, context: ssl.SSLContext, *, server_name: str | None = None) -> ssl.SSLObject:
        """TLS's state for `start_tls`; a test may drive it by itself. The client where a name is given."""
        self.incoming.write(self._take(len(self._unread)))
        return context.wrap_bio(
            self.incoming, self.outgoing, server_side=server_name is None, server_hostname=server_name
        )

    async def start_tls(self, context: ssl.SSLContext, *, server_name: str | None = None) -> None:
        """Shake hands; a failure sends its alert before it raises, as decent programs do.

        Raises:
            ssl.SSLError: the handshake failed, here or there.
        """
        tls = self.begin_tls(context, server_name=server_name)
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                await self.flush()
                await self._feed()
            except ssl.SSLError:
                with contextlib.suppress(OSError):
                    await self.flush()
                raise
            else:
                break
        await self.flush()
        self.tls = tls

    # ending

    def half_close(self) -> None:
        """FIN: nothing more will be said; hearing goes on."""
        self.sock.shutdown(socket.SHUT_WR)

    async def close_notify(self) -> None:
        """TLS's own end, without FIN."""
        assert self.tls is not None
        with contextlib.suppress(ssl.SSLError):
            self.tls.unwrap()
        await self.flush()

    def close(self) -> None:
        """Close without a word."""
        self.sock.close()

    def reset(self) -> None:
        """RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.sock.close()

    # inside

    def _take(self, number: int) -> bytes:
        taken = bytes(self._unread[:number])
        del self._unread[:number]
        return taken

    async def read_raw(self, number: int = 65536) -> bytes:
        """What the socket has next; b"" at its end, which is noted."""
        with trio.fail_after(PATIENCE_S):
            try:
                data = await self.sock.recv(number)
            except ConnectionResetError:
                self.ended = "reset"
                return b""
        if not data:
            self.ended = self.ended or "fin"
        return data

    async def _feed(self) -> None:
        if data := await self.read_raw():
            self.incoming.write(data)
        else:
            self.incoming.write_eof()

    async def _receive(self) -> bool:
        """Read something; False at the end."""
        if self.ended:
            return False
        data = await (self._receive_tls() if self.tls else self.read_raw())
        self.heard += data
        self._unread += data
        return bool(data)

    async def _receive_tls(self) -> bytes:
        assert self.tls is not None
        while True:
            try:
                data = self.tls.read(65536)
            except ssl.SSLWantReadError:
                await self._feed()
                continue
            except (ssl.SSLEOFError, ssl.SSLZeroReturnError) as error:
                is_notified = isinstance(error, ssl.SSLZeroReturnError)
                self.ended = self.ended or ("close_notify" if is_notified else "fin")
                return b""
            if not data:
                self.ended = self.ended or "close_notify"
            return data


@contextlib.asynccontextmanager
async def connect(address: tuple[str, int] | str, *, receive_buffer: int = 0) -> AsyncIterator[End]:
    """A client's end; a path is a unix socket's. `receive_buffer`: octets, so that a slow reader is felt."""
    family = (
        socket.AF_UNIX
        if isinstance(address, str)
        else socket.AF_INET6
        if ":" in address[0]
        else socket.AF_INET
    )
    with socket.socket(family) as sock:
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            sock.connect(address)
        with trio.fail_after(PATIENCE_S):
            await trio.lowlevel.wait_writable(sock)
        end = End(socket.socket(fileno=sock.detach()))
    try:
        yield end
    finally:
        end.close()


class Server:
    """A scripted server on loopback: every connection runs the script; what it raises fails the test.

    Attributes:
        address: to dial; a path for a unix socket.
        ends: every connection's, in order of accept.
    """

    def __init__(self, listener: socket.socket, script: Script) -> None:
        self.address = listener.getsockname()
        self.ends: list[End] = []
        self._listener = trio.socket.from_stdlib_socket(listener)
        self._script = script
        self._running = 0
        self._changed = trio.Event()

    @property
    def port(self) -> int:
        port: int = self.address[1]
        return port

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            while True:
                sock, _ = await self._listener.accept()
                self.ends.append(End(socket.socket(fileno=sock.detach())))
                self._running += 1
                self._change()
                nursery.start_soon(self._converse, self.ends[-1])

    async def _converse(self, end: End) -> None:
        try:
            await self._script(end)
        finally:
            end.close()
            self._running -= 1
            self._change()

    def _change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def finished(self, connections: int = 1) -> None:
        """Wait until so many connections have come and all scripts are through."""
        with trio.fail_after(PATIENCE_S):
            while len(self.ends) < connections or self._running:
                await self._changed.wait()


@contextlib.asynccontextmanager
async def server(
    script: Script, host: str = "127.0.0.1", *, receive_buffer: int = 0
) -> AsyncIterator[Server]:
    """Serve the script on a free port of that address, or on a unix socket's path."""
    if host.startswith("/"):
        family, address = socket.AF_UNIX, host
    else:
        family, address = (socket.AF_INET6 if ":" in host else socket.AF_INET), (host, 0)  # type: ignore[assignment]
    with socket.socket(family) as listener:
        if receive_buffer:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        listener.bind(address)
        listener.listen(1024)
        listener.setblocking(False)
        serving = Server(listener, script)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serving.run)
            try:
                yield serving
            finally:
                nursery.cancel_scope.cancel()


async def serve_ehlo(end: End, *keywords: str, greeting: bytes = b"220 mx.test ESMTP\r\n") -> bytes:
    """A server's first lines: greet, unless that is empty, and answer EHLO or LHLO; that line."""
    if greeting:
        await end.say(greeting)
    line = await end.line()
    assert line[1:5].upper() == b"HLO ", line
    lines = ["mx.test", *keywords]
    marks = ["-"] * len(keywords) + [" "]
    await end.say("".join(f"250{mark}{text}\r\n" for mark, text in zip(marks, lines, strict=True)).encode())
    return line


async def serve_mail(end: End, *keywords: str, greeting: bytes = b"220 mx.test ESMTP\r\n") -> list[bytes]:
    """A plain SMTP or LMTP server for one recipient, up to QUIT or the client's end; the bodies it took."""
    await serve_ehlo(end, *keywords, greeting=greeting)
    return await serve_commands(end)


async def serve_commands(end: End) -> list[bytes]:
    """Answer commands up to QUIT or the client's end; the bodies that were taken."""
    bodies: list[bytes] = []
    while line := await end.line():
        match line.split(maxsplit=1)[0].upper() if line.split() else b"":
            case b"QUIT":
                await end.say(b"221 2.0.0 bye\r\n")
                break
            case b"DATA":
                await end.say(b"354 go ahead\r\n")
                body = bytearray()
                while (piece := await end.line()) and piece != b".\r\n":
                    body += piece
                if not piece:
                    break
                bodies.append(bytes(body))
                await end.say(b"250 2.0.0 queued\r\n")
            case _:
                await end.say(b"250 2.0.0 ok\r\n")
    return bodies


async def send_mail(end: End, body: bytes, *, hello: str = "EHLO app.test", greeted: bool = False) -> None:
    """One message, step by step, and QUIT."""
    if not greeted:
        assert (await end.reply()).startswith(b"220 ")
    assert (await end.ask(hello)).startswith(b"250")
    await send_envelope(end)
    await end.say(body + b".\r\n")
    assert await end.reply() == b"250 2.0.0 queued\r\n"
    assert await end.ask("QUIT") == b"221 2.0.0 bye\r\n"


async def send_envelope(end: End) -> None:
    """MAIL, RCPT and DATA, each accepted."""
    assert (await end.ask("MAIL FROM:<a@app.test>")).startswith(b"250")
    assert (await end.ask("RCPT TO:<b@mx.test>")).startswith(b"250")
    assert (await end.ask("DATA")).startswith(b"354")
