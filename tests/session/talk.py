"""Beginnings that many transcripts share: a greeted session, a transaction up to its message."""

from tests.session.harness import Scene

GREETING = b"220 mx ESMTP\r\n"


def greeted(scene: Scene) -> Scene:
    """The server has greeted, and the client has heard it."""
    scene.server.says(GREETING)
    assert scene.client.hears(GREETING)
    return scene


def asks(scene: Scene, line: bytes, reply: bytes) -> None:
    """One command and its reply pass unchanged."""
    scene.client.says(line)
    assert scene.server.hears(line)
    scene.server.says(reply)
    assert scene.client.hears(reply)


def up_to_rcpt(scene: Scene, recipients: int = 1) -> Scene:
    """A transaction with that many recipients is open."""
    asks(scene, b"MAIL FROM:<a@example.com>\r\n", b"250 2.1.0 ok\r\n")
    for number in range(recipients):
        asks(scene, b"RCPT TO:<r%d@example.com>\r\n" % number, b"250 2.1.5 ok\r\n")
    return scene


def up_to_data(scene: Scene, recipients: int = 1) -> Scene:
    """The server waits for the message."""
    up_to_rcpt(scene, recipients)
    asks(scene, b"DATA\r\n", b"354 go\r\n")
    return scene


def passes(scene: Scene, octets: bytes) -> None:
    """The client says this, and the server hears it as it is."""
    scene.client.says(octets)
    assert scene.server.hears(octets)


def quits(scene: Scene) -> None:
    """A polite end from both sides."""
    asks(scene, b"QUIT\r\n", b"221 2.0.0 bye\r\n")
    scene.server.leaves()
    assert scene.client.ended == "fin"
    scene.client.leaves()
    assert scene.client.ended == "close"
    assert scene.end.reason == "quit"
