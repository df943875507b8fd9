"""`smtpproxy import`: recording files into the store, session by session; it judges no file."""

from pathlib import Path

import click

from smtpproxy.cli.options import find_store, store_option
from smtpproxy.cli.recorded import open_file
from smtpproxy.store.importing import Imported, import_session


@click.command("import")
@click.argument("files", nargs=-1, required=True, metavar="FILE ...", type=click.Path(path_type=Path))
@store_option
def import_(files: tuple[Path, ...], store: str | None) -> None:
    """Read recording files into the store.

    Whole lines of a damaged file are taken, with a warning for each that is not. A session that is in the
    store already is left alone.
    """
    path = find_store(store)
    for file in files:
        with open_file(file) as sessions:
            for session in sessions:
                click.echo(_told(import_session(path, session.session, session.recorded)))


def _told(result: Imported) -> str:
    if not result.is_new:
        return f"{result.stored_as} is in the store already"
    if result.stored_as != result.session:
        return f"{result.session} imported as {result.stored_as}: the store has another session of that id"
    return f"{result.session} imported"
