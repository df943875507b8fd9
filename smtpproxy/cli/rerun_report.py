"""Results of a replay or a mock, shown as they come: for people, as JSON, in a JUnit file; it judges none."""

import os
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final

from smtpproxy.cli.colour import has_colours, paint_report_line
from smtpproxy.errors import ReplayError
from smtpproxy.replay.ledger import brief
from smtpproxy.replay.report import ReportLine, render_result, render_summary
from smtpproxy.replay.result_lines import encode_result, encode_summary
from smtpproxy.replay.results import SessionResult
from smtpproxy.replay.tally import Summary

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

LONG_RUN_SESSIONS: Final = 20
"""From so many on a terminal shows how far it has come."""
MANY_SESSIONS: Final = 1000
"""With more, the steps of a session that is as recorded are not kept."""
REDRAW_S: Final = 0.1


class RerunReport:
    """Where results go.

    Attributes:
        total: how many are expected.
    """

    def __init__(
        self,
        *,
        total: int,
        is_json: bool,
        is_quiet: bool = False,
        junit: str | Path | None = None,
        name: str = "smtpproxy replay",
    ) -> None:
        """Nothing has come yet.

        Args:
            total: how many results are expected.
            is_json: lines of JSON instead of lines for people.
            is_quiet: show people only what is not as recorded.
            junit: the JUnit file to write at the end.
            name: of the run, in that file.
        """
        self.total = total
        self._name = name
        self._is_json = is_json
        self._is_quiet = is_quiet
        self._junit = None if junit is None else Path(junit)
        self._is_coloured = has_colours(is_terminal=sys.stdout.isatty())
        self._kept: list[SessionResult] = []
        self._progress: Progress | None = None
        self._task: TaskID
        self._redraw_at = 0.0

    def __enter__(self) -> "RerunReport":
        if self._junit is not None:
            _require_writable(self._junit)
        if self.total >= LONG_RUN_SESSIONS and sys.stderr.isatty():
            self._progress = _progress()
            self._task = self._progress.add_task("sessions", total=self.total)
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    def add(self, result: SessionResult) -> None:
        """Show one more."""
        if self._junit is not None:
            is_news = result.status != "same" or self.total <= MANY_SESSIONS
            self._kept.append(result if is_news else brief(result))
        if self._is_json:
            self._write(encode_result(result).decode())
        elif not self._is_quiet or result.status != "same":
            for line in render_result(result):
                self._show(line)
        if self._progress is not None:
            self._progress.advance(self._task)
            if time.monotonic() >= self._redraw_at:
                self._progress.refresh()
                self._redraw_at = time.monotonic() + REDRAW_S

    def finish(self, summary: Summary) -> None:
        """Show the numbers, and write the JUnit file.

        Raises:
            ReplayError: it cannot be written.
        """
        if self._is_json:
            self._write(encode_summary(summary).decode())
        elif not self._is_quiet:
            self._show(render_summary(summary))
        if self._junit is not None:
            from smtpproxy.replay.junit import render_junit

            try:
                self._junit.write_bytes(render_junit(self._kept, name=self._name))
            except OSError as error:
                raise ReplayError(f"--junit {self._junit} cannot be written: {error.strerror}") from None

    def _show(self, line: ReportLine) -> None:
        self._write(paint_report_line(line) if self._is_coloured else line.text)

    def _write(self, line: str) -> None:
        if self._progress is not None and sys.stdout.isatty():
            # The bar shares the terminal: it is drawn anew below the line.
            self._progress.console.file.write("\r\x1b[2K")
            self._progress.console.file.flush()
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def _progress() -> "Progress":
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # Without a thread of its own, so that it never draws into a line that is being written.
    return Progress(
        *columns, console=Console(stderr=True), transient=True, redirect_stdout=False, auto_refresh=False
    )


def _require_writable(path: Path) -> None:
    """Learn now, and not behind an hour's run, that the report has no place."""
    target = path if path.exists() else path.parent
    if path.is_dir() or not target.exists() or not os.access(target, os.W_OK):
        raise ReplayError(f"--junit {path} cannot be written: no such folder, or no right to it")
