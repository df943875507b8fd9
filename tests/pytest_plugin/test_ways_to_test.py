"""One fixture for all ways to write a test, and for the mail code that apps have."""

import subprocess
import sys

import pytest

DJANGO = """
import django, pytest
from django.conf import settings

settings.configure(EMAIL_BACKEND="django.core.mail.backends.smtp.EmailBackend", DEFAULT_CHARSET="utf-8")
django.setup()

from django.core.mail import EmailMultiAlternatives, send_mail

@pytest.fixture
def smtp_settings(smtp_cassette, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(smtp_cassette.ca))
    settings.EMAIL_HOST, settings.EMAIL_PORT = "localhost", smtp_cassette.port
    settings.EMAIL_USE_TLS, settings.EMAIL_TIMEOUT = True, 10
    settings.EMAIL_HOST_USER, settings.EMAIL_HOST_PASSWORD = "app", "s3cret-pass"
    return smtp_cassette

def test_invitation(smtp_settings):
    assert send_mail("Welcome", "Hi", "app@example.com", ["bob@example.com"]) == 1
    letter = EmailMultiAlternatives("Invoice", "plain", "app@example.com", ["carol@example.com"])
    letter.attach_alternative("<p>HTML</p>", "text/html")
    letter.attach("invoice.pdf", b"%PDF-", "application/pdf")
    letter.send()
    first, second = smtp_settings.messages
    assert (first.subject, first.text.strip()) == ("Welcome", "Hi")
    assert second.html.strip() == "<p>HTML</p>"
    assert second.attachments[0].name == "invoice.pdf"
    assert all(session.tls.client for session in smtp_settings.sessions)
"""

FLASK = """
from flask import Flask
from flask_mail import Mail, Message

def test_invitation(smtp_cassette):
    app = Flask(__name__)
    app.config.update(
        MAIL_SERVER=smtp_cassette.host,
        MAIL_PORT=smtp_cassette.port,
        MAIL_USERNAME="app",
        MAIL_PASSWORD="s3cret-pass",
        MAIL_DEFAULT_SENDER="app@example.com",
    )
    with app.app_context():
        Mail(app).send(Message("Welcome", recipients=["bob@example.com"], body="Hi"))
    assert smtp_cassette.session.messages[0].subject == "Welcome"
"""

AIOSMTPLIB = """
import asyncio, ssl
import aiosmtplib

def test_invitation(smtp_cassette):
    async def send():
        context = ssl.create_default_context(cafile=smtp_cassette.ca)
        async with aiosmtplib.SMTP(
            hostname=smtp_cassette.host, port=smtp_cassette.port, start_tls=True, tls_context=context
        ) as client:
            await client.login("app", "s3cret-pass")
            await client.sendmail("app@example.com", ["bob@example.com"], "Subject: Welcome\\n\\nHi\\n")
        # Looked at within the loop: nothing of it is needed for what was said to be recorded.
        assert smtp_cassette.session.commands[-1].verb == "QUIT"
        assert smtp_cassette.session.tls.client

    asyncio.run(send())
    assert smtp_cassette.messages[0].subject == "Welcome"
"""

TRIO = """
import trio

async def test_invitation(smtp_cassette):
    stream = await trio.open_tcp_stream(smtp_cassette.host, smtp_cassette.port)
    async with stream:
        for line in (
            None, "EHLO app", "MAIL FROM:<app@example.com>", "RCPT TO:<bob@example.com>", "DATA",
            "Subject: Welcome\\r\\n\\r\\nHi\\r\\n.", "QUIT",
        ):
            if line is not None:
                await stream.send_all(line.encode() + b"\\r\\n")
            reply = await stream.receive_some()
            assert reply[:1] in (b"2", b"3"), reply
        assert smtp_cassette.session.messages[0].subject == "Welcome"
"""

UNITTEST = """
import smtplib, unittest
import pytest

class TestMail(unittest.TestCase):
    @pytest.fixture(autouse=True)
    def _smtp(self, smtp_cassette):
        self.smtp = smtp_cassette

    def test_invitation(self):
        with smtplib.SMTP(self.smtp.host, self.smtp.port) as client:
            client.sendmail("app@example.com", "bob@example.com", "Subject: Welcome\\n\\nHi\\n")
        self.assertEqual([m.subject for m in self.smtp.messages], ["Welcome"])
"""


@pytest.mark.parametrize(
    ("app", "flags"),
    [
        pytest.param(DJANGO, (), id="django"),
        pytest.param(FLASK, (), id="flask"),
        pytest.param(AIOSMTPLIB, (), id="asyncio"),
        pytest.param(TRIO, ("-o", "trio_mode=true"), id="trio"),
        pytest.param(UNITTEST, (), id="unittest"),
    ],
)
def test_recorded_and_played(suite: pytest.Pytester, app: str, flags: tuple[str, ...]) -> None:
    suite.makepyfile(test_app=app)
    suite.runpytest_inprocess("--smtp-record-mode=once", *flags).assert_outcomes(passed=1)
    (path,) = (suite.path / "replay").rglob("*.smtp.jsonl")
    assert "s3cret" not in path.read_text()
    suite.runpytest_inprocess(*flags).assert_outcomes(passed=1)
    suite.makepyfile(test_app=app.replace("Welcome", "Other"))
    result = suite.runpytest_inprocess(*flags)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*- Welcome", "*+ Other"])


def test_under_xdist_every_worker_has_its_own(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Three processes a run: what else is installed here need not be loaded by each.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    flags = ("-p", "xdist.plugin", "-p", "smtpproxy.pytest_plugin", "-n2")
    suite.makepyfile(
        test_app="""
import smtplib, pytest

@pytest.mark.parametrize("name", ["alice", "bob", "Bob", "b/ob", "carol", "dave"])
def test_it(smtp_cassette, name):
    for count in range(3):
        with smtplib.SMTP(smtp_cassette.host, smtp_cassette.port) as client:
            client.sendmail("app@example.com", "x@example.com", f"Subject: {name} {count}\\\\n\\\\nHi\\\\n")
    assert len(smtp_cassette.messages) == 3
"""
    )
    result = suite.runpytest_subprocess(*flags, "--smtp-record-mode=once")
    result.assert_outcomes(passed=6)
    # Written by workers, told by the controller.
    result.stdout.fnmatch_lines(
        ["*smtp cassettes written*", "replay/test_app/test_it-alice.smtp.jsonl: 3 sessions"]
    )
    assert len(list((suite.path / "replay" / "test_app").iterdir())) == 6
    suite.runpytest_subprocess(*flags).assert_outcomes(passed=6)


def test_a_suite_without_mail_pays_nothing(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        """
import sys

def test_it():
    ours = [name for name in sys.modules if name.startswith("smtpproxy.")]
    assert ours == ["smtpproxy.pytest_plugin"]
"""
    )
    result = suite.runpytest_subprocess()
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*smtp cassette*")


def test_older_versions_of_pytest_have_fewer_names(suite: pytest.Pytester) -> None:
    """pytest 7.4 and 8.0 miss one or both; a plugin that cannot be imported ends every run there is."""
    suite.makepyfile(test_app=UNITTEST)
    program = "import pytest; del pytest.TerminalReporter, pytest.Directory; raise SystemExit(pytest.main())"
    flags = ["-p", "no:cacheprovider", "--smtp-record-mode=once"]
    subprocess.run([sys.executable, "-c", program, *flags], check=True, cwd=suite.path)
    assert (suite.path / "replay" / "test_app" / "TestMail.test_invitation.smtp.jsonl").exists()


def test_options_and_fixtures_are_told_by_pytest(suite: pytest.Pytester) -> None:
    result = suite.runpytest_inprocess("--help")
    result.stdout.fnmatch_lines(
        ["smtpproxy: recorded SMTP:", "*--smtp-record-mode*", "*smtp_upstream (string):*"]
    )
    result = suite.runpytest_inprocess("--fixtures")
    result.stdout.fnmatch_lines(["smtp_cassette*", "*recorded SMTP provider of this test*", "smtp_proxy*"])
    result = suite.runpytest_inprocess("--markers")
    result.stdout.fnmatch_lines(["@pytest.mark.smtp_proxy(*", "@pytest.mark.smtp_cassette(*"])
