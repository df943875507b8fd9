"""What each command means for the stream, as one table; from RFC 5321 4.1 and the extensions' own RFCs."""

from typing import Final

import msgspec


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """How one command is framed and answered.

    Attributes:
        holds: the meaning of the client's next octet depends on the reply.
        resets: a positive reply forgets the envelope (RFC 5321 4.1.4).
        refusal_counts: a negative reply means that mail was refused.
    """

    holds: bool = False
    resets: bool = False
    refusal_counts: bool = False


PLAIN: Final = Rule()
UNKNOWN: Final = Rule(holds=True)

RULES: Final[dict[str, Rule]] = {
    "EHLO": Rule(resets=True),
    "HELO": Rule(resets=True),
    "LHLO": Rule(resets=True),
    "MAIL": Rule(resets=True, refusal_counts=True),
    "SEND": Rule(resets=True, refusal_counts=True),
    "SOML": Rule(resets=True, refusal_counts=True),
    "SAML": Rule(resets=True, refusal_counts=True),
    "RCPT": Rule(refusal_counts=True),
    "DATA": Rule(holds=True, refusal_counts=True),
    "BDAT": Rule(refusal_counts=True),
    "BURL": Rule(refusal_counts=True),
    "RSET": Rule(resets=True),
    "NOOP": PLAIN,
    "QUIT": PLAIN,
    "VRFY": PLAIN,
    "EXPN": PLAIN,
    "HELP": PLAIN,
    "ETRN": PLAIN,
    "XFORWARD": PLAIN,
    "STARTTLS": Rule(holds=True),
    "AUTH": Rule(holds=True, refusal_counts=True),
    "X-EXPS": Rule(holds=True, refusal_counts=True),
    "XCLIENT": Rule(holds=True, resets=True),
    "XEXCH50": Rule(holds=True),
    "TURN": Rule(holds=True),
    "ATRN": Rule(holds=True),
    "X-ANONYMOUSTLS": Rule(holds=True),
    "X-LINK2STATE": Rule(holds=True),
}
"""Every verb that is not here is unknown: the octets after it are held until it is answered."""
