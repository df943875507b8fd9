"""The command as a whole: help, versions, mistakes, and readers that go away."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

from smtpproxy import __version__
from smtpproxy.cli.main import COMMANDS, EXIT_BROKEN_PIPE, cli
from tests.cli.conftest import Run, keep
from tests.conversation import Conversation, delivery


def test_help_names_every_command(smtpproxy: Run) -> None:
    ran = smtpproxy("--help")
    assert ran.code == 0
    for name, (_, _, text) in COMMANDS.items():
        assert f"  {name} " in ran.out
        assert text in ran.out


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_can_be_had_and_has_help_of_its_own(name: str, smtpproxy: Run) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert command.name == name
    assert smtpproxy(name, "--help").code == 0


def test_version(smtpproxy: Run) -> None:
    assert smtpproxy("--version") == (0, f"smtpproxy {__version__}\n", "")


@pytest.mark.parametrize("argv", [["nonsense"], ["sessions", "--nonsense"], ["show"], ["export"], ["import"]])
def test_mistakes_exit_2(smtpproxy: Run, argv: list[str]) -> None:
    ran = smtpproxy(*argv)
    assert (ran.code, ran.out) == (2, "")
    assert "Error: " in ran.err


@pytest.mark.parametrize("argv", [["sessions", "--store"], ["ca", "show", "--certs"]])
def test_a_home_folder_that_is_not_there_is_told_in_a_line(smtpproxy: Run, argv: list[str]) -> None:
    ran = smtpproxy(*argv, "~nobody-has-this/x")
    assert ran.code == 2
    assert ran.err == (
        f"smtpproxy: {argv[-1]} must be a path; there is no such home folder, not '~nobody-has-this/x'\n"
    )


@pytest.mark.parametrize(
    "argv", [["sessions", "--store"], ["show", "latest", "--store"], ["ca", "create", "--certs"]]
)
def test_a_path_that_cannot_be_looked_at_is_told_in_a_line(smtpproxy: Run, argv: list[str]) -> None:
    ran = smtpproxy(*argv, "x" * 300)
    assert (ran.code, ran.out, len(ran.err.splitlines())) == (2, "", 1)
    assert "File name too long" in ran.err


def test_control_characters_of_an_argument_do_not_come_back(smtpproxy: Run, tmp_path: Path) -> None:
    ran = smtpproxy("show", "latest", "--store", f"{tmp_path}/\x1b]0;evil\x07")
    assert ran.code == 2
    assert "\x1b" not in ran.err


@pytest.mark.parametrize("command", ["sessions", "show", "export", "import"])
def test_commands_that_read_import_neither_network_nor_event_loop(command: str) -> None:
    script = (
        "import sys\n"
        "from smtpproxy.cli.main import main\n"
        "try: main([sys.argv[1], '--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'trio', 'ssl', 'cryptography', 'smtpproxy.net', 'smtpproxy.service'}\n"
        "print(*sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script, command], capture_output=True, text=True, check=True, timeout=60
    )
    assert ran.stderr.strip() == ""


def test_a_reader_that_goes_away_is_no_error(store: Path) -> None:
    keep(store, *(delivery(f"01K-{n:04}") for n in range(40)))
    read, write = os.pipe()
    os.close(read)
    with subprocess.Popen(
        [sys.executable, "-m", "smtpproxy", "sessions", "--store", str(store), "--json"],
        stdout=write,
        stderr=subprocess.PIPE,
    ) as process:
        os.close(write)
        _, err = process.communicate(timeout=60)
    assert (err, process.returncode) == (b"", EXIT_BROKEN_PIPE)


def test_ctrl_c_is_quiet(store: Path) -> None:
    keep(store, Conversation("01K").client("DATA").content("x" * 200_000).end())
    with subprocess.Popen(
        [sys.executable, "-m", "smtpproxy", "show", "01K", "--store", str(store), "--format", "json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        # It has begun, and cannot end: the pipe does not hold all that it has to say.
        assert process.stdout.read(1) == b"{"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert (err.strip(), process.returncode) == (b"", 130)
