"""Python's parser of messages, made to read the octets of header fields as UTF-8; it interprets no field.

By itself it gives replacement characters for whatever is not ASCII, also where that is right (RFC 6532).
"""

from email import message_from_bytes
from email.message import Message
from email.policy import Compat32


class _Utf8Fields(Compat32):
    def header_fetch_parse(self, name: str, value: str) -> str:
        """A field's value as its users get it; octets that are no ASCII come hidden in lone surrogates."""
        if value.isascii():
            return value
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


_POLICY = _Utf8Fields()


def parse_message(octets: bytes) -> "Message[str, str]":
    """A message with its parts.

    Raises:
        Exception: what Python's email package raises on odd mail, which is any of many.
    """
    return message_from_bytes(octets, policy=_POLICY)
