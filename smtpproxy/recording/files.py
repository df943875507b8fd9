"""Recording files: lines of events written so that they appear whole or not at all, and read with suspicion.

The one module of the recording that touches a disk. It knows how sessions follow each other in a file, not
what they mean.
"""

import os
import secrets
import stat
from array import array
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from smtpproxy.errors import RecordingError, TooNewError
from smtpproxy.recording.codec import (
    MAX_LINE_BYTES,
    AnyLine,
    LineError,
    NewerFormatError,
    UnknownEvent,
    check_unread,
    decode,
)
from smtpproxy.session.events import AnyEvent, SessionStarted

SUFFIX: Final = ".smtp.jsonl"
"""How a recording's name ends."""
MAX_SESSIONS: Final = 1_000_000
"""Sessions that one file may open: each of them is remembered while it is read."""
_MODE: Final = 0o600
_BUFFER_BYTES: Final = 64 * 1024


class RecordedLine(msgspec.Struct, frozen=True, kw_only=True):
    """One event of a recording.

    Attributes:
        event: its value.
        line: as it stands in the file, without its line end.
        number: the line's, from 1.
        offset: where it begins in the file, in octets.
    """

    event: AnyLine
    line: bytes
    number: int
    offset: int


class FiledSession:
    """One session of a recording that was found to be whole; its lines are read anew each time.

    Attributes:
        path: the file.
        session: the session's id.
        number: of the line that opens it, from 1.
    """

    __slots__ = ("_runs", "number", "path", "session")

    def __init__(self, path: Path, session: str, number: int) -> None:
        self.path = path
        self.session = session
        self.number = number
        # Where its lines stand: (begin, end) of stretches in which no other session has a line.
        self._runs = array("Q")

    def add(self, recorded: RecordedLine) -> None:
        """Its next line."""
        end = recorded.offset + len(recorded.line)
        runs = self._runs
        # What separates two lines is a line end, CR LF at most; a blank line merely begins another stretch.
        if runs and 0 < recorded.offset - runs[-1] <= 2:
            runs[-1] = end
        else:
            runs.extend((recorded.offset, end))

    def lines(self) -> Iterator[bytes]:
        """Its lines in order, without line ends.

        Raises:
            RecordingError: the file cannot be read any more.
        """
        runs = self._runs
        try:
            with self.path.open("rb", buffering=_BUFFER_BYTES) as file:
                for at in range(0, len(runs), 2):
                    file.seek(runs[at])
                    left = runs[at + 1] - runs[at]
                    while left > 0:
                        line = file.readline(min(left, MAX_LINE_BYTES + 2))
                        if not line:
                            raise RecordingError(str(self.path), 0, "has become shorter while it was read")
                        left -= len(line)
                        yield line.rstrip(b"\r\n")
        except OSError as error:
            raise RecordingError(str(self.path), 0, f"cannot be read: {error.strerror or error}") from None

    def events(self) -> Iterator[AnyEvent]:
        """Its events in order, those of kinds that this version does not know left out.

        Raises:
            RecordingError: the file cannot be read any more, or has changed.
        """
        for line in self.lines():
            try:
                event = decode(line)
            except LineError as error:
                raise RecordingError(str(self.path), 0, f"has changed while it was read: {error}") from None
            if not isinstance(event, UnknownEvent):
                yield event


def index_recording(path: Path) -> list[FiledSession]:
    """The sessions of a recording in the order they were opened; every line has been looked at.

    Raises:
        TooNewError, RecordingError: as for `load_recording`, which salvages nothing here; or it is no file.
    """
    _require_rereadable(path)
    sessions: dict[str, FiledSession] = {}
    for recorded in load_recording(path):
        name = recorded.event.session
        if name not in sessions:
            sessions[name] = FiledSession(path, name, recorded.number)
        sessions[name].add(recorded)
    return list(sessions.values())


def _require_rereadable(path: Path) -> None:
    """A pipe gives its lines only once, and opening one may wait for ever."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return  # told when it is opened
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "a device or a pipe"
        problem = f"cannot be read: it is {what}, and a recording that is rerun must be a file"
        raise RecordingError(str(path), 0, problem)


def save_recording(path: Path, sessions: Iterable[Iterable[bytes]]) -> int:
    """Write a recording: whole, or not at all.

    It is made under a name of its own in the same folder, readable by its owner alone, and takes the place of
    an older recording only when it is complete and on the disk.

    Args:
        path: a regular file, or none yet. A link, a device or a folder is not replaced.
        sessions: each an iterable of its events' lines in order, without line ends.

    Returns:
        The number of sessions written.

    Raises:
        RecordingError: it cannot be written, or there is no session. Nothing is left behind then, nor if the
            iterables raise.
    """
    temporary = path.with_name(f".{path.name[:200]}.{secrets.token_hex(8)}.tmp")
    # O_EXCL and O_NOFOLLOW: whoever else may write to the folder cannot choose where this goes.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        _require_replaceable(path)
        with os.fdopen(os.open(temporary, flags, _MODE), "wb", buffering=_BUFFER_BYTES) as file:
            try:
                count = _write(file, sessions)
                _require_sessions(count, path)
                os.fsync(file.fileno())
                temporary.replace(path)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
    except OSError as error:
        raise RecordingError(str(path), 0, f"cannot be written: {error.strerror or error}") from None
    return count


def _write(file: BinaryIO, sessions: Iterable[Iterable[bytes]]) -> int:
    count = 0
    for lines in sessions:
        file.writelines(line + b"\n" for line in lines)
        count += 1
    file.flush()
    return count


def _require_sessions(count: int, path: Path) -> None:
    if not count:
        raise RecordingError(str(path), 0, "there is no session to write")


def _require_replaceable(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        what = "a link" if stat.S_ISLNK(mode) else "a folder" if stat.S_ISDIR(mode) else "a device or a pipe"
        raise RecordingError(str(path), 0, f"cannot be written: it is {what}, not a file")


def load_recording(
    path: Path, *, salvage: bool = False, warn: Callable[[RecordingError], None] | None = None
) -> Iterator[RecordedLine]:
    """Read a recording line by line; the file is never in memory as a whole, and closed with the iterator.

    Sessions may follow each other or interleave: each has its own order. Blank lines are passed over, a `seq`
    in front is ignored.

    Args:
        path: what to read.
        salvage: take the lines that are whole and in order, and leave out the others.
        warn: told of each line that is left out.

    Raises:
        TooNewError: a later smtpproxy wrote it.
        RecordingError: it cannot be read, or holds nothing that can; unless `salvage`, also the first line
            that is broken, over-long or out of order.
    """
    try:
        with path.open("rb", buffering=_BUFFER_BYTES) as file:
            order = _Order(str(path))
            for number, offset, line, is_whole in _lines_of(file):
                try:
                    event = order.accept(number, line, is_whole)
                    yield RecordedLine(event=event, line=line, number=number, offset=offset)
                except TooNewError:
                    raise
                except RecordingError as error:
                    if not salvage:
                        raise
                    if warn is not None:
                        warn(error)
    except OSError as error:
        raise RecordingError(str(path), 0, f"cannot be read: {error.strerror or error}") from None
    if not order.next_n:
        raise RecordingError(str(path), 0, "there is no recorded session in it")


def _lines_of(file: BinaryIO) -> Iterator[tuple[int, int, bytes, bool]]:
    """The lines that are not blank: number, offset, the line without its end, and whether it has one.

    Of an over-long line one octet more than is allowed is given, and the rest is passed over when the next
    one is asked for: it costs no memory, and no time where the reader stops there.
    """
    number = offset = 0
    while line := file.readline(MAX_LINE_BYTES + 2):
        number += 1
        begin, offset = offset, offset + len(line)
        stripped = line.rstrip(b"\r\n")
        is_over_long = len(stripped) > MAX_LINE_BYTES
        if stripped and not stripped.isspace():
            yield number, begin, stripped[: MAX_LINE_BYTES + 1], is_over_long or line.endswith(b"\n")
        while is_over_long and line and not line.endswith(b"\n"):
            line = file.readline(_BUFFER_BYTES)
            offset += len(line)


class _Order:
    """Which event of which session may come next.

    Attributes:
        next_n: of each session that was opened, the least number that its next event may have.
    """

    def __init__(self, file: str) -> None:
        self._file = file
        self.next_n: dict[str, int] = {}

    def accept(self, number: int, line: bytes, is_whole: bool) -> AnyLine:
        """The event of a line, if it may stand there.

        Raises:
            TooNewError: its session is in a later format.
            RecordingError: it is broken or out of order.
        """
        try:
            event = decode(line)
            check_unread(line)
        except NewerFormatError as error:
            raise TooNewError(self._file, number, str(error)) from None
        except LineError as error:
            problem = str(error) if is_whole else "the last line is cut off"
            raise RecordingError(self._file, number, problem) from None
        problem = self._problem(event)
        if problem:
            raise RecordingError(self._file, number, problem)
        self.next_n[event.session] = event.n + 1
        return event

    def _problem(self, event: AnyLine) -> str:
        least = self.next_n.get(event.session)
        if isinstance(event, SessionStarted):
            if least is not None:
                return f"session {event.session} is opened a second time"
            if event.n != 0:
                return f"session {event.session} is opened by event {event.n}, not by event 0"
            if len(self.next_n) >= MAX_SESSIONS:
                return f"there are more than {MAX_SESSIONS} sessions in it"
            return ""
        if least is None:
            return f"an event of session {event.session} stands before the line that opens it"
        if event.n < least:
            return f"event {event.n} of session {event.session} comes after event {least - 1}"
        return ""
