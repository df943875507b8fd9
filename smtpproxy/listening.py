"""Listening TCP sockets on every address that a host stands for; it knows neither SMTP nor HTTP."""

import errno
import socket
from contextlib import ExitStack

from smtpproxy.errors import ServiceError


def listen_on(
    host: str, port: int, *, backlog: int, closing: ExitStack, what: str, advice: str
) -> list[socket.socket]:
    """Non-blocking sockets on all addresses of a host, on one port; 0 takes a free one.

    Args:
        host: a name or an address without brackets.
        backlog: connections that may wait to be accepted (listen(2)).
        closing: closes the sockets in the end.
        what: what is to listen where, as the beginning of a sentence, such as `cannot listen on smtp://…`.
        advice: what to do where the address is in use.

    Raises:
        ServiceError: says what, why, and what to do.
    """
    try:
        found = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICSERV
        )
    except socket.gaierror:
        raise ServiceError(f"{what}: the host name is not known") from None
    bound: list[socket.socket] = []
    for family, _, _, _, address in dict.fromkeys(found):
        sock = socket.socket(family, socket.SOCK_STREAM)
        closing.callback(sock.close)
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            sock.bind((address[0], port, *address[2:]))
            sock.listen(backlog)
        except OSError as error:
            if bound and error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                continue  # the host has another address that works, and no such family here
            raise ServiceError(f"{what}: {why_not(error, advice)}") from None
        port = sock.getsockname()[1]
        bound.append(sock)
    return bound


def why_not(error: OSError, advice: str) -> str:
    """Why an address cannot be listened on, for people; `advice` is what to do where it is in use."""
    match error.errno:
        case errno.EADDRINUSE:
            return f"the address is in use; {advice}"
        case errno.EACCES:
            return "permission denied; ports below 1024 are for root: choose a higher one"
        case errno.EADDRNOTAVAIL:
            return "this machine has no such address"
        case _:
            return (error.strerror or str(error)).lower()
