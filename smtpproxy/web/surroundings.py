"""What the web port is given of the rest of the proxy; service fills it in. It holds no behaviour."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from smtpproxy.store.contract import LogStatus
from smtpproxy.store.feed import Feed


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteShown:
    """One route, as the page shows it."""

    name: str
    listen: str
    upstream: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """The running proxy, seen from the web.

    Attributes:
        store: the event log's file; None where nothing is recorded.
        feed: the event log as it grows.
        status: how recording is doing.
        ca: the authority's certificate, PEM.
        report: tells the operator something in one line.
    """

    version: str
    store: Path | None
    feed: Feed
    status: Callable[[], LogStatus]
    routes: tuple[RouteShown, ...]
    ca: Path
    report: Callable[[str], None]
