"""The fixture smtp_proxy: a live proxy, and what a test sees of its sessions."""

import socket

import pytest

SMTPLIB = """
import smtplib, ssl

def send(proxy, subject="Hello"):
    with smtplib.SMTP(proxy.host, proxy.port, timeout=10) as client:
        client.starttls(context=ssl.create_default_context(cafile=proxy.ca))
        client.login("app", "s3cret-pass")
        client.sendmail("app@example.com", ["bob@example.com"], f"Subject: {subject}\\n\\nHi\\n")
"""


def test_the_conversation_can_be_asserted_on(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        SMTPLIB
        + """
def test_it(smtp_proxy):
    send(smtp_proxy)
    (session,) = smtp_proxy.sessions
    assert [c.verb for c in session.commands] == [
        "EHLO", "STARTTLS", "EHLO", "AUTH", "MAIL", "RCPT", "DATA", "QUIT"
    ]
    assert session.commands[3].mechanism == "CRAM-MD5"
    assert session.commands[3].reply.code == 235
    assert session.replies[-1].code == 221
    assert session.tls.client.version == "TLSv1.3"
    assert session.tls.server is None
    assert (session.outcome, session.reason) == ("delivered", "quit")
    (message,) = smtp_proxy.messages
    assert (message.mail_from, message.rcpt_to) == ("app@example.com", ["bob@example.com"])
    assert (message.subject, message.text) == ("Hello", "Hi\\n")
    assert smtp_proxy.url == f"smtp://127.0.0.1:{smtp_proxy.port}"
    assert smtp_proxy.upstream == "sandbox:"
"""
    )
    suite.runpytest_inprocess().assert_outcomes(passed=1)


def test_a_session_is_seen_while_it_is_open(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        """
import smtplib

def test_it(smtp_proxy):
    with smtplib.SMTP(smtp_proxy.host, smtp_proxy.port, timeout=10) as client:
        client.ehlo()
        for count in range(2, 200):
            client.sock.sendall(b"NOOP\\r\\n")
            # No reply has been read: what was sent is there all the same.
            assert len(smtp_proxy.sessions[0].commands) == count
            assert client.getreply()[0] == 250
        assert smtp_proxy.sessions[0].is_open
    smtp_proxy.wait_for(lambda session: session.reason == "quit")
"""
    )
    suite.runpytest_inprocess().assert_outcomes(passed=1)


def test_two_tests_share_nothing_but_the_authority(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        SMTPLIB
        + """
seen = []

def test_one(smtp_proxy):
    send(smtp_proxy)
    seen.append(smtp_proxy.ca.read_bytes())
    assert len(smtp_proxy.sessions) == 1

def test_two(smtp_proxy):
    send(smtp_proxy)
    assert smtp_proxy.ca.read_bytes() == seen[0]
    assert len(smtp_proxy.sessions) == 1
"""
    )
    suite.runpytest_inprocess().assert_outcomes(passed=2)


@pytest.mark.parametrize(("listen", "client"), [("smtps", "SMTP_SSL"), ("lmtp", "LMTP")])
def test_the_marker_says_how_to_listen(suite: pytest.Pytester, listen: str, client: str) -> None:
    suite.makepyfile(
        f'''
import smtplib, ssl, pytest

@pytest.mark.smtp_proxy(listen="{listen}")
def test_it(smtp_proxy):
    more = {{"context": ssl.create_default_context(cafile=smtp_proxy.ca)}} if "{listen}" == "smtps" else {{}}
    with smtplib.{client}(smtp_proxy.host, smtp_proxy.port, **more) as client:
        client.sendmail("a@example.com", "b@example.com", "Subject: x\\n\\n.\\n")
    assert smtp_proxy.url.startswith("{listen}://")
    assert smtp_proxy.messages[0].content.endswith(b"\\r\\n.\\r\\n")
'''
    )
    suite.runpytest_inprocess().assert_outcomes(passed=1)


def test_the_port_can_be_a_given_one(suite: pytest.Pytester) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    suite.makepyfile(
        SMTPLIB
        + f"""
import pytest

@pytest.mark.smtp_proxy(listen="smtp://localhost:{port}")
def test_it(smtp_proxy):
    assert (smtp_proxy.host, smtp_proxy.port) == ("localhost", {port})
    send(smtp_proxy)
    assert smtp_proxy.messages
"""
    )
    suite.runpytest_inprocess().assert_outcomes(passed=1)


def test_mistakes_are_told_in_a_line(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        """
import pytest

@pytest.mark.smtp_proxy(listen="smtpss")
def test_scheme(smtp_proxy): pass

@pytest.mark.smtp_proxy(upsteam="smtp://mx.example.com")
def test_keyword(smtp_proxy): pass

@pytest.mark.smtp_proxy("smtp://mx.example.com")
def test_position(smtp_proxy): pass

@pytest.mark.smtp_proxy(upstream="mx.example.com")
def test_upstream(smtp_proxy): pass

@pytest.mark.smtp_proxy(upstream="smtps://127.0.0.1:1", upstream_ca="nowhere.pem")
def test_ca(smtp_proxy): pass
"""
    )
    result = suite.runpytest_inprocess()
    result.assert_outcomes(errors=5)
    result.stdout.fnmatch_lines(
        [
            "marker keyword listen='smtpss': it is one of smtp, smtps, lmtp, or a URL",
            "marker smtp_proxy knows no 'upsteam'; it knows listen, upstream, *",
            "marker smtp_proxy takes keywords only: *",
            "upstream URL 'mx.example.com' has no scheme: *",
            "*nowhere.pem*",
        ]
    )
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.no_fnmatch_line("*smtpproxy/pytest_plugin*")


def test_what_never_comes_is_told_with_what_did(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        SMTPLIB
        + """
def test_it(smtp_proxy):
    send(smtp_proxy)
    smtp_proxy.wait_for(lambda session: session.outcome == "rejected", timeout=0.1)
"""
    )
    result = suite.runpytest_inprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["E *AssertionError: no session was as waited for in 0.1 s:", "*mail FROM:<app@example.com>*"]
    )
    result.stdout.no_fnmatch_line("*s3cret-pass*")


def test_sessions_can_be_kept(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        SMTPLIB
        + """
def test_it(smtp_proxy):
    send(smtp_proxy)
    send(smtp_proxy)
    smtp_proxy.wait_for(lambda session: not session.is_open)
    assert smtp_proxy.export("kept/both.smtp.jsonl").exists()
"""
    )
    suite.runpytest_inprocess().assert_outcomes(passed=1)
    text = (suite.path / "kept" / "both.smtp.jsonl").read_text()
    assert text.count('"kind":"session"') == 2
    assert "s3cret-pass" not in text
