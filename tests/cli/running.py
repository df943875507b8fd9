"""A `smtpproxy run`, or `mock`, in a process of its own, for tests; it knows only what a user sees."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from queue import Queue
from typing import Any

DEADLINE_S = 20.0


class Running:
    """Starts the proxy in a folder, configured by nothing else; its output is read as it comes."""

    def __init__(
        self,
        folder: Path,
        *flags: str,
        env: Mapping[str, str] | None = None,
        command: Sequence[str] = ("run", "--no-web"),
    ) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "smtpproxy", *command, *flags],
            cwd=folder,
            env=clean_environment(folder, env or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._lines: Queue[bytes | None] = Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()

    def line(self) -> str:
        """The next line of standard output."""
        line = self._lines.get(timeout=DEADLINE_S)
        if line is None:
            raise AssertionError(f"it has ended: {self.errors()}")
        return line.decode()

    def lines_until(self, word: str) -> list[str]:
        """All lines up to the first one that holds the word."""
        lines = [self.line()]
        while word not in lines[-1]:
            lines.append(self.line())
        return lines

    def rest(self) -> tuple[int, list[str]]:
        """Its exit code once it has ended by itself, and the rest of standard output."""
        code = self.process.wait(DEADLINE_S)
        lines: list[str] = []
        while (line := self._lines.get(timeout=DEADLINE_S)) is not None:
            lines.append(line.decode())
        return code, lines

    def event(self) -> dict[str, Any]:
        """The next line, as JSON."""
        event = json.loads(self.line())
        assert isinstance(event, dict)
        return event

    def ready(self) -> tuple[dict[str, Any], int]:
        """The ready line of --json, and the first listener's port."""
        ready = self.event()
        return ready, int(ready["listen"][0].rsplit(":", 1)[1])

    def header(self) -> tuple[list[str], int]:
        """The header that people get, and the first listener's port."""
        lines = self.lines_until("  try ")
        assert self.line() == "\n"
        return lines, int(lines[1].split(" -> ")[0].rsplit(":", 1)[1])

    def stop(self, *signals: signal.Signals) -> tuple[int, list[str]]:
        """Its exit code after these signals (by default one SIGTERM), and the rest of standard output."""
        for number in signals or (signal.SIGTERM,):
            self.process.send_signal(number)
        return self.rest()

    def errors(self) -> str:
        """Standard error, once it has ended."""
        self.process.wait(DEADLINE_S)
        assert self.process.stderr is not None
        return self.process.stderr.read().decode()


def clean_environment(folder: Path, extra: Mapping[str, str]) -> dict[str, str]:
    """An environment in which nobody has configured smtpproxy, and whose home is the test's folder."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("SMTPPROXY_", "XDG_"))}
    checkout = str(Path(__file__).parents[2])
    return {**kept, "HOME": str(folder), "PYTHONPATH": checkout, **extra}
