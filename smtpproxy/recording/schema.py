"""The JSON Schema of a recorded line, made from the structs that are recorded; it validates nothing."""

import json
from typing import Any, Final

import msgspec

from smtpproxy.recording.codec import MAX_BDAT_OCTETS, MAX_COUNT, MAX_T_S
from smtpproxy.recording.overrides import MAX_REGEX, MAX_RULES, Match, ReplayHeader
from smtpproxy.session.events import FORMAT, AnyEvent

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_COUNTS: Final = frozenset(
    ("n", "about", "answers", "at", "events", "group", "length", "message", "messages", "octets", "step")
)
_HAS_TEXT: Final[dict[str, Any]] = {"required": ["raw"], "not": {"required": ["raw_b64"]}}
_HAS_BASE64: Final[dict[str, Any]] = {"required": ["raw_b64"], "not": {"required": ["raw"]}}
_HAS_DIGEST: Final[dict[str, Any]] = {
    "required": ["octets", "sha256"],
    "not": {"anyOf": [{"required": ["raw"]}, {"required": ["raw_b64"]}]},
}


def line_schema() -> dict[str, Any]:
    """The schema of one line, as a JSON value.

    It has the bounds that are kept on reading, as far as JSON Schema can say them. Unknown fields pass, and
    so do events of unknown kinds.
    """
    schema = msgspec.json.schema(AnyEvent)
    kinds: list[str] = []
    for definition in schema["$defs"].values():
        # Docstrings are for readers of the code; their first paragraph is for everyone.
        definition["description"] = " ".join(definition.get("description", "").split("\n\n")[0].split())
        properties = definition["properties"]
        _add_bounds(properties)
        if "from" in properties:
            has_digest = "sha256" in properties
            definition["oneOf"] = [_HAS_TEXT, _HAS_BASE64, *([_HAS_DIGEST] if has_digest else [])]
        kinds += properties["kind"]["enum"] if "n" in properties else []
    unknown = {
        "title": "UnknownEvent",
        "description": "An event of a kind that a later smtpproxy has introduced; readers pass over it.",
        "type": "object",
        "properties": {
            "kind": {"type": "string", "not": {"enum": kinds}},
            "n": {"type": "integer"},
            "session": {"type": "string"},
            "t": {"type": "number"},
        },
        "required": ["kind", "n", "session", "t"],
    }
    _add_bounds(unknown["properties"])  # type: ignore[arg-type]
    schema["$defs"]["SessionStarted"]["properties"] |= {
        "replay": {"$ref": "#/$defs/ReplayHeader"},
        "match": {"$ref": "#/$defs/Match"},
    }
    return {
        "$schema": _DIALECT,
        "title": f"A line of a smtpproxy recording, format {FORMAT}",
        "anyOf": [*schema["anyOf"], {"$ref": "#/$defs/UnknownEvent"}],
        "$defs": {**schema["$defs"], "UnknownEvent": unknown, **_override_definitions()},
    }


def _override_definitions() -> dict[str, Any]:
    """What the `session` line may ask of those who rerun it; written by people, so nothing unknown passes."""
    _, definitions = msgspec.json.schema_components((ReplayHeader, Match), ref_template="#/$defs/{name}")
    for definition in definitions.values():
        definition["description"] = " ".join(definition.get("description", "").split("\n\n")[0].split())
        properties = definition["properties"]
        if "regex" in properties:
            properties["regex"] |= {"maxLength": MAX_REGEX, "format": "regex"}
            definition["anyOf"] = [
                {"required": ["n"], "properties": {"n": {"not": {"const": 0}}}},
                {"required": ["verb"], "properties": {"verb": {"minLength": 1}}},
            ]
        if "steps" in properties:
            properties["steps"] |= {"maxItems": MAX_RULES}
    return definitions


def _add_bounds(properties: dict[str, dict[str, Any]]) -> None:
    for name in _COUNTS & properties.keys():
        properties[name] |= {"minimum": 0, "maximum": MAX_COUNT}
    for name, bounds in (
        ("session", {"pattern": "^[0-9A-Za-z-]{1,64}$"}),
        ("t", {"minimum": 0, "maximum": MAX_T_S}),
        ("size", {"minimum": 0, "maximum": MAX_BDAT_OCTETS}),
        ("format", {"const": FORMAT}),
        ("started", {"pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z$"}),
        ("code", {"minimum": 0, "maximum": 999} if "answers" in properties else {}),
    ):
        if name in properties:
            properties[name] |= bounds


def render_schema() -> str:
    """The same as the text of docs/recording.schema.json."""
    return json.dumps(line_schema(), indent=2, ensure_ascii=True) + "\n"
