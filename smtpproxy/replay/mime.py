"""A message as canonical MIME: equal where a reader sees the same; it knows no step and no rule.

Two runs of an app write the same message with another date, another Message-ID, other boundaries, and perhaps
another transfer encoding or folding. What is left is compared: header fields, the tree of parts, and what is
in them. Content is anybody's: what cannot be read as MIME within bounds is compared octet by octet.
"""

import base64
import email
import email.policy
import email.quoprimime
import hashlib
import re
from collections.abc import Iterable, Iterator
from email.message import Message
from itertools import islice
from typing import Any, Final

from smtpproxy.replay.mime_parts import Field, Part, part_differences

MAX_MIME_BYTES: Final = 8 * 1024 * 1024
"""Of a message that is read as MIME; of a longer one only size and digest count."""
MAX_PARTS: Final = 1000
MAX_DEPTH: Final = 30
"""Of parts within parts."""
MAX_WORK: Final = 4_000_000
"""Lines times boundaries: the parser looks for each open boundary on each line."""
MAX_PARAMETERS_BYTES: Final = 4096
"""Of a field whose parameters are taken apart, which is quadratic in their quotes."""
VOLATILE_FIELDS: Final[frozenset[str]] = frozenset({"date", "message-id"})

# They describe how a part is carried, or are read into its other attributes.
_STRUCTURAL: Final[frozenset[str]] = frozenset(
    {"content-type", "content-disposition", "content-transfer-encoding"}
)
_FOLD: Final = re.compile(r"[ \t\r\n]+")
_BOUNDARY: Final = re.compile(r"""(?i);[ \t]*boundary="?[^";]*"?""")
_PARAMETERS: Final = re.compile(
    rb"(?i)(?:\A|(?<=[\r\n]))content-(?:type|disposition):[^\r\n]*+(?:(?:\r\n|\r|\n)[ \t][^\r\n]*+)*+"
)
_BOUNDARIES: Final = re.compile(rb"(?i)boundary")
_ENCODED_WORD: Final = re.compile(r"=\?([^?\s]{1,80})\?([bBqQ])\?([^?\s]*)\?=([ ]+(?==\?))?")


class Canonical:
    """A message in the form in which it is compared.

    Attributes:
        octets: its size.
        sha256: of its octets, hex; "" where that is not known.
        parts: in order, containers before what is in them; None where only size and digest count.
    """

    __slots__ = ("octets", "parts", "sha256")

    def __init__(self, *, octets: int, sha256: str, parts: tuple[Part, ...] | None = None) -> None:
        self.octets = octets
        self.sha256 = sha256
        self.parts = parts

    def __eq__(self, other: object) -> bool:
        """The same message; by size and digest where one of the two is not read as MIME."""
        if not isinstance(other, Canonical):
            return NotImplemented
        if self.parts is not None and other.parts is not None:
            return self.parts == other.parts
        has_digests = self.sha256 and other.sha256
        return self.octets == other.octets and (not has_digests or self.sha256 == other.sha256)

    def difference(self, other: "Canonical") -> tuple[Field, ...]:
        """What is not the same, seen from this one, the recorded; empty where they are equal."""
        if self == other:
            return ()
        if self.parts is None or other.parts is None:
            if self.octets != other.octets:
                return (("octets", str(self.octets), str(other.octets)),)
            return (("sha256", self.sha256, other.sha256),)
        return tuple(part_differences(self.parts, other.parts))


def canonical(content: bytes, ignore_headers: Iterable[str] = ()) -> Canonical:
    """Read a message; never raises.

    Args:
        content: its octets, dot-stuffing undone.
        ignore_headers: names of header fields that do not count, besides VOLATILE_FIELDS; in any case.
    """
    ignored = VOLATILE_FIELDS | {name.lower() for name in ignore_headers}
    digest = hashlib.sha256(content).hexdigest()
    return Canonical(octets=len(content), sha256=digest, parts=_read(content, ignored))


def _read(content: bytes, ignored: frozenset[str]) -> tuple[Part, ...] | None:
    if len(content) > MAX_MIME_BYTES:
        return None
    if _BOUNDARIES.subn(b"", content)[1] * (content.count(b"\n") + content.count(b"\r")) > MAX_WORK:
        return None
    if any(len(field[0]) > MAX_PARAMETERS_BYTES for field in _PARAMETERS.finditer(content)):
        return None
    try:
        # Not policy.SMTP: its parser of addresses raises on some input, and is slow on more of it.
        message = email.message_from_bytes(content, policy=email.policy.compat32)
        parts = tuple(islice(_parts(message, "", 0, ignored), MAX_PARTS + 1))
    except (RecursionError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError):
        return None
    return parts if len(parts) <= MAX_PARTS else None


def _parts(message: Message, path: str, depth: int, ignored: frozenset[str]) -> Iterator[Part]:
    if depth > MAX_DEPTH:
        raise ValueError("nested too deeply")
    payload: Any = message.get_payload()
    children: list[Message] = payload if isinstance(payload, list) else []
    yield Part(
        path=path,
        type=message.get_content_type(),
        parameters=_parameters(message),
        disposition=_disposition(message),
        fields=_fields(message, ignored),
        payload=b"" if children else _payload(message),
    )
    for number, child in enumerate(children, 1):
        yield from _parts(child, f"{path}.{number}" if path else str(number), depth + 1, ignored)


def _payload(message: Message) -> bytes:
    decoded: Any = message.get_payload(decode=True)
    data = decoded if isinstance(decoded, bytes) else b""
    if message.get_content_maintype() != "text":
        return data
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").removesuffix(b"\n")


def _parameters(message: Message) -> tuple[tuple[str, str], ...]:
    raw = _raw(message, "content-type")
    if not raw.isascii():
        return (("", _BOUNDARY.sub("", raw)),)
    found: dict[str, str] = {}
    parameters: list[tuple[str, Any]] = message.get_params(unquote=True) or []
    for name, value in parameters[1:]:
        text: str = value[2] if isinstance(value, tuple) else value  # RFC 2231: (charset, language, text)
        if name.lower() != "boundary":
            found[name.lower()] = text.lower() if name.lower() == "charset" else text
    if message.get_content_maintype() == "text":
        found.setdefault("charset", "us-ascii")  # RFC 2045 5.2
    return tuple(sorted(found.items()))


def _disposition(message: Message) -> str:
    raw = _raw(message, "content-disposition")
    if not raw.isascii():
        return raw
    name = message.get_filename()
    kind = message.get_content_disposition() or ""
    return f"{kind}; filename={_decoded(name)}" if name else kind


def _raw(message: Message, wanted: str) -> str:
    """A field's value as it stands: the library has one character for all that is beyond ASCII."""
    return next((_unfolded(value) for name, value in message.raw_items() if name.lower() == wanted), "")


def _fields(message: Message, ignored: frozenset[str]) -> tuple[tuple[str, str], ...]:
    """By name; of one name by value, but for Received, whose order says something (RFC 5321 4.4)."""
    found = [
        (name.lower(), _decoded(_unfolded(value)))
        for name, value in message.raw_items()
        if name.lower() not in ignored and name.lower() not in _STRUCTURAL
    ]
    return tuple(sorted(found, key=lambda field: (field[0], "" if field[0] == "received" else field[1])))


def _unfolded(value: Any) -> str:
    """A field's value on one line (RFC 5322 2.2.3); how much space there was does not count."""
    # What was no ASCII comes as lone surrogates, one for each octet.
    text = str(value).encode("ascii", "surrogateescape").decode("utf-8", "backslashreplace")
    return _FOLD.sub(" ", text).strip()


def _decoded(text: str) -> str:
    """Without encoded words (RFC 2047). Not `email.header`: that is quadratic in words that do not end."""
    return _ENCODED_WORD.sub(_decode_word, text) if "=?" in text else text


def _decode_word(word: re.Match[str]) -> str:
    charset, encoding, text = word[1].partition("*")[0], word[2], word[3]
    try:
        if encoding in "bB":
            return base64.b64decode(text.rstrip("=") + "==").decode(charset, "backslashreplace")
        return email.quoprimime.header_decode(text).encode("latin-1").decode(charset, "backslashreplace")
    except (ValueError, LookupError):
        return word[0]
