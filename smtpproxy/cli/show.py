"""`smtpproxy show`: a recorded session as a transcript, as its events, as messages; it changes nothing."""

import sys
from collections.abc import Iterator
from typing import Final

import click

from smtpproxy.cli.colour import has_colours, paint_line
from smtpproxy.cli.harmless import harmless_json
from smtpproxy.cli.options import store_option
from smtpproxy.cli.recorded import RecordedSession, open_sessions, warn
from smtpproxy.errors import NotFoundError, RecordingError
from smtpproxy.inspect.messages import RecordedMessage, list_messages, message_octets
from smtpproxy.inspect.transcript import Transcript
from smtpproxy.wire.escape import escape

ALL_LINES: Final = "all"
DEFAULT_LINES: Final = "200"


def _line_count(context: click.Context, parameter: click.Parameter, value: str) -> int | None:
    """A number of lines; None for `all`."""
    if value == ALL_LINES:
        return None
    if not value.isascii() or not value.isdigit():
        raise click.BadParameter(f"{value!r} is neither a number of lines nor {ALL_LINES}")
    return int(value)


@click.command()
@click.argument("what", metavar="SESSION|latest|FILE")
@store_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "eml"]),
    default="text",
    help="A transcript, the recorded event lines, or a message as it was meant.  [default: text]",
)
@click.option("--message", type=click.IntRange(min=1), metavar="N", help="With eml: which message, from 1.")
@click.option(
    "--content",
    "content_lines",
    callback=_line_count,
    default=DEFAULT_LINES,
    metavar=f"LINES|{ALL_LINES}",
    help=f"With text: lines shown of each message.  [default: {DEFAULT_LINES}]",
)
@click.option("--times", "has_times", is_flag=True, help="With text: seconds since the session began.")
def show(
    what: str, store: str | None, form: str, message: int | None, content_lines: int | None, has_times: bool
) -> None:
    """Show a session: as a transcript, as its events, or its messages.

    SESSION is an id or the beginning of one; FILE has a dot or a slash in its name, such as ./NAME.
    """
    if message is not None and form != "eml":
        raise click.UsageError("--message goes with --format eml")
    with open_sessions(what, store) as found:
        if form == "json":
            _show_json(found)
        elif form == "eml":
            _show_message(found, message)
        else:
            _show_text(found, Transcript(content_lines=content_lines, has_times=has_times))


def _show_text(found: list[RecordedSession], transcript: Transcript) -> None:
    is_coloured = has_colours(is_terminal=sys.stdout.isatty())
    for number, session in enumerate(found):
        if number:
            sys.stdout.write("\n")
        for event in session.events():
            for line in transcript.render(event):
                sys.stdout.write((paint_line(line) if is_coloured else line.text) + "\n")


def _show_json(found: list[RecordedSession]) -> None:
    is_terminal = sys.stdout.isatty()
    for session in found:
        for line in session.lines():
            # To a program go the recorded octets; a terminal gets the same JSON in harmless characters.
            data = harmless_json(line.decode()).encode() if is_terminal else line
            sys.stdout.buffer.write(data + b"\n")


def _show_message(found: list[RecordedSession], number: int | None) -> None:
    session, message = _choose(found, number)
    name = f"message {message.row.message} of session {session.session}"
    if not message.is_kept:
        raise RecordingError(name, 0, "not all of it was recorded (bodies not kept, or a gap)")
    if not message.is_complete:
        warn(f"{name} is cut short: the client did not finish it")
    pieces = message_octets(session.events(), message.row.message)
    if sys.stdout.isatty():
        _show_escaped(pieces)
        return
    for piece in pieces:
        sys.stdout.buffer.write(piece)


def _show_escaped(pieces: Iterator[bytes]) -> None:
    for piece in pieces:
        for line in piece.decode("utf-8", "backslashreplace").splitlines(keepends=True):
            shown = line.rstrip("\r\n")
            sys.stdout.write(escape(shown) + ("\n" if line.endswith("\n") else ""))


def _choose(found: list[RecordedSession], number: int | None) -> tuple[RecordedSession, RecordedMessage]:
    """The message asked for; those of a file's sessions are counted through, in the file's order."""
    messages = [(session, message) for session in found for message in list_messages(session.events())]
    if not messages:
        raise NotFoundError(f"no message was sent in {', '.join(session.session for session in found)}")
    if number is None:
        if len(messages) > 1:
            raise NotFoundError(f"there are {len(messages)} messages; choose one with --message N")
        number = 1
    if number > len(messages):
        raise NotFoundError(f"there is no message {number}; the last one is {len(messages)}")
    return messages[number - 1]
