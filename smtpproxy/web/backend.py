"""Hypercorn behind a private unix socket: serves the pages and REST to the door, and to nobody else.

It is kept running: if a request ever brings it down, it is started again, and the proxy does not notice.
"""

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import trio
from hypercorn.config import Config
from hypercorn.trio import serve

MAX_PATH_BYTES: Final = 107
"""What a unix socket's address has room for."""
RESTART_PAUSE_S: Final = 0.5


@contextlib.contextmanager
def private_socket_path() -> Iterator[Path]:
    """A path for the socket in a new folder that only we may enter; removed in the end."""
    folder = tempfile.gettempdir()
    if len(folder.encode()) > MAX_PATH_BYTES - 32:
        folder = "/tmp"  # noqa: S108 - the new folder in it is private
    with tempfile.TemporaryDirectory(prefix="smtpproxy-", dir=folder, ignore_cleanup_errors=True) as private:
        yield Path(private) / "web"


async def serve_backend(
    app: Any,
    path: Path,
    *,
    report: Callable[[str], None],
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve an ASGI app until cancelled; started once the socket takes connections."""
    has_started = False
    while True:
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(serve, app, _config(path))
                if not has_started:
                    task_status.started()
                    has_started = True
        except Exception as error:
            if not has_started:
                raise
            report(f"the page is started again after an internal error ({type(error).__name__})")
            await trio.sleep(RESTART_PAUSE_S)


def _config(path: Path) -> Config:
    config = Config()
    config.bind = [f"unix:{path}"]
    config.umask = 0o177
    config.errorlog = None  # errors of the app are reported by the app; the rest is in the report above
    config.accesslog = None
    config.include_server_header = False
    config.graceful_timeout = 0.5
    config.h11_max_incomplete_size = 64 * 1024
    return config
