"""`smtpproxy export`: sessions from the store into a recording file; the store is only read."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from smtpproxy.cli.filtering import matching_sessions, read_filter
from smtpproxy.cli.options import find_store, store_option
from smtpproxy.cli.recorded import say
from smtpproxy.errors import NotFoundError, RecordingError
from smtpproxy.recording.files import SUFFIX, save_recording
from smtpproxy.store.reader import LogReader

STDOUT: Final = "-"


@click.command()
@click.argument("names", nargs=-1, metavar="SESSION|latest ...")
@store_option
@click.option("--all", "is_all", is_flag=True, help="Every session in the store, oldest first.")
@click.option(
    "--filter",
    "wanted",
    metavar="FILTER",
    help="The sessions that `smtpproxy sessions FILTER` lists, oldest first.",
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help=f"Where to; - is standard output.  [default: SESSION{SUFFIX}, or sessions{SUFFIX} of several]",
)
def export(
    names: tuple[str, ...], store: str | None, is_all: bool, wanted: str | None, output: str | None
) -> None:
    """Write sessions to a recording file.

    A file that was named with -o is replaced. A session that is still open is written as far as it has come.
    """
    if (bool(names), is_all, wanted is not None).count(True) != 1:
        raise click.UsageError(
            "name the sessions to export (`latest` is one), choose them with --filter, or take --all"
        )
    chosen = None if wanted is None else read_filter([wanted])
    path = find_store(store)
    with LogReader(path) as reader:
        if chosen is not None:
            sessions = [found.session for found in matching_sessions(reader, chosen, has_probes=False)][::-1]
        elif is_all:
            sessions = reader.session_ids()
        else:
            sessions = list(dict.fromkeys(map(reader.resolve, names)))
        if not sessions:
            which = "no session" if chosen is None else "no session that matches"
            raise NotFoundError(f"there is {which} in {path} to export")
        every = (reader.lines(session) for session in sessions)
        if output == STDOUT:
            _write_stdout(every)
            return
        target = Path(output) if output else _default_path(sessions)
        save_recording(target, every)
    say(f"{len(sessions)} session{'' if len(sessions) == 1 else 's'} written to {target}")


def _write_stdout(sessions: Iterator[Iterator[bytes]]) -> None:
    for lines in sessions:
        for line in lines:
            sys.stdout.buffer.write(line + b"\n")


def _default_path(sessions: list[str]) -> Path:
    path = Path((sessions[0] if len(sessions) == 1 else "sessions") + SUFFIX)
    if path.exists():
        raise RecordingError(str(path), 0, f"is there already; replace it with -o {path}, or name another")
    return path
