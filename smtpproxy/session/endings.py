"""How a session ends: EOF, reset, timeout, limit, shutdown, failure; passed on as it came where it can be."""

from typing import Final

from smtpproxy.session import effects as fx
from smtpproxy.session.conversation import Conversation
from smtpproxy.session.decisions import Policy
from smtpproxy.session.events import End, Leg, Party, Redacted
from smtpproxy.session.options import RelayOptions
from smtpproxy.session.outcomes import outcome_of
from smtpproxy.wire.replies import render_reply

DRAIN_S: Final = 2.0
"""How long what a client still says is read after the end: closing with unread input makes RST."""
LINGER_S: Final = 10.0
"""How long a server may take to close after the client left and nothing is owed."""

_NOT_MISSED: Final = frozenset({"greeting", "QUIT"})


class Endings(Conversation):
    """The layer that ends sessions."""

    def __init__(self, options: RelayOptions, *, session: str, policy: Policy | None) -> None:
        super().__init__(options, session=session, policy=policy)
        self._is_over = False
        self._is_ending = False
        """Over, but for the rest of the input that ended it, and the end's own event."""
        self._has_left: dict[Leg, bool] = {"client": False, "server": options.server_tls == "none"}
        self._is_leaving = False
        """The client has said FIN, and what it said before is still held."""
        self._is_half_closed = False
        self._has_quit = False
        self._is_stopping = False
        self._is_winding_up = False
        self._reason = ""
        self._last_heard = 0.0

    # -- either side leaves

    def _client_left(self) -> None:
        """The client's FIN: stay while a reply is owed. Was it queued? is the question the log answers."""
        if self._has_left["client"]:
            return
        self._has_left["client"] = True
        self._note_cut()
        if self._is_fresh_after_tls and not self._is_winding_up:
            # GnuTLS clients finish the handshake, then leave without an alert when they distrust us.
            self._add_finding("client-left-after-tls")
        self._record_unread(is_forwarded=self._can_forward and not self._is_winding_up)
        self._reason = self._reason or ("quit" if self._has_quit else "client-eof")
        if self._has_left["server"] or self._is_winding_up or self._state in ("waiting", "preface"):
            self._end()
        elif self._is_final_reply_owed:
            self._add_finding_once("app-left-before-final-reply", about=self._fifo[0].n)
        else:
            self._pass_half_close()

    def _pass_half_close(self) -> None:
        """Pass the client's FIN on; under TLS only once nothing is owed: servers answer it by closing."""
        if self._has_left["server"] or (self._has_tls["server"] and self._is_reply_owed):
            return
        if not self._is_half_closed:
            self._is_half_closed = True
            self._do(fx.HalfClose("server"))
        if not self._is_reply_owed and not self._is_opaque:
            self._do(fx.Wait(LINGER_S, "linger"))

    def _server_left(self, reason: str) -> None:
        """The server's FIN: flush, shut the client's side down, drain, end."""
        if self._has_left["server"]:
            return
        self._has_left["server"] = True
        self._record_unfinished_reply(is_passed=True)
        self._note_cut()
        if self._is_reply_missed or self._content_is_open:
            self._facts.is_cut = True
            self._add_finding_once("server-left")
        self._wind_up("quit" if self._has_quit else reason)

    def _reset_by(self, side: Leg) -> None:
        """A RST: say who, and pass it on as RST, so that the other end sees the same error class."""
        if self._has_quit or self._is_winding_up:
            # Closing with something unread resets too: after QUIT this is how many clients leave.
            return self._client_left() if side == "client" else self._server_left("server-reset")
        if side == "client":
            if self._is_final_reply_owed and not self._has_left["server"]:
                self._add_finding_once("client-reset")
                return self._client_left()
            self._note_cut()
        else:
            self._record_unfinished_reply(is_passed=True)
            self._note_cut()
            if self._is_reply_missed:
                self._facts.is_cut = True
        self._has_left[side] = True
        self._add_finding(f"{side}-reset")
        other: Leg = "server" if side == "client" else "client"
        if not self._has_left[other]:
            self._do(fx.Reset(other))
        self._reason = f"{side}-reset"
        return self._end()

    # -- our own endings

    def _fail(
        self, finding: str, detail: str, *, code: int, enhanced: str, text: str, about: int | None = None
    ) -> None:
        """Relaying cannot go on: say so to both, in words a person can act on."""
        if self._is_winding_up:
            return
        self._facts.is_failed = True
        self._add_finding(finding, detail, about=about)
        self._say_last(code, f"{enhanced} {text}")
        self._wind_up(finding)

    def _say_last(self, code: int, text: str) -> None:
        if self._state == "preface" and self._options.is_client_tls:
            return  # TLS cannot begin before the PROXY header, and clear text would not be understood
        self._record_unfinished_reply(is_passed=False)
        raw = render_reply(code, text)
        self._send("client", raw)
        self._add_reply(raw, code, from_=self._provider)

    def _wind_up(self, reason: str) -> None:
        """Tell the client that this was all, and read what it still says for a moment."""
        if self._is_winding_up:
            return
        self._is_winding_up = True
        self._reason = self._reason or reason
        self._record_unread(is_forwarded=False)
        self._record_unfinished_reply(is_passed=False)
        self._fifo.clear()
        if not self._has_left["server"]:
            self._do(fx.Close("server"))
        if self._has_left["client"] or self._is_leaving:
            self._end()
            return
        self._move("over")
        self._do(fx.HalfClose("client"))
        self._do(fx.Wait(DRAIN_S, "drain"))

    def _end(self) -> None:
        """Nothing more is said; the session is over once the rest of this very input is recorded."""
        if self._is_ending:
            return
        self._is_ending = self._is_winding_up = True
        if self._is_reply_missed:
            self._facts.is_cut = True
        self._record_unread(is_forwarded=False)
        self._record_unfinished_reply(is_passed=False)
        self._fifo.clear()
        # It may know us by its handler, and no garbage collector looks into it.
        self._holding = self._reply_owed = None
        self._move("over")

    def _conclude(self) -> None:
        """The last effects and the last event of a session that is over."""
        self._is_over = True
        self._do(fx.Close("server"))
        self._do(fx.Close("client"))
        self._events.append(
            End(
                n=self._n,
                session=self._session,
                t=self._t,
                outcome=outcome_of(self._facts),
                messages=self._facts.messages,
                reason=self._reason,
            )
        )
        self._n += 1

    # -- facts

    @property
    def _can_forward(self) -> bool:
        """Whether the tail of a line may go to the server: not in clear where TLS is to come first."""
        is_read = self._state not in ("waiting", "preface", "starttls", "drain")
        return is_read and not self._has_left["server"] and not self._is_upgrade_due

    @property
    def _is_reply_owed(self) -> bool:
        """Whether a reply must still come: a blank line may go without one."""
        return any(not owed.is_optional for owed in self._fifo)

    @property
    def _is_reply_missed(self) -> bool:
        """Whether a reply is owed that somebody will miss."""
        return any(owed.verb not in _NOT_MISSED and not owed.is_optional for owed in self._fifo)

    @property
    def _content_is_open(self) -> bool:
        if self._state in ("data", "chunk"):
            return True
        return self._content is not None and not self._is_message_refused

    @property
    def _is_final_reply_owed(self) -> bool:
        return any(owed.verb == "." and not owed.is_optional for owed in self._fifo)

    def _note_cut(self) -> None:
        has_open_transaction = (
            self._has_transaction and self._recipients > 0 and not self._is_final_reply_owed
        )
        if self._content_is_open or (has_open_transaction and not self._has_quit):
            self._facts.is_cut = True

    def _note_nothing_owed(self) -> None:
        """Called when the reply queue has run empty."""
        if self._has_left["client"]:
            self._pass_half_close()
        elif self._is_stopping and self._state == "command":
            self._stop()

    def _stop(self) -> None:
        if self._is_winding_up:
            return
        self._add_finding("shutdown")
        self._say_last(421, "4.3.2 smtpproxy: shutting down; try again")
        self._wind_up("shutdown")

    # -- octets that nobody will read any more

    def _record_unread(self, *, is_forwarded: bool) -> None:
        """Record what is buffered of the client: the tail of a line, held octets, a message cut short.

        A tail at EOF is not executed by us; where the server's leg is up it is passed on, so that the server
        sees what the client sent.
        """
        if self._content is not None:
            piece = self._content.finish(0)
            if piece:
                self._add_content(piece)
            self._content = None
        held, pos = self._take_held()
        data = bytes(self._line) + held[pos:]
        self._line.clear()
        if not data:
            return
        to: Party = "server" if is_forwarded and self._state != "held" else "proxy"
        if to == "server":
            self._send("server", data)
        if self._sasl is not None:
            # In the middle of AUTH all of it counts as secret (RFC 4954; parser doubt).
            span = [Redacted(at=0, kind=self._sasl.secret_kind, length=len(data))]
            self._add_auth(
                data,
                mechanism=self._sasl.mechanism,
                step=self._sasl.step + 1,
                identity=None,
                redacted=span,
                partial=True,
                to=to,
            )
        else:
            self._add_opaque(data, from_="client", to=to)

    def _record_unfinished_reply(self, *, is_passed: bool) -> None:
        """Record what has come of a reply that will not be completed.

        Whole lines went to the client when they came, unless the reply was being held back; the rest goes to
        it now where it `is_passed`, and otherwise nowhere.
        """
        sent, rest = b"".join(self._reply_lines), bytes(self._reply_line)
        owed = self._reply_owed if sent else self._fifo[0] if self._fifo else None
        if owed is not None and owed.handler is not None:
            sent, rest = b"", sent + rest
        self._reply_lines.clear()
        self._reply_line.clear()
        self._reply_bytes = 0
        waiting = bytes(self._waiting)
        self._waiting.clear()
        n = owed.n if owed else None
        if is_passed and rest:
            self._send("client", rest)
            sent, rest = sent + rest, b""
        if sent:
            self._add_reply(sent, None, answers=n, partial=True)
        if rest:
            self._add_reply(rest, None, to="proxy", answers=n, partial=True)
        if waiting:
            self._add_opaque(waiting, from_="server", to="proxy")
