"""smtpproxy as a user runs it: the command line in a process of its own, and the event lines it prints."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.ends import PATIENCE_S, T
from tests.real.recorded import Recorded

COMMAND = [sys.executable, "-m", "smtpproxy"]


def smtpproxy(*arguments: str | Path, code: int = 0) -> str:
    """Run a command that ends by itself; its standard output."""
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, timeout=PATIENCE_S * 3, check=False
    )
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return done.stdout.decode()


class Proxy:
    """A running `smtpproxy run --json`.

    Attributes:
        ready: its first line.
        folder: where its store (`mail.db`) and its authority (`certs/`) are, and what it printed.
        lines: every line it printed after the first, as text.
    """

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self.process = process
        self.folder = folder
        self.store = folder / "store" / "mail.db"
        self.lines: list[str] = []
        self.ready: dict[str, Any] = {}
        self._sessions: dict[str, list[dict[str, Any]]] = {}
        self._has_news = threading.Condition()
        self._is_over = False
        self._reader = threading.Thread(target=self._read, name="proxy-output")
        self._reader.start()
        self._wait(lambda: self.ready, "its ready line")

    # what it says

    @property
    def ca(self) -> Path:
        """The file with the authority that apps must trust."""
        return Path(self.ready["ca"])

    @property
    def listen(self) -> list[str]:
        """The addresses in use, in the order of the routes."""
        urls: list[str] = self.ready["listen"]
        return urls

    @property
    def port(self) -> int:
        """The only listener's port."""
        (url,) = self.listen
        return int(url.rpartition(":")[2])

    def stderr(self) -> str:
        """What it wrote to standard error so far."""
        return (self.folder / "stderr").read_text(errors="replace")

    # sessions

    def mark(self) -> int:
        """How many sessions have begun so far, for `sessions`."""
        with self._has_news:
            return len(self._sessions)

    def sessions(self, since: int, number: int = 1, *, upstream: str = "") -> list[Recorded]:
        """The next sessions after a mark, once that many have ended; perhaps only one upstream's."""

        def ended() -> list[Recorded] | None:
            chosen = [Recorded(events) for events in list(self._sessions.values())[since:]]
            chosen = [one for one in chosen if one.is_over and one.events[0]["upstream"].endswith(upstream)]
            return chosen if len(chosen) >= number else None

        found = self._wait(ended, f"{number} sessions after the first {since}")
        assert len(found) == number, f"{len(found)} sessions, not {number}"
        return found

    def session(self, since: int, *, upstream: str = "") -> Recorded:
        """The only session after a mark, once it has ended."""
        (only,) = self.sessions(since, upstream=upstream)
        return only

    def wait_for_event(self, since: int, is_wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first event like this of the sessions after a mark, as soon as it was printed."""
        return self._wait(
            lambda: next(
                (
                    event
                    for events in list(self._sessions.values())[since:]
                    for event in events
                    if is_wanted(event)
                ),
                None,
            ),
            "an event",
        )

    def show(self, session: str = "latest") -> Recorded:
        """A session as `smtpproxy show` gives it, beside the running proxy."""
        output = smtpproxy("show", session, "--format", "json", "--store", self.store)
        return Recorded([json.loads(line) for line in output.splitlines()])

    # the end

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Signal it, wait, and return its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.wait()

    def wait(self) -> int:
        """Wait until it has ended and all it printed was read; its exit status."""
        status = self.process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        return status

    # inside

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            for raw in output:
                if not raw.endswith(b"\n"):
                    break  # torn by a kill
                line = raw.decode()
                event = json.loads(line)
                with self._has_news:
                    if not self.ready:
                        self.ready = event
                    else:
                        self.lines.append(line)
                        self._sessions.setdefault(event["session"], []).append(event)
                    self._has_news.notify_all()
        with self._has_news:
            self._is_over = True
            self._has_news.notify_all()

    def _wait(self, look: Callable[[], T | None], what: str) -> T:
        with self._has_news:
            self._has_news.wait_for(lambda: look() or self._is_over, PATIENCE_S)
            found = look()
        assert found, f"the proxy did not give {what} (ended: {self.process.poll()})\n{self.stderr()}"
        return found


@contextmanager
def run_proxy(
    folder: Path,
    *routes: tuple[str, str | None],
    upstream_ca: Path | None = None,
    arguments: Sequence[str | Path] = (),
    preexec: Callable[[], None] | None = None,
) -> Iterator[Proxy]:
    """Start the proxy and stop it.

    Args:
        folder: of its own; the store and the authority go there, and stay.
        routes: listen URL and upstream URL of each; an upstream of None means the sandbox.
        upstream_ca: what the servers' certificates are checked against.
        arguments: further flags.
        preexec: called in the new process, for resource limits.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "store").mkdir(exist_ok=True)
    command: list[str] = [*COMMAND, "run", "--no-web", "--json"]
    for listen, upstream in routes:
        command += ["--listen", listen, "--upstream", upstream or "sandbox:"]
    command += ["--store", str(folder / "store" / "mail.db"), "--certs", str(folder / "certs")]
    if upstream_ca is not None:
        command += ["--upstream-ca", str(upstream_ca)]
    with (folder / "stderr").open("wb") as errors:
        process = subprocess.Popen(
            [*command, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            preexec_fn=preexec,
        )
    try:
        yield (proxy := Proxy(process, folder))
        proxy.stop()
        # A traceback is a defect, whatever else went well; a user's mistake is one plain line.
        assert not re.search(r"Traceback|ExceptionGroup|internal-error", proxy.stderr()), proxy.stderr()
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
