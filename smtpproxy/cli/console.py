"""What `smtpproxy run` shows: the header, the live transcript, or event lines for programs.

Everything here is called from a thread that may block, and knows neither the network nor the store. A reader
that goes away is never an error: mail flows on.
"""

import contextlib
import os
import select
import stat
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from smtpproxy import __version__
from smtpproxy.cli.colour import has_colours, paint_line
from smtpproxy.config.checks import warnings_of
from smtpproxy.config.model import Config
from smtpproxy.endpoints import Endpoint
from smtpproxy.errors import ServiceError
from smtpproxy.inspect.transcript import Line, Transcript
from smtpproxy.recording.codec import LineError, UnknownEvent, decode, splice_seq
from smtpproxy.service.ready import Ready, render_ready_line
from smtpproxy.store.contract import Removed, Row
from smtpproxy.wire.escape import escape

CONTENT_LINES: Final = 20
"""How much of each message the live transcript shows: its headers, mostly. `smtpproxy show` has the rest."""


class Output:
    """A file descriptor that is written to until its reader is gone.

    Attributes:
        is_gone: nothing is written any more.
    """

    def __init__(self, fd: int | None, *, on_failure: Callable[[str], None] | None = None) -> None:
        """Write to `fd`, or nowhere; `on_failure` is told why no more is written."""
        self._fd = -1 if fd is None else fd
        self._on_failure = on_failure
        self.is_gone = fd is None

    def write(self, data: bytes) -> None:
        """Write all of it, or nothing any more once the other end is gone or the disk refuses; may block."""
        rest = memoryview(data)
        while rest and not self.is_gone:
            try:
                rest = rest[os.write(self._fd, rest) :]
            except BlockingIOError:
                # Somebody who shares the pipe with us made it non-blocking.
                select.select([], [self._fd], [])
            except OSError as error:
                self.is_gone = True
                if self._on_failure is not None:
                    self._on_failure(error.strerror or str(error))

    @property
    def is_coloured(self) -> bool:
        """Whether a person with colours looks at it."""
        return has_colours(is_terminal=not self.is_gone and os.isatty(self._fd))


class Console:
    """What one configuration asks to be shown, and where.

    Attributes:
        watchers: to be shown the log as it grows.
    """

    def __init__(self, config: Config, *, mock: str = "") -> None:
        """Open what is to be written to.

        Args:
            config: what is run.
            mock: what a mock plays, in words; "" where there is none.

        Raises:
            ServiceError: the transcript's file cannot be opened.
        """
        self._config = config
        self._mock = mock
        # Python says None where the descriptor was closed at the start: its number may be anything by now.
        self._output = Output(None if sys.stdout is None else sys.stdout.fileno())
        self.watchers: list[EventLines | LiveTranscript] = []
        if config.log is not None:
            self.watchers.append(LiveTranscript(open_log(config.log, report=self.report)))
        if not config.is_quiet:
            self.watchers.append(EventLines(self._output) if config.is_json else LiveTranscript(self._output))

    def on_ready(self, ready: Ready) -> None:
        """Tell the addresses, and what should be known about them."""
        for warning in warnings_of(self._config):
            self.report(f"warning: {warning}")
        text = (
            render_ready_line(ready)
            if self._config.is_json
            else render_header(ready, mock=self._mock).encode("utf-8", "backslashreplace")
        )
        self._output.write(text)

    def report(self, text: str) -> None:
        """Tell the operator something, on standard error: standard output belongs to the conversation."""
        with contextlib.suppress(OSError, ValueError):
            print(f"smtpproxy: {escape(text)}", file=sys.stderr, flush=True)


class EventLines:
    """Shows event lines to a program, each with its position in front."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def show(self, item: list[Row] | Removed) -> bool:
        """Write a batch in one go; false once nobody reads any more."""
        if isinstance(item, Removed):
            # Not an event, but whoever counts positions must know that these will not come.
            removed = {
                "seq": item.to_seq,
                "kind": "removed",
                "from_seq": item.from_seq,
                "to_seq": item.to_seq,
            }
            self._output.write(msgspec.json.encode(removed) + b"\n")
        else:
            self._output.write(b"".join([splice_seq(line, seq) + b"\n" for seq, _, _, line in item]))
        return not self._output.is_gone


class LiveTranscript:
    """Shows the conversation to people, as it happens."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._is_coloured = output.is_coloured
        self._transcript = Transcript(content_lines=CONTENT_LINES, has_times=True, has_tags=True)

    def show(self, item: list[Row] | Removed) -> bool:
        """Write a batch in one go; false once nobody reads any more."""
        if isinstance(item, Removed):
            lines = [Line(text="*** some events were removed before they could be shown", style="failure")]
        else:
            lines = [line for row in item for line in self._lines(row)]
        if lines:
            text = "".join([self._rendered(line) for line in lines])
            self._output.write(text.encode("utf-8", "backslashreplace"))
        return not self._output.is_gone

    def _lines(self, row: Row) -> list[Line]:
        try:
            event = decode(row[3])
        except LineError as error:
            return [Line(text=f"*** an event cannot be shown: {escape(str(error))}", style="failure")]
        return [] if isinstance(event, UnknownEvent) else self._transcript.render(event)

    def _rendered(self, line: Line) -> str:
        return (paint_line(line) if self._is_coloured else line.text) + "\n"


def open_log(path: Path, *, report: Callable[[str], None]) -> Output:
    """A text file to append the transcript to, readable for its owner only.

    Raises:
        ServiceError: it cannot be opened, or is not a file.
    """
    try:
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise ServiceError(f"the transcript cannot be written to {path}: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise ServiceError(f"the transcript cannot be written to {path}: not a regular file")
    return Output(fd, on_failure=lambda why: report(f"the transcript in {path} ends here: {why}"))


def render_header(ready: Ready, *, mock: str = "") -> str:
    """What a person wants to know first: the addresses, where the recording goes, and a line to try.

    Args:
        ready: what is known now.
        mock: what a mock plays, in words: nothing is recorded then, and no other message would do.
    """
    lines = [f"smtpproxy {__version__}"]
    for listen, upstream in zip(ready.listen, ready.upstream, strict=True):
        where = "the sandbox (nothing is delivered)" if upstream.is_sandbox else str(upstream)
        lines.append(f"  {listen} -> {mock if upstream.is_mock else where}")
    if ready.web is not None:
        lines.append(f"  page       {ready.web}")
    if not mock:
        lines.append(f"  recording  {ready.store or 'nothing (--store none)'}")
    lines.append(f"  authority  {ready.ca}")
    if not mock:
        lines.append(f"  try        {_line_to_try(ready.listen)}")
    return "".join(f"{escape(line)}\n" for line in lines) + "\n"


def _line_to_try(listens: Sequence[Endpoint]) -> str:
    listen = listens[0]
    options = ["swaks", "--to you@example.com", "--from app@example.com"]
    if listen.path:
        options.append(f"--socket {listen.path}")
    else:
        # Who listens everywhere is reached on loopback too.
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(listen.host, listen.host)  # noqa: S104 - compared
        options.append(f"--server {host} --port {listen.port}")
    if listen.scheme == "smtps":
        options.append("--tls-on-connect")
    if listen.is_lmtp:
        options.append("--protocol LMTP")
    return " ".join(options)
