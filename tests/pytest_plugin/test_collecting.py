"""`pytest --smtp-replay-to URL`: recorded sessions are tests of a server."""

import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Sink
from aiosmtpd.smtp import SMTP, Envelope, Session

from smtpproxy.recording.codec import encode
from smtpproxy.recording.files import save_recording
from tests.conversation import Conversation


class Refusing(Sink):
    """A server that knows neither VRFY's user nor the recipient."""

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        return "550 5.1.1 nobody of that name"


@pytest.fixture
def serve() -> Iterator[Callable[[Sink], str]]:
    """Starts aiosmtpd with a handler, and gives its URL."""
    running: list[Controller] = []

    def start(handler: Sink) -> str:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        controller = Controller(handler, hostname="127.0.0.1", port=port, ident="ESMTP", server_hostname="mx")
        controller.start()
        running.append(controller)
        return f"smtp://127.0.0.1:{port}"

    yield start
    for controller in running:
        controller.stop()


def mail(session: str, code: int = 250) -> Conversation:
    """A session as aiosmtpd carries it, but for the reply to RCPT."""
    talk = (
        Conversation(session)
        .server("220 mx ESMTP")
        .client("EHLO app")
        .server("250-mx", "250 SIZE 1000")
        .client("MAIL FROM:<alice@example.com>")
        .server("250 OK")
        .client("RCPT TO:<bob@example.com>")
        .server(f"{code} whatever")
    )
    if code == 250:
        talk.client("DATA").server("354 go").content("Subject: x\r\n\r\nHi\r\n").server("250 OK")
    outcome = "delivered" if code == 250 else "rejected"
    return talk.client("QUIT").server("221 bye").end(outcome)


def record(path: Path, *talks: Conversation) -> None:
    path.parent.mkdir(exist_ok=True)
    save_recording(path, [[encode(event) for event in talk.events] for talk in talks])


def test_every_session_is_a_test(suite: pytest.Pytester, serve: Callable[[Sink], str]) -> None:
    record(suite.path / "replay" / "two.smtp.jsonl", mail("01KA"), mail("01KB", 550))
    result = suite.runpytest_inprocess("--smtp-replay-to", serve(Sink()), "replay", "-v")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "replay/two.smtp.jsonl::1-delivered-01KA PASSED *",
            "replay/two.smtp.jsonl::2-rejected-01KB FAILED *",
            "*step 4 * RCPT TO:<bob@example.com>",
            "*- 550 whatever",
            "*+ 250 OK",
        ]
    )
    result.stdout.no_fnmatch_line("*Traceback*")


def test_one_session_can_be_chosen(suite: pytest.Pytester, serve: Callable[[Sink], str]) -> None:
    record(suite.path / "replay" / "two.smtp.jsonl", mail("01KA"), mail("01KB", 550))
    test = "replay/two.smtp.jsonl::2-rejected-01KB"
    suite.runpytest_inprocess("--smtp-replay-to", serve(Refusing()), test).assert_outcomes(passed=1)


def test_under_xdist_the_sessions_of_a_file_stay_in_order(
    suite: pytest.Pytester, serve: Callable[[Sink], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    files = ("one", "two", "three")
    for name in files:
        path = suite.path / "replay" / f"{name}.smtp.jsonl"
        record(path, *(mail(f"01K{name.upper()}{number}") for number in range(4)))
    flags = ("-p", "xdist.plugin", "-p", "smtpproxy.pytest_plugin", "-n2", "-v")
    result = suite.runpytest_subprocess(*flags, "--smtp-replay-to", serve(Sink()), "replay")
    result.assert_outcomes(passed=12)
    for name in files:
        found = [
            re.fullmatch(rf"\[(gw\d)\].* PASSED replay/{name}\.smtp\.jsonl::(\d)-\S+ *", line)
            for line in result.outlines
        ]
        workers, numbers = zip(*[match.groups() for match in found if match], strict=True)
        assert len(set(workers)) == 1
        assert numbers == ("1", "2", "3", "4")


def test_the_level_is_the_users(suite: pytest.Pytester, serve: Callable[[Sink], str]) -> None:
    record(suite.path / "replay" / "one.smtp.jsonl", mail("01KB", 551))
    flags = ("--smtp-replay-to", serve(Refusing()), "replay")
    suite.runpytest_inprocess(*flags).assert_outcomes(failed=1)
    suite.runpytest_inprocess(*flags, "--smtp-replay-level", "class").assert_outcomes(passed=1)


def test_without_the_flag_recordings_are_no_tests(suite: pytest.Pytester) -> None:
    record(suite.path / "replay" / "one.smtp.jsonl", mail("01KA"))
    result = suite.runpytest_inprocess("replay")
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED


def test_a_broken_file_is_a_collection_error(suite: pytest.Pytester) -> None:
    path = suite.path / "replay" / "one.smtp.jsonl"
    record(path, mail("01KA"))
    path.write_text(path.read_text().replace('"verb":"QUIT"', '"verb":7'))
    result = suite.runpytest_inprocess("--smtp-replay-to", "smtp://127.0.0.1:1", "replay")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["replay/one.smtp.jsonl:14: not an event*"])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_a_rule_that_is_none_is_a_collection_error(suite: pytest.Pytester) -> None:
    path = suite.path / "replay" / "two.smtp.jsonl"
    record(path, mail("01KA"), mail("01KB"))
    lines = path.read_text().splitlines()
    header = next(at for at, line in enumerate(lines) if '"kind":"session"' in line and "01KB" in line)
    lines[header] = lines[header][:-1] + ',"replay":{"levle":"text"}}'
    path.write_text("\n".join(lines) + "\n")
    result = suite.runpytest_inprocess("--smtp-replay-to", "smtp://127.0.0.1:1", "replay")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"replay/two.smtp.jsonl:{header + 1}: *levle*"])


def test_a_recording_that_changed_meanwhile(suite: pytest.Pytester) -> None:
    path = suite.path / "replay" / "one.smtp.jsonl"
    record(path, mail("01KA"))
    suite.makeconftest(
        f"""
def pytest_collection_finish(session):
    open({str(path)!r}, "w").close()
"""
    )
    result = suite.runpytest_inprocess("--smtp-replay-to", "smtp://127.0.0.1:1", "replay")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*one.smtp.jsonl: has become shorter while it was read"])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_a_server_that_is_not_there(suite: pytest.Pytester) -> None:
    record(suite.path / "replay" / "one.smtp.jsonl", mail("01KA"))
    result = suite.runpytest_inprocess("--smtp-replay-to", "smtp://127.0.0.1:1", "replay")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*connection refused*"])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_nobody_gets_mail_by_accident(suite: pytest.Pytester) -> None:
    record(suite.path / "replay" / "one.smtp.jsonl", mail("01KA"))
    off_machine = ("--smtp-replay-to", "smtp://mx.invalid", "replay")
    result = suite.runpytest_inprocess(*off_machine)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*smtp://mx.invalid*is off this machine*--smtp-allow-rcpt GLOB*"])
    result = suite.runpytest_inprocess(*off_machine, "--smtp-allow-rcpt", "*@example.org")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*bob@example.com*--smtp-allow-rcpt*"])


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--smtp-replay-to", "mx.example.com"), "*'mx.example.com' has no scheme*"),
        (("--smtp-replay-to", "sandbox:"), "*--smtp-replay-to sandbox:: nothing listens there*"),
        (("--smtp-replay-to", "smtp://localhost", "--smtp-rcpt-to", "a b"), "*is not an address*"),
        (("--smtp-replay-to", "smtps://localhost", "--smtp-upstream-ca", "nowhere.pem"), "*nowhere.pem*"),
    ],
)
def test_a_wrong_flag_is_a_usage_error(suite: pytest.Pytester, flags: tuple[str, ...], told: str) -> None:
    result = suite.runpytest_inprocess(*flags)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([told])
