"""Readers of single settings: a flag's text or a TOML value in, a checked value out; they read no file.

Each takes what was written and the folder that relative paths are relative to, and raises ValueError with
what it expected instead, as the end of a sentence: "… must be true or false".
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias, get_args

from smtpproxy.config.token import Token
from smtpproxy.endpoints import Endpoint, parse_endpoint
from smtpproxy.session.options import EhloPolicy

Reader: TypeAlias = Callable[[Any, Path], Any]

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off", ""})
_SECONDS_PER_UNIT = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_OCTETS_PER_UNIT = {
    "": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KIB": 2**10,
    "MIB": 2**20,
    "GIB": 2**30,
    "TIB": 2**40,
}
_QUANTITY = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)\s*([A-Za-z]*)\Z")
_HOST_AND_PORT = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9_.-]+):([0-9]{1,5})\Z")
_WEB_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]{1,253})(:[0-9]{1,5})?\Z")
_KEYWORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z")


def read_switch(value: object, _: Path) -> bool:
    """True or false; the words of the environment are 1/0, true/false, yes/no and on/off."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in _TRUE | _FALSE:
        return value.strip().lower() in _TRUE
    raise ValueError("must be true or false")


def read_text(value: object, _: Path) -> str:
    """Any text without control characters."""
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError("must be a line of text")
    return value


def read_count(value: object, _: Path) -> int:
    """A whole number, zero or more."""
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit() and len(value) < 16:
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise ValueError("must be a whole number, zero or more")


def read_positive_count(value: object, folder: Path) -> int:
    """A whole number, one or more."""
    try:
        count = read_count(value, folder)
    except ValueError:
        count = 0
    if count < 1:
        raise ValueError("must be a whole number, one or more")
    return count


def read_days(value: object, _: Path) -> float:
    """Days, zero or more; parts of a day are allowed."""
    return _read_quantity(value, {"": 1}, "must be a number of days, zero or more")


def read_seconds(value: object, _: Path) -> float:
    """Seconds, more than zero: a number, or one with s, m, h or d."""
    expected = "must be a time in seconds, or with a unit as in 90s, 15m or 2h"
    seconds = _read_quantity(value, _SECONDS_PER_UNIT, expected)
    if seconds <= 0:
        raise ValueError(expected)
    return seconds


def read_octets(value: object, _: Path) -> int:
    """Octets, zero or more: a number, or one with KB, MB, GB, KiB, MiB or GiB."""
    return int(
        _read_quantity(
            value, _OCTETS_PER_UNIT, "must be a size in octets, or with a unit as in 500MB or 2GiB"
        )
    )


def read_path(value: object, folder: Path) -> Path:
    """A file or a folder, made absolute; `~` is the home folder."""
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("must be a path")
    try:
        return folder / Path(value).expanduser()
    except RuntimeError:
        raise ValueError("must be a path; there is no such home folder") from None


def read_store(value: object, folder: Path) -> Path | None:
    """A file, or `none` for no recording at all."""
    return None if value == "none" else read_path(value, folder)


def read_choice(*choices: str) -> Reader:
    """A reader of one of these words."""

    def read(value: object, _: Path) -> str:
        if value not in choices:
            raise ValueError(f"must be {' or '.join(choices)}")
        return str(value)

    return read


def read_tls_version(value: object, _: Path) -> str:
    """1.0 to 1.3, as text or as the TOML number that looks like it."""
    text = str(value).upper().removeprefix("TLSV").removeprefix("TLS")
    if text not in ("1.0", "1.1", "1.2", "1.3"):
        raise ValueError("must be 1.0, 1.1, 1.2 or 1.3")
    return text


def read_listen(value: object, _: Path) -> Endpoint:
    """A URL to listen on.

    Raises:
        EndpointError: what is wrong with it.
    """
    return _read_endpoint(value, is_listen=True)


def read_upstream(value: object, _: Path) -> Endpoint:
    """A URL to lead to.

    Raises:
        EndpointError: what is wrong with it.
    """
    return _read_endpoint(value, is_listen=False)


def read_host_and_port(value: object, _: Path) -> tuple[str, int]:
    """`HOST:PORT`, brackets around an IPv6 address; the host comes back without them."""
    match = _HOST_AND_PORT.match(value) if isinstance(value, str) else None
    if match is None or not 1 <= int(match[2]) <= 65535:
        raise ValueError("must be HOST:PORT, such as 192.0.2.7:587 or [2001:db8::7]:587")
    return match[1].strip("[]"), int(match[2])


def read_web_address(value: object, _: Path) -> tuple[str, int]:
    """`HOST:PORT` to listen on; port 0 takes a free one."""
    match = _HOST_AND_PORT.match(value) if isinstance(value, str) else None
    if match is None or int(match[2]) > 65535:
        raise ValueError("must be HOST:PORT, such as 127.0.0.1:8025; port 0 takes a free one")
    return match[1].strip("[]"), int(match[2])


def read_web_token(value: object, _: Path) -> Token:
    """A token; never repeated in an error."""
    if not isinstance(value, str) or not re.fullmatch(r"[!-~]{12,200}", value):
        raise ValueError("must be 12 to 200 printable ASCII characters without blanks")
    return Token(value)


def read_web_host(value: object, _: Path) -> tuple[str, ...]:
    """NAME or NAME:PORT, one or several."""
    names = [str(name) for name in split_list(value)] if isinstance(value, (str, list, tuple)) else []
    if not names or not all(_WEB_HOST.match(name) for name in names):
        raise ValueError("must be a host name, or NAME:PORT, such as mail.example.com or localhost:8080")
    return tuple(names)


def read_ehlo(value: object, folder: Path) -> dict[str, EhloPolicy]:
    """KEYWORD=pass or KEYWORD=hide, one or several; in TOML a table of the same."""
    expected = "must say KEYWORD=pass or KEYWORD=hide, such as XCLIENT=pass"
    pairs: list[tuple[str, Any]] = []
    if isinstance(value, dict):
        pairs.extend(value.items())
    elif isinstance(value, (str, list, tuple)):
        for item in split_list(value):
            keyword, _, policy = str(item).partition("=")
            pairs.append((keyword, policy))
    policies: dict[str, EhloPolicy] = {}
    for keyword, policy in pairs:
        if not _KEYWORD.match(keyword) or policy not in get_args(EhloPolicy):
            raise ValueError(expected)
        policies[keyword.upper()] = policy
    if not policies and value != {}:
        raise ValueError(expected)
    return policies


def split_list(value: str | Sequence[object]) -> list[object]:
    """One value or several: a list as it is, a text split at commas and blanks (variables hold lists so)."""
    return [*re.split(r"[,\s]+", value.strip())] if isinstance(value, str) else list(value)


def _read_endpoint(value: object, *, is_listen: bool) -> Endpoint:
    if not isinstance(value, str):
        raise ValueError("must be a URL, such as smtp://127.0.0.1:1025")  # noqa: TRY004 - readers raise one error
    return parse_endpoint(value.strip(), is_listen=is_listen)


def _read_quantity(value: object, per_unit: dict[str, int], expected: str) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 2**62:
        return value
    match = _QUANTITY.match(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(expected)
    scale = per_unit.get(match[2]) or per_unit.get(match[2].upper())
    if scale is None:
        raise ValueError(expected)
    return float(match[1]) * scale
