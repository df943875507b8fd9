"""The published schema is the one the structs make, and it takes and refuses what the reader does."""

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given

from smtpproxy.recording.codec import LineError, decode, encode, splice_seq
from smtpproxy.recording.overrides import MAX_REGEX, MAX_RULES, read_overrides
from smtpproxy.recording.schema import line_schema
from smtpproxy.session.events import AnyEvent
from tests.recording.events import any_events, samples


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    schema = line_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("event", samples(), ids=lambda event: f"{event.n}-{type(event).__name__}")
def test_it_takes_every_kind(validator: jsonschema.Draft202012Validator, event: AnyEvent) -> None:
    validator.validate(json.loads(encode(event)))
    validator.validate(json.loads(splice_seq(encode(event), 9)))


@given(any_events)
def test_it_takes_whatever_is_written(event: AnyEvent) -> None:
    jsonschema.Draft202012Validator(line_schema()).validate(json.loads(encode(event)))


def test_it_takes_kinds_from_later(validator: jsonschema.Draft202012Validator) -> None:
    validator.validate({"kind": "weather", "n": 1, "session": "s", "t": 0, "sky": "blue"})


REPLY: dict[str, Any] = {
    "kind": "reply",
    "n": 1,
    "session": "s",
    "t": 0,
    "from": "server",
    "to": "client",
    "raw": "",
}
CONTENT = REPLY | {"kind": "content", "message": 1}
NOT_LINES: list[dict[str, Any]] = [
    {},
    REPLY | {"n": -1},
    REPLY | {"n": "1"},
    REPLY | {"t": -1},
    REPLY | {"t": 2.5e11},
    REPLY | {"session": "../x"},
    REPLY | {"from": "mallory"},
    REPLY | {"code": 1000},
    REPLY | {"raw_b64": ""},
    REPLY | {"redacted": [{"at": -1, "kind": "sasl", "length": 1}]},
    {name: value for name, value in REPLY.items() if name != "raw"},
    {name: value for name, value in CONTENT.items() if name != "raw"},
    json.loads(encode(samples()[0])) | {"format": 2},
    json.loads(encode(samples()[0])) | {"started": "now"},
    {"kind": "weather", "n": 1, "session": "s"},
]


@pytest.mark.parametrize("line", NOT_LINES, ids=str)
def test_it_refuses_what_the_reader_refuses(
    validator: jsonschema.Draft202012Validator, line: dict[str, Any]
) -> None:
    assert validator.is_valid(REPLY)
    assert not validator.is_valid(line)


HEADERS: list[dict[str, Any]] = [
    {"replay": {}},
    {"replay": {"level": "text", "steps": [{"n": 9, "ignore": True}, {"verb": "RCPT", "level": "class"}]}},
    {"replay": {"steps": [{"verb": ".", "regex": r"250 .*"}, {"verb": "connect", "present": True}]}},
    {"match": {"content": "ignore", "steps": [{"n": 5, "regex": r"MAIL FROM:<bounce\+.*@example\.com>.*"}]}},
    {
        "match": {
            "ehlo": "exact",
            "addresses": "domain",
            "parameters": "ignore",
            "ignore_headers": ["X-Trace"],
        }
    },
]
NOT_HEADERS: list[dict[str, Any]] = [
    {"replay": []},
    {"replay": {"level": "loose"}},
    {"replay": {"stepts": []}},
    {"replay": {"steps": [{"ignore": True}]}},
    {"replay": {"steps": [{"n": 0, "verb": "", "ignore": True}]}},
    {"replay": {"steps": [{"n": "9", "ignore": True}]}},
    {"replay": {"steps": [{"n": 9, "regex": "x" * (MAX_REGEX + 1)}]}},
    {"replay": {"steps": [{"n": 9}] * (MAX_RULES + 1)}},
    {"match": {"addresses": "fuzzy"}},
    {"match": {"steps": [{"verb": "MAIL", "level": "code"}]}},
]


@pytest.mark.parametrize("fields", HEADERS, ids=str)
def test_a_header_may_ask_for_this(
    validator: jsonschema.Draft202012Validator, fields: dict[str, Any]
) -> None:
    line = json.loads(encode(samples()[0])) | fields
    validator.validate(line)
    raw = json.dumps(line).encode()
    read_overrides(raw)
    assert decode(raw) == samples()[0]


@pytest.mark.parametrize("fields", NOT_HEADERS, ids=lambda fields: str(fields)[:60])
def test_and_not_for_that(validator: jsonschema.Draft202012Validator, fields: dict[str, Any]) -> None:
    line = json.loads(encode(samples()[0])) | fields
    assert not validator.is_valid(line)
    with pytest.raises(LineError):
        read_overrides(json.dumps(line).encode())
