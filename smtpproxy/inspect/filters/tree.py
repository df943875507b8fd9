"""A filter as a value: what it says of a session, and how it is written; it reads no text and knows no key.

Not everything is known of a session at every time: a summary lacks the codes, and a session that is still
open can do anything. So each question has three answers (Kleene's logic): yes, no, and None for not known.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias, assert_never

from smtpproxy.inspect.filters.facts import SessionFacts
from smtpproxy.inspect.summary import SessionSummary

Truth: TypeAlias = bool | None
Course: TypeAlias = Literal["fixed", "rises", "falls", "any"]
"""How an answer may change while its session goes on: never, only to yes, only to no, any way."""

_BARE: Final = re.compile(r'[^\s"()]+')
_BARE_WORD: Final = re.compile(r"[\w.@*/+][\w.@*/+-]*")
_OPERATORS: Final = frozenset({"OR", "AND", "NOT", "*"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What a term asks.

    Attributes:
        ask: None where the facts do not tell.
        course: how the answer may change while the session goes on.
        phrase: what has to be looked for in messages first; "" where nothing.
        wants_subjects: the messages' headers have to be looked into first.
    """

    ask: Callable[[SessionFacts], Truth]
    course: Course = "rises"
    phrase: str = ""
    wants_subjects: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """`key:value`, or free words, whose key is ""; equal where it is written the same."""

    key: str
    value: str
    check: Check = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Not:
    """`-term`."""

    node: "Node"


@dataclass(frozen=True, slots=True, kw_only=True)
class All:
    """Terms with blanks between them; without any it is `*`, which every session matches."""

    nodes: tuple["Node", ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Either:
    """Terms with `OR` between them."""

    nodes: tuple["Node", ...]


Node: TypeAlias = Term | Not | All | Either


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What `parse_filter` makes of a text; equal to another where it is written the same but for blanks."""

    root: Node

    @property
    def is_everything(self) -> bool:
        """Whether every session matches."""
        return self.root == All()

    @property
    def phrases(self) -> frozenset[str]:
        """The normalised free words that have to be looked for in messages."""
        return frozenset(term.check.phrase for term in _terms(self.root) if term.check.phrase)

    @property
    def needs_content(self) -> bool:
        """Whether events without content do not tell enough."""
        return any(term.check.phrase or term.check.wants_subjects for term in _terms(self.root))

    def matches(self, facts: SessionFacts) -> bool:
        """Whether the session matches as it stands; what is not known counts as no match.

        With the facts of a `FactsFolder` that was given `phrases`, everything is known.
        """
        return _truth(self.root, facts, is_final=False) is True

    def decide(self, summary: SessionSummary, found: frozenset[str] | None = None) -> Truth:
        """Whether the session matches, by its summary alone.

        Args:
            summary: what the list knows.
            found: which of `phrases` its messages have; None where that is not known.

        Returns:
            None where its events must be asked.
        """
        return _truth(self.root, SessionFacts(summary=summary, found=found), is_final=False)

    def can_still_match(self, facts: SessionFacts) -> bool:
        """Whether it matches, or may do so after further events; never false by mistake."""
        return _truth(self.root, facts, is_final=True) is not False

    def render(self) -> str:
        """The filter as text; parsed again it is equal."""
        return _render(self.root)

    def __str__(self) -> str:
        return self.render()


def _truth(node: Node, facts: SessionFacts, *, is_final: bool) -> Truth:
    """The answer now, or with `is_final` the one that will stay whatever comes."""
    match node:
        case Term():
            answer = node.check.ask(facts)
            return _lasting(answer, node.check.course, facts) if is_final else answer
        case Not():
            answer = _truth(node.node, facts, is_final=is_final)
            return None if answer is None else not answer
        case All():
            return _first(node.nodes, False, facts, is_final=is_final)
        case Either():
            return _first(node.nodes, True, facts, is_final=is_final)
        case _:
            assert_never(node)


def _first(nodes: tuple[Node, ...], decisive: bool, facts: SessionFacts, *, is_final: bool) -> Truth:
    """`decisive` as soon as one node says so, else None where one is not known, else the opposite."""
    result: Truth = not decisive
    for node in nodes:
        answer = _truth(node, facts, is_final=is_final)
        if answer is decisive:
            return decisive
        if answer is None:
            result = None
    return result


def _lasting(answer: Truth, course: Course, facts: SessionFacts) -> Truth:
    if facts.summary.outcome != "open" or course == "fixed":
        return answer
    if answer is (course == "rises") and course != "any":
        return answer
    return None


def _terms(node: Node) -> Iterator[Term]:
    match node:
        case Term():
            yield node
        case Not():
            yield from _terms(node.node)
        case All() | Either():
            for inner in node.nodes:
                yield from _terms(inner)
        case _:
            assert_never(node)


def _render(node: Node) -> str:
    match node:
        case Term():
            if not node.key:
                is_bare = _BARE_WORD.fullmatch(node.value) and node.value not in _OPERATORS
                return node.value if is_bare else _quoted(node.value)
            return f"{node.key}:{node.value if _BARE.fullmatch(node.value) else _quoted(node.value)}"
        case Not():
            inner = _render(node.node)
            return f"-({inner})" if isinstance(node.node, Either) or _has_blanks(node.node) else f"-{inner}"
        case All():
            return (
                " ".join(
                    f"({_render(inner)})" if isinstance(inner, Either) else _render(inner)
                    for inner in node.nodes
                )
                or "*"
            )
        case Either():
            return " OR ".join(map(_render, node.nodes))
        case _:
            assert_never(node)


def _has_blanks(node: Node) -> bool:
    return isinstance(node, Not) or (isinstance(node, All) and bool(node.nodes))


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
