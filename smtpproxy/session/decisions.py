"""The one policy question: what becomes of what the client said. Sandbox, mock and faults answer it; no I/O.

The core asks a `Policy` about each *turn* of the client: the connection itself, a command, a SASL line, the
end of a message. A relay without a policy forwards everything. Where there is no server leg (sandbox, mock)
every turn must be answered; the answer then counts as said by the server.
"""

from collections.abc import Callable
from typing import TypeAlias

import msgspec


class Connected(msgspec.Struct, frozen=True, kw_only=True):
    """The client has connected (and TLS stands, where it comes first): a greeting is due."""

    client: str


class CommandTurn(msgspec.Struct, frozen=True, kw_only=True):
    """A complete command line. For BDAT it is asked after the chunk has been read.

    Attributes:
        verb: upper-cased; "" for a blank line.
        raw: the line with its line end.
        argument: what follows the verb, without surrounding blanks and line end.
        is_tls: whether the client's leg is encrypted.
        size, is_last: of BDAT; size is also the number of octets of the chunk.
        sample: of BDAT: the chunk's first octets, up to RelayOptions.policy_content_octets.
    """

    verb: str
    raw: bytes
    argument: bytes
    is_tls: bool
    size: int = 0
    is_last: bool = False
    sample: bytes = b""


class SaslTurn(msgspec.Struct, frozen=True, kw_only=True):
    """A line the client sent after a 334, without its line end."""

    line: bytes
    is_tls: bool


class ContentTurn(msgspec.Struct, frozen=True, kw_only=True):
    """A message after DATA is complete.

    Attributes:
        octets: its size on the wire without the terminator.
        sample: its first octets as they stand on the wire: a piece of the recording (up to 64 KiB), or up
            to RelayOptions.policy_content_octets where a policy wants to see more.
    """

    octets: int
    sample: bytes = b""


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """The session is over: nothing can be said any more, and the decision is not looked at.

    Attributes:
        reason: who ended it and how, as in the session's End event.
    """

    reason: str


Turn: TypeAlias = Connected | CommandTurn | SaslTurn | ContentTurn | Ended


class Forward(msgspec.Struct, frozen=True):
    """Let it through to the server."""


class Answer(msgspec.Struct, frozen=True):
    """Reply instead of the server. The code does what it would do if the server had sent it:
    354 to DATA opens content, 334 to AUTH a SASL line, 220 to STARTTLS TLS.

    Attributes:
        replies: each a whole reply with its CRLFs; several where LMTP or PRDR want several.
        close: end the session after them.
        unasked: said behind them, in answer to nothing, such as a 421 on idling.
    """

    replies: tuple[bytes, ...]
    close: bool = False
    unasked: tuple[bytes, ...] = ()


class Drop(msgspec.Struct, frozen=True):
    """Cut the connection without a word."""

    is_reset: bool = False


class Delay(msgspec.Struct, frozen=True):
    """Do `then` in that many seconds; what the client says meanwhile is held."""

    seconds: float
    then: Forward | Answer | Drop


Decision: TypeAlias = Forward | Answer | Drop | Delay
Policy: TypeAlias = Callable[[Turn], Decision]
