"""`smtpproxy mock`: plays recorded sessions to an app, as the provider that they were recorded from."""

import os
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from smtpproxy.cli.options import certs_option, find_certs, find_store, store_option

if TYPE_CHECKING:
    from smtpproxy.replay.script import Script
    from smtpproxy.session.events import Leg

DEFAULT_LISTEN: Final = "smtp://127.0.0.1:1025"
EXIT_CUT: Final = 1
"""A second signal cut sessions off."""


@click.command("mock")
@click.argument("recordings", metavar="FILE|DIR|SESSION|latest ...", nargs=-1, required=True)
@click.option(
    "--listen",
    "listens",
    multiple=True,
    metavar="URL",
    help=f"Where the app connects: smtp://, smtps://, lmtp:// or unix:/path.  [default: {DEFAULT_LISTEN}]",
)
@certs_option
@click.option(
    "--leg",
    type=click.Choice(["client", "server"]),
    default="client",
    show_default=True,
    help="Play what the app was told, or what the server said: that for a mock behind a proxy.",
)
@click.option("--once", is_flag=True, help="End by itself when every session has been played.")
@click.option(
    "--speed",
    type=click.Choice(["none", "recorded"]),
    default="none",
    show_default=True,
    help="Reply at once, or after the recorded time.",
)
@click.option(
    "--match",
    "matches",
    multiple=True,
    metavar="KEY=VALUE",
    help="What must match: ehlo, addresses, parameters, content, ignore_headers; repeatable.",
)
@click.option("--check-credentials", is_flag=True, help="The app must log in with the credentials given.")
@click.option("--credentials", metavar="FILE", help="User names, passwords and tokens for AUTH (mode 0600).")
@click.option("--json", "is_json", is_flag=True, help="Lines of JSON: events, then results and the numbers.")
@click.option("--junit", metavar="FILE", help="Write a JUnit report.")
@click.option("-q", "--quiet", is_flag=True, help="Show no conversation, only the report.")
@store_option
def mock(
    recordings: tuple[str, ...],
    listens: tuple[str, ...],
    certs: str | None,
    leg: "Leg",
    once: bool,
    speed: str,
    matches: tuple[str, ...],
    check_credentials: bool,
    credentials: str | None,
    is_json: bool,
    junit: str | None,
    quiet: bool,
    store: str | None,
) -> int:
    """Be the provider that was recorded: what it said is said again, what the app says must match.

    FILE is a recording (*.smtp.jsonl), DIR a folder of them; SESSION is in the store. Sessions are given out
    in the order in which the app connects, until SIGTERM or Ctrl-C. Exits 0 where all of them were played and
    everything matched, 1 otherwise, 2 where the mock could not run.
    """
    import trio

    from smtpproxy.cli.console import Console
    from smtpproxy.cli.rerun_report import RerunReport
    from smtpproxy.config.credentials import load_credentials
    from smtpproxy.endpoints import parse_endpoint
    from smtpproxy.replay.matching import parse_match
    from smtpproxy.replay.mock import Mock
    from smtpproxy.replay.tally import Tally
    from smtpproxy.service.mocking import mock_config, run_mock
    from smtpproxy.service.sources import Scripts

    endpoints = [parse_endpoint(text, is_listen=True) for text in listens or (DEFAULT_LISTEN,)]
    match = parse_match(matches) if matches else None
    scripts = Scripts(recordings, leg=leg, store=partial(find_store, store))
    played = Mock(
        scripts,
        match=match,
        credentials=load_credentials(None if credentials is None else Path(credentials), os.environ),
        checks_credentials=check_credentials,
        paces=speed == "recorded",
    )
    config = mock_config(endpoints, certs=find_certs(certs), is_json=is_json, is_quiet=quiet)
    console = Console(config, mock=f"the mock ({_described(recordings, scripts)})")
    began = time.monotonic()
    # What passes is shown while it runs, so that there is no place for a bar: no total is told.
    with RerunReport(total=0, name="smtpproxy mock", is_json=is_json, is_quiet=False, junit=junit) as report:
        is_well_ended = trio.run(
            lambda: run_mock(
                config,
                played,
                is_once=once,
                ready=console.on_ready,
                watchers=console.watchers,
                report=console.report,
            )
        )
        tally = Tally()
        for result in played.results():
            tally.add(result)
            report.add(result)
        summary = tally.summary(duration_s=time.monotonic() - began)
        report.finish(summary)
    return summary.exit_code or (0 if is_well_ended else EXIT_CUT)


def _described(names: "Sequence[str]", scripts: "Sequence[Script]") -> str:
    """How many sessions, and from where."""
    count = "1 session" if len(scripts) == 1 else f"{len(scripts)} sessions"
    return f"{count} from {names[0]}" if len(names) == 1 else f"{count} from {len(names)} places"
