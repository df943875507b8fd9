"""A player and a mock in one conversation, in memory and through the real core."""

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
from smtpproxy.wire.replies import parse_reply_line
from tests.replay.app import App
from tests.session.harness import TLS

CLOSED = Gone(reason="the server closed the connection")


class Meeting:
    """One session, from its beginning to its end.

    Attributes:
        result: what it came to for the player.
    """

    def __init__(self, script: Script, plan: Plan, app: App) -> None:
        """Let them talk."""
        self._app = app
        self._heard = 0
        exchange = play(script, plan)
        try:
            ask = next(exchange)
            while True:
                ask = exchange.send(self._answer(ask))
        except StopIteration as stop:
            self.result: SessionResult = stop.value
        app.leave()

    def _answer(self, ask: Ask) -> Told:
        app = self._app
        match ask:
            case Connect():
                return Connected(tls=TLS if ask.is_tls else None)
            case Say():
                if app.client.ended:
                    return CLOSED
                app.client.says(b"".join(ask.pieces))
                return Said()
            case Hear():
                reply = self._next_reply()
                if reply:
                    return Heard(raw=reply)
                return CLOSED if app.client.ended else Silent(seconds=ask.timeout_s)
            case Upgrade():
                return Upgraded(tls=TLS)
            case Pause():
                return Said()

    def _next_reply(self) -> bytes:
        heard = bytes(self._app.client.heard)
        begin = end = self._heard
        while end < len(heard):
            line_end = heard.index(b"\n", end) + 1
            _, is_last = parse_reply_line(heard[end:line_end])
            end = line_end
            if is_last:
                break
        self._heard = end
        return heard[begin:end]
