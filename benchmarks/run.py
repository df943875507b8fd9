"""What smtpproxy costs beside a bare byte pump, side by side in one run; see README.md in this folder.

Peers take turns in every round, so that a slow minute of the machine hits them all; it prints medians.
"""

import argparse
import platform
import shutil
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import trustme
from peers import PEERS, Peer, Place, free_port, pin, running

HERE = Path(__file__).parent
PEER_CORE, LOAD_CORE = 0, 1
SETTLE_S = 0.2
IDLE_SESSIONS_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What the load does, and what one of it is.

    Attributes:
        kind, clients, octets: for traffic.c; octets is the size of a message.
        cost: what its CPU is counted in, such as "µs/message".
        per: which of sessions, messages and megabytes that is.
        scale: from seconds to the unit of `cost`.
        must: the most that recording may cost, as a ratio to the pump.
    """

    kind: str
    clients: int
    octets: int
    cost: str
    rate: str
    per: str
    scale: float
    must: float


WORKLOADS = {
    "large": Workload(
        kind="kept",
        clients=1,
        octets=25_000_000,
        cost="CPU ms/MB",
        rate="MB/s",
        per="megabytes",
        scale=1e3,
        must=2.2,
    ),
    "session": Workload(
        kind="session",
        clients=8,
        octets=4096,
        cost="CPU ms/session",
        rate="sessions/s",
        per="sessions",
        scale=1e3,
        must=1.35,
    ),
    "message": Workload(
        kind="kept",
        clients=4,
        octets=4096,
        cost="CPU µs/message",
        rate="messages/s",
        per="messages",
        scale=1e6,
        must=1.20,
    ),
    "pipelined": Workload(
        kind="pipelined",
        clients=4,
        octets=4096,
        cost="CPU µs/message",
        rate="messages/s",
        per="messages",
        scale=1e6,
        must=1.30,
    ),
}
"""By name in the table. "idle" is apart, since it sends nothing; it comes first, while memory is fresh."""

Row = tuple[str, str]
"""A workload and a unit: one line of the table."""
Samples = dict[tuple[str, Row, str], list[float]]
"""(mode, row, peer) → a figure per round."""


@dataclass(frozen=True, slots=True)
class Bench:
    """The built load generator and the files around it."""

    traffic: Path
    place: Path
    options: argparse.Namespace

    def load(self, mode: str, port: int, workload: Workload, seconds: float) -> dict[str, float]:
        """Run the load to its end.

        Raises:
            RuntimeError: nothing, or not everything, came through.
        """
        what = [mode, str(port), workload.kind, str(workload.clients), str(workload.octets), str(seconds)]
        process = subprocess.Popen([self.traffic, "load", *what], stdout=subprocess.PIPE, text=True)
        pin(process.pid, LOAD_CORE)
        output, _ = process.communicate(timeout=seconds + 60)
        sessions, messages, octets, took, errors = map(float, output.split())
        if errors or not messages:
            raise RuntimeError(f"{errors:.0f} errors, {messages:.0f} messages")
        return {"sessions": sessions, "messages": messages, "megabytes": octets / 1e6, "seconds": took}

    @contextmanager
    def held(self, mode: str, port: int, sessions: int) -> Iterator[int]:
        """That many sessions, past EHLO, open until the end of the block; yields how many it came to."""
        process = subprocess.Popen(
            [self.traffic, "hold", mode, str(port), str(sessions)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdin
        assert process.stdout
        pin(process.pid, LOAD_CORE)
        try:
            yield int(process.stdout.readline().split()[1])
        finally:
            process.stdin.close()
            process.wait(20)


def measure(bench: Bench, mode: str, port: int, peer: Peer | None, samples: dict[Row, float]) -> None:
    """Put every chosen workload on one peer, a figure for each row."""
    bench.load(
        mode, port, WORKLOADS["session"], 0.3
    )  # imports, caches and leaves are made by the first sessions
    for name in bench.options.workloads:
        if name == "idle":
            if peer:
                measure_idle(bench, mode, port, peer, samples)
            continue
        workload = WORKLOADS[name]
        before_s, before_kib = 0.0, 0
        if peer:
            peer.forget_peak()
            before_s, before_kib = peer.cpu_s(), peer.memory_kib()
        done = bench.load(mode, port, workload, bench.options.seconds)
        samples[name, workload.rate] = done[workload.per] / done["seconds"]
        if peer:
            time.sleep(SETTLE_S)  # what is written after the last reply is its work too
            samples[name, workload.cost] = (peer.cpu_s() - before_s) / done[workload.per] * workload.scale
            if name == "large":
                samples[name, "RSS growth MiB"] = (peer.peak_kib() - before_kib) / 1024


def measure_idle(bench: Bench, mode: str, port: int, peer: Peer, samples: dict[Row, float]) -> None:
    """Memory and CPU of sessions that are open and silent."""
    before_kib = peer.memory_kib()
    with bench.held(mode, port, bench.options.idle) as sessions:
        time.sleep(SETTLE_S)
        samples["idle", "KiB/session"] = (peer.memory_kib() - before_kib) / max(sessions, 1)
        before_s = peer.cpu_s()
        time.sleep(IDLE_SESSIONS_S)
        samples["idle", "CPU %"] = (peer.cpu_s() - before_s) / IDLE_SESSIONS_S * 100


def run(bench: Bench) -> Samples:
    """All rounds; a peer that fails is named on stderr and left out of that round."""
    samples: Samples = {}
    cert, key, ca = make_certificates(bench.place)
    ports = {"plain": free_port(), "implicit": free_port()}
    sink = [str(bench.traffic), "sink", str(ports["plain"]), str(ports["implicit"]), str(cert), str(key)]
    with running(sink, port=ports["implicit"], core=LOAD_CORE, log=bench.place / "sink.log"):
        for number in range(bench.options.rounds):
            for mode in bench.options.modes:
                upstream = ports["implicit" if mode == "implicit" else "plain"]
                for name in bench.options.peers:
                    print(f"round {number + 1}/{bench.options.rounds}: {mode}, {name}", file=sys.stderr)
                    folder = Path(tempfile.mkdtemp(dir=bench.place))
                    listen = free_port()
                    command = PEERS[name]
                    place = Place(
                        mode=mode, listen=listen, upstream=upstream, folder=folder, cert=cert, key=key, ca=ca
                    )
                    started = (
                        running(command(place), port=listen, core=PEER_CORE, log=folder / "log")
                        if command
                        else nullcontext(None)
                    )
                    figures: dict[Row, float] = {}
                    try:
                        with started as peer:
                            measure(bench, mode, listen if peer else upstream, peer, figures)
                    except RuntimeError as error:
                        print(f"  {name} left out: {error}", file=sys.stderr)
                    for row, figure in figures.items():
                        samples.setdefault((mode, row, name), []).append(figure)
                    shutil.rmtree(folder)
    return samples


def table(samples: Samples, options: argparse.Namespace) -> Iterator[str]:
    """Medians as Markdown, with the ratios that matter."""
    for mode in options.modes:
        yield f"\n## {mode}\n"
        yield (
            "| | | "
            + " | ".join(options.peers)
            + " | none ÷ pump | recording ÷ pump | recording ÷ none | must |"
        )
        yield "|---|---|" + "---:|" * (len(options.peers) + 4)
        rows = dict.fromkeys(row for of_mode, row, _ in samples if of_mode == mode)
        for row in sorted(rows, key=lambda row: options.workloads.index(row[0])):
            medians = {
                peer: statistics.median(samples[mode, row, peer])
                for peer in options.peers
                if (mode, row, peer) in samples
            }
            cells = [figure(medians.get(peer)) for peer in options.peers]
            for top, bottom in (("store none", "pump"), ("recording", "pump"), ("recording", "store none")):
                is_known = medians.get(bottom) and top in medians and row[1] != "RSS growth MiB"
                cells.append(f"{medians[top] / medians[bottom]:.2f}" if is_known else "")
            workload = WORKLOADS.get(row[0])
            cells.append(f"{workload.must:.2f}" if workload and row[1] == workload.cost else "")
            yield f"| {row[0]} | {row[1]} | " + " | ".join(cells) + " |"


def figure(value: float | None) -> str:
    """Three digits, as far as they mean anything."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def make_certificates(folder: Path) -> tuple[Path, Path, Path]:
    """A certificate for localhost, its key, and the authority that signed it; P-256."""
    authority = trustme.CA()
    leaf = authority.issue_cert("localhost", "127.0.0.1")
    cert, key, ca = (folder / name for name in ("leaf.pem", "leaf.key", "ca.pem"))
    leaf.cert_chain_pems[0].write_to_path(str(cert))
    leaf.private_key_pem.write_to_path(str(key))
    authority.cert_pem.write_to_path(str(ca))
    return cert, key, ca


def build(folder: Path) -> Path:
    """Compile traffic.c; without a compiler and OpenSSL's headers there is no benchmark."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        sys.exit("benchmarks: no C compiler; on Debian: apt-get install gcc libc6-dev libssl-dev")
    program = folder / "traffic"
    command = [compiler, "-O2", "-pthread", str(HERE / "traffic.c"), "-o", str(program), "-lssl", "-lcrypto"]
    if subprocess.run(command, check=False).returncode:
        sys.exit("benchmarks: traffic.c did not compile; it needs OpenSSL's headers (Debian: libssl-dev)")
    return program


def main() -> None:
    """Parse what is asked, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )

    parser.add_argument(
        "--modes", nargs="+", choices=["plain", "starttls", "implicit"], default=["starttls", "implicit"]
    )
    parser.add_argument("--peers", nargs="+", choices=list(PEERS), default=list(PEERS))
    parser.add_argument("--workloads", nargs="+", choices=["idle", *WORKLOADS], default=["idle", *WORKLOADS])
    parser.add_argument("--rounds", type=int, default=3, help="at least 5 for figures to quote")
    parser.add_argument("--seconds", type=float, default=2, help="of load per workload, peer and round")
    parser.add_argument("--idle", type=int, default=200, help="sessions held open in the idle workload")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="smtpproxy-bench-") as folder:
        place = Path(folder)
        samples = run(Bench(build(place), place, options))
    print(f"\n{platform.machine()}, Python {platform.python_version()}, {ssl.OPENSSL_VERSION}; ", end="")
    print(f"medians of {options.rounds} rounds of {options.seconds:g} s; CPU is the peer's, all threads")
    print("\n".join(table(samples, options)))


if __name__ == "__main__":
    main()
