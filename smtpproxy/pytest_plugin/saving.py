"""A cassette's file, written: what was recorded, under headers that people had added to; it runs nothing."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from smtpproxy.errors import RecordingError
from smtpproxy.recording.codec import LineError
from smtpproxy.recording.files import FiledSession, index_recording, save_recording
from smtpproxy.recording.overrides import Overrides, read_overrides, with_overrides


def append_sessions(path: Path, sessions: Sequence[Iterable[bytes]]) -> int:
    """Add sessions to a recording, or begin it with them; returns how many it has now.

    Raises:
        RecordingError: it cannot be read or written; it is as it was then.
    """
    before = [session.lines() for session in index_recording(path)] if path.exists() else []
    return _save(path, [*before, *sessions])


def replace_sessions(path: Path, sessions: Sequence[Sequence[bytes]]) -> int:
    """Write a recording anew; what its headers asked of replay and mock is asked again, session by session.

    Raises:
        RecordingError: it cannot be written, or what is there cannot be read: somebody's work may be in it.
    """
    kept = [_overrides(path, session.number, session.lines()) for session in _existing(path)]
    return _save(
        path,
        [_with(lines, kept[index]) if index < len(kept) else lines for index, lines in enumerate(sessions)],
    )


def _existing(path: Path) -> list[FiledSession]:
    return index_recording(path) if path.exists() else []


def _overrides(path: Path, number: int, lines: Iterator[bytes]) -> Overrides:
    try:
        return read_overrides(next(lines))
    except LineError as error:
        raise RecordingError(str(path), number, str(error)) from None


def _with(lines: Sequence[bytes], overrides: Overrides) -> Iterator[bytes]:
    yield lines[0] if overrides == Overrides() else with_overrides(lines[0], overrides)
    yield from lines[1:]


def _save(path: Path, sessions: Sequence[Iterable[bytes]]) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RecordingError(str(path), 0, f"cannot be written: {error.strerror or error}") from None
    return save_recording(path, sessions)
