"""Recorded sessions for replay and mock, as scripts: out of files, folders and the store; it plays none.

A recording is read strictly here: what is broken in it is refused, naming file and line, before all else.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from smtpproxy.errors import RecordingError, ReplayError
from smtpproxy.recording.codec import LineError, UnknownEvent, decode
from smtpproxy.recording.files import SUFFIX, FiledSession, index_recording
from smtpproxy.recording.overrides import read_overrides
from smtpproxy.replay.script import Script, read_script
from smtpproxy.session.events import AnyEvent, Leg
from smtpproxy.store.reader import LogReader


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
    for name in names:
        path = Path(name)
        if path.is_dir():
            found = sorted(path.rglob(f"*{SUFFIX}"))
            if not found:
                raise ReplayError(f"{name}: there is no recording (*{SUFFIX}) in this folder")
            for file in found:
                yield from _of_file(file, leg)
        # Session ids have neither dots nor slashes, file names nearly always do.
        elif "." in name or "/" in name or path.exists():
            yield from _of_file(path, leg)
        else:
            yield _of_store(name, store(), leg)


def _of_file(path: Path, leg: Leg) -> Iterator[Script]:
    for filed in index_recording(path):
        yield script_of(filed, leg)


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


def _of_store(name: str, store: Path, leg: Leg) -> Script:
    with LogReader(store) as reader:
        session = reader.resolve(name)
        header = next(reader.lines(session))
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
