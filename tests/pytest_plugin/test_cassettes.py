"""The fixture smtp_cassette in each record mode: what is played, what is recorded, what is saved."""

import shlex
import socket

import pytest

APP = """
import smtplib, pytest

def send(cassette, subject="Hello", to="bob@example.com"):
    with smtplib.SMTP(cassette.host, cassette.port, timeout=10) as client:
        client.sendmail("app@example.com", to, f"Subject: {subject}\\n\\nHi\\n")
"""
PATH = "replay/test_app/test_it.smtp.jsonl"
COMMAND = 'pytest "test_app.py::test_it" --smtp-record-mode {}'


def write(suite: pytest.Pytester, body: str) -> None:
    """The suite's one test."""
    indented = "".join(f"    {line}\n" for line in body.splitlines())
    suite.makepyfile(test_app=f"{APP}\ndef test_it(smtp_cassette):\n{indented}")


def configure(suite: pytest.Pytester, **settings: str) -> None:
    """What the suite's configuration says."""
    lines = "".join(f"{key} = {value!r}\n" for key, value in settings.items())
    suite.makepyprojecttoml(f"[tool.pytest.ini_options]\n{lines}")


def run(suite: pytest.Pytester, mode: str = "", *more: str) -> pytest.RunResult:
    flags = [f"--smtp-record-mode={mode}"] if mode else []
    return suite.runpytest_inprocess(*flags, *more)


def sessions_in(suite: pytest.Pytester, path: str = PATH) -> int:
    return (suite.path / path).read_text().count('"kind":"session"')


def test_recorded_once_and_played_ever_after(suite: pytest.Pytester) -> None:
    write(
        suite,
        """
send(smtp_cassette)
assert smtp_cassette.session.outcome == "delivered"
assert [m.subject for m in smtp_cassette.messages] == ["Hello"]
smtp_cassette.assert_all_played()
""",
    )
    result = run(suite, "once")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*smtp cassettes written*", f"{PATH}: 1 session"])
    before = (suite.path / PATH).read_bytes()
    for mode in ("", "once", "new"):
        result = run(suite, mode)
        result.assert_outcomes(passed=1)
        result.stdout.no_fnmatch_line("*smtp cassettes written*")
    assert (suite.path / PATH).read_bytes() == before


def test_without_a_recording_it_says_how_to_make_one(suite: pytest.Pytester) -> None:
    told = [
        f"{PATH}: there is no recording for this test yet; this makes it:",
        f"    {COMMAND.format('once')}",
    ]
    write(suite, "send(smtp_cassette)")
    result = run(suite)
    result.assert_outcomes(failed=1)
    refused = "*SMTPConnectError: (421, b'4.3.2 smtpproxy: there is no recording for this test yet')"
    result.stdout.fnmatch_lines([refused, "*smtp cassette*", *told])
    write(suite, "try:\n    send(smtp_cassette)\nexcept smtplib.SMTPException:\n    pass")
    result = run(suite)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(told)
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.no_fnmatch_line("During handling*")
    assert not (suite.path / "replay").exists()


def test_only_a_test_that_sends_mail_needs_a_recording(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        test_app=f"""{APP}
import unittest

@pytest.fixture(autouse=True)
def app(smtp_cassette, request):
    request.node.cassette = smtp_cassette

def test_nothing_is_sent(smtp_cassette):
    assert smtp_cassette.sessions == []

def test_that_skips_itself(smtp_cassette):
    pytest.skip("not today")

class Test(unittest.TestCase):
    @unittest.skip("not today")
    def test_skipped(self): pass
"""
    )
    for mode in ("", "once", "new", "rewrite", "all", ""):
        run(suite, mode).assert_outcomes(passed=1, skipped=2)
    assert not (suite.path / "replay").exists()
    told = "replay/test_app/test_nothing_is_sent.smtp.jsonl: not written: the app said nothing to smtp://*"
    run(suite, "once").stdout.fnmatch_lines([told])


def test_the_command_records_the_same_server(suite: pytest.Pytester) -> None:
    """Without the flag it would be the sandbox, and nobody would notice."""
    write(suite, "send(smtp_cassette)")
    flags = ("--smtp-upstream", "smtps://mx.example.com:465", "--smtp-upstream-ca", "my ca.pem")
    given = "--smtp-upstream smtps://mx.example.com:465 --smtp-upstream-ca 'my ca.pem'"
    run(suite, "none", *flags).stdout.fnmatch_lines([f"*{COMMAND.format('once')} {given}"])
    run(suite, "once").assert_outcomes(passed=1)
    write(suite, "send(smtp_cassette, 'Other')")
    run(suite).stdout.fnmatch_lines([f"*{COMMAND.format('rewrite')}"])
    path = suite.path / PATH
    sandbox = path.read_text()
    path.write_text(sandbox.replace('"upstream":"sandbox:"', '"upstream":"smtp://mx.example.com:25"'))
    recorded = f"*{COMMAND.format('rewrite')} --smtp-upstream smtp://mx.example.com:25"
    run(suite).stdout.fnmatch_lines([recorded])
    configure(suite, smtp_upstream="smtp://localhost:2525")
    run(suite).stdout.fnmatch_lines([f"*{COMMAND.format('rewrite')}"])
    # What a recording says may be anybody's work, and stands in a line that people paste into a shell.
    configure(suite)
    for hostile in ("smtp://x;reboot", "$(reboot)", "smtp://$(reboot)", "\\u001b[2J"):
        path.write_text(sandbox.replace('"upstream":"sandbox:"', f'"upstream":"{hostile}"'))
        (line,) = [line for line in run(suite).outlines if "--smtp-record-mode rewrite" in line]
        command = shlex.split(line.partition("anew:  ")[2])
        assert command[:4] == ["pytest", "test_app.py::test_it", "--smtp-record-mode", "rewrite"]
        assert len(command) in (4, 6)
        assert line.isprintable()


def test_what_the_app_says_otherwise_is_shown_step_by_step(suite: pytest.Pytester) -> None:
    write(suite, "send(smtp_cassette)")
    run(suite, "once").assert_outcomes(passed=1)
    write(suite, "send(smtp_cassette, to='carol@example.com')")
    result = run(suite)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*SMTPRecipientsRefused*",
            "*smtp cassette*",
            f"the app did not say what is recorded in {PATH}",
            "*step 4 * rcpt TO:<bob@example.com>",
            "*- *bob@example.com*",
            "*+ *carol@example.com*",
            f"*{COMMAND.format('rewrite')}",
        ]
    )


def test_what_the_app_swallows_fails_the_test_all_the_same(suite: pytest.Pytester) -> None:
    write(suite, "send(smtp_cassette)")
    run(suite, "once").assert_outcomes(passed=1)
    write(
        suite,
        """
try:
    send(smtp_cassette, subject="Other")
except smtplib.SMTPException:
    pass
""",
    )
    result = run(suite)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["the app did not say*", "*subject:*", "*- Hello", "*+ Other"])
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.no_fnmatch_line("*smtpproxy/pytest_plugin*")


def test_steps_that_were_not_played_fail_the_test(suite: pytest.Pytester) -> None:
    write(suite, "send(smtp_cassette)\nsend(smtp_cassette, 'Second')")
    run(suite, "once").assert_outcomes(passed=1)
    assert sessions_in(suite) == 2
    write(suite, "send(smtp_cassette)")
    result = run(suite)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*not played*no session of the app came for this recording*"])
    result.stdout.fnmatch_lines([f"*{COMMAND.format('rewrite')}"])


def test_a_session_too_many_fails_the_test(suite: pytest.Pytester) -> None:
    write(suite, "send(smtp_cassette)")
    run(suite, "once").assert_outcomes(passed=1)
    write(suite, "send(smtp_cassette)\nsend(smtp_cassette)")
    result = run(suite)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*one session too many*", f"*{COMMAND.format('new')}"])


def test_asserting_earlier_than_at_the_end(suite: pytest.Pytester) -> None:
    write(suite, "send(smtp_cassette)")
    run(suite, "once").assert_outcomes(passed=1)
    write(suite, "smtp_cassette.assert_all_played()")
    result = run(suite)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [">*smtp_cassette.assert_all_played()", "E*AssertionError: the app did not say*"]
    )


def test_new_records_what_is_beyond_the_recording(suite: pytest.Pytester) -> None:
    write(suite, "send(smtp_cassette)")
    run(suite, "new").assert_outcomes(passed=1)
    first = (suite.path / PATH).read_bytes()
    write(
        suite,
        """
send(smtp_cassette)
send(smtp_cassette, "Second")
assert [s.upstream for s in smtp_cassette.sessions] == ["mock:", "sandbox:"]
""",
    )
    run(suite, "new").assert_outcomes(passed=1)
    assert (suite.path / PATH).read_bytes().startswith(first)
    assert sessions_in(suite) == 2
    write(suite, "send(smtp_cassette)\nsend(smtp_cassette, 'Second')")
    run(suite).assert_outcomes(passed=1)


def test_new_still_compares_what_is_recorded(suite: pytest.Pytester) -> None:
    write(suite, "send(smtp_cassette)")
    run(suite, "once").assert_outcomes(passed=1)
    first = (suite.path / PATH).read_bytes()
    write(suite, "send(smtp_cassette, 'Other')\nsend(smtp_cassette, 'Second')")
    result = run(suite, "new")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*+ Other"])
    assert (suite.path / PATH).read_bytes() == first


@pytest.mark.parametrize("mode", ["all", "rewrite"])
def test_recorded_anew(suite: pytest.Pytester, mode: str) -> None:
    write(suite, "send(smtp_cassette)\nsend(smtp_cassette)")
    run(suite, "once").assert_outcomes(passed=1)
    write(suite, "send(smtp_cassette, 'Other')")
    run(suite, mode).assert_outcomes(passed=1)
    assert sessions_in(suite) == 1
    run(suite).assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("mode", "is_saved"), [("once", False), ("new", False), ("rewrite", False), ("all", True)]
)
def test_a_failed_test_is_saved_only_by_all(suite: pytest.Pytester, mode: str, is_saved: bool) -> None:
    write(suite, "send(smtp_cassette)\nassert False")
    result = run(suite, mode)
    result.assert_outcomes(failed=1)
    assert (suite.path / PATH).exists() == is_saved
    if not is_saved:
        result.stdout.fnmatch_lines(["*smtp cassette*", "*is as it was: the test did not pass"])


def test_a_unittest_that_failed_is_not_saved(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        test_app=f"""{APP}
import unittest

class Test(unittest.TestCase):
    @pytest.fixture(autouse=True)
    def _cassette(self, smtp_cassette):
        self.cassette = smtp_cassette

    def test_failing(self):
        send(self.cassette)
        self.fail()

    def test_passing(self):
        send(self.cassette)
"""
    )
    run(suite, "rewrite").assert_outcomes(failed=1, passed=1)
    assert [path.name for path in (suite.path / "replay" / "test_app").iterdir()] == [
        "Test.test_passing.smtp.jsonl"
    ]


SUBTESTS = f"""{APP}
import unittest

class Test(unittest.TestCase):
    @pytest.fixture(autouse=True)
    def _cassette(self, smtp_cassette):
        self.cassette = smtp_cassette

    def test_it(self):
        for subject in ("one", "two", "three"):
            with self.subTest(subject=subject):
                send(self.cassette, subject)
"""
PATH_OF_SUBTESTS = "replay/test_app/Test.test_it.smtp.jsonl"


@pytest.mark.parametrize("mode", ["once", "new", "all", "rewrite"])
def test_subtests_are_one_recording(suite: pytest.Pytester, mode: str) -> None:
    suite.makepyfile(test_app=SUBTESTS)
    result = run(suite, mode)
    assert result.ret == 0
    told = [line for line in result.outlines if line.startswith(PATH_OF_SUBTESTS)]
    assert told == [f"{PATH_OF_SUBTESTS}: 3 sessions"]
    assert run(suite).ret == 0


@pytest.mark.parametrize("mode", ["once", "new", "rewrite"])
def test_a_subtest_that_failed_is_not_saved(suite: pytest.Pytester, mode: str) -> None:
    more = '                self.assertNotEqual(subject, "two")\n'
    suite.makepyfile(test_app=SUBTESTS + more)
    assert run(suite, mode).ret == 1
    assert not (suite.path / PATH_OF_SUBTESTS).exists()


@pytest.mark.parametrize("mode", ["once", "new", "all", "rewrite"])
def test_what_the_proxy_says_for_a_server_it_cannot_reach_is_never_recorded(
    suite: pytest.Pytester, mode: str
) -> None:
    write(
        suite,
        """
try:
    send(smtp_cassette)
except smtplib.SMTPException:
    pass
""",
    )
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        upstream = f"smtp://127.0.0.1:{nobody.getsockname()[1]}"
        result = run(suite, mode, "--smtp-upstream", upstream)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [f"{PATH}: not written, for it was not {upstream} that answered: 421 4.4.1 *connection refused*"]
    )
    assert not (suite.path / PATH).exists()


def test_a_test_that_says_nothing_has_nothing_to_record(suite: pytest.Pytester) -> None:
    silent = "import socket; socket.create_connection((smtp_cassette.host, smtp_cassette.port)).close()"
    write(suite, silent)
    result = run(suite, "once")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines([f"{PATH}: not written: the app said nothing to smtp://127.0.0.1:*"])
    write(suite, "send(smtp_cassette)")
    run(suite, "once").assert_outcomes(passed=1)
    before = (suite.path / PATH).read_bytes()
    write(suite, silent)
    result = run(suite, "rewrite")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"{PATH}: is as it was: the app said nothing to smtp://127.0.0.1:*"])
    assert (suite.path / PATH).read_bytes() == before


def test_a_connection_that_the_app_keeps_is_saved_as_far_as_it_has_come(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        test_app=f"""{APP}
@pytest.fixture(scope="session")
def pool():
    clients = []
    yield clients
    for client in clients:
        client.close()

def test_it(smtp_cassette, pool):
    pool.append(smtplib.SMTP(smtp_cassette.host, smtp_cassette.port, timeout=10))
    pool[0].sendmail("app@example.com", "bob@example.com", "Subject: x\\n\\nHi\\n")
"""
    )
    run(suite, "once").assert_outcomes(passed=1)
    text = (suite.path / PATH).read_text()
    assert '"kind":"content"' in text
    assert '"kind":"end"' not in text
    assert " 421 " not in text
    run(suite).assert_outcomes(passed=1)


def test_what_people_put_into_the_header_stays(suite: pytest.Pytester) -> None:
    write(suite, "send(smtp_cassette)")
    run(suite, "once").assert_outcomes(passed=1)
    path = suite.path / PATH
    header, _, rest = path.read_text().partition("\n")
    path.write_text(header[:-1] + ',"match":{"ignore_headers":["Subject"]}}\n' + rest)
    write(suite, "send(smtp_cassette, 'Other')")
    run(suite).assert_outcomes(passed=1)
    run(suite, "rewrite").assert_outcomes(passed=1)
    assert '"match":{"ignore_headers":["Subject"]}' in path.read_text().partition("\n")[0]
    write(suite, "send(smtp_cassette, 'Third')")
    run(suite).assert_outcomes(passed=1)


def test_a_broken_recording_is_named_with_its_line(suite: pytest.Pytester) -> None:
    write(suite, "send(smtp_cassette)")
    run(suite, "once").assert_outcomes(passed=1)
    path = suite.path / PATH
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], "{broken", *lines[2:]]) + "\n")
    broken = path.read_bytes()
    for mode in ("none", "once", "new", "rewrite"):
        result = run(suite, mode)
        assert result.ret == 1
        result.stdout.fnmatch_lines([f"{PATH}:2: *"])
        assert path.read_bytes() == broken


def test_a_recording_that_ends_before_a_reply_does_not_keep_the_app_waiting(suite: pytest.Pytester) -> None:
    write(suite, "send(smtp_cassette)")
    run(suite, "once").assert_outcomes(passed=1)
    path = suite.path / PATH
    lines = path.read_text().splitlines(keepends=True)
    said = next(at for at, line in enumerate(lines) if '"verb":"RCPT"' in line)
    path.write_text("".join(lines[: said + 1]))
    result = run(suite)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"{PATH}:1: session * was cut short before step 4 was answered: *"])
    path.write_text("".join(lines[: said + 2]))
    result = run(suite)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*the app said data, and nothing more was recorded"])


def test_no_password_is_in_the_file(suite: pytest.Pytester) -> None:
    write(
        suite,
        """
with smtplib.SMTP(smtp_cassette.host, smtp_cassette.port, timeout=10) as client:
    client.user, client.password = "app", "s3cret-pass"
    client.ehlo()
    client.auth("PLAIN", client.auth_plain)
""",
    )
    run(suite, "once").assert_outcomes(passed=1)
    text = (suite.path / PATH).read_text()
    assert '"identity":"app"' in text
    assert "s3cret" not in text
    assert "AGFwcABzM2NyZXQtcGFzcw" not in text
    run(suite).assert_outcomes(passed=1)


def test_the_mode_may_stand_in_the_configuration(suite: pytest.Pytester) -> None:
    write(suite, "send(smtp_cassette)")
    configure(suite, smtp_record_mode="once", smtp_cassettes="tapes")
    run(suite).assert_outcomes(passed=1)
    assert sessions_in(suite, "tapes/test_app/test_it.smtp.jsonl") == 1
    configure(suite, smtp_record_mode="twice")
    result = run(suite)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["smtp_record_mode = 'twice': it is one of none, once, new, all, rewrite"])


@pytest.mark.parametrize(
    ("marker", "path"),
    [
        ('name="greylisted"', "replay/greylisted.smtp.jsonl"),
        ('name="mail/greylisted.smtp.jsonl"', "replay/mail/greylisted.smtp.jsonl"),
        ('path="shared/one.smtp.jsonl"', "shared/one.smtp.jsonl"),
    ],
)
def test_the_marker_may_name_the_file(suite: pytest.Pytester, marker: str, path: str) -> None:
    suite.makepyfile(
        test_app=f"{APP}\n@pytest.mark.smtp_cassette({marker})\ndef test_it(smtp_cassette):\n"
        "    send(smtp_cassette)\n"
    )
    run(suite, "once").assert_outcomes(passed=1)
    assert sessions_in(suite, path) == 1
    run(suite).assert_outcomes(passed=1)


def test_the_marker_may_say_what_matches(suite: pytest.Pytester) -> None:
    write(suite, "send(smtp_cassette)")
    run(suite, "once").assert_outcomes(passed=1)
    suite.makepyfile(
        test_app=f"""{APP}
@pytest.mark.smtp_cassette(match={{"content": "ignore", "addresses": "domain"}})
def test_it(smtp_cassette):
    send(smtp_cassette, "Other", to="carol@example.com")
"""
    )
    run(suite).assert_outcomes(passed=1)


def test_mistakes_in_a_marker_are_told_in_a_line(suite: pytest.Pytester) -> None:
    write(suite, "send(smtp_cassette)")
    run(suite, "once").assert_outcomes(passed=1)
    for marker, told in (
        ("match={'contents': 'ignore'}", "*match: *contents*"),
        ("name='../outside'", "*name='../outside'*"),
        ("path='it.json'", "*a recording's name ends in .smtp.jsonl"),
        ("file='it'", "marker smtp_cassette knows no 'file'; it knows *"),
    ):
        suite.makepyfile(
            test_app=f"{APP}\n@pytest.mark.smtp_cassette({marker})\ndef test_it(smtp_cassette): pass\n"
        )
        result = run(suite)
        result.assert_outcomes(errors=1)
        result.stdout.fnmatch_lines([told])
        result.stdout.no_fnmatch_line("*Traceback*")


@pytest.mark.parametrize(("listen", "client"), [("smtps", "SMTP_SSL"), ("lmtp", "LMTP")])
def test_a_recording_is_played_the_way_it_was_recorded(
    suite: pytest.Pytester, listen: str, client: str
) -> None:
    body = f"""
import ssl
def send_it(cassette):
    more = {{"context": ssl.create_default_context(cafile=cassette.ca)}} if "{listen}" == "smtps" else {{}}
    with smtplib.{client}(cassette.host, cassette.port, **more) as client:
        client.sendmail("a@example.com", "b@example.com", "Subject: x\\n\\n.\\n")
    assert cassette.url.startswith("{listen}://")
"""
    marked = f'@pytest.mark.smtp_cassette(listen="{listen}")\n'
    test = "def test_it(smtp_cassette):\n    send_it(smtp_cassette)\n"
    suite.makepyfile(test_app=f"{APP}{body}\n{marked}{test}")
    run(suite, "once").assert_outcomes(passed=1)
    suite.makepyfile(test_app=f"{APP}{body}\n{test}")
    run(suite).assert_outcomes(passed=1)


def test_a_rule_that_is_none_is_named_with_its_line(suite: pytest.Pytester) -> None:
    write(suite, "send(smtp_cassette)")
    run(suite, "once").assert_outcomes(passed=1)
    path = suite.path / PATH
    header, _, rest = path.read_text().partition("\n")
    path.write_text(header[:-1] + ',"match":{"ignore":["Subject"]}}\n' + rest)
    before = path.read_bytes()
    run(suite).assert_outcomes(errors=1)
    # Somebody meant something by it: it is not written over.
    result = run(suite, "rewrite")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"*{PATH}:1: the header's replay or match: *"])
    assert path.read_bytes() == before


def test_a_folder_that_cannot_be_made_fails_the_test(suite: pytest.Pytester) -> None:
    write(suite, "send(smtp_cassette)")
    (suite.path / "replay").write_text("in the way")
    result = run(suite, "once")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"{PATH}: cannot be written: *"])
    write(suite, "send(smtp_cassette)\nassert False")
    result = run(suite, "all")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*assert False", "*smtp cassette*", f"*{PATH}: cannot be written: *"])


def test_one_session_is_asked_for_and_there_are_others(suite: pytest.Pytester) -> None:
    write(suite, "smtp_cassette.session")
    run(suite, "once").stdout.fnmatch_lines(["E *AssertionError: there were 0 sessions, not one*"])
    write(suite, "send(smtp_cassette)\nsend(smtp_cassette)\nsmtp_cassette.session")
    run(suite, "once").stdout.fnmatch_lines(["E *AssertionError: there were 2 sessions, not one*"])


def test_a_test_that_was_expected_to_fail_stays_so(suite: pytest.Pytester) -> None:
    write(suite, "send(smtp_cassette)")
    run(suite, "once").assert_outcomes(passed=1)
    suite.makepyfile(test_app=f"{APP}\n@pytest.mark.xfail\ndef test_it(smtp_cassette): pass\n")
    run(suite).assert_outcomes(xfailed=1)


def test_both_fixtures_in_one_test(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        test_app=f"""{APP}
def test_it(smtp_cassette, smtp_proxy):
    send(smtp_cassette)
    send(smtp_proxy, "Other")
    assert smtp_cassette.messages[0].subject == "Hello"
    assert smtp_proxy.messages[0].subject == "Other"
"""
    )
    run(suite, "once").assert_outcomes(passed=1)
    run(suite).assert_outcomes(passed=1)
