"""Two ends of one TLS connection in memory, and a small TLS server on loopback for programs to talk to."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass
class Ends:
    """What became of a handshake at each end; an error where it failed there."""

    client: ssl.SSLObject
    server: ssl.SSLObject
    client_error: Exception | None = None
    server_error: Exception | None = None


def shake(
    client_context: ssl.SSLContext, server_context: ssl.SSLContext, host: str | None, *, is_read: bool = True
) -> Ends:
    """Carry octets between both ends until neither has more to say; then each reads once."""
    to_client, to_server, from_client, from_server = (ssl.MemoryBIO() for _ in range(4))
    ends = Ends(
        client_context.wrap_bio(to_client, from_client, server_hostname=host),
        server_context.wrap_bio(to_server, from_server, server_side=True),
    )
    for step in ("do_handshake", "do_handshake", "do_handshake", *(["read"] if is_read else [])):
        for name in ("client", "server"):
            if getattr(ends, f"{name}_error") is None:
                try:
                    getattr(getattr(ends, name), step)()
                except ssl.SSLWantReadError:
                    pass
                except Exception as error:  # noqa: BLE001 - each test says which
                    setattr(ends, f"{name}_error", error)
            to_server.write(from_client.read())
            to_client.write(from_server.read())
    return ends


def shake_with(context: ssl.SSLContext, said: bytes, *, is_server: bool, is_end: bool = False) -> Exception:
    """What one end makes of octets that are no handshake, or of a peer that is gone."""
    incoming = ssl.MemoryBIO()
    end = context.wrap_bio(
        incoming, ssl.MemoryBIO(), server_side=is_server, server_hostname=None if is_server else "srv.test"
    )
    incoming.write(said)
    if is_end:
        incoming.write_eof()
    try:
        end.do_handshake()
    except ssl.SSLError as error:
        return error
    raise AssertionError("no error")


@contextlib.contextmanager
def serve_smtps(context: ssl.SSLContext) -> Iterator[int]:
    """A server on loopback that says 220, then 250 to all but QUIT; yields its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    port: int = listener.getsockname()[1]

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.settimeout(20)
            with (
                contextlib.suppress(OSError),
                connection,
                context.wrap_socket(connection, server_side=True) as tls,
                tls.makefile("rb") as lines,
            ):
                tls.sendall(b"220 here ESMTP\r\n")
                for line in lines:
                    if line.upper().startswith(b"QUIT"):
                        tls.sendall(b"221 bye\r\n")
                        break
                    tls.sendall(b"250 ok\r\n")

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield port
    finally:
        # Closing alone does not wake an accept() in another thread.
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
