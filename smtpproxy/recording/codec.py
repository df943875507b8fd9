"""One event as one line of JSON, and back from a line that anybody may have written; it reads no files.

`encode` runs for every event of every session and takes what the core made. `decode` takes hostile input:
every number, name and size in a line is bounded before anything is done with it.
"""

import re
from typing import Final, TypeAlias, assert_never

import msgspec
from msgspec import UNSET

from smtpproxy.errors import SmtpProxyError
from smtpproxy.session.events import (
    FORMAT,
    AnyEvent,
    Auth,
    Command,
    Content,
    End,
    Finding,
    Gap,
    Opaque,
    Preface,
    Reply,
    SessionStarted,
    SpokenEvent,
    Tls,
    octets_of,
)

MAX_LINE_BYTES: Final = 2 * 1024 * 1024
"""A line that is longer is refused. 256 KiB is the most that one event carries (octets held back before a
reply); a control character takes six octets in JSON."""
MAX_COUNT: Final = 2**53 - 1
"""The largest `n` or number of octets: what every JSON reader counts exactly."""
MAX_BDAT_OCTETS: Final = 2**63 - 1
"""The largest `size`: a client may announce what it will never send (RFC 3030 2)."""
MAX_T_S: Final = 10 * 366 * 86400.0
"""The latest `t`: ten years into a session. A replay that waits as long as the recording did must end."""
MAX_NAME_BYTES: Final = 256
"""How much of a kind or of a reader's complaint goes into an error."""

_SESSION_ID: Final = re.compile(r"[0-9A-Za-z-]{1,64}\Z")
_STARTED: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z\Z", re.ASCII)
_SHA256: Final = re.compile(r"[0-9a-f]{64}\Z")
# What moves a cursor, splits a line or reorders text, yet needs no escape in JSON: DEL, C1, zero-width and
# bidirectional marks, line separators, the byte order mark. Someone will look at the line in a terminal.
_UNSAFE: Final = re.compile(
    rb"\x7f|\xc2[\x80-\x9f]|\xd8\x9c|\xe2\x80[\x8b-\x8f\xa8-\xae]|\xe2\x81[\xa0-\xaf]|\xef\xbb\xbf"
)


class LineError(SmtpProxyError):
    """A line is no event of this format; one sentence says why, without quoting the conversation."""


class NewerFormatError(LineError):
    """The line opens a session in a later format.

    Attributes:
        format: its version.
    """

    def __init__(self, version: int) -> None:
        super().__init__(
            f"was written by a newer smtpproxy (format {version}); this one reads up to {FORMAT}: upgrade"
        )
        self.format = version


class UnknownEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event of a kind that a later smtpproxy has introduced without changing the format.

    Attributes:
        line: as it was read, so that it can be passed on.
    """

    kind: str
    n: int
    session: str
    t: float
    line: bytes


class _Kind(msgspec.Struct):
    """As much of a line as tells what it is meant to be; `format` is looked at wherever it stands."""

    kind: str
    format: object = None


class _Unknown(msgspec.Struct):
    """What all kinds have."""

    n: int
    session: str
    t: float


AnyLine: TypeAlias = AnyEvent | UnknownEvent

_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(AnyEvent)
_KIND_DECODER: Final = msgspec.json.Decoder(_Kind)
_UNKNOWN_DECODER: Final = msgspec.json.Decoder(_Unknown)
_KINDS: Final = frozenset(kind.__struct_config__.tag for kind in AnyEvent.__args__)


def encode(event: AnyEvent) -> bytes:
    """The event's line, without a line end; safe to print.

    Fields come in the order of the structs (`kind`, `n`, `session`, `t`, …). `t` is rounded to microseconds
    in the event too, so that the value and its line say the same.
    """
    event.t = round(event.t, 6)
    line = _ENCODER.encode(event)
    # Both tests run at memory speed: most lines end here.
    if line.isascii() and b"\x7f" not in line:
        return line
    return _UNSAFE.sub(_escaped, line)


def _escaped(match: re.Match[bytes]) -> bytes:
    return b"\\u%04x" % ord(match[0].decode())


def splice_seq(line: bytes, seq: int) -> bytes:
    """The line with its position in the event log in front, as who reads the log live gets it."""
    return b'{"seq":%d,%s' % (seq, line[1:])


def decode(line: bytes) -> AnyLine:
    """The event of a line, with or without a line end and `seq`; unknown fields are ignored.

    Raises:
        NewerFormatError: it opens a session in a later format.
        LineError: it is no event, or something in it is out of bounds.
    """
    if len(line) > MAX_LINE_BYTES:
        raise LineError(f"the line is longer than {MAX_LINE_BYTES} octets")
    # ValueError: an integer of thousands of digits. RecursionError: brackets nested without end.
    try:
        event: AnyLine = _DECODER.decode(line)
    except msgspec.ValidationError as error:
        event = _decode_unknown(line, error)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise LineError(f"not JSON: {plain(error)}") from None
    _check(event)
    return event


def check_unread(line: bytes) -> None:
    """Look into what `decode` passes over too: a stranger's line is kept, and printed, as a whole.

    Raises:
        LineError: a field that is not known here is no JSON, or not UTF-8.
    """
    try:
        msgspec.json.decode(line)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise LineError(f"not JSON: {plain(error)}") from None


def _decode_unknown(line: bytes, reason: msgspec.ValidationError) -> UnknownEvent:
    """What a line is that may be JSON, but is none of the known events."""
    try:
        head = _KIND_DECODER.decode(line)
        if head.kind == "session" and isinstance(head.format, int) and head.format > FORMAT:
            raise NewerFormatError(min(head.format, MAX_COUNT))
        if head.kind in _KINDS:
            raise LineError(f"not an event of kind {head.kind}: {plain(reason)}")
        rest = _UNKNOWN_DECODER.decode(line)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise LineError(f"not an event: {plain(error)}") from None
    _require(len(head.kind) <= MAX_NAME_BYTES, "kind is too long")
    return UnknownEvent(kind=head.kind, n=rest.n, session=rest.session, t=rest.t, line=line)


def plain(error: Exception | str) -> str:
    """A reader's complaint, fit for a terminal whatever stood in the line."""
    text = str(error).encode("ascii", "backslashreplace").decode()
    return "".join(c if c.isprintable() else "?" for c in text[:MAX_NAME_BYTES])


def _require(holds: bool, problem: str) -> None:
    if not holds:
        raise LineError(f"not an event: {problem}")


def _require_count(value: int | msgspec.UnsetType, name: str) -> None:
    _require(value is UNSET or 0 <= value <= MAX_COUNT, f"{name} is out of bounds")


def _check(event: AnyLine) -> None:
    """Bounds of what all events have, then of what each kind adds."""
    _require(0 <= event.n <= MAX_COUNT, "n is out of bounds")
    _require(0 <= event.t <= MAX_T_S, "t is out of bounds")
    _require(bool(_SESSION_ID.match(event.session)), "the session id is not [0-9A-Za-z-]{1,64}")
    match event:
        case SessionStarted():
            if event.format > FORMAT:
                raise NewerFormatError(min(event.format, MAX_COUNT))
            _require(event.format == FORMAT, f"there is no format {event.format}")
            _require(bool(_STARTED.match(event.started)), "started is no time like 2026-01-31T12:00:00Z")
        case Command() | Auth() | Reply() | Content() | Opaque() | Preface():
            _check_spoken(event)
        case Gap():
            _require_count(event.events, "events")
            _require_count(event.octets, "octets")
        case Finding():
            _require_count(event.about, "about")
        case End():
            _require_count(event.messages, "messages")
        case Tls() | UnknownEvent():
            pass
        case _:
            assert_never(event)


def _check_spoken(event: SpokenEvent) -> None:
    has_raw = event.raw is not UNSET or event.raw_b64 is not UNSET
    _require(event.raw is UNSET or event.raw_b64 is UNSET, "raw and raw_b64 exclude each other")
    match event:
        case Content() | Opaque():
            has_digest = event.octets is not UNSET and event.sha256 is not UNSET
            _require(has_raw or has_digest, "raw, raw_b64, or octets and sha256 must be there")
            _require_count(event.octets, "octets")
            _require(
                event.sha256 is UNSET or bool(_SHA256.match(event.sha256)), "sha256 is not 64 hex digits"
            )
            if isinstance(event, Content):
                _require_count(event.message, "message")
        case Command():
            _require(event.size is UNSET or 0 <= event.size <= MAX_BDAT_OCTETS, "size is out of bounds")
            _require_count(event.group, "group")
        case Auth():
            _require_count(event.step, "step")
        case Reply():
            _require(event.code is UNSET or 0 <= event.code <= 999, "code is not of three digits")
            _require_count(event.answers, "answers")
        case Preface():
            _require(event.version in (1, 2), "version of the PROXY header is neither 1 nor 2")
    _require(has_raw or isinstance(event, Content | Opaque), "raw or raw_b64 must be there")
    if event.redacted is not UNSET:
        octets = len(octets_of(event))
        for span in event.redacted:
            _require(0 <= span.at <= octets, "a redacted span lies outside of raw")
            _require(0 <= span.length <= MAX_COUNT, "a redacted span's length is out of bounds")
