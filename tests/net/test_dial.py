"""Dialling by name: several addresses, some or all of which do not answer; the resolver is the test's."""

import contextlib
import socket
from collections.abc import Iterator

import pytest
import trio
import trio.abc

from smtpproxy.endpoints import Endpoint
from smtpproxy.net.dial import dial, reason_for
from tests.net.ends import End, server


class Resolver(trio.abc.HostnameResolver):
    """Knows one name."""

    def __init__(self, *addresses: str) -> None:
        self._addresses = addresses

    async def getaddrinfo(self, host, port, family=0, type=0, proto=0, flags=0):  # type: ignore[no-untyped-def]  # noqa: A002
        assert host == b"mx.test"
        return [
            (
                socket.AF_INET6 if ":" in address else socket.AF_INET,
                socket.SOCK_STREAM,
                socket.IPPROTO_TCP,
                "",
                (address, port),
            )
            for address in self._addresses
        ]

    async def getnameinfo(self, sockaddr, flags):  # type: ignore[no-untyped-def]
        raise NotImplementedError


@contextlib.contextmanager
def closed_port() -> Iterator[int]:
    """A port that is taken and not listened on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


def smtp(host: str, port: int) -> Endpoint:
    return Endpoint(scheme="smtp", host=host, port=port)


async def test_a_name_is_resolved_and_its_next_address_tried() -> None:
    async with server(End.to_end) as mx:
        trio.socket.set_custom_hostname_resolver(Resolver("127.0.0.2", "127.0.0.1"))
        with await dial(smtp("mx.test", mx.port), None) as sock:
            assert sock.getpeername() == mx.address
            assert not sock.getblocking()


async def test_a_name_whose_addresses_all_refuse_says_so_once() -> None:
    trio.socket.set_custom_hostname_resolver(Resolver("127.0.0.1", "127.0.0.2"))
    with closed_port() as port, pytest.raises(OSError) as caught:
        await dial(smtp("mx.test", port), None)
    assert reason_for(caught.value) == "connection refused"


async def test_connect_to_is_dialled_instead() -> None:
    async with server(End.to_end) as mx:
        with await dial(smtp("192.0.2.1", 25), ("127.0.0.1", mx.port)) as sock:
            assert sock.getpeername() == mx.address


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("name", ["localhost", "LOCALHOST."])
async def test_localhost_is_loopback_without_a_resolver(host: str, name: str) -> None:
    trio.socket.set_custom_hostname_resolver(Resolver())
    async with server(End.to_end, host) as mx:
        with await dial(smtp(name, mx.port), None) as sock:
            assert sock.getpeername()[:2] == mx.address[:2]


async def test_localhost_that_refuses_is_told_of_as_such() -> None:
    with closed_port() as port, pytest.raises(ConnectionRefusedError) as caught:
        await dial(smtp("localhost", port), None)
    assert reason_for(caught.value) == "connection refused"


async def test_a_cancelled_dial_leaves_no_socket() -> None:
    async with server(End.to_end) as mx:
        with trio.CancelScope() as scope:
            scope.cancel()
            await dial(smtp("127.0.0.1", mx.port), None)
        assert scope.cancelled_caught
