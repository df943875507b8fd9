"""Asking the policy what becomes of a turn of the client, and carrying that out; it reads no octets."""

from smtpproxy.session import effects as fx
from smtpproxy.session.conversation import Expectation
from smtpproxy.session.decisions import Answer, Decision, Delay, Drop, Forward, Policy, Turn
from smtpproxy.session.options import RelayOptions
from smtpproxy.session.unread import Unread


class Asking(Unread):
    """The layer that asks."""

    def __init__(self, options: RelayOptions, *, session: str, policy: Policy | None) -> None:
        super().__init__(options, session=session, policy=policy)
        self._delayed: tuple[Expectation, Decision] | None = None

    def _decide(self, owed: Expectation, turn: Turn) -> None:
        assert self._policy is not None
        self._carry_out(owed, self._policy(turn))

    def _carry_out(self, owed: Expectation, decision: Decision) -> None:
        match decision:
            case Answer():
                owed.answers = decision.replies
                owed.unasked = decision.unasked
                owed.closes = decision.close
                if owed.verb == "QUIT":
                    owed.closes = True
                owed.remaining = 0
                if owed.answers:
                    self._fifo.append(owed)
                    self._advance()
                elif decision.close:
                    self._wind_up("server-closed")
            case Drop():
                self._facts.is_cut = True
                self._reason = "server-reset" if decision.is_reset else "server-eof"
                if decision.is_reset:
                    self._do(fx.Reset("client"))
                self._end()
            case Delay():
                self._delayed = (owed, decision.then)
                if self._state == "command":
                    self._holding = owed
                    self._move("hold")
                self._do(fx.Wait(decision.seconds, "delay"))
            case Forward():
                raise RuntimeError("a policy without a server leg must answer every turn")

    def _on_delay_over(self) -> None:
        if self._delayed is not None:
            owed, decision = self._delayed
            self._delayed = None
            self._carry_out(owed, decision)
