"""Which rule holds for which reply of a script: the user's, the header's, and those for single steps.

It knows the whole recording, so that it can also say which of its replies a strange one resembles.
"""

from bisect import bisect_left
from collections.abc import Iterator
from typing import Final, Literal

from smtpproxy.recording.overrides import Level, ReplyRule
from smtpproxy.replay.script import ReplyStep, Script, Step
from smtpproxy.replay.volatile import tokens_of

DEFAULT_LEVEL: Final[Level] = "code"
_NO_RULE: Final = ReplyRule()


class Rules:
    """How the replies to one script are compared.

    Attributes:
        is_ehlo_strict: keywords that the recording does not have are differences as well.
        notes: what is worth knowing of the header: rules that fit nothing, as sentences.
    """

    def __init__(self, script: Script, level: Level, *, is_ehlo_strict: bool) -> None:
        self.is_ehlo_strict = is_ehlo_strict
        self._script = script
        self._level: Level = level
        self._by_n: dict[int, int] = {}
        self._by_verb: dict[str, int] = {}
        self._rules = script.overrides.replay.steps
        for at, rule in enumerate(self._rules):
            if rule.n:
                self._by_n.setdefault(rule.n, at)
            else:
                self._by_verb.setdefault(rule.verb.upper(), at)
        self._ns = sorted(self._by_n)
        self._alike: dict[bytes, list[int]] | None = None
        self.notes = tuple(self._unfitting())

    @classmethod
    def of(
        cls, script: Script, *, level: Level | Literal[""] | None = None, strict_ehlo: bool = False
    ) -> "Rules":
        """The rules for a script.

        A rule for a step goes before what the user asks for, that before the header's level.

        Args:
            script: with what its header asks for.
            level: what the user asks for; nothing leaves it to the header, and then to DEFAULT_LEVEL.
            strict_ehlo: see `is_ehlo_strict`.
        """
        chosen: Level = level or script.overrides.replay.level or DEFAULT_LEVEL
        return cls(script, chosen, is_ehlo_strict=strict_ehlo)

    def rule_for(self, step: Step, reply: ReplyStep | None) -> ReplyRule:
        """The first rule that fits; one that asks for nothing where none does."""
        found = self._positions(step, reply)
        return self._rules[min(found)] if found else _NO_RULE

    def level_of(self, rule: ReplyRule) -> Level:
        """The level at which a rule compares."""
        return rule.level or self._level

    def nearest(self, step: Step, raw: bytes) -> str:
        """Another step that was answered so in the recording, in words; "" where there is none.

        Looked for among steps of the same verb first, since half of all steps are answered `250 Ok`.
        """
        numbers = self._replies().get(_gist(raw), [])
        at = bisect_left(numbers, step.number)
        around = [number for number in numbers[max(0, at - 8) : at + 8] if number != step.number]
        if not around:
            return ""
        steps = self._script.steps
        best = min(
            (steps[number - 1] for number in around),
            key=lambda other: (other.verb != step.verb, abs(other.number - step.number)),
        )
        return f"step {best.number}, {best.said[:200]}, was answered so"

    def fix(self, reply: ReplyStep | None, step: Step, wanted: str) -> str:
        """What to write into the header where the new reply is right.

        Args:
            wanted: the rest of the rule, such as `"level":"class"`.
        """
        script = self._script
        where = f"{script.source}:{script.line}" if script.line else f"session {script.session}"
        number = reply.n if reply is not None else step.n
        # The connection has the number 0, which selects nothing.
        which = f'"n":{number}' if number else f'"verb":"{step.verb}"'
        return (
            f'if that is right, record again, or add {{{which},{wanted}}} to "replay":{{"steps":[...]}} '
            f"in the line that opens the session ({where})"
        )

    def _positions(self, step: Step, reply: ReplyStep | None) -> list[int]:
        first = step.body.first_n if step.body is not None else step.n
        numbers = range(min(first, step.n), step.n + 1)
        begin = bisect_left(self._ns, numbers.start)
        end = bisect_left(self._ns, numbers.stop)
        found = [self._by_n[n] for n in self._ns[begin:end]]
        if reply is not None and reply.n in self._by_n:
            found.append(self._by_n[reply.n])
        if step.verb.upper() in self._by_verb:
            found.append(self._by_verb[step.verb.upper()])
        return found

    def _unfitting(self) -> Iterator[str]:
        """The rules that fit no step; found only where there are rules, for it looks at every step."""
        if not self._rules:
            return
        fitting = {
            at
            for step in self._script.steps
            for reply in (*step.replies, None)
            for at in self._positions(step, reply)
        }
        for at, rule in enumerate(self._rules):
            same = self._by_n.get(rule.n) if rule.n else self._by_verb.get(rule.verb.upper())
            if at not in fitting and same == at:
                which = f"n {rule.n}" if rule.n else f"verb {rule.verb}"
                yield f"the header's rule for {which} fits no step of this leg"

    def _replies(self) -> dict[bytes, list[int]]:
        """The numbers of the steps that were answered so, by the gist of the reply."""
        if self._alike is None:
            self._alike = {}
            for step in self._script.steps:
                for reply in step.replies:
                    numbers = self._alike.setdefault(_gist(reply.raw), [])
                    if not numbers or numbers[-1] != step.number:
                        numbers.append(step.number)
        return self._alike


def _gist(raw: bytes) -> bytes:
    """A reply without what is volatile in it, as far as it tells replies apart."""
    text = raw[:512].decode("utf-8", "backslashreplace")
    return "\0".join(
        token.text.strip() if token.kind == "text" else token.kind for token in tokens_of(text)
    ).encode()
