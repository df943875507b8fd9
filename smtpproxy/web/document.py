"""The table of the API's resources for docs/, out of the application itself; it serves nothing."""

from pathlib import Path

from smtpproxy.store.contract import LogStatus
from smtpproxy.store.memory import NullLog
from smtpproxy.web.app import make_app
from smtpproxy.web.context import Context
from smtpproxy.web.security import Access
from smtpproxy.web.sockets import WebAddress
from smtpproxy.web.surroundings import Surroundings


def render_resources() -> str:
    """A Markdown table: method, path, and the first sentence of what it does."""
    around = Surroundings(
        version="0",
        store=None,
        feed=NullLog().feed,
        status=LogStatus,
        routes=(),
        ca=Path(),
        report=lambda _: None,
    )
    app = make_app(Context(around, None), Access(WebAddress(host="127.0.0.1", port=8025)))
    lines = ["| | | |", "|---|---|---|"]
    for path, operations in app.openapi()["paths"].items():
        for method, operation in operations.items():
            text = " ".join(operation["description"].split())
            lines.append(f"| {method.upper()} | `{path}` | {text} |")
    return "\n".join(lines) + "\n"
