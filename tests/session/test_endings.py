"""How sessions end: EOF, reset, silence, shutdown and limits, in every phase; who is told what."""

from collections.abc import Callable

import pytest

from smtpproxy.session.events import Command, Content, Opaque, Reply, octets_of
from smtpproxy.session.options import RelayOptions
from smtpproxy.session.relay import Relay
from tests.session.harness import Scene
from tests.session.talk import asks, greeted, passes, quits, up_to_data, up_to_rcpt

Stage = Callable[..., Scene]

PHASES: dict[str, Callable[[Scene], object]] = {
    "connected": lambda scene: None,
    "greeted": greeted,
    "asked": lambda scene: passes(greeted(scene), b"EHLO x\r\n"),
    "in a line": lambda scene: greeted(scene).client.says(b"MAIL FR"),
    "held": lambda scene: greeted(scene).client.says(b"DATA\r\nmore"),
    "sasl": lambda scene: asks(greeted(scene), b"AUTH LOGIN\r\n", b"334 \r\n"),
    "transaction": lambda scene: up_to_rcpt(greeted(scene)),
    "message": lambda scene: passes(up_to_data(greeted(scene)), b"Subject: h"),
    "terminated": lambda scene: passes(up_to_data(greeted(scene)), b".\r\n"),
    "chunk": lambda scene: passes(up_to_rcpt(greeted(scene)), b"BDAT 10\r\nhel"),
    "starttls": lambda scene: greeted(scene).client.says(b"STARTTLS\r\n"),
    "in a reply": lambda scene: scene.server.says(b"220-mx\r\n22"),
    "opaque": lambda scene: passes(greeted(scene), b"BDAT x\r\n"),
    "quit": lambda scene: asks(greeted(scene), b"QUIT\r\n", b"221 bye\r\n"),
}
phases = pytest.mark.parametrize("phase", PHASES)


@phases
def test_the_server_leaves(stage: Stage, phase: str) -> None:
    scene = stage()
    PHASES[phase](scene)
    scene.server.leaves()
    assert scene.client.ended == "fin"
    scene.client.says(b"too late\r\n")
    scene.client.leaves()
    assert scene.client.ended == "close"
    assert octets_of(scene.of(Opaque)[-1]).endswith(b"too late\r\n")
    assert scene.end.reason == ("quit" if phase == "quit" else "server-eof")
    is_missed = phase in {"asked", "held", "message", "terminated", "chunk", "starttls"}
    assert ("server-left" in scene.findings) == is_missed
    assert (scene.end.outcome == "aborted") == (is_missed or phase == "transaction")


@phases
def test_the_server_leaves_and_the_client_stays(stage: Stage, phase: str) -> None:
    scene = stage()
    PHASES[phase](scene)
    scene.server.leaves()
    scene.passes("drain")
    assert scene.client.ended == "close"
    assert scene.relay.is_over


@phases
def test_the_client_leaves_then_the_server(stage: Stage, phase: str) -> None:
    scene = stage()
    PHASES[phase](scene)
    scene.client.leaves()
    if phase == "held":
        scene.server.says(b"503 no\r\n")
        assert scene.server.hears(b"DATA\r\nmore")
    if not scene.relay.is_over:
        if phase == "terminated":
            assert not scene.server.ended
            assert scene.findings == ["app-left-before-final-reply"]
        else:
            assert scene.server.ended == "fin"
        scene.server.leaves()
    assert scene.server.ended == scene.client.ended == "close"
    assert scene.end.reason == ("quit" if phase == "quit" else "client-eof")


@phases
@pytest.mark.parametrize("side", ["client", "server"])
def test_a_reset_is_passed_on_as_a_reset(stage: Stage, phase: str, side: str) -> None:
    scene = stage()
    PHASES[phase](scene)
    peer, other = (scene.client, scene.server) if side == "client" else (scene.server, scene.client)
    peer.resets()
    if phase == "quit":
        assert "reset" not in (other.ended, peer.ended)
        return
    if phase == "terminated" and side == "client":
        assert not scene.server.ended
        scene.server.says(b"250 queued\r\n")
        scene.server.leaves()
        assert scene.findings == ["client-reset", "app-left-before-final-reply"]
        assert scene.end.outcome == "delivered"
        return
    assert other.ended == "reset"
    assert scene.findings[-1] == f"{side}-reset"
    assert scene.end.reason == f"{side}-reset"


def test_was_it_queued_is_answered_though_the_app_has_left(stage: Stage) -> None:
    scene = up_to_data(greeted(stage()))
    passes(scene, b"hi\r\n.\r\n")
    scene.client.leaves()
    assert not scene.server.ended
    scene.server.says(b"250 queued as 4F1\r\n")
    assert octets_of(scene.of(Reply)[-1]) == b"250 queued as 4F1\r\n"
    assert scene.server.ended == "fin"
    scene.passes("linger")
    assert scene.end.outcome == "delivered"


def test_under_tls_the_half_close_waits_for_what_is_owed(stage: Stage) -> None:
    scene = greeted(stage(server_tls="implicit"))
    passes(scene, b"NOOP\r\nQUIT\r\n")
    scene.client.leaves()
    assert not scene.server.ended
    scene.server.says(b"250 ok\r\n")
    assert not scene.server.ended
    scene.server.says(b"221 bye\r\n")
    assert scene.server.ended == "fin"
    assert scene.client.hears(b"250 ok\r\n221 bye\r\n")


def test_a_client_that_says_all_at_once_and_leaves_is_heard_out(stage: Stage) -> None:
    scene = greeted(stage())
    script = (
        b"EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n",
        b"Subject: hi\r\n\r\nhi\r\n.\r\nQUIT\r\n",
    )
    scene.client.says(b"".join(script))
    scene.client.leaves()
    assert scene.server.hears(script[0])
    assert not scene.server.ended
    scene.server.says(b"250 mx\r\n250 ok\r\n250 ok\r\n354 go\r\n")
    assert scene.server.hears(script[1])
    scene.server.says(b"250 queued\r\n221 bye\r\n")
    scene.server.leaves()
    assert (scene.end.outcome, scene.end.reason) == ("delivered", "quit")


def test_a_tail_without_a_line_end_is_passed_on_and_not_executed(stage: Stage) -> None:
    scene = greeted(stage())
    scene.client.says(b"QUIT")
    scene.client.leaves()
    assert scene.server.hears(b"QUIT")
    assert [octets_of(event) for event in scene.of(Opaque)] == [b"QUIT"]
    assert scene.of(Command) == []


def test_a_message_cut_short_is_kept_as_far_as_it_came(stage: Stage) -> None:
    scene = up_to_data(greeted(stage()))
    passes(scene, b"Subject: hi\r\n\r\nhel")
    scene.client.leaves()
    assert [(octets_of(event), event.end) for event in scene.of(Content)] == [
        (b"Subject: hi\r\n\r\nhel", False)
    ]
    scene.server.leaves()
    assert scene.end.outcome == "aborted"


def test_tls_ended_without_close_notify_is_found_but_after_quit(stage: Stage) -> None:
    scene = greeted(stage(is_client_tls=True))
    passes(scene, b"NOOP\r\n")
    scene.client.leaves(is_truncated=True)
    assert scene.findings == ["truncated-tls"]
    scene = greeted(stage(is_client_tls=True))
    asks(scene, b"QUIT\r\n", b"221 bye\r\n")
    scene.server.leaves(is_truncated=True)
    assert scene.findings == []


def test_a_421_is_passed_on_and_the_server_does_the_closing(stage: Stage) -> None:
    scene = up_to_rcpt(greeted(stage()))
    asks(scene, b"RCPT TO:<x@y>\r\n", b"421 4.3.2 bye\r\n")
    assert not scene.client.ended
    scene.server.leaves()
    assert scene.client.ended == "fin"


@pytest.mark.parametrize(
    ("command", "outcome"), [(b"EHLO x\r\n", "rejected"), (b"NOOP\r\n", "rejected"), (b"QUIT\r\n", "empty")]
)
def test_a_421_to_any_command_but_quit_is_a_refusal(stage: Stage, command: bytes, outcome: str) -> None:
    scene = greeted(stage())
    asks(scene, command, b"421 4.7.0 go away\r\n")
    scene.server.leaves()
    scene.client.leaves()
    assert scene.end.outcome == outcome


def test_quit_and_a_server_that_just_closes(stage: Stage) -> None:
    scene = greeted(stage())
    passes(scene, b"QUIT\r\n")
    scene.server.leaves()
    assert scene.findings == []
    scene.client.leaves()
    assert scene.end.outcome == "empty"


# -- our own endings


@pytest.mark.parametrize(
    ("phase", "step"),
    [
        ("connected", b"the server's greeting"),
        ("greeted", b"a command"),
        ("asked", b"the reply to EHLO"),
        ("message", b"the message"),
        ("chunk", b"the reply to BDAT"),
    ],
)
def test_silence_names_the_step(stage: Stage, phase: str, step: bytes) -> None:
    scene = stage()
    PHASES[phase](scene)
    scene.client.heeds_nothing()
    scene.passes("idle")
    assert (
        scene.client.hears_line(b"421 4.4.2 ")
        == b"421 4.4.2 smtpproxy: timed out waiting for " + step + b"\r\n"
    )
    assert scene.findings == ["timeout"]
    assert (scene.client.ended, scene.server.ended) == ("fin", "close")
    scene.passes("drain")
    assert scene.end.outcome == "failed"


def test_whoever_speaks_is_given_the_whole_time_again(stage: Stage) -> None:
    scene = greeted(stage(idle_timeout_s=100.0))
    scene.passes("idle", 60.0)
    scene.server.says(b"\r\n")
    scene.passes("idle", 60.0)
    assert scene.waits["idle"] == pytest.approx(40.0, abs=0.1)
    assert scene.findings == ["malformed-reply"]


def test_there_is_no_limit_between_the_dot_and_its_reply(stage: Stage) -> None:
    scene = up_to_data(greeted(stage()))
    passes(scene, b".\r\n")
    for _ in range(5):
        scene.passes("idle")
    scene.server.says(b"250 at last\r\n")
    assert scene.client.hears(b"250 at last\r\n")


@phases
def test_shutdown_speaks_only_between_commands(stage: Stage, phase: str) -> None:
    scene = stage()
    PHASES[phase](scene)
    scene.client.heeds_nothing()
    scene.shuts_down()
    if phase in {"connected", "greeted", "in a line", "transaction", "in a reply"}:
        assert scene.client.hears_line(b"421 4.3.2 ")
        assert scene.findings == ["shutdown"]
        assert scene.client.ended == "fin"
    else:
        assert scene.client.hears(b"")
        assert not scene.client.ended


def test_shutdown_waits_for_the_message_and_its_reply(stage: Stage) -> None:
    scene = up_to_data(greeted(stage()))
    scene.shuts_down()
    passes(scene, b"hi\r\n.\r\n")
    assert not scene.client.ended
    scene.server.says(b"250 queued\r\n")
    assert scene.client.hears(b"250 queued\r\n421 4.3.2 smtpproxy: shutting down; try again\r\n")
    scene.client.leaves()
    assert (scene.end.outcome, scene.end.reason) == ("delivered", "shutdown")


def test_shutdown_waits_for_a_handshake(stage: Stage) -> None:
    scene = greeted(stage(server_tls="implicit"))
    scene.client.is_slow = True
    scene.client.says(b"STARTTLS\r\n")
    scene.shuts_down()
    assert not scene.client.ended
    scene.client.shakes_hands()
    assert scene.client.hears(
        b"220 2.0.0 Ready to start TLS\r\n421 4.3.2 smtpproxy: shutting down; try again\r\n"
    )


@phases
def test_abort_ends_at_once_and_says_nothing(stage: Stage, phase: str) -> None:
    scene = stage()
    PHASES[phase](scene)
    heard = bytes(scene.client.heard)
    scene.relay.abort("shutdown", "the deadline passed", scene.now())
    scene.pump()
    assert bytes(scene.client.heard) == heard
    assert scene.end.outcome == "failed"


def test_an_upstream_that_cannot_be_reached(stage: Stage) -> None:
    scene = stage(is_dialled=False)
    scene.client.says(b"EHLO x\r\n")
    scene.relay.server_unreachable("connection refused", scene.now())
    scene.pump()
    line = b"421 4.4.1 smtpproxy: cannot reach mx.example.com:25: connection refused\r\n"
    assert scene.client.hears(line)
    assert scene.findings == ["upstream-unreachable"]
    assert [octets_of(event) for event in scene.of(Opaque)] == [b"EHLO x\r\n"]


def test_a_client_that_leaves_before_the_server_is_there(stage: Stage) -> None:
    scene = stage(is_dialled=False)
    scene.client.leaves()
    assert scene.end.reason == "client-eof"
    assert scene.server.ended == "close"


@pytest.mark.parametrize("is_client_tls", [False, True])
def test_a_session_that_may_not_begin(is_client_tls: bool) -> None:
    relay = Relay(RelayOptions(is_client_tls=is_client_tls), session="S", started="", client="")
    relay.refuse("limit", "too many sessions", 0.0)
    effects = [type(effect).__name__ for effect in relay.effects()]
    assert effects == ["StartTls"] * is_client_tls + ["Send", "Close", "HalfClose", "Wait"]


def test_more_than_is_held_stops_the_reading_of_the_client(stage: Stage) -> None:
    scene = greeted(stage())
    passes(scene, b"DATA\r\n")
    while scene.relay.wants("client"):
        scene.client.says(b"x" * 65_536)
    assert len(scene.client.said) <= 262_144 + 65_536 + 6
    assert scene.relay.wants("server")
    scene.server.says(b"503 no\r\n")
    assert scene.relay.wants("client")


def test_too_many_commands_without_a_reply_stop_the_reading_of_the_client(stage: Stage) -> None:
    scene = greeted(stage())
    said = 0
    while scene.relay.wants("client"):
        passes(scene, b"\n" * 1_000)
        said += 1_000
    assert said == 10_000
    assert scene.relay.wants("server")
    scene.server.says(b"500 5.5.2 bad syntax\r\n")
    assert scene.relay.wants("client")


def test_the_record_of_a_health_probe(stage: Stage) -> None:
    scene = greeted(stage())
    scene.client.leaves()
    scene.server.leaves()
    assert scene.end.outcome == "empty"


def test_quits_politely(stage: Stage) -> None:
    quits(greeted(stage()))
