"""One session with the sandbox: which command may come when (RFC 5321 4.1.4); the envelope is mail.py's.

It answers the core's questions, one turn after the other. A command that is refused changes nothing.
"""

from collections.abc import Callable, Mapping
from typing import Final, assert_never

from smtpproxy.sandbox.greylist import GreylistMemory
from smtpproxy.sandbox.login import Login
from smtpproxy.sandbox.mail import Mail
from smtpproxy.sandbox.offer import Offer
from smtpproxy.sandbox.replies import Refusal, render_reply
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
from smtpproxy.wire.commands import KNOWN_VERBS


class SandboxSession:
    """The policy of one session.

    Args:
        client: as `IP:PORT`.
        offer: what holds for the whole session.
        is_tls: TLS stands already.
        nonce: see Sandbox.open.
        credentials: user → password or token; None accepts whoever comes.
        greylist: shared by all sessions.
    """

    def __init__(
        self,
        client: str,
        *,
        offer: Offer,
        is_tls: bool,
        nonce: str,
        credentials: Mapping[str, str] | None,
        greylist: GreylistMemory,
    ) -> None:
        self._client = client
        self._offer = offer
        self._is_tls = is_tls
        self._has_greeted = False
        self._login = Login(credentials=credentials, hostname=offer.hostname, nonce=nonce)
        self._mail = Mail(offer=offer, nonce=nonce, greylist=greylist)

    def decide(self, turn: Turn) -> Decision:
        """Answer one turn; see session/decisions.py."""
        try:
            match turn:
                case Connected(client=client):
                    self._client = client
                    return _say(self._offer.render_greeting())
                case CommandTurn():
                    return self._on_command(turn)
                case SaslTurn(line=line):
                    return self._login.respond(line)
                case ContentTurn(octets=octets):
                    return self._mail.on_content(octets)
                case Ended():
                    return Drop()
                case _ as never:
                    assert_never(never)
        except Refusal as refusal:
            return _say(refusal.reply)

    def _on_command(self, turn: CommandTurn) -> Decision:
        self._login.forget_exchange()
        if turn.is_tls != self._is_tls:
            # RFC 3207 4.2: after TLS the server forgets everything that the client told it before.
            self._is_tls = turn.is_tls
            self._has_greeted = False
            self._login.user = None
            self._mail.reset()
        if turn.verb in _AFTER_GREETING and not self._has_greeted:
            raise Refusal(503, "5.5.1", f"Send {self._offer.hello} first")
        command = _COMMANDS.get(turn.verb)
        if command is not None:
            return command(self, turn)
        # What was said is not repeated: after a refused AUTH it may be a password.
        if turn.verb in KNOWN_VERBS:
            raise Refusal(502, "5.5.1", "Command not implemented")
        raise Refusal(500, "5.5.2", "Command not recognized" if turn.verb else "A blank line is no command")

    def _on_hello(self, turn: CommandTurn) -> Decision:
        if (turn.verb == "LHLO") != self._offer.is_lmtp:
            # RFC 2033 4.1: a server of LMTP must not accept HELO and EHLO.
            raise Refusal(500, "5.5.1", f"Send {self._offer.hello}")
        if not turn.argument:
            raise Refusal(501, "5.5.4", f"Syntax: {turn.verb} hostname")
        self._has_greeted = True
        self._mail.reset()
        if turn.verb == "HELO":
            return _say(self._offer.render_helo(self._client))
        return _say(self._offer.render_ehlo(self._client, is_tls=self._is_tls))

    def _on_starttls(self, turn: CommandTurn) -> Decision:
        _refuse_argument(turn)
        if self._is_tls:
            raise Refusal(503, "5.5.1", "TLS stands already")
        if not self._offer.has_starttls:
            raise Refusal(502, "5.5.1", "STARTTLS is not offered")
        return _say(render_reply(220, "2.0.0", "Ready to start TLS"))

    def _on_auth(self, turn: CommandTurn) -> Decision:
        if self._login.user is not None:
            raise Refusal(503, "5.5.1", "Already authenticated")
        if self._mail.is_in_transaction:
            raise Refusal(503, "5.5.1", "AUTH is not allowed during a mail transaction")
        return self._login.begin(turn.argument)

    def _on_mail(self, turn: CommandTurn) -> Decision:
        return self._mail.on_mail(turn.argument, user=self._login.user)

    def _on_rcpt(self, turn: CommandTurn) -> Decision:
        return self._mail.on_rcpt(turn.argument)

    def _on_data(self, turn: CommandTurn) -> Decision:
        _refuse_argument(turn)
        return self._mail.on_data()

    def _on_bdat(self, turn: CommandTurn) -> Decision:
        return self._mail.on_bdat(turn.argument)

    def _on_rset(self, turn: CommandTurn) -> Decision:
        _refuse_argument(turn)
        self._mail.reset()
        return self._on_noop(turn)

    def _on_noop(self, turn: CommandTurn) -> Decision:
        return _say(render_reply(250, "2.0.0", "Ok"))

    def _on_help(self, turn: CommandTurn) -> Decision:
        return _say(self._offer.render_help())

    def _on_vrfy(self, turn: CommandTurn) -> Decision:
        if not turn.argument:
            raise Refusal(501, "5.5.4", "Syntax: VRFY address")
        # RFC 5321 7.3: 252 where nothing is verified.
        return _say(render_reply(252, "2.0.0", "Cannot VRFY user, but will accept the message"))

    def _on_expn(self, turn: CommandTurn) -> Decision:
        raise Refusal(502, "5.5.1", "There are no mailing lists here")

    def _on_etrn(self, turn: CommandTurn) -> Decision:
        if len(turn.argument.split()) != 1:
            raise Refusal(501, "5.5.4", "Syntax: ETRN domain")
        # RFC 1985 5.3
        return _say(render_reply(251, "2.0.0", "No messages are waiting"))

    def _on_quit(self, turn: CommandTurn) -> Decision:
        return Answer((render_reply(221, "2.0.0", "Bye"),), close=True)


_COMMANDS: Final[dict[str, Callable[[SandboxSession, CommandTurn], Decision]]] = {
    "EHLO": SandboxSession._on_hello,
    "HELO": SandboxSession._on_hello,
    "LHLO": SandboxSession._on_hello,
    "STARTTLS": SandboxSession._on_starttls,
    "AUTH": SandboxSession._on_auth,
    "MAIL": SandboxSession._on_mail,
    "RCPT": SandboxSession._on_rcpt,
    "DATA": SandboxSession._on_data,
    "BDAT": SandboxSession._on_bdat,
    "RSET": SandboxSession._on_rset,
    "NOOP": SandboxSession._on_noop,
    "QUIT": SandboxSession._on_quit,
    "VRFY": SandboxSession._on_vrfy,
    "EXPN": SandboxSession._on_expn,
    "HELP": SandboxSession._on_help,
    "ETRN": SandboxSession._on_etrn,
}
_AFTER_GREETING: Final = frozenset({"STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "ETRN"})
"""503 before EHLO. BDAT is not here: what its argument says of framing comes first."""


def _say(reply: bytes) -> Answer:
    return Answer((reply,))


def _refuse_argument(turn: CommandTurn) -> None:
    if turn.argument:
        raise Refusal(501, "5.5.4", f"Syntax: {turn.verb}")
