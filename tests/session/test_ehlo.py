"""The EHLO reply as the client sees it, on each kind of leg; both versions are recorded."""

from collections.abc import Callable

import pytest

from smtpproxy.session.events import Reply, octets_of
from tests.session.harness import Scene
from tests.session.talk import greeted

Stage = Callable[..., Scene]


def shown(scene: Scene, reply: bytes) -> bytes:
    """What the client hears when the server answers EHLO so."""
    greeted(scene)
    scene.client.says(b"EHLO app\r\n")
    assert scene.server.hears(b"EHLO app\r\n")
    before = len(scene.client.heard)
    scene.server.says(reply)
    return bytes(scene.client.heard[before:])


@pytest.mark.parametrize(
    "reply",
    [
        b"250 mx\r\n",
        b"250\r\n",
        b"250-mx\r\n250-SIZE 1000\r\n250-pipelining\r\n250 AUTH PLAIN LOGIN\r\n",
        b"250-mx\n250 STARTTLS\n",
        b"250-mx\r\n250-X-EXPSION yes\r\n250 8BITMIME\r\n",
        b"250-XCLIENT is my name\r\n250 8BITMIME\r\n",
        b"250-mx\r\n550 mixed codes XCLIENT\r\n",
        b"550-no\r\n550 XCLIENT\r\n",
        b"250-mx\r\nbroken\r\n250 XCLIENT\r\n",
    ],
)
def test_nothing_to_hide_is_nothing_changed(stage: Stage, reply: bytes) -> None:
    scene = stage()
    assert shown(scene, reply) == reply
    assert [octets_of(event) for event in scene.of(Reply)[1:]] == [reply]


@pytest.mark.parametrize(
    ("reply", "seen"),
    [
        (b"250-mx\r\n250-xclient NAME\r\n250 SIZE\r\n", b"250-mx\r\n250 SIZE\r\n"),
        (b"250-mx\r\n250-SIZE\r\n250 XCLIENT NAME\r\n", b"250-mx\r\n250 SIZE\r\n"),
        (b"250-mx\r\n250 PIPECONNECT\r\n", b"250 mx\r\n"),
        (b"250-mx\r\n250-SIZE\n250 TURN\r\n", b"250-mx\r\n250 SIZE\n"),
        (b"250-mx\r\n250-\r\n250 TURN\r\n", b"250-mx\r\n250 \r\n"),
        (b"250-mx\r\n250-X-EXPS=LOGIN\r\n250-ATRN\r\n250 X-LINK2STATE\r\n", b"250 mx\r\n"),
        (b"250-mx\r\n250-REQUIRETLS\r\n250 SIZE\r\n", b"250-mx\r\n250 SIZE\r\n"),
        (
            b"250-mx\r\n250-AUTH PLAIN SCRAM-SHA-256 SCRAM-SHA-256-PLUS LOGIN\r\n"
            b"250 AUTH=PLAIN SCRAM-SHA-256 SCRAM-SHA-256-PLUS LOGIN\r\n",
            b"250-mx\r\n250-AUTH PLAIN LOGIN\r\n250 AUTH=PLAIN LOGIN\r\n",
        ),
        (
            b"250-mx\r\n250 AUTH=SCRAM-SHA-1-PLUS plain\r\n",
            b"250-mx\r\n250 AUTH=plain\r\n",
        ),
        (
            b"250-mx\r\n250 auth scram-sha-1 scram-sha-1-plus\r\n",
            b"250-mx\r\n250 auth scram-sha-1\r\n",
        ),
        (b"250-mx\r\n250-AUTH GSSAPI DIGEST-MD5\r\n250 SIZE\r\n", b"250-mx\r\n250 SIZE\r\n"),
        (b"250-mx\r\n250 AUTH SCRAM-SHA-1 PLAIN\r\n", b"250-mx\r\n250 AUTH SCRAM-SHA-1 PLAIN\r\n"),
    ],
)
def test_what_is_hidden_leaves_the_rest_as_it_was(stage: Stage, reply: bytes, seen: bytes) -> None:
    scene = stage()
    assert shown(scene, reply) == seen
    said = [(event.from_, event.to, octets_of(event)) for event in scene.of(Reply)[1:]]
    if seen == reply:
        assert said == [("server", "client", reply)]
    else:
        assert said == [("server", "proxy", reply), ("proxy", "client", seen)]
        assert scene.of(Reply)[1].answers == scene.of(Reply)[2].answers


def test_a_route_may_show_and_hide_what_it_likes(stage: Stage) -> None:
    scene = stage(ehlo={"XCLIENT": "pass", "SIZE": "hide", "STARTTLS": "hide"})
    reply = b"250-mx\r\n250-XCLIENT NAME\r\n250-STARTTLS\r\n250 SIZE 1\r\n"
    assert shown(scene, reply) == b"250-mx\r\n250 XCLIENT NAME\r\n"


def test_unknown_keywords_pass_with_a_finding_or_are_hidden_on_request(stage: Stage) -> None:
    reply = b"250-mx\r\n250-XFROB 1\r\n250 SIZE\r\n"
    scene = stage()
    assert shown(scene, reply) == reply
    assert scene.findings == ["unknown-extension"]
    assert shown(stage(strict_ehlo=True), reply) == b"250-mx\r\n250 SIZE\r\n"


def test_starttls_is_shown_where_the_server_leg_is_tls_by_our_doing(stage: Stage) -> None:
    scene = stage(server_tls="implicit")
    assert shown(scene, b"250-mx\r\n250 SIZE\r\n") == b"250-mx\r\n250-SIZE\r\n250 STARTTLS\r\n"
    assert shown(stage(server_tls="implicit"), b"250 mx\r\n") == b"250-mx\r\n250 STARTTLS\r\n"
    kept = b"250-mx\r\n250-STARTTLS\r\n250 SIZE\r\n"
    assert shown(stage(server_tls="implicit"), kept) == kept


@pytest.mark.parametrize("server_tls", ["in-step", "implicit"])
def test_starttls_is_hidden_under_tls(stage: Stage, server_tls: str) -> None:
    scene = stage(is_client_tls=True, server_tls=server_tls)
    assert shown(scene, b"250-mx\r\n250-STARTTLS\r\n250 SIZE\r\n") == b"250-mx\r\n250 SIZE\r\n"


def test_requiretls_needs_both_legs_and_a_verified_server(stage: Stage) -> None:
    reply = b"250-mx\r\n250 REQUIRETLS\r\n"
    assert shown(stage(is_client_tls=True, server_tls="implicit"), reply) == reply
    unverified = stage(is_client_tls=True, server_tls="implicit", is_server_verified=False)
    assert shown(unverified, reply) == b"250 mx\r\n"
    assert shown(stage(is_client_tls=True), reply) == b"250 mx\r\n"


def test_external_is_hidden_where_the_apps_certificate_ends_at_us(stage: Stage) -> None:
    reply = b"250-mx\r\n250 AUTH EXTERNAL PLAIN\r\n"
    assert shown(stage(), reply) == reply
    seen = shown(stage(is_client_tls=True), reply)
    assert seen == b"250-mx\r\n250 AUTH PLAIN\r\n"
    # Where we show the server a certificate of ours, EXTERNAL is of use.
    assert shown(stage(is_client_tls=True, has_own_certificate=True), reply) == reply


def test_every_ehlo_is_rewritten_again(stage: Stage) -> None:
    scene = stage()
    assert shown(scene, b"250-mx\r\n250 XCLIENT\r\n") == b"250 mx\r\n"
    assert scene.client.hears(b"250 mx\r\n")
    scene.client.says(b"ehlo app\r\n")
    scene.server.drips(b"250-mx\r\n250 XCLIENT\r\n")
    assert scene.client.hears(b"250 mx\r\n")


@pytest.mark.parametrize(
    "reply",
    [
        b"250-mx\r\n" + b"250-X%060d\r\n" % 1 * 1200 + b"250 XCLIENT\r\n",
        b"250-mx\r\n" + b"250-SIZE\r\n" * 250 + b"250 XCLIENT\r\n",
        b"250-" + b"m" * 100_000 + b"\r\n250 XCLIENT\r\n",
    ],
)
def test_a_reply_too_large_to_rewrite_passes_as_it_came(stage: Stage, reply: bytes) -> None:
    scene = stage()
    assert shown(scene, reply) == reply
    assert "ehlo-too-large" in scene.findings
    scene.client.says(b"NOOP\r\n")
    scene.server.says(b"250 in step\r\n")
    assert "unsolicited-reply" not in scene.findings
