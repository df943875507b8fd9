"""Recorded sessions for replay and mock, as scripts: out of files, folders and the store; it plays none.

A recording is read strictly here: what is broken in it is refused, naming file and line, before all else.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import overload

from smtpproxy.errors import NotFoundError, RecordingError, ReplayError
from smtpproxy.recording.codec import LineError, UnknownEvent, decode
from smtpproxy.recording.files import SUFFIX, FiledSession, index_recording
from smtpproxy.recording.overrides import read_overrides
from smtpproxy.replay.script import Script
from smtpproxy.replay.script_reader import read_script
from smtpproxy.session.events import AnyEvent, Leg
from smtpproxy.store.reader import LogReader


class Scripts(Sequence[Script]):
    """The sessions that a user names, in order; each is read anew whenever it is asked for, and not kept."""

    def __init__(self, names: Sequence[str], *, leg: Leg, store: Callable[[], Path]) -> None:
        """Look for them; arguments and errors are those of `read_scripts`."""
        self._readers = list(_find(names, leg, store))

    def __len__(self) -> int:
        return len(self._readers)

    @overload
    def __getitem__(self, at: int) -> Script: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Script]: ...
    def __getitem__(self, at: int | slice) -> Script | Sequence[Script]:
        if isinstance(at, slice):
            return [read() for read in self._readers[at]]
        return self._readers[at]()


def read_scripts(names: Sequence[str], *, leg: Leg, store: Callable[[], Path]) -> Iterator[Script]:
    """The sessions that a user names, each read when it is asked for.

    Args:
        names: of files, folders (every `*.smtp.jsonl` in them and below, by path), sessions of the store,
            or `latest`; sessions of one file come in the order in which they were opened.
        leg: which leg is wanted.
        store: says which store is meant; asked only where a name is no path.

    Raises:
        TooNewError, RecordingError: a file cannot be read, or is broken; names file and line.
        ReplayError: a folder holds no recording, or a session cannot be rerun.
        NotFoundError, StoreError: there is no such session, or no such store.
    """
    return (read() for read in _find(names, leg, store))


def _find(names: Sequence[str], leg: Leg, store: Callable[[], Path]) -> Iterator[Callable[[], Script]]:
    for name in names:
        path = Path(name)
        if path.is_dir():
            found = sorted(path.rglob(f"*{SUFFIX}"))
            if not found:
                raise ReplayError(f"{name}: there is no recording (*{SUFFIX}) in this folder")
            for file in found:
                yield from _in_file(file, leg)
        # Session ids have neither dots nor slashes, file names nearly always do.
        elif "." in name or "/" in name or path.exists():
            yield from _in_file(path, leg)
        else:
            yield _in_store(name, store(), leg)


def _in_file(path: Path, leg: Leg) -> Iterator[Callable[[], Script]]:
    return (partial(script_of, filed, leg) for filed in index_recording(path))


def script_of(filed: FiledSession, leg: Leg) -> Script:
    """One session of a recording that was looked through before.

    Raises:
        RecordingError: its header asks for what is not known, or the file has changed.
        ReplayError: it cannot be rerun.
    """
    header = next(filed.lines())
    try:
        overrides = read_overrides(header)
    except LineError as error:
        raise RecordingError(str(filed.path), filed.number, str(error)) from None
    return read_script(filed.events, leg=leg, name=str(filed.path), line=filed.number, overrides=overrides)


def _in_store(name: str, store: Path, leg: Leg) -> Callable[[], Script]:
    """Which session is meant is settled now: `latest` may be another one later."""
    with LogReader(store) as reader:
        return partial(_of_store, reader.resolve(name), store, leg)


def _of_store(session: str, store: Path, leg: Leg) -> Script:
    with LogReader(store) as reader:
        header = next(reader.lines(session), None)
    if header is None:
        raise NotFoundError(f"session {session} is no longer in {store}")
    try:
        overrides = read_overrides(header)
    except LineError as error:
        raise RecordingError(str(store), 0, f"session {session}: {error}") from None
    return read_script(partial(_stored, store, session), leg=leg, name=str(store), overrides=overrides)


def _stored(store: Path, session: str) -> Iterator[AnyEvent]:
    with LogReader(store) as reader:
        for line in reader.lines(session):
            event = decode(line)
            if not isinstance(event, UnknownEvent):
                yield event
