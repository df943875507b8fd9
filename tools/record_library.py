"""Records the library of replay/ anew: real clients speak to real servers through `smtpproxy run`.

record_library.py [--only NAME ...] [--list]

Needs root for Postfix, and the programs that .ci/run installs; what cannot be recorded here is left as it is,
with a line that says why. Everything runs on loopback on free ports, and nothing is delivered.
"""

import argparse
import logging
import sys
import tempfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from tools.library.record import NotShownError, record
from tools.library.scenarios import SCENARIOS
from tools.library.table import write_table


def main() -> int:
    """Record what was asked for; 1 where something could not be."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--only", nargs="+", choices=SCENARIOS, default=list(SCENARIOS), metavar="NAME")
    parser.add_argument("--list", action="store_true", dest="is_list", help="name all scenarios and end")
    options = parser.parse_args()
    if options.is_list:
        print("\n".join(f"{name:36} {scenario.shows}" for name, scenario in SCENARIOS.items()))
        return 0
    # aiosmtpd warns its authors' users of things to come; without a handler that goes to the terminal.
    logging.getLogger("mail.log").addHandler(logging.NullHandler())
    left_out = [name for name in options.only if not _is_recorded(name)]
    write_table()
    return 1 if left_out else 0


def _is_recorded(name: str) -> bool:
    scenario = SCENARIOS[name]
    with tempfile.TemporaryDirectory(prefix="library-") as folder:
        try:
            record(scenario, Path(folder), scenario.file)
        except (pytest.skip.Exception, pytest.fail.Exception) as missing:
            print(f"left out  {name}: {missing}", file=sys.stderr)
            return False
        except NotShownError as error:
            print(f"failed    {error}", file=sys.stderr)
            return False
    print(f"recorded  {name}")
    return True


if __name__ == "__main__":
    sys.exit(main())
