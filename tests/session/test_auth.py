"""AUTH: which client lines are SASL, which are secret, whose account it is; never what the secret says."""

import base64
from collections.abc import Callable

import pytest

from smtpproxy.session.events import Auth, Command, Opaque, Reply, octets_of
from tests.session.harness import Scene
from tests.session.talk import asks, greeted, passes, quits

Stage = Callable[..., Scene]


def b64(text: str) -> bytes:
    """A SASL line without its end."""
    return base64.b64encode(text.encode())


def secrets(scene: Scene) -> list[bytes]:
    """Every redacted span of a client's event."""
    return [
        octets_of(event)[span.at : span.at + span.length]
        for event in scene.events
        if isinstance(event, Command | Auth)
        for span in event.redacted or []
    ]


def identities(scene: Scene) -> list[str]:
    """Whose account the exchanges were about, where they told."""
    return [e.identity for e in scene.events if isinstance(e, Command | Auth) and e.identity]


SCRAM_FIRST = b64("n,,n=alice,r=nonce")
OAUTH = b64("user=alice\x01auth=Bearer token\x01\x01")
BEARER = b64("n,a=alice,\x01host=x\x01auth=Bearer token\x01\x01")
EXCHANGES = {
    # mechanism: (initial response, [(challenge, response)…], identity)
    "PLAIN with": (b64("\0alice\0secret"), [], "alice"),
    "PLAIN": (None, [(b"", b64("\0alice\0secret"))], "alice"),
    "LOGIN": (None, [(b64("Username:"), b64("alice")), (b64("Password:"), b64("secret"))], "alice"),
    "LOGIN with": (b64("alice"), [(b64("Password:"), b64("secret"))], "alice"),
    "CRAM-MD5": (None, [(b64("<1@mx>"), b64("alice " + "0" * 32))], "alice"),
    "DIGEST-MD5": (None, [(b64("realm"), b64('username="alice"')), (b64("rspauth"), b"")], None),
    "SCRAM-SHA-256": (SCRAM_FIRST, [(b64("r=n,s=s,i=1"), b64("c=biws,p=x")), (b64("v=sig"), b"")], "alice"),
    "XOAUTH2": (OAUTH, [], "alice"),
    "OAUTHBEARER": (BEARER, [], "alice"),
    "NTLM": (None, [(b"", b64("type 1")), (b64("type 2"), b64("type 3"))], None),
    "EXTERNAL with": (b"=", [], None),
    "EXTERNAL": (b64("alice"), [], "alice"),
    "X-NEVER-HEARD": (b64("anything"), [(b64("what"), b"not base64!")], None),
}


@pytest.mark.parametrize("name", EXCHANGES)
@pytest.mark.parametrize("final", [b"235 2.7.0 in\r\n", b"535 5.7.8 no\r\n", b"454 4.7.0 later\r\n"])
@pytest.mark.parametrize("is_split", [False, True])
def test_exchange(stage: Stage, name: str, final: bytes, is_split: bool) -> None:
    initial, steps, identity = EXCHANGES[name]
    mechanism = name.split()[0].encode()
    scene = greeted(stage())
    line = b"AUTH " + mechanism + (b" " + initial if initial is not None else b"") + b"\r\n"
    (scene.client.drips if is_split else scene.client.says)(line)
    assert scene.server.hears(line)
    for challenge, response in steps:
        reply = b"334 " + challenge + b"\r\n"
        scene.server.says(reply)
        assert scene.client.hears(reply)
        (scene.client.drips if is_split else scene.client.says)(response + b"\r\n")
        assert scene.server.hears(response + b"\r\n")
    scene.server.says(final)
    assert scene.client.hears(final)
    said = ([initial] if initial is not None else []) + [response for _, response in steps]
    assert secrets(scene) == [text for text in said if text not in (b"", b"=")]
    assert identities(scene)[:1] == ([identity] if identity else [])
    assert scene.of(Command)[0].mechanism == mechanism.decode()
    assert [event.step for event in scene.of(Auth)] == list(range(1, len(steps) + 1))
    asks(scene, b"NOOP\r\n", b"250 ok\r\n")
    assert scene.of(Command)[-1].verb == "NOOP"
    quits(scene)
    assert scene.end.outcome == ("empty" if final.startswith(b"235") else "rejected")


def test_cancelled(stage: Stage) -> None:
    scene = greeted(stage())
    asks(scene, b"AUTH LOGIN\r\n", b"334 VXNlcm5hbWU6\r\n")
    asks(scene, b"*\r\n", b"501 5.7.0 cancelled\r\n")
    assert secrets(scene) == []
    asks(scene, b"QUIT\r\n", b"221 bye\r\n")
    assert scene.of(Command)[-1].verb == "QUIT"


def test_an_oauth_failure_with_an_empty_line(stage: Stage) -> None:
    scene = greeted(stage())
    asks(scene, b"AUTH OAUTHBEARER " + BEARER + b"\r\n", b"334 eyJzdGF0dXMiOiI0MDEifQ==\r\n")
    asks(scene, b"\r\n", b"535 5.7.8 no\r\n")
    assert [octets_of(event) for event in scene.of(Auth)] == [b"\r\n"]


def test_a_refused_auth_whose_lines_come_all_the_same(stage: Stage) -> None:
    scene = greeted(stage())
    asks(scene, b"AUTH LOGIN\r\n", b"503 5.5.1 already\r\n")
    asks(scene, b64("alice") + b"\r\n", b"500 what\r\n")
    assert scene.of(Auth) == []
    assert scene.of(Command)[-1].verb == b64("alice").decode().upper()


def test_lines_sent_ahead_are_read_as_the_exchange_wants(stage: Stage) -> None:
    scene = greeted(stage())
    scene.client.says(b"AUTH LOGIN\r\n" + b64("alice") + b"\r\n" + b64("secret") + b"\r\nNOOP\r\n")
    for reply, heard in (
        (b"334 VXNlcm5hbWU6\r\n", b64("alice")),
        (b"334 UGFzc3dvcmQ6\r\n", b64("secret")),
        (b"235 in\r\n", b"NOOP"),
    ):
        scene.server.heeds_nothing()
        scene.server.says(reply)
        assert scene.server.hears(heard + b"\r\n")
    assert secrets(scene) == [b64("alice"), b64("secret")]
    assert scene.of(Command)[-1].verb == "NOOP"


def test_a_client_that_leaves_in_the_middle_of_its_password(stage: Stage) -> None:
    scene = greeted(stage())
    asks(scene, b"AUTH LOGIN\r\n", b"334 UGFzc3dvcmQ6\r\n")
    scene.client.says(b"c2Vjc")
    scene.client.leaves()
    assert secrets(scene) == [b"c2Vjc"]
    assert scene.of(Auth)[0].partial
    assert scene.server.hears(b"c2Vjc")


def test_held_lines_of_an_exchange_that_never_goes_on_are_secret(stage: Stage) -> None:
    scene = greeted(stage())
    scene.client.says(b"AUTH LOGIN\r\n" + b64("secret") + b"\r\n")
    scene.server.resets()
    assert secrets(scene) == [b64("secret") + b"\r\n"]
    assert scene.of(Auth)[0].to == "proxy"


@pytest.mark.parametrize("length", [12_288, 65_535, 65_536, 65_537, 200_000])
def test_a_response_of_any_length(stage: Stage, length: int) -> None:
    scene = greeted(stage())
    asks(scene, b"AUTH GSS\r\n", b"334 \r\n")
    passes(scene, b"A" * length + b"\r\n")
    assert b"".join(secrets(scene)) == b"A" * length
    scene.server.says(b"235 in\r\n")
    passes(scene, b"NOOP\r\n")
    assert scene.of(Command)[-1].verb == "NOOP"


def test_an_initial_response_longer_than_a_line_is_kept(stage: Stage) -> None:
    scene = greeted(stage())
    passes(scene, b"AUTH PLAIN " + b"A" * 100_000 + b"\r\n")
    assert b"".join(secrets(scene)).count(b"A") >= 100_000
    scene.server.says(b"334 \r\n")
    passes(scene, b"c2VjcmV0\r\n")
    assert secrets(scene)[-1] == b"c2VjcmV0"
    scene.server.says(b"535 no\r\n")
    passes(scene, b"NOOP\r\n")


@pytest.mark.parametrize("mechanism", [b"GSSAPI", b"DIGEST-MD5", b"KERBEROS_V4", b"GSS-SPNEGO"])
def test_a_security_layer_passes_unread_and_unkept(stage: Stage, mechanism: bytes) -> None:
    scene = greeted(stage())
    asks(scene, b"AUTH " + mechanism + b"\r\n", b"235 in\r\n")
    passes(scene, b"\0\0\0\x02zz")
    scene.server.says(b"\0\0\0\x03yyy")
    assert scene.client.hears(b"\0\0\0\x03yyy")
    scene.client.leaves()
    scene.server.leaves()
    assert sorted((event.from_, event.octets) for event in scene.of(Opaque)) == [("client", 6), ("server", 7)]


def test_without_a_layer_commands_follow(stage: Stage) -> None:
    scene = greeted(stage())
    asks(scene, b"AUTH GSSAPI\r\n", b"235 in\r\n")
    asks(scene, b"EHLO app\r\n", b"250 mx\r\n")
    assert scene.of(Opaque) == []


def test_scrams_server_signature_is_not_kept(stage: Stage) -> None:
    scene = greeted(stage())
    asks(scene, b"AUTH SCRAM-SHA-1 " + SCRAM_FIRST + b"\r\n", b"334 " + b64("r=n,s=s,i=1") + b"\r\n")
    asks(scene, b64("c=biws,p=x") + b"\r\n", b"334 " + b64("v=signature") + b"\r\n")
    challenge, final = scene.of(Reply)[-2:]
    assert not challenge.redacted
    assert [octets_of(final)[s.at : s.at + s.length] for s in final.redacted or []] == [b64("v=signature")]


def test_a_client_that_could_have_bound_the_channel(stage: Stage) -> None:
    scene = greeted(stage())
    asks(scene, b"AUTH SCRAM-SHA-1 " + b64("y,,n=alice,r=x") + b"\r\n", b"535 no\r\n")
    assert scene.findings == ["channel-binding"]


def test_credentials_in_clear_off_this_machine(stage: Stage) -> None:
    far = {"is_client_loopback": False, "is_server_loopback": False}
    scene = greeted(stage(**far))
    passes(scene, b"AUTH PLAIN\r\n")
    assert scene.findings == ["cleartext-upstream", "cleartext-auth"]
    scene = greeted(stage(**far, is_client_tls=True, server_tls="implicit"))
    passes(scene, b"AUTH PLAIN\r\n")
    assert scene.findings == []
