"""What counts of what an app says, by default and by other rules: one line for each case."""

import pytest

from smtpproxy.errors import ConfigError
from smtpproxy.recording.overrides import CommandRule, Match
from smtpproxy.replay.matching import Matcher, merged, parse_match, read_match
from smtpproxy.replay.script import Step
from smtpproxy.session.decisions import CommandTurn
from smtpproxy.wire.commands import argument_of, verb_of
from tests.conversation import Conversation
from tests.replay.app import client_script


def step_of(line: str) -> Step:
    verb = line.split(" ", 1)[0].upper()
    fields = {"mechanism": line.split()[1].upper()} if verb == "AUTH" else {}
    return client_script(Conversation().server("220 hi").client(line, **fields)).steps[1]


def turn_of(line: str) -> CommandTurn:
    raw = line.encode() + b"\r\n"
    return CommandTurn(verb=verb_of(raw), raw=raw, argument=argument_of(raw), is_tls=False)


def differs(recorded: str, said: str, match: Match | None = None) -> list[str]:
    """The names of the fields that differ."""
    fields = Matcher(match or Match()).command(step_of(recorded), turn_of(said))
    return [name for name, _, _ in fields]


@pytest.mark.parametrize(
    ("recorded", "said"),
    [
        ("EHLO app.example.com", "ehlo [127.0.0.1]"),
        ("HELO a", "HELO b"),
        ("MAIL FROM:<a@example.com>", "mail from:<a@EXAMPLE.COM>"),
        ("MAIL FROM:<a@example.com> SIZE=1", "MAIL FROM:<a@example.com> SIZE=2"),
        ("MAIL FROM:<a@example.com> SIZE=1", "MAIL FROM:<a@example.com>"),
        (
            "MAIL FROM:<a@example.com> BODY=8BITMIME SMTPUTF8",
            "MAIL FROM:<a@example.com> smtputf8 body=8bitmime",
        ),
        ("MAIL FROM:<>", "MAIL FROM: <>"),
        ('RCPT TO:<"a > b"@example.com> NOTIFY=NEVER', 'RCPT TO:<"a > b"@example.com> notify=never'),
        ("AUTH PLAIN AGEAYg==", "auth plain"),
        ("DATA", "data"),
        ("NOOP", "NOOP "),
        ("QUIT", "QUIT"),
    ],
)
def test_what_matches(recorded: str, said: str) -> None:
    assert differs(recorded, said) == []


@pytest.mark.parametrize(
    ("recorded", "said", "names"),
    [
        ("EHLO a", "HELO a", ["verb"]),
        ("DATA", "BDAT 3 LAST", ["verb"]),
        ("MAIL FROM:<a@example.com>", "MAIL FROM:<A@example.com>", ["address"]),
        ("MAIL FROM:<a@example.com>", "MAIL FROM:<>", ["address"]),
        ("RCPT TO:<a@b> NOTIFY=NEVER", "RCPT TO:<a@b> NOTIFY=DELAY", ["parameter NOTIFY"]),
        (
            "MAIL FROM:<a@b> BODY=8BITMIME",
            "MAIL FROM:<a@b> SMTPUTF8",
            ["parameter BODY", "parameter SMTPUTF8"],
        ),
        ("MAIL FROM:<a@b> ENVID=x", "MAIL FROM:<a@b> ENVID=X", ["parameter ENVID"]),
        ("AUTH PLAIN", "AUTH LOGIN", ["mechanism"]),
        ("VRFY bob", "VRFY eve", ["argument"]),
        ("NOOP", "NOOP now", ["argument"]),
    ],
)
def test_what_does_not(recorded: str, said: str, names: list[str]) -> None:
    assert differs(recorded, said) == names


@pytest.mark.parametrize(
    ("match", "recorded", "said", "names"),
    [
        (Match(ehlo="exact"), "EHLO a", "EHLO b", ["argument"]),
        (Match(addresses="domain"), "RCPT TO:<a@b>", "RCPT TO:<c@B>", []),
        (Match(addresses="domain"), "RCPT TO:<a@b>", "RCPT TO:<a@c>", ["domain"]),
        (Match(addresses="ignore"), "RCPT TO:<a@b>", "RCPT TO:<c@d>", []),
        (Match(parameters="ignore"), "MAIL FROM:<a@b> SMTPUTF8", "MAIL FROM:<a@b>", []),
        (Match(parameters="exact"), "MAIL FROM:<a@b> X=1 Y=2", "MAIL FROM:<a@b> Y=2 X=1", ["parameters"]),
        (Match(steps=(CommandRule(verb="mail", ignore=True),)), "MAIL FROM:<a@b>", "MAIL FROM:<c@d> X", []),
        (Match(steps=(CommandRule(verb="MAIL", ignore=True),)), "MAIL FROM:<a@b>", "RCPT TO:<a@b>", ["verb"]),
        (
            Match(steps=(CommandRule(n=2, regex="MAIL FROM:<.*@b>"),)),
            "MAIL FROM:<a@b>",
            "MAIL FROM:<x@b>",
            [],
        ),
        (Match(steps=(CommandRule(n=2, regex="MAIL"),)), "MAIL FROM:<a@b>", "MAIL FROM:<a@b>", ["pattern"]),
        (Match(steps=(CommandRule(n=3, ignore=True),)), "MAIL FROM:<a@b>", "MAIL FROM:<c@d>", ["address"]),
    ],
)
def test_other_rules(match: Match, recorded: str, said: str, names: list[str]) -> None:
    assert differs(recorded, said, match) == names


def test_the_first_rule_that_fits_counts() -> None:
    rules = (CommandRule(verb="MAIL", ignore=True), CommandRule(n=2, regex="nothing"))
    assert differs("MAIL FROM:<a@b>", "MAIL FROM:<c@d>", Match(steps=rules)) == []
    assert differs("MAIL FROM:<a@b>", "MAIL FROM:<c@d>", Match(steps=rules[::-1])) == ["pattern"]


def test_a_pattern_that_takes_for_ever_does_not_match() -> None:
    match = Match(steps=(CommandRule(n=2, regex="(a|a|b?)+(a|aa)+c"),))
    matcher = Matcher(match)
    [field] = matcher.command(step_of("VRFY a"), turn_of("a" * 5000))
    assert field[0] == "pattern"
    assert "given up" in field[2]


def test_what_the_user_says_goes_over_the_header() -> None:
    header = Match(content="ignore", ignore_headers=("x-a",), steps=(CommandRule(n=1, ignore=True),))
    asked = parse_match(("content=canonical", "ehlo=exact", "ignore_headers=x-b, x-c"))
    both = merged(header, asked)
    assert (both.content, both.ehlo) == ("canonical", "exact")
    assert both.ignore_headers == ("x-b", "x-c", "x-a")
    assert both.steps == header.steps
    assert merged(None, None) == Match()
    assert merged(header, Match(ehlo="exact")).content == "ignore"


def test_rules_that_are_none() -> None:
    with pytest.raises(ConfigError, match="names neither"):
        read_match({"steps": [{"ignore": True}]})
    with pytest.raises(ConfigError, match="the keys are ehlo"):
        read_match({"hello": "exact"})
