"""The parts of a message, and in what two trees of them differ, for people; it reads no message itself."""

import hashlib
from collections.abc import Iterator
from itertools import takewhile, zip_longest
from typing import Final, TypeAlias

import msgspec

from smtpproxy.wire.escape import escape

SHOWN_LINES: Final = 5
SHOWN_CHARACTERS: Final = 500
Field: TypeAlias = tuple[str, str, str]
"""(what differs, expected, actual)."""


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One part, or the message itself.

    Attributes:
        path: "" for the message, `1`, `2.1` for what is in it.
        type: such as `text/plain`, lower-cased.
        parameters: of the type, without boundary, by name.
        disposition: `inline`, `attachment` or "", and the file name.
        fields: the other header fields: name in lower case, value unfolded and decoded; by name.
        payload: decoded; of text with LF for every line end and without the last one. Empty for containers.
    """

    path: str
    type: str
    parameters: tuple[tuple[str, str], ...]
    disposition: str
    fields: tuple[tuple[str, str], ...]
    payload: bytes


def part_differences(ours: tuple[Part, ...], theirs: tuple[Part, ...]) -> Iterator[Field]:
    """In what one tree of parts differs from another, each with a short excerpt fit for a terminal."""
    here = {part.path: part for part in ours}
    there = {part.path: part for part in theirs}
    for path, part in here.items():
        other = there.get(path)
        if other is None:
            yield f"part {path}", _cut(_outline(part)), ""
            continue
        if part == other:
            continue
        where = f"part {path}: " if path else ""
        yield from _field_differences(part.fields, other.fields, where)
        if part.type != other.type:
            yield f"{where}type", _cut(part.type), _cut(other.type)
        yield from _field_differences(part.parameters, other.parameters, f"{where}{part.type} ")
        if part.disposition != other.disposition:
            yield f"{where}disposition", _cut(part.disposition), _cut(other.disposition)
        if part.payload != other.payload:
            yield _payload_difference(part, other)
    for path, part in there.items():
        if path not in here:
            yield f"part {path}", "", _cut(_outline(part))


def _field_differences(
    ours: tuple[tuple[str, str], ...], theirs: tuple[tuple[str, str], ...], where: str
) -> Iterator[Field]:
    for name in dict.fromkeys(name for name, _ in (*ours, *theirs)):
        here = [value for key, value in ours if key == name]
        there = [value for key, value in theirs if key == name]
        for value, other in zip_longest(here, there):
            if value != other:
                yield _cut(f"{where}{name}"), _cut(value or ""), _cut(other or "")


def _payload_difference(part: Part, other: Part) -> Field:
    name = f"part {part.path} ({part.type})" if part.path else "body"
    if not (part.type.startswith("text/") and other.type.startswith("text/")):
        return name, _digest(part.payload), _digest(other.payload)
    ours, theirs = (payload.split(b"\n") for payload in (part.payload, other.payload))
    same = _common(ours, theirs)
    tail = _common(ours[same:][::-1], theirs[same:][::-1])
    expected, actual = (_excerpt(lines[same : len(lines) - tail], part) for lines in (ours, theirs))
    return f"{name}, line {same + 1}", expected, actual


def _common(ours: list[bytes], theirs: list[bytes]) -> int:
    """How many lines are the same from the beginning."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(ours, theirs, strict=False)))


def _excerpt(lines: list[bytes], part: Part) -> str:
    charset = dict(part.parameters).get("charset", "utf-8")
    try:
        shown = [line.decode(charset, "backslashreplace") for line in lines[:SHOWN_LINES]]
    except (LookupError, ValueError):
        shown = [line.decode("utf-8", "backslashreplace") for line in lines[:SHOWN_LINES]]
    more = len(lines) - SHOWN_LINES
    return "\n".join(
        [
            *(_cut(line) or "(a blank line)" for line in shown),
            *([f"… ({more} more lines)"] if more > 0 else []),
        ]
    )


def _outline(part: Part) -> str:
    return f"{part.type}, {len(part.payload)} octets" + (f", {part.disposition}" if part.disposition else "")


def _digest(payload: bytes) -> str:
    return f"{len(payload)} octets, sha256 {hashlib.sha256(payload).hexdigest()}"


def _cut(text: str) -> str:
    shown = escape(text[:SHOWN_CHARACTERS])
    return shown if len(text) <= SHOWN_CHARACTERS else f"{shown}…"
