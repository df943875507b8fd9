"""Patterns that people write into a recording's header, applied within bounds; it knows no reply.

A recording is anybody's file: a pattern in it may be one that takes hours on the right text. `regex` can be
told to give up, which `re` cannot.
"""

from typing import Final

from smtpproxy.errors import ReplayError

TIMEOUT_S: Final = 1.0
"""For one pattern on one text."""
MAX_TEXT_CHARACTERS: Final = 1024 * 1024
"""What is looked at of a text; a longer one matches nothing."""


class PatternGaveUpError(ReplayError):
    """A pattern took too long on a text; whether it matches is not known."""


def matches(pattern: str, text: str) -> bool:
    """Whether the pattern matches the text from end to end.

    Args:
        pattern: as `recording.overrides` has found it to be one; `.` matches no LF unless it says `(?s)`.
        text: at most MAX_TEXT_CHARACTERS of it.

    Raises:
        PatternGaveUpError: it took longer than TIMEOUT_S, or more memory than there is.
        ReplayError: it is no pattern.
    """
    import regex  # few recordings have a pattern, and it costs 10 ms

    if len(text) > MAX_TEXT_CHARACTERS:
        return False
    try:
        return regex.fullmatch(pattern, text, timeout=TIMEOUT_S) is not None
    except (TimeoutError, MemoryError):
        raise PatternGaveUpError(
            f"the pattern {pattern!r} was given up after {TIMEOUT_S:g} s; write a simpler one"
        ) from None
    except regex.error as error:
        raise ReplayError(f"the pattern {pattern!r}: {error}") from None
