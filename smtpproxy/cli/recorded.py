"""Recorded sessions for the commands that read: out of the store or out of a file, the same either way.

It shows nothing; what could not be read of a file is said on standard error.
"""

import re
import sys
import tempfile
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from smtpproxy.cli.options import find_store
from smtpproxy.errors import SmtpProxyError
from smtpproxy.recording.codec import AnyLine, UnknownEvent, decode
from smtpproxy.recording.files import load_recording
from smtpproxy.session.events import AnyEvent
from smtpproxy.store.reader import LogReader
from smtpproxy.wire.escape import escape

SPOOL_BYTES: Final = 64 * 1024 * 1024
"""How much of a file is kept in memory while its sessions are read; the rest goes to a nameless file."""

# `run --json > FILE` and /live put the position in the log in front; in a file it means nothing.
_SEQ: Final = re.compile(rb'\{"seq":\d+,')


class RecordedSession:
    """One session's lines, read anew each time they are asked for, so that none is held whole."""

    def __init__(self, session: str, lines: Callable[[], Iterator[bytes]]) -> None:
        """A session.

        Args:
            session: its id.
            lines: gives its lines from the first, without line ends.
        """
        self.session = session
        self.lines = lines

    def recorded(self) -> Iterator[tuple[bytes, AnyLine]]:
        """Its lines, each with its event."""
        return ((line, decode(line)) for line in self.lines())

    def events(self) -> Iterator[AnyEvent]:
        """Its events, those of kinds that this version does not know left out."""
        return (event for _, event in self.recorded() if not isinstance(event, UnknownEvent))


@contextmanager
def open_sessions(name: str, store: str | None) -> Iterator[list[RecordedSession]]:
    """What a user means by SESSION, `latest` or FILE; to be read inside the `with`.

    Raises:
        NotFoundError: there is no such session; says which there are.
        StoreError: the store cannot be read.
        RecordingError: the file cannot be read, or no line of it can.
    """
    # Session ids have neither dots nor slashes, file names nearly always do.
    if "." in name or "/" in name:
        with open_file(Path(name)) as sessions:
            yield sessions
        return
    with LogReader(find_store(store)) as reader:
        session = reader.resolve(name)
        yield [RecordedSession(session, lambda: reader.lines(session))]


@contextmanager
def open_file(path: Path) -> Iterator[list[RecordedSession]]:
    """The sessions of a recording file in the order they were opened, interleaved or not.

    The file is read once, and what is broken in it is told once; then each session can be read by itself.

    Raises:
        TooNewError: a later smtpproxy wrote it.
        RecordingError: it cannot be read, or no line of it can.
    """
    places: dict[str, array[int]] = {}
    with tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES) as spool:
        at = 0
        for recorded in load_recording(path, salvage=True, warn=warn):
            line = _SEQ.sub(b"{", recorded.line, count=1)
            spool.write(line)
            places.setdefault(recorded.event.session, array("Q")).extend((at, len(line)))
            at += len(line)

        def lines(place: "array[int]") -> Iterator[bytes]:
            for number in range(0, len(place), 2):
                spool.seek(place[number])
                yield spool.read(place[number + 1])

        yield [RecordedSession(session, partial(lines, place)) for session, place in places.items()]


def warn(problem: SmtpProxyError | str) -> None:
    """Something that does not stop the command, on standard error."""
    say(f"warning: {problem}")


def say(text: str) -> None:
    """One line for the user, on standard error."""
    print(f"smtpproxy: {escape(text)}", file=sys.stderr)
