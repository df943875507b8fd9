"""What happened in a session, as values; each becomes one line of JSON, and knows nothing of how.

The fields are the recording format, version 1. `from_` and `to` say who said it to whom: relayed as it
came is client→server or server→client; what smtpproxy answered or asked itself is proxy→… or …→proxy.
"""

from typing import Literal, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

FORMAT = 1
"""The version of the recording format that is written."""

Party = Literal["client", "server", "proxy"]
Leg = Literal["client", "server"]
Outcome = Literal["open", "delivered", "partial", "rejected", "empty", "aborted", "failed", "interrupted"]


class Redacted(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A span of `raw` that was, or is to be, kept out of the recording.

    Attributes:
        at: octet offset in `raw`. While an event is in memory this is an offset into the octets as they
            came; in a recorded line it is where the placeholder stands.
        length: octets that the secret had.
        kind: password, proof, token, url-token, sasl, echo, proxy-login…
    """

    at: int
    kind: str
    length: int


class Event(msgspec.Struct, kw_only=True, omit_defaults=True, tag_field="kind", gc=False):
    """What all events have.

    Attributes:
        n: counts the session's events from 0.
        session: the session's id, [0-9A-Za-z-]{1,64}.
        t: seconds since the session began, monotonic, taken at the socket.
    """

    n: int
    session: str
    t: float


class SessionStarted(Event, kw_only=True, tag="session"):
    """A client was accepted; always the session's first event (n = 0)."""

    format: int
    started: str
    route: str
    client: str
    upstream: str
    proxy: str
    listen: str = ""


class Spoken(Event, kw_only=True):
    """An event that carries octets of the conversation.

    Attributes:
        raw: the octets, where they are valid UTF-8.
        raw_b64: the octets otherwise (base64 on the line). Exactly one of the two is set, unless the
            octets were left out by policy: then `octets` and `sha256` stand for them.
        redacted: spans replaced by a placeholder.
    """

    from_: Party = msgspec.field(name="from")
    to: Party
    raw: str | UnsetType = UNSET
    raw_b64: bytes | UnsetType = UNSET
    redacted: list[Redacted] | UnsetType = UNSET


class Command(Spoken, kw_only=True, tag="command"):
    """One command line, a blank line (verb ""), or a piece of an oversize one.

    Attributes:
        verb: upper-cased first word; "" where there is none.
        group: commands sent while an earlier reply was outstanding share a number (RFC 2920).
        mechanism, identity: of AUTH; the identity is whose account, never the secret.
        size, last: of BDAT (RFC 3030): octets that follow, and whether LAST was said.
        partial: the line did not end here (over-long, or the tail at the end of the connection).
    """

    verb: str
    group: int = 0
    mechanism: str | UnsetType = UNSET
    identity: str | UnsetType = UNSET
    size: int | UnsetType = UNSET
    last: bool = False
    partial: bool = False


class Auth(Spoken, kw_only=True, tag="auth"):
    """One line of a SASL exchange said by the client after a 334; always secret (RFC 4954).

    Attributes:
        step: counts the exchange's client lines from 1.
    """

    mechanism: str
    step: int
    identity: str | UnsetType = UNSET
    partial: bool = False


class Reply(Spoken, kw_only=True, tag="reply"):
    """One reply, all of its lines; pieces with `partial` where it is longer than is kept whole.

    Attributes:
        code: of its last line; absent where that line has none.
        enhanced: enhanced status code (RFC 2034), such as 5.7.1.
        answers: `n` of the command or content it answers; absent for the greeting and the unsolicited.
    """

    code: int | UnsetType = UNSET
    enhanced: str | UnsetType = UNSET
    answers: int | UnsetType = UNSET
    partial: bool = False


class Content(Spoken, kw_only=True, tag="content"):
    """A piece of a message: after DATA as it stands on the wire (dot-stuffed), or of a BDAT chunk.

    Attributes:
        message: counts the session's messages from 1.
        end: the message ends here: after DATA this is the terminator ".CRLF" alone (RFC 5321 4.1.1.4),
            with BDAT the last piece of the LAST chunk.
        octets, sha256: stand for the octets where bodies are not recorded.
    """

    message: int
    end: bool = False
    octets: int | UnsetType = UNSET
    sha256: str | UnsetType = UNSET


class Opaque(Spoken, kw_only=True, tag="opaque"):
    """Octets that are not read as SMTP: after the thread was lost, inside a security layer, after the end.

    Attributes:
        octets, sha256: stand for octets that may not be kept (SASL security layer, TURN).
    """

    octets: int | UnsetType = UNSET
    sha256: str | UnsetType = UNSET


class Preface(Spoken, kw_only=True, tag="preface"):
    """A PROXY protocol header (v1 or v2) from a balancer in front of us."""

    version: int
    source: str | UnsetType = UNSET
    destination: str | UnsetType = UNSET


class Certificate(msgspec.Struct, kw_only=True, omit_defaults=True, frozen=True):
    """One certificate that a peer presented.

    Attributes:
        subject, issuer: RFC 4514 strings.
        names: subjectAltName entries, `DNS:…` or `IP:…`.
        not_before, not_after: ISO 8601, UTC.
        sha256: fingerprint of the DER, hex.
        pem: the certificate itself.
    """

    subject: str
    issuer: str
    names: list[str]
    not_before: str
    not_after: str
    sha256: str
    pem: str = ""


class TlsInfo(msgspec.Struct, kw_only=True, omit_defaults=True, frozen=True):
    """What a handshake came to on one leg, or how it failed.

    Attributes:
        version, cipher, alpn: as negotiated; "" where it did not come to that.
        sni: sent by us (server leg) or received from the client (client leg).
        verified: the peer's certificate was checked and is good (server leg).
        certificates: the peer's chain, leaf first; present on failure too where it could be had.
        error: why it failed, in words for people; "" where it stands.
        alert: the TLS alert's name, sent or received, such as unknown_ca.
        advice: what the user should do about the error.
        is_plain_text: the peer spoke no TLS at all.
    """

    version: str = ""
    cipher: str = ""
    alpn: str = ""
    sni: str = ""
    verified: bool = False
    certificates: list[Certificate] = []
    error: str = ""
    alert: str = ""
    advice: str = ""
    is_plain_text: bool = False


class Tls(Event, kw_only=True, tag="tls"):
    """A handshake ended on one leg; the fields of TlsInfo."""

    leg: Leg
    version: str = ""
    cipher: str = ""
    alpn: str = ""
    sni: str = ""
    verified: bool = False
    certificates: list[Certificate] = []
    error: str = ""
    alert: str = ""
    advice: str = ""


class Finding(Event, kw_only=True, tag="finding"):
    """Something worth a person's eye.

    Attributes:
        code: stable and hyphenated; the table is session/findings.py.
        text: one sentence for people.
        about: `n` of the event it concerns.
    """

    code: str
    text: str
    about: int | UnsetType = UNSET


class Gap(Event, kw_only=True, tag="gap"):
    """Events of this session that could not be recorded: `n` is the first one's number.

    Attributes:
        events: how many are missing.
        octets: of conversation in them.
        reason: why, for people.
    """

    events: int
    octets: int
    reason: str


class End(Event, kw_only=True, tag="end"):
    """The session is over; always its last event.

    Attributes:
        outcome: one of Outcome, by the rules in session/outcomes.py.
        messages: contents that were carried, whether accepted or not.
        reason: who ended it and how: quit, client-eof, client-reset, server-eof, server-reset, server-closed…
    """

    outcome: Outcome
    messages: int = 0
    reason: str = ""


AnyEvent: TypeAlias = (
    SessionStarted | Command | Auth | Reply | Content | Opaque | Preface | Tls | Finding | Gap | End
)
SpokenEvent: TypeAlias = Command | Auth | Reply | Content | Opaque | Preface


def octets_of(event: SpokenEvent) -> bytes:
    """The octets that an event carries; empty where policy left them out."""
    raw = event.raw
    if raw is not UNSET:
        return raw.encode()
    b64 = event.raw_b64
    return b64 if b64 is not UNSET else b""


def set_octets(event: SpokenEvent, data: bytes) -> None:
    """Put octets into an event: as text where they are valid UTF-8, else as bytes."""
    try:
        event.raw = data.decode()
        event.raw_b64 = UNSET
    except UnicodeDecodeError:
        event.raw = UNSET
        event.raw_b64 = data
