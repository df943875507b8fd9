"""The tables of docs/configuration.md, rendered from the table of settings; it writes no file."""

from collections.abc import Iterable

from smtpproxy.config.settings import SETTINGS, Setting


def render_settings() -> str:
    """All settings in Markdown: those of a route, then those of the whole proxy."""
    route = _render_table(setting for setting in SETTINGS if setting.is_route)
    whole = _render_table(setting for setting in SETTINGS if not setting.is_route)
    return f"### Of a route\n\n{route}\n\n### Of the proxy\n\n{whole}\n"


def _render_table(settings: Iterable[Setting]) -> str:
    rows = ["| flag | key | variable | default | |", "|---|---|---|---|---|"]
    for setting in settings:
        # A bar would end the cell, in code spans too.
        takes = " " + setting.takes.replace("|", r"\|") if setting.takes else ""
        cells = (
            f"`{setting.flag}{takes}`",
            f"`{setting.key}`",
            f"`{setting.variable}`",
            _default(setting),
            setting.help,
        )
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def _default(setting: Setting) -> str:
    return setting.default or ("off" if setting.is_switch else "–")
