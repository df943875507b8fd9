"""TLS on each leg, and the EHLO reply that goes with it: when to upgrade, what to show (RFC 3207)."""

from typing import Final

from smtpproxy.session import effects as fx
from smtpproxy.session.answers import Answers
from smtpproxy.session.conversation import Expectation, ReplyHandler
from smtpproxy.session.decisions import Policy
from smtpproxy.session.events import Leg, Tls, TlsInfo
from smtpproxy.session.options import RelayOptions
from smtpproxy.wire.commands import argument_of
from smtpproxy.wire.ehlo import HIDDEN_BY_DEFAULT, KNOWN_KEYWORDS, StartTlsShown, keywords_of, rewrite_ehlo
from smtpproxy.wire.replies import parse_reply_line

CLEAR_BEFORE_UPGRADE: Final = frozenset({"QUIT", "NOOP", "RSET", "HELP"})
"""What may go to a server that the proxy is still to upgrade; anything else upgrades it first."""
READY: Final = b"220 2.0.0 Ready to start TLS\r\n"


class Upgrades(Answers):
    """The layer that starts TLS."""

    def __init__(self, options: RelayOptions, *, session: str, policy: Policy | None) -> None:
        super().__init__(options, session=session, policy=policy)
        self._pending_reply: tuple[int, bytes, int | None] | None = None
        """The 220 that the client gets once its leg may switch: (code, raw, answers)."""
        self._trigger = b""
        """The client's EHLO, said again once the server's leg is upgraded; other commands are held."""
        self._trigger_n: int | None = None

    # -- the server's leg, on our own account (smtp+starttls://)

    def _begin_upgrade(self, line: bytes, verb: str) -> None:
        """Upgrade the server's leg before this command of the client goes on."""
        self._move("hold")
        if verb in ("EHLO", "LHLO"):
            self._trigger = line
            event = self._add_command(line, verb)
            self._trigger_n = event.n
            self._fifo.append(Expectation(verb, event.n, handler=self._on_first_ehlo))
            self._send("server", line)
            return
        name = argument_of(line) if verb == "HELO" else b""
        verb = "LHLO" if self._options.is_lmtp else "EHLO"
        # It goes on when TLS stands, as if it had just come.
        self._keep(line)
        self._ask_server(
            verb.encode() + b" " + (name or self._options.name.encode()) + b"\r\n", verb, self._on_first_ehlo
        )

    def _ask_server(self, line: bytes, verb: str, handler: ReplyHandler) -> None:
        event = self._add_command(line, verb, from_="proxy")
        self._fifo.append(Expectation(verb, event.n, handler=handler))
        self._send("server", line)

    def _on_first_ehlo(self, owed: Expectation, code: int, raw: bytes) -> None:
        self._add_reply(raw, code, to="proxy", answers=owed.n)
        offered = keywords_of(self._ehlo_lines) if code == 250 else []
        if "STARTTLS" in offered:
            self._ask_server(b"STARTTLS\r\n", "STARTTLS", self._on_own_starttls)
        else:
            said = f"it answered EHLO with {code}" if code != 250 else "its EHLO reply has no STARTTLS"
            self._fail(
                "starttls-missing",
                said,
                code=421,
                enhanced="4.7.5",
                text=f"smtpproxy: {self._options.upstream} does not offer STARTTLS ({said}); nothing sent",
                about=owed.n,
            )

    def _on_own_starttls(self, owed: Expectation, code: int, raw: bytes) -> None:
        self._add_reply(raw, code, to="proxy", answers=owed.n)
        if code == 220:
            self._switch_server()
            return
        self._fail(
            "upstream-tls",
            f"STARTTLS was answered with {code}",
            code=421,
            enhanced="4.7.5",
            text=f"smtpproxy: {self._options.upstream} refused STARTTLS with {code}; nothing went in clear",
            about=owed.n,
        )

    def _switch_server(self) -> None:
        """Let TLS begin on the server's leg; from here any octet of it in clear is injection."""
        self._server_is_switching = True
        self._do(fx.StartTls("server", is_upgrade=True))

    def _switch_client(self, reply: bytes) -> None:
        """Let TLS begin on the client's leg, behind this 220."""
        self._is_client_switching = True
        self._do(fx.StartTls("client", reply, is_upgrade=True))

    # -- STARTTLS said by the client

    def _on_forwarded_starttls(self, owed: Expectation, code: int, raw: bytes) -> None:
        """In step: the server's leg first; its 220 is passed on only once its handshake stands."""
        if code != 220:
            self._send("client", raw)
            self._add_reply(raw, code, answers=owed.n)
            self._after_reply(owed, code)
            return
        if self._options.is_tunnel:
            self._send("client", raw)
            self._add_reply(raw, code, answers=owed.n)
            self._lose_thread("TLS is passed on unread", is_withheld=True)
            return
        self._add_reply(raw, code, to="proxy", answers=owed.n)
        self._pending_reply = (code, raw, owed.n)
        self._switch_server()

    def _on_local_starttls(self, owed: Expectation, code: int, raw: bytes) -> None:
        """The client's leg alone; our 220 has come to the head of the queue."""
        if code != 220:
            self._send("client", raw)
            self._add_reply(raw, code, from_=self._provider, answers=owed.n)
            self._after_reply(owed, code)
            return
        self._pending_reply = (code, raw, owed.n)
        self._switch_client(raw)

    def _on_tls_starting(self, side: Leg) -> None:
        """The driver has found no early octets and sends the 220."""
        if side == "client" and self._pending_reply is not None:
            code, raw, n = self._pending_reply
            self._pending_reply = None
            self._is_client_switching = False
            self._add_reply(raw, code, from_=self._provider, answers=n)

    def _on_injection(self, side: Leg, data: bytes) -> None:
        """Octets glued to STARTTLS: kept, never interpreted (CVE-2011-0411)."""
        detail = f"{len(data)} octets"
        if self._is_winding_up:
            self._add_opaque(data, from_=side, to="proxy")
            return
        # Where they came with the 220 itself, no ClientHello has left yet, and none shall.
        self._effects = [effect for effect in self._effects if not isinstance(effect, fx.StartTls)]
        about = self._n
        self._add_opaque(data, from_=side, to="proxy")
        self._server_is_switching = False
        self._is_client_switching = False
        self._pending_reply = None
        if side == "client":
            self._fail(
                "starttls-injection",
                f"{detail} from the client",
                code=501,
                enhanced="5.5.4",
                text="smtpproxy: octets follow STARTTLS in clear; wait for the 220, then start TLS",
                about=about,
            )
        else:
            self._fail(
                "starttls-injection",
                f"{detail} from the server",
                code=421,
                enhanced="4.7.0",
                text=f"smtpproxy: {self._options.upstream} sent octets in clear after its 220 to STARTTLS",
                about=about,
            )

    # -- handshakes

    def _on_tls(self, side: Leg, info: TlsInfo) -> None:
        self._add_tls(side, info)
        self._has_tls[side] = True
        if side == "server":
            self._server_is_switching = False
            self._reply_line.clear()
            if self._pending_reply is not None:
                self._switch_client(self._pending_reply[1])
            elif self._is_upgrade_due and self._state == "held":
                self._is_upgrade_due = False
                if self._trigger:
                    line, self._trigger = self._trigger, b""
                    self._greet_again(line)
                else:
                    self._move("answered")
        else:
            self._is_fresh_after_tls = True
            # RFC 3207 4.2: all knowledge from before is discarded.
            self._recipients = 0
            self._has_transaction = False
            self._sasl = None
            self._is_eight_bit_ok = False
            if self._state == "starttls":
                self._holding = None
                self._move("answered")
                if not self._fifo:
                    self._note_nothing_owed()

    def _greet_again(self, line: bytes) -> None:
        """The client's own EHLO, under TLS; only this reply is shown to it."""
        verb = "LHLO" if self._options.is_lmtp else "EHLO"
        event = self._add_command(line, verb, from_="proxy")
        owed = Expectation(verb, event.n, asked_n=self._trigger_n, handler=self._on_ehlo)
        self._trigger_n = None
        self._holding = owed
        self._fifo.append(owed)
        self._send("server", line)

    def _on_tls_failed(self, side: Leg, info: TlsInfo) -> None:
        self._add_tls(side, info)
        if self._is_winding_up:
            return
        if side == "client":
            self._facts.is_failed = True
            is_plain = info.is_plain_text and self._options.is_client_tls
            self._add_finding(
                "plain-on-tls-port" if is_plain else "client-tls", _joined(info), about=self._n - 1
            )
            self._has_left["client"] = True
            self._wind_up("client-tls")
            return
        self._server_is_switching = False
        self._pending_reply = None
        self._has_left["server"] = True
        self._do(fx.Close("server"))
        self._fail(
            "upstream-tls",
            _joined(info),
            code=421,
            enhanced="4.7.5",
            text=f"smtpproxy: TLS with {self._options.upstream} failed: {_joined(info)}",
            about=self._n - 1,
        )

    def _add_tls(self, side: Leg, info: TlsInfo) -> None:
        self._events.append(
            Tls(
                n=self._n,
                session=self._session,
                t=self._t,
                leg=side,
                version=info.version,
                cipher=info.cipher,
                alpn=info.alpn,
                sni=info.sni,
                verified=info.verified,
                certificates=info.certificates,
                error=info.error,
                alert=info.alert,
                advice=info.advice,
            )
        )
        self._n += 1

    # -- the EHLO reply

    @property
    def _starttls_shown(self) -> StartTlsShown:
        """What the client is to see of STARTTLS (RFC 3207 4.2: never under TLS)."""
        if self._options.is_tunnel:
            return "keep"
        if self._has_tls["client"] or self._options.ehlo.get("STARTTLS") == "hide":
            return "hide"
        return "show" if self._options.server_tls in ("starttls", "implicit") else "keep"

    def _is_hidden(self, keyword: str) -> bool:
        policy = self._options.ehlo.get(keyword)
        if policy is not None:
            return policy == "hide"
        if keyword == "REQUIRETLS":
            # RFC 8689: we would vouch for a guarantee that only TLS on both legs, verified, gives.
            return not (
                self._has_tls["client"] and self._has_tls["server"] and self._options.is_server_verified
            )
        if not keyword:
            return False  # a line that names nothing
        if keyword not in KNOWN_KEYWORDS:
            self._add_finding_once("unknown-extension", keyword[:64])
            return self._options.strict_ehlo
        return keyword in HIDDEN_BY_DEFAULT

    def _on_ehlo(self, owed: Expectation, code: int, raw: bytes) -> None:
        lines = self._ehlo_lines
        shown = lines
        if code == 250 and all(parse_reply_line(line)[0] == 250 for line in lines):
            shown = rewrite_ehlo(
                lines,
                is_hidden=self._is_hidden,
                starttls=self._starttls_shown,
                hides_external=self._has_tls["client"] and not self._options.has_own_certificate,
            )
        if owed.asked_n is None and (shown is lines or shown == lines):
            self._send("client", raw)
            self._add_reply(raw, code, answers=owed.n)
        else:
            # What was asked in the client's stead is answered to us, even where nothing has to be rewritten.
            data = b"".join(shown)
            self._add_reply(raw, code, to="proxy", answers=owed.n)
            self._send("client", data)
            self._add_reply(
                data, code, from_="proxy", answers=owed.n if owed.asked_n is None else owed.asked_n
            )
        self._after_reply(owed, code)


def _joined(info: TlsInfo) -> str:
    return f"{info.error}; {info.advice}" if info.advice else info.error
