"""What docs/pytest.md shows works, and what it names exists."""

import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "pytest.md").read_text()


def test_its_tests_pass_recorded_and_played(suite: pytest.Pytester) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    for number, block in enumerate(blocks):
        (suite.path / f"test_block_{number}.py").write_text(block)
    tests = sum(block.count("def test_") for block in blocks)
    assert tests == 4
    suite.runpytest_inprocess("--smtp-record-mode=once").assert_outcomes(passed=tests)
    suite.runpytest_inprocess().assert_outcomes(passed=tests)


def test_its_flags_and_settings_are_pytests(suite: pytest.Pytester) -> None:
    told = suite.runpytest_inprocess("--help").stdout.str()
    named = set(re.findall(r"--smtp-[a-z-]+|\bsmtp_(?:upstream|record|cassettes)\w*", PAGE))
    assert {name for name in named if name not in told} == set()
    ours = set(re.findall(r"--smtp-[a-z-]+|^  (smtp_\w+)", told, re.MULTILINE)) - {""}
    assert {name for name in ours if name not in PAGE} == set()
