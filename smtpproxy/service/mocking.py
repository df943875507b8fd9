"""A proxy whose provider is a mock, from its start to its end; it shows nothing and reads no flag."""

from collections.abc import Callable, Sequence
from pathlib import Path

from smtpproxy.config.model import Config, RouteConfig
from smtpproxy.endpoints import Endpoint
from smtpproxy.replay.mock import Mock
from smtpproxy.service.proxy import run_proxy
from smtpproxy.service.ready import Ready
from smtpproxy.service.stopping import Stop
from smtpproxy.service.watching import Watcher


def mock_config(listens: Sequence[Endpoint], *, certs: Path, is_json: bool, is_quiet: bool) -> Config:
    """What `run_proxy` needs for a mock behind these listeners: nothing is recorded.

    Args:
        listens: at least one.
        certs: the authority's folder.
        is_json, is_quiet: as for `run`.
    """
    routes = tuple(
        RouteConfig(
            name="mock" if number == 1 else f"mock-{number}", listen=listen, upstream=Endpoint(scheme="mock")
        )
        for number, listen in enumerate(listens, 1)
    )
    return Config(routes=routes, store=None, certs=certs, is_json=is_json, is_quiet=is_quiet)


async def run_mock(
    config: Config,
    mock: Mock,
    *,
    is_once: bool,
    ready: Callable[[Ready], None],
    watchers: Sequence[Watcher] = (),
    report: Callable[[str], None],
) -> bool:
    """Serve the mock until a signal, or until every session was given out and has ended.

    Args:
        config: of `mock_config`.
        mock: its results are to be read afterwards.
        is_once: end by itself when the mock is exhausted.
        ready, watchers, report: as for `run_proxy`.

    Returns:
        Whether no session was cut off by a second signal.

    Raises:
        ServiceError: a port is taken, a certificate cannot be read.
    """
    stop = Stop()

    def end_if_exhausted() -> None:
        if mock.is_exhausted and not stop.is_asked_for.is_set():
            stop.ask()

    if is_once:
        mock.on_change = end_if_exhausted
    return await run_proxy(config, ready=ready, watchers=watchers, report=report, stop=stop, mock=mock)
