"""Work is linear in what comes, and what is kept is bounded, however the octets arrive."""

import gc
import time
import tracemalloc
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from smtpproxy.session.relay import Relay
from tests.session.harness import Scene
from tests.session.talk import asks, greeted, passes, up_to_data, up_to_rcpt

CPU_S = 6.0
"""Several times what linear work takes here, and a fraction of what quadratic work would."""


@contextmanager
def linear() -> Iterator[None]:
    """What is done here takes little CPU time (the machine's other work does not count)."""
    before = time.process_time()
    yield
    spent = time.process_time() - before
    assert spent < CPU_S, f"{spent:.1f} s"


@pytest.fixture
def relay() -> Relay:
    """A relay without the harness, which costs more than it."""
    scene = greeted(Scene())
    return scene.relay


def drip(relay: Relay, side: str, data: bytes) -> None:
    """One octet a read, drained after each."""
    receive, effects, events = relay.receive, relay.effects, relay.events
    for octet in data:
        receive(side, bytes((octet,)), 1.0)  # type: ignore[arg-type]
        effects()
        events()


@pytest.mark.parametrize("side", ["client", "server"])
def test_a_line_of_half_a_mebibyte_octet_by_octet(relay: Relay, side: str) -> None:
    with linear():
        drip(relay, side, b"2" * 512 * 1024)


def test_a_message_octet_by_octet(relay: Relay) -> None:
    relay.receive("client", b"DATA\r\n", 1.0)
    relay.receive("server", b"354 go\r\n", 1.0)
    with linear():
        drip(relay, "client", b"x\r\n." * 64 * 1024)


def test_a_reply_of_many_lines_octet_by_octet(relay: Relay) -> None:
    relay.receive("client", b"HELP\r\n", 1.0)
    with linear():
        drip(relay, "server", b"214-x\r\n" * 40 * 1024)


def test_held_octets_that_come_one_by_one(relay: Relay) -> None:
    relay.receive("client", b"DATA\r\n", 1.0)
    with linear():
        drip(relay, "client", b"x" * 256 * 1024)
        relay.receive("server", b"503 no\r\n", 1.0)


def test_held_lines_that_are_released_one_by_one(relay: Relay) -> None:
    relay.receive("client", b"X\n" * 128 * 1024, 1.0)
    with linear():
        for _ in range(128 * 1024):
            relay.receive("server", b"500 x\r\n", 1.0)
            relay.effects()
            relay.events()


def test_a_security_layer_octet_by_octet(relay: Relay) -> None:
    relay.receive("client", b"TURN\r\n", 1.0)
    relay.receive("server", b"250 ok\r\n", 1.0)
    with linear():
        drip(relay, "server", b"\0" * 256 * 1024)


@pytest.mark.parametrize("phase", ["line", "reply", "message", "chunk", "sasl", "ehlo", "opaque"])
def test_what_is_kept_does_not_grow_with_what_passes(phase: str) -> None:
    scene = greeted(Scene())
    match phase:
        case "message":
            up_to_data(scene)
        case "chunk":
            passes(up_to_rcpt(scene), b"BDAT 9223372036854775807\r\n")
        case "sasl":
            asks(scene, b"AUTH X\r\n", b"334 \r\n")
        case "ehlo":
            passes(scene, b"EHLO x\r\n")
        case "opaque":
            passes(scene, b"BDAT\r\n")
        case _:
            pass
    side = "server" if phase in ("reply", "ehlo") else "client"
    block = b"250-" + b"x" * 60 + b"\r\n" if side == "server" else b"x" * 66
    relay = scene.relay
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(150):
            relay.receive(side, block * 993, 1.0)  # type: ignore[arg-type]
            relay.effects()
            relay.events()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 512 * 1024, f"{grown} octets of {150 * 993 * len(block)}"


@pytest.mark.parametrize("last", [b"STARTTLS\r\nX", b"EHLO x\r\n", b"DATA\r\n", b"QUIT\r\n"])
def test_a_session_that_is_over_is_forgotten(last: bytes) -> None:
    scene = greeted(Scene())
    scene.client.says(last)
    scene.finish()
    forgotten = weakref.ref(scene.relay)
    del scene
    gc.collect()
    assert forgotten() is None
