"""All scenarios of the library by name, in the order of its table."""

from typing import Final

from tools.library import with_others, with_postfix, with_sandbox
from tools.library.scenario import Scenario

SCENARIOS: Final[dict[str, Scenario]] = {
    scenario.name: scenario
    for scenario in (*with_postfix.SCENARIOS, *with_others.SCENARIOS, *with_sandbox.SCENARIOS)
}
