"""smtp+starttls://: the proxy upgrades the server's leg before anything of the client goes out."""

from collections.abc import Callable

import pytest

from smtpproxy.session.events import Command, Reply, octets_of
from tests.session.harness import Scene
from tests.session.talk import asks, greeted, quits

Stage = Callable[..., Scene]
OFFER = b"250-mx\r\n250 STARTTLS\r\n"


def begin(stage: Stage, **options: object) -> Scene:
    """A greeted session in this cell."""
    return greeted(stage(server_tls="starttls", **options))


def upgrade(scene: Scene, name: bytes = b"[127.0.0.1]") -> None:
    """The proxy's own EHLO and STARTTLS, and the handshake."""
    assert scene.server.hears(b"EHLO " + name + b"\r\n")
    scene.server.says(OFFER)
    assert scene.server.hears(b"STARTTLS\r\n")
    scene.server.says(b"220 go\r\n")
    assert scene.server.is_tls


def test_the_clients_own_name_is_used_and_only_the_second_reply_shown(stage: Stage) -> None:
    scene = begin(stage)
    scene.client.says(b"EHLO app.example\r\n")
    upgrade(scene, b"app.example")
    assert scene.server.hears(b"EHLO app.example\r\n")
    assert scene.client.hears(b"")
    scene.server.says(b"250-mx\r\n250 SIZE\r\n")
    assert scene.client.hears(b"250-mx\r\n250-SIZE\r\n250 STARTTLS\r\n")
    said = [(event.from_, octets_of(event)) for event in scene.of(Command)]
    assert said == [
        ("client", b"EHLO app.example\r\n"),
        ("proxy", b"STARTTLS\r\n"),
        ("proxy", b"EHLO app.example\r\n"),
    ]
    theirs, _, ours = scene.of(Command)
    assert [reply.answers for reply in scene.of(Reply)[-2:]] == [ours.n, theirs.n]
    quits(scene)


def test_each_ehlo_has_its_own_reply_also_where_nothing_is_rewritten(stage: Stage) -> None:
    scene = begin(stage, ehlo={"STARTTLS": "hide"})
    scene.client.says(b"EHLO app.example\r\n")
    upgrade(scene, b"app.example")
    assert scene.server.hears(b"EHLO app.example\r\n")
    scene.server.says(b"250-mx\r\n250 SIZE\r\n")
    assert scene.client.hears(b"250-mx\r\n250 SIZE\r\n")
    theirs, _, ours = scene.of(Command)
    said = [(reply.from_, reply.to, reply.answers) for reply in scene.of(Reply)[-2:]]
    assert said == [("server", "proxy", ours.n), ("proxy", "client", theirs.n)]
    quits(scene)


@pytest.mark.parametrize(
    "line",
    [
        b"MAIL FROM:<a@b>\r\n",
        b"AUTH PLAIN AGEAYg==\r\n",
        b"FROB\r\n",
        b"\r\n",
        b"VRFY a\r\n",
        b"DATA\r\n",
        b"BDAT 0\r\n",
    ],
)
def test_anything_else_upgrades_first(stage: Stage, line: bytes) -> None:
    scene = begin(stage)
    scene.client.says(line)
    upgrade(scene)
    assert scene.server.hears(line)
    assert bytes(scene.server.heard).startswith(b"EHLO [127.0.0.1]\r\nSTARTTLS\r\n")
    scene.server.says(b"503 5.5.1 EHLO first\r\n")
    assert scene.client.hears(b"503 5.5.1 EHLO first\r\n")


def test_helo_gives_its_name_to_the_upgrade_and_goes_on_itself(stage: Stage) -> None:
    scene = begin(stage)
    scene.client.says(b"HELO app\r\n")
    upgrade(scene, b"app")
    assert scene.server.hears(b"HELO app\r\n")
    scene.server.says(b"250 mx\r\n")
    assert scene.client.hears(b"250 mx\r\n")


@pytest.mark.parametrize("line", [b"NOOP\r\n", b"RSET\r\n", b"HELP\r\n"])
def test_harmless_words_pass_in_clear(stage: Stage, line: bytes) -> None:
    scene = begin(stage)
    asks(scene, line, b"250 ok\r\n")
    scene.client.says(b"EHLO app\r\n")
    upgrade(scene, b"app")


def test_quit_before_ehlo(stage: Stage) -> None:
    quits(begin(stage))


def test_a_pipelining_client_waits_for_the_upgrade(stage: Stage) -> None:
    scene = begin(stage)
    scene.client.says(b"NOOP\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n")
    assert scene.server.hears(b"NOOP\r\nEHLO [127.0.0.1]\r\n")
    scene.server.says(b"250 ok\r\n")
    scene.server.says(OFFER)
    scene.server.says(b"220 go\r\n")
    assert scene.server.hears(b"STARTTLS\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n")
    assert scene.client.hears(b"250 ok\r\n")


def test_starttls_of_the_client_upgrades_the_server_first(stage: Stage) -> None:
    scene = begin(stage)
    scene.client.says(b"STARTTLS\r\n")
    upgrade(scene)
    assert scene.client.hears(b"220 2.0.0 Ready to start TLS\r\n")
    assert scene.client.is_tls


@pytest.mark.parametrize("said_before", [b"EHLO app\r\n", b"MAIL FROM:<a@b>\r\n", b"NOOP\r\n"])
def test_a_client_before_the_greeting(stage: Stage, said_before: bytes) -> None:
    scene = stage(server_tls="starttls")
    scene.client.says(said_before)
    assert scene.server.hears(said_before if said_before == b"NOOP\r\n" else b"")
    scene.server.says(b"220 mx\r\n")
    assert scene.findings == ["pregreet"]
    if said_before != b"NOOP\r\n":
        upgrade(scene, b"app" if said_before.startswith(b"EHLO") else b"[127.0.0.1]")


@pytest.mark.parametrize("greeting", [b"554 5.7.1 go away\r\n", b"421 4.3.2 busy\r\n"])
def test_a_refusal_in_the_greeting_is_the_clients_to_read(stage: Stage, greeting: bytes) -> None:
    scene = stage(server_tls="starttls")
    scene.server.says(greeting)
    assert scene.client.hears(greeting)
    scene.client.says(b"EHLO app\r\n")
    assert scene.client.hears_line(b"503 5.5.1 ")
    assert scene.server.hears(b"")
    quits(scene)
    assert scene.end.outcome == "rejected"


@pytest.mark.parametrize("offer", [b"250 mx\r\n", b"250-mx\r\n250 SIZE\r\n", b"502 what\r\n", b"421 bye\r\n"])
def test_a_server_without_starttls_gets_nothing(stage: Stage, offer: bytes) -> None:
    scene = begin(stage)
    scene.client.says(b"MAIL FROM:<a@b>\r\n")
    scene.server.says(offer)
    assert scene.client.hears_line(b"421 4.7.5 ")
    assert scene.findings == ["starttls-missing"]
    assert scene.server.hears(b"EHLO [127.0.0.1]\r\n")
    assert scene.server.ended == "close"


@pytest.mark.parametrize("reply", [b"454 no\r\n", b"502 what\r\n", b"250 ok\r\n"])
def test_a_server_that_refuses_starttls_gets_nothing_more(stage: Stage, reply: bytes) -> None:
    scene = begin(stage)
    scene.client.says(b"AUTH PLAIN AGEAYg==\r\n")
    scene.server.says(OFFER)
    scene.server.says(reply)
    assert scene.client.hears_line(b"421 4.7.5 ")
    assert scene.findings == ["upstream-tls"]
    assert scene.server.hears(b"EHLO [127.0.0.1]\r\nSTARTTLS\r\n")


def test_a_failed_handshake_gives_the_reason(stage: Stage) -> None:
    scene = begin(stage)
    scene.server.fails_tls = "self-signed certificate"
    scene.client.says(b"EHLO app\r\n")
    scene.server.says(OFFER)
    scene.server.says(b"220 go\r\n")
    assert b"self-signed certificate" in scene.client.hears_line(b"421 4.7.5 ")


@pytest.mark.parametrize(
    "said",
    [b"AUTH PLAIN AGEAYg==", b"MAIL FROM:<a@b>", b"AUTH PLAIN " + b"A" * 70_000, b"x" * 70_000 + b"\r\n"],
    ids=range(4),
)
def test_no_tail_and_no_long_line_goes_in_clear(stage: Stage, said: bytes) -> None:
    scene = begin(stage)
    scene.client.says(said)
    scene.client.leaves()
    assert scene.server.hears(b"")


@pytest.mark.parametrize("asked", [b"EHLO", b"STARTTLS"])
def test_a_reply_without_end_while_we_upgrade_is_no_way_on(stage: Stage, asked: bytes) -> None:
    scene = begin(stage)
    scene.client.says(b"EHLO app\r\n")
    if asked == b"STARTTLS":
        scene.server.says(OFFER)
    scene.server.says(b"250-" + b"x" * 70_000 + b"\r\n")
    assert scene.client.hears_line(b"421 4.7.5 ")
    assert scene.findings == ["upstream-tls"]


def test_noise_while_we_upgrade_is_not_for_the_client(stage: Stage) -> None:
    scene = begin(stage)
    scene.client.says(b"EHLO app\r\n")
    scene.server.says(b"noise\r\n" + OFFER)
    assert scene.client.hears(b"")
    assert scene.server.hears(b"EHLO app\r\nSTARTTLS\r\n")


def test_a_client_that_says_all_and_leaves_is_still_served(stage: Stage) -> None:
    scene = begin(stage)
    scene.client.says(b"EHLO app\r\nMAIL FROM:<a@b>\r\nQUIT\r\n")
    scene.client.leaves()
    upgrade(scene, b"app")
    assert scene.server.hears(b"EHLO app\r\n")
    scene.server.says(b"250 mx\r\n")
    assert scene.server.hears(b"MAIL FROM:<a@b>\r\nQUIT\r\n")
    scene.server.says(b"250 ok\r\n221 bye\r\n")
    assert scene.client.hears(b"250-mx\r\n250 STARTTLS\r\n250 ok\r\n221 bye\r\n")
