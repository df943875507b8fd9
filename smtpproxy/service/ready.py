"""What is known once every listener is up, as people and scripts are told it."""

import os
from pathlib import Path

import msgspec

from smtpproxy.endpoints import Endpoint


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """The proxy accepts connections.

    Attributes:
        listen: the addresses really bound, one per route; port 0 has become a port.
        upstream: where they lead, in the same order.
        web, live: the page's URL and the live websocket's; None where there is none.
        store: the event log; None where nothing is recorded.
        ca: the authority's certificate, for the app to trust.
    """

    listen: list[Endpoint]
    upstream: list[Endpoint]
    web: str | None = None
    live: str | None = None
    store: Path | None
    ca: Path


def render_ready_line(ready: Ready) -> bytes:
    """The first line of `run --json`; scripts depend on its shape and on the order of its keys."""
    line = {
        "kind": "ready",
        "listen": [str(endpoint) for endpoint in ready.listen],
        "upstream": [str(endpoint) for endpoint in ready.upstream],
        "web": ready.web,
        "live": ready.live,
        "store": None if ready.store is None else _text(ready.store),
        "ca": _text(ready.ca),
    }
    return msgspec.json.encode(line) + b"\n"


def _text(path: Path) -> str:
    """A path as JSON can hold it: names that are not UTF-8 get escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
