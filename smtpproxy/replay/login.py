"""AUTH in a replay: the recorded exchange, its secrets made anew against the live challenges (RFC 4954).

A login that was refused when it was recorded is rerun with a made-up secret: it is to be refused again, and
no account's own password is tried where it was not right.
"""

import re
from typing import Final

from smtpproxy.errors import ReplayError
from smtpproxy.replay.authentication import ChallengeError, Client
from smtpproxy.replay.comparison import Comparison
from smtpproxy.replay.credentials import MADE_UP, NOBODY, SECRET_OF, Credentials
from smtpproxy.replay.exchange import Hear, Heard
from smtpproxy.replay.live import Part, code_in
from smtpproxy.replay.plan import Plan, has_initial_response, is_recomputed, is_refused, login_at, login_steps
from smtpproxy.replay.script import Script, Step
from smtpproxy.replay.upgrades import Upgrades
from smtpproxy.wire.commands import word_spans
from smtpproxy.wire.sasl import decode_base64

_CANCEL: Final = b"*\r\n"
_HARMLESS: Final = frozenset((b"", b"*", b"="))
_OWN_LAST_WORDS: Final = frozenset(("XOAUTH2", "OAUTHBEARER"))
"""Mechanisms in which a recorded empty line says something: it asks for the reply behind the error."""
_MIN_HIDDEN: Final = 8
"""Octets of a base64 line below which it is too common a word to be looked for in replies."""
_LAST_PART: Final = re.compile(rb"(?:\0| |,p=)([^\0 ,]{8,})\Z")
"""Of a decoded line: what CRAM-MD5 and SCRAM prove the password with, PLAIN's password."""


class Login:
    """What is to be said in one login.

    Attributes:
        steps: AUTH, and the lines recorded behind it.
        problem: why the exchange must be cancelled; "" as long as it need not.
    """

    def __init__(self, script: Script, position: int, plan: Plan) -> None:
        self.steps = login_steps(script, position)
        self.problem = ""
        self._rounds = 0
        self._client: Client | None = None
        self._credentials = _credentials_for(script, position, plan)
        self._has_initial = has_initial_response(self.steps[0])
        if self._credentials is not None:
            target = plan.target
            self._client = Client(
                self.steps[0].mechanism,
                self._credentials,
                nonce=plan.make_nonce(),
                host=target.host,
                port=target.port,
            )

    @property
    def is_secret(self) -> bool:
        """Whether what is said must not be overheard."""
        lines = [step.raw.strip() for step in self.steps[1:]]
        return self._client is not None or self._has_initial or any(line not in _HARMLESS for line in lines)

    @property
    def has_no_proof(self) -> bool:
        """Whether the server was let in without its own proof (SCRAM)."""
        return self._client is not None and self._client.has_no_proof

    @property
    def secrets(self) -> list[bytes]:
        """What no reply may quote."""
        found = self._credentials
        return [] if found is None else [text.encode() for text in (found.password, found.token) if text]

    def command(self) -> bytes:
        """The AUTH line."""
        raw = self.steps[0].raw
        if self._client is None or not self._has_initial:
            return raw
        initial = self._client.initial
        start, end = word_spans(raw)[2]
        # One that was recorded where the server has to begin was an error (RFC 4954 4), and is one again.
        return raw[:start] + (b"=" if initial is None else initial) + raw[end:]

    def respond(self, heard: bytes) -> bytes:
        """The line behind a 334."""
        self._rounds += 1
        recorded = self.steps[self._rounds] if self._rounds < len(self.steps) else None
        line = b"" if recorded is None else recorded.raw.strip()
        if self._client is None:
            if recorded is None:
                self.problem = "the server asks on, where the recording has nothing more to say"
            return _CANCEL if recorded is None else recorded.raw
        if recorded is not None and (
            line == b"*" or (not line and self.steps[0].mechanism in _OWN_LAST_WORDS)
        ):
            return recorded.raw
        challenge = heard.splitlines()[-1][4:].strip()
        try:
            if self._rounds == 1 and not self._has_initial:
                return self._client.begin(challenge) + b"\r\n"
            return self._client.respond(challenge) + b"\r\n"
        except ChallengeError as error:
            self.problem = str(error)
            return _CANCEL


def _credentials_for(script: Script, position: int, plan: Plan) -> Credentials | None:
    """Whose secret is put in; None where the lines are sent as they were recorded."""
    login = login_at(script, position)
    if login.mechanism not in SECRET_OF:
        return None
    if is_refused(script, position):
        if not is_recomputed(script, position):
            return None
        return Credentials(username=login.identity or NOBODY, password=MADE_UP, token=MADE_UP)
    found = plan.credentials.find(login)
    if found is None and is_recomputed(script, position):
        raise ReplayError(f"{script.source}: step {login.step} needs a {login.kind}, which was not given")
    return found


class Logins(Upgrades):
    """A session being played, with its TLS and its logins."""

    def _authenticate(self, position: int) -> Part[None]:
        """One login, round by round; how many there are is for the server to say."""
        login = Login(self._script, position, self._plan)
        auth = login.steps[0]
        if login.is_secret and not self._is_tls:
            if auth.is_tls:
                # Nothing secret goes out in clear that did not when it was recorded.
                because = self._upgrade_missed_at or auth
                self._end(because)
                self._leave_out(login.steps, because)
                return
            if not self._plan.is_loopback:
                self._ledger.notes.append(
                    f"step {auth.number}: the login went out in clear, as it was recorded"
                )
        self._secrets += login.secrets
        line, rounds = login.command(), 0
        while True:
            current = login.steps[min(rounds, len(login.steps) - 1)]
            comparison, heard = yield from self._ask_login(login, line, rounds, current)
            if heard is None:
                self._leave_out(login.steps[rounds + 1 :], current)
                return
            if code_in(heard) != 334:
                break
            rounds += 1
            line = login.respond(heard)
            if login.problem:
                yield from self._cancel(login, rounds)
                return
        for step in login.steps[rounds + 1 :]:
            self._ledger.ignored(step, "the server did not ask for it")
        code = code_in(heard)
        if 200 <= code < 300 and login.has_no_proof:
            text = "the server took the login, and never proved that it knows the password (SCRAM)"
            self._ledger.differs(current, "reply", text)
        if comparison.is_class_changed and code >= 400:
            self._end(current, resumes_at=frozenset(("AUTH", "QUIT")))

    def _ask_login(
        self, login: Login, line: bytes, rounds: int, current: Step
    ) -> Part[tuple[Comparison, bytes | None]]:
        """Say one line of a login, hear its reply, and compare that with the recorded one in its place."""
        blob = line.rpartition(b" ")[2].strip()
        if len(blob) >= _MIN_HIDDEN and (rounds or b" " in line.strip().partition(b" ")[2]):
            # With the challenge, which reports show, a proof is enough to guess at the password at leisure.
            proof = _LAST_PART.search(decode_base64(blob) or b"")
            self._secrets += [blob] if proof is None else [blob, proof[1]]
        said_at = yield from self._say((line,))
        told = yield Hear(timeout_s=self._timeout_for(current))
        steps = login.steps
        if isinstance(told, Heard):
            is_final = code_in(told.raw) != 334
            recorded = steps[rounds].replies if rounds < len(steps) else ()
            if not recorded or is_final != (code_in(recorded[0].raw) != 334):
                if not is_final:
                    self._last_at = told.at
                    self._ledger.note(current, "the server asked once more than when it was recorded")
                    return Comparison(verdict="same"), told.raw
                # Login is over sooner or later than it was recorded: how it ends is what counts.
                current = steps[-1]
        if not current.replies:
            heard = self._discreet(told.raw) if isinstance(told, Heard) else None
            self._ledger.note(current, "the recording has no reply to it")
            if heard is None:
                self._end(current)
            return Comparison(verdict="same"), heard
        return self._judge(current, len(current.replies) - 1, told, said_at)

    def _cancel(self, login: Login, rounds: int) -> Part[None]:
        """The exchange cannot go on: `*` ends it (RFC 4954 4), and what needs the login is not played."""
        current = login.steps[min(rounds, len(login.steps) - 1)]
        self._ledger.differs(current, "reply", f"{login.problem}; the login was cancelled")
        yield from self._say((_CANCEL,))
        yield from self._hear_aside(current)
        self._leave_out(login.steps[rounds + 1 :], current)
        self._end(current, resumes_at=frozenset(("AUTH", "QUIT")))

    def _leave_out(self, steps: tuple[Step, ...], because: Step) -> None:
        for step in steps:
            self._ledger.not_played(step, because)
