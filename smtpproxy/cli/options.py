"""Options that several commands share, and which store they mean; it opens no store."""

import os
from pathlib import Path
from typing import Any, Final

import click

from smtpproxy.config.paths import CONFIG_NAME, default_store
from smtpproxy.config.readers import read_store
from smtpproxy.errors import ConfigError, StoreError

CONFIG_VARIABLE: Final = "SMTPPROXY_CONFIG"


store_option = click.option(
    "--store",
    metavar="PATH",
    envvar="SMTPPROXY_STORE",
    help=f"The store to use.  [default: {default_store()}]",
)
"""`--store PATH`, or SMTPPROXY_STORE; the command gets a `store: str | None` for `find_store`."""


def find_store(value: str | None) -> Path:
    """The flag, the variable, the `store` key of smtpproxy.toml, or the default: as for `run`.

    Raises:
        StoreError: it is `none`, in which nothing is recorded.
        ConfigError: smtpproxy.toml cannot be read.
    """
    store = read_store(value, Path.cwd()) if value else _store_of_file()
    if store is None:
        raise StoreError("the store is `none`: nothing is recorded there; name one with --store PATH")
    return store


def _store_of_file() -> Path | None:
    # config.load reads the same file for `run`, whole; what only reads must not import what that needs.
    path = Path(os.environ.get(CONFIG_VARIABLE) or CONFIG_NAME)
    if not path.is_file():
        return default_store()
    import tomllib

    try:
        value: Any = tomllib.loads(path.read_bytes().decode()).get("store")
        return default_store() if value is None else read_store(value, path.absolute().parent)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"the store cannot be looked up in {path}: {error}; --store PATH names it"
        ) from None
