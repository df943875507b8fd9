"""Renders what docs/ says from tables in the code; with `--check` it only names the pages that are stale.

A page marks such a part with `<!-- rendered: NAME -->` and `<!-- end -->`, each on a line of its own; files
that are rendered whole are in WHOLE.
"""

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from smtpproxy.config.document import render_settings
from smtpproxy.inspect.filters.document import render_keys
from smtpproxy.recording.schema import render_schema
from smtpproxy.sandbox.document import render_failures
from smtpproxy.session.findings import FINDINGS
from smtpproxy.session.outcomes import RULES
from smtpproxy.session.states import render_diagram
from smtpproxy.web.document import render_resources
from smtpproxy.wire.ehlo import HIDDEN_BY_DEFAULT

DOCS = Path(__file__).parents[1] / "docs"
PART = re.compile(r"(<!-- rendered: ([a-z-]+) -->\n).*?(<!-- end -->\n)", re.DOTALL)


def render_table(head: tuple[str, str], rows: Mapping[str, str]) -> str:
    """Two columns, the first one in code."""
    lines = [f"| {head[0]} | {head[1]} |", "|---|---|"]
    lines += [f"| `{name}` | {text} |" for name, text in rows.items()]
    return "\n".join(lines) + "\n"


OUTCOMES: dict[str, str] = {
    "open": "it goes on",
    **{outcome: text for outcome, text, _ in RULES},
    "interrupted": "smtpproxy was killed meanwhile; said at its next start",
}

PARTS: dict[str, Callable[[], str]] = {
    "findings": lambda: render_table(("code", "what it means"), FINDINGS),
    "outcomes": lambda: render_table(("outcome", "the first that holds"), OUTCOMES),
    "settings": render_settings,
    "resources": render_resources,
    "failures": render_failures,
    "states": lambda: f"```mermaid\n{render_diagram()}```\n",
    "filter-keys": render_keys,
    "hidden": lambda: render_table(("keyword", "why"), HIDDEN_BY_DEFAULT),
}

WHOLE: dict[str, Callable[[], str]] = {"recording.schema.json": render_schema}


def render_page(text: str) -> str:
    """The page with every marked part as the code has it now."""
    return PART.sub(lambda part: part[1] + PARTS[part[2]]() + part[3], text)


def main() -> int:
    """Rewrite stale pages, or with --check only name them; 1 where --check found one."""
    is_check = sys.argv[1:] == ["--check"]
    rendered = {page: render_page(page.read_text()) for page in sorted(DOCS.glob("*.md"))}
    rendered |= {DOCS / name: render() for name, render in WHOLE.items()}
    stale = {page: text for page, text in rendered.items() if not page.exists() or page.read_text() != text}
    for page, text in stale.items():
        print(f"{'stale, run make docs' if is_check else 'rendered'}: docs/{page.name}")
        if not is_check:
            page.write_text(text)
    return 1 if is_check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
