"""The PROXY header before everything else, and tunnels, which pass TLS on unread."""

from collections.abc import Callable

import pytest
from msgspec import UNSET

from smtpproxy.session.events import Opaque, Preface, octets_of
from tests.session.harness import Scene
from tests.session.talk import GREETING, asks, greeted, passes

Stage = Callable[..., Scene]
HEADER = b"PROXY TCP4 192.0.2.1 192.0.2.2 5000 25\r\n"


@pytest.mark.parametrize("is_slow", [False, True])
def test_the_header_is_read_and_not_passed_on(stage: Stage, is_slow: bool) -> None:
    scene = stage(accept_proxy_protocol=True)
    (scene.client.drips if is_slow else scene.client.says)(HEADER + b"EHLO x\r\n")
    assert scene.server.hears(b"EHLO x\r\n")
    [preface] = scene.of(Preface)
    assert (preface.version, preface.source) == (1, "192.0.2.1:5000")
    assert octets_of(preface) == HEADER


def test_nothing_is_said_to_a_client_before_its_header(stage: Stage) -> None:
    scene = stage(accept_proxy_protocol=True)
    scene.server.says(GREETING)
    assert scene.client.hears(b"")
    scene.client.says(HEADER)
    assert scene.client.hears(GREETING)


def test_tls_begins_behind_the_header(stage: Stage) -> None:
    scene = stage(accept_proxy_protocol=True, is_client_tls=True)
    scene.server.says(GREETING)
    assert not scene.client.is_tls
    scene.client.says(HEADER)
    assert scene.client.is_tls
    assert scene.client.hears(GREETING)


@pytest.mark.parametrize("is_client_tls", [False, True])
@pytest.mark.parametrize("said", [b"EHLO x\r\n", b"PROXY nonsense\r\n", b"\r\n\r\n\0\r\nQUIT\n\xff\0\0\0"])
def test_without_a_proper_header_there_is_no_session(stage: Stage, said: bytes, is_client_tls: bool) -> None:
    scene = stage(accept_proxy_protocol=True, is_client_tls=is_client_tls)
    scene.client.says(said)
    assert scene.client.hears(b"")
    assert scene.server.hears(b"")
    assert scene.client.ended == "fin"
    assert scene.findings == ["bad-proxy-header"]


@pytest.mark.parametrize("is_client_tls", [False, True])
def test_a_header_that_does_not_come(stage: Stage, is_client_tls: bool) -> None:
    scene = stage(accept_proxy_protocol=True, is_client_tls=is_client_tls)
    scene.client.says(b"PROXY TCP")
    scene.passes("preface")
    assert scene.findings == ["timeout"]
    assert [octets_of(event) for event in scene.of(Opaque)] == [b"PROXY TCP"]
    assert bool(scene.client.heard) is not is_client_tls


def test_a_client_that_leaves_within_its_header(stage: Stage) -> None:
    scene = stage(accept_proxy_protocol=True)
    scene.client.says(b"PROX")
    scene.client.leaves()
    assert [octets_of(event) for event in scene.of(Opaque)] == [b"PROX"]


# -- tunnels


def test_a_tunnel_of_implicit_tls_keeps_length_and_digest(stage: Stage) -> None:
    scene = stage(is_tunnel=True, server_tls="implicit")
    passes(scene, b"\x16\x03\x01 hello")
    scene.server.says(b"\x16\x03\x03 hello yourself")
    assert scene.client.hears(b"\x16\x03\x03 hello yourself")
    scene.client.leaves()
    assert scene.server.ended == "fin"
    scene.server.says(b"\x17more")
    assert scene.client.hears(b"\x17more")
    scene.server.leaves()
    kept = sorted((e.from_, e.to, e.octets) for e in scene.of(Opaque))
    assert kept == [("client", "server", 9), ("server", "client", 23)]
    assert all(event.raw is UNSET for event in scene.of(Opaque))
    assert scene.findings == []


def test_a_tunnel_of_starttls_reads_up_to_the_220(stage: Stage) -> None:
    scene = greeted(stage(is_tunnel=True))
    asks(scene, b"EHLO x\r\n", b"250-mx\r\n250-XCLIENT\r\n250 STARTTLS\r\n")
    asks(scene, b"STARTTLS\r\n", b"220 go\r\n")
    passes(scene, b"\x16\x03\x01 hello")
    assert not scene.client.is_tls
    scene.server.leaves()
    assert [(event.from_, event.octets) for event in scene.of(Opaque)] == [("client", 9)]
