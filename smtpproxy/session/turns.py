"""What the client says, command by command: forwarded as it came, or answered."""

from collections.abc import Callable
from typing import Final

from msgspec import UNSET

from smtpproxy.session.conversation import Expectation
from smtpproxy.session.decisions import CommandTurn, Policy
from smtpproxy.session.events import Command, Redacted
from smtpproxy.session.logins import Logins, secret_words
from smtpproxy.session.options import RelayOptions
from smtpproxy.session.rules import PLAIN, RULES, UNKNOWN
from smtpproxy.session.upgrades import CLEAR_BEFORE_UPGRADE, READY
from smtpproxy.wire.commands import argument_of, parse_bdat, take_line, verb_of
from smtpproxy.wire.sasl import SaslExchange

MAX_HELD_BYTES: Final = 256 * 1024
"""What is held back of a client that goes on before a reply; beyond it the client is not read."""
MAX_OWED_REPLIES: Final = 10_000
"""How many commands may wait for their reply; beyond it the client is not read either."""

_ABANDONING: Final = frozenset({"RSET", "EHLO", "HELO", "LHLO"})
"""What ends a message that came in chunks, without its LAST."""

Reader = Callable[[bytes, int], int]


class Turns(Logins):
    """The layer that reads the client."""

    def __init__(self, options: RelayOptions, *, session: str, policy: Policy | None) -> None:
        super().__init__(options, session=session, policy=policy)
        self._has_greeted = False
        self._oversize_verb: str | None = None
        self._readers: dict[str, Reader] = {
            "waiting": self._hold,
            "held": self._hold,
            "command": self._read_command,
            "sasl": self._read_sasl,
            "data": self._read_data,
            "chunk": self._read_chunk,
            "starttls": self._read_early,
            "opaque": self._read_opaque,
            "drain": self._read_drained,
        }

    def _read_client(self, data: bytes, pos: int = 0) -> None:
        size = len(data)
        readers = self._readers
        while pos < size:
            pos = readers[self._state](data, pos)

    def _release(self) -> None:
        """Read on in what was held, as far as it may be read by now."""
        while self._held and self._state not in ("held", "waiting"):
            self._read_client(*self._take_held())
        if self._is_leaving and not self._held and self._delayed is None:
            self._is_leaving = False
            self._client_left()

    # -- readers: each takes octets of `data` from `pos` on and returns how far it came

    def _hold(self, data: bytes, pos: int) -> int:
        self._keep(data, pos)
        if self._state == "held" and self._holding is not None:
            self._add_finding_once("early-bytes", about=self._holding.n)
        return len(data)

    def _read_command(self, data: bytes, pos: int) -> int:
        if self._layer_may_follow or not self._has_greeted:
            if self._is_other_protocol(data, pos):
                return self._readers[self._state](data, pos)
            self._layer_may_follow = False
        line, end = take_line(self._line, data, pos)
        if line is not None:
            is_end = line.endswith(b"\n")
            if is_end and self._oversize_verb is None:
                self._on_command(line, is_last=end == len(data))
            else:
                self._on_oversize_piece(line, is_end=is_end)
        return end

    def _is_other_protocol(self, data: bytes, pos: int) -> bool:
        """A SASL security layer's frame, or TLS on a plain port: neither is a command."""
        if self._line:
            return False
        if self._layer_may_follow and data[pos] == 0:
            self._lose_thread("a SASL security layer began", is_withheld=True)
            return True
        if not self._has_greeted and data[pos] == 0x16 and not self._has_tls["client"]:
            self._has_greeted = True
            self._add_finding("tls-on-plain-port")
            self._lose_thread("TLS on a plain port")
            return True
        self._has_greeted = True
        return False

    def _read_early(self, data: bytes, pos: int) -> int:
        self._on_injection("client", data[pos:])
        return len(data)

    def _read_opaque(self, data: bytes, pos: int) -> int:
        chunk = data[pos:] if pos else data
        self._pass_opaque("client", chunk)
        return len(data)

    def _read_drained(self, data: bytes, pos: int) -> int:
        self._keep_opaque("client", data[pos:], to="proxy")
        return len(data)

    # -- commands

    def _on_command(self, line: bytes, *, is_last: bool) -> None:
        verb = verb_of(line)
        rule = RULES.get(verb)
        if rule is None:
            rule = UNKNOWN if verb else PLAIN
        is_early = self._has_server and bool(self._fifo) and self._fifo[0].verb == "greeting"
        if is_early and self._is_upgrade_due and verb not in CLEAR_BEFORE_UPGRADE:
            self._add_finding_once("pregreet")
            self._wait_for_greeting(line)
            return
        if is_early:
            self._add_finding_once("pregreet", about=self._n + 1)
        if not line.endswith(b"\r\n"):
            self._add_finding_once("bare-lf", "a command", about=self._n + 1)
        if self._is_upgrade_due and verb not in CLEAR_BEFORE_UPGRADE:
            if self._has_greeting_refused:
                self._refuse_in_clear(line, verb)
            else:
                self._begin_upgrade(line, verb)
            return
        if verb == "STARTTLS" and not self._options.is_tunnel:
            self._on_starttls(line, is_last=is_last)
            return
        if self._content is not None and verb in _ABANDONING:
            self._content = None  # chunks without a LAST (RFC 3030 2): all of them are recorded
        if verb == "MAIL":
            words = line.upper().split()
            self._is_eight_bit_ok = any(
                word in (b"BODY=8BITMIME", b"BODY=BINARYMIME", b"SMTPUTF8") for word in words[1:]
            )
            if self._options.require_tls and not self._has_tls["client"]:
                self._answer_ourselves(
                    line, verb, b"530 5.7.0 smtpproxy: this route wants STARTTLS first\r\n"
                )
                return
        if self._policy is not None and not self._has_server:
            self._ask_about_command(line, verb)
            return
        event = self._add_command(line, verb)
        owed = Expectation(verb, event.n)
        if rule.holds or verb in ("BDAT", "EHLO", "LHLO", "", "BURL"):
            self._frame(owed, event, line, verb)
        self._fifo.append(owed)
        self._send("server", line)
        if rule.holds and self._state == "command":
            self._holding = owed
            self._move("hold")
        elif verb == "BDAT" and event.size is UNSET:
            self._lose_thread("BDAT without a size")

    def _frame(self, owed: Expectation, event: Command, line: bytes, verb: str) -> None:
        """What is particular about the commands that are not just a line and a reply."""
        match verb:
            case "EHLO" | "LHLO":
                if not self._options.is_tunnel:
                    owed.handler = self._on_ehlo
            case "AUTH" | "X-EXPS":
                self._begin_sasl(event, line)
            case "BDAT":
                self._begin_chunk(owed, event, line)
            case "STARTTLS":
                owed.handler = self._on_forwarded_starttls
            case "XCLIENT" | "BURL":
                event.redacted = secret_words(line, verb) or UNSET
            case "XEXCH50":
                words = argument_of(line).split()
                size = words[0] if words else b""
                self._exchange_bytes = int(size) if size.isdigit() and len(size) < 11 else 0
            case "":
                owed.is_optional = True
            case "DATA" | "TURN" | "ATRN" | "X-ANONYMOUSTLS" | "X-LINK2STATE":
                pass
            case _:
                self._add_finding_once("unknown-verb", about=event.n)
                if self._was_data_refused:
                    self._add_finding_once("body-after-refusal", about=event.n)

    def _on_oversize_piece(self, piece: bytes, *, is_end: bool) -> None:
        """A line that is longer than is kept whole: passed on in pieces, answered once."""
        is_first = self._oversize_verb is None
        verb = verb_of(piece) if self._oversize_verb is None else self._oversize_verb
        self._oversize_verb = verb
        if is_first:
            self._add_finding_once("oversize-line", about=self._n + 1)
        if self._is_upgrade_due or (self._options.require_tls and not self._has_tls["client"]):
            # It cannot be held until TLS stands, and must not go before.
            self._add_command(piece, verb, to="proxy", partial=not is_end)
            text = "smtpproxy: a line this long cannot wait for TLS"
            self._fail("oversize-line", "before TLS", code=500, enhanced="5.5.6", text=text)
            return
        event = self._add_command(piece, verb, partial=not is_end)
        if verb in ("AUTH", "X-EXPS"):
            event.redacted = [Redacted(at=0, kind="sasl", length=len(piece))]
        if self._has_server:
            self._send("server", piece)
        if not is_end:
            return
        self._oversize_verb = None
        owed = Expectation(verb, event.n)
        self._fifo.append(owed)
        if not self._has_server:
            owed.answers = (b"500 5.5.6 smtpproxy: line too long\r\n",)
            self._advance()
        elif verb in ("BDAT", "STARTTLS"):
            self._lose_thread(f"{verb} in a line that was not kept whole")
        elif verb not in RULES or RULES[verb].holds:
            if verb in ("AUTH", "X-EXPS"):
                self._sasl = SaslExchange("")
            self._holding = owed
            self._move("hold")
        elif verb in ("EHLO", "LHLO"):
            owed.handler = self._on_ehlo

    def _wait_for_greeting(self, line: bytes) -> None:
        """The server's leg must be upgraded first, and before that it must greet."""
        self._holding = self._fifo[0]
        self._move("hold")
        self._keep(line)

    # -- answered by us, or by the policy

    def _refuse_in_clear(self, line: bytes, verb: str) -> None:
        """The server greeted with a refusal: nothing but a goodbye is worth sending, and nothing in clear."""
        self._answer_ourselves(
            line, verb, b"503 5.5.1 smtpproxy: the server refused this session in its greeting\r\n"
        )

    def _answer_ourselves(self, line: bytes, verb: str, *answers: bytes) -> None:
        event = self._add_command(line, verb, to="server" if self._provider == "server" else "proxy")
        self._conceal(event, line, verb)
        self._fifo.append(Expectation(verb, event.n, answers=answers))
        self._advance()

    def _conceal(self, event: Command, line: bytes, verb: str) -> None:
        """Mark what is secret in a command that is not framed."""
        if verb in ("AUTH", "X-EXPS"):
            self._begin_sasl(event, line)
            self._sasl = None
        elif verb in ("XCLIENT", "BURL"):
            event.redacted = secret_words(line, verb) or UNSET

    def _ask_about_command(self, line: bytes, verb: str) -> None:
        event = self._add_command(line, verb)
        owed = Expectation(verb, event.n)
        turn = CommandTurn(verb=verb, raw=line, argument=argument_of(line), is_tls=self._has_tls["client"])
        if verb == "BDAT":
            parsed = parse_bdat(turn.argument)
            if parsed is not None:
                turn = CommandTurn(
                    verb=verb,
                    raw=line,
                    argument=turn.argument,
                    is_tls=turn.is_tls,
                    size=parsed[0],
                    is_last=parsed[1],
                )
                self._chunk_turn = (owed, turn)
                self._begin_chunk(owed, event, line)
                return
        elif verb in ("AUTH", "X-EXPS"):
            self._begin_sasl(event, line)
        elif verb == "STARTTLS":
            owed.handler = self._on_local_starttls
        else:
            self._conceal(event, line, verb)
        if verb not in RULES and verb:
            self._add_finding_once("unknown-verb", about=event.n)
        rule = RULES.get(verb, PLAIN)
        if verb == "STARTTLS":
            self._move("upgrade")
            self._holding = owed
        elif rule.holds:
            self._move("hold")
            self._holding = owed
        self._decide(owed, turn)

    # -- STARTTLS

    def _on_starttls(self, line: bytes, *, is_last: bool) -> None:
        if self._has_tls["client"] and self._has_server:
            self._answer_ourselves(line, "STARTTLS", b"503 5.5.1 smtpproxy: TLS is already active\r\n")
            return
        is_ours = self._options.server_tls in ("starttls", "implicit")
        if not is_last:
            # The octets behind it are the next thing that is read, and they are injection: it is not sent on.
            self._add_command(line, "STARTTLS", to="proxy")
            self._move("upgrade")
            return
        if not self._has_server:
            self._ask_about_command(line, "STARTTLS")
            return
        if is_ours and argument_of(line):
            # RFC 3207 4: it takes no parameters.
            self._answer_ourselves(line, "STARTTLS", b"501 5.5.4 smtpproxy: STARTTLS takes no parameters\r\n")
            return
        event = self._add_command(line, "STARTTLS", to="proxy" if is_ours else "server")
        owed = Expectation("STARTTLS", event.n)
        self._holding = owed
        self._move("upgrade")
        self._fifo.append(owed)
        if is_ours:
            owed.answers = (READY,)
            owed.handler = self._on_local_starttls
            self._advance()
        else:
            owed.handler = self._on_forwarded_starttls
            self._send("server", line)
