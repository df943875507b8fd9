"""A message on its way into the recording: pieces of at most 64 KiB, and what is odd in them.

Pieces are cut at the last LF before 64 KiB, so that cuts do not depend on how the octets arrived.
"""

from typing import Final

from smtpproxy.wire.content import has_long_line, lenient_end, lenient_terminator_in

_NO_LINE_END: Final = bytes(set(range(256)) - {0x0A, 0x0D})
PIECE_BYTES: Final = 64 * 1024
_LENIENT_SIGNS: Final = frozenset({"bare-lf", "bare-cr", "nul"})
INSPECTED_BYTES: Final = 1024 * 1024
"""How far into a message lines are looked at: every octet of a large one would cost half of relaying it."""


class ContentCutter:
    """Collects one message's octets and gives them back in pieces.

    Attributes:
        octets: of the message so far, the terminator included.
        sample: its first piece.
        findings: (code, detail) of what was newly found; each code once a message. Taken by the caller.
    """

    __slots__ = (
        "_before",
        "_chunks",
        "_inspected_bytes",
        "_is_binary_ok",
        "_is_eight_bit_ok",
        "_last",
        "_pending",
        "_seen",
        "findings",
        "octets",
        "sample",
    )

    def __init__(self, *, is_eight_bit_ok: bool, is_binary_ok: bool) -> None:
        self.octets = 0
        self.sample = b""
        self.findings: list[tuple[str, str]] = []
        self._chunks: list[bytes] = []
        self._pending = 0
        # The CRLF that ends the DATA command counts as the message's first (RFC 5321 4.1.1.4).
        self._last = b"\r\n"
        self._before = b"\r\n"
        self._inspected_bytes = 0
        self._seen: set[str] = set()
        self._is_eight_bit_ok = is_eight_bit_ok
        self._is_binary_ok = is_binary_ok

    @property
    def has_pending(self) -> bool:
        """Whether octets wait here that are in no piece yet."""
        return self._pending > 0

    def add(self, data: bytes) -> list[bytes]:
        """Take octets; return the pieces that are complete by now."""
        self.octets += len(data)
        self._last = data[-8:] if len(data) >= 8 else (self._last + data)[-8:]
        self._chunks.append(data)
        self._pending += len(data)
        # More than a piece must be here: the cut is the same then, however the octets came.
        if self._pending <= PIECE_BYTES:
            return []
        whole = b"".join(self._chunks)
        pieces = []
        start = 0
        while len(whole) - start > PIECE_BYTES:
            end = whole.rfind(b"\n", start, start + PIECE_BYTES) + 1 or start + PIECE_BYTES
            pieces.append(self._inspected(whole[start:end]))
            start = end
        rest = whole[start:]
        self._chunks = [rest]
        self._pending = len(rest)
        return pieces

    def take_lines(self) -> bytes:
        """What is pending up to its last LF: for a message that has stalled, so that a crash loses little."""
        whole = b"".join(self._chunks)
        end = whole.rfind(b"\n") + 1
        rest = whole[end:]
        self._chunks = [rest] if rest else []
        self._pending = len(rest)
        return self._inspected(whole[:end])

    def finish(self, terminator: int) -> bytes:
        """The last piece, without the last `terminator` octets."""
        whole = b"".join(self._chunks)
        self._chunks = []
        self._pending = 0
        return self._inspected(whole[: len(whole) - terminator] if terminator else whole)

    def lenient_end(self) -> str | None:
        """Whether what has come so far ends in what a lenient server takes for the end of a message."""
        return lenient_end(self._last)

    @property
    def has_lenient_terminator(self) -> bool:
        """Whether a lenient server may have seen an end somewhere before."""
        return "lenient-terminator" in self._seen or bool(
            lenient_terminator_in(self._before + b"".join(self._chunks))
        )

    def _inspected(self, piece: bytes) -> bytes:
        if not self.sample:
            self.sample = piece
        if self._is_binary_ok or not piece:
            return piece
        seen = self._seen
        if "eight-bit" not in seen and not self._is_eight_bit_ok and not piece.isascii():
            self._found("eight-bit")
        if "nul" not in seen and b"\0" in piece:
            self._found("nul")
        if self._inspected_bytes > INSPECTED_BYTES:
            return piece
        self._inspected_bytes += len(piece)
        if "long-line" not in seen and has_long_line(piece):
            self._found("long-line")
        # One pass in C: three counts would cost three times as much.
        ends = piece.translate(None, _NO_LINE_END)
        # A CR and an LF are a line end only where they stand together.
        pairs = piece.count(b"\r\n")
        # A CR at a piece's end may belong to an LF at the start of the next.
        if self._before.endswith(b"\r"):
            ends = b"\r" + ends
            pairs += piece.startswith(b"\n")
        if piece.endswith(b"\r"):
            ends = ends[:-1]
        # A NUL may stand in a lenient terminator too, between proper line ends.
        if ends != b"\r\n" * pairs or not seen.isdisjoint(_LENIENT_SIGNS):
            self._inspect_ends(piece, ends, pairs)
        self._before = piece[-4:]
        return piece

    def _inspect_ends(self, piece: bytes, ends: bytes, pairs: int) -> None:
        if ends.count(b"\n") != pairs and "bare-lf" not in self._seen:
            self._found("bare-lf")
        if ends.count(b"\r") != pairs and "bare-cr" not in self._seen:
            self._found("bare-cr")
        if "lenient-terminator" not in self._seen:
            variant = lenient_terminator_in(self._before + piece)
            if variant:
                self._found("lenient-terminator", variant)

    def _found(self, code: str, detail: str = "") -> None:
        self._seen.add(code)
        self.findings.append((code, detail))
