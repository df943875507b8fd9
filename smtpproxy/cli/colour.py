"""Colours of the terminal: which line gets which, and whether any are wanted; it lays nothing out."""

import os
from typing import Final

from smtpproxy.inspect.transcript import Line, Style
from smtpproxy.replay import report

_RESET: Final = "\x1b[0m"
_SGR: Final[dict[Style, str]] = {
    "client": "\x1b[36m",
    "server": "\x1b[32m",
    "rejection": "\x1b[1;31m",
    "proxy": "\x1b[35m",
    "content": "",
    "info": "\x1b[2m",
    "finding": "\x1b[33m",
    "failure": "\x1b[1;31m",
}


_REPORT_SGR: Final[dict[report.Style, str]] = {
    "same": "\x1b[32m",
    "differs": "\x1b[1;31m",
    "error": "\x1b[1;31m",
    "step": "\x1b[1m",
    "plain": "",
    "expected": "\x1b[31m",
    "actual": "\x1b[32m",
    "note": "\x1b[2m",
    "fix": "\x1b[36m",
}


def has_colours(*, is_terminal: bool) -> bool:
    """Whether a person with colours looks at it (https://no-color.org)."""
    return is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint_line(line: Line) -> str:
    """A transcript's line in its colour; one line stays one line, however wide the terminal is."""
    colour = _SGR[line.style]
    return f"{colour}{line.text}{_RESET}" if colour else line.text


def paint_report_line(line: report.ReportLine) -> str:
    """A line of a replay's or a mock's report in its colour."""
    colour = _REPORT_SGR[line.style]
    return f"{colour}{line.text}{_RESET}" if colour else line.text
