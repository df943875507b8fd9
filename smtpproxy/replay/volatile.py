"""What in a reply's text is another one each time: ids, names, addresses, times, counts; it compares nothing.

A provider says the same sentence with another queue id in it. The text is cut into tokens: what is volatile,
by its kind, and the words between. Each alternative of the pattern begins at the beginning of a word and is
bounded or cannot be entered twice, so that the work is linear in the text.
"""

import ipaddress
import re
from collections.abc import Container, Iterator
from typing import Final, Literal, TypeAlias

import msgspec

Kind: TypeAlias = Literal["text", "id", "name", "address", "time", "number"]

_MONTH: Final = "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]{0,6}"
_DAY: Final = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]{0,6}"
_CLOCK: Final = r"\d{1,2}:\d\d(?::\d\d(?:[.,]\d{1,9})?)?"
_ZONE: Final = r"(?:\ ?(?:[+-]\d{4}|Z|[A-Z]{3,4}(?![A-Za-z])))?(?:\ \([A-Z]{1,5}\))?"

_VOLATILE: Final = re.compile(
    rf"""
    (?<![0-9A-Za-z])(?:
    (?P<time>
        (?:{_DAY},?\ )?\d{{1,2}}[\ -]{_MONTH}[\ -]\d{{2,4}}(?:,?\ {_CLOCK}{_ZONE})?          # RFC 5322 3.3
      | {_DAY},?\ {_MONTH}\ {{1,2}}\d{{1,2}}\ {_CLOCK}(?:\ [A-Z]{{3,4}})?\ \d{{4}}               # ctime
      | \d{{4}}-\d\d-\d\d(?:[T\ ]{_CLOCK}(?:Z|\ ?[+-]\d\d:?\d\d)?)?                            # ISO 8601
      | \d{{1,2}}:\d\d:\d\d(?:[.,]\d{{1,9}})?(?![:0-9A-Fa-f])
      | [12]\d{{9}}(?:\.\d{{1,9}}|\d{{3}})?(?![0-9A-Za-z])                                       # Unix time
    )
  | (?P<address4>\d{{1,3}}(?:\.\d{{1,3}}){{3}}(?::\d{{1,5}})?(?!\.?[0-9A-Za-z]))
  | (?:IPv6:)?(?P<address6>(?=[0-9A-Fa-f.]{{0,15}}:)[0-9A-Fa-f:.]{{2,45}}(?![0-9A-Za-z]))
  | (?P<number>\d{{1,20}}(?:\.\d{{1,9}})?\ ?
        (?:bytes?|octets?|[KMG]i?B(?:/s(?:ec)?)?|[KMG]?B/s(?:ec)?|seconds?|secs?|ms|s|minutes?|min)(?![0-9A-Za-z])
      | \d{{1,9}}\.\d{{3,9}}(?![.0-9A-Za-z]))
  | (?i:queued\ (?:mail\ )?as|(?:[a-z-]{{0,30}}id|hostname|ref|qp)(?:=|:|(?<=qp)(?=\ )))\ ?<?
        (?P<said>[^\s<>,;()\[\]"']+)
  | (?P<google>\S{{1,200}})(?=\ -\ gsmtp)
  | (?P<shape>[0-9A-Fa-f]{{8}}(?:-[0-9A-Fa-f]{{4}}){{3}}-[0-9A-Fa-f]{{12}}                      # UUID
      | (?=[A-Za-z-]{{0,24}}\d)[0-9A-Za-z]{{6}}-[0-9A-Za-z]{{6,11}}-[0-9A-Za-z]{{2,4}}(?![0-9A-Za-z-])) # Exim
  | (?P<word>[0-9A-Za-z][0-9A-Za-z_.+/~$@%-]*+={{0,2}})
    )""",
    re.VERBOSE,
)
_KINDS: Final[dict[str, Kind]] = {
    "time": "time",
    "address4": "address",
    "number": "number",
    "said": "id",
    "google": "id",
    "shape": "id",
}
_FIRST_WORD: Final = re.compile(r"\s*(\S+)")
_RUN: Final = re.compile("[0-9A-Za-z]+")
_TURN: Final = re.compile("[A-Za-z](?=[0-9])|[0-9](?=[A-Za-z])")
_HUMP: Final = re.compile("[a-z](?=[A-Z])")
_HEX: Final = re.compile("(?:[0-9a-f]+|[0-9A-F]+)")
MIN_ID_CHARACTERS: Final = 8


class Token(msgspec.Struct, frozen=True):
    """A piece of a text: literal, or what of its kind stands there."""

    kind: Kind
    text: str


def tokens_of(text: str, *, names: Container[str] = (), is_named: bool = False) -> Iterator[Token]:
    """Cut a reply's text into tokens; joined they are the text again.

    Args:
        text: one line, without its code.
        names: what the server has called itself, lower-cased.
        is_named: the text begins with the server's name: the greeting, and the first line that answers EHLO
            (RFC 5321 4.2: `220 Domain …`, `250-Domain …`).
    """
    at = 0
    if is_named and (first := _FIRST_WORD.match(text)):
        yield from _literal(text[: first.start(1)])
        yield Token("name", first[1])
        at = first.end()
    literal_from = at
    for found in _VOLATILE.finditer(text, at):
        assert found.lastgroup is not None
        start, end = found.span(found.lastgroup)
        kind, end = _kind_of(found.lastgroup, text, start, end, names)
        if kind == "text":
            continue
        yield from _literal(text[literal_from:start])
        yield Token(kind, text[start:end])
        literal_from = end
    yield from _literal(text[literal_from:])


def _literal(text: str) -> Iterator[Token]:
    if text:
        yield Token("text", text)


def _kind_of(group: str, text: str, start: int, end: int, names: Container[str]) -> tuple[Kind, int]:
    """The kind of a candidate, and where it ends."""
    if group == "address6":
        return ("address" if _is_address(text[start:end]) else "text"), end
    if group in ("said", "word"):
        # A sentence's full stop is no part of what stands before it.
        end = start + len(text[start:end].rstrip(".:"))
    if group == "word":
        word = text[start:end]
        if word.lower() in names:
            return "name", end
        return ("id" if _is_id(word) else "text"), end
    return _KINDS[group], end


def _is_address(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text.rstrip("."))
    except ValueError:
        return False
    return True


def _is_id(word: str) -> bool:
    """Whether some machine made it up: no language has such words. A mail address was asked about."""
    return "@" not in word and any(_is_random(run) for run in _RUN.findall(word))


def _is_random(run: str) -> bool:
    if len(run) < MIN_ID_CHARACTERS:
        return False
    humps = len(_HUMP.findall(run))
    if run.isalpha():
        return humps >= 3  # base64 that happens to have no digit
    turns = len(_TURN.findall(run))
    # `8BITMIME`, `SMTPUTF8` and `mailserver1` have one turn between letters and digits.
    return turns != 1 or humps >= 1 or bool(_HEX.fullmatch(run))
