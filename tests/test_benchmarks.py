"""The benchmark runs end to end against the yardstick and fills its table; speed is not judged here."""

import subprocess
import sys
from pathlib import Path

from tests.programs import program

RUN = Path(__file__).parents[1] / "benchmarks" / "run.py"


def test_pump_and_direct_side_by_side() -> None:
    program("cc")
    options = [
        "--modes",
        "starttls",
        "--peers",
        "direct",
        "pump",
        "--rounds",
        "1",
        "--seconds",
        "0.1",
        "--idle",
        "5",
    ]
    done = subprocess.run(
        [sys.executable, RUN, *options], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "left out" not in done.stderr
    rows = {
        tuple(cell.strip() for cell in line.split("|")[1:3])
        for line in done.stdout.splitlines()
        if "|" in line
    }
    assert {("session", "CPU ms/session"), ("large", "MB/s"), ("idle", "KiB/session")} <= rows
