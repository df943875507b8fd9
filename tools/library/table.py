"""The table in replay/README.md: a row for each scenario, its outcome as the recording has it."""

import re
from pathlib import Path
from typing import Final

from smtpproxy.recording.files import load_recording
from smtpproxy.session.events import End
from tools.library.scenario import FOLDER
from tools.library.scenarios import SCENARIOS

PAGE: Final = FOLDER / "README.md"
_PART: Final = re.compile(r"(<!-- rendered: library -->\n).*?(<!-- end -->\n)", re.DOTALL)


def render_page(text: str) -> str:
    """The page with its table as the scenarios and the recordings have it now."""
    rows = ["| file | what it shows | server | client | outcome |", "|---|---|---|---|---|"]
    for scenario in SCENARIOS.values():
        file = f"[`{scenario.name}`]({scenario.file.name})"
        outcome = ", ".join(outcomes_of(scenario.file)) or "not recorded yet"
        rows.append(f"| {file} | {scenario.shows} | {scenario.server} | {scenario.client} | {outcome} |")
    return _PART.sub(lambda part: part[1] + "\n".join(rows) + "\n" + part[2], text)


def outcomes_of(file: Path) -> list[str]:
    """What each session of a recording came to, in order; nothing where there is no file."""
    if not file.exists():
        return []
    return [read.event.outcome for read in load_recording(file) if isinstance(read.event, End)]


def write_table() -> None:
    """Bring the page up to date; it is left alone where it is."""
    text = PAGE.read_text()
    if (rendered := render_page(text)) != text:
        PAGE.write_text(rendered)
