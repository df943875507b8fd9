"""Renders what docs/ says from tables in the code; with `--check` it only names the pages that are stale.

A page marks such a part with `<!-- rendered: NAME -->` and `<!-- end -->`, each on a line of its own.
"""

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from smtpproxy.session.findings import FINDINGS
from smtpproxy.session.states import render_diagram
from smtpproxy.wire.ehlo import HIDDEN_BY_DEFAULT

DOCS = Path(__file__).parents[1] / "docs"
PART = re.compile(r"(<!-- rendered: ([a-z-]+) -->\n).*?(<!-- end -->\n)", re.DOTALL)


def render_table(head: tuple[str, str], rows: Mapping[str, str]) -> str:
    """Two columns, the first one in code."""
    lines = [f"| {head[0]} | {head[1]} |", "|---|---|"]
    lines += [f"| `{name}` | {text} |" for name, text in rows.items()]
    return "\n".join(lines) + "\n"


PARTS: dict[str, Callable[[], str]] = {
    "findings": lambda: render_table(("code", "what it means"), FINDINGS),
    "states": lambda: f"```mermaid\n{render_diagram()}```\n",
    "hidden": lambda: render_table(("keyword", "why"), HIDDEN_BY_DEFAULT),
}


def render_page(text: str) -> str:
    """The page with every marked part as the code has it now."""
    return PART.sub(lambda part: part[1] + PARTS[part[2]]() + part[3], text)


def main() -> int:
    """Rewrite stale pages, or with --check only name them; 1 where --check found one."""
    is_check = sys.argv[1:] == ["--check"]
    stale = {
        page: rendered
        for page in sorted(DOCS.glob("*.md"))
        if (rendered := render_page(page.read_text())) != page.read_text()
    }
    for page, rendered in stale.items():
        print(f"{'stale, run make docs' if is_check else 'rendered'}: docs/{page.name}")
        if not is_check:
            page.write_text(rendered)
    return 1 if is_check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
