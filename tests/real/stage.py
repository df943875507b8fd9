"""One proxy between scripted ends: every test of a module plays its own script on the same pair of legs."""

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.ends import End, Patience, ScriptedServer, client
from tests.real.proxy import Proxy, run_proxy
from tests.real.recorded import Recorded

ROUTES = {
    "smtp-smtp": ("smtp", "smtp"),
    "smtp-starttls": ("smtp", "smtp+starttls"),
    "smtp-smtps": ("smtp", "smtps"),
    "smtps-smtp": ("smtps", "smtp"),
    "smtps-smtps": ("smtps", "smtps"),
    "lmtp-lmtp": ("lmtp", "lmtp"),
}
"""Listen scheme and upstream scheme by name; all of them lead to the one scripted server."""


class Stage:
    """The proxy, and the server that plays what the test says.

    Attributes:
        proxy: running.
        server: what all routes lead to.
        server_context: for scripts that speak TLS.
        ports: the proxy's, by the route's name.
    """

    def __init__(
        self, proxy: Proxy, server: ScriptedServer, server_context: ssl.SSLContext, nudge_port: int
    ) -> None:
        self.proxy = proxy
        self.server_context = server_context
        self._nudge_port = nudge_port
        self.server = server
        self.ports = {
            name: int(url.rpartition(":")[2]) for name, url in zip(ROUTES, proxy.listen, strict=False)
        }
        self._before = 0

    @contextmanager
    def play(
        self, script: Callable[[End], Any], route: str = "smtp-smtp", *, may_miss_server: bool = False
    ) -> Iterator[End]:
        """Connect a client while the server plays a script; afterwards the script must have held.

        Args:
            script: the server's part.
            route: the kinds of the two legs.
            may_miss_server: the client may be gone before the server is dialled.
        """
        self.server.forget()
        self.server.script = script
        self._before = self.proxy.mark()
        with client(self.ports[route]) as app:
            yield app
        if not may_miss_server:
            self.server.finish()

    def session(self) -> Recorded:
        """What was recorded of the last play."""
        return self.proxy.session(self._before, upstream=f":{self.server.port}")

    def wait_for(self, kind: str, **fields: object) -> None:
        """Until such an event of the play going on has been recorded."""
        self.proxy.wait_for_event(
            self._before,
            lambda event: (
                event["kind"] == kind
                and all(event.get(name.rstrip("_")) == value for name, value in fields.items())
            ),
        )

    @property
    def provider(self) -> End:
        """The server's end of the play going on, as soon as it was dialled."""
        return Patience("the proxy to dial").until(lambda: self.server.ends[-1:])[0]

    def nudge(self) -> None:
        """Return when the proxy has seen to everything that was sent to it before.

        It has one event loop: what another connection's greeting took to come, the octets that were in a
        socket's buffer before have had too.
        """
        for _ in range(2):
            with client(self._nudge_port) as other:
                other.reply()


@contextmanager
def run_stage(
    folder: Path, server_ca: Path, server_context: ssl.SSLContext, *arguments: str
) -> Iterator[Stage]:
    """Start the proxy and the server."""

    def nothing(end: End) -> None:
        end.to_end()

    with ScriptedServer(nothing) as server:
        routes = [
            (f"{listen}://127.0.0.1:0", f"{upstream}://localhost:{server.port}")
            for listen, upstream in ROUTES.values()
        ]
        with run_proxy(
            folder, *routes, ("smtp://127.0.0.1:0", None), upstream_ca=server_ca, arguments=arguments
        ) as proxy:
            nudge_port = int(proxy.listen[-1].rpartition(":")[2])
            yield Stage(proxy, server, server_context, nudge_port)
