"""A message taken apart for people: headers, MIME tree, text, HTML, files, and what is odd about it; no I/O.

Recorded mail is anybody's, some of it made to hurt: nothing here raises on it, and depth, the number of
parts and sizes are bounded. For values to assert on in tests there is `mail`, which trusts its mail.
"""

import codecs
import re
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from email.errors import HeaderParseError
from email.header import decode_header
from email.message import Message
from email.utils import getaddresses
from typing import Final

import msgspec

from smtpproxy.inspect.mailparser import parse_message

MAX_BYTES: Final = 32 * 1024 * 1024
"""How much of a message is looked into."""
MAX_TEXT_CHARACTERS: Final = 256 * 1024
MAX_HTML_CHARACTERS: Final = 4 * 1024 * 1024
MAX_INLINE_BYTES: Final = 16 * 1024 * 1024
"""Images that HTML may show, together."""
MAX_HEADERS: Final = 500
MAX_FIELD_CHARACTERS: Final = 16 * 1024
MAX_PARTS: Final = 300
MAX_DEPTH: Final = 20
MAX_BOUNDARIES: Final = 60
"""A message that names more is not parsed: Python asks every open one at every line."""
MAX_MISMATCHES: Final = 20
MAX_DEFECTS: Final = 50

HARMLESS_IMAGES: Final = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp"})
"""What browsers only ever paint; SVG can do more."""

# What Python's email package raises on odd mail, beside its own errors, all of them MessageErrors.
_ERRORS: Final = (
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    RecursionError,
    HeaderParseError,
)
_FOLD: Final = re.compile(r"[\r\n]+[ \t]*")
_CID: Final = re.compile(r"cid:([^\s\"'<>)]{1,250})", re.IGNORECASE)
_TYPE: Final = re.compile(r"[a-z0-9!#$&^_.+-]{1,64}/[a-z0-9!#$&^_.+-]{1,64}\Z")
# Python takes quadratic time for the parameters of such a field.
_MIME_FIELD: Final = re.compile(
    rb"^content-[a-z-]{1,40}:[^\n]*(?:\n[ \t][^\n]*)*", re.IGNORECASE | re.MULTILINE
)
# Not what mail is written in, and quadratic in Python.
_REFUSED_CODECS: Final = frozenset({"punycode", "idna"})


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the MIME tree (RFC 2045).

    Attributes:
        path: numbers as in `1.2`; "" for the multipart that holds all others.
        size: octets, decoded; 0 of what only holds other parts.
    """

    path: str
    content_type: str
    charset: str
    disposition: str
    filename: str
    size: int
    content_id: str
    parts: list["Part"] = []

    @property
    def is_attachment(self) -> bool:
        """Whether it is a file rather than a piece of the text."""
        return not self.parts and (self.disposition == "attachment" or bool(self.filename))


class Mail:
    """A message that has been read.

    Attributes:
        headers: name and value of each field, in order, unfolded and decoded.
        root: the MIME tree.
        text, html: the first of each that is no attachment; None where there is none.
        defects: what is odd about it, a sentence each.
    """

    def __init__(self, octets: bytes) -> None:
        """Read it; the first MAX_BYTES count."""
        self.defects: list[str] = []
        self._leaves: dict[str, tuple[Part, bytes]] = {}
        if len(octets) > MAX_BYTES:
            self.defects.append(f"Only the first {MAX_BYTES // 2**20} MiB are looked into.")
            octets = octets[:MAX_BYTES]
        message = _parse(octets, self.defects)
        self.headers = _headers(message)
        self.root = self._part(message, "", 0)
        self.text = self._text("text/plain", MAX_TEXT_CHARACTERS)
        self.html = self._text("text/html", MAX_HTML_CHARACTERS)
        for name in ("From", "Date"):
            if not self.header(name):
                self.defects.append(
                    f"There is no {name} header, which every message must have (RFC 5322 3.6)."
                )
        self.defects = list(dict.fromkeys(self.defects))[:MAX_DEFECTS]

    def header(self, name: str) -> str:
        """The first field of that name; "" where there is none."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")

    @property
    def parts(self) -> Iterator[Part]:
        """All parts that hold no others, in order."""
        return (part for part, _ in self._leaves.values())

    @property
    def attachments(self) -> int:
        """How many files it has."""
        return sum(part.is_attachment for part in self.parts)

    def content(self, path: str) -> tuple[Part, bytes] | None:
        """A part and its decoded octets; None where there is no such part."""
        return self._leaves.get(path)

    def html_alone(self) -> str | None:
        """Its HTML with the images that came along put in; whatever else it wants stays out of reach."""
        if self.html is None:
            return None
        images = {
            part.content_id: (part.content_type, octets)
            for part, octets in self._leaves.values()
            if part.content_id and part.content_type in HARMLESS_IMAGES
        }
        room = MAX_INLINE_BYTES

        def inlined(match: re.Match[str]) -> str:
            nonlocal room
            found = images.get(match[1])
            if found is None or len(found[1]) > room:
                return match[0]
            room -= len(found[1])
            return f"data:{found[0]};base64,{b64encode(found[1]).decode()}"

        return _CID.sub(inlined, self.html)

    def _part(self, message: "Message[str, str]", path: str, depth: int) -> Part:
        inner = _inner(message) if depth < MAX_DEPTH else []
        own_path = path or ("" if inner else "1")
        content = b"" if inner else _content(message)
        part = Part(
            path=own_path,
            content_type=_content_type(message),
            charset=_plain(lambda: message.get_content_charset()),
            disposition=_plain(lambda: message.get_content_disposition()),
            filename=_decoded(_plain(lambda: message.get_filename())),
            size=len(content),
            content_id=_plain(lambda: str(message.get("Content-ID", "")).strip().strip("<>")),
            parts=[],
        )
        for defect in message.defects:
            self.defects.append(_sentence(defect))
        if not inner:
            self._leaves[own_path] = (part, content)
            return part
        parts = []
        for number, child in enumerate(inner, 1):
            if len(self._leaves) >= MAX_PARTS:
                self.defects.append(f"There are more than {MAX_PARTS} parts; the others are not shown.")
                break
            parts.append(self._part(child, f"{path}.{number}" if path else str(number), depth + 1))
        return msgspec.structs.replace(part, parts=parts)

    def _text(self, content_type: str, limit: int) -> str | None:
        for part, octets in self._leaves.values():
            if part.content_type == content_type and not part.is_attachment:
                # A character takes four octets at most.
                return _to_text(octets[: limit * 4], part.charset)[:limit]
        return None


def mismatches(mail: Mail, mail_from: str, rcpt_to: Sequence[str]) -> list[str]:
    """Where headers and envelope differ, a sentence each: often meant so, often the cause of a problem."""
    said: list[str] = []
    senders = _addresses(mail, "From") | _addresses(mail, "Sender")
    if senders and mail_from and mail_from.lower() not in senders:
        said.append(f"The envelope says {mail_from}, the From header says {', '.join(sorted(senders))}.")
    if not mail_from:
        said.append("The envelope has the null sender <>: nobody will hear of a failure.")
    named = _addresses(mail, "To") | _addresses(mail, "Cc") | _addresses(mail, "Bcc")
    actual = dict.fromkeys(address.lower() for address in rcpt_to)
    said += [
        f"{address} is a recipient, and stands in neither To nor Cc."
        for address in actual
        if address not in named
    ]
    said += [
        f"{address} stands in To or Cc, and is no recipient." for address in sorted(named - actual.keys())
    ]
    if mail.header("Bcc"):
        said.append("There is a Bcc header: whoever gets the message can read it.")
    if len(said) > MAX_MISMATCHES:
        said = [*said[:MAX_MISMATCHES], f"… and {len(said) - MAX_MISMATCHES} more."]
    return said


def _parse(octets: bytes, defects: list[str]) -> "Message[str, str]":
    """Python's message; where it cannot read it, one with the headers and a plain body."""
    if octets.lower().count(b"boundary") > MAX_BOUNDARIES:
        defects.append(f"It names more than {MAX_BOUNDARIES} boundaries; its structure is not read.")
    elif any(len(field[0]) > MAX_FIELD_CHARACTERS for field in _MIME_FIELD.finditer(octets)):
        defects.append("A MIME header is too long; its structure is not read.")
    else:
        try:
            return parse_message(octets)
        except _ERRORS as error:
            defects.append(f"Its structure cannot be read ({type(error).__name__}).")
    message: Message[str, str] = Message()
    end = re.search(rb"\n\r?\n", octets)
    message.set_payload(octets[end.end() if end else 0 :].decode("ascii", "surrogateescape"))
    return message


def _headers(message: "Message[str, str]") -> list[tuple[str, str]]:
    pairs = []
    for name, value in list(message.raw_items())[:MAX_HEADERS]:
        text = _octets_of(str(value)[:MAX_FIELD_CHARACTERS]).decode("utf-8", "replace")
        pairs.append(
            (_octets_of(str(name)).decode("utf-8", "replace"), _decoded(_FOLD.sub(" ", text).strip()))
        )
    return pairs


def _inner(message: "Message[str, str]") -> list["Message[str, str]"]:
    """The parts that a multipart holds."""
    if not message.is_multipart() or not _content_type(message).startswith("multipart/"):
        return []
    return [part for part in message.get_payload() if isinstance(part, Message)]


def _content(message: "Message[str, str]") -> bytes:
    """The decoded octets of a part that holds no others; an attached message stays whole."""
    try:
        if message.is_multipart():
            return b"".join(part.as_bytes() for part in message.get_payload() if isinstance(part, Message))
        decoded = message.get_payload(decode=True)
        return decoded if isinstance(decoded, bytes) else b""
    except _ERRORS:
        return b""


def _content_type(message: "Message[str, str]") -> str:
    """Of plain characters always: it becomes part of headers."""
    found = _plain(lambda: message.get_content_type())
    return found if _TYPE.match(found) else "application/octet-stream"


def _plain(look: Callable[[], str | None]) -> str:
    """A field's value, printable; "" where there is none or it cannot be read."""
    try:
        value = look() or ""
    except _ERRORS:
        return ""
    value = _octets_of(value[:MAX_FIELD_CHARACTERS]).decode("utf-8", "replace")
    return "".join(c for c in value if c.isprintable())


def _decoded(text: str) -> str:
    """Encoded words decoded (RFC 2047)."""
    if "=?" not in text:
        return text
    try:
        pieces = decode_header(text)
    except _ERRORS:
        return text
    return "".join(
        piece if isinstance(piece, str) else _to_text(piece, charset or "") for piece, charset in pieces
    )


def _to_text(octets: bytes, charset: str) -> str:
    try:
        if charset and codecs.lookup(charset).name not in _REFUSED_CODECS:
            return octets.decode(charset, "replace")
    except (ValueError, LookupError):
        pass
    return octets.decode("utf-8", "replace")


def _octets_of(text: str) -> bytes:
    """Python's parser hides octets that are no ASCII in lone surrogates."""
    return text.encode("utf-8", "surrogateescape")


def _addresses(mail: Mail, name: str) -> set[str]:
    values = [value for key, value in mail.headers if key.lower() == name.lower()]
    try:
        return {address.lower() for _, address in getaddresses(values) if address}
    except _ERRORS:
        return set()


def _sentence(defect: object) -> str:
    """What Python's parser says of a defect."""
    said = (type(defect).__doc__ or "").strip().partition("\n")[0]
    return said or type(defect).__name__
