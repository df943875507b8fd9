"""The `smtpproxy` command: finds the subcommand, and turns what goes wrong into one line and an exit code.

Each subcommand's module is imported when it is called: `--help` and the commands that only read import
neither network nor event loop.
"""

import importlib
import io
import os
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

import click

from smtpproxy import __version__
from smtpproxy.errors import SmtpProxyError
from smtpproxy.wire.escape import escape

COMMANDS: Final[dict[str, tuple[str, str, str]]] = {
    "run": ("run", "run", "Run the proxy: relay, record, and show what is said."),
    "watch": ("watch", "watch", "Watch a running proxy: the live transcript, from anywhere."),
    "sessions": ("sessions", "sessions", "List recorded sessions, newest first."),
    "show": ("show", "show", "Show a session: as a transcript, as its events, or its messages."),
    "export": ("export", "export", "Write sessions to a recording file."),
    "import": ("importing", "import_", "Read recording files into the store."),
    "mock": ("mock", "mock", "Be the provider that was recorded, for an app under test."),
    "replay": ("replay", "replay", "Rerun recorded sessions against a server, and compare."),
    "ca": ("ca", "ca", "Create, show or export the certificate authority."),
    "trust": ("trust", "trust", "Tell how each language is made to trust the authority."),
}
"""Name → module of smtpproxy.cli, the command in it, and its line in `--help`."""

EXIT_INTERRUPTED: Final = 130
"""What a shell calls a process that SIGINT ended."""
EXIT_BROKEN_PIPE: Final = 1
"""`smtpproxy sessions | head -1`: what click answers too, where it sees it first."""


class _LazyGroup(click.Group):
    """Knows its subcommands by name, and imports the one that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        found = COMMANDS.get(cmd_name)
        if found is None:
            return None
        module, attribute, _ = found
        command = getattr(importlib.import_module(f"smtpproxy.cli.{module}"), attribute)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        # click would import all commands to suggest a similar name.
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"No such command {args[0]!r}; there are {', '.join(COMMANDS)}.")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in COMMANDS.items()])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="smtpproxy", message="%(prog)s %(version)s")
def cli() -> None:
    """The SMTP traffic recording proxy.

    It stands between an app and its mail provider, and records what both say, byte for byte.
    """


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run a command line and leave by SystemExit: 0, 2 for what the user can put right, 130 for Ctrl-C.

    Args:
        argv: the arguments without the program's name; the process's own by default.
    """
    # A terminal or pipe that cannot show a character gets its escape, never a traceback.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        result = cli.main(
            args=None if argv is None else list(argv), prog_name="smtpproxy", standalone_mode=False
        )
        sys.stdout.flush()
    except SmtpProxyError as error:
        _say(str(error))
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:
        # What is still buffered would raise again when Python flushes it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_BROKEN_PIPE)
    except OSError as error:
        if error.filename is None:
            raise
        # A path that cannot even be looked at: no right to its folder, a name too long.
        _say(f"{os.fsdecode(error.filename)}: {error.strerror}")
        sys.exit(SmtpProxyError.exit_code)
    sys.exit(result if isinstance(result, int) else 0)


def _say(text: str) -> None:
    print(f"smtpproxy: {escape(text)}", file=sys.stderr, flush=True)
