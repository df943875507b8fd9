"""One running web port: door, live websocket and backend, wired together; it is told when to end."""

from pathlib import Path

import trio

from smtpproxy.web.app import make_app
from smtpproxy.web.backend import private_socket_path, serve_backend
from smtpproxy.web.context import Context
from smtpproxy.web.door import Door
from smtpproxy.web.hub import Hub
from smtpproxy.web.live import Live
from smtpproxy.web.reading import Readers, closing
from smtpproxy.web.security import Access
from smtpproxy.web.sockets import WebSockets
from smtpproxy.web.surroundings import Surroundings

FAREWELL_S = 3.0
"""How long subscribers may take to be told the rest after the log was closed."""


async def serve_web(
    around: Surroundings, access: Access, sockets: WebSockets, *, is_over: trio.Event
) -> None:
    """Serve the port until `is_over` is set and subscribers were told the rest of the log.

    Cancelled, it ends at once.

    Args:
        sockets: stay open; the caller closes them.
        is_over: set when the log is closed.
    """
    if around.store is None:
        await _serve(around, access, sockets, is_over, None)
        return
    with closing(Readers(around.store)) as readers:
        await _serve(around, access, sockets, is_over, readers)


async def _serve(
    around: Surroundings, access: Access, sockets: WebSockets, is_over: trio.Event, readers: Readers | None
) -> None:
    context = Context(around, readers)
    live = Live(around.feed, Hub(context.history), hello=context.hello)
    context.subscribers = lambda: live.count
    app = await trio.to_thread.run_sync(make_app, context, access)
    with private_socket_path() as path:
        async with trio.open_nursery() as nursery:
            await nursery.start(_start_backend, app, path, around)
            door = Door(access=access, live=live, backend=path, report=around.report)
            nursery.start_soon(door.serve, sockets.sockets)
            await is_over.wait()
            with trio.move_on_after(FAREWELL_S):
                await live.wait_until_alone()
            nursery.cancel_scope.cancel()


async def _start_backend(
    app: object, path: Path, around: Surroundings, *, task_status: trio.TaskStatus[None]
) -> None:
    await serve_backend(app, path, report=around.report, task_status=task_status)
