"""What a recording's header asks of those who rerun it: how to compare replies, how to match the app; no I/O.

The header is the `session` line that opens a session. Its optional fields `replay` and `match` are written by
people, by hand, and are as untrusted as the rest of the file:

    {"kind":"session",…,"replay":{"level":"text","steps":[{"n":9,"ignore":true},{"verb":"RCPT","level":"class"}]},
     "match":{"content":"ignore","steps":[{"n":5,"regex":"MAIL FROM:<bounce\\+.*@example\\.com>.*"}]}}
"""

from typing import Final, Literal, TypeAlias

import msgspec

from smtpproxy.recording.codec import LineError, plain

Level: TypeAlias = Literal["class", "code", "enhanced", "text", "exact"]
LEVELS: Final[tuple[Level, ...]] = ("class", "code", "enhanced", "text", "exact")
MAX_RULES: Final = 10_000
MAX_REGEX: Final = 2_000
"""Characters of a pattern; whoever applies it must also bound the time that takes."""


class ReplyRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How the replies to some steps are compared.

    Attributes:
        n: the number of an event: what was said, or a reply to it. 0 where `verb` selects.
        verb: all commands of this verb; `.` is the end of a message, `connect` the greeting.
        ignore: whatever comes is the same, even nothing.
        present: a reply must come, whatever it says.
        regex: the reply's text, its lines joined by LF, must match this from end to end.
        level: compare at this level instead.
    """

    n: int = 0
    verb: str = ""
    ignore: bool = False
    present: bool = False
    regex: str = ""
    level: Level | Literal[""] = ""


class ReplayHeader(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The field `replay`.

    Attributes:
        level: how replies are compared where nothing else is said; "" leaves it to the user.
        steps: rules; of those that fit a step the first counts.
    """

    level: Level | Literal[""] = ""
    steps: tuple[ReplyRule, ...] = ()


class CommandRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How some of what the app says is matched.

    Attributes:
        n: the event's number, or 0 where `verb` selects.
        verb: all commands of this verb; `.` is a message's content.
        ignore: only the verb must be right.
        regex: the command line without its line end (a message's content, unstuffed) must match this from
            end to end.
    """

    n: int = 0
    verb: str = ""
    ignore: bool = False
    regex: str = ""


class Match(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The field `match`: when what the app says is what was recorded.

    Attributes:
        ehlo: whether the argument of EHLO, LHLO and HELO counts.
        addresses: of MAIL and RCPT: exact; domain: what follows the @ only; ignore.
        parameters: of MAIL and RCPT: set: in any order, without SIZE; exact; ignore.
        content: canonical: as MIME, without Date, Message-ID and boundaries; exact: every octet; ignore.
        ignore_headers: header fields that do not count in canonical content, besides those two.
        steps: rules; of those that fit the first counts.
    """

    ehlo: Literal["ignore", "exact"] = "ignore"
    addresses: Literal["exact", "domain", "ignore"] = "exact"
    parameters: Literal["set", "exact", "ignore"] = "set"
    content: Literal["canonical", "exact", "ignore"] = "canonical"
    ignore_headers: tuple[str, ...] = ()
    steps: tuple[CommandRule, ...] = ()


class Overrides(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a header may carry for replay and mock; all of it optional."""

    replay: ReplayHeader = ReplayHeader()
    match: Match | None = None


_DECODER: Final = msgspec.json.Decoder(Overrides)


def read_overrides(line: bytes) -> Overrides:
    """What the line that opens a session asks for.

    Raises:
        LineError: `replay` or `match` holds what is not known, or a pattern that is none; says where.
    """
    try:
        overrides = _DECODER.decode(line)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise LineError(f"the header's replay or match: {plain(error)}") from None
    rules: list[ReplyRule | CommandRule] = [*overrides.replay.steps]
    if overrides.match is not None:
        rules += overrides.match.steps
    if len(rules) > MAX_RULES:
        raise LineError(f"the header has more than {MAX_RULES} rules")
    for rule in rules:
        if not rule.n and not rule.verb:
            raise LineError("a rule in the header names neither `n` nor `verb`")
        if len(rule.regex) > MAX_REGEX:
            raise LineError(f"a pattern in the header is longer than {MAX_REGEX} characters")
        if rule.regex:
            _require_pattern(rule.regex)
    return overrides


def _require_pattern(pattern: str) -> None:
    import regex  # unlike re it can be told to give up; few recordings have a pattern, and it costs 10 ms

    try:
        regex.compile(pattern)
    except (regex.error, RecursionError, OverflowError, MemoryError) as error:
        raise LineError(f"the pattern {plain(pattern)!r} in the header: {plain(error)}") from None


def with_overrides(line: bytes, overrides: Overrides) -> bytes:
    """The line that opens a session, asking for this as well; what it asked for before is replaced."""
    fields = {
        key: value
        for key, value in msgspec.json.decode(line, type=dict[str, msgspec.Raw]).items()
        if key not in ("replay", "match")
    }
    return msgspec.json.encode(fields | msgspec.to_builtins(overrides))
