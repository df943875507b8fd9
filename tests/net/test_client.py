"""The client's end on real sockets: what an exchange asks for, and servers that misbehave."""

import ssl
from collections.abc import Generator
from pathlib import Path

import pytest
import trio

from smtpproxy.endpoints import Endpoint, parse_endpoint
from smtpproxy.net import client as client_module
from smtpproxy.net.client import MAX_REPLY_BYTES, ClientLimits, carry_out
from smtpproxy.replay.exchange import (
    Ask,
    Connect,
    Connected,
    Gone,
    Hear,
    Heard,
    Pause,
    Said,
    Say,
    Silent,
    Told,
    Upgrade,
    Upgraded,
)
from smtpproxy.tls.contexts import make_server_leg_context
from tests.net.ends import PATIENCE_S, End, Script, server
from tests.net.stage import Certificates

NO_TLS = make_server_leg_context(is_insecure=True)
HEAR = Hear(timeout_s=PATIENCE_S)


def asking(*asks: Ask) -> Generator[Ask, Told, list[Told]]:
    """An exchange that asks for these, whatever it is told."""
    told = []
    for ask in asks:
        told.append((yield ask))
    return told


async def talk(
    script: Script,
    *asks: Ask,
    to: str = "smtp://127.0.0.1:25",
    context: ssl.SSLContext = NO_TLS,
    limits: ClientLimits | None = None,
    is_finished: bool = True,
) -> list[Told]:
    """What the exchange was told by a server that runs this script, to its end."""
    async with server(script) as served:
        target = parse_endpoint(to, is_listen=False)
        with trio.fail_after(PATIENCE_S):
            told = await carry_out(asking(*asks), target, context, connect_to=served.address, limits=limits)
        if is_finished:
            await served.finished()
        return told


def raws(told: list[Told]) -> list[bytes]:
    return [item.raw for item in told if isinstance(item, Heard)]


async def test_it_says_and_hears() -> None:
    async def script(app: End) -> None:
        await app.say(b"220-mx\r\n220 here\r\n")
        assert await app.line() == b"EHLO a\r\n"
        await app.say(b"250-mx\r\n")
        await app.say(b"250 X\r\n")

    told = await talk(script, Connect(), HEAR, Say((b"EHLO ", b"a\r\n")), HEAR, HEAR)
    assert raws(told) == [b"220-mx\r\n220 here\r\n", b"250-mx\r\n250 X\r\n"]
    assert isinstance(told[0], Connected)
    assert isinstance(told[2], Said)
    assert told[4] == Gone(reason="the server closed the connection")
    assert 0 < told[0].at <= told[2].at


async def test_replies_that_come_together_are_heard_one_by_one() -> None:
    async def script(app: End) -> None:
        await app.say(b"220 a\r\n250 b\r\n\r\n250 c\n")

    assert raws(await talk(script, Connect(), HEAR, HEAR, HEAR)) == [b"220 a\r\n", b"250 b\r\n", b"250 c\n"]


@pytest.mark.parametrize(
    "octets", [b"hello\r\n", b"220-a\r\nwhat\r\n", b"2" * (MAX_REPLY_BYTES + 1), b"220-x\r\n" * 40_000]
)
async def test_what_is_no_reply_is_garbled(octets: bytes) -> None:
    async def script(app: End) -> None:
        await app.say(octets)

    (_, heard) = await talk(script, Connect(), HEAR)
    assert isinstance(heard, Heard)
    assert heard.is_garbled


async def test_a_reply_that_does_not_come_in_time() -> None:
    async def script(app: End) -> None:
        await app.say(b"220-begun\r\n")
        await app.to_end()

    assert (await talk(script, Connect(), Hear(timeout_s=0.05)))[1] == Silent(seconds=0.05)


async def test_a_pause_ends_early_where_the_server_leaves() -> None:
    async def script(app: End) -> None:
        await app.say(b"220 x\r\n")
        await app.line()

    told = await talk(
        script, Connect(), HEAR, Pause(seconds=0.01), Say((b"QUIT\r\n",)), Pause(seconds=PATIENCE_S * 10)
    )
    assert isinstance(told[2], Said)
    assert told[4] == Gone(reason="the server closed the connection")


async def test_a_reset_is_told_from_an_end() -> None:
    async def script(app: End) -> None:
        await app.line()
        app.reset()

    told = await talk(script, Connect(), Say((b"NOOP\r\n",)), HEAR)
    assert told[2] == Gone(reason="the server reset the connection")


async def test_a_server_that_answers_before_all_is_said_does_not_block() -> None:
    """It says more than the sockets hold, and hears nothing meanwhile."""
    size = 8 * 1024 * 1024

    async def script(app: End) -> None:
        await app.say(b"250 a\r\n" * 100_000)
        octets = 0
        while octets < size:
            octets += len(await app.read_raw())

    told = await talk(script, Connect(), Say(b"x" * 65536 for _ in range(size // 65536)), HEAR)
    assert isinstance(told[1], Said)
    assert raws(told) == [b"250 a\r\n"]


async def test_a_server_that_has_answered_and_takes_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "EARLY_REPLY_STALL_S", 0.1)

    async def script(app: End) -> None:
        await app.read_raw(1)
        await app.say(b"552 too big\r\n")
        await trio.sleep_forever()

    told = await talk(
        script, Connect(), Say(b"x" * 65536 for _ in range(1000)), HEAR, HEAR, is_finished=False
    )
    assert told[1] == told[3] == Gone(reason="the server took nothing for 0.1 s")
    assert raws(told) == [b"552 too big\r\n"]


async def test_a_server_that_takes_nothing_at_all() -> None:
    async def script(app: End) -> None:
        await trio.sleep_forever()

    limits = ClientLimits(write_timeout_s=0.1)
    told = await talk(
        script, Connect(), Say(b"x" * 65536 for _ in range(1000)), limits=limits, is_finished=False
    )
    assert isinstance(told[1], Gone)


async def test_a_server_that_closes_in_the_middle_is_still_heard() -> None:
    async def script(app: End) -> None:
        await app.read_raw()
        await app.say(b"554 no more\r\n")
        app.half_close()
        await app.to_end()

    told = await talk(script, Connect(), Say(b"x" * 65536 for _ in range(1000)), HEAR, HEAR)
    assert raws(told) == [b"554 no more\r\n"]
    assert isinstance(told[3], Gone)


async def test_nobody_there() -> None:
    target = Endpoint(scheme="smtp", host="127.0.0.1", port=1)
    told = await carry_out(asking(Connect()), target, NO_TLS)
    assert told == [Gone(reason="cannot reach 127.0.0.1:1: connection refused", is_connected=False)]


def certain(certificates: Certificates) -> ssl.SSLContext:
    return make_server_leg_context(ca_file=certificates.provider_ca)


async def test_starttls(certificates: Certificates, server_context: ssl.SSLContext) -> None:
    async def script(app: End) -> None:
        assert await app.line() == b"STARTTLS\r\n"
        await app.say(b"220 go\r\n")
        await app.start_tls(server_context)
        assert await app.ask("250 secret") == b"QUIT\r\n"
        await app.to_end()
        assert app.ended == "close_notify"

    asks = (Connect(), Say((b"STARTTLS\r\n",)), HEAR, Upgrade(), HEAR, Say((b"QUIT\r\n",)))
    told = await talk(script, *asks, to="smtp://localhost:25", context=certain(certificates))
    assert isinstance(told[3], Upgraded)
    assert (told[3].tls.version, told[3].tls.verified, told[3].tls.sni) == ("TLSv1.3", True, "localhost")
    assert raws(told) == [b"220 go\r\n", b"250 secret\r\n"]


@pytest.mark.parametrize("injected", [b"250 evil\r\n", b"x"])
@pytest.mark.parametrize("is_late", [False, True])
async def test_octets_behind_the_220_are_injection(
    injected: bytes, is_late: bool, certificates: Certificates
) -> None:
    async def script(app: End) -> None:
        await app.line()
        if is_late:
            await app.say(b"220 go\r\n")
            await app.read_raw()  # the ClientHello
            await app.say(injected)
        else:
            await app.say(b"220 go\r\n" + injected)
        await app.to_end()

    asks = (Connect(), Say((b"STARTTLS\r\n",)), HEAR, Upgrade())
    told = await talk(script, *asks, to="smtp://localhost:25", context=certain(certificates))
    assert isinstance(told[3], Upgraded)
    assert "injects" in told[3].tls.error


async def test_implicit_tls_and_a_certificate_that_is_not_good(server_context: ssl.SSLContext) -> None:
    async def script(app: End) -> None:
        with pytest.raises(ssl.SSLError, match="UNKNOWN_CA"):
            await app.start_tls(server_context)

    told = await talk(
        script, Connect(is_tls=True), to="smtps://localhost:465", context=make_server_leg_context()
    )
    assert isinstance(told[0], Gone)
    assert told[0].tls is not None
    assert not told[0].is_connected
    assert "is not good" in told[0].reason
    assert "--upstream-ca" in told[0].tls.advice


async def test_a_handshake_is_not_waited_for_for_ever(certificates: Certificates) -> None:
    async def script(app: End) -> None:
        await app.to_end()

    told = await talk(
        script,
        Connect(is_tls=True),
        to="smtps://localhost:465",
        context=certain(certificates),
        limits=ClientLimits(handshake_timeout_s=0.05),
    )
    assert isinstance(told[0], Gone)
    assert "in time" in told[0].reason


async def test_the_connection_is_closed_when_the_exchange_fails() -> None:
    ended = trio.Event()

    async def script(app: End) -> None:
        await app.to_end()
        ended.set()

    def failing() -> Generator[Ask, Told, None]:
        yield Connect()
        raise LookupError("a fault of the exchange")

    async with server(script) as served:
        with pytest.raises(LookupError):
            await carry_out(
                failing(),
                parse_endpoint("smtp://127.0.0.1", is_listen=False),
                NO_TLS,
                connect_to=served.address,
            )
        with trio.fail_after(PATIENCE_S):
            await ended.wait()


async def test_a_unix_socket_has_no_name_to_check(tmp_path: Path, server_context: ssl.SSLContext) -> None:
    async def script(app: End) -> None:
        await app.line()
        await app.say(b"220 go\r\n")
        if (await app.read_raw(1)) == b"\x16":
            raise AssertionError("a handshake was begun")

    asks = (Connect(), Say((b"STARTTLS\r\n",)), HEAR, Upgrade())
    path = str(tmp_path / "s")
    async with server(script, path) as served:
        target = parse_endpoint(f"unix:{path}", is_listen=False)
        told = await carry_out(asking(*asks), target, make_server_leg_context())
        await served.finished()
    assert isinstance(told[3], Upgraded)
    assert "unix socket has no name" in told[3].tls.error
