"""AUTH and the SASL lines behind it (RFC 4954): passed on as they come, marked as secret for recording."""

from smtpproxy.session.conversation import Expectation
from smtpproxy.session.decisions import SaslTurn
from smtpproxy.session.events import Command, Redacted
from smtpproxy.session.messages import Messages
from smtpproxy.wire.commands import take_line, word_spans
from smtpproxy.wire.sasl import SaslExchange


class Logins(Messages):
    """The layer that knows secrets where they pass."""

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


def secret_words(line: bytes, verb: str) -> list[Redacted]:
    """BURL's URL carries a URLAUTH token (RFC 4468); XCLIENT's LOGIN an account."""
    spans = word_spans(line)[1:]
    if verb == "BURL":
        return [Redacted(at=start, kind="url-token", length=end - start) for start, end in spans[:1]]
    return [
        Redacted(at=start + 6, kind="proxy-login", length=end - start - 6)
        for start, end in spans
        if line[start : start + 6].upper() == b"LOGIN=" and end - start > 6
    ]
