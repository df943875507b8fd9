"""The composition root: one configuration in, a running proxy out; it shows nothing and parses nothing.

Order matters. Coming up: the web port's sockets, certificates and routes (a mistake there must not touch the
store), the store's lock and log, the watchers, then the listeners; `ready` is the last, the page is loaded
after it. Going down: the listeners and their sessions, then the log (everything said is written), then the
watchers and whoever watches over the web (they read the log to its end).
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack, aclosing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import trio

from smtpproxy.config.checks import refuse_loops
from smtpproxy.config.model import Config
from smtpproxy.endpoints import Endpoint
from smtpproxy.errors import SmtpProxyError, StoreError
from smtpproxy.net.listener import serve_routes
from smtpproxy.net.route import Limits
from smtpproxy.service.descriptors import make_room
from smtpproxy.service.logs import Log, open_configured_log, report_status
from smtpproxy.service.ready import Ready
from smtpproxy.service.recording import LogRecording
from smtpproxy.service.routes import build_routes
from smtpproxy.service.stopping import Stop
from smtpproxy.service.watching import Watcher, watch_all
from smtpproxy.service.web import MAX_DESCRIPTORS, Web
from smtpproxy.tls.authority import Authority

if TYPE_CHECKING:
    from smtpproxy.replay.mock import Mock

DRAIN_S = 5.0
"""How long watchers may take to show the rest once everything is written."""


async def run_proxy(
    config: Config,
    *,
    ready: Callable[[Ready], None],
    watchers: Sequence[Watcher] = (),
    report: Callable[[str], None],
    stop: Stop | None = None,
    log: Log | None = None,
    mock: "Mock | None" = None,
) -> bool:
    """Run until SIGTERM or SIGINT; a second one ends sessions at once.

    Cancelling it cuts sessions off and still writes what was recorded.

    Args:
        config: what to run.
        ready: called once, when every listener accepts connections.
        watchers: shown every event from then on, each at its own pace.
        report: told, in one line, what an operator should know.
        stop: how else it is asked to end; without one it is by signals alone.
        log: record there and not in the configured store; it is closed at the end.
        mock: the recorded sessions that routes to `mock:` are answered from.

    Returns:
        Whether all went well to the end: no session was cut off, nothing is missing from the log.

    Raises:
        ServiceError: a port is taken, the store is in use, a certificate cannot be read.
        ConfigError: an upstream turned out to be our own listener.
    """
    try:
        with ExitStack() as closing:
            web = None if config.web is None else Web(config.web, closing=closing)
            return await _run(config, ready, watchers, report, stop or Stop(), log, mock, web)
    except BaseExceptionGroup as group:
        # A nursery wraps whatever goes wrong in it; the user's mistake is in there, and is one line.
        mistake = _first_mistake(group)
        if mistake is None:
            raise
        raise mistake from None


async def _run(
    config: Config,
    ready: Callable[[Ready], None],
    watchers: Sequence[Watcher],
    report: Callable[[str], None],
    stop: Stop,
    given_log: Log | None,
    mock: "Mock | None",
    web: Web | None,
) -> bool:
    authority = Authority.load_or_create(config.certs)
    routes = build_routes(config, authority, limits=_limits(config, report), mock=mock)
    may_show = trio.Event()
    opened = open_configured_log(config) if given_log is None else aclosing(given_log)
    async with opened as log, trio.open_nursery() as running:
        recording = LogRecording(log, keep_secrets=config.keep_secrets, bodies=config.bodies, report=report)
        await running.start(stop.obey_signals)
        running.start_soon(
            partial(report_status, log, report, is_refusing=config.on_record_failure == "refuse")
        )
        async with trio.open_nursery() as watching:
            await watching.start(partial(watch_all, log.feed, watchers, may_show=may_show, report=report))
            async with trio.open_nursery() as serving:
                stop.cut_short(serving.cancel_scope)
                bound: list[Endpoint] = await serving.start(
                    partial(serve_routes, routes, recording, shutdown=stop.is_asked_for)
                )
                refuse_loops(bound, config.routes)
                ready(_ready(config, bound, authority, web))
                may_show.set()
                if web is not None:
                    certificate = authority.certificate_path
                    watching.start_soon(partial(web.serve, config, bound, log, ca=certificate, report=report))
            # Closing the log ends its feed: the watchers are shown the rest, and their nursery ends.
            is_written = await _close(log, report)
            if web is not None:
                web.end()
            watching.cancel_scope.deadline = trio.current_time() + DRAIN_S
            stop.cut_short(watching.cancel_scope)
        running.cancel_scope.cancel()
    return is_written and not stop.is_cut


def _limits(config: Config, report: Callable[[str], None]) -> Limits:
    others = MAX_DESCRIPTORS if config.web is not None else 0
    room = make_room(config.limits.max_sessions, others=others)
    if room < config.limits.max_sessions:
        report(
            f"warning: the limit on open files (ulimit -Hn) has room for {room} sessions, "
            f"not {config.limits.max_sessions}"
        )
    return replace(config.limits, max_sessions=room)


def _ready(config: Config, bound: list[Endpoint], authority: Authority, web: Web | None) -> Ready:
    return Ready(
        listen=bound,
        upstream=[route.upstream for route in config.routes],
        web=None if web is None else web.address.url,
        live=None if web is None else web.address.live_url,
        store=config.store,
        ca=authority.certificate_path,
    )


async def _close(log: Log, report: Callable[[str], None]) -> bool:
    """Write everything; whether that worked."""
    try:
        await log.aclose()
    except StoreError as error:
        report(str(error))
        return False
    return True


def _first_mistake(group: BaseExceptionGroup[BaseException]) -> SmtpProxyError | None:
    """The error for the user, unless something worse went wrong beside it."""
    mistake: SmtpProxyError | None = None
    for error in group.exceptions:
        found = _first_mistake(error) if isinstance(error, BaseExceptionGroup) else error
        if not isinstance(found, SmtpProxyError):
            return None
        mistake = mistake or found
    return mistake
