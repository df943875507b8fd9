"""Plays a recorded session as the client against a server, and says what is not as recorded; does no I/O.

What a step that differs means for those behind it is decided here: a mail transaction stands or falls as one,
and a session whose greeting or hello was refused has nothing more to say.
"""

from collections.abc import Iterator
from typing import Final

from smtpproxy.replay.comparison import shown
from smtpproxy.replay.exchange import Connect, Connected, Exchange, Gone, Hear, Heard, Pause, Silent
from smtpproxy.replay.live import CLOSE_TIMEOUT_S, RECORD_AGAIN, Part, code_in
from smtpproxy.replay.login import Logins
from smtpproxy.replay.plan import Plan, login_steps
from smtpproxy.replay.results import SessionResult
from smtpproxy.replay.script import Script, Step
from smtpproxy.replay.transactions import HELLOS, code_of, ends_message, group_end

MAX_PAUSE_S: Final = 600.0
"""Of one recorded pause: a recording may claim any time."""
_TERMINATOR: Final = b".\r\n"


def play(script: Script, plan: Plan) -> Exchange[SessionResult]:
    """Rerun one session; what stands in its way (plan.obstacles_of, credentials) was looked for before."""
    return _Player(script, plan).run()


class _Player(Logins):
    """One session being played."""

    def __init__(self, script: Script, plan: Plan) -> None:
        super().__init__(script, plan)
        self._fallen: dict[int, Step] = {}
        """Transactions that ended early, and the step that is why."""
        self._retries: dict[int, int] = {}
        self._rewind_to: int | None = None

    def run(self) -> Exchange[SessionResult]:
        told = yield Connect(is_tls=self._plan.is_tls)
        if not isinstance(told, Connected):
            assert isinstance(told, Gone)
            advice = f"; {told.tls.advice}" if told.tls is not None and told.tls.advice else ""
            return self._ledger.failed(f"{told.reason}{advice}")
        self._last_at = told.at
        first, steps = self._script.steps[0], self._script.steps
        self._begin_tls(first, is_tls=told.tls is not None)
        changed = yield from self._hear_replies(first, told.at)
        if changed is not None:
            self._end(first, resumes_at=frozenset(("QUIT",)) if code_in(changed) >= 400 else HELLOS)
        position = 1
        while position < len(steps):
            position = yield from self._play_from(position)
        # Behind a 421 it is for the server to close too (RFC 5321 3.8).
        is_leaving = self._ended_by is steps[-1] and self._last_code == 421 and not self._is_gone
        if self._ended_by is None or is_leaving:
            yield from self._await_close()
        return self._ledger.result(duration_s=self._last_at - told.at)

    def _play_from(self, position: int) -> Part[int]:
        """Play what comes next.

        Returns:
            The position of what comes behind it.
        """
        steps = self._script.steps
        step = steps[position]
        if self._is_left_out(position):
            return position + 1
        if self._must_upgrade_before(position):
            yield from self._upgrade_on_demand(step)
            return position
        if step.is_tls and not self._is_tls:
            self._tell_missing_upgrade(step)
        yield from self._keep_pace(step)
        if step.verb == "AUTH" and step.kind == "command":
            yield from self._authenticate(position)
            return position + len(login_steps(self._script, position))
        end = self._unit_end(position)
        for at in range(position, end):
            fault = self._unsayable(steps[at])
            if fault and at == position:
                self._ledger.differs(step, "not-played", *fault)
                yield from self._end_transaction(step, b"")
                return position + 1
            if fault:
                end = at
                break
        yield from self._play_unit(list(steps[position:end]))
        if self._rewind_to is not None:
            end, self._rewind_to = self._rewind_to, None
        return end

    def _unit_end(self, position: int) -> int:
        """Behind which step the server must be waited for."""
        steps = self._script.steps
        end = group_end(steps, position) if "PIPELINING" in self._offers else position + 1
        if self._plan.retry_4xx:
            # A message that is put off is tried again before the next one is begun.
            is_end = (at + 1 for at in range(position, end) if ends_message(steps[at]))
            end = next(is_end, end)
        return end

    def _is_left_out(self, position: int) -> bool:
        """Whether the step is not to be played; the ledger is told why."""
        step = self._script.steps[position]
        if self._ended_by is not None:
            if self._is_gone or step.kind != "command" or step.verb not in self._resumes_at:
                self._ledger.not_played(step, self._ended_by)
                return True
            self._ended_by = None
        because = self._fallen.get(self._numbers[position])
        if because is not None:
            self._ledger.not_played(step, because)
            return True
        return self._is_needless(position)

    def _unsayable(self, step: Step) -> tuple[str, ...]:
        """Why the server could not make anything of the step; () where it can."""
        if step.kind == "auth":
            return ("this line of a login belongs to no AUTH",)
        if step.kind == "content" and not self._is_content_due:
            return ("the message was not sent, since DATA was not answered 354",)
        # Where no server was meant to take a chunk, it may be read as commands: as if it named recipients.
        is_chunk_due = "CHUNKING" in self._recorded_offers or not self._plan.is_loopback
        if step.verb == "BDAT" and "CHUNKING" not in self._offers and is_chunk_due:
            return ("the chunk was not sent, since the server does not offer CHUNKING (RFC 3030)",)
        return ()

    def _keep_pace(self, step: Step) -> Part[None]:
        """Think as long as the recorded client did; a server that left shows at the next reply."""
        if self._plan.speed:
            seconds = min((step.t - self._recorded_at) / self._plan.speed, MAX_PAUSE_S)
            if seconds > 0:
                yield Pause(seconds=seconds)

    def _play_unit(self, unit: list[Step]) -> Part[None]:
        """Say these without waiting in between, then hear what each is answered."""
        if unit[0].kind == "content":
            self._is_content_due = False
        said_at = yield from self._say(self._pieces(unit))
        changes: list[tuple[Step, bytes]] = []
        for step in unit:
            if self._ended_by is not None:
                self._ledger.not_played(step, self._ended_by)
                continue
            changed = yield from self._hear_replies(step, said_at)
            if changed is not None:
                changes.append((step, changed))
            yield from self._hear_unasked(step)
        if unit[-1].verb == "STARTTLS" and unit[-1].kind == "command":
            yield from self._follow_starttls(unit[-1])
        for step, changed in changes:
            if self._rewind_to is None:
                yield from self._follow_change(step, changed)

    def _pieces(self, unit: list[Step]) -> Iterator[bytes]:
        for step in unit:
            if step.verb == "RCPT" and step.kind == "command":
                yield self._plan.envelope.recipient_line(step.raw)
            elif step.raw:
                yield step.raw
            if step.body is not None:
                yield from step.body.pieces()
            if step.kind == "content" and step.is_last:
                yield _TERMINATOR

    def _hear_unasked(self, step: Step) -> Part[None]:
        """What a server said of its own accord before the recorded client went on, it should say again."""
        if step.number == len(self._script.steps) or step.verb == "STARTTLS":
            return
        for recorded in step.unasked:
            if self._ended_by is not None:
                return
            told = yield Hear(timeout_s=CLOSE_TIMEOUT_S)
            if isinstance(told, Heard):
                self._last_at = told.at
                if code_in(told.raw) == code_in(recorded.raw):
                    continue
                text = "the server said something else of its own accord"
                actual = shown(self._discreet(told.raw))
                self._ledger.differs(step, "reply", text, expected=shown(recorded.raw), actual=actual)
                continue
            text = f"event {recorded.n} is the reply to no step of this leg, and none like it came"
            expected = shown(recorded.raw)
            self._ledger.differs(step, "missing-reply", text, expected=expected, fix=RECORD_AGAIN)
            if isinstance(told, Gone):
                self._leave(step, told)
            return

    def _await_close(self) -> Part[None]:
        """A server that closed by itself when it was recorded should do so again."""
        last = self._script.steps[-1]
        if not self._script.reason.startswith("server-") and not last.unasked:
            return
        told = yield Hear(timeout_s=CLOSE_TIMEOUT_S)
        expected = last.unasked[0].raw if last.unasked else b""
        if isinstance(told, Heard):
            self._last_at = told.at
            if code_in(told.raw) != code_in(expected):
                self._ledger.differs(
                    last,
                    "extra-reply",
                    "the server said something of its own accord",
                    expected=shown(expected),
                    actual=shown(self._discreet(told.raw)),
                )
        elif isinstance(told, Silent):
            self._ledger.notes.append(
                f"the recorded server ended the connection behind step {last.number}; this one has not within"
                f" {told.seconds:g} s"
            )

    # -- what a difference means for what follows

    def _follow_change(self, step: Step, heard: bytes) -> Part[None]:
        """The server answered in another class: some of what follows makes no sense any more."""
        if step.verb in HELLOS and step.kind == "command" and code_in(heard) >= 400:
            self._end(step, resumes_at=HELLOS | {"QUIT"})
        elif self._numbers[step.number - 1] not in self._fallen:
            yield from self._end_transaction(step, heard)

    def _end_transaction(self, step: Step, heard: bytes) -> Part[None]:
        """RSET, and the rest of it is not played; or all of it once more, where it was merely put off.

        Args:
            step: because of which.
            heard: what it was answered; nothing where it was not said.
        """
        transaction = self._numbers[step.number - 1]
        if not transaction:
            return
        self._fallen[transaction] = step
        if self._ended_by is not None:
            return
        # With the reply to its message a transaction is over (RFC 5321 3.3): the next may have begun already.
        if not heard or not ends_message(step):
            if self._is_content_due:
                yield from self._refuse_content(step)
            if self._is_in_mail and self._ended_by is None:
                yield from self._say((b"RSET\r\n",))
                yield from self._hear_aside(step)
            self._forget_mail()
        is_put_off = 400 <= code_in(heard) < 500 and code_of(step) < 400
        if self._ended_by is None and is_put_off and self._retries.get(transaction, 0) < self._plan.retry_4xx:
            yield from self._try_again(step, transaction, heard)

    def _refuse_content(self, step: Step) -> Part[None]:
        """DATA was said with what failed, and was taken: there must be no message now."""
        self._is_content_due = False
        if self._accepted:
            # A lone dot would bring an empty message to those who were accepted (RFC 5321 4.1.1.4): only
            # leaving tells the server that there is none.
            why = "DATA was taken" if step.verb == "DATA" else "DATA had gone out with it and was taken"
            self._ledger.note(step, f"{why}, so that the connection was ended: there is no message to send")
            self._end(step)
            return
        # RFC 2920 3.1: where no recipient was accepted, a lone dot ends it.
        yield from self._say((_TERMINATOR,))
        yield from self._hear_aside(step)

    def _try_again(self, step: Step, transaction: int, heard: bytes) -> Part[None]:
        """From its MAIL, after a pause that doubles each time."""
        tries = self._retries.get(transaction, 0)
        self._retries[transaction] = tries + 1
        told = yield Pause(seconds=self._plan.retry_after_s * 2**tries)
        if isinstance(told, Gone):
            self._leave(step, told)
            return
        del self._fallen[transaction]
        members = [other for other in self._script.steps if self._numbers[other.number - 1] == transaction]
        self._ledger.take_back(members)
        which = f"steps {members[0].number} to {members[-1].number}"
        self._ledger.notes.append(
            f"step {step.number} got {shown(heard).strip()}: {which} were tried again (retry {tries + 1})"
        )
        self._rewind_to = members[0].number - 1
