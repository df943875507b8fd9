"""How events lie in the log: a row for each run of them; it knows neither SQLite nor who reads.

A run is what one session said within one batch, cut where it grows long. Its lines stand one after another
with an LF between them, which a line of JSON never holds. A row costs a database much the same however long
it is, so a conversation in runs is far cheaper to keep than one in events.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

from smtpproxy.store.contract import Row

MAX_RUN_BYTES: Final = 128 * 1024
"""Where a run is cut. A single line may be longer; it is a run of its own then."""
_KIND_FIRST: Final = b'{"kind":"'


class _Kind(msgspec.Struct):
    """As much of a line as tells its kind."""

    kind: str


_decode_kind = msgspec.json.Decoder(_Kind).decode


def pack(lines: list[bytes], octets: int) -> list[tuple[int, bytes]]:
    """The runs that lines make, in order: how many lines, and the lines themselves.

    Args:
        lines: at least one, none with an LF in it.
        octets: how long they are together.
    """
    if octets + len(lines) <= MAX_RUN_BYTES:
        return [(len(lines), b"\n".join(lines))]
    runs: list[tuple[int, bytes]] = []
    start = length = 0
    for at, line in enumerate(lines):
        if length + len(line) > MAX_RUN_BYTES and at > start:
            runs.append((at - start, b"\n".join(lines[start:at])))
            start, length = at, 0
        length += len(line) + 1
    runs.append((len(lines) - start, b"\n".join(lines[start:])))
    return runs


def unpack(last_seq: int, session: str, run: bytes) -> Iterator[Row]:
    """The events of a run, in order.

    Args:
        last_seq: the position of its last event.
    """
    lines = run.split(b"\n")
    for seq, line in enumerate(lines, last_seq - len(lines) + 1):
        yield seq, session, kind_of(line), line


def kind_of(line: bytes) -> str:
    """The kind of event that a line holds, without decoding it where it was written by smtpproxy."""
    if line.startswith(_KIND_FIRST):
        kind = line[len(_KIND_FIRST) : line.index(b'"', len(_KIND_FIRST))]
        if b"\\" not in kind:
            return kind.decode()
    return _decode_kind(line).kind
