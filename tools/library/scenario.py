"""What one recording of the library is made of; it names no program and starts nothing."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from smtpproxy.recording.files import SUFFIX
from smtpproxy.session.events import Outcome

FOLDER = Path(__file__).parents[2] / "replay"
"""Where the recordings are."""

SANDBOX = "sandbox"
"""What `Scenario.server` is where no other program is."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """What an app logs in with, all of it invented for this library.

    Attributes:
        user: the identity.
        password: or "".
        token: a bearer token, instead of the password; or "".
    """

    user: str
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no recording may hold in any form."""
        return tuple(secret for secret in (self.password, self.token) if secret)

    @property
    def environment(self) -> dict[str, str]:
        """The same, as `smtpproxy replay` takes it."""
        variables = {
            "SMTPPROXY_USERNAME": self.user,
            "SMTPPROXY_PASSWORD": self.password,
            "SMTPPROXY_TOKEN": self.token,
        }
        return {name: value for name, value in variables.items() if value}


@dataclass(frozen=True, kw_only=True)
class Target:
    """A running server.

    Attributes:
        url: what `smtpproxy replay --to` takes; its host is localhost or 127.0.0.1.
        ca: who signed its certificate, a PEM file; None where it has none.
    """

    url: str
    ca: Path | None = None


@dataclass(frozen=True, kw_only=True)
class App:
    """Where an app finds its provider, and what it was given to send with.

    Attributes:
        url: the proxy's.
        ca: the authority that it trusts.
        folder: for files of its own.
        account: to log in with, if at all.
        topic: the message's subject and the left part of its Message-ID.
    """

    url: str
    ca: Path
    folder: Path
    account: Account | None
    topic: str


StartServer = Callable[[Path], AbstractContextManager[Target]]
"""Starts the server anew, as if it had never seen anyone, with a folder of its own; stops it at the end."""

Play = Callable[[App], None]
"""What the app does; it returns when it has closed its connections."""


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One recording: what it shows, who takes part, and what has to come of it.

    Attributes:
        name: the file's, without its suffix.
        shows: what it is worth keeping for, as a table's cell.
        server, client: the programs, as a table's cells.
        outcomes: of its sessions, in order.
        code: a reply that the client has to get for this to show what it shows.
        start_server: see `StartServer`.
        play: see `Play`.
        listen: the scheme by which the app speaks to the proxy.
        account: what it logs in with.
        ignored_headers: others each time; the line that opens a session says so to a mock.
    """

    name: str
    shows: str
    server: str
    client: str
    outcomes: tuple[Outcome, ...]
    code: int
    start_server: StartServer
    play: Play
    listen: str = "smtp"
    account: Account | None = None
    ignored_headers: tuple[str, ...] = ()

    @property
    def is_sandbox(self) -> bool:
        """Whether the recording proxy itself is the provider, and so has one leg only."""
        return self.server == SANDBOX

    @property
    def file(self) -> Path:
        """Where its recording belongs."""
        return FOLDER / f"{self.name}{SUFFIX}"
