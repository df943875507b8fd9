"""One session of an app at the mock: an ordered cursor through one script; it knows no other session.

What matches is answered as it was recorded. What does not is refused, and the cursor stays where it is, so
that an app which tries again can go on; a message that differs is over all the same, and so is its step.
"""

from typing import Final, assert_never

from smtpproxy.replay.credentials import CredentialBook
from smtpproxy.replay.matching import Matcher, shown_command
from smtpproxy.replay.messages import Field, Said, recorded_content
from smtpproxy.replay.mock_answers import RecordedAnswers, refuse, refuse_clear
from smtpproxy.replay.mock_ledger import THE_END, MockLedger, nearest_step
from smtpproxy.replay.mock_login import MockLogin, RecordedLogin, Told
from smtpproxy.replay.results import SessionResult
from smtpproxy.replay.script import Script, Step
from smtpproxy.session.decisions import (
    Answer,
    CommandTurn,
    Connected,
    ContentTurn,
    Decision,
    Drop,
    Ended,
    SaslTurn,
    Turn,
)
from smtpproxy.wire.ehlo import StartTlsShown
from smtpproxy.wire.replies import render_reply

_HELLOS: Final = frozenset({"EHLO", "LHLO", "HELO"})
_COURTESIES: Final = frozenset({"NOOP", "RSET"})
"""What an app says to tidy up behind a failure; it is answered, and no failure of its own."""
_STARTTLS_OFFER: Final = b"220 2.0.0 Ready to start TLS\r\n"


class MockSession:
    """The policy of one session, and what it has come to.

    Attributes:
        has_spoken: the app has said anything: a health probe does not.
        is_over: the app has left, or was sent away.
    """

    def __init__(
        self,
        script: Script,
        matcher: Matcher,
        *,
        answers: RecordedAnswers,
        credentials: CredentialBook | None,
        checks_credentials: bool,
        is_lmtp: bool,
        is_tls: bool,
        offers_starttls: bool,
        nonce: str,
        content_octets: int,
    ) -> None:
        """A session that begins.

        Args:
            script: of the client's leg.
            matcher: its rules.
            answers: its replies.
            credentials: the user's, where there are any.
            checks_credentials: the app must use them.
            is_lmtp: a refused message is refused for each recipient (RFC 2033 4.2).
            is_tls: the listener is smtps://.
            offers_starttls: it is not, and can be upgraded.
            nonce: unique to the session.
            content_octets: how much of a message is compared.
        """
        self.has_spoken = False
        self.is_over = False
        self._script = script
        self._matcher = matcher
        self._answers = answers
        self._credentials = credentials
        self._checks_credentials = checks_credentials
        self._is_lmtp = is_lmtp
        self._nonce = nonce
        self._content_octets = content_octets
        self._ledger = MockLedger(script)
        self._cursor = 0
        self._is_lost = False
        """The last thing that was said did not match."""
        self._has_dropped = False
        self._login: tuple[int, MockLogin] | None = None
        self._recipients = 0
        self._chunks: list[Step] = []
        self._shown = bytearray()
        self._octets = 0
        self._is_listener_tls = is_tls
        # Recorded under TLS from the first octet, and the listener is plain: STARTTLS stands for it.
        self._is_upgrade_due = script.is_implicit_tls and not is_tls
        self._offers_starttls = offers_starttls

    @property
    def is_probe(self) -> bool:
        """Whether somebody only looked if anybody listens, where the recorded app had more to say."""
        return not self.has_spoken and len(self._script.steps) > 1

    def result(self) -> SessionResult:
        """What it has come to so far."""
        return self._ledger.result(is_over=self.is_over, is_optional=self._is_optional)

    def decide(self, turn: Turn) -> Decision:
        """Answer one turn; see session/decisions.py."""
        match turn:
            case Connected():
                return self._on_connect()
            case CommandTurn():
                self.has_spoken = True
                return self._on_command(turn)
            case SaslTurn(line=line):
                return self._on_sasl(line)
            case ContentTurn():
                return self._on_content(turn)
            case Ended():
                self.is_over = True
                return Drop()
            case _ as never:
                assert_never(never)

    # ---- the cursor

    @property
    def _expected(self) -> Step | None:
        steps = self._script.steps
        return steps[self._cursor] if self._cursor < len(steps) else None

    def _play(self, at: int, *, reply: bytes = b"", starttls: StartTlsShown = "keep") -> Decision:
        """Step `at` was said: answer it as recorded, and go on behind it."""
        self._ledger.played(at)
        self._is_lost = False
        self._cursor = at + 1
        decision = self._answers.decide(at, reply=reply, starttls=starttls)
        self._has_dropped = isinstance(decision, Drop)
        if isinstance(decision, Answer) and not decision.replies and not self._answers.is_last(at):
            number = self._script.steps[at].number
            self._ledger.note(f"the recording has no reply to step {number}, so that the app got none")
        return decision

    def _is_optional(self, at: int) -> bool:
        """Whether it is no failure that a step was not said."""
        if self._has_dropped:
            return True  # the recorded app had said it before it saw that the connection was gone
        step = self._script.steps[at]
        if step.kind == "content" and not step.is_last:
            return True  # the recorded app left in the middle of it
        before = self._script.steps[at - 1] if at else step
        is_answered = any(other.replies or other.unasked for other in self._script.steps[at:])
        return not is_answered and step.group != 0 and step.group == before.group

    def _unmatched(self, verb: str, actual: str, fields: tuple[Field, ...], *, nearest: str = "") -> Answer:
        """Refuse what does not match; behind a failure what follows from it is no further one."""
        if self._is_lost:
            self._ledger.unheeded()
        else:
            self._ledger.unmatched(self._cursor, fields, actual=actual, nearest=nearest)
        self._is_lost = True
        step = self._expected
        wanted = f"step {step.number} expects {step.said}" if step is not None else f"this is {THE_END}"
        return refuse(verb, wanted)

    # ---- turns

    def _on_connect(self) -> Decision:
        greeting = self._play(0)
        if self._is_listener_tls and not self._script.is_implicit_tls:
            self._skip_upgrade()
        return greeting

    def _skip_upgrade(self) -> None:
        """TLS stands from the first octet: the recorded STARTTLS, and what led to it, is played."""
        for at, step in enumerate(self._script.steps[1:], 1):
            if step.verb == "STARTTLS" and step.tls is not None:
                for earlier in range(at + 1):
                    self._ledger.played(earlier)
                self._cursor = at + 1
                self._ledger.note(
                    f"TLS stood from the first octet: STARTTLS of step {step.number} counts as said"
                )
                return
            if step.verb not in _HELLOS and step.verb not in _COURTESIES:
                return

    def _on_command(self, turn: CommandTurn) -> Decision:
        self._login = None
        if self._is_upgrade_due:
            if not turn.is_tls:
                return self._before_upgrade(turn)
            self._is_upgrade_due = False
            self._ledger.note("recorded under TLS from the first octet; STARTTLS stood for it")
        step = self._expected
        fields: tuple[Field, ...] = ()
        if step is not None:
            fields = self._matcher.command(step, turn)
            if not fields and step.is_tls and not turn.is_tls:
                fields = (("tls", "under TLS", "in clear"),)
        if step is None or fields:
            return self._on_other(turn, fields)
        match turn.verb:
            case "AUTH" | "X-EXPS":
                return self._on_auth(turn, step)
            case "BDAT":
                return self._on_chunk(turn, step)
            case "MAIL" | "RSET" | "EHLO" | "LHLO" | "HELO":
                self._forget_transaction()
            case "RCPT":
                self._recipients += bool(step.replies) and step.replies[0].raw[:1] == b"2"
        return self._play(self._cursor, starttls="hide" if turn.is_tls else "keep")

    def _on_other(self, turn: CommandTurn, fields: tuple[Field, ...]) -> Decision:
        """A command that is not the one that was recorded."""
        if turn.verb == "QUIT":
            return self._on_early_quit(fields)
        if turn.verb in _COURTESIES and self._ledger.has_failed:
            return Answer((render_reply(250, "2.0.0 Ok"),))
        if fields and fields[0][0] == "tls":
            self._unmatched(turn.verb, shown_command(turn), fields)
            return refuse_clear()
        if turn.verb == "STARTTLS" or (self._expected is not None and self._expected.verb == "STARTTLS"):
            answer = self._unmatched(turn.verb, shown_command(turn), fields)
            return answer if turn.verb == "STARTTLS" else refuse_clear()
        nearest = "" if self._is_lost else nearest_step(self._script, self._matcher, self._cursor, turn)
        return self._unmatched(turn.verb, shown_command(turn), fields, nearest=nearest)

    def _on_early_quit(self, fields: tuple[Field, ...]) -> Decision:
        """An app may leave at any time; the steps that it did not say are what is missing then."""
        steps = self._script.steps
        if self._cursor >= len(steps) and not self._ledger.has_failed:
            self._ledger.unmatched(self._cursor, fields, actual="QUIT", is_fixable=False)
        bye = render_reply(221, "2.0.0 Bye")
        if self._cursor < len(steps) and steps[-1].verb == "QUIT":
            self._ledger.played(len(steps) - 1)
            bye = steps[-1].replies[0].raw if steps[-1].replies else bye
        return Answer((bye,), close=True)

    def _before_upgrade(self, turn: CommandTurn) -> Decision:
        """Recorded under TLS from the first octet: in clear the app may greet, upgrade and leave."""
        step = self._expected
        if turn.verb in _HELLOS and step is not None and step.verb == turn.verb:
            self._ledger.played(self._cursor)
            shown: StartTlsShown = "show" if self._offers_starttls else "keep"
            return self._answers.decide(self._cursor, starttls=shown)
        if turn.verb == "STARTTLS" and self._offers_starttls:
            return Answer((_STARTTLS_OFFER,))
        if turn.verb == "QUIT":
            return self._on_early_quit(())
        if turn.verb in _COURTESIES:
            return Answer((render_reply(250, "2.0.0 Ok"),))
        if not self._is_lost:
            self._ledger.unmatched(
                self._cursor,
                (("tls", "under TLS", "in clear"),),
                actual=shown_command(turn),
                text="the upgrade is missing: this was recorded under TLS from the first octet",
                what="tls",
            )
        self._is_lost = True
        return refuse_clear()

    # ---- AUTH

    def _on_auth(self, turn: CommandTurn, step: Step) -> Decision:
        begin = self._cursor
        behind = begin + 1
        while behind < len(self._script.steps) and self._script.steps[behind].kind == "auth":
            behind += 1
        login = MockLogin(
            RecordedLogin(self._script.steps[begin:behind]),
            credentials=self._credentials,
            is_checked=self._checks_credentials,
            nonce=f"<{self._nonce}.{step.number}@smtpproxy.localhost>",
        )
        words = turn.argument.split(None, 1)
        return self._tell(begin, login, login.begin(words[1] if len(words) > 1 else None))

    def _on_sasl(self, line: bytes) -> Decision:
        if self._login is None:
            return refuse("AUTH", "no AUTH is under way")
        begin, login = self._login
        return self._tell(begin, login, login.respond(line))

    def _tell(self, begin: int, login: MockLogin, told: Told) -> Decision:
        self._login = None
        if told.failure:
            if self._is_lost:
                self._ledger.unheeded()
            else:
                self._ledger.unmatched(
                    max(begin, begin + told.step),
                    (("credentials", "as given", told.failure),),
                    actual=f"the app {told.failure}",
                    text=f"the app {told.failure}",
                    is_fixable=False,
                )
            self._is_lost = True
            self._cursor = begin  # it may try again from AUTH on
            return Answer((told.reply,))
        if told.step < 0:
            self._login = (begin, login)
            return Answer((told.reply,))
        at = begin + told.step
        for earlier in range(begin, min(at, len(self._script.steps))):
            self._ledger.played(earlier)
        if at >= len(self._script.steps) or (told.step and self._script.steps[at].kind != "auth"):
            self._cursor = at
            return self._unmatched(
                "AUTH", "a line of AUTH", (("exchange", "it ended before", "a line more"),)
            )
        decision = self._play(at, reply=told.reply)
        self._login = (begin, login)
        return decision

    # ---- messages

    def _on_chunk(self, turn: CommandTurn, step: Step) -> Decision:
        self._chunks.append(step)
        self._octets += turn.size
        room = self._content_octets - len(self._shown)
        self._shown += turn.sample[:room]
        if not turn.is_last:
            return self._play(self._cursor)
        bodies = [chunk.body for chunk in self._chunks if chunk.body is not None]
        said = Said(raw=bytes(self._shown), octets=self._octets, is_stuffed=False)
        fields = self._matcher.content(step, recorded_content(bodies, is_stuffed=False), said)
        return self._after_content(step, said, fields)

    def _on_content(self, turn: ContentTurn) -> Decision:
        step = self._expected
        said = Said(raw=turn.sample, octets=turn.octets, is_stuffed=True)
        if step is None or step.kind != "content" or step.body is None:
            return self._unmatched(".", _size(said), (("verb", step.said if step else THE_END, _size(said)),))
        if not step.is_last:
            cut = self._answers.cuts_off(self._cursor)
            decision = self._play(self._cursor)
            if cut:
                return decision  # how the recorded app would have gone on is not known
            fields: tuple[Field, ...] = (("end", "the app left in the middle", "a whole message"),)
        else:
            fields = self._matcher.content(step, recorded_content([step.body], is_stuffed=True), said)
        return self._after_content(step, said, fields)

    def _after_content(self, step: Step, said: Said, fields: tuple[Field, ...]) -> Decision:
        recipients = max(1, self._recipients) if self._is_lmtp else 1
        self._forget_transaction()
        if not fields:
            return self._play(self._cursor)
        self._ledger.unmatched(
            self._cursor, fields, actual=_size(said), text=f"the message is another one: {_names(fields)}"
        )
        # It cannot be said again without its envelope: the transaction is over, and the cursor goes on.
        self._cursor += 1
        return refuse(".", f"the message of step {step.number} differs in {_names(fields)}", times=recipients)

    def _forget_transaction(self) -> None:
        self._recipients = self._octets = 0
        self._chunks.clear()
        self._shown.clear()


def _size(said: Said) -> str:
    return f"message of {said.octets} octets"


def _names(fields: tuple[Field, ...]) -> str:
    return ", ".join(dict.fromkeys(name for name, _, _ in fields))
