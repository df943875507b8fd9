"""Servers that nobody here wrote, behind one face: ports by TLS mode, what was stored, what the log says."""

import logging
import re
import shutil
import ssl
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.ends import Patience, free_port, is_listening
from tests.programs import program
from tests.real.postfix import Postfix
from tests.real.privileges import require_root


class Server(Protocol):
    """What the matrix asks of a server."""

    ports: dict[str, int]

    def stored(self, marker: bytes) -> bytes:
        """The message with that marker as it was stored, lines ended by LF, perhaps below trace headers."""

    def mark(self, port: str) -> None:
        """Leave out what was there before; called when no session is running."""

    def commands(self, port: str) -> Counter[str]:
        """How many of each command the first session after the mark had, by the server's own log."""


@dataclass(kw_only=True)
class PostfixServer:
    """Postfix smtpd as a Server."""

    postfix: Postfix

    def __post_init__(self) -> None:
        postfix = self.postfix
        self.ports = {"plain": postfix.plain, "starttls": postfix.starttls, "implicit": postfix.implicit}
        self._seen = 0

    def stored(self, marker: bytes) -> bytes:
        """From bob's maildir."""
        return self.postfix.mail_with("bob", marker)

    def mark(self, port: str) -> None:
        """After the last `disconnect` line of sessions that have begun."""
        begun = len(re.findall(rf"{port}/smtpd\[\d+\]: connect from", self.postfix.log()))
        self._seen = len(self.postfix.wait_for_disconnects(port, begun)) if begun else 0

    def commands(self, port: str) -> Counter[str]:
        """From the `disconnect` line, which counts them."""
        counts = Counter(self.postfix.wait_for_disconnects(port, self._seen + 1)[self._seen])
        del counts["commands"]
        return Counter({verb.upper(): number for verb, number in counts.items()})


class AiosmtpdServer(logging.Handler):
    """Three aiosmtpd controllers, which accept any account; it reads aiosmtpd's own log.

    Attributes:
        messages: as they came.
        accounts: user and password of every AUTH.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(logging.INFO)
        self.context = context
        self.ports: dict[str, int] = {}
        self.messages: list[bytes] = []
        self.accounts: list[tuple[str, str]] = []
        self._sessions: dict[Any, Counter[str]] = {}
        self._ended: set[Any] = set()
        self._before: set[Any] = set()

    @contextmanager
    def running(self) -> Iterator["AiosmtpdServer"]:
        """Start all three; stop them at the end."""
        log = logging.getLogger("mail.log")
        level = log.level
        log.addHandler(self)
        log.setLevel(logging.INFO)
        with ExitStack() as stack:
            stack.callback(log.setLevel, level)
            stack.callback(log.removeHandler, self)
            for name in ("plain", "starttls", "implicit"):
                self.ports[name] = free_port()
                controller = Controller(
                    self,
                    hostname="127.0.0.1",
                    port=self.ports[name],
                    ssl_context=self.context if name == "implicit" else None,
                    authenticator=self.authenticate,
                    auth_require_tls=False,
                    enable_SMTPUTF8=True,
                    server_hostname="aiosmtpd.example.test",
                    tls_context=self.context if name == "starttls" else None,
                )
                controller.start()
                stack.callback(controller.stop)
            yield self

    def emit(self, record: logging.LogRecord) -> None:
        """Count what a session said, from `PEER >> LINE`; what has no command is a probe."""
        if record.msg == "%r >> %r":
            peer, line = cast("tuple[Any, bytes]", record.args)
            verb = line.split(b" ")[0].strip().decode().upper()
            self._sessions.setdefault(peer, Counter())[verb] += 1
        elif record.msg == "%r connection lost":
            (peer,) = cast("tuple[Any]", record.args)
            if peer in self._sessions:
                self._ended.add(peer)

    def stored(self, marker: bytes) -> bytes:
        """As it came, but for the line ends."""
        exact = Patience(f"aiosmtpd to store {marker!r}").until(
            lambda: next((message for message in self.messages if marker in message), None)
        )
        return exact.replace(b"\r\n", b"\n")

    def mark(self, port: str) -> None:
        """After the sessions that have begun, on any port."""
        self._before = set(self._sessions)

    def commands(self, port: str) -> Counter[str]:
        """From its log."""
        (peer,) = Patience("aiosmtpd's session to end").until(lambda: self._ended - self._before)
        return self._sessions[peer]

    # aiosmtpd's interfaces

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Keep it."""
        assert envelope.original_content is not None
        self.messages.append(envelope.original_content)
        return "250 2.0.0 kept"

    def authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        """Anyone may."""
        assert isinstance(data, LoginPassword)
        self.accounts.append((data.login.decode(), data.password.decode()))
        return AuthResult(success=True)


@dataclass(kw_only=True)
class SinkServer:
    """Postfix smtp-sink, plain only, dumping every message to one file.

    Attributes:
        port: on loopback.
        dump: the file.
        output: where its verbose output goes.
    """

    port: int
    dump: Path
    output: Path

    def __post_init__(self) -> None:
        self.ports = {"plain": self.port}
        self._read_to = 0

    def messages(self) -> list[bytes]:
        """The dumped messages, each below the sink's own headers."""
        data = self.dump.read_bytes() if self.dump.exists() else b""
        return [message.removesuffix(b"\n") for message in re.split(rb"(?m)^X-Client-Addr: ", data)[1:]]

    def stored(self, marker: bytes) -> bytes:
        """From the dump."""
        return Patience(f"smtp-sink to dump {marker!r}").until(
            lambda: next((message for message in self.messages() if marker in message), None)
        )

    def mark(self, port: str) -> None:
        """After the last `disconnect` of sessions that have begun."""
        self._read_to = 0
        self._read_to = len(self._whole_sessions())

    def commands(self, port: str) -> Counter[str]:
        """From its verbose output; the final dot is no command."""
        text = self._whole_sessions()
        verbs = re.findall(r"(?mi)smtp-sink: (ehlo|helo|lhlo|mail|rcpt|data|rset|noop|quit)\b", text)
        return Counter(verb.upper() for verb in verbs)

    def _whole_sessions(self) -> str:
        """The output since the mark, once all sessions in it have ended, at least one if there is a mark."""

        def find() -> str | None:
            text = self.output.read_text(errors="replace")[self._read_to :]
            begun = text.count("/smtp-sink: connect (")
            is_enough = begun > 0 or self._read_to == 0
            return text if is_enough and text.count("/smtp-sink: disconnect\n") == begun else None

        return Patience("smtp-sink to log the session").until(find)


@contextmanager
def run_sink(*flags: str) -> Iterator[SinkServer]:
    """Start smtp-sink and stop it; with -L it speaks LMTP."""
    binary = program("smtp-sink")
    require_root("smtp-sink that gives up its privileges")
    folder = Path(tempfile.mkdtemp(prefix="smtp-sink-"))
    try:
        shutil.chown(folder, "postfix")
        sink = SinkServer(port=free_port(), dump=folder / "dump", output=folder / "output")
        command = [binary, "-v", *flags, "-u", "postfix", "-D", str(sink.dump)]
        with sink.output.open("wb") as output:
            process = subprocess.Popen(
                [*command, f"127.0.0.1:{sink.port}", "100"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=output,
            )
        try:
            Patience("smtp-sink to listen").until(lambda: is_listening(sink.port) or process.poll())
            assert process.poll() is None, sink.output.read_text()
            yield sink
        finally:
            process.terminate()
            process.wait()
    finally:
        shutil.rmtree(folder)
