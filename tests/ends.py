"""Both ends of a conversation for tests: scripted SMTP clients and servers on real sockets, in threads.

A script is a plain function over an `End`, and reads as a transcript. TLS is done on memory buffers, so that
a test decides which bytes leave in which segment, and whether close_notify, FIN or RST ends it. It knows
nothing of smtpproxy: `tests/real/proxy.py` starts that.
"""

import contextlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Literal, TypeVar

import trio

T = TypeVar("T")
PATIENCE_S = 20.0
"""How long a test waits for what should come at once; long, since it only runs out where a test fails."""

Ending = Literal["", "fin", "close_notify", "reset"]


class Patience:
    """Waits for something that cannot call back: a line in another program's log, a port, a file."""

    def __init__(self, what: str, seconds: float = PATIENCE_S) -> None:
        self.what = what
        self.deadline = time.monotonic() + seconds

    def until(self, look: Callable[[], T | None]) -> T:
        """What `look` finds, as soon as it finds something true.

        Raises:
            AssertionError: it did not come.
        """
        while not (found := look()):
            assert time.monotonic() < self.deadline, f"waited in vain for {self.what}"
            time.sleep(0.005)
        return found


async def until(look: Callable[[], Awaitable[T | None] | T | None], what: str = "it") -> T:
    """What `look` finds, as soon as it finds something true; for tests that run under trio.

    Raises:
        AssertionError: it did not come.
    """
    deadline = trio.current_time() + PATIENCE_S
    while True:
        found = look()
        if isinstance(found, Awaitable):
            found = await found
        if found:
            return found
        assert trio.current_time() < deadline, f"waited in vain for {what}"
        await trio.sleep(0.005)


def free_port() -> int:
    """A port on loopback that nothing listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def is_listening(port: int) -> bool:
    """Whether somebody listens there on IPv4, asked without connecting (proc(5): LISTEN is 0A)."""
    return f":{port:04X} 00000000:0000 0A" in Path("/proc/net/tcp").read_text()


class End:
    """One end of one connection.

    Attributes:
        heard: every octet that came, decrypted, in order.
        said: every octet that was sent, before encryption.
        ended: how the other side ended its direction; "" while it has not.
        tls: the TLS state, once there is one.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(PATIENCE_S)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self.heard = bytearray()
        self.said = bytearray()
        self.ended: Ending = ""
        self.tls: ssl.SSLObject | None = None
        self._unread = bytearray()
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()

    # saying

    def say(self, data: bytes) -> None:
        """Send these octets, in one segment where they fit one."""
        self.said += data
        if self.tls is None:
            self.sock.sendall(data)
        else:
            self.tls.write(data)
            self._flush()

    def ask(self, line: str | bytes) -> bytes:
        """Send a command line and return the whole reply."""
        self.say((line.encode() if isinstance(line, str) else line) + b"\r\n")
        return self.reply()

    # hearing

    def line(self) -> bytes:
        """The next line with its end; what there is of it where the other side ended first."""
        while b"\n" not in self._unread and self._receive():
            pass
        cut = self._unread.find(b"\n") + 1 or len(self._unread)
        return self._take(cut)

    def reply(self) -> bytes:
        """The next reply, all of its lines; b"" at the end."""
        lines = [self.line()]
        while lines[-1][3:4] == b"-":
            lines.append(self.line())
        return b"".join(lines)

    def hear(self, expected: bytes) -> bytes:
        """Exactly these octets come next."""
        while len(self._unread) < len(expected) and self._receive():
            pass
        heard = self._take(len(expected))
        assert heard == expected
        return heard

    def until(self, marker: bytes) -> bytes:
        """Everything up to the marker, with it."""
        while marker not in self._unread:
            assert self._receive(), f"the other side ended ({self.ended}) before {marker!r}: {self._unread!r}"
        return self._take(self._unread.index(marker) + len(marker))

    def to_end(self) -> bytes:
        """Everything until the other side ends, by whatever means; see `ended`."""
        while self._receive():
            pass
        return self._take(len(self._unread))

    # TLS

    def start_tls(self, context: ssl.SSLContext, *, server_name: str | None = None) -> None:
        """Shake hands: as the client where a server's name is given, else as the server.

        A failed handshake sends the alert before it raises, as decent programs do.

        Raises:
            ssl.SSLError: the handshake failed, here or there.
        """
        self._incoming.write(bytes(self._unread))
        self._unread.clear()
        tls = context.wrap_bio(
            self._incoming,
            self._outgoing,
            server_side=server_name is None,
            server_hostname=server_name,
        )
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                self._feed()
            except ssl.SSLError:
                with contextlib.suppress(OSError):
                    self._flush()
                raise
            else:
                break
        self._flush()
        self.tls = tls

    # ending

    def half_close(self, *, with_close_notify: bool = False) -> None:
        """FIN, under TLS perhaps after close_notify: nothing more will be said; hearing goes on."""
        if with_close_notify:
            assert self.tls is not None
            # It is sent first; then unwrap would like to read the other side's.
            with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLSyscallError, ssl.SSLEOFError):
                self.tls.unwrap()
            self._flush()
        self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close without a word: FIN, and under TLS no close_notify."""
        self.sock.close()

    def reset(self) -> None:
        """RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    # inside

    def _take(self, number: int) -> bytes:
        taken = bytes(self._unread[:number])
        del self._unread[:number]
        return taken

    def _flush(self) -> None:
        if data := self._outgoing.read():
            self.sock.sendall(data)

    def _feed(self) -> None:
        """Read the socket into TLS; its end too."""
        try:
            data = self.sock.recv(65536)
        except ConnectionResetError:
            self.ended = "reset"
            data = b""
        if data:
            self._incoming.write(data)
        else:
            self.ended = self.ended or "fin"
            self._incoming.write_eof()

    def _receive(self) -> bool:
        """Read something; False at the end."""
        if self.ended:
            return False
        data = self._receive_tls() if self.tls else self._receive_plain()
        self.heard += data
        self._unread += data
        return bool(data)

    def _receive_plain(self) -> bytes:
        try:
            data = self.sock.recv(65536)
        except ConnectionResetError:
            self.ended = "reset"
            return b""
        if not data:
            self.ended = "fin"
        return data

    def _receive_tls(self) -> bytes:
        assert self.tls is not None
        while True:
            try:
                data = self.tls.read(65536)
            except ssl.SSLWantReadError:
                self._feed()
                continue
            except (ssl.SSLEOFError, ssl.SSLZeroReturnError) as error:
                data = b""
                self.ended = self.ended or (
                    "close_notify" if isinstance(error, ssl.SSLZeroReturnError) else "fin"
                )
            if not data and not self.ended:
                self.ended = "close_notify"
            return data


def serve_ehlo(end: End, *keywords: str, greeting: str | None = "mx.test ESMTP") -> bytes:
    """A server's first lines: greet, unless told not to, and answer EHLO or LHLO; that line."""
    if greeting is not None:
        end.say(f"220 {greeting}\r\n".encode())
    line = end.line()
    assert line[1:5].upper() == b"HLO ", line
    lines = ["mx.test", *keywords]
    marks = ["-"] * len(keywords) + [" "]
    end.say("".join(f"250{mark}{text}\r\n" for mark, text in zip(marks, lines, strict=True)).encode())
    return line


def serve_commands(end: End, replies: dict[bytes, bytes]) -> None:
    """Answer commands by their verb until QUIT, or until the client leaves; content is not understood."""
    while line := end.line():
        verb = line.split()[0].upper() if line.split() else b""
        if verb == b"QUIT":
            end.say(b"221 2.0.0 bye\r\n")
            return
        end.say(replies.get(verb, b"250 2.0.0 ok\r\n"))


@contextlib.contextmanager
def client(port_or_url: int | str) -> Iterator[End]:
    """Connect to a port on loopback, or to a URL with host and port or a unix socket's path."""
    sock = _connect(port_or_url)
    with sock:
        yield End(sock)


def _connect(target: int | str) -> socket.socket:
    if isinstance(target, str) and "unix:" in target:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(PATIENCE_S)
        sock.connect(target.split("unix:", 1)[1])
        return sock
    if isinstance(target, str):
        target = int(target.rpartition(":")[2])
    return socket.create_connection(("127.0.0.1", target), timeout=PATIENCE_S)


class ScriptedServer:
    """A server whose every connection runs one script.

    Attributes:
        port: on loopback.
        ends: every connection's end, in order of accept.
    """

    def __init__(self, script: Callable[[End], Any]) -> None:
        self.script = script
        self.ends: list[End] = []
        self._errors: list[BaseException] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> "ScriptedServer":
        self._acceptor = threading.Thread(target=self._accept, name="accept")
        self._acceptor.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        # accept() in the other thread is woken by the shutdown, not by close().
        self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self._listener.close()
        if kind is not None:
            # The test has failed already: do not wait for scripts that may hang because of it.
            for end in self.ends:
                with contextlib.suppress(OSError):
                    end.sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE_S)
        if kind is None:
            self.check()

    def check(self) -> None:
        """Raise what a script raised: a transcript that did not hold."""
        if self._errors:
            raise self._errors[0]

    def forget(self) -> None:
        """Begin anew: connections from before do not count any more."""
        self.ends.clear()
        self._threads.clear()
        self._errors.clear()

    def finish(self, connections: int = 1) -> "ScriptedServer":
        """Wait until that many scripts have been started and all have ended, and check them."""
        Patience(f"{connections} connections").until(lambda: len(self._threads) >= connections)
        for thread in self._threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive(), "a server's script did not come to its end"
        self.check()
        return self

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            end = End(sock)
            self.ends.append(end)
            thread = threading.Thread(target=self._run, args=(end,), name="script")
            thread.start()
            self._threads.append(thread)

    def _run(self, end: End) -> None:
        try:
            with end.sock:
                self.script(end)
        except BaseException as error:  # noqa: BLE001 (it is raised again in the test's thread)
            self._errors.append(error)


def trusting(ca: Path | str) -> ssl.SSLContext:
    """A client's context that trusts this authority and checks names, as Python's default does."""
    return ssl.create_default_context(cafile=str(ca))
