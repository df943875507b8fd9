"""A player and a server played by hand: the server's answers are written down, the player's words kept."""

from collections.abc import Sequence
from functools import partial
from typing import Any, TypeAlias

from smtpproxy.endpoints import parse_endpoint
from smtpproxy.recording.overrides import Overrides
from smtpproxy.replay.exchange import (
    Ask,
    Connect,
    Connected,
    Gone,
    Hear,
    Heard,
    Pause,
    Said,
    Say,
    Silent,
    Told,
    Upgrade,
    Upgraded,
)
from smtpproxy.replay.plan import Plan
from smtpproxy.replay.player import play
from smtpproxy.replay.results import SessionResult
from smtpproxy.replay.script import Script
from smtpproxy.replay.script_reader import read_script
from smtpproxy.session.events import TlsInfo
from tests.conversation import Conversation

Answer: TypeAlias = str | Gone | Silent
CLOSED = Gone(reason="the server closed the connection")
SILENT = Silent(seconds=300.0)
TLS = TlsInfo(version="TLSv1.3", cipher="TLS_AES_256_GCM_SHA384", verified=True)


def script_of(talk: Conversation, *, overrides: Overrides | None = None) -> Script:
    """The server's leg of a conversation, as a replay reads it."""
    return read_script(
        partial(iter, talk.events), leg="server", name="mail.smtp.jsonl", line=1, overrides=overrides
    )


def plan_for(to: str = "smtp://127.0.0.1:2525", **how: Any) -> Plan:
    """A replay to that target."""
    target = parse_endpoint(to, is_listen=False)
    return Plan(
        target=target, is_loopback=target.is_loopback, make_nonce=lambda: "fyko+d2lbbFgONRv9qkxdawL", **how
    )


class Played:
    """A session that was played to its end.

    Attributes:
        result: what it came to.
        said: each Say, joined; `<TLS>` where the player asked for a handshake, `<PAUSE n>` for a pause.
        timeouts: of each Hear.
    """

    def __init__(
        self,
        talk: Conversation | Script,
        answers: Sequence[Answer],
        *,
        plan: Plan | None = None,
        connected: Connected | Gone | None = None,
        handshake: TlsInfo = TLS,
    ) -> None:
        """Play it.

        Args:
            talk: what was recorded.
            answers: a reply (its lines joined by LF) or an end, for each time the player listens.
            plan: how; to loopback, in clear, by default.
            connected: how the connection begins.
            handshake: what STARTTLS' handshake comes to.
        """
        self.said: list[str] = []
        self.timeouts: list[float] = []
        self._answers = list(answers)
        self._connected = connected
        self._handshake = handshake
        self._at = 0.0
        script = script_of(talk) if isinstance(talk, Conversation) else talk
        exchange = play(script, plan or plan_for())
        try:
            ask = next(exchange)
            while True:
                ask = exchange.send(self._answer(ask))
        except StopIteration as stop:
            self.result: SessionResult = stop.value
        assert not self._answers, f"the player did not listen to {self._answers}"

    @property
    def lines(self) -> list[str]:
        """What was said, line by line."""
        return "".join(said if said.endswith("\n") else said + "\n" for said in self.said).split("\n")[:-1]

    @property
    def differences(self) -> list[tuple[int, str, str]]:
        """Step, kind and sentence of each difference."""
        return [(found.step, found.what, found.text) for found in self.result.differences]

    @property
    def verdicts(self) -> list[str]:
        """Of each step."""
        return [step.verdict for step in self.result.steps]

    def _answer(self, ask: Ask) -> Told:
        self._at += 0.5
        match ask:
            case Connect():
                tls = TLS if ask.is_tls else None
                return self._connected or Connected(tls=tls, at=self._at)
            case Say():
                self.said.append(
                    b"".join(ask.pieces).decode("utf-8", "backslashreplace").replace("\r\n", "\n")
                )
                return Said(at=self._at)
            case Hear():
                self.timeouts.append(ask.timeout_s)
                assert self._answers, f"the player listens once more, behind {self.said[-1:]}"
                answer = self._answers.pop(0)
                if isinstance(answer, str):
                    return Heard(raw=answer.replace("\n", "\r\n").encode() + b"\r\n", at=self._at)
                return answer
            case Upgrade():
                self.said.append("<TLS>")
                return Upgraded(tls=self._handshake, at=self._at)
            case Pause():
                self.said.append(f"<PAUSE {ask.seconds:g}>")
                return Said(at=self._at)
