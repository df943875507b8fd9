"""The web port in the composition: bound before anything runs, served once mail flows, never the proxy's end.

Nothing of it is imported before it is needed: HTTP and its libraries take longer to load than the proxy.
"""

import functools
import importlib
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType

import trio

from smtpproxy import __version__
from smtpproxy.config.model import Config, WebConfig
from smtpproxy.endpoints import Endpoint
from smtpproxy.service.logs import Log
from smtpproxy.web.sockets import WebAddress, WebSockets, bind_web
from smtpproxy.web.surroundings import RouteShown, Surroundings

MAX_DESCRIPTORS = 450
"""Connections of the page (three each, for its private socket too), subscribers, the store's readers."""


class Web:
    """The web port of one configuration."""

    def __init__(self, config: WebConfig, *, closing: ExitStack) -> None:
        """Bind it; `closing` closes it in the end.

        Raises:
            ServiceError: it cannot be listened on; says why, and what to do.
        """
        self._config = config
        self._sockets: WebSockets = bind_web(config.host, config.port, closing=closing)
        self._is_over = trio.Event()

    @property
    def address(self) -> WebAddress:
        """Where it is."""
        return self._sockets.address

    def end(self) -> None:
        """The log is closed: tell subscribers the rest of it, then end."""
        self._is_over.set()

    async def serve(
        self, config: Config, bound: list[Endpoint], log: Log, *, ca: Path, report: Callable[[str], None]
    ) -> None:
        """Serve until `end`; whatever goes wrong is reported, and mail flows on."""
        around = Surroundings(
            version=__version__,
            store=config.store,
            feed=log.feed,
            status=log.status,
            routes=tuple(
                RouteShown(name=route.name, listen=str(listen), upstream=str(route.upstream))
                for route, listen in zip(config.routes, bound, strict=True)
            ),
            ca=ca,
            report=report,
        )
        try:
            # In a thread: half a second in which mail would stand still.
            server, security = await trio.to_thread.run_sync(_load)
            access = security.Access(self.address, names=self._config.names, token=self._config.token)
            await server.serve_web(around, access, self._sockets, is_over=self._is_over)
        except Exception as error:  # noqa: BLE001 - see above
            report(f"the page ended, mail flows on: internal error, please report it ({_names(error)})")


@functools.cache
def _load() -> tuple[ModuleType, ModuleType]:
    return (
        importlib.import_module("smtpproxy.web.server"),
        importlib.import_module("smtpproxy.web.security"),
    )


def _names(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return ", ".join(sorted({_names(inner) for inner in error.exceptions}))
    return type(error).__name__
