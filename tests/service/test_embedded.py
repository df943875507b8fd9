"""A proxy in a thread of its own: started, looked at and stopped from sync code, and from loops of others."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from smtpproxy.config.model import Config, RouteConfig
from smtpproxy.endpoints import parse_endpoint
from smtpproxy.errors import ServiceError
from smtpproxy.net.route import Limits
from smtpproxy.service.embedded import EmbeddedProxy
from tests.ends import End, client


def config(folder: Path, listen: str = "smtp://127.0.0.1:0", upstream: str = "sandbox:") -> Config:
    route = RouteConfig(
        listen=parse_endpoint(listen, is_listen=True), upstream=parse_endpoint(upstream, is_listen=False)
    )
    limits = Limits(max_sessions=100, shutdown_timeout_s=0.2)
    return Config(routes=(route,), store=None, certs=folder / "certs", limits=limits)


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[EmbeddedProxy]:
    proxy = EmbeddedProxy(config(tmp_path))
    yield proxy
    proxy.stop()


def said(proxy: EmbeddedProxy) -> list[bytes]:
    return [line for lines in proxy.recorded().values() for line in lines if b'"kind":"command"' in line]


def test_what_was_sent_is_recorded_before_anybody_looks(proxy: EmbeddedProxy) -> None:
    (listen,) = proxy.start().listen
    with client(listen.port) as app:
        app.reply()
        for count in range(1, 300):
            app.say(b"NOOP\r\n")
            assert len(said(proxy)) == count
            app.reply()


def test_every_session_counts(proxy: EmbeddedProxy) -> None:
    (listen,) = proxy.start().listen
    for count in range(1, 30):
        with client(listen.port) as app:
            app.say(b"QUIT\r\n")
            # Not even the greeting was waited for.
            assert len(said(proxy)) == count
    assert len(proxy.recorded()) == 29


def test_from_within_another_loop(proxy: EmbeddedProxy) -> None:
    async def main() -> None:
        (listen,) = proxy.start().listen
        async with await trio.open_tcp_stream("127.0.0.1", listen.port) as stream:
            await stream.send_all(b"NOOP\r\n")
            assert len(said(proxy)) == 1
        proxy.stop()

    trio.run(main)


def test_stopped_it_still_tells_what_there_was(proxy: EmbeddedProxy) -> None:
    (listen,) = proxy.start().listen
    with client(listen.port) as app:
        app.reply()
        assert app.ask("NOOP").startswith(b"250 ")
        proxy.stop()
        assert app.to_end().startswith(b"421 4.3.2 ")
    (lines,) = proxy.recorded().values()
    assert lines[-1].startswith(b'{"kind":"end"')
    with pytest.raises(ServiceError, match="the proxy has ended"):
        proxy.call(trio.lowlevel.checkpoint)
    proxy.stop()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", listen.port))


def test_a_mistake_is_raised_where_it_was_started(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        proxy = EmbeddedProxy(config(tmp_path, f"smtp://127.0.0.1:{taken.getsockname()[1]}"))
        with pytest.raises(ServiceError, match="the address is in use"):
            proxy.start()
    assert not [thread for thread in threading.enumerate() if thread.name == "smtpproxy"]


def test_what_fails_in_the_loop_is_raised_to_the_caller(proxy: EmbeddedProxy) -> None:
    async def fail() -> None:
        await trio.lowlevel.checkpoint()
        raise LookupError("not here")

    with pytest.raises(ServiceError, match="has not been started"):
        proxy.call(fail)
    (listen,) = proxy.start().listen
    with pytest.raises(LookupError, match="not here"):
        proxy.call(fail)
    with client(listen.port) as app:
        assert app.reply().startswith(b"220 ")


def test_waiting_ends_with_what_is_waited_for(proxy: EmbeddedProxy) -> None:
    (listen,) = proxy.start().listen

    def two_commands(recorded: dict[str, list[bytes]]) -> int | None:
        return sum(b'"kind":"command"' in line for lines in recorded.values() for line in lines) // 2 or None

    assert proxy.wait_until(two_commands, 0.01) is None

    def talk() -> None:
        with client(listen.port) as app:
            talk_to(app)

    def talk_to(app: End) -> None:
        app.reply()
        app.ask("NOOP")
        app.ask("QUIT")

    app = threading.Thread(target=talk)
    app.start()
    assert proxy.wait_until(two_commands, 20.0) == 1
    app.join()
