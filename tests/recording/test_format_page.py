"""docs/recording-format.md is true: its examples are lines, of every kind, as they would be written."""

import json
import re
from pathlib import Path

import jsonschema
import pytest

from smtpproxy.recording.codec import MAX_LINE_BYTES, MAX_T_S, UnknownEvent, decode, encode
from smtpproxy.recording.redaction import Redactor
from smtpproxy.recording.schema import line_schema
from smtpproxy.recording.spans import PLACEHOLDER
from smtpproxy.recording.taint import MIN_VALUE_BYTES, PREFIX_BYTES
from smtpproxy.session.content import PIECE_BYTES
from smtpproxy.session.events import FORMAT, AnyEvent, Content

PAGE = (Path(__file__).parents[2] / "docs" / "recording-format.md").read_text()
EXAMPLES = re.findall(r"^```json\n(.*)\n```$", PAGE, re.MULTILINE)


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_is_a_line_as_it_is_written(example: str) -> None:
    event = decode(example.encode())
    assert not isinstance(event, UnknownEvent)
    assert encode(event) == example.encode()
    jsonschema.Draft202012Validator(line_schema()).validate(json.loads(example))


def test_every_kind_has_an_example_where_it_is_explained() -> None:
    kinds = [json.loads(example)["kind"] for example in EXAMPLES]
    known = {name for name, text in _explained().items() if f'{{"kind":"{name}",' in text}
    assert known == set(kinds) == {kind.__struct_config__.tag for kind in AnyEvent.__args__}


def _explained() -> dict[str, str]:
    """Each kind's paragraphs, up to the next kind's."""
    parts = re.split(r"^`([a-z]+)`: ", PAGE, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_the_digest_is_of_the_piece_that_is_shown_in_full() -> None:
    full, digested = (
        event
        for example in EXAMPLES
        if isinstance(event := decode(example.encode()), Content) and not event.end
    )
    assert Redactor(bodies="digest").redact(full) == digested


def test_its_numbers_are_the_codes() -> None:
    assert f"version {FORMAT}\n" in PAGE
    assert f"`{PLACEHOLDER.decode()}`" in PAGE
    assert (MAX_LINE_BYTES, MAX_T_S) == (2 * 1024**2, 10 * 366 * 86400)
    assert "at most 2 MiB" in PAGE
    assert f"less than {PREFIX_BYTES} octets" in PAGE
    assert f"from {MIN_VALUE_BYTES} octets on" in PAGE
    assert f"at most {PIECE_BYTES // 1024} KiB" in PAGE
