"""What the client says: commands, SASL lines, messages, chunks; forwarded as it came, or answered."""

import hashlib
from collections.abc import Callable
from typing import Final

from msgspec import UNSET

from smtpproxy.session import effects as fx
from smtpproxy.session.content import ContentCutter
from smtpproxy.session.conversation import Expectation
from smtpproxy.session.decisions import (
    Answer,
    CommandTurn,
    ContentTurn,
    Decision,
    Delay,
    Drop,
    Forward,
    Policy,
    SaslTurn,
    Turn,
)
from smtpproxy.session.events import Command, Leg, Opaque, Party, Redacted
from smtpproxy.session.options import RelayOptions
from smtpproxy.session.rules import PLAIN, RULES, UNKNOWN
from smtpproxy.session.upgrades import CLEAR_BEFORE_UPGRADE, READY, Upgrades
from smtpproxy.wire.commands import argument_of, parse_bdat, take_line, verb_of, word_spans
from smtpproxy.wire.sasl import SaslExchange

MAX_HELD_BYTES: Final = 256 * 1024
"""What is held back of a client that goes on before a reply; beyond it the client is not read."""
STALL_S: Final = 1.0
"""After this long without an end, what has come of a message is recorded."""

_ABANDONING: Final = frozenset({"RSET", "EHLO", "HELO", "LHLO"})
"""What ends a message that came in chunks, without its LAST."""

Reader = Callable[[bytes, int], int]


class Turns(Upgrades):
    """The layer that reads the client."""

    def __init__(self, options: RelayOptions, *, session: str, policy: Policy | None) -> None:
        super().__init__(options, session=session, policy=policy)
        self._has_server = options.server_tls != "none"
        self._has_greeted = False
        self._delayed: tuple[Expectation, Decision] | None = None
        self._is_stall_watched = False
        self._is_withheld = False
        self._withheld: dict[Leg, tuple[int, hashlib._Hash]] = {}
        self._chunk_ends_message = False
        self._chunk_turn: tuple[Expectation, CommandTurn] | None = None
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

    def _read_sasl(self, data: bytes, pos: int) -> int:
        line, end = take_line(self._line, data, pos)
        if line is None:
            return end
        if line.endswith(b"\n"):
            self._on_sasl(line)
            return end
        self._add_sasl(line, partial=True)
        self._add_finding_once("oversize-line")
        if self._has_server:
            self._send("server", line)
        return end

    def _read_data(self, data: bytes, pos: int) -> int:
        content = self._content
        assert content is not None
        end = self._scanner.scan(data, pos)
        is_complete = end >= 0
        chunk = data if pos == 0 and end in (-1, len(data)) else data[pos : end if is_complete else len(data)]
        if self._has_server:
            self._send("server", chunk)
        for piece in content.add(chunk):
            self._add_content(piece)
        if is_complete:
            self._on_terminator(content)
            return end
        self._watch_stall()
        return len(data)

    def _read_chunk(self, data: bytes, pos: int) -> int:
        end = min(len(data), pos + self._chunk_left)
        chunk = data[pos:end]
        self._chunk_left -= len(chunk)
        if self._has_server:
            self._send("server", chunk)
        content = self._content
        if content is None:
            self._add_opaque(chunk, from_="client", to="server")  # XEXCH50's blob is no message
        else:
            for piece in content.add(chunk):
                self._add_content(piece)
        if not self._chunk_left:
            self._on_chunk_end()
        else:
            self._watch_stall()
        return end

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
                event.redacted = _secret_words(line, verb) or UNSET
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
            event.redacted = _secret_words(line, verb) or UNSET

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

    # -- AUTH

    def _begin_sasl(self, event: Command, line: bytes) -> None:
        spans = word_spans(line)
        mechanism = line[slice(*spans[1])].upper().decode("latin-1")[:32] if len(spans) > 1 else ""
        sasl = SaslExchange(mechanism)
        self._sasl = sasl
        if mechanism:
            event.mechanism = mechanism
        if len(spans) > 2:
            # Everything behind the mechanism: a client that puts blanks into it sends a secret all the same.
            start, end = spans[2][0], spans[-1][1]
            is_secret, identity = sasl.client_line(line[start:end])
            if is_secret:
                event.redacted = [Redacted(at=start, kind=sasl.secret_kind, length=end - start)]
            if identity:
                event.identity = identity
        if self._has_server and not self._has_tls["server"] and not self._options.is_server_loopback:
            self._add_finding_once("cleartext-upstream", about=event.n)
        if not self._has_tls["client"] and not self._options.is_client_loopback:
            self._add_finding_once("cleartext-auth", about=event.n)

    def _add_sasl(self, line: bytes, *, partial: bool = False) -> int:
        sasl = self._sasl
        assert sasl is not None
        text = line.rstrip(b"\r\n")
        is_secret, identity = sasl.client_line(text)
        redacted = [Redacted(at=0, kind=sasl.secret_kind, length=len(text))] if is_secret else []
        return self._add_auth(
            line,
            mechanism=sasl.mechanism,
            step=sasl.step,
            identity=identity,
            redacted=redacted,
            partial=partial,
        )

    def _on_sasl(self, line: bytes) -> None:
        assert self._sasl is not None
        self._sasl.step += 1
        n = self._add_sasl(line)
        owed = Expectation("sasl", n)
        self._holding = owed
        self._move("line")
        if self._has_server:
            self._fifo.append(owed)
            self._send("server", line)
        else:
            self._decide(owed, SaslTurn(line=line.rstrip(b"\r\n"), is_tls=self._has_tls["client"]))

    # -- messages

    def _on_terminator(self, content: ContentCutter) -> None:
        piece = content.finish(3)
        if piece:
            self._add_content(piece)
        n = self._add_content(b".\r\n", end=True)
        self._content = None
        self._move("complete")
        owed = Expectation(".", n, remaining=None)
        if not self._has_server:
            self._decide(owed, ContentTurn(octets=content.octets - 3, sample=content.sample))
            return
        owed.is_optional = self._is_answered_early
        self._fifo.append(owed)

    def _begin_chunk(self, owed: Expectation, event: Command, line: bytes) -> None:
        parsed = parse_bdat(argument_of(line))
        if parsed is None:
            self._add_finding("bad-bdat", about=event.n)
            return
        event.size, event.last = parsed
        if self._content is None:
            self._facts.messages += 1
            self._content = ContentCutter(is_eight_bit_ok=True, is_binary_ok=True)
            self._is_message_refused = False
        self._chunk_left = event.size
        self._chunk_ends_message = event.last
        if event.last:
            owed.verb = "."
            owed.remaining = None
        if self._chunk_left:
            self._move("count")
        else:
            self._on_chunk_end()

    def _on_chunk_end(self) -> None:
        content = self._content
        if self._state == "chunk":
            self._move("complete")
        if content is None:
            return
        piece = content.finish(0)
        if piece or self._chunk_ends_message:
            self._add_content(piece, end=self._chunk_ends_message)
        if self._chunk_ends_message:
            self._content = None
        if not self._has_server and self._chunk_turn is not None:
            owed, turn = self._chunk_turn
            self._chunk_turn = None
            self._decide(owed, turn)

    def _watch_stall(self) -> None:
        if not self._is_stall_watched:
            self._is_stall_watched = True
            self._do(fx.Wait(STALL_S, "stall"))

    def _on_stall(self) -> None:
        self._is_stall_watched = False
        content = self._content
        if content is None or not content.has_pending:
            return
        piece = content.take_lines()
        if piece:
            self._add_content(piece)
        self._watch_stall()

    # -- the policy

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

    def _decide(self, owed: Expectation, turn: Turn) -> None:
        assert self._policy is not None
        self._carry_out(owed, self._policy(turn))

    def _carry_out(self, owed: Expectation, decision: Decision) -> None:
        match decision:
            case Answer():
                owed.answers = decision.replies
                owed.closes = decision.close
                if owed.verb == "QUIT":
                    owed.closes = True
                owed.remaining = 0
                if owed.answers:
                    self._fifo.append(owed)
                    self._advance()
                elif decision.close:
                    self._wind_up("server-closed")
            case Drop():
                self._facts.is_cut = True
                self._reason = "server-reset" if decision.is_reset else "server-eof"
                if decision.is_reset:
                    self._do(fx.Reset("client"))
                self._end()
            case Delay():
                self._delayed = (owed, decision.then)
                if self._state == "command":
                    self._holding = owed
                    self._move("hold")
                self._do(fx.Wait(decision.seconds, "delay"))
            case Forward():
                raise RuntimeError("a policy without a server leg must answer every turn")

    def _on_delay_over(self) -> None:
        if self._delayed is not None:
            owed, decision = self._delayed
            self._delayed = None
            self._carry_out(owed, decision)

    # -- octets that are not read

    def _read_other(self, data: bytes) -> None:
        if self._server_is_switching:
            self._on_injection("server", data)
        else:
            self._pass_opaque("server", data)

    def _pass_opaque(self, side: Leg, data: bytes) -> None:
        other: Leg = "server" if side == "client" else "client"
        self._send(other, data)
        self._keep_opaque(side, data, to=other)

    def _keep_opaque(self, side: Leg, data: bytes, *, to: Party) -> None:
        if self._is_withheld:
            octets, digest = self._withheld.setdefault(side, (0, hashlib.sha256()))
            digest.update(data)
            self._withheld[side] = (octets + len(data), digest)
        else:
            self._add_opaque(data, from_=side, to=to)

    def _lose_thread(self, why: str, *, is_withheld: bool = False) -> None:
        if self._is_opaque or self._is_winding_up:
            return
        if self._is_upgrade_due or not self._has_server:
            self._fail(
                "desync",
                why,
                code=421,
                enhanced="4.7.0",
                text=f"smtpproxy: {why}; closing, since nothing may go to the server in clear",
            )
            return
        if not (is_withheld and self._options.is_tunnel):
            self._add_finding("desync", why)
        self._is_opaque = True
        self._is_withheld = is_withheld
        if self._content is not None:
            piece = self._content.finish(0)
            if piece:
                self._add_content(piece)
            self._content = None
        self._record_unfinished_reply(is_passed=True)
        self._fifo.clear()
        self._sasl = None
        self._holding = None
        self._move("lost")
        rest = bytes(self._line)
        self._line.clear()
        if rest:
            self._pass_opaque("client", rest)

    def _record_withheld(self) -> None:
        """What passed unread (or, after the end, went nowhere), as length and digest."""
        for side, (octets, digest) in self._withheld.items():
            other: Leg = "server" if side == "client" else "client"
            self._events.append(
                Opaque(
                    n=self._n,
                    session=self._session,
                    t=self._t,
                    from_=side,
                    to="proxy" if self._is_winding_up else other,
                    octets=octets,
                    sha256=digest.hexdigest(),
                )
            )
            self._n += 1
        self._withheld.clear()


def _secret_words(line: bytes, verb: str) -> list[Redacted]:
    """BURL's URL carries a URLAUTH token (RFC 4468); XCLIENT's LOGIN an account."""
    spans = word_spans(line)[1:]
    if verb == "BURL":
        return [Redacted(at=start, kind="url-token", length=end - start) for start, end in spans[:1]]
    return [
        Redacted(at=start + 6, kind="proxy-login", length=end - start - 6)
        for start, end in spans
        if line[start : start + 6].upper() == b"LOGIN=" and end - start > 6
    ]
