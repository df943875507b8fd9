"""AUTH in one session: exchange, credentials, failures that a user name asks for; it knows no envelope."""

import base64
from collections.abc import Mapping
from typing import Final

from smtpproxy.sandbox.failures import Malformed, parse_failure
from smtpproxy.sandbox.offer import MECHANISMS
from smtpproxy.sandbox.replies import Refusal, render_reply
from smtpproxy.sandbox.transaction import Party
from smtpproxy.sandbox.verdicts import Refused, Verdict, decide, judge
from smtpproxy.session.decisions import Answer, Decision
from smtpproxy.wire.sasl_server import MAX_SASL_LINE_OCTETS, Claim, Exchange, SaslRefusal

_OAUTH_ERROR: Final = b'{"status":"401","schemes":"bearer","scope":"https://mail.example/"}'


class Login:
    """Who has logged in, and the exchange that is under way.

    Attributes:
        user: None before success.
    """

    __slots__ = ("_attempts", "_credentials", "_exchange", "_hostname", "_nonce", "_oauth_verdict", "user")

    def __init__(self, *, credentials: Mapping[str, str] | None, hostname: str, nonce: str) -> None:
        self.user: Party | None = None
        self._credentials = credentials
        self._hostname = hostname
        self._nonce = nonce
        self._attempts = 0
        self._exchange: Exchange | None = None
        self._oauth_verdict: Verdict | None = None

    def begin(self, argument: bytes) -> Decision:
        """AUTH, whose place in the session is right (RFC 4954 4).

        Raises:
            Refusal: it is not.
        """
        self.forget_exchange()
        words = argument.split()
        if not 1 <= len(words) <= 2:
            raise Refusal(501, "5.5.4", "Syntax: AUTH mechanism [initial-response]")
        if len(argument) > MAX_SASL_LINE_OCTETS:
            raise Refusal(500, "5.5.6", "Authentication exchange line is too long")
        mechanism = words[0].upper().decode("latin-1")
        if mechanism not in MECHANISMS:
            # It is not named: who puts the password in the wrong place finds it here.
            raise Refusal(504, "5.5.4", f"Unknown mechanism; there are {', '.join(MECHANISMS)}")
        self._attempts += 1
        challenge = f"<{self._nonce}.{self._attempts}@{self._hostname}>".encode()
        try:
            exchange = Exchange(mechanism, initial=words[1] if len(words) == 2 else None, challenge=challenge)
            return self._go_on(exchange, exchange.begin())
        except SaslRefusal as refusal:
            raise Refusal(refusal.code, refusal.status, refusal.text) from None

    def respond(self, line: bytes) -> Decision:
        """A line of the client's after a 334.

        Raises:
            Refusal: the exchange ends with its reply.
        """
        if self._oauth_verdict is not None:
            # Whatever it says: the 334 with the error was the refusal, and now comes its code.
            verdict = self._oauth_verdict
            self.forget_exchange()
            return decide([verdict], b"")
        exchange = self._exchange
        self._exchange = None
        if exchange is None:
            raise Refusal(503, "5.5.1", "No authentication is under way")
        try:
            return self._go_on(exchange, exchange.respond(line))
        except SaslRefusal as refusal:
            raise Refusal(refusal.code, refusal.status, refusal.text) from None

    def forget_exchange(self) -> None:
        """The exchange under way, if any, is over."""
        self._exchange = None
        self._oauth_verdict = None

    def _go_on(self, exchange: Exchange, step: bytes | Claim) -> Decision:
        if isinstance(step, bytes):
            self._exchange = exchange
            return Answer((b"334 " + step + b"\r\n",))
        verdict = self._verdict(step)
        if isinstance(verdict.blow, Refused) and exchange.mechanism == "XOAUTH2":
            self._oauth_verdict = verdict
            return Answer((b"334 " + base64.b64encode(_OAUTH_ERROR) + b"\r\n",))
        return decide([verdict], render_reply(235, "2.7.0", "Authentication successful"))

    def _verdict(self, claim: Claim) -> Verdict:
        failure = parse_failure(claim.user.rpartition("@")[0] or claim.user)
        if isinstance(failure, Malformed):
            return _rejected(failure.problem)
        user = Party(address=claim.user, failure=failure)
        verdict = judge(user.due("auth", "auth"))
        if verdict.blow is None and not self._is_known(claim):
            return _rejected("The credentials are not valid")
        if verdict.blow is None:
            self.user = user
        return verdict

    def _is_known(self, claim: Claim) -> bool:
        if self._credentials is None:
            return True
        password = self._credentials.get(claim.user)
        return password is not None and claim.is_proved_by(password)


def _rejected(text: str) -> Verdict:
    return Verdict(blow=Refused(code=535, reply=render_reply(535, "5.7.8", text)))
