"""`smtpproxy replay`: recorded sessions rerun against a server; what it came to, for people or programs."""

import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from smtpproxy.cli.options import find_store, store_option
from smtpproxy.errors import ConfigError, ReplayError
from smtpproxy.recording.overrides import LEVELS

if TYPE_CHECKING:
    from smtpproxy.config.readers import Reader
    from smtpproxy.replay.clearance import Clearance
    from smtpproxy.replay.plan import Plan
    from smtpproxy.replay.script import Script

EXIT_INCOMPLETE: Final = 2
_SPEED: Final = re.compile(r"([0-9]{1,4}(?:\.[0-9]{1,3})?)x\Z")

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _speed(context: click.Context, parameter: click.Parameter, value: str) -> float:
    """How fast the recorded pauses pass; 0 for none at all."""
    if value in ("none", "recorded"):
        return 0.0 if value == "none" else 1.0
    match = _SPEED.match(value)
    if match is None or float(match[1]) == 0:
        raise click.BadParameter(f"{value!r} is neither none nor recorded, nor a factor such as 2x")
    return float(match[1])


def _how_options(command: _Command) -> _Command:
    """What is compared, who gets mail, at what pace."""
    options = (
        click.option("--level", type=click.Choice(LEVELS), help="What counts in a reply.  [default: code]"),
        click.option("--strict-ehlo", is_flag=True, help="A keyword that was added to EHLO differs too."),
        click.option(
            "--allow-rcpt",
            multiple=True,
            metavar="GLOB",
            help="Off this machine: who may get mail; repeatable.",
        ),
        click.option("--rcpt-to", metavar="ADDRESS", help="Everything goes to this address instead."),
        click.option(
            "--credentials", metavar="FILE", help="User names, passwords and tokens for AUTH (mode 0600)."
        ),
        click.option(
            "--retry-4xx",
            type=click.IntRange(min=0, max=100),
            default=0,
            metavar="N",
            help="Try a transaction that was put off again.  [default: 0]",
        ),
        click.option(
            "--retry-after",
            type=click.FloatRange(min=0, max=3600),
            default=1.0,
            metavar="SECONDS",
            help="Wait before the first retry; doubled each time.  [default: 1]",
        ),
        click.option(
            "--speed",
            callback=_speed,
            default="none",
            metavar="none|recorded|2x",
            help="Keep the client's recorded pauses.  [default: none]",
        ),
        click.option(
            "--timeout",
            type=click.FloatRange(min=0, max=86400, min_open=True),
            metavar="SECONDS",
            help="For each reply.  [default: 300, after a message 600]",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.command("replay")
@click.argument("names", nargs=-1, required=True, metavar="FILE|DIR|SESSION|latest ...")
@click.option(
    "--to",
    required=True,
    metavar="URL",
    help="The server: smtp://, smtp+starttls://, smtps://, lmtp:// or unix:/path.",
)
@click.option(
    "--upstream-ca",
    envvar="SMTPPROXY_UPSTREAM_CA",
    metavar="FILE",
    help="Trust the certificates in this PEM file.",
)
@click.option("--upstream-insecure", is_flag=True, help="Do not check the server's certificate.")
@click.option(
    "--connect-to",
    envvar="SMTPPROXY_CONNECT_TO",
    metavar="HOST:PORT",
    help="Dial this instead; TLS checks the URL's name.",
)
@_how_options
@click.option(
    "--repeat", type=click.IntRange(1, 1_000_000), default=1, metavar="N", help="Each session N times."
)
@click.option(
    "--concurrency", type=click.IntRange(1, 10_000), default=1, metavar="N", help="N sessions at a time."
)
@click.option("--dry-run", is_flag=True, help="Show what would be sent, and connect to nothing.")
@click.option(
    "--json", "is_json", is_flag=True, help="A line of JSON for each session, and one with the numbers."
)
@click.option("--junit", metavar="FILE", help="Write a JUnit report.")
@click.option("-q", "--quiet", is_flag=True, help="Show only what differs.")
@store_option
def replay(names: tuple[str, ...], store: str | None, **given: Any) -> int:
    """Rerun recorded sessions against a server, and compare what it says.

    FILE is a recording (*.smtp.jsonl), DIR a folder of them; SESSION is in the store. Exits 0 where all is
    as recorded, 1 where something differs, 2 where something could not be run.
    """
    from smtpproxy.replay.clearance import Clearance
    from smtpproxy.service.sources import read_scripts

    plan, connect_to = _plan(given)

    def scripts() -> Iterator["Script"]:
        return read_scripts(names, leg="server", store=lambda: find_store(store))

    if given["dry_run"]:
        return _show_plan(scripts(), plan)
    clearance = Clearance(plan)
    for script in scripts():
        clearance.look_at(script)
    clearance.require_playable()
    clearance.require_allowed()
    _ask_for_secrets(clearance, plan)
    clearance.require_logins()

    import trio

    from smtpproxy.cli.rerun_report import RerunReport
    from smtpproxy.service.replaying import Run, replay_scripts
    from smtpproxy.tls.contexts import make_server_leg_context

    ca_file = None if given["upstream_ca"] is None else Path(given["upstream_ca"])
    run = Run(
        context=make_server_leg_context(ca_file=ca_file, is_insecure=given["upstream_insecure"]),
        is_verified=not given["upstream_insecure"],
        connect_to=connect_to,
        repeat=given["repeat"],
        concurrency=given["concurrency"],
    )
    with RerunReport(
        total=clearance.sessions * run.repeat,
        is_json=given["is_json"],
        is_quiet=given["quiet"],
        junit=given["junit"],
    ) as report:
        summary, is_cut = trio.run(lambda: replay_scripts(scripts(), plan, run, on_result=report.add))
        report.finish(summary)
    if is_cut:
        raise ReplayError(
            f"interrupted: {summary.sessions} of {report.total} sessions were played to their end"
        )
    return summary.exit_code


def _plan(given: dict[str, Any]) -> tuple["Plan", tuple[str, int] | None]:
    """What the flags ask for; the second is where to dial instead of the target's own address."""
    from smtpproxy.config.credentials import load_credentials
    from smtpproxy.config.readers import read_host_and_port
    from smtpproxy.endpoints import Endpoint, parse_endpoint
    from smtpproxy.replay.envelope import Envelope, read_rcpt_to
    from smtpproxy.replay.plan import Plan

    target = parse_endpoint(given["to"], is_listen=False)
    if not target.host and not target.path:
        raise ConfigError(
            f"--to {given['to']!r}: nothing listens there; name a server, such as smtp://127.0.0.1:1025"
        )
    connect_to: tuple[str, int] | None = _read("--connect-to", given["connect_to"], read_host_and_port)
    dialled = target
    if connect_to is not None:
        dialled = Endpoint(scheme=target.scheme, host=connect_to[0], port=connect_to[1])
    credentials = None if given["credentials"] is None else Path(given["credentials"])
    plan = Plan(
        target=target,
        dialled="" if connect_to is None else f"--connect-to {dialled.hostport}",
        is_loopback=dialled.is_loopback,
        credentials=load_credentials(credentials, os.environ),
        envelope=Envelope(
            allowed=given["allow_rcpt"],
            rcpt_to="" if given["rcpt_to"] is None else read_rcpt_to(given["rcpt_to"]),
        ),
        level=given["level"],
        strict_ehlo=given["strict_ehlo"],
        retry_4xx=given["retry_4xx"],
        retry_after_s=given["retry_after"],
        speed=given["speed"],
        timeout_s=given["timeout"] or 0.0,
    )
    return plan, connect_to


def _read(flag: str, value: str | None, reader: "Reader") -> Any:
    try:
        return None if value is None else reader(value, Path.cwd())
    except ValueError as error:
        raise ConfigError(f"{flag} {error}, not {value!r}") from None


def _show_plan(scripts: Iterator["Script"], plan: "Plan") -> int:
    from smtpproxy.replay.clearance import Clearance
    from smtpproxy.replay.preview import preview

    clearance = Clearance(plan)
    is_hindered = False
    for script in scripts:
        clearance.look_at(script)
        for line, is_fault in preview(script, plan):
            is_hindered = is_hindered or is_fault
            click.echo(line)
    try:
        clearance.require_allowed()
    except ReplayError as error:
        is_hindered = True
        click.echo(f"! {error}")
    sessions = "1 session" if clearance.sessions == 1 else f"{clearance.sessions} sessions"
    click.echo(f"{sessions}, {clearance.steps} steps; nothing was connected")
    return EXIT_INCOMPLETE if is_hindered else 0


def _ask_for_secrets(clearance: "Clearance", plan: "Plan") -> None:
    """On a terminal, what is missing can be typed."""
    missing = clearance.missing_logins()
    if not missing or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return
    import getpass

    for _, login in missing:
        username = login.identity or click.prompt("User name", err=True)
        prompt = f"{login.kind.capitalize()} of {username} (AUTH {login.mechanism}): "
        plan.credentials.add(login, getpass.getpass(prompt, stream=sys.stderr), username=username)
