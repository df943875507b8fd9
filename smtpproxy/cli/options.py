"""Options that several commands share, and which store and folder they mean; it opens neither.

`run` has the same settings from config.load; what only reads must not import all that `run` needs.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from smtpproxy.config.paths import CONFIG_NAME, default_certs, default_store
from smtpproxy.config.readers import Reader, read_path, read_store
from smtpproxy.errors import ConfigError, StoreError

CONFIG_VARIABLE: Final = "SMTPPROXY_CONFIG"

_Command = TypeVar("_Command", bound=Callable[..., Any])

store_option = click.option(
    "--store",
    metavar="PATH",
    envvar="SMTPPROXY_STORE",
    help=f"The store to use.  [default: {default_store()}]",
)
"""`--store PATH`, or SMTPPROXY_STORE; the command gets a `store: str | None` for `find_store`."""


def certs_option(command: _Command) -> _Command:
    """`--certs DIR`, or SMTPPROXY_CERTS; the command gets a `certs: str | None` for `find_certs`."""
    return click.option(
        "--certs",
        envvar="SMTPPROXY_CERTS",
        metavar="DIR",
        help="The authority's folder.  [default: in the user's config folder]",
    )(command)


def find_store(value: str | None) -> Path:
    """The flag, the variable, the `store` key of smtpproxy.toml, or the default: as for `run`.

    Raises:
        StoreError: it is `none`, in which nothing is recorded.
        ConfigError: it is no path, or smtpproxy.toml cannot be read.
    """
    store: Path | None = _find("store", value, read_store, default_store)
    if store is None:
        raise StoreError("the store is `none`: nothing is recorded there; name one with --store PATH")
    return store


def find_certs(value: str | None) -> Path:
    """The flag, the variable, the `certs` key of smtpproxy.toml, or the default: as for `run`.

    Raises:
        ConfigError: it is no path, or smtpproxy.toml cannot be read.
    """
    certs: Path = _find("certs", value, read_path, default_certs)
    return certs


def _find(key: str, value: str | None, read: Reader, default: Callable[[], Path]) -> Any:
    if value:
        try:
            return read(value, Path.cwd())
        except ValueError as error:
            raise ConfigError(f"--{key} {error}, not {value!r}") from None
    path = Path(os.environ.get(CONFIG_VARIABLE) or CONFIG_NAME)
    if not path.is_file():
        return default()
    import tomllib  # only where there is a file: it costs 5 ms otherwise

    try:
        written = tomllib.loads(path.read_bytes().decode()).get(key)
        return default() if written is None else read(written, path.absolute().parent)
    except (OSError, ValueError) as error:
        raise ConfigError(f"`{key}` cannot be looked up in {path}: {error}; --{key} names it") from None
