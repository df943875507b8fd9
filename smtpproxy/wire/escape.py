"""Recorded text made fit for a terminal: nothing in it can move, hide or reorder; it knows no event.

A mail server's banner or a subject is anybody's text. ESC starts sequences that write the clipboard or the
window's title, C1 octets are ESC in other words, bidirectional marks make text read as something else.
"""

from typing import Final

# Printable by their category, yet nothing is seen of them.
_INVISIBLE: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0")
_SHORT: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def escape(text: str) -> str:
    """The text with each character that is not plainly visible written as `\\n`, `\\xNN` or `\\uNNNN`.

    That is C0, DEL, C1, bidirectional and zero-width marks, line separators, lone surrogates, private and
    unassigned code points. A backslash that was there stays single: this is for eyes, the log has the octets.
    """
    if text.isprintable() and _INVISIBLE.isdisjoint(text):
        return text
    return "".join(c if c.isprintable() and c not in _INVISIBLE else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    short = _SHORT.get(character)
    if short is not None:
        return short
    point = ord(character)
    if point <= 0xFF:
        return f"\\x{point:02x}"
    return f"\\u{point:04x}" if point <= 0xFFFF else f"\\U{point:08x}"
