"""The tables of docs/sandbox.md, rendered from the table of failures; it writes no file."""

from smtpproxy.sandbox.failures import OTHERS, REFUSALS, STEPS


def render_failures() -> str:
    """Words and steps, in Markdown."""
    rows = ["| local part or user name | such as | what happens |", "|---|---|---|"]
    for word in (*REFUSALS.values(), *OTHERS.values()):
        examples = ", ".join(f"`{example}`" for example in word.examples)
        rows.append(f"| `{word.form}` | {examples} | {word.effect} |")
    rows += ["", "| STEP | it concerns |", "|---|---|"]
    rows += [f"| `{step}` | {what} |" for step, what in STEPS.items()]
    return "\n".join(rows) + "\n"
