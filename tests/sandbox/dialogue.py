"""A client at the sandbox's policy without any wire: lines in, decisions out, kept as the core keeps them."""

from smtpproxy.sandbox import Sandbox
from smtpproxy.session.decisions import (
    Answer,
    CommandTurn,
    Connected,
    ContentTurn,
    Decision,
    Delay,
    Drop,
    SaslTurn,
    Turn,
)
from smtpproxy.wire.commands import argument_of, parse_bdat, verb_of

NONCE = "01KTEST"


class Client:
    """One session.

    Attributes:
        is_tls: as the core would say it in every turn.
        last: the last decision.
    """

    def __init__(
        self,
        sandbox: Sandbox | None = None,
        *,
        is_lmtp: bool = False,
        is_tls: bool = False,
        offers_starttls: bool = True,
    ) -> None:
        self.is_tls = is_tls
        self.policy = (sandbox or Sandbox()).open(
            "192.0.2.7:50312", is_lmtp=is_lmtp, is_tls=is_tls, offers_starttls=offers_starttls, nonce=NONCE
        )
        self.last: Decision = self.policy(Connected(client="192.0.2.7:50312"))
        self.is_sasl = False
        self.is_content = False

    def say(self, line: bytes | str) -> str:
        """Say a line, as a command, a SASL line or a whole message of that text, whichever is due.

        Returns:
            The replies without the last CRLF, or `drop`, or `reset`; with a note of a delay and a close.
        """
        raw = line.encode() if isinstance(line, str) else line
        self.last = self.policy(self._turn(raw))
        return self._note(self.last)

    def _turn(self, raw: bytes) -> Turn:
        if self.is_content:
            return ContentTurn(octets=len(raw), sample=raw)
        if self.is_sasl:
            return SaslTurn(line=raw, is_tls=self.is_tls)
        verb, argument = verb_of(raw), argument_of(raw)
        size, is_last = (parse_bdat(argument) if verb == "BDAT" else None) or (0, False)
        return CommandTurn(
            verb=verb, raw=raw + b"\r\n", argument=argument, is_tls=self.is_tls, size=size, is_last=is_last
        )

    def _note(self, decision: Decision) -> str:
        self.is_sasl = self.is_content = False
        match decision:
            case Delay(seconds=seconds, then=then):
                return f"({seconds:g} s) {self._note(then)}"
            case Drop(is_reset=is_reset):
                return "reset" if is_reset else "drop"
            case Answer(replies=replies, close=close):
                text = b"".join(replies).decode("ascii")
                assert text.endswith("\r\n")
                self.is_sasl = text.startswith("334 ")
                self.is_content = text.startswith("354 ")
                return text[:-2].replace("\r\n", "\n") + (" (close)" if close else "")
        raise AssertionError(f"the sandbox must answer, and said {decision}")
