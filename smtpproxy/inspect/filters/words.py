"""Free words: what they are compared by, and who may know where they are; it reads neither store nor MIME.

A message is searched as words: runs of letters and digits, case folded. Whoever keeps an index builds it
from `message_words`, so that it finds the same as `WordFolder` does without one.
"""

import re
import unicodedata
from collections.abc import Collection, Set
from typing import Final, Protocol

from smtpproxy.inspect.filters.mailtext import MAX_MESSAGE_BYTES, message_text
from smtpproxy.session.events import AnyEvent, Command, Content, End, octets_of
from smtpproxy.wire.content import Unstuffer

MAX_COMBINED: Final = 256
"""Characters that are normalised together; no word that is made of letters and marks is longer."""

_WORD: Final = re.compile(r"[^\W_]+")


class TextSearch(Protocol):
    """An index of the words of messages, where there is one. Synchronous; may read the disk."""

    def sessions_with(self, phrase: str) -> Set[str] | None:
        """The ids of the sessions that have a message with this phrase.

        Args:
            phrase: as `normalise_phrase` gives it.

        Returns:
            None where the index cannot tell.
        """

    def has_indexed(self, session: str) -> bool:
        """Whether every message of a session is in the index; where not, its events are looked into."""


def normalise(text: str) -> str:
    """The words of a text, case folded (Unicode NFKC), one blank between two of them."""
    return " ".join(_WORD.findall(_nfkc(text).casefold()))


def normalise_phrase(text: str) -> str:
    """What a user searches for, as `normalise`; a `*` at the very end stays and makes the last word a prefix.

    Returns:
        "" where no word is in it.
    """
    words = normalise(text)
    return f"{words}*" if words and text.endswith("*") else words


def message_words(octets: bytes) -> str:
    """What is searched of a message: headers, text and names of attachments, as `normalise` gives them.

    Args:
        octets: the message as the client meant it, dot-stuffing undone; the first MAX_MESSAGE_BYTES are read.
    """
    return normalise(message_text(octets))


def has_phrase(words: str, phrase: str) -> bool:
    """Whether normalised words have a normalised phrase."""
    end = "" if phrase.endswith("*") else " "
    return f" {phrase.removesuffix('*')}{end}" in f" {words} "


def _nfkc(text: str) -> str:
    if text.isascii():
        return text
    # Putting combining marks in order takes time quadratic in how many stand together: by words, then, and
    # those cut into pieces where they are none.
    return " ".join(
        "".join(
            unicodedata.normalize("NFKC", word[at : at + MAX_COMBINED])
            for at in range(0, len(word), MAX_COMBINED)
        )
        for word in text.split()
    )


class MessageFolder:
    """Gives the octets of one session's messages as its events come; keeps one message at a time."""

    def __init__(self) -> None:
        self._is_bdat = False
        self._message = 0
        self._octets = bytearray()
        self._unstuffer = Unstuffer()

    def add(self, event: AnyEvent) -> list[bytes]:
        """Take the session's next event.

        Returns:
            The messages that are over with it, dot-stuffing undone, of each the first MAX_MESSAGE_BYTES or
            some more. One that was cut short is over when the next one or the end comes.
        """
        if isinstance(event, Content):
            return self._on_content(event)
        if isinstance(event, Command):
            if event.verb in ("DATA", "BDAT"):
                self._is_bdat = event.verb == "BDAT"
        elif isinstance(event, End):
            return self._take()
        return []

    def _on_content(self, event: Content) -> list[bytes]:
        over: list[bytes] = []
        if event.message != self._message:
            over += self._take()
            self._message = event.message
        if len(self._octets) < MAX_MESSAGE_BYTES:
            if self._is_bdat:
                self._octets += octets_of(event)
            elif not event.end:
                self._octets += self._unstuffer.feed(octets_of(event))
        if event.end:
            over += self._take()
        return over

    def _take(self) -> list[bytes]:
        octets, self._octets = bytes(self._octets), bytearray()
        self._unstuffer = Unstuffer()
        return [octets] if octets else []


class WordFolder:
    """Looks for phrases in one session's messages as its events come; keeps one message at a time.

    Attributes:
        found: the phrases that were found so far.
    """

    def __init__(self, phrases: Collection[str]) -> None:
        self.found: frozenset[str] = frozenset()
        self._wanted = set(phrases)
        self._messages = MessageFolder()

    def add(self, event: AnyEvent) -> None:
        """Take the session's next event."""
        if not self._wanted:
            return
        for octets in self._messages.add(event):
            words = message_words(octets)
            found = {phrase for phrase in self._wanted if has_phrase(words, phrase)}
            self.found |= found
            self._wanted -= found
