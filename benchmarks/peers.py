"""What stands between load and sink, and what it costs; it knows nothing of workloads or tables.

A peer is one process, pinned to a core of its own; its costs are read from /proc (so: Linux).
"""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

START_TIMEOUT_S = 20
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a peer is to stand.

    Attributes:
        mode: plain, starttls or implicit; the same on both legs.
        folder: its own, empty at the start.
        cert, key, ca: the sink's certificate, and who signed it.
    """

    mode: str
    listen: int
    upstream: int
    folder: Path
    cert: Path
    key: Path
    ca: Path


def pump(place: Place) -> list[str]:
    """The yardstick."""
    ports = [str(place.listen), str(place.upstream)]
    files = [str(place.cert), str(place.key), str(place.ca)]
    return [sys.executable, str(Path(__file__).with_name("pump.py")), place.mode, *ports, *files]


def _smtpproxy(place: Place, store: str) -> list[str]:
    scheme = "smtps" if place.mode == "implicit" else "smtp"
    ends = [
        "--listen",
        f"{scheme}://127.0.0.1:{place.listen}",
        "--upstream",
        f"{scheme}://localhost:{place.upstream}",
    ]
    tls = ["--upstream-ca", str(place.ca), "--certs", str(place.folder / "certs")]
    return [sys.executable, "-m", "smtpproxy", "run", *ends, *tls, "--store", store, "--no-web", "--quiet"]


def relaying(place: Place) -> list[str]:
    """smtpproxy that records nothing."""
    return _smtpproxy(place, "none")


def recording(place: Place) -> list[str]:
    """smtpproxy as it is meant to be used."""
    return _smtpproxy(place, str(place.folder / "recordings.db"))


PEERS: dict[str, Callable[[Place], list[str]] | None] = {
    "direct": None,
    "pump": pump,
    "store none": relaying,
    "recording": recording,
}
"""Name in the table → the command, or None where load and sink meet directly."""


class Peer:
    """A running peer's costs."""

    def __init__(self, pid: int) -> None:
        self._proc = Path("/proc", str(pid))

    def cpu_s(self) -> float:
        """CPU seconds so far, user and system, all threads."""
        fields = (self._proc / "stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_S

    def memory_kib(self) -> int:
        """Resident memory now."""
        return self._status("VmRSS")

    def peak_kib(self) -> int:
        """The most resident memory since `forget_peak`."""
        return self._status("VmHWM")

    def forget_peak(self) -> None:
        """Count the peak anew (proc(5), clear_refs)."""
        (self._proc / "clear_refs").write_text("5")

    def _status(self, name: str) -> int:
        found = re.search(rf"^{name}:\s+(\d+)", (self._proc / "status").read_text(), re.MULTILINE)
        return int(found[1]) if found else 0


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(command: list[str], *, port: int, core: int, log: Path) -> Iterator[Peer]:
    """A process from the moment it listens on `port`; it is ended on leaving.

    Raises:
        RuntimeError: it ended, or did not listen in time; with the end of what it printed.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        pin(process.pid, core)
        _wait_until_listening(process, port, log)
        yield Peer(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def pin(pid: int, core: int) -> None:
    """Keep a process on one core, where the machine has several."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(pid, {cores[core % len(cores)]})


def _wait_until_listening(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    # Looked up, not tried out: a probing connection would be a session to some peers. 0A is TCP_LISTEN.
    listening = re.compile(rf":{port:04X} \S+ 0A ")
    end = time.monotonic() + START_TIMEOUT_S
    while not any(listening.search(table.read_text()) for table in Path("/proc/net").glob("tcp*")):
        if process.poll() is not None or time.monotonic() > end:
            raise RuntimeError(log.read_text(errors="replace")[-500:].strip() or "it did not begin to listen")
        time.sleep(0.02)
