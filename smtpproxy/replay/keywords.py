"""What a server offers in its reply to EHLO, compared as sets; it knows nothing of codes and rules.

RFC 5321 4.1.1.1: a line for each keyword, in any order. RFC 4954 3: AUTH's parameters are mechanisms, in any
order as well.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from smtpproxy.recording.overrides import Level
from smtpproxy.wire.ehlo import keyword_of

_LOOSE: Final[frozenset[Level]] = frozenset({"class", "code"})
"""Levels at which a parameter such as SIZE's number may be another one."""


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """How one offer differs from another.

    Attributes:
        fields: the differences: (keyword, expected, actual).
        notes: what is worth knowing and no difference.
        text: the differences in words.
    """

    fields: tuple[tuple[str, str, str], ...] = ()
    notes: tuple[str, ...] = ()
    text: str = ""


def compare_keywords(
    recorded: list[bytes], live: list[bytes], *, level: Level, is_strict: bool, hides_starttls: bool
) -> Offer:
    """Compare two replies of code 250 to EHLO or LHLO.

    Args:
        recorded, live: their lines.
        level: `class` only notes; from `enhanced` up parameters count as well.
        is_strict: what was added counts too, unless the level is `class`.
        hides_starttls: STARTTLS may be missing: TLS stands here, and did not in the recording (RFC 3207 4.2).
    """
    ours, theirs = _offers(recorded), _offers(live)
    fields: list[tuple[str, str, str]] = []
    notes: list[str] = []
    words: list[str] = []

    def tell(keyword: str, expected: str, actual: str, text: str, *, counts: bool) -> None:
        if counts and level != "class":
            fields.append((keyword, expected, actual))
            words.append(text)
        else:
            notes.append(text)

    for keyword, parameters in ours.items():
        if keyword not in theirs:
            counts = not (keyword == "STARTTLS" and hides_starttls)
            tell(keyword, _told(keyword, parameters), "", f"{keyword} is not offered", counts=counts)
            continue
        now = theirs[keyword]
        expected, actual = _told(keyword, parameters), _told(keyword, now)
        if keyword == "AUTH":
            missing, added = _without(parameters, now), _without(now, parameters)
            if missing:
                tell(keyword, expected, actual, f"AUTH lacks {' '.join(missing)}", counts=True)
            if added:
                tell(keyword, expected, actual, f"AUTH offers {' '.join(added)} as well", counts=is_strict)
        elif set(parameters) != set(now):
            text = f"{actual} is offered, where {expected} was"
            tell(keyword, expected, actual, text, counts=level not in _LOOSE)
    for keyword in _without(theirs, ours):
        actual = _told(keyword, theirs[keyword])
        tell(keyword, "", actual, f"{actual} is offered as well", counts=is_strict)
    return Offer(fields=tuple(dict.fromkeys(fields)), notes=tuple(notes), text="; ".join(words))


def _offers(lines: list[bytes]) -> dict[str, tuple[str, ...]]:
    """The keywords in order, each with its parameters; the legacy `AUTH=…` is part of AUTH."""
    offers: dict[str, tuple[str, ...]] = {}
    for line in lines[1:]:
        keyword = keyword_of(line)
        if not keyword:
            continue
        text = line[4:].decode("utf-8", "backslashreplace").strip()
        words = text[len(keyword) :].lstrip(" \t=").split()
        if keyword == "AUTH":
            words = [word.upper() for word in words]
        offers[keyword] = tuple(dict.fromkeys((*offers.get(keyword, ()), *words)))
    return offers


def _without(these: Iterable[str], those: Iterable[str]) -> list[str]:
    known = frozenset(those)
    return [word for word in these if word not in known]


def _told(keyword: str, parameters: tuple[str, ...]) -> str:
    return " ".join((keyword, *parameters))
