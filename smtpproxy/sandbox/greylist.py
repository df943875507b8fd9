"""Who has written to whom before: the sandbox's one memory across sessions, bounded; it knows no clock."""

from collections import OrderedDict
from typing import Final

MAX_PAIRS: Final = 10_000
"""Pairs that are remembered; the one not seen for longest is forgotten first."""


class GreylistMemory:
    """Pairs of sender and recipient that have been deferred once."""

    __slots__ = ("_max_pairs", "_pairs")

    def __init__(self, *, max_pairs: int = MAX_PAIRS) -> None:
        self._pairs: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._max_pairs = max_pairs

    def defers(self, sender: str, recipient: str) -> bool:
        """Whether this is the pair's first time; from now on it is not."""
        pair = (sender.lower(), recipient.lower())
        if pair in self._pairs:
            self._pairs.move_to_end(pair)
            return False
        self._pairs[pair] = None
        if len(self._pairs) > self._max_pairs:
            self._pairs.popitem(last=False)
        return True
