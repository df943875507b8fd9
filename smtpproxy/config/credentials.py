"""Credentials for replay and mock, from the environment and from a file; they are never shown again.

The file is TOML, or lines of `key = value`: `username`, `password` and `token` for every account, and under
`[accounts."IDENTITY"]` the same for one recorded account alone.
"""

import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from smtpproxy.errors import ConfigError
from smtpproxy.replay.credentials import CredentialBook, Credentials

PREFIX: Final = "SMTPPROXY_"
"""Of the variables: SMTPPROXY_USERNAME, SMTPPROXY_PASSWORD, SMTPPROXY_TOKEN."""
MAX_FILE_BYTES: Final = 1024 * 1024
_KEYS: Final = ("username", "password", "token")
_ACCOUNTS: Final = "accounts"


def load_credentials(path: Path | None, environment: Mapping[str, str]) -> CredentialBook:
    """What the user gave: the file's accounts, and for all others the file's own keys or else the variables.

    Args:
        path: of the file, where one was named.
        environment: the process's.

    Raises:
        ConfigError: the file cannot be read, others can read it too, or it holds what is not known.
    """
    given = {key: environment.get(f"{PREFIX}{key.upper()}", "") for key in _KEYS}
    accounts: dict[str, Credentials] = {}
    if path is not None:
        written = _read(path)
        tables = written.pop(_ACCOUNTS, {})
        if not isinstance(tables, dict):
            raise ConfigError(f"--credentials {path}: {_ACCOUNTS} must be tables, one for each account")
        accounts = {
            name: Credentials(**_fields(path, table, f"account {name}")) for name, table in tables.items()
        }
        given |= {key: value for key, value in _fields(path, written, "the file").items() if value}
    default = Credentials(**given)
    return CredentialBook(default if any(given.values()) else None, accounts=accounts)


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            status = path.stat()
            # As ssh does with a key: what others can read is no secret.
            if stat.S_ISREG(status.st_mode) and status.st_mode & 0o077:
                raise ConfigError(f"--credentials {path} can be read by others: chmod 600 {path}")
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"--credentials {path} cannot be read: {error.strerror}") from None
    if len(data) > MAX_FILE_BYTES:
        raise ConfigError(f"--credentials {path} is larger than {MAX_FILE_BYTES} octets; it is no such file")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise ConfigError(f"--credentials {path} is not UTF-8") from None
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return _read_lines(path, text)


def _read_lines(path: Path, text: str) -> dict[str, Any]:
    """`key = value`, as in a shell's file of variables; no error repeats a line, which may be a secret."""
    found: dict[str, Any] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        key, equals, value = line.partition("=")
        if not equals or key.strip() not in _KEYS:
            raise ConfigError(
                f"--credentials {path}:{number}: write username, password or token, each as key = value"
                f' (TOML, for [{_ACCOUNTS}."NAME"])'
            )
        found[key.strip()] = value.strip().strip("\"'")
    return found


def _fields(path: Path, table: object, where: str) -> dict[str, str]:
    if not isinstance(table, dict) or not table.keys() <= set(_KEYS):
        raise ConfigError(f"--credentials {path}: {where} may have username, password and token, and no more")
    if not all(isinstance(value, str) for value in table.values()):
        raise ConfigError(f"--credentials {path}: {where}: every value must be text, in quotes")
    return {key: str(table.get(key, "")) for key in _KEYS}
