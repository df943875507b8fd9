"""Every filter that the documentation shows can be read."""

import re
from pathlib import Path

import pytest

from smtpproxy.inspect.filters.document import render_keys
from smtpproxy.inspect.filters.keys import KEYS
from tests.inspect.filtering import read

PAGE = (Path(__file__).parents[2] / "docs" / "filters.md").read_text()
BLOCKS = re.findall(r"^```filter\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("line", "".join(BLOCKS).splitlines())
def test_a_filter_that_is_shown_is_one(line: str) -> None:
    assert read(line).render() == line


def test_the_table_has_every_key_with_its_examples() -> None:
    rows = render_keys().splitlines()[2:]
    assert [re.findall(r"`([a-z]+):`", row)[0] for row in rows] == [*KEYS]
    for row, key in zip(rows, KEYS.values(), strict=True):
        assert re.findall(r"`([^`]+)`", row.split(" | ")[2]) == [*key.examples]
    assert render_keys() in PAGE
