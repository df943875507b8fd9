"""What the server says: replies, paired with what was asked by a queue (RFC 5321 4.2, RFC 2920 3.1)."""

from abc import abstractmethod
from typing import Final

from msgspec import UNSET, UnsetType

from smtpproxy.session.content import ContentCutter
from smtpproxy.session.conversation import Expectation
from smtpproxy.session.decisions import Policy
from smtpproxy.session.endings import Endings
from smtpproxy.session.events import Leg, Party, Redacted
from smtpproxy.session.options import RelayOptions
from smtpproxy.session.rules import RULES
from smtpproxy.wire.commands import take_line
from smtpproxy.wire.content import TerminatorScanner
from smtpproxy.wire.replies import parse_reply_line

MAX_REPLY_BYTES: Final = 64 * 1024
"""What is kept of a reply in one piece, and held back of one that is to be rewritten."""
MAX_EHLO_LINES: Final = 200

_INTERMEDIATE: Final[dict[int, frozenset[str]]] = {
    334: frozenset({"AUTH", "X-EXPS", "sasl"}),
    354: frozenset({"DATA", "XEXCH50"}),
    353: frozenset({"."}),
}
"""Which 3xx replies have a meaning, and after what; any other means that the thread is lost."""


class Answers(Endings):
    """The layer that reads replies."""

    def __init__(self, options: RelayOptions, *, session: str, policy: Policy | None) -> None:
        super().__init__(options, session=session, policy=policy)
        self._ehlo_lines: list[bytes] = []
        self._server_is_switching = False
        """TLS is about to begin on the server's leg: octets in clear are injection (RFC 3207 6)."""
        self._is_eight_bit_ok = False
        self._is_answered_early = False
        self._was_data_refused = False
        self._layer_may_follow = False
        """A 235 was given to a mechanism that may put a security layer on the stream (RFC 4954 4)."""
        self._has_greeting_refused = False
        self._exchange_bytes = 0
        """Octets of the blob that XEXCH50 announced."""
        self._chunk_left = 0
        self._scanner = TerminatorScanner()
        self._is_lmtp = options.is_lmtp
        self._reply_code = 0
        self._is_in_reply = False
        """Lines of a reply have come, and not its last one."""
        self._long_line: tuple[int | None, bool] | None = None
        """Code and whether it is the last, of a reply line of which only a piece has come."""

    @abstractmethod
    def _read_other(self, data: bytes) -> None:
        """Octets of the server that are no replies."""

    @abstractmethod
    def _release(self) -> None:
        """Read on in what was held of the client."""

    @abstractmethod
    def _keep_opaque(self, side: Leg, data: bytes, *, to: Party) -> None:
        """Record octets that are not read, or count them where they may not be kept."""

    @abstractmethod
    def _lose_thread(self, why: str, *, is_withheld: bool = False) -> None:
        """Relay as opaque octets from here; recording must never break the app's traffic."""

    def _read_server(self, data: bytes) -> None:
        """Octets of the server: replies, unless the session is ending or the client's leg takes none."""
        if self._is_winding_up:
            self._keep_opaque("server", data, to="proxy")
        elif self._is_client_switching or self._state == "preface":
            self._waiting += data
        elif self._is_opaque or self._server_is_switching:
            self._read_other(data)
        else:
            self._read_replies(data)

    def _read_waiting(self) -> None:
        """Read what the server said while nothing could go to the client."""
        if self._waiting and not self._is_client_switching:
            data = bytes(self._waiting)
            self._waiting.clear()
            self._read_server(data)

    def _read_replies(self, data: bytes) -> None:
        pos, size = 0, len(data)
        while pos < size:
            line, pos = take_line(self._reply_line, data, pos)
            if line is None:
                return
            if line.endswith(b"\n"):
                self._on_reply_line(line)
            else:
                self._pass_oversize_reply(line)
            if self._held:
                # At once, not behind this read: what a reply releases must not hang on how replies arrive.
                self._release()
            if pos < size and (
                self._is_opaque
                or self._server_is_switching
                or self._is_client_switching
                or self._is_winding_up
            ):
                self._read_server(data[pos:])
                return

    # -- lines

    def _on_reply_line(self, line: bytes) -> None:
        lines = self._reply_lines
        if self._long_line is not None:
            (code, is_last), self._long_line = self._long_line, None
        else:
            code, is_last = parse_reply_line(line)
            if not self._is_in_reply:
                self._begin_reply(code)
                if self._is_client_switching:
                    self._waiting += line
                    return
        owed = self._reply_owed
        is_held = owed is not None and owed.handler is not None
        if not is_held:
            self._to_client.append(line)
        if code is None:
            self._add_finding_once("malformed-reply")
            if self._is_in_reply:
                self._collect(line, owed, is_held=is_held)
                return
            # It consumes no expectation. What comes while we upgrade the server's leg is not for the client.
            is_ours = is_held and self._is_upgrade_due
            if is_held and not is_ours:
                self._send("client", line)
            self._add_reply(line, None, to="proxy" if is_ours else "client")
            return
        if self._is_in_reply and code != self._reply_code:
            self._add_finding_once("mixed-codes")
        self._reply_code = code
        self._is_in_reply = not is_last
        if not is_last:
            self._collect(line, owed, is_held=is_held)
            return
        if lines:
            lines.append(line)
            line = b"".join(lines)
            if owed is not None and owed.verb in ("EHLO", "LHLO"):
                self._ehlo_lines = list(lines)
            lines.clear()
            self._reply_bytes = 0
        elif owed is not None and owed.handler is not None:
            self._ehlo_lines = [line]
        if owed is None:
            self._on_unsolicited(code, line)
        else:
            self._on_reply(owed, code, line)

    def _begin_reply(self, code: int | None) -> None:
        """What a reply is for is settled by its first line: lines stream on before the last one is in."""
        fifo = self._fifo
        if fifo and fifo[0].is_optional and code is not None:
            self._settle_optional(code)
        self._reply_owed = fifo[0] if fifo else None

    def _collect(self, line: bytes, owed: Expectation | None, *, is_held: bool) -> None:
        lines = self._reply_lines
        lines.append(line)
        self._reply_bytes += len(line)
        if self._reply_bytes <= MAX_REPLY_BYTES and not (is_held and len(lines) > MAX_EHLO_LINES):
            return
        piece = b"".join(lines)
        lines.clear()
        self._reply_bytes = 0
        self._add_piece(piece, owed, is_held=is_held)

    def _pass_oversize_reply(self, piece: bytes) -> None:
        """A piece of a line that is longer than is kept: pass it on; the line's code is in the first one."""
        if self._long_line is None:
            self._long_line = parse_reply_line(piece)
            if not self._is_in_reply:
                self._begin_reply(self._long_line[0])
                if self._is_client_switching:
                    self._long_line = None
                    self._waiting += piece
                    return
        owed = self._reply_owed
        is_held = owed is not None and owed.handler is not None
        if not is_held:
            self._send("client", piece)
        piece = b"".join(self._reply_lines) + piece
        self._reply_lines.clear()
        self._reply_bytes = 0
        self._add_piece(piece, owed, is_held=is_held)

    def _add_piece(self, piece: bytes, owed: Expectation | None, *, is_held: bool) -> None:
        """Part of a reply that is too large to be kept whole."""
        n = owed.n if owed is not None else None
        if not is_held or owed is None:
            self._add_reply(piece, None, answers=n, partial=True)
            self._add_finding_once("oversize-line")
        elif owed.verb in ("EHLO", "LHLO") and not self._is_upgrade_due:
            # Too large to rewrite: from here on it passes as it came.
            self._send("client", piece)
            owed.handler = None
            self._add_reply(piece, None, answers=n, partial=True)
            self._add_finding("ehlo-too-large", about=n)
        else:
            # Whether TLS begins hangs on this reply, so it must be seen whole.
            self._add_reply(piece, None, to="proxy", answers=n, partial=True)
            what = f"its reply to {owed.verb} is larger than {MAX_REPLY_BYTES} octets"
            text = f"smtpproxy: TLS with {self._options.upstream} cannot begin: {what}"
            self._fail("upstream-tls", what, code=421, enhanced="4.7.5", text=text, about=n)

    def _settle_optional(self, code: int) -> None:
        """Drop what may go without a reply, where this reply is not for it."""
        fifo = self._fifo
        while fifo and fifo[0].is_optional and not self._is_for_optional(code):
            fifo.popleft()
            self._advance()

    # -- replies

    def _on_reply(self, owed: Expectation, code: int, raw: bytes) -> None:
        fifo = self._fifo
        if 300 <= code < 400 and owed.verb not in _INTERMEDIATE.get(code, ()):
            self._pass(owed, code, raw)
            self._lose_thread(f"{code} in reply to {owed.verb or 'a blank line'}")
            return
        if owed.handler is not None:
            fifo.popleft()
            owed.handler(owed, code, raw)
            self._advance()
            return
        redacted: list[Redacted] | UnsetType = UNSET
        if self._sasl is not None and owed.verb in _INTERMEDIATE[334]:
            spans = self._sasl.server_line(raw)
            if spans:
                redacted = [Redacted(at=start, kind="proof", length=end - start) for start, end in spans]
        self._add_reply(raw, code, answers=owed.n, redacted=redacted)
        if owed.verb == ".":
            if owed.remaining is None:
                # LMTP: one reply for each recipient that was accepted (RFC 2033 4.2).
                owed.remaining = max(self._recipients, 1) - 1 if self._is_lmtp else 0
            if code == 353:
                # PRDR: a reply per recipient follows, then one for the message.
                owed.remaining = self._recipients + 1
        if owed.remaining:
            owed.remaining -= 1
            if code != 353:
                self._count(owed.verb, code)
            return
        fifo.popleft()
        self._after_reply(owed, code)
        self._advance()

    def _pass(self, owed: Expectation, code: int, raw: bytes) -> None:
        """A reply as it came; one that was held back is sent now."""
        if owed.handler is not None:
            self._send("client", raw)
        self._add_reply(raw, code, answers=owed.n)

    def _is_for_optional(self, code: int) -> bool:
        """Whether a reply is for a blank line (or a message refused early), or for what came after it."""
        return len(self._fifo) == 1 or 500 <= code < 600

    def _advance(self) -> None:
        """Say our own replies that have come to the head of the queue."""
        fifo = self._fifo
        while fifo and fifo[0].answers and not self._is_winding_up:
            owed = fifo.popleft()
            if self._reply_lines:
                # They are on their way to the client, in a reply that nothing asked for.
                self._add_reply(b"".join(self._reply_lines), None, partial=True)
                self._reply_lines.clear()
                self._reply_bytes = 0
            *first, last = owed.answers
            for raw in first:
                self._send("client", raw)
                code = int(raw[:3])
                self._add_reply(raw, code, from_=self._provider, answers=owed.n)
                self._count(owed.verb, code)
            code = int(last[:3])
            if owed.handler is not None:
                owed.handler(owed, code, last)
            else:
                self._send("client", last)
                self._add_reply(last, code, from_=self._provider, answers=owed.n)
                self._after_reply(owed, code)
            for raw in owed.unasked:
                self._send("client", raw)
                self._add_reply(raw, int(raw[:3]), from_=self._provider)
            if owed.closes:
                self._wind_up("quit" if self._has_quit else "server-closed")
        if not fifo:
            self._note_nothing_owed()

    # -- what a reply means

    def _count(self, verb: str, code: int) -> None:
        if code >= 400:
            rule = RULES.get(verb)
            is_login = verb in ("AUTH", "X-EXPS", "sasl")
            is_mail = verb == "." or (rule is not None and rule.refusal_counts and not is_login)
            # A 421 ends the session, whatever it answers (RFC 5321 3.8).
            if is_mail or is_login or verb == "greeting" or (code == 421 and verb != "QUIT"):
                self._facts.refused += 1
            self._facts.refused_mail += is_mail
        elif verb == "." and 200 <= code < 300:
            self._facts.accepted += 1

    def _after_reply(self, owed: Expectation, code: int) -> None:
        verb = owed.verb
        is_positive = 200 <= code < 300
        if code >= 400 or verb == ".":
            self._count(verb, code)
        if verb == "RCPT":
            if is_positive:
                self._recipients += 1
        elif is_positive and verb in RULES and RULES[verb].resets:
            self._recipients = 0
            self._is_lmtp = self._is_lmtp or verb == "LHLO"
            self._has_transaction = verb in ("MAIL", "SEND", "SOML", "SAML")
        elif verb == ".":
            self._recipients = 0
            self._has_transaction = False
        elif verb == "BDAT" and code >= 400:
            self._is_message_refused = True
        elif verb == "QUIT":
            self._has_quit = self._has_quit or is_positive
            if self._has_quit and self._reason == "client-eof":
                self._reason = "quit"  # it said so, and did not wait for the answer
        elif verb == "greeting":
            self._has_greeting_refused = code >= 400
        elif verb in ("AUTH", "X-EXPS", "sasl") and code != 334:
            if self._sasl is not None:
                if code == 235:
                    self._layer_may_follow = self._sasl.can_layer
                elif code == 535 and self._sasl.can_bind:
                    self._add_finding("channel-binding", about=owed.n)
            self._sasl = None
        if owed is self._holding:
            self._holding = None
            self._resume(verb, code)

    def _resume(self, verb: str, code: int) -> None:
        """The reply that decides how the client's next octets are read."""
        if code == 334 and self._sasl is not None:
            self._move("challenge")
        elif code == 354 and verb == "DATA":
            self._open_message()
            self._move("go-ahead")
        elif code == 354:
            # MS KB 812455: the blob is answered once more.
            self._chunk_left = self._exchange_bytes
            self._fifo.append(Expectation(verb, None))
            self._move("count" if self._chunk_left else "answered")
        elif 200 <= code < 300 and verb in ("TURN", "ATRN", "X-ANONYMOUSTLS"):
            self._lose_thread(f"{verb} was accepted", is_withheld=True)
        else:
            self._was_data_refused = verb == "DATA" and code >= 400
            self._move("answered")

    def _open_message(self) -> None:
        self._facts.messages += 1
        self._scanner = TerminatorScanner()
        self._is_answered_early = False
        self._content = ContentCutter(is_eight_bit_ok=self._is_eight_bit_ok, is_binary_ok=False)

    # -- replies that nothing asked for

    def _on_unsolicited(self, code: int, raw: bytes) -> None:
        n = self._n
        self._add_reply(raw, code)
        if self._state == "data" and self._content is not None:
            self._on_early_reply(code, n)
        elif 300 <= code < 400:
            self._lose_thread(f"{code} when nothing was asked")
        elif code not in (421, 221):
            self._add_finding_once("unsolicited-reply", about=n)

    def _on_early_reply(self, code: int, n: int) -> None:
        """A reply in the middle of a message: the server saw its end where RFC 5321 has none, or gives up."""
        content = self._content
        assert content is not None
        variant = content.lenient_end()
        if variant:
            self._add_finding("smuggling-suspect", f"it ended at {variant}", about=n)
            self._add_content(content.finish(0), end=True)
            self._content = None
            self._move("complete")
            self._after_reply(Expectation(".", None), code)
            return
        self._add_finding("early-reply", about=n)
        if code >= 400:
            self._is_answered_early = True
            self._count(".", code)
            return
        if content.has_lenient_terminator:
            self._add_finding("smuggling-suspect", "it ended inside what the client sent", about=n)
        self._lose_thread(f"{code} in the middle of a message")
