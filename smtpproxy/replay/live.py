"""The live server as a replay sees it: what it was told, what it answered, what it is in the middle of.

What every part of a replay shares; it decides nothing about what is said next. The player is built in layers,
each knowing only those below: Live (this one) → Upgrades → Logins → the player.
"""

from collections.abc import Generator, Iterable
from typing import Final, TypeAlias, TypeVar

from smtpproxy.replay.aliases import Aliases
from smtpproxy.replay.comparison import Comparison, compare_reply, shown
from smtpproxy.replay.credentials import hide
from smtpproxy.replay.exchange import Ask, Gone, Hear, Heard, Said, Say, Silent, Told
from smtpproxy.replay.ledger import Ledger
from smtpproxy.replay.plan import CONTENT_TIMEOUT_S, REPLY_TIMEOUT_S, Plan
from smtpproxy.replay.rules import Rules
from smtpproxy.replay.script import Script, Step
from smtpproxy.replay.transactions import HELLOS, code_of, ends_message, number_transactions
from smtpproxy.wire.ehlo import keywords_of
from smtpproxy.wire.replies import parse_reply_line

CLOSE_TIMEOUT_S: Final = 2.0
"""For what need not come: a reply that was not recorded, or that the server ends the connection as it did."""
RECORD_AGAIN: Final = "if that is right, record the session again"

T = TypeVar("T")
Part: TypeAlias = Generator[Ask, Told, T]
"""A stretch of the conversation."""


class Live:
    """One session being played, as far as it has come."""

    def __init__(self, script: Script, plan: Plan) -> None:
        self._script = script
        self._plan = plan
        self._ledger = Ledger(script)
        self._rules = Rules.of(script, level=plan.level, strict_ehlo=plan.strict_ehlo)
        self._ledger.notes += self._rules.notes
        self._aliases = Aliases()
        self._numbers = number_transactions(script.steps)
        self._secrets: list[bytes] = []
        # What the server is in the middle of.
        self._is_tls = False
        self._offers: frozenset[str] = frozenset()
        self._recorded_offers: frozenset[str] = frozenset()
        self._accepted: list[Step] = []
        self._is_in_mail = False
        self._is_content_due = False
        self._last_code = 0
        # Nothing more is said because of this step, but for what begins with one of those verbs.
        self._ended_by: Step | None = None
        self._resumes_at: frozenset[str] = frozenset()
        self._is_gone = False
        self._last_at = 0.0
        self._recorded_at = 0.0

    def _end(self, step: Step, *, resumes_at: frozenset[str] = frozenset()) -> None:
        """Nothing more is played because of this step, but from the next command of these verbs on."""
        if self._ended_by is None:
            self._ended_by, self._resumes_at = step, resumes_at
        elif not resumes_at:
            self._resumes_at = resumes_at

    # -- saying and hearing

    def _say(self, pieces: Iterable[bytes]) -> Part[float]:
        """Say it; that the server is gone is told by the reply that does not come.

        Returns:
            When it was said.
        """
        told = yield Say(pieces)
        if isinstance(told, Said):
            self._last_at = told.at
        return self._last_at

    def _hear_replies(self, step: Step, said_at: float) -> Part[bytes | None]:
        """Hear all that a step is answered, and compare it.

        Returns:
            The first reply of another class than recorded; None where there is none.
        """
        if not step.replies:
            yield from self._hear_unrecorded(step)
            return None
        changed: bytes | None = None
        recipients = list(self._accepted) if self._answers_each_recipient(step) else []
        is_message = step.kind == "content" or step.verb == "BDAT"
        index, count = 0, len(recipients) or (1 if is_message else len(step.replies))
        while index < count and self._ended_by is None:
            recorded = self._recorded_index(step, recipients[index]) if recipients else index
            told = yield Hear(timeout_s=self._timeout_for(step))
            comparison, heard = self._judge(step, recorded, told, said_at)
            if heard is None:
                break
            if index == 0:
                # PRDR: 353, then a reply for each accepted recipient, then one for all of them.
                if step.kind == "content" and code_in(heard) == 353:
                    count = len(self._accepted) + 2
                self._take_note(step, heard)
            if comparison.is_class_changed and changed is None:
                changed = heard
            index += 1
        return changed

    def _answers_each_recipient(self, step: Step) -> bool:
        """RFC 2033 4.2 and 4.3: one reply for each RCPT that was accepted; where none was, one for all."""
        return self._script.is_lmtp and ends_message(step)

    def _recorded_index(self, step: Step, recipient: Step) -> int:
        """Which of a message's recorded replies is the one for this recipient."""
        transaction = self._numbers[step.number - 1]
        accepted = [
            other.number
            for other in self._script.steps[: step.number]
            if other.verb == "RCPT"
            and self._numbers[other.number - 1] == transaction
            and 200 <= code_of(other) < 300
        ]
        return accepted.index(recipient.number) if recipient.number in accepted else len(step.replies)

    def _judge(self, step: Step, index: int, told: Told, said_at: float) -> tuple[Comparison, bytes | None]:
        """Compare what came with one of the step's recorded replies; where nothing came the session ends.

        Returns:
            What it came to, and the reply without secrets; None where none came.
        """
        heard: bytes | None = None
        elapsed_s = 0.0
        if isinstance(told, Heard):
            heard = self._discreet(told.raw)
            self._last_at = told.at
            self._last_code = code_in(heard)
            elapsed_s = max(told.at - said_at, 0.0)
        comparison = compare_reply(
            step, index, heard, rules=self._rules, aliases=self._aliases, is_tls=self._is_tls
        )
        self._ledger.compared(step, comparison, heard, elapsed_s=elapsed_s)
        self._recorded_at = max(self._recorded_at, step.t, *(reply.t for reply in step.replies))
        match told:
            case Heard(is_garbled=True):
                if comparison.verdict != "differs":
                    text = "what came is no SMTP reply (RFC 5321 4.2)"
                    self._ledger.differs(step, "reply", text, actual=shown(heard or b""))
                self._end(step)
            case Heard() if self._last_code == 421:
                # RFC 5321 3.8: the server closes behind it.
                self._end(step)
            case Silent():
                self._ledger.note(step, f"no reply within {told.seconds:g} s")
                if step.kind == "connect" and not self._is_tls:
                    self._ledger.note(step, "a server that says nothing may wait for TLS: smtps:// begins it")
                self._end(step)
            case Gone():
                self._leave(step, told)
        return comparison, heard

    def _hear_unrecorded(self, step: Step) -> Part[None]:
        """The recording has no reply here: an end left before it came, or the server owed none."""
        self._recorded_at = max(self._recorded_at, step.t)
        is_final = step.number == len(self._script.steps)
        if is_final and not self._script.reason.startswith("server-"):
            self._ledger.note(step, "the recording has no reply to it, and none was waited for")
            return
        told = yield Hear(timeout_s=CLOSE_TIMEOUT_S)
        if isinstance(told, Gone):
            self._leave(step, told)
        elif isinstance(told, Heard):
            raw = self._discreet(told.raw)
            self._last_at = told.at
            self._take_note(step, raw)
            text = "this was answered, which it was not when recorded"
            self._ledger.differs(step, "extra-reply", text, actual=shown(raw), fix=RECORD_AGAIN)
        else:
            self._ledger.note(step, "not answered, as when it was recorded")

    def _hear_aside(self, step: Step) -> Part[int]:
        """The reply to something that was not recorded.

        Returns:
            Its code; 0 where none came, which ends the session.
        """
        told = yield Hear(timeout_s=self._plan.timeout_s or REPLY_TIMEOUT_S)
        if isinstance(told, Heard) and not told.is_garbled:
            self._last_at = told.at
            self._last_code = code_in(told.raw)
            if self._last_code == 421:
                self._end(step)
            return self._last_code
        if isinstance(told, Gone):
            self._leave(step, told)
        self._end(step)
        return 0

    def _leave(self, step: Step, gone: Gone) -> None:
        """The server is gone."""
        self._is_gone = True
        self._ledger.note(step, gone.reason)
        self._end(step)

    def _timeout_for(self, step: Step) -> float:
        if self._plan.timeout_s:
            return self._plan.timeout_s
        is_message = step.kind == "content" or step.verb == "BDAT"
        return CONTENT_TIMEOUT_S if is_message else REPLY_TIMEOUT_S

    def _discreet(self, raw: bytes) -> bytes:
        """A reply without what was secret in this session: servers quote what they do not like."""
        for secret in self._secrets:
            raw = hide(raw, secret)
        return raw

    # -- what a reply means

    def _take_note(self, step: Step, heard: bytes) -> None:
        """Follow the server's state."""
        code = code_in(heard)
        is_accepted = 200 <= code < 300
        if step.verb in HELLOS and step.kind == "command":
            if is_accepted:
                self._offers = offers_of(heard)
                self._forget_mail()
            self._recorded_offers = offers_of(step.replies[0].raw) if step.replies else frozenset()
        elif step.verb == "MAIL":
            self._is_in_mail = self._is_in_mail or is_accepted
        elif step.verb == "RCPT" and is_accepted:
            self._accepted.append(step)
        elif step.verb == "DATA":
            self._is_content_due = code == 354
        elif step.verb == "RSET" or (ends_message(step) and not (step.kind == "content" and code == 353)):
            # Behind a 353 the recipients are still to be counted; the next MAIL begins anew all the same.
            self._forget_mail()

    def _forget_mail(self) -> None:
        self._accepted = []
        self._is_in_mail = False


def code_in(raw: bytes) -> int:
    """The code of a reply, which is that of its last line (RFC 5321 4.2.1); 0 where it has none."""
    lines = raw.splitlines()
    return (parse_reply_line(lines[-1])[0] or 0) if lines else 0


def offers_of(raw: bytes) -> frozenset[str]:
    """The keywords of a reply to EHLO."""
    return frozenset(keywords_of(raw.splitlines()))
