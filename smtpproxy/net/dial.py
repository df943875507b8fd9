"""Connecting to the server, resolved anew for each session; failures in words for people."""

import errno
import ipaddress
import os
import socket
from typing import Final

import trio

from smtpproxy.endpoints import Endpoint

FULL_QUEUE_PAUSE_S: Final = 0.05


async def dial(upstream: Endpoint, connect_to: tuple[str, int] | None) -> socket.socket:
    """A connected non-blocking socket.

    `localhost` is loopback without asking a resolver (RFC 6761 6.3); other names are raced over their
    addresses (RFC 8305).

    Raises:
        OSError: nothing could be reached; `reason_for` puts it in words.
    """
    if upstream.path and connect_to is None:
        return await _connect(socket.AF_UNIX, upstream.path)
    host, port = connect_to or (upstream.host, upstream.port)
    if host.lower().rstrip(".") == "localhost":
        try:
            return await _connect(socket.AF_INET, ("127.0.0.1", port))
        except OSError as refused:
            try:
                return await _connect(socket.AF_INET6, ("::1", port))
            except OSError:
                raise refused from None
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        stream = await trio.open_tcp_stream(host, port)
        sock = socket.socket(fileno=stream.socket.detach())
        sock.setblocking(False)
        return sock
    return await _connect(socket.AF_INET if version == 4 else socket.AF_INET6, (host, port))


async def _connect(family: socket.AddressFamily, address: tuple[str, int] | str) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        while True:
            error = sock.connect_ex(address)
            if error != errno.EAGAIN:
                break
            # A unix socket whose queue is full: nothing has begun, and nothing tells when there is room.
            await trio.sleep(FULL_QUEUE_PAUSE_S)
        if error == errno.EINPROGRESS:
            await trio.lowlevel.wait_writable(sock)
            error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, "connect")  # noqa: TRY301 - the socket is closed below
    except BaseException:
        trio.lowlevel.notify_closing(sock)
        sock.close()
        raise
    return sock


def reason_for(error: OSError) -> str:
    """Why dialling failed, without numbers and Python's words.

    A name with several addresses fails with one error for each; they are told once each.
    """
    causes = error.__cause__
    if isinstance(causes, BaseExceptionGroup):
        reasons = [_one_reason(cause) for cause in causes.exceptions if isinstance(cause, OSError)]
        return "; ".join(dict.fromkeys(reasons)) or "no address could be reached"
    if isinstance(causes, OSError):
        return _one_reason(causes)
    return _one_reason(error)


def _one_reason(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return "the name is not known"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, FileNotFoundError):
        return "there is no such socket"
    return os.strerror(error.errno).lower() if error.errno else "no address could be reached"
