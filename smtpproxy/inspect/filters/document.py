"""The table of keys as docs/filters.md shows it."""

from smtpproxy.inspect.filters.keys import KEYS


def render_keys() -> str:
    """Three columns: the key, what it asks, terms that are valid."""
    lines = ["| key | what it asks | examples |", "|---|---|---|"]
    for name, key in KEYS.items():
        examples = " · ".join(f"`{example}`" for example in key.examples)
        lines.append(f"| `{name}:` | {key.meaning} | {examples} |")
    return "\n".join(lines) + "\n"
