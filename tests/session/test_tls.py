"""The six TLS cells, STARTTLS taken or not, and octets glued to it by either side."""

from collections.abc import Callable

import pytest

from smtpproxy.session.events import Command, Opaque, Reply, Tls, octets_of
from tests.session.harness import Scene
from tests.session.talk import GREETING, asks, greeted, passes, quits, up_to_data

Stage = Callable[..., Scene]
OFFER = b"250-mx\r\n250-PIPELINING\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n"
UNDER_TLS = b"250-mx\r\n250-PIPELINING\r\n250 AUTH PLAIN\r\n"
READY = b"220 2.0.0 Ready to start TLS\r\n"
SERVER_TLS = ["in-step", "starttls", "implicit"]


def hello(scene: Scene) -> None:
    """The first EHLO of a session, whatever the proxy does for it."""
    scene.client.says(b"EHLO app\r\n")
    if scene.options.server_tls == "starttls":
        assert scene.server.hears(b"EHLO app\r\n")
        scene.server.says(OFFER)
        assert scene.server.hears(b"STARTTLS\r\n")
        scene.server.says(b"220 go\r\n")
        assert scene.server.is_tls
    assert scene.server.hears(b"EHLO app\r\n")
    scene.server.says(UNDER_TLS if scene.server.is_tls else OFFER)
    shown = OFFER if not scene.client.is_tls else UNDER_TLS
    if scene.server.is_tls and not scene.client.is_tls:
        shown = b"250-mx\r\n250-PIPELINING\r\n250-AUTH PLAIN\r\n250 STARTTLS\r\n"
    assert scene.client.hears(shown)


def takes_starttls(scene: Scene) -> None:
    """The client says STARTTLS, and its leg becomes TLS."""
    scene.client.says(b"STARTTLS\r\n")
    if scene.options.server_tls == "in-step":
        assert scene.server.hears(b"STARTTLS\r\n")
        assert scene.client.hears(b"")
        scene.server.says(b"220 go\r\n")
        assert scene.client.hears(b"220 go\r\n")
    else:
        assert scene.server.hears(b"")
        assert scene.client.hears(READY)
    assert scene.client.is_tls
    assert scene.server.is_tls
    scene.client.says(b"EHLO app\r\n")
    assert scene.server.hears(b"EHLO app\r\n")
    scene.server.says(UNDER_TLS)
    assert scene.client.hears(UNDER_TLS)


@pytest.mark.parametrize("server_tls", SERVER_TLS)
@pytest.mark.parametrize("is_client_tls", [False, True])
@pytest.mark.parametrize("is_taken", [False, True])
@pytest.mark.parametrize("is_pipelined", [False, True])
def test_a_message_through_each_cell(
    stage: Stage, server_tls: str, is_client_tls: bool, is_taken: bool, is_pipelined: bool
) -> None:
    scene = greeted(stage(server_tls=server_tls, is_client_tls=is_client_tls))
    hello(scene)
    if is_taken and not is_client_tls:
        takes_starttls(scene)
    if is_pipelined:
        passes(scene, b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n")
        scene.server.says(b"250 ok\r\n250 ok\r\n354 go\r\n")
        assert scene.client.hears(b"250 ok\r\n250 ok\r\n354 go\r\n")
    else:
        up_to_data(scene)
    passes(scene, b"Subject: hi\r\n\r\nhi\r\n.\r\n")
    scene.server.says(b"250 queued\r\n")
    assert scene.client.hears(b"250 queued\r\n")
    quits(scene)
    assert scene.end.outcome == "delivered"
    legs = [event.leg for event in scene.of(Tls)]
    assert ("client" in legs) == (is_client_tls or is_taken)
    assert ("server" in legs) == (server_tls != "in-step" or (is_taken and not is_client_tls))
    assert [code for code in scene.findings if code != "upstream-not-verified"] == []


def test_in_step_the_servers_leg_is_first(stage: Stage) -> None:
    scene = greeted(stage())
    scene.server.is_slow = True
    hello(scene)
    scene.client.says(b"STARTTLS\r\n")
    scene.server.says(b"220 go\r\n")
    assert scene.server.is_shaking
    assert not scene.client.is_shaking
    assert scene.client.hears(b"")
    scene.server.shakes_hands()
    assert scene.client.hears(b"220 go\r\n")
    assert [event.leg for event in scene.of(Tls)] == ["server", "client"]


def test_in_step_a_failed_handshake_is_told_in_clear(stage: Stage) -> None:
    scene = greeted(stage())
    hello(scene)
    scene.server.fails_tls = "self-signed certificate"
    scene.client.says(b"STARTTLS\r\n")
    scene.server.says(b"220 go\r\n")
    line = scene.client.hears_line(b"421 4.7.5 ")
    assert b"self-signed certificate" in line
    assert scene.client.ended == "fin"
    assert scene.server.ended == "close"
    assert scene.findings == ["upstream-tls"]
    scene.client.leaves()
    assert scene.end.outcome == "failed"


@pytest.mark.parametrize("code", [b"454", b"502", b"501", b"250", b"221"])
def test_in_step_only_220_starts_tls(stage: Stage, code: bytes) -> None:
    scene = greeted(stage())
    asks(scene, b"STARTTLS\r\n", code + b" no\r\n")
    assert not scene.server.is_tls
    assert not scene.client.is_tls
    asks(scene, b"NOOP\r\n", b"250 ok\r\n")


def test_starttls_with_parameters_is_refused_by_us(stage: Stage) -> None:
    scene = greeted(stage(server_tls="implicit"))
    hello(scene)
    scene.client.says(b"STARTTLS now\r\n")
    assert scene.client.hears(b"501 5.5.4 smtpproxy: STARTTLS takes no parameters\r\n")
    assert scene.server.hears(b"")
    takes_starttls(scene)


def test_starttls_under_tls_is_refused_by_us(stage: Stage) -> None:
    scene = greeted(stage(is_client_tls=True))
    scene.client.says(b"STARTTLS\r\n")
    assert scene.client.hears(b"503 5.5.1 smtpproxy: TLS is already active\r\n")
    assert scene.server.hears(b"")


def test_our_answers_keep_their_place_among_the_servers(stage: Stage) -> None:
    scene = greeted(stage(server_tls="implicit"))
    scene.client.says(b"NOOP\r\nSTARTTLS\r\n")
    assert scene.server.hears(b"NOOP\r\n")
    assert scene.client.hears(b"")
    scene.server.says(b"250 noop\r\n")
    assert scene.client.hears(b"250 noop\r\n" + READY)
    assert scene.client.is_tls


def test_what_the_server_says_as_the_client_switches_is_heard_under_tls(stage: Stage) -> None:
    scene = greeted(stage(server_tls="implicit"))
    scene.client.says(b"NOOP\r\nSTARTTLS\r\n")
    scene.server.says(b"250 noop\r\n421 bye\r\n")
    assert scene.client.hears(b"250 noop\r\n" + READY + b"421 bye\r\n")
    assert [reply.code for reply in scene.of(Reply)] == [220, 250, 220, 421]


def test_mail_before_tls_is_refused_where_the_route_wants_tls(stage: Stage) -> None:
    scene = greeted(stage(require_tls=True))
    scene.client.says(b"MAIL FROM:<a@b>\r\n")
    assert scene.client.hears_line(b"530 5.7.0 ")
    assert scene.server.hears(b"")
    hello(scene)
    takes_starttls(scene)
    asks(scene, b"MAIL FROM:<a@b>\r\n", b"250 ok\r\n")


def test_a_long_mail_line_does_not_slip_past_require_tls(stage: Stage) -> None:
    scene = greeted(stage(require_tls=True))
    scene.client.says(b"MAIL FROM:<a@b>" + b" " * 70_000 + b"\r\n")
    assert scene.server.hears(b"")
    assert scene.client.hears_line(b"500 5.5.6 ")


# -- injection (CVE-2011-0411)


@pytest.mark.parametrize("server_tls", ["in-step", "implicit"])
@pytest.mark.parametrize("glued", [b"NOOP\r\n", b"N", b"\x16\x03\x01hello"])
def test_client_glues_octets_to_starttls(stage: Stage, server_tls: str, glued: bytes) -> None:
    scene = greeted(stage(server_tls=server_tls))
    scene.client.says(b"STARTTLS\r\n" + glued)
    assert scene.server.hears(b"")
    assert scene.client.hears_line(b"501 5.5.4 ")
    assert not scene.client.is_tls
    assert scene.client.ended == "fin"
    assert [octets_of(event) for event in scene.of(Opaque)] == [glued]
    assert scene.findings == ["starttls-injection"]
    assert [command.verb for command in scene.of(Command)] == ["STARTTLS"]
    scene.client.leaves()
    assert scene.end.outcome == "failed"


@pytest.mark.parametrize("moment", ["before the 220", "in the socket"])
def test_client_sends_octets_in_clear_in_the_next_segment(stage: Stage, moment: str) -> None:
    scene = greeted(stage())
    if moment == "in the socket":
        scene.client.has_already_sent(b"NOOP\r\n")
    scene.client.says(b"STARTTLS\r\n")
    if moment == "before the 220":
        scene.client.says(b"NOOP\r\n")
    else:
        scene.server.says(b"220 go\r\n")
    assert scene.client.hears_line(b"501 5.5.4 ")
    assert b"NOOP" not in scene.server.heard
    assert scene.findings == ["starttls-injection"]


@pytest.mark.parametrize("server_tls", ["in-step", "starttls"])
@pytest.mark.parametrize("glued", [b"250-SMTPUTF8 X\r\n", b"X", b"220 again\r\n"])
@pytest.mark.parametrize("is_same_segment", [True, False])
def test_server_glues_octets_to_its_220(
    stage: Stage, server_tls: str, glued: bytes, is_same_segment: bool
) -> None:
    scene = greeted(stage(server_tls=server_tls))
    if server_tls == "in-step":
        scene.client.says(b"STARTTLS\r\n")
    else:
        scene.client.says(b"EHLO app\r\n")
        scene.server.says(OFFER)
    scene.server.is_slow = True
    if is_same_segment:
        scene.server.says(b"220 go\r\n" + glued)
    else:
        scene.server.says(b"220 go\r\n")
        scene.server.says(glued)
    assert scene.client.hears_line(b"421 4.7.0 ")
    assert not scene.client.is_tls
    assert scene.server.is_shaking != is_same_segment, "no ClientHello leaves where they are seen in time"
    assert scene.server.ended == "close"
    assert scene.findings == ["starttls-injection"]
    assert [octets_of(event) for event in scene.of(Opaque)] == [glued]


def test_server_octets_in_the_socket_before_the_handshake(stage: Stage) -> None:
    scene = greeted(stage())
    scene.client.says(b"STARTTLS\r\n")
    scene.server.has_already_sent(b"250-evil")
    scene.server.says(b"220 go\r\n")
    assert not scene.server.is_tls
    assert scene.client.hears_line(b"421 4.7.0 ")


def test_injected_client_octets_behind_the_upgrade_of_the_servers_leg(stage: Stage) -> None:
    scene = greeted(stage(server_tls="starttls"))
    scene.client.says(b"STARTTLS\r\nMAIL FROM:<a@b>\r\n")
    assert scene.server.hears(b"EHLO [127.0.0.1]\r\n")
    scene.server.says(OFFER)
    scene.server.says(b"220 go\r\n")
    assert scene.client.hears_line(b"501 5.5.4 ")
    assert scene.server.hears(b"STARTTLS\r\n")


# -- endings of handshakes


def test_a_client_that_fails_its_handshake(stage: Stage) -> None:
    scene = greeted(stage(server_tls="implicit"))
    scene.client.fails_tls = "the app does not trust the CA"
    scene.client.says(b"STARTTLS\r\n")
    assert scene.client.hears(READY)
    assert scene.findings == ["client-tls"]
    assert (scene.end.outcome, scene.end.reason) == ("failed", "client-tls")
    assert scene.server.ended == "close"


def test_an_implicit_server_whose_certificate_is_bad(stage: Stage) -> None:
    scene = stage(server_tls="implicit", is_dialled=False)
    scene.server.fails_tls = "certificate has expired"
    scene.dialled()
    assert b"certificate has expired" in scene.client.hears_line(b"421 4.7.5 ")
    scene.client.leaves()
    assert scene.end.outcome == "failed"


@pytest.mark.parametrize(("leg", "finding"), [("client", "client-tls"), ("server", "upstream-tls")])
def test_a_handshake_that_takes_too_long(stage: Stage, leg: str, finding: str) -> None:
    scene = greeted(stage())
    peer = scene.client if leg == "client" else scene.server
    peer.is_slow = True
    scene.client.says(b"STARTTLS\r\n")
    scene.server.says(b"220 go\r\n")
    scene.passes(f"handshake-{leg}")
    assert scene.findings == [finding]
    assert scene.of(Tls)[-1].error == "the handshake took too long"


def test_a_client_that_leaves_right_after_the_handshake_may_distrust_us(stage: Stage) -> None:
    scene = greeted(stage(is_client_tls=True))
    scene.client.leaves()
    assert scene.findings == ["client-left-after-tls"]


def test_greeting_comes_under_tls_on_an_implicit_listener(stage: Stage) -> None:
    scene = stage(is_client_tls=True)
    assert scene.client.is_tls
    scene.server.says(GREETING)
    assert scene.client.hears(GREETING)


def test_an_unverified_server_is_a_finding_in_every_session(stage: Stage) -> None:
    assert stage(server_tls="implicit", is_server_verified=False).findings == ["upstream-not-verified"]
