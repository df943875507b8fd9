"""The transport's contract, in clear and under TLS 1.2 and 1.3: a real socket, and a peer driven by hand."""

import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import trio
import trio.testing

from smtpproxy.net.transport import Eof, PeerReset, Received, TlsDown, TlsUp, Transport
from tests.net.conftest import context_for
from tests.net.ends import PATIENCE_S, End
from tests.net.stage import Certificates

KINDS = ["clear", "TLSv1.2", "TLSv1.3"]
TLS_KINDS = KINDS[1:]
VERSIONS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}
SMALL = 4096


@dataclass
class Pair:
    """A transport, and what it is connected to; here trio waits for its socket."""

    transport: Transport
    peer: End
    sock: socket.socket

    async def receive(self) -> Received:
        """The next thing from the peer; ClosedResourceError where the transport is closed."""
        with trio.fail_after(PATIENCE_S):
            while True:
                item = self.transport.read()
                if item is not None:
                    return item
                if self.transport.is_closed:
                    raise trio.ClosedResourceError
                if self.transport.needs_flush:
                    self.transport.flush()
                await trio.lowlevel.wait_readable(self.sock)

    async def flush(self) -> None:
        """Write what is queued, to its end."""
        with trio.fail_after(PATIENCE_S), contextlib.suppress(trio.ClosedResourceError):
            while True:
                self.transport.flush()
                if not self.transport.needs_flush:
                    return
                await trio.lowlevel.wait_writable(self.sock)

    async def shake(self, context: ssl.SSLContext) -> None:
        """Carry a handshake to its end: the peer is TLS's client."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: self.peer.start_tls(context, server_name="localhost"))
            assert await self.receive() == TlsUp()


@contextlib.asynccontextmanager
async def connected(*, buffers: int = 0) -> AsyncIterator[Pair]:
    """Both ends of a loopback connection; `buffers`: octets that each socket on the way to the peer takes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        if buffers:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffers)
        sock = socket.socket()
        if buffers:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffers)
        sock.connect(listener.getsockname())
        sock.setblocking(False)
        peer = End(listener.accept()[0])
    transport = Transport(sock, on_closing=lambda: trio.lowlevel.notify_closing(sock))
    try:
        yield Pair(transport, peer, sock)
    finally:
        transport.abandon()
        peer.close()


@contextlib.asynccontextmanager
async def talking(kind: str, certificates: Certificates, *, buffers: int = 0) -> AsyncIterator[Pair]:
    """A pair whose handshake, if any, is over: the transport is TLS's server."""
    async with connected(buffers=buffers) as pair:
        if kind != "clear":
            pair.transport.start_tls(
                context_for(certificates.provider.issue_cert("localhost")),
                is_server=True,
                hostname=None,
                is_upgrade=False,
            )
            await pair.shake(peer_context(certificates, kind))
        yield pair


def peer_context(certificates: Certificates, version: str = "") -> ssl.SSLContext:
    """Of a peer that is TLS's client, and trusts the provider's CA."""
    context = ssl.create_default_context(cafile=str(certificates.provider_ca))
    if version:
        context.minimum_version = context.maximum_version = VERSIONS[version]
    return context


def numbered(count: int) -> bytes:
    return b"".join(b"%09d\n" % number for number in range(count))


# -- sending


@pytest.mark.parametrize("kind", KINDS)
async def test_octets_arrive_in_order_though_the_socket_is_full(
    certificates: Certificates, kind: str
) -> None:
    said = numbered(60_000)
    async with talking(kind, certificates, buffers=SMALL) as pair, trio.open_nursery() as nursery:
        for at in range(0, len(said), 10_000):
            pair.transport.send(said[at : at + 10_000])
        assert pair.transport.queued > len(said) // 2
        assert pair.transport.needs_flush
        nursery.start_soon(pair.flush)
        await pair.peer.hear(said)
    assert pair.transport.queued == 0


@pytest.mark.parametrize("kind", KINDS)
async def test_a_large_send_is_whole(certificates: Certificates, kind: str) -> None:
    said = numbered(300_000)
    async with talking(kind, certificates) as pair, trio.open_nursery() as nursery:
        pair.transport.send(said)
        pair.transport.half_close()
        nursery.start_soon(pair.flush)
        assert await pair.peer.to_end() == said


async def test_nothing_is_queued_for_a_peer_that_takes_nothing_more(certificates: Certificates) -> None:
    async with talking("clear", certificates, buffers=SMALL) as pair:
        pair.transport.send(bytes(1_000_000))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pair.flush)
            await trio.testing.wait_all_tasks_blocked()
            pair.peer.reset()
        assert pair.transport.queued == 0


async def test_a_flush_takes_what_the_socket_takes_and_leaves_the_rest(certificates: Certificates) -> None:
    said = numbered(50_000)
    async with talking("clear", certificates, buffers=SMALL) as pair:
        pair.transport.send(said)
        pair.transport.half_close()
        before = pair.transport.queued
        await pair.peer.line()
        await trio.lowlevel.wait_writable(pair.sock)
        pair.transport.flush()
        assert 0 < pair.transport.queued < before
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pair.flush)
            await pair.peer.to_end()
        assert pair.peer.heard == said


# -- endings behind what is queued


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("end", ["half_close", "close"])
async def test_the_end_comes_behind_what_is_queued(certificates: Certificates, kind: str, end: str) -> None:
    said = numbered(30_000)
    async with talking(kind, certificates, buffers=SMALL) as pair, trio.open_nursery() as nursery:
        pair.transport.send(said)
        getattr(pair.transport, end)()
        assert pair.transport.needs_flush
        pair.transport.send(b"too late")
        nursery.start_soon(pair.flush)
        assert await pair.peer.to_end() == said
        assert pair.peer.ended == ("fin" if kind == "clear" else "close_notify")
        if end == "half_close":
            await pair.peer.say(b"still here")
            assert await pair.receive() == b"still here"
        else:
            with pytest.raises(trio.ClosedResourceError):
                await pair.receive()


async def test_fin_follows_close_notify(certificates: Certificates) -> None:
    async with talking("TLSv1.3", certificates) as pair:
        pair.transport.half_close()
        await pair.peer.to_end()
        assert await pair.peer.read_raw() == b""


@pytest.mark.parametrize("kind", KINDS)
async def test_a_reset_overtakes_what_is_queued(certificates: Certificates, kind: str) -> None:
    async with talking(kind, certificates, buffers=SMALL) as pair:
        pair.transport.send(numbered(30_000))
        pair.transport.reset()
        assert pair.transport.queued == 0
        while await pair.peer.read_raw():
            pass
        assert pair.peer.ended == "reset"
        with pytest.raises(trio.ClosedResourceError):
            await pair.receive()


async def test_closing_wakes_the_reader(certificates: Certificates) -> None:
    async with talking("clear", certificates) as pair, trio.open_nursery() as nursery:

        async def read() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await pair.receive()

        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        pair.transport.close()


# -- what the peer's ending looks like


@pytest.mark.parametrize("kind", KINDS)
async def test_fin_is_eof_and_truncated_under_tls(certificates: Certificates, kind: str) -> None:
    async with talking(kind, certificates) as pair:
        await pair.peer.say(b"last words")
        pair.peer.half_close()
        assert await pair.receive() == b"last words"
        assert await pair.receive() == Eof(is_truncated=kind != "clear")


@pytest.mark.parametrize("kind", TLS_KINDS)
async def test_after_close_notify_sending_goes_on(certificates: Certificates, kind: str) -> None:
    async with talking(kind, certificates) as pair:
        await pair.peer.say(b"last words")
        await pair.peer.close_notify()
        assert await pair.receive() == b"last words"
        assert await pair.receive() == Eof()
        pair.transport.send(b"noted\r\n")
        assert await pair.peer.line() == b"noted\r\n"


@pytest.mark.parametrize("kind", TLS_KINDS)
async def test_close_notify_in_the_segment_of_the_last_octets(certificates: Certificates, kind: str) -> None:
    async with talking(kind, certificates) as pair:
        assert pair.peer.tls is not None
        pair.peer.tls.write(b"last words")
        with pytest.raises(ssl.SSLWantReadError):
            pair.peer.tls.unwrap()
        await pair.peer.flush()
        assert await pair.receive() == b"last words"
        assert await pair.receive() == Eof()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_reset_is_told_from_an_end(certificates: Certificates, kind: str) -> None:
    async with talking(kind, certificates) as pair:
        pair.peer.reset()
        assert await pair.receive() == PeerReset()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_reset_that_sending_found_first_is_still_a_reset(
    certificates: Certificates, kind: str
) -> None:
    async with talking(kind, certificates) as pair:
        pair.peer.reset()
        pair.transport.send(b"are you there?\r\n")
        assert await pair.receive() == PeerReset()


async def test_a_reset_that_flushing_found_first_is_still_a_reset(certificates: Certificates) -> None:
    async with talking("clear", certificates, buffers=SMALL) as pair:
        pair.transport.send(bytes(1_000_000))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pair.flush)
            await trio.testing.wait_all_tasks_blocked()
            pair.peer.reset()
        assert await pair.receive() == PeerReset()


# -- reading under TLS


@pytest.mark.parametrize("kind", TLS_KINDS)
async def test_many_records_in_one_segment(certificates: Certificates, kind: str) -> None:
    async with talking(kind, certificates) as pair:
        assert pair.peer.tls is not None
        for number in range(100):
            pair.peer.tls.write(b"%d\n" % number)
        await pair.peer.flush()
        heard = b""
        while heard.count(b"\n") < 100:
            item = await pair.receive()
            assert isinstance(item, bytes)
            heard += item
        assert heard == b"".join(b"%d\n" % number for number in range(100))


@pytest.mark.parametrize("kind", KINDS)
async def test_a_long_stream_is_read_whole(certificates: Certificates, kind: str) -> None:
    said = numbered(200_000)
    async with talking(kind, certificates) as pair, trio.open_nursery() as nursery:
        nursery.start_soon(pair.peer.say, said)
        heard = bytearray()
        while len(heard) < len(said):
            item = await pair.receive()
            assert isinstance(item, bytes)
            heard += item
        assert heard == said


@pytest.mark.parametrize("kind", TLS_KINDS)
async def test_a_forged_record_behind_a_good_one_is_no_polite_end(
    certificates: Certificates, kind: str
) -> None:
    async with talking(kind, certificates) as pair:
        assert pair.peer.tls is not None
        pair.peer.tls.write(b"good")
        good = pair.peer.outgoing.read()
        pair.peer.tls.write(b"forged")
        forged = bytearray(pair.peer.outgoing.read())
        forged[-1] ^= 1
        await pair.peer.send_raw(good + forged)
        assert await pair.receive() == b"good"
        down = await pair.receive()
        assert isinstance(down, TlsDown)
        assert down.is_late


@pytest.mark.parametrize("kind", TLS_KINDS)
async def test_octets_in_the_segment_of_the_last_flight(certificates: Certificates, kind: str) -> None:
    async with connected() as pair:
        context = context_for(certificates.provider.issue_cert("localhost"))
        context.minimum_version = context.maximum_version = VERSIONS[kind]
        pair.transport.start_tls(context, is_server=True, hostname=None, is_upgrade=False)
        if kind == "TLSv1.2":
            # The server's Finished is the last; the client cannot be that early.
            await pair.shake(peer_context(certificates, kind))
            await pair.peer.say(b"EHLO app\r\n")
        else:
            tls = pair.peer.begin_tls(peer_context(certificates, kind), server_name="localhost")
            with pytest.raises(ssl.SSLWantReadError):
                tls.do_handshake()
            await pair.peer.flush()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_expect_up, pair)
                while True:
                    pair.peer.incoming.write(await pair.peer.read_raw())
                    with contextlib.suppress(ssl.SSLWantReadError):
                        tls.do_handshake()
                        break
                tls.write(b"EHLO app\r\n")
                await pair.peer.flush()
        assert await pair.receive() == b"EHLO app\r\n"


async def _expect_up(pair: Pair) -> None:
    assert await pair.receive() == TlsUp()


@pytest.mark.parametrize("kind", TLS_KINDS)
async def test_what_came_in_one_segment_is_told_thing_by_thing(certificates: Certificates, kind: str) -> None:
    async with talking(kind, certificates) as pair:
        assert pair.peer.tls is not None
        pair.peer.tls.write(b"words")
        with contextlib.suppress(ssl.SSLWantReadError):
            pair.peer.tls.unwrap()
        await pair.peer.flush()
        assert await pair.receive() == b"words"
        assert pair.transport.has_more, "no socket tells of it"
        assert pair.transport.read() == Eof()


# -- handshakes


@pytest.mark.parametrize("kind", TLS_KINDS)
async def test_handshake_octet_by_octet(certificates: Certificates, kind: str) -> None:
    async with connected() as pair:
        pair.transport.start_tls(
            context_for(certificates.provider.issue_cert("localhost")),
            is_server=True,
            hostname=None,
            is_upgrade=False,
        )
        tls = pair.peer.begin_tls(peer_context(certificates, kind), server_name="localhost")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_expect_up, pair)
            is_done = False
            while not is_done:
                try:
                    tls.do_handshake()
                    is_done = True
                except ssl.SSLWantReadError:
                    pass
                for octet in pair.peer.outgoing.read():
                    await pair.peer.send_raw(bytes([octet]))
                if not is_done:
                    pair.peer.incoming.write(await pair.peer.read_raw(1))


async def test_client_hello_given_as_early_octets(certificates: Certificates) -> None:
    async with connected() as pair, trio.open_nursery() as nursery:
        tls = pair.peer.begin_tls(peer_context(certificates), server_name="localhost")
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        pair.transport.start_tls(
            context_for(certificates.provider.issue_cert("localhost")),
            is_server=True,
            hostname=None,
            is_upgrade=False,
            early=pair.peer.outgoing.read(),
        )
        nursery.start_soon(_expect_up, pair)
        pair.peer.incoming.write(await pair.peer.read_raw())
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                pair.peer.incoming.write(await pair.peer.read_raw())
        await pair.peer.flush()


async def test_what_is_said_during_the_handshake_follows_it(certificates: Certificates) -> None:
    async with connected() as pair:
        pair.transport.start_tls(
            context_for(certificates.provider.issue_cert("localhost")),
            is_server=True,
            hostname=None,
            is_upgrade=False,
        )
        pair.transport.send(b"421 4.3.2 not today\r\n")
        pair.transport.half_close()
        await pair.shake(peer_context(certificates))
        assert await pair.peer.to_end() == b"421 4.3.2 not today\r\n"
        assert pair.peer.ended == "close_notify"


async def test_what_waits_for_the_handshake_counts_as_queued(certificates: Certificates) -> None:
    async with connected() as pair:
        pair.transport.start_tls(
            context_for(certificates.provider.issue_cert("localhost")),
            is_server=True,
            hostname=None,
            is_upgrade=False,
        )
        pair.transport.send(bytes(100_000))
        assert pair.transport.queued == 100_000
        await pair.shake(peer_context(certificates))
        assert pair.transport.queued < 100_000


@pytest.mark.parametrize("kind", TLS_KINDS)
async def test_a_peer_that_distrusts_us_is_heard(certificates: Certificates, kind: str) -> None:
    async with connected() as pair:
        pair.transport.start_tls(
            context_for(certificates.provider.issue_cert("localhost")),
            is_server=True,
            hostname=None,
            is_upgrade=False,
        )
        distrusting = ssl.create_default_context(cafile=str(certificates.authority.certificate_path))
        distrusting.minimum_version = distrusting.maximum_version = VERSIONS[kind]
        async with trio.open_nursery() as nursery:

            async def fail() -> None:
                with pytest.raises(ssl.SSLCertVerificationError):
                    await pair.peer.start_tls(distrusting, server_name="localhost")

            nursery.start_soon(fail)
            down = await pair.receive()
        assert isinstance(down, TlsDown)
        assert not down.is_late
        assert "UNKNOWN_CA" in str(down.error)


@pytest.mark.parametrize("kind", TLS_KINDS)
async def test_a_peer_that_we_distrust_is_told_why(certificates: Certificates, kind: str) -> None:
    async with connected() as pair:
        distrusting = ssl.create_default_context(cafile=str(certificates.authority.certificate_path))
        distrusting.minimum_version = distrusting.maximum_version = VERSIONS[kind]
        pair.transport.start_tls(distrusting, is_server=False, hostname="localhost", is_upgrade=False)
        async with trio.open_nursery() as nursery:

            async def shake_and_read(context: ssl.SSLContext) -> None:
                await pair.peer.start_tls(context)
                await pair.peer.line()

            async def serve() -> None:
                context = context_for(certificates.provider.issue_cert("localhost"))
                context.num_tickets = 0
                # In TLS 1.3 the server's handshake may stand before the alert is in.
                with pytest.raises(ssl.SSLError, match="UNKNOWN_CA"):
                    await shake_and_read(context)

            nursery.start_soon(serve)
            down = await pair.receive()
            assert isinstance(down, TlsDown)
            assert isinstance(down.error, ssl.SSLCertVerificationError)
            pair.transport.close()


async def test_a_peer_of_another_version_is_told_so(certificates: Certificates) -> None:
    async with connected() as pair:
        context = context_for(certificates.provider.issue_cert("localhost"))
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        pair.transport.start_tls(context, is_server=True, hostname=None, is_upgrade=False)
        async with trio.open_nursery() as nursery:

            async def fail() -> None:
                with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
                    await pair.peer.start_tls(peer_context(certificates, "TLSv1.2"), server_name="localhost")

            nursery.start_soon(fail)
            assert isinstance(await pair.receive(), TlsDown)
            pair.transport.close()


async def test_clear_text_instead_of_a_server_hello_is_handed_out(certificates: Certificates) -> None:
    async with connected() as pair:
        pair.transport.start_tls(
            peer_context(certificates), is_server=False, hostname="localhost", is_upgrade=True
        )
        await pair.peer.send_raw(b"250 injected\r\n")
        assert await pair.receive() == b"250 injected\r\n"


async def test_clear_text_where_tls_comes_first_is_a_failed_handshake(certificates: Certificates) -> None:
    async with connected() as pair:
        pair.transport.start_tls(
            peer_context(certificates), is_server=False, hostname="localhost", is_upgrade=False
        )
        await pair.peer.send_raw(b"220 mx.test ESMTP\r\n")
        down = await pair.receive()
        assert isinstance(down, TlsDown)
        assert "WRONG_VERSION_NUMBER" in str(down.error)


@pytest.mark.parametrize(("ending", "error"), [("reset", ConnectionResetError), ("half_close", EOFError)])
@pytest.mark.parametrize("is_server", [True, False])
async def test_a_peer_that_ends_in_mid_handshake(
    certificates: Certificates, ending: str, error: type[Exception], is_server: bool
) -> None:
    async with connected() as pair:
        context = (
            context_for(certificates.provider.issue_cert("localhost"))
            if is_server
            else peer_context(certificates)
        )
        pair.transport.start_tls(
            context, is_server=is_server, hostname=None if is_server else "localhost", is_upgrade=False
        )
        await pair.peer.send_raw(b"\x16\x03\x01")
        if not is_server:
            await pair.peer.read_raw()  # closing with something unread would reset in any case
        getattr(pair.peer, ending)()
        down = await pair.receive()
        assert isinstance(down, TlsDown)
        assert isinstance(down.error, error)
        assert not down.is_late


async def test_refusal_of_the_client_certificate_counts_as_a_failed_handshake(
    certificates: Certificates,
) -> None:
    async with connected() as pair:
        context = context_for(certificates.provider.issue_cert("localhost"))
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cafile=str(certificates.provider_ca))
        pair.transport.start_tls(
            peer_context(certificates, "TLSv1.3"), is_server=False, hostname="localhost", is_upgrade=False
        )
        async with trio.open_nursery() as nursery:

            async def refuse() -> None:
                with pytest.raises(ssl.SSLError):
                    await pair.peer.start_tls(context)

            nursery.start_soon(refuse)
            assert await pair.receive() == TlsUp(), "in TLS 1.3 the refusal comes after the handshake"
            down = await pair.receive()
        assert isinstance(down, TlsDown)
        assert not down.is_late
        assert "CERTIFICATE_REQUIRED" in str(down.error)


async def test_a_flight_that_the_socket_does_not_take_asks_to_be_flushed(certificates: Certificates) -> None:
    async with connected(buffers=SMALL) as pair:
        # A certificate of many names: the server's flight is larger than the socket's buffers.
        names = [f"a-name-that-takes-its-room-{number}.test" for number in range(1000)]
        pair.transport.start_tls(
            context_for(certificates.provider.issue_cert("localhost", *names)),
            is_server=True,
            hostname=None,
            is_upgrade=False,
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                lambda: pair.peer.start_tls(peer_context(certificates), server_name="localhost")
            )
            while not pair.transport.needs_flush:
                await trio.lowlevel.wait_readable(pair.sock)
                assert pair.transport.read() is None
            nursery.start_soon(pair.flush)
            assert await pair.receive() == TlsUp()
