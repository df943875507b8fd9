"""TLS at a mock: as it was recorded, or as the listener's URL says; a missing upgrade is a failure."""

from smtpproxy.replay.mock import Mock
from tests.conversation import Conversation
from tests.replay.app import App, client_script, only


def upgraded() -> Conversation:
    """A session that takes STARTTLS before its mail."""
    return (
        Conversation(upstream="sandbox:")
        .server("220 mx")
        .client("EHLO app")
        .server("250-mx", "250-STARTTLS", "250 PIPELINING")
        .client("STARTTLS")
        .server("220 go")
        .tls("client")
        .client("EHLO app")
        .server("250-mx", "250 PIPELINING")
        .client("MAIL FROM:<a@example.com>")
        .server("250 ok")
        .client("QUIT")
        .server("221 bye")
        .end("empty")
    )


def implicit() -> Conversation:
    """A session that is under TLS from its first octet."""
    return (
        Conversation(upstream="sandbox:")
        .tls("client")
        .server("220 mx")
        .client("EHLO app")
        .server("250-mx", "250 PIPELINING")
        .client("MAIL FROM:<a@example.com>")
        .server("250 ok")
        .client("QUIT")
        .server("221 bye")
        .end("empty")
    )


def test_starttls_as_recorded() -> None:
    mock = Mock([client_script(upgraded())])
    app = App(mock)
    app.rerun(client_script(upgraded()))
    assert app.client.is_tls
    assert only(mock).status == "same"


def test_an_app_that_does_not_upgrade() -> None:
    mock = Mock([client_script(upgraded())])
    app = App(mock)
    assert "250-STARTTLS" in app.say("EHLO x")
    assert app.say("MAIL FROM:<a@example.com>").startswith("530 5.7.0 smtpproxy mock: ")
    app.say("QUIT")
    app.leave()
    difference = only(mock).differences[0]
    assert (difference.what, difference.step) == ("unmatched", 3)
    assert difference.text == "the app said MAIL FROM:<a@example.com> where the recording has STARTTLS"


def test_an_upgrade_that_was_not_recorded() -> None:
    talk = (
        Conversation()
        .server("220 mx")
        .client("EHLO app")
        .server("250 mx")
        .client("QUIT")
        .server("221 bye")
        .end()
    )
    mock = Mock([client_script(talk)])
    app = App(mock)
    app.say("EHLO x")
    assert app.say("STARTTLS").startswith("502 5.5.1 ")
    assert not app.client.is_tls


def test_a_listener_under_tls_stands_for_the_recorded_upgrade() -> None:
    mock = Mock([client_script(upgraded())])
    app = App(mock, is_tls=True)
    assert app.greeting == "220 mx"
    assert app.say("EHLO x") == "250-mx\n250 PIPELINING"
    assert app.say("MAIL FROM:<a@example.com>") == "250 ok"
    app.say("QUIT")
    app.leave()
    result = only(mock)
    assert result.status == "same"
    assert result.notes == ("TLS stood from the first octet: STARTTLS of step 3 counts as said",)


def test_starttls_is_not_offered_under_tls() -> None:
    talk = Conversation().server("220 mx").client("EHLO app").server("250-mx", "250 STARTTLS").client("QUIT")
    mock = Mock([client_script(talk.server("221 bye").end())])
    app = App(mock, is_tls=True)
    assert app.greeting
    assert app.say("EHLO x") == "250 mx"


def test_starttls_stands_for_tls_from_the_first_octet() -> None:
    mock = Mock([client_script(implicit())])
    app = App(mock)
    assert app.greeting == "220 mx"
    assert app.say("EHLO x") == "250-mx\n250-PIPELINING\n250 STARTTLS"
    assert app.say("STARTTLS").startswith("220 ")
    assert app.client.is_tls
    assert app.say("EHLO x") == "250-mx\n250 PIPELINING"
    assert app.say("MAIL FROM:<a@example.com>") == "250 ok"
    app.say("QUIT")
    app.leave()
    assert only(mock).status == "same"


def test_the_upgrade_is_missing() -> None:
    mock = Mock([client_script(implicit())])
    app = App(mock)
    app.say("EHLO x")
    assert app.say("MAIL FROM:<a@example.com>").startswith("530 5.7.0 ")
    assert app.say("QUIT") == "221 bye"
    app.leave()
    first = only(mock).differences[0]
    assert (first.what, first.fields) == ("tls", (("tls", "under TLS", "in clear"),))
    assert first.text == "the upgrade is missing: this was recorded under TLS from the first octet"
