"""Whatever real servers say is as recorded where they say it again, and so it is with other ids."""

from collections.abc import Callable
from pathlib import Path

import pytest

from smtpproxy.recording.files import SUFFIX, index_recording
from smtpproxy.recording.overrides import LEVELS, Level
from smtpproxy.replay.aliases import Aliases
from smtpproxy.replay.comparison import compare_reply
from smtpproxy.replay.rules import Rules
from smtpproxy.replay.script import Script
from smtpproxy.replay.script_reader import read_script
from smtpproxy.replay.volatile import tokens_of

LIBRARY = sorted((Path(__file__).parents[2] / "replay").glob(f"*{SUFFIX}"))


def scripts(path: Path) -> list[Script]:
    return [
        read_script(filed.events, leg="server", name=path.name, line=filed.number)
        for filed in index_recording(path)
    ]


def other_ids(raw: bytes) -> bytes:
    """The reply with every second digit of its ids turned around."""
    return b"".join(
        line[:4]
        + "".join(_turned(token.text) if token.kind == "id" else token.text for token in tokens).encode()
        for line in raw.splitlines(keepends=True)
        for tokens in [list(tokens_of(line[4:].decode()))]
    )


def _turned(text: str) -> str:
    return "".join(
        str(9 - int(char)) if char.isdecimal() and at % 2 else char for at, char in enumerate(text)
    )


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.name.removesuffix(SUFFIX))
def test_what_a_server_said_is_what_it_said(path: Path) -> None:
    for script in scripts(path):
        for level in LEVELS:
            assert differing(script, level, lambda raw: raw) == []


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.name.removesuffix(SUFFIX))
def test_other_ids_are_the_same_words(path: Path) -> None:
    for script in scripts(path):
        # The reply to EHLO has no ids, but numbers that count, such as SIZE's.
        assert set(differing(script, "text", other_ids)) <= {"EHLO", "LHLO"}


def test_the_library_has_ids() -> None:
    replies = [
        reply.raw
        for path in LIBRARY
        for script in scripts(path)
        for step in script.steps
        for reply in step.replies
    ]
    assert len([raw for raw in replies if other_ids(raw) != raw]) >= 10


def differing(script: Script, level: Level, change: Callable[[bytes], bytes]) -> list[str]:
    rules, aliases = Rules.of(script, level=level, strict_ehlo=True), Aliases()
    return [
        step.verb
        for step in script.steps
        for index, reply in enumerate(step.replies)
        if compare_reply(
            step, index, change(reply.raw), rules=rules, aliases=aliases, is_tls=step.is_tls
        ).verdict
        == "differs"
    ]
