"""The server behind the door: private, and started again when something brings it down."""

from pathlib import Path
from typing import Any

import pytest
import trio

from smtpproxy.web import backend as backend_module
from smtpproxy.web.backend import MAX_PATH_BYTES, private_socket_path
from tests.ends import until
from tests.web.stage import web_port


def test_its_path_is_private_and_short_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    with private_socket_path() as path:
        assert len(str(path).encode()) <= MAX_PATH_BYTES
        assert path.parent.stat().st_mode & 0o777 == 0o700
    assert not path.parent.exists()


async def test_it_is_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend_module, "RESTART_PAUSE_S", 0.0)
    serve, broken = backend_module.serve, trio.Event()

    async def serve_until_broken(app: Any, config: Any, *, task_status: Any) -> None:
        if broken.is_set():
            await serve(app, config, task_status=task_status)
            return
        async with trio.open_nursery() as nursery:
            await nursery.start(serve, app, config)
            task_status.started([])
            await broken.wait()
            raise ZeroDivisionError

    monkeypatch.setattr(backend_module, "serve", serve_until_broken)
    async with web_port(tmp_path) as stage:
        assert (await stage.get("/livez")).status_code == 200
        broken.set()
        await until(lambda: bool(stage.reported))

        async def is_back() -> bool:
            return (await stage.get("/livez")).status_code == 200

        await until(is_back)
    assert stage.reported == ["the page is started again after an internal error (ExceptionGroup)"]
