"""What users write behind a key, read into values that compare: patterns, numbers, times, networks.

A reader raises ValueError with words that go on after "KEY: "; it knows neither keys nor sessions. Times
come in as data: `now` is in seconds since 1970, and every date is UTC, as lists show it.
"""

import ipaddress
import operator
import re
from collections.abc import Callable
from typing import Final, TypeAlias

Number: TypeAlias = Callable[[float], bool]

_COMPARED: Final = re.compile(r"(>=|<=|>|<|=)?\s*(.+)", re.DOTALL)
_OPERATORS: Final[dict[str, Callable[[float, float], bool]]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "=": operator.eq,
}
_AMOUNT: Final = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)\s*([A-Za-z]{0,3})", re.ASCII)
SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}
OCTETS: Final = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}
_CODE: Final = re.compile(r"\d[\dx][\dx]", re.ASCII | re.IGNORECASE)
_ENHANCED: Final = re.compile(r"[245](\.(\d{1,3}|[*x])){0,2}", re.ASCII | re.IGNORECASE)
_DATE: Final = re.compile(r"(\d{4})-(\d\d)-(\d\d)", re.ASCII)
_TIME: Final = re.compile(r"(\d\d):(\d\d)(?::(\d\d(?:\.\d{1,6})?))?Z?", re.ASCII)
_DAYS_IN_MONTH: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class Glob:
    """A text in which `*` stands for any; compared as a whole, without regard to case, in linear time."""

    def __init__(self, pattern: str) -> None:
        self._first, *rest = pattern.casefold().split("*")
        self._last = rest.pop() if rest else None
        self._between = rest

    def matches(self, text: str) -> bool:
        """Whether the text is one of those meant."""
        text = text.casefold()
        if self._last is None:
            return text == self._first
        end = len(text) - len(self._last)
        at = len(self._first)
        if at > end or not (text.startswith(self._first) and text.endswith(self._last)):
            return False
        for piece in self._between:
            found = text.find(piece, at, end)
            if found < 0:
                return False
            at = found + len(piece)
        return True


def read_address(value: str) -> Glob:
    """An address, one with `*`, `@example.com` for a whole domain, `<>` for the null path, or a part."""
    if value in ("<>", ""):
        return Glob("")
    value = value.removeprefix("<").removesuffix(">")
    if value.startswith("@"):
        return Glob(f"*{value}")
    return Glob(value if "@" in value or "*" in value else f"*{value}*")


def read_code(value: str) -> Number:
    """`550`, `5xx`, `>=400`."""
    if _CODE.fullmatch(value):
        digits = value.lower()
        return lambda code: all(d in ("x", c) for d, c in zip(digits, f"{int(code):03d}", strict=False))
    sign, rest = _split_comparison(value)
    if not sign or not (rest.isascii() and rest.isdigit() and len(rest) == 3):
        raise ValueError("wants a reply code such as 550, 5xx or >=400")
    return _comparison(sign, float(rest))


def read_enhanced(value: str) -> Callable[[str], bool]:
    """`5.7.1`, `5.7.*`, `5.7`, `5`."""
    if not _ENHANCED.fullmatch(value):
        raise ValueError("wants an enhanced status code such as 5.7.1, 5.7.* or 5")
    wanted = value.lower().split(".")

    def matches(code: str) -> bool:
        said = code.split(".")
        return len(said) >= len(wanted) and all(
            w in ("*", "x") or w == s for w, s in zip(wanted, said, strict=False)
        )

    return matches


def read_count(value: str) -> tuple[str, Number]:
    """`>1`, `0`; the sign is returned too."""
    sign, rest = _split_comparison(value)
    if not (rest.isascii() and rest.isdigit() and len(rest) <= 15):
        raise ValueError("wants a number such as 2 or >1")
    return sign or "=", _comparison(sign or "=", float(rest))


def read_size(value: str) -> tuple[str, Number]:
    """`>1M` in octets, with k, M or G of 1024; the sign is returned too."""
    sign, rest = _split_comparison(value)
    amount = _AMOUNT.fullmatch(rest)
    unit = amount[2].lower().removesuffix("b").removesuffix("i") if amount else ""
    if amount is None or unit not in OCTETS or not sign:
        raise ValueError("wants a comparison in octets, such as >1M or <=500k")
    return sign, _comparison(sign, float(amount[1]) * OCTETS[unit])


def read_duration(value: str) -> tuple[str, Number]:
    """`>1.5` in seconds, or with ms, s, m, h, d, w; the sign is returned too."""
    sign, rest = _split_comparison(value)
    seconds = _read_span(rest if rest[-1:].isalpha() else f"{rest}s")
    if seconds is None or not sign:
        raise ValueError("wants a comparison in seconds, such as >1.5, >200ms or <2m")
    return sign, _comparison(sign, seconds)


def read_moment(value: str, now: float) -> float:
    """A date, a time of today, both, or how long ago (`2h`); in seconds since 1970.

    Args:
        now: in seconds since 1970.
    """
    ago = _read_span(value)
    if ago is not None:
        return now - ago
    day, _, time = value.upper().replace(" ", "T").replace("/", "-").partition("T")
    if not time and ":" in day:
        day, time = "", day
    date, clock = _DATE.fullmatch(day), _TIME.fullmatch(time)
    if (day and not date) or (time and not clock) or not value:
        raise ValueError(
            "wants a UTC date or time such as 2026-11-23, 2026-11-23T17:00 or 17:00, or a time ago such as 2h"
        )
    midnight = _midnight(int(date[1]), int(date[2]), int(date[3])) if date else now // 86400 * 86400
    return midnight + (_time_of_day(clock) if clock else 0.0)


def read_network(value: str) -> Callable[[str], bool]:
    """An address, a network such as 10.0.0.0/8, or an address and its port as lists show it."""
    try:
        network = ipaddress.ip_network(value.removeprefix("[").removesuffix("]"), strict=False)
    except ValueError:
        if "/" in value or not (value == "unix" or _address_of(value)):
            raise ValueError("wants an address such as 192.0.2.7 or a network such as 10.0.0.0/8") from None
        return lambda client: client == value

    def matches(client: str) -> bool:
        address = _address_of(client)
        return address is not None and address in network

    return matches


def started_seconds(started: str) -> float | None:
    """When a session began, in seconds since 1970; None where that is not known."""
    try:
        midnight = _midnight(int(started[:4]), int(started[5:7]), int(started[8:10]))
        hour, minute, second = int(started[11:13]), int(started[14:16]), float(started[17:].removesuffix("Z"))
        # Added up in the order of a filter's own dates: the same moment must be the same number.
        return midnight + (hour * 3600 + minute * 60 + second)
    except ValueError:
        return None


def _split_comparison(value: str) -> tuple[str, str]:
    match = _COMPARED.fullmatch(value)
    return (match[1] or "", match[2]) if match else ("", "")


def _comparison(sign: str, wanted: float) -> Number:
    compare = _OPERATORS[sign]
    return lambda value: compare(value, wanted)


def _read_span(value: str) -> float | None:
    amount = _AMOUNT.fullmatch(value)
    if amount is None or amount[2].lower() not in SECONDS:
        return None
    return float(amount[1]) * SECONDS[amount[2].lower()]


def _midnight(year: int, month: int, day: int) -> float:
    """When a day of the Gregorian calendar began, UTC, in seconds since 1970."""
    is_leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if not 1 <= month <= 12 or not 1 <= day <= _DAYS_IN_MONTH[month - 1] - (month == 2 and not is_leap):
        raise ValueError("there is no such day")
    # Years that begin in March end with the leap day: what comes before a month is then the same every year.
    years, months = (year, month - 3) if month > 2 else (year - 1, month + 9)
    days = years * 365 + years // 4 - years // 100 + years // 400 + (153 * months + 2) // 5 + day - 1
    return float((days - 719468) * 86400)


def _time_of_day(clock: re.Match[str]) -> float:
    hour, minute, second = int(clock[1]), int(clock[2]), float(clock[3] or 0)
    if hour > 23 or minute > 59 or second >= 61:
        raise ValueError("there is no such time of day")
    return hour * 3600 + minute * 60 + second


def _address_of(client: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address in `192.0.2.7:50312`, `[2001:db8::1]:50312` or such without a port."""
    host, _, port = client.rpartition(":")
    if host.startswith("[") or (host and ":" not in host):
        client = host if port.isdigit() else client
    try:
        address = ipaddress.ip_address(client.removeprefix("[").removesuffix("]").partition("%")[0])
    except ValueError:
        return None
    # A listener on :: sees an IPv4 client as ::ffff:192.0.2.7.
    return getattr(address, "ipv4_mapped", None) or address
