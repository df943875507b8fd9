"""The mock as a whole: recorded sessions, given out to an app's sessions in order; it knows no one session.

It answers the core's questions as the sandbox does, so that listeners, TLS and limits are the same for both.
"""

import heapq
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from smtpproxy.errors import ReplayError, SmtpProxyError
from smtpproxy.replay.credentials import CredentialBook
from smtpproxy.replay.ledger import brief
from smtpproxy.replay.matching import Asked, Matcher, merged
from smtpproxy.replay.mock_answers import RecordedAnswers, unsayable
from smtpproxy.replay.mock_ledger import MockLedger
from smtpproxy.replay.mock_login import RecordedLogin
from smtpproxy.replay.mock_session import MockSession
from smtpproxy.replay.results import Difference, SessionResult
from smtpproxy.replay.script import Script, Step
from smtpproxy.session.decisions import Answer, Connected, Decision, Drop, Ended, Policy, Turn
from smtpproxy.wire.replies import render_reply

SLACK_BYTES: Final = 64 * 1024
"""With a quarter of the longest recorded message: how much longer one may be to be looked at."""
MANY_SESSIONS: Final = 1000
"""With more of them, the steps of those that hold no news are not kept."""
MAX_EXTRA_RESULTS: Final = 1000
"""Sessions too many that are listed one by one."""


class Mock:
    """Recorded sessions as a provider. One serves any number of listeners, in one thread.

    Attributes:
        content_octets: how much of a message it wants to see (RelayOptions.policy_content_octets).
        on_change: called whenever a session has ended; set it to look at `is_exhausted`.
    """

    def __init__(
        self,
        scripts: Sequence[Script],
        *,
        match: Asked = None,
        credentials: CredentialBook | None = None,
        checks_credentials: bool = False,
        paces: bool = False,
    ) -> None:
        """Take over the sessions to be played, in the order in which they are given out.

        Args:
            scripts: each of the client's leg; or of the server's, for a mock that stands behind a proxy. Each
                is asked for when it is given out, so that it may be read only then.
            match: what the user asks for, over what each header does.
            credentials: needed for SCRAM, in which the server proves that it knows the password.
            checks_credentials: the app must log in with them; without it whatever it says is taken.
            paces: replies come after the recorded time.

        Raises:
            ReplayError: one cannot be played, or needs credentials that are not there; names it.
        """
        self.on_change: Callable[[], None] = _nothing
        self._scripts = scripts
        self._match = match
        self._results: dict[int, SessionResult] = {}
        self._free: list[int] = []
        largest = 0
        for at, script in enumerate(scripts):
            _require_playable(script)
            _require_credentials(script, credentials, is_checked=checks_credentials)
            largest = max(largest, _largest_message(script.steps))
            # A health check that was recorded is none that any app would come for.
            if _is_check(script):
                self._results[at] = _checked(script)
            else:
                self._free.append(at)
        self.content_octets = largest + largest // 4 + SLACK_BYTES
        self._credentials = credentials
        self._checks_credentials = checks_credentials
        self._paces = paces
        self._open: dict[int, MockSession] = {}
        self._extra: list[SessionResult] = []

    @property
    def size(self) -> int:
        """How many sessions there are."""
        return len(self._scripts)

    @property
    def left(self) -> int:
        """How many sessions were not given out yet."""
        return len(self._free)

    @property
    def is_exhausted(self) -> bool:
        """Whether every session was given out and has ended."""
        return len(self._results) == len(self._scripts)

    def results(self) -> Iterator[SessionResult]:
        """What each recorded session has come to by now, in order; then the app's sessions too many."""
        for at in range(self.size):
            yield self._result(at)
        yield from self._extra

    def open(self, client: str, *, is_lmtp: bool, is_tls: bool, offers_starttls: bool, nonce: str) -> Policy:
        """The policy of one new session.

        Args:
            client: the client's address, as `IP:PORT`.
            is_lmtp: RFC 2033 holds.
            is_tls: TLS stands already.
            offers_starttls: STARTTLS is possible as long as there is no TLS.
            nonce: unique to the session.
        """
        at, session = -1, None

        def decide(turn: Turn) -> Decision:
            nonlocal at, session
            if isinstance(turn, Connected):
                if not self._free:
                    return self._turn_away(turn.client)
                at = heapq.heappop(self._free)
                try:
                    script = self._scripts[at]
                except SmtpProxyError as error:
                    return self._give_up(at, str(error))
                session = self._open[at] = MockSession(
                    script,
                    Matcher(merged(script.overrides.match, self._match)),
                    answers=RecordedAnswers(script, has_pace=self._paces),
                    credentials=self._credentials,
                    checks_credentials=self._checks_credentials,
                    is_lmtp=is_lmtp,
                    is_tls=is_tls,
                    offers_starttls=offers_starttls,
                    nonce=nonce,
                    content_octets=self.content_octets,
                )
            if session is None:
                return Drop()  # it ended before it was greeted, or was turned away
            decision = session.decide(turn)
            if isinstance(turn, Ended):
                self._close(at, session)
                session = None
            return decision

        return decide

    def _close(self, at: int, session: MockSession) -> None:
        del self._open[at]
        if session.is_probe:
            # A health check connects and leaves without a word: the recorded session is for the next one.
            heapq.heappush(self._free, at)
        else:
            result = session.result()
            is_news = result.status != "same" or self.size <= MANY_SESSIONS
            self._results[at] = result if is_news else brief(result)
        self.on_change()

    def _give_up(self, at: int, problem: str) -> Decision:
        """The recording cannot be read any more, though it could when the mock began."""
        self._results[at] = SessionResult(session="", source="", status="error", error=problem)
        self.on_change()
        return Answer((render_reply(421, f"4.3.0 smtpproxy mock: {problem}"),), close=True)

    def _turn_away(self, client: str) -> Decision:
        count = "1 recorded session" if self.size == 1 else f"{self.size} recorded sessions"
        text = f"one session too many: {count}, and all were given out"
        if len(self._extra) < MAX_EXTRA_RESULTS:
            difference = Difference(
                what="unmatched",
                step=0,
                n=0,
                said="connect",
                actual=f"a session from {client}",
                text=text,
                fix="record what the app says in it as well, or find out why it connects once more",
            )
            self._extra.append(
                SessionResult(session="", source="", status="differs", differences=(difference,))
            )
        self.on_change()
        return Answer((render_reply(421, f"4.3.2 smtpproxy mock: {text}"),), close=True)

    def _result(self, at: int) -> SessionResult:
        if at in self._results:
            return self._results[at]
        if at in self._open and not self._open[at].is_probe:
            return self._open[at].result()
        try:
            script = self._scripts[at]
        except SmtpProxyError as error:
            return SessionResult(session="", source="", status="error", error=str(error))
        return MockLedger(script).result(is_over=False, is_optional=_never)


def _require_playable(script: Script) -> None:
    name = f"{script.source}: session {script.session}"
    digests = {step.n for step in script.steps if step.body is not None and not step.body.is_kept}
    for obstacle in script.obstacles:
        # A message of which only the digest was kept can still be told from another one.
        if obstacle.n not in digests:
            raise ReplayError(f"{name} cannot be played by a mock: step {obstacle.step}: {obstacle.text}")
    last = script.steps[-1]
    if not script.reason and not last.replies:
        # No end was recorded: the server was silent for no longer than the recording went on.
        where = f"{script.source}:{script.line}" if script.line else script.source
        raise ReplayError(
            f"{where}: session {script.session} was cut short before step {last.number} was answered: "
            "the app would wait for that reply; record it again"
        )
    found = unsayable(script.steps)
    if found is not None:
        step, reply = found
        raise ReplayError(
            f"{name} cannot be played by a mock: event {reply.n}, in reply to step {step.number}, "
            "is not one reply (RFC 5321 4.2): it wants three digits, `-` in all lines but the last, and CRLF"
        )


def _require_credentials(script: Script, credentials: CredentialBook | None, *, is_checked: bool) -> None:
    steps = script.steps
    for at, step in enumerate(steps):
        if step.kind != "command" or not step.mechanism:
            continue
        behind = at + 1
        while behind < len(steps) and steps[behind].kind == "auth":
            behind += 1
        recorded = RecordedLogin(steps[at:behind])
        if not is_checked and not (recorded.is_scram and recorded.is_successful):
            continue
        login = recorded.login
        found = None if credentials is None or login is None else credentials.find(login)
        name = f"{script.source}: session {script.session}, step {step.number}"
        if login is None:
            raise ReplayError(f"{name}: AUTH {step.mechanism} cannot be checked by a mock")
        if found is None:
            why = (
                f"in {step.mechanism} the server proves that it knows the password too"
                if recorded.is_scram
                else "--check-credentials has nothing to check them against"
            )
            variable = f"SMTPPROXY_{login.kind.upper()}"
            raise ReplayError(
                f"{name}: {why}; set SMTPPROXY_USERNAME and {variable}, or give --credentials FILE"
            )


def _is_check(script: Script) -> bool:
    """Whether somebody only looked if anybody listens: connected, was greeted, and left without a word."""
    [first, *others] = script.steps
    is_greeted = bool(first.replies) and (first.replies[0].code or 0) < 400
    return not others and is_greeted and script.reason in ("client-eof", "client-reset")


def _checked(script: Script) -> SessionResult:
    ledger = MockLedger(script)
    ledger.played(0)
    ledger.note("nothing was said in it, as by a health check: it is not given out")
    return ledger.result(is_over=True, is_optional=_never)


def _largest_message(steps: Sequence[Step]) -> int:
    """Octets of the longest message, chunks taken together."""
    largest = chunks = 0
    for step in steps:
        octets = step.body.octets if step.body is not None else 0
        chunks = chunks + octets if step.verb == "BDAT" else 0
        largest = max(largest, octets, chunks)
    return largest


def _nothing() -> None:
    return None


def _never(at: int) -> bool:
    return False
