"""What every part of the core shares: the session's events, its effects, what is owed; reads no octets.

The core is built in layers, each knowing only those below: Conversation (this one) → Endings → Answers →
Upgrades → Unread → Asking → Messages → Logins → Turns → Relay.
"""

from collections import deque
from collections.abc import Callable

import msgspec
from msgspec import UNSET, UnsetType

from smtpproxy.session import effects as fx
from smtpproxy.session.content import ContentCutter
from smtpproxy.session.decisions import Policy
from smtpproxy.session.events import (
    AnyEvent,
    Auth,
    Command,
    Content,
    Finding,
    Leg,
    Opaque,
    Party,
    Redacted,
    Reply,
)
from smtpproxy.session.findings import FINDINGS
from smtpproxy.session.options import RelayOptions
from smtpproxy.session.outcomes import Facts
from smtpproxy.session.states import TRANSITIONS, State, Trigger
from smtpproxy.wire.replies import enhanced_code_of
from smtpproxy.wire.sasl import SaslExchange


class Expectation(msgspec.Struct, gc=False):
    """One reply (or run of replies) that is owed to something said before, in order.

    Attributes:
        verb: what it answers: a verb, "greeting", "." (the end of a message), "sasl".
        n: the number of the event it answers; None for the greeting.
        asked_n: of the client's own command, where what it answers was said by us in the client's stead.
        handler: takes the complete reply instead of letting it through line by line.
        answers: our own replies (whole, with CRLF), said when this comes to the head of the queue.
        unasked: said behind those, as answers to nothing.
        closes: the session ends behind them.
        is_optional: the reply may stay out (blank lines; a message refused before its end).
        remaining: further replies after the next one; None: to be counted when the first one comes.
    """

    verb: str
    n: int | None
    asked_n: int | None = None
    handler: Callable[["Expectation", int, bytes], None] | None = None
    answers: tuple[bytes, ...] = ()
    unasked: tuple[bytes, ...] = ()
    closes: bool = False
    is_optional: bool = False
    remaining: int | None = 0


ReplyHandler = Callable[[Expectation, int, bytes], None]


class Conversation:
    """State and vocabulary of one session."""

    def __init__(self, options: RelayOptions, *, session: str, policy: Policy | None) -> None:
        self._options = options
        self._session = session
        self._policy = policy
        self._provider: Party = "server" if options.server_tls == "none" else "proxy"
        """Who says what a policy answers: without a server leg the policy is the server."""
        self._t = 0.0
        self._n = 0
        self._events: list[AnyEvent] = []
        self._effects: list[fx.AnyEffect] = []
        self._to_client: list[bytes] = []
        self._to_server: list[bytes] = []
        self._fifo: deque[Expectation] = deque()
        self._state: State = "waiting"
        self._facts = Facts()
        self._has_tls: dict[Leg, bool] = {"client": False, "server": False}
        self._content: ContentCutter | None = None
        self._is_message_refused = False
        """A chunk of the message was refused, so that nobody misses the rest of it."""
        self._sasl: SaslExchange | None = None
        self._group = 0
        self._recipients = 0
        """Accepted ones of this transaction: LMTP and PRDR count their replies by them."""
        self._has_transaction = False
        self._found: set[str] = set()
        self._holding: Expectation | None = None
        """Whose reply the client's next octets wait for, in state `held` and `starttls`."""
        self._line = bytearray()
        """The client's line so far, without its LF."""
        self._held: list[bytes] = []
        self._held_from = 0
        """Where in the first of them what is held begins."""
        self._held_bytes = 0
        self._waiting = bytearray()
        """What the server said while nothing could go to the client: its PROXY header or its TLS is due."""
        self._is_client_switching = False
        """A StartTls for the client's leg is on its way to the driver, its 220 not out yet."""
        self._reply_line = bytearray()
        self._reply_lines: list[bytes] = []
        self._reply_owed: Expectation | None = None
        """What the reply that is coming in answers; None where nothing asked for it."""
        self._reply_bytes = 0
        """Of the lines that are in `_reply_lines`."""
        self._is_upgrade_due = options.server_tls == "starttls"
        """The proxy is still to upgrade the server's leg: nothing of the client may go there in clear."""
        self._is_opaque = False
        self._is_fresh_after_tls = False
        """TLS stands on the client's leg, and it has said nothing under it yet."""

    # -- effects

    def _send(self, side: Leg, data: bytes) -> None:
        (self._to_client if side == "client" else self._to_server).append(data)

    def _flush(self) -> None:
        """Make what was said since the last effect into one effect a side."""
        out = self._to_server
        if out:
            self._effects.append(fx.Send("server", out[0] if len(out) == 1 else b"".join(out)))
            out.clear()
        out = self._to_client
        if out:
            self._effects.append(fx.Send("client", out[0] if len(out) == 1 else b"".join(out)))
            out.clear()

    def _do(self, effect: fx.AnyEffect) -> None:
        """Queue an effect behind everything that was said before it."""
        self._flush()
        self._effects.append(effect)

    # -- the client's octets that wait

    def _keep(self, data: bytes, pos: int = 0) -> None:
        """Hold back `data[pos:]`; uncopied where it is all, since a reply may release it line by line."""
        if self._held:
            data, pos = data[pos:], 0
        else:
            self._held_from = pos
        self._held.append(data)
        self._held_bytes += len(data) - pos

    def _take_held(self) -> tuple[bytes, int]:
        """What is held, as octets and where in them it begins."""
        held, pos = self._held, self._held_from
        if len(held) == 1:
            data = held[0]
        else:
            data, pos = b"".join([held[0][pos:], *held[1:]]) if held else b"", 0
        held.clear()
        self._held_bytes = 0
        return data, pos

    # -- the state of the client's stream

    def _move(self, trigger: Trigger) -> None:
        self._state = TRANSITIONS[self._state][trigger]

    # -- events

    def _add_command(
        self,
        line: bytes,
        verb: str,
        *,
        from_: Party = "client",
        to: Party = "server",
        partial: bool = False,
    ) -> Command:
        n = self._n
        self._n = n + 1
        if not self._fifo:
            self._group += 1
        text: str | UnsetType
        b64: bytes | UnsetType
        try:
            text, b64 = line.decode(), UNSET
        except UnicodeDecodeError:
            text, b64 = UNSET, line
        event = Command(
            n=n,
            session=self._session,
            t=self._t,
            from_=from_,
            to=to,
            raw=text,
            raw_b64=b64,
            verb=verb,
            group=self._group,
            partial=partial,
        )
        self._events.append(event)
        return event

    def _add_reply(
        self,
        raw: bytes,
        code: int | None,
        *,
        from_: Party = "server",
        to: Party = "client",
        answers: int | None = None,
        partial: bool = False,
        redacted: list[Redacted] | UnsetType = UNSET,
    ) -> None:
        n = self._n
        self._n = n + 1
        text, b64 = _as_text(raw)
        self._events.append(
            Reply(
                n=n,
                session=self._session,
                t=self._t,
                from_=from_,
                to=to,
                raw=text,
                raw_b64=b64,
                redacted=redacted,
                code=UNSET if code is None else code,
                enhanced=enhanced_code_of(raw) or UNSET,
                answers=UNSET if answers is None else answers,
                partial=partial,
            )
        )

    def _add_auth(
        self,
        line: bytes,
        *,
        mechanism: str,
        step: int,
        identity: str | None,
        redacted: list[Redacted],
        partial: bool,
        to: Party = "server",
    ) -> int:
        n = self._n
        self._n = n + 1
        text, b64 = _as_text(line)
        self._events.append(
            Auth(
                n=n,
                session=self._session,
                t=self._t,
                from_="client",
                to=to,
                raw=text,
                raw_b64=b64,
                redacted=redacted,
                mechanism=mechanism,
                step=step,
                identity=identity or UNSET,
                partial=partial,
            )
        )
        return n

    def _add_content(self, piece: bytes, *, end: bool = False) -> int:
        n = self._n
        self._n = n + 1
        text, b64 = _as_text(piece)
        self._events.append(
            Content(
                n=n,
                session=self._session,
                t=self._t,
                from_="client",
                to="server",
                raw=text,
                raw_b64=b64,
                message=self._facts.messages,
                end=end,
            )
        )
        content = self._content
        if content is not None and content.findings:
            for code, detail in content.findings:
                self._add_finding(code, detail, about=n)
            content.findings.clear()
        return n

    def _add_opaque(self, data: bytes, *, from_: Party, to: Party) -> None:
        text, b64 = _as_text(data)
        self._events.append(
            Opaque(n=self._n, session=self._session, t=self._t, from_=from_, to=to, raw=text, raw_b64=b64)
        )
        self._n += 1

    def _add_finding(self, code: str, detail: str = "", *, about: int | None = None) -> None:
        meaning = FINDINGS[code]
        self._events.append(
            Finding(
                n=self._n,
                session=self._session,
                t=self._t,
                code=code,
                text=f"{meaning}: {detail}" if detail else meaning,
                about=UNSET if about is None else about,
            )
        )
        self._n += 1

    def _add_finding_once(self, code: str, detail: str = "", *, about: int | None = None) -> None:
        """The same, once a session: what a client does on every line is said once."""
        if code not in self._found:
            self._found.add(code)
            self._add_finding(code, detail, about=about)


def _as_text(data: bytes) -> tuple[str | UnsetType, bytes | UnsetType]:
    try:
        return data.decode(), UNSET
    except UnicodeDecodeError:
        return UNSET, data
