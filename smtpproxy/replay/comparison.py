"""One reply against the one that was recorded in its place; it says nothing to anybody and reads no file.

The levels, each with what it adds: `class` the first digit, `code` all three, `enhanced` the enhanced status
code, `text` the words but for what is volatile in them, `exact` every octet. What was recorded is what `raw`
says; `code` and `enhanced` of the event are its reading, which may be stale in a file that was edited.
"""

from itertools import zip_longest
from typing import Final, TypeAlias

import msgspec

from smtpproxy.recording.overrides import LEVELS, Level
from smtpproxy.replay.aliases import Aliases
from smtpproxy.replay.keywords import compare_keywords
from smtpproxy.replay.patterns import PatternGaveUpError, matches
from smtpproxy.replay.reply import ReadReply
from smtpproxy.replay.reply import shown as shown
from smtpproxy.replay.results import MAX_SHOWN_BYTES, Difference, Verdict, What
from smtpproxy.replay.rules import Rules
from smtpproxy.replay.script import ReplyStep, Step
from smtpproxy.wire.escape import escape

_TEXT: Final = LEVELS.index("text")
_ENHANCED: Final = LEVELS.index("enhanced")
_CHALLENGE: Final = 334
_Fields: TypeAlias = tuple[tuple[str, str, str], ...]


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """What comparing one reply came to.

    Attributes:
        verdict: same, differs, or ignored where a rule says that it does not count.
        differences: none, or one.
        notes: what is worth knowing and no difference.
        is_class_changed: it differs, and in its first digit, or none came: what follows would be another
            conversation.
    """

    verdict: Verdict
    differences: tuple[Difference, ...] = ()
    notes: tuple[str, ...] = ()
    is_class_changed: bool = False


def compare_reply(
    step: Step, index: int, heard: bytes | None, *, rules: Rules, aliases: Aliases, is_tls: bool
) -> Comparison:
    """Compare a reply with the recorded one.

    Args:
        step: what was said.
        index: which of its replies this is, from 0.
        heard: the reply, all of its lines; None where none came.
        rules: the script's.
        aliases: the session's; learns from replies that are as recorded.
        is_tls: whether the reply came over TLS.
    """
    recorded = step.replies[index] if index < len(step.replies) else None
    expected = ReadReply(recorded.raw) if recorded is not None else None
    actual = ReadReply(heard) if heard is not None else None
    rule = rules.rule_for(step, recorded)
    place = _Place(step, recorded, expected, actual, rules)
    if expected and actual and expected.is_hello(step.verb) and actual.is_hello(step.verb):
        aliases.learn_names(expected.texts[0], actual.texts[0])
    if rule.ignore:
        return place.same(verdict="ignored")
    if actual is None:
        if expected is None:
            return place.same()
        return place.differs("missing-reply", f"no reply came, where {expected.status} was recorded")
    if rule.present:
        return place.same()
    if rule.regex:
        return _compare_pattern(place, rule.regex, actual)
    if expected is None:
        return place.differs("extra-reply", f"{actual.status} came, where no reply was recorded")
    level = rules.level_of(rule)
    if level == "exact":
        return _compare_octets(place, expected, actual)
    if step.kind != "connect" and expected.is_hello(step.verb) and actual.is_hello(step.verb):
        return _compare_hello(place, expected, actual, level, aliases, is_tls=is_tls)
    return _compare(place, expected, actual, level, aliases)


class _Place:
    """Where in the script the reply belongs: what all that is said of it has in common."""

    def __init__(
        self,
        step: Step,
        recorded: ReplyStep | None,
        expected: ReadReply | None,
        actual: ReadReply | None,
        rules: Rules,
    ) -> None:
        self.step = step
        self.rules = rules
        self.notes: list[str] = []
        self._recorded = recorded
        self._expected = expected
        self._actual = actual
        if recorded is not None and expected is not None and recorded.code != expected.code:
            stale, code = f"event {recorded.n} has the code {recorded.code}", expected.code_text
            self.notes.append(f"{stale}, but its raw has {code}: raw counts")

    def same(self, *, verdict: Verdict = "same") -> Comparison:
        return Comparison(verdict=verdict, notes=tuple(self.notes))

    def differs(self, what: What, text: str, fields: _Fields = (), *, allowed_by: str = "") -> Comparison:
        """A difference.

        Args:
            what: which kind of thing.
            text: the sentence.
            fields: the details.
            allowed_by: the part of a rule that allows it, `"level":"class"`; "" where only ignoring does.
        """
        step, recorded, expected, actual = self.step, self._recorded, self._expected, self._actual
        is_class_changed = expected is not None and (actual is None or actual.digit != expected.digit)
        allowed_by = '"ignore":true' if is_class_changed or not allowed_by else allowed_by
        is_other_reply = what == "reply" and actual is not None
        difference = Difference(
            what=what,
            step=step.number,
            n=recorded.n if recorded is not None else step.n,
            said=escape(step.said)[:MAX_SHOWN_BYTES],
            expected=shown(recorded.raw) if recorded is not None else "",
            actual=shown(actual.raw) if actual is not None else "",
            text=escape(text)[:MAX_SHOWN_BYTES],
            fields=tuple((name, _cut(ours), _cut(theirs)) for name, ours, theirs in fields),
            nearest=escape(self.rules.nearest(step, actual.raw)) if is_other_reply and actual else "",
            fix=self.rules.fix(recorded, step, allowed_by),
        )
        return Comparison(
            verdict="differs",
            differences=(difference,),
            notes=tuple(self.notes),
            is_class_changed=is_class_changed,
        )


def _compare(
    place: _Place, expected: ReadReply, actual: ReadReply, level: Level, aliases: Aliases
) -> Comparison:
    depth = LEVELS.index(level)
    is_other_code = expected.digit != actual.digit if level == "class" else expected.code != actual.code
    text = f"{actual.status} came, where {expected.status} was recorded"
    if is_other_code:
        fields = [("code", expected.code_text, actual.code_text)]
        if expected.enhanced != actual.enhanced:
            fields.append(("enhanced status code", expected.enhanced, actual.enhanced))
        return place.differs("reply", text, tuple(fields), allowed_by='"level":"class"')
    if expected.code == _CHALLENGE:
        return place.same()  # RFC 4954 4: a challenge is another one each time
    if depth >= _ENHANCED and expected.enhanced != actual.enhanced:
        fields = [("enhanced status code", expected.enhanced, actual.enhanced)]
        return place.differs("reply", text, tuple(fields), allowed_by='"level":"code"')
    if depth >= _TEXT:
        is_named = expected.is_hello(place.step.verb) and actual.is_hello(place.step.verb)
        why, field = _other_words(expected, actual, aliases, is_named=is_named)
        if why:
            text = f"{actual.status} came as recorded, but {why}"
            return place.differs("reply", text, (field,), allowed_by='"level":"enhanced"')
    return place.same()


def _compare_hello(
    place: _Place,
    expected: ReadReply,
    actual: ReadReply,
    level: Level,
    aliases: Aliases,
    *,
    is_tls: bool,
) -> Comparison:
    verb = place.step.verb
    offer = compare_keywords(
        expected.lines,
        actual.lines,
        level=level,
        is_strict=place.rules.is_ehlo_strict,
        hides_starttls=is_tls and not place.step.is_tls,
    )
    place.notes += [f"after {verb}{' under TLS' if is_tls else ''}: {note}" for note in offer.notes]
    if offer.fields:
        return place.differs("ehlo", offer.text, offer.fields, allowed_by='"level":"class"')
    if LEVELS.index(level) >= _TEXT:
        # What follows the name greets: `Hello app [192.0.2.1], pleased to meet you` (4.1.1.1: ehlo-greet).
        ours, theirs = ("".join(reply.texts[0].split(maxsplit=1)[:1]) for reply in (expected, actual))
        if why := aliases.conflict(ours, theirs, is_named=True):
            text = f"the server calls itself otherwise than before: {why}"
            return place.differs("ehlo", text, (("line 1", ours, theirs),), allowed_by='"level":"code"')
    return place.same()


def _compare_pattern(place: _Place, pattern: str, actual: ReadReply) -> Comparison:
    try:
        if matches(pattern, "\n".join(actual.whole_lines)):
            return place.same()
        problem = f"the reply does not match the header's pattern {pattern}"
    except PatternGaveUpError as error:
        problem = str(error)
    return place.differs("reply", problem, (("pattern", pattern, shown(actual.raw)),))


def _compare_octets(place: _Place, expected: ReadReply, actual: ReadReply) -> Comparison:
    if expected.raw == actual.raw:
        return place.same()
    text = f"{actual.status} came, where {expected.status} was recorded"
    if actual.status == expected.status:
        text = f"{actual.status} came as recorded, but not octet by octet"
    pairs = zip_longest(expected.lines, actual.lines, fillvalue=b"")
    at, ours, theirs = next((at, *pair) for at, pair in enumerate(pairs, 1) if pair[0] != pair[1])
    field = (
        f"line {at}",
        ours.decode("utf-8", "backslashreplace"),
        theirs.decode("utf-8", "backslashreplace"),
    )
    return place.differs("reply", text, (field,), allowed_by=f'"level":"{_closest(place, expected, actual)}"')


def _closest(place: _Place, expected: ReadReply, actual: ReadReply) -> Level:
    """The closest level at which two replies of one class are the same."""
    if expected.code != actual.code or (place.step.kind != "connect" and expected.is_hello(place.step.verb)):
        return "class"
    if expected.enhanced != actual.enhanced:
        return "code"
    is_named = expected.is_hello(place.step.verb)
    return "enhanced" if _other_words(expected, actual, Aliases(), is_named=is_named)[0] else "text"


def _other_words(
    expected: ReadReply, actual: ReadReply, aliases: Aliases, *, is_named: bool
) -> tuple[str, tuple[str, str, str]]:
    """Why the words differ and in which line; "" where they do not."""
    ours, theirs = expected.texts, actual.texts
    count = max(len(ours), len(theirs))
    for at, (line, heard) in enumerate(zip_longest(ours, theirs, fillvalue="")):
        name = f"line {at + 1}" if count > 1 else "text"
        if at >= min(len(ours), len(theirs)):
            return f"it has {len(theirs)} lines, not {len(ours)}", (name, line, heard)
        if why := aliases.conflict(line, heard, is_named=is_named and at == 0):
            return f"in {name} {why}" if count > 1 else why, (name, line, heard)
    return "", ("", "", "")


def _cut(text: str) -> str:
    return escape(text[:MAX_SHOWN_BYTES])
