"""A real provider behind the fixtures: relayed with TLS and login, recorded without the password, played."""

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Sink
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

APP = """
import smtplib, ssl

def send(to_proxy):
    with smtplib.SMTP(to_proxy.host, to_proxy.port, timeout=10) as client:
        client.starttls(context=ssl.create_default_context(cafile=to_proxy.ca))
        client.login("app", "s3cret-pass")
        client.sendmail("app@example.com", ["bob@example.com"], "Subject: Welcome\\n\\nHi\\n")
"""


class Provider(Controller):
    """aiosmtpd with STARTTLS and a login; what reaches it is kept."""

    def __init__(self, folder: Path) -> None:
        self.logins: list[tuple[bytes, bytes]] = []
        self.contents: list[bytes] = []
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(folder / "provider-ca.pem"))
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("localhost").configure_cert(context)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        super().__init__(
            self.Handler(self.contents),
            hostname="127.0.0.1",
            port=port,
            tls_context=context,
            require_starttls=True,
            authenticator=self.authenticate_,
            auth_required=True,
        )
        self.url = f"smtp+starttls://localhost:{port}"
        self.is_running = False

    def start(self) -> None:
        super().start()
        self.is_running = True

    def stop(self, no_assert: bool = False) -> None:
        if self.is_running:
            self.is_running = False
            super().stop(no_assert)

    class Handler(Sink):
        def __init__(self, contents: list[bytes]) -> None:
            super().__init__()
            self.contents = contents

        async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
            self.contents.append(envelope.content or b"")
            return "250 2.0.0 taken"

    def authenticate_(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, login: LoginPassword
    ) -> AuthResult:
        self.logins.append((login.login, login.password))
        return AuthResult(success=login.password == b"s3cret-pass")


@pytest.fixture
def provider(suite: pytest.Pytester) -> Iterator[Provider]:
    provider = Provider(suite.path)
    provider.start()
    yield provider
    provider.stop()


def configure(suite: pytest.Pytester, provider: Provider) -> None:
    suite.makepyprojecttoml(
        "[tool.pytest.ini_options]\nfilterwarnings = ['error']\n"
        f"smtp_upstream = {provider.url!r}\nsmtp_upstream_ca = 'provider-ca.pem'\n"
    )


def test_recorded_from_a_provider_and_played_without_it(suite: pytest.Pytester, provider: Provider) -> None:
    configure(suite, provider)
    suite.makepyfile(
        test_app=f"""{APP}
def test_it(smtp_cassette):
    send(smtp_cassette)
    assert smtp_cassette.messages[0].replies == ["250 2.0.0 taken"]
"""
    )
    suite.runpytest_inprocess("--smtp-record-mode=once").assert_outcomes(passed=1)
    assert provider.logins == [(b"app", b"s3cret-pass")]
    assert len(provider.contents) == 1
    text = (suite.path / "replay" / "test_app" / "test_it.smtp.jsonl").read_text()
    assert '"identity":"app"' in text
    assert "s3cret" not in text
    provider.stop()
    suite.runpytest_inprocess().assert_outcomes(passed=1)


def test_a_live_proxy_shows_both_legs(suite: pytest.Pytester, provider: Provider) -> None:
    configure(suite, provider)
    suite.makepyfile(
        test_app=f"""{APP}
def test_it(smtp_proxy):
    assert smtp_proxy.upstream == {provider.url!r}
    send(smtp_proxy)
    session = smtp_proxy.wait_for(lambda session: session.outcome == "delivered")
    assert session.tls.client.version == "TLSv1.3"
    assert session.tls.server.verified
    assert session.findings == []
"""
    )
    suite.runpytest_inprocess().assert_outcomes(passed=1)
    assert len(provider.contents) == 1


def test_the_nearer_word_counts(suite: pytest.Pytester, provider: Provider) -> None:
    configure(suite, provider)
    suite.makepyfile(
        test_app="""
import pytest

@pytest.mark.smtp_proxy(upstream="sandbox:")
def test_marker(smtp_proxy):
    print("marker:", smtp_proxy.upstream)

def test_configured(smtp_proxy):
    print("configured:", smtp_proxy.upstream)
"""
    )
    result = suite.runpytest_inprocess("-s")
    result.stdout.fnmatch_lines(["*marker: sandbox:*", f"*configured: {provider.url}*"])
    result = suite.runpytest_inprocess("-s", "--smtp-upstream", "smtps://localhost:465")
    result.stdout.fnmatch_lines(["*marker: smtps://localhost:465*", "*configured: smtps://localhost:465*"])


def test_a_provider_that_is_not_trusted_is_told_to_the_app(
    suite: pytest.Pytester, provider: Provider
) -> None:
    suite.makepyfile(
        test_app=f"""{APP}
import pytest

@pytest.mark.smtp_proxy(upstream={provider.url!r})
@pytest.mark.smtp_cassette(upstream={provider.url!r})
@pytest.mark.parametrize("fixture", ["smtp_proxy", "smtp_cassette"])
def test_it(request, fixture):
    proxy = request.getfixturevalue(fixture)
    with pytest.raises(smtplib.SMTPException):
        send(proxy)
    (session,) = proxy.sessions
    assert "421 4.7.5 smtpproxy: " in session.replies[-1]
    assert session.findings == ["upstream-tls"]
    assert not session.tls
"""
    )
    result = suite.runpytest_inprocess("--smtp-record-mode=once")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines([f"*: not written, for it was not {provider.url} that answered: 421 4.7.5 *"])
    assert provider.logins == []


def test_a_session_that_the_client_has_ended_has_its_outcome(suite: pytest.Pytester) -> None:
    """The reply to QUIT is all that a client waits for; a server far away closes a moment later."""
    suite.makepyfile(
        test_app="""
import smtplib, socket, threading
import pytest

closing = threading.Event()

@pytest.fixture
def slow_to_close():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def serve():
            connection, _ = listener.accept()
            with connection, connection.makefile("rb") as said:
                connection.sendall(b"220 mx\\r\\n")
                for line in said:
                    connection.sendall(b"221 bye\\r\\n" if line == b"QUIT\\r\\n" else b"250 mx\\r\\n")
                    if line == b"QUIT\\r\\n":
                        closing.wait(10)
                        return
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"smtp://127.0.0.1:{listener.getsockname()[1]}"
        thread.join()

@pytest.fixture
def far_away(slow_to_close, request):
    request.node.add_marker(pytest.mark.smtp_proxy(upstream=slow_to_close))
    return request.getfixturevalue("smtp_proxy")

def test_it(far_away):
    with smtplib.SMTP(far_away.host, far_away.port, timeout=10) as client:
        client.ehlo()
    seen = []
    with pytest.raises(AssertionError, match="as waited for in 0 s"):
        far_away.wait_for(lambda session: seen.append(session.outcome), timeout=0)
    assert seen == ["open"]
    threading.Timer(0.1, closing.set).start()
    assert (far_away.sessions[0].outcome, far_away.sessions[0].reason) == ("empty", "quit")
"""
    )
    suite.runpytest_inprocess().assert_outcomes(passed=1)


def test_sessions_beyond_the_recording_reach_the_provider(suite: pytest.Pytester, provider: Provider) -> None:
    configure(suite, provider)
    test = "def test_it(smtp_cassette):\n    send(smtp_cassette)\n"
    suite.makepyfile(test_app=APP + test)
    suite.runpytest_inprocess("--smtp-record-mode=new").assert_outcomes(passed=1)
    suite.makepyfile(test_app=f"{APP}{test}    send(smtp_cassette)\n")
    suite.runpytest_inprocess("--smtp-record-mode=new").assert_outcomes(passed=1)
    assert len(provider.contents) == 2
    provider.stop()
    suite.runpytest_inprocess().assert_outcomes(passed=1)
