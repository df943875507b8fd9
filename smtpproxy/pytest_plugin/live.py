"""What `smtp_proxy` hands out: where the app connects, then its sessions; it saves none unasked."""

import contextlib
from collections.abc import Callable, Iterator
from os import PathLike
from pathlib import Path
from typing import NoReturn

import pytest

from smtpproxy.errors import SmtpProxyError
from smtpproxy.inspect.conversations import Conversation
from smtpproxy.inspect.mail import Message
from smtpproxy.pytest_plugin.settings import (
    ROUTE_KEYS,
    in_words_of_pytest,
    proxy_config,
    read_listen,
    read_marker,
    read_upstream,
)
from smtpproxy.recording.files import save_recording
from smtpproxy.service.embedded import EmbeddedProxy
from smtpproxy.service.ready import Ready


class LiveProxy:
    """A proxy that runs as long as the test.

    Attributes:
        host, port: where it listens.
        url: the same as a URL.
        ca: the certificate for the app to trust: `ssl.create_default_context(cafile=smtp_proxy.ca)`.
        upstream: the URL of where it leads.
    """

    def __init__(self, proxy: EmbeddedProxy, ready: Ready) -> None:
        (listen,) = ready.listen
        self.host = listen.host
        self.port = listen.port
        self.url = str(listen)
        self.ca: Path = ready.ca
        self.upstream = str(ready.upstream[0])
        self._proxy = proxy
        self._seen: dict[str, Conversation] = {}

    @property
    def sessions(self) -> list[Conversation]:
        """Every session so far, oldest first, with all that has arrived by now; it waits for no end."""
        return self._conversations(self._proxy.recorded())

    @property
    def messages(self) -> list[Message]:
        """The finished messages of all sessions."""
        return [message for session in self.sessions for message in session.messages]

    def wait_for(self, predicate: Callable[[Conversation], object], timeout: float = 5.0) -> Conversation:
        """Wait for a session of which the predicate is true: `wait_for(lambda s: s.outcome == "delivered")`.

        It blocks the thread: in an async test call it by `to_thread` if the app runs in the test's own loop.

        Args:
            predicate: asked about every session whenever something was said.
            timeout: seconds.

        Raises:
            AssertionError: there was none in time; shows the sessions there are.
        """
        __tracebackhide__ = True

        sessions: list[Conversation] = []

        def find(recorded: dict[str, list[bytes]]) -> Conversation | None:
            sessions[:] = self._conversations(recorded)
            return next((session for session in sessions if predicate(session)), None)

        found = self._proxy.wait_until(find, timeout)
        if found is None:
            there = "".join(map(repr, sessions)) or "there was no session"
            raise AssertionError(f"no session was as waited for in {timeout:g} s:\n{there}")
        return found

    def export(self, path: str | PathLike[str]) -> Path:
        """Write all sessions so far to a recording file, which is replaced if it is there.

        Raises:
            RecordingError: it cannot be written, or there is no session.
        """
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        save_recording(target, self._proxy.recorded().values())
        return target

    def _conversations(self, recorded: dict[str, list[bytes]]) -> list[Conversation]:
        for session, lines in recorded.items():
            seen = self._seen.get(session)
            if seen is None or len(seen.lines) != len(lines):
                self._seen[session] = Conversation(lines)
        return [self._seen[session] for session in recorded]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.url} -> {self.upstream}>"


@contextlib.contextmanager
def open_live_proxy(request: pytest.FixtureRequest, *, certs: Path) -> Iterator[LiveProxy]:
    """The fixture `smtp_proxy`: started, and stopped on leaving; a mistake fails the test in one line."""
    try:
        keywords = read_marker(request.node, "smtp_proxy", ROUTE_KEYS)
        route = read_upstream(request.config, keywords, read_listen(keywords))
        proxy = EmbeddedProxy(proxy_config(route, certs=certs))
        ready = proxy.start()
    except SmtpProxyError as error:
        fail(in_words_of_pytest(str(error)))
    try:
        yield LiveProxy(proxy, ready)
    finally:
        proxy.stop()


def fail(words: str) -> NoReturn:
    """Fail the test with these words and no traceback: there is nothing in our code for the reader to see."""
    raise pytest.fail.Exception(words, pytrace=False) from None
