"""What can be read in a message: headers, text, names of attachments; it neither searches nor stores.

Recorded mail is anybody's, and some of it was made to hurt its reader: nothing here raises, and all work
is bounded.
"""

import codecs
import html
import re
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from email.message import Message

MAX_MESSAGE_BYTES: Final = 512 * 1024
"""How much of a message is read; text comes before attachments."""
MAX_TEXT_CHARACTERS: Final = 256 * 1024
"""How much decoded text of a message is given out, headers included."""
MAX_HEADER_BYTES: Final = 16 * 1024
"""How much of a header section is read."""
MAX_FIELD_BYTES: Final = 2048
"""How much of one header field is decoded."""
MAX_PARTS: Final = 200
"""MIME parts that are looked into."""
MAX_BOUNDARIES: Final = 10
"""A message that names more is read as plain text: Python's parser tries each open one on every line."""
MAX_MIME_FIELD_BYTES: Final = 4096
"""So is one with a longer field about its parts: the parser takes time quadratic in its parameters."""

# What Python's email package raises on odd mail, beside its own HeaderParseError.
_ERRORS: Final = (ValueError, LookupError, TypeError, AttributeError, AssertionError, RecursionError)
_SECTION_END: Final = re.compile(rb"\n\r?\n")
_FOLD: Final = re.compile(rb"\r?\n(?=[ \t])")
_MIME_FIELD: Final = re.compile(
    rb"^content-(?:type|disposition)[^\n]*(?:\n[ \t][^\n]*)*", re.IGNORECASE | re.MULTILINE
)
_SUBJECT: Final = re.compile(rb"subject[ \t]*:", re.IGNORECASE)
# Up to its end tag, or to the end of the text where it has none, as browsers do.
_UNSEEN_HTML: Final = re.compile(r"<(?:script|style)\b[^<]*(?:<(?!/(?:script|style))[^<]*)*", re.IGNORECASE)
_TAG: Final = re.compile(r"<[^<>]*>")
# Not what mail is written in, and quadratic in Python.
_REFUSED_CODECS: Final = frozenset({"punycode", "idna"})


def header_section(octets: bytes) -> bytes | None:
    """A message's header section, cut at MAX_HEADER_BYTES; None where its end is yet to come."""
    if octets.startswith((b"\r\n", b"\n")):
        return b""
    end = _SECTION_END.search(octets, 0, MAX_HEADER_BYTES)
    if end is not None:
        return octets[: end.start() + 1]
    return octets[:MAX_HEADER_BYTES] if len(octets) >= MAX_HEADER_BYTES else None


def header_fields(section: bytes) -> list[bytes]:
    """The fields of a header section, unfolded (RFC 5322 2.2.3), as `Name: value`."""
    return _FOLD.sub(b"", section).splitlines()


def subject_of(section: bytes) -> str | None:
    """The first Subject of a header section, decoded; None where there is none."""
    for field in header_fields(section):
        name = _SUBJECT.match(field)
        if name is not None:
            return decode_field(field[name.end() :])
    return None


def decode_field(raw: bytes) -> str:
    """An unfolded header field for people: encoded words decoded (RFC 2047), blanks made single."""
    text = " ".join(raw[:MAX_FIELD_BYTES].decode("utf-8", "replace").split())
    if "=?" not in text:
        return text
    # Imported where it is needed: the list of sessions without any word to search must start fast.
    from email.errors import HeaderParseError
    from email.header import decode_header

    try:
        pieces = decode_header(text)
    except (HeaderParseError, *_ERRORS):
        return text
    return "".join(piece if isinstance(piece, str) else _decode(piece, charset) for piece, charset in pieces)


def message_text(octets: bytes) -> str:
    """Headers, text parts (of HTML what is seen) and names of attachments, each on lines of its own.

    Args:
        octets: the message as the client meant it, dot-stuffing undone; the first MAX_MESSAGE_BYTES are read.
    """
    octets = octets[:MAX_MESSAGE_BYTES]
    pieces: list[str] = []
    left = MAX_TEXT_CHARACTERS
    for text in _texts(octets):
        pieces.append(text[:left])
        left -= len(text)
        if left <= 0:
            break
    return "\n".join(pieces)


def _texts(octets: bytes) -> Iterator[str]:
    section = header_section(octets)
    if section is None:
        # A message that ends in its headers.
        section = octets
    yield from map(decode_field, header_fields(section))
    body = octets[len(section) :]
    if _is_trap(octets):
        yield body.decode("utf-8", "replace")
        return
    from smtpproxy.inspect.mailparser import parse_message  # as above

    try:
        for part in islice(parse_message(octets).walk(), MAX_PARTS):
            yield from _texts_of_part(part)
    except _ERRORS:
        yield body.decode("utf-8", "replace")


def _is_trap(octets: bytes) -> bool:
    """Whether Python's parser would take long for it."""
    return octets.lower().count(b"boundary") > MAX_BOUNDARIES or any(
        len(field[0]) > MAX_MIME_FIELD_BYTES for field in _MIME_FIELD.finditer(octets)
    )


def _texts_of_part(part: "Message") -> Iterator[str]:
    try:
        # Encoded words are wrong there (RFC 2047 5), and common.
        yield decode_field((part.get_filename() or "").encode("utf-8", "replace"))
        if part.get_content_maintype() != "text":
            return
        payload = part.get_payload(decode=True)
        if not isinstance(payload, bytes):
            return
        text = _decode(payload, part.get_content_charset())
        yield _seen_of_html(text) if part.get_content_subtype() == "html" else text
    except _ERRORS:
        return


def _seen_of_html(text: str) -> str:
    return html.unescape(_TAG.sub(" ", _UNSEEN_HTML.sub(" ", text)))


def _decode(octets: bytes, charset: str | None) -> str:
    try:
        if charset and codecs.lookup(charset).name not in _REFUSED_CODECS:
            return octets.decode(charset, "replace")
    except (ValueError, LookupError):
        pass
    return octets.decode("utf-8", "replace")
