"""An app in memory at a mock: it says what a recording has, or what a test wants, through the real core."""

from collections.abc import Callable, Iterator

from smtpproxy.recording.overrides import Overrides
from smtpproxy.replay.mock import Mock
from smtpproxy.replay.results import SessionResult
from smtpproxy.replay.script import Script, Step
from smtpproxy.replay.script_reader import read_script
from smtpproxy.session.events import AnyEvent
from tests.conversation import Conversation
from tests.session.harness import Scene


def client_script(talk: Conversation, *, overrides: Overrides | None = None) -> Script:
    """The client's leg of a conversation, as if read from a file."""
    events = list(talk.events)
    source: Callable[[], Iterator[AnyEvent]] = lambda: iter(events)  # noqa: E731
    return read_script(source, leg="client", name="mail.smtp.jsonl", line=1, overrides=overrides)


class App(Scene):
    """One session of an app with a mock."""

    def __init__(
        self, mock: Mock, *, is_lmtp: bool = False, is_tls: bool = False, nonce: str = "01KTEST"
    ) -> None:
        policy = mock.open(
            "127.0.0.1:50312", is_lmtp=is_lmtp, is_tls=is_tls, offers_starttls=not is_tls, nonce=nonce
        )
        super().__init__(
            policy=policy,
            is_lmtp=is_lmtp,
            is_client_tls=is_tls,
            policy_content_octets=mock.content_octets,
        )
        self._heard = 0

    @property
    def greeting(self) -> str:
        """What it heard first."""
        return self.reply()

    def say(self, text: str | bytes) -> str:
        """Say a line (text gets its CRLF), and hear what comes."""
        self.client.says(text if isinstance(text, bytes) else text.encode() + b"\r\n")
        return self.reply()

    def reply(self) -> str:
        """What came since this was last asked, without the last CRLF."""
        heard = bytes(self.client.heard)[self._heard :].decode("utf-8", "backslashreplace")
        self._heard = len(self.client.heard)
        return heard.removesuffix("\r\n").replace("\r\n", "\n")

    def leave(self) -> None:
        """Close the connection."""
        if not self.relay.is_over:
            self.client.leaves()

    def rerun(self, script: Script) -> None:
        """Say all that the recorded app said, then leave; stop where the mock has closed."""
        for step in script.steps[1:]:
            if self.client.ended or self.relay.is_over:
                break
            self.client.says(octets_of_step(step))
        self.leave()


def octets_of_step(step: Step) -> bytes:
    """What the recorded app said in a step."""
    body = b"".join(step.body.pieces()) if step.body is not None else b""
    return step.raw + body + (b".\r\n" if step.kind == "content" and step.is_last else b"")


def only(mock: Mock) -> SessionResult:
    """The result of a mock's one session."""
    [result] = mock.results()
    return result
