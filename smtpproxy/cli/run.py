"""`smtpproxy run`: reads what was asked for, starts the proxy, and shows what passes."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from smtpproxy.config.settings import SETTINGS, Setting

EXIT_CUT: Final = 1
"""A second signal cut sessions off, or not everything could be recorded."""

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _settings(command: _Command) -> _Command:
    """One flag for each setting; what was not given stays out, so that variables and the file can speak."""
    for setting in reversed(SETTINGS):
        command = click.option(setting.flag, setting.key, help=_help(setting), **_shape(setting))(command)
    return command


def _shape(setting: Setting) -> dict[str, Any]:
    if setting.is_switch:
        return {"is_flag": True}
    # Every value stays text here: one reader serves flags, variables and the file.
    return {"type": str, "metavar": setting.takes, "multiple": setting.is_repeatable}


def _help(setting: Setting) -> str:
    return f"{setting.help}  [default: {setting.default}]" if setting.default else setting.help


@click.command("run")
@click.option("--config", "config_file", metavar="FILE", help="Read this smtpproxy.toml.")
@_settings
def run(config_file: str | None, **given: Any) -> int:
    """Relay and record SMTP between an app and its provider.

    Without --upstream the embedded sandbox is the provider: it accepts everything and delivers nothing.
    Each flag can also be a variable (SMTPPROXY_UPSTREAM_CA) or a key of smtpproxy.toml (upstream_ca).
    """
    # The commands that only read share this package; what run needs is imported when it runs.
    from smtpproxy.config.load import load_config

    flags = {key: value for key, value in given.items() if value not in (None, (), False)}
    config = load_config(flags=flags, environment=os.environ, folder=Path.cwd(), config_file=config_file)

    import trio

    from smtpproxy.cli.console import Console
    from smtpproxy.service.proxy import run_proxy

    console = Console(config)
    is_well_ended = trio.run(
        lambda: run_proxy(config, ready=console.on_ready, watchers=console.watchers, report=console.report)
    )
    return 0 if is_well_ended else EXIT_CUT
