"""Options that several commands share, and the store they name; it reads nothing of the store."""

from pathlib import Path
from typing import Final

import click

from smtpproxy.config.paths import default_store
from smtpproxy.errors import StoreError

STORE_NONE: Final = "none"
"""`run --store none` records nothing, so there is nothing to read."""


def _store_path(context: click.Context, parameter: click.Parameter, value: str | None) -> Path:
    if value == STORE_NONE:
        raise StoreError("with --store none nothing is recorded; name the store to read with --store PATH")
    return Path(value) if value else default_store()


store_option = click.option(
    "--store",
    metavar="PATH",
    envvar="SMTPPROXY_STORE",
    callback=_store_path,
    help=f"The store to use.  [default: {default_store()}]",
)
"""`--store PATH`, or SMTPPROXY_STORE; the command gets a `store: Path`."""
