"""`smtpproxy sessions`: one row or one line of JSON for each recorded session; it changes nothing."""

import json
import shutil
import sys
from typing import Any, Final

import click
import msgspec

from smtpproxy.cli.filtering import FilterCommand, matching_sessions, read_filter
from smtpproxy.cli.options import find_store, store_option
from smtpproxy.cli.recorded import say
from smtpproxy.cli.table import render_table
from smtpproxy.inspect.summary import SessionSummary
from smtpproxy.store.reader import LogReader
from smtpproxy.wire.escape import escape

KEYS: Final = (
    "session",
    "started",
    "duration",
    "client",
    "upstream",
    "outcome",
    "mail_from",
    "rcpt_to",
    "last_code",
    "messages",
    "bytes",
    "tls_client",
    "tls_server",
    "findings",
)
"""What a JSON line holds, in this order; scripts depend on it."""

_HEADING: Final = (
    "SESSION",
    "STARTED (UTC)",
    "OUTCOME",
    "FROM",
    "TO",
    "CODE",
    "MSGS",
    "BYTES",
    "TLS",
    "FINDINGS",
)
_SHRINK: Final = (9, 4, 3)


@click.command(cls=FilterCommand)
@click.argument("words", nargs=-1, metavar="[FILTER ...]")
@store_option
@click.option("--json", "is_json", is_flag=True, help="One JSON object a line.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="The newest N only.")
@click.option("--all", "has_probes", is_flag=True, help="With connections on which nobody said a word, too.")
def sessions(
    words: tuple[str, ...], store: str | None, is_json: bool, limit: int | None, has_probes: bool
) -> None:
    """List recorded sessions, newest first: all of them, or those that match FILTER.

    Such as: from:@example.com code:5xx -is:delivered after:2h 'subject:"password reset"'
    """
    wanted = read_filter(words)
    path = find_store(store)
    if not path.exists():
        # The first run makes the store: until then nothing was recorded, which is no mistake.
        say(f"no session: there is no store at {path} yet")
        return
    with LogReader(path) as reader:
        found = matching_sessions(reader, wanted, has_probes=has_probes, limit=limit)
        if is_json:
            for summary in found:
                sys.stdout.write(render_json(summary) + "\n")
            return
        rows = [_HEADING, *(_row(summary) for summary in found)]
    if len(rows) == 1:
        say(f"no session in {path} {'yet' if wanted.is_everything else 'matches'}")
        return
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for line in render_table(rows, width=width, shrink=_SHRINK):
        sys.stdout.write(line + "\n")


def render_json(summary: SessionSummary) -> str:
    """A session's JSON line, without line end; ASCII only, so that no terminal is harmed by it."""
    fields: dict[str, Any] = msgspec.to_builtins(summary)
    return json.dumps({key: fields[key] for key in KEYS}, separators=(",", ":"))


def _row(summary: SessionSummary) -> tuple[str, ...]:
    recipients = summary.rcpt_to
    more = f" +{len(recipients) - 1}" if len(recipients) > 1 else ""
    sender = "-" if summary.mail_from is None else summary.mail_from or "<>"
    cells = (
        summary.session,
        summary.started[:19].replace("T", " "),
        summary.outcome,
        sender,
        f"{recipients[0]}{more}" if recipients else "-",
        "-" if summary.last_code is None else str(summary.last_code),
        str(summary.messages),
        str(summary.bytes),
        f"{summary.tls_client or 'plain'}/{summary.tls_server or 'plain'}",
        ",".join(summary.findings) or "-",
    )
    return tuple(escape(cell) for cell in cells)
