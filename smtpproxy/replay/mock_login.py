"""The mock's end of a recorded AUTH: which recorded reply comes next, and whether the credentials are right.

An app may say with AUTH what the recorded one said after a 334, or the other way round: that is the same
exchange, one reply shorter or longer. Nothing that the app said leaves this module but a verdict.
"""

import base64
from collections.abc import Sequence
from typing import Final

import msgspec

from smtpproxy.replay.credentials import SECRET_OF, CredentialBook, Credentials, Login
from smtpproxy.replay.script import Step
from smtpproxy.wire.replies import render_reply
from smtpproxy.wire.sasl import decode_base64
from smtpproxy.wire.sasl_server import MECHANISMS, Claim, Exchange, SaslRefusal

_PROMPTS: Final = {"LOGIN": base64.b64encode(b"Username:")}
"""What is asked for where the recorded app did not wait to be asked; of other mechanisms nothing."""
_SERVER_FIRST: Final = frozenset({"CRAM-MD5", "DIGEST-MD5"})
"""RFC 4954 4: an initial response to these is refused."""


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of what the app said.

    Attributes:
        step: of the exchange, from 0: the recorded one that this was; -1 where the recording has none.
        reply: said instead of the recorded one; b"" lets that stand.
        failure: why the app is wrong, in words without any secret; "" where it is not.
    """

    step: int
    reply: bytes = b""
    failure: str = ""


class RecordedLogin:
    """One recorded exchange.

    Attributes:
        steps: the AUTH command, and the client's lines behind it.
    """

    def __init__(self, steps: Sequence[Step]) -> None:
        self.steps = steps

    @property
    def login(self) -> Login | None:
        """What it needs a secret for; None where no secret is known to be needed."""
        first = self.steps[0]
        if first.mechanism not in SECRET_OF:
            return None
        identity = next((step.identity for step in self.steps if step.identity), "")
        return Login(step=first.number, mechanism=first.mechanism, identity=identity)

    @property
    def is_scram(self) -> bool:
        """The server has to show that it knows the password as well."""
        return self.steps[0].mechanism.startswith("SCRAM-")

    @property
    def is_successful(self) -> bool:
        """It ended in a 235."""
        return self._code(self.steps[-1]) == 235

    @property
    def has_initial(self) -> bool:
        """The app said its first response with the command."""
        return len(self.steps[0].raw.split()) > 2

    @property
    def has_challenge(self) -> bool:
        """The command was answered by a 334."""
        return self._code(self.steps[0]) == 334

    def challenge(self) -> bytes | None:
        """What the server asked with first, decoded."""
        if not self.has_challenge:
            return None
        words = self.steps[0].replies[0].raw.split()
        return decode_base64(words[1]) if len(words) > 1 else b""

    def _code(self, step: Step) -> int | None:
        return step.replies[-1].code if step.replies else None


class MockLogin:
    """One exchange with an app."""

    def __init__(
        self, recorded: RecordedLogin, *, credentials: CredentialBook | None, is_checked: bool, nonce: str
    ) -> None:
        """Begin.

        Args:
            recorded: what is played.
            credentials: the user's, where there are any.
            is_checked: the app must use them.
            nonce: makes this exchange's challenge its own, where the mock has to speak for itself.
        """
        self._recorded = recorded
        self._position = 0
        self._exchange: Exchange | None = None
        login = recorded.login
        found = credentials.find(login) if credentials is not None and login is not None else None
        self._secret = "" if found is None or login is None else found.secret(login.kind)
        self._credentials: Credentials | None = found
        needs_proof = recorded.is_scram and recorded.is_successful
        self._is_checked = found is not None and (is_checked or needs_proof)
        self._challenge = nonce.encode() if recorded.is_scram else recorded.challenge() or nonce.encode()

    def begin(self, initial: bytes | None) -> Told:
        """AUTH with the mechanism that was recorded; `initial` as it was sent, None without one."""
        recorded = self._recorded
        if initial is not None and recorded.steps[0].mechanism in _SERVER_FIRST:
            text = f"{recorded.steps[0].mechanism} takes no initial response (RFC 4954 4)"
            return self._failure(501, "5.5.4", text)
        if recorded.has_initial and initial is None:
            self._position = -1
        elif initial is not None and not recorded.has_initial and recorded.has_challenge:
            self._position = 1
        if self._position < 0 or recorded.has_challenge or recorded.has_initial:
            refused = self._start(initial)
            if refused is not None:
                return refused
        return self._next()

    def respond(self, line: bytes) -> Told:
        """A line of the app after a 334."""
        steps, at = self._recorded.steps, self._position + 1
        was_cancelled = 0 < at < len(steps) and steps[at].raw.strip() == b"*"
        if (line == b"*") != was_cancelled:
            text = "cancelled its AUTH" if line == b"*" else "went on with its AUTH, which it cancelled then"
            return self._failure(501, "5.7.0", text)
        self._position = at
        if self._exchange is not None and line != b"*":
            exchange, self._exchange = self._exchange, None
            try:
                refused = self._weigh(exchange, exchange.respond(line))
            except SaslRefusal as refusal:
                refused = (
                    self._failure(refusal.code, refusal.status, refusal.text) if self._is_checked else None
                )
            if refused is not None:
                return refused
        return self._next()

    def _start(self, initial: bytes | None) -> Told | None:
        mechanism = self._recorded.steps[0].mechanism
        if mechanism not in MECHANISMS or not (self._is_checked or self._recorded.is_scram):
            return None
        try:
            exchange = Exchange(
                mechanism, initial=initial, challenge=self._challenge, password_of=self._password_of
            )
            return self._weigh(exchange, exchange.begin())
        except SaslRefusal as refusal:
            return self._failure(refusal.code, refusal.status, refusal.text) if self._is_checked else None

    def _weigh(self, exchange: Exchange, step: bytes | Claim) -> Told | None:
        """Go on after what the mechanism makes of it; a reply where that is not the recorded one."""
        if isinstance(step, bytes):
            self._exchange = exchange
            at = self._position
            is_asked = at < 0 or (at < len(self._recorded.steps) and self._answer_code(at) == 334)
            if self._recorded.is_scram and is_asked:
                return Told(step=at, reply=b"334 " + step + b"\r\n")
            return None
        if not self._is_checked:
            return None
        assert self._credentials is not None
        if step.user != self._credentials.username:
            return self._failure(535, "5.7.8", "logs in as somebody else than the credentials say")
        if not step.is_proved_by(self._secret):
            what = self._recorded.login.kind if self._recorded.login is not None else "secret"
            return self._failure(535, "5.7.8", f"logs in with a wrong {what}")
        return None

    def _next(self) -> Told:
        if self._position < 0:
            prompt = _PROMPTS.get(self._recorded.steps[0].mechanism, b"")
            return Told(step=-1, reply=b"334 " + prompt + b"\r\n")
        return Told(step=self._position)

    def _failure(self, code: int, status: str, text: str) -> Told:
        reply = render_reply(code, f"{status} smtpproxy mock: the app {text}")
        return Told(step=self._position, reply=reply, failure=text)

    def _password_of(self, user: str) -> str | None:
        if self._credentials is None or user != self._credentials.username:
            return None
        return self._secret

    def _answer_code(self, at: int) -> int | None:
        replies = self._recorded.steps[at].replies
        return replies[0].code if replies else None
