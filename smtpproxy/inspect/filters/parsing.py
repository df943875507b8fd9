"""Text into a filter: words, quotes, parentheses, and where a mistake stands; it knows no session.

filter = [either]      either = all *("OR" all)      all = 1*factor
factor = ["-"] ( "(" either ")" / [key ":"] value )      value = 1*bare / quoted
"""

import re
from typing import Final

from smtpproxy.errors import FilterError
from smtpproxy.inspect.filters.keys import KEYS, free_words, suggestion
from smtpproxy.inspect.filters.tree import All, Either, Filter, Node, Not, Term

MAX_LENGTH: Final = 2000
"""Characters of a filter."""
MAX_TERMS: Final = 64
MAX_DEPTH: Final = 16
"""Parentheses within parentheses."""

_KEY: Final = re.compile(r"([A-Za-z][A-Za-z-]*):")
_BARE: Final = re.compile(r'[^\s"()]+')
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_BLANKS: Final = re.compile(r"\s*")
_ESCAPED: Final = re.compile(r'\\(["\\])')
_SHOWN: Final = 40
_NOT_WORDS: Final = {
    "AND": "a blank between terms stands for AND",
    "NOT": "- right before a term stands for NOT",
    "OR": "OR joins two terms",
}


def parse_filter(text: str, *, now: float) -> Filter:
    """Read a filter that a person wrote; an empty one matches every session.

    Args:
        now: the time in seconds since 1970; `after:2h` counts from it.

    Raises:
        FilterError: says where the mistake is, and what would be right.
    """
    if len(text) > MAX_LENGTH:
        raise FilterError(MAX_LENGTH + 1, f"a filter has at most {MAX_LENGTH} characters")
    return Filter(root=_Parser(text, now).parse())


class _Parser:
    def __init__(self, text: str, now: float) -> None:
        self._text = text
        self._now = now
        self._at = 0
        self._terms = 0

    def parse(self) -> Node:
        self._skip_blanks()
        if self._is_at_end():
            return All()
        root = self._either(0)
        if not self._is_at_end():
            raise self._error("this ) closes nothing")
        return root

    def _either(self, depth: int) -> Node:
        nodes = [self._all(depth)]
        while self._takes_operator("OR"):
            nodes.append(self._all(depth))
        return nodes[0] if len(nodes) == 1 else Either(nodes=_flat(nodes, Either))

    def _all(self, depth: int) -> Node:
        nodes: list[Node] = []
        while not self._is_at_end() and self._text[self._at] != ")" and not self._is_operator("OR"):
            nodes.append(self._factor(depth))
            self._skip_blanks()
        if not nodes:
            raise self._error("a term is missing here")
        if len(nodes) == 1:
            return nodes[0]
        flat = _flat(nodes, All)
        return flat[0] if len(flat) == 1 else All(nodes=flat)

    def _factor(self, depth: int) -> Node:
        text, at = self._text, self._at
        if text[at] == "-":
            self._at += 1
            if self._is_at_end() or text[self._at].isspace() or text[self._at] in "-)":
                raise self._error("- wants one term right behind it", at)
            return Not(node=self._positive(depth))
        return self._positive(depth)

    def _positive(self, depth: int) -> Node:
        if self._text[self._at] == "(":
            return self._group(depth + 1)
        return self._term()

    def _group(self, depth: int) -> Node:
        opened = self._at
        if depth > MAX_DEPTH:
            raise self._error(f"parentheses go {MAX_DEPTH} deep at most")
        self._at += 1
        self._skip_blanks()
        node = self._either(depth)
        if self._is_at_end():
            raise self._error("this ( is not closed", opened)
        self._at += 1
        return node

    def _term(self) -> Node:
        start = self._at
        self._terms += 1
        if self._terms > MAX_TERMS:
            raise self._error(f"a filter has at most {MAX_TERMS} terms")
        key = _KEY.match(self._text, start)
        if key is None:
            return self._free(start)
        name = key[1].lower()
        known = KEYS.get(name)
        if known is None:
            near = suggestion(name, [f"{known}:" for known in KEYS])
            raise self._error(f"there is no key {name[:_SHOWN]}:{near}; quote it to search for it as text")
        self._at = at = key.end()
        value, _ = self._value()
        if value is None:
            raise self._error(f"{name}: wants a value right behind it, such as {known.examples[0]}", start)
        try:
            return Term(key=name, value=value, check=known.read(value, self._now))
        except ValueError as error:
            raise self._error(f"{name}: {error}", at) from None

    def _free(self, start: int) -> Node:
        value, is_quoted = self._value()
        assert value is not None  # what stands here is neither a blank nor a parenthesis
        if not is_quoted:
            if value == "*":
                return All()
            if value in _NOT_WORDS:
                raise self._error(f'{_NOT_WORDS[value]}; write "{value}" to search for the word', start)
        try:
            return Term(key="", value=value, check=free_words(value))
        except ValueError as error:
            raise self._error(str(error), start) from None

    def _value(self) -> tuple[str | None, bool]:
        """What stands here, and whether in quotes; None where nothing does."""
        text, at = self._text, self._at
        quoted = _QUOTED.match(text, at)
        found = quoted or _BARE.match(text, at)
        if found is None:
            if text.startswith('"', at):
                raise self._error("this quote is not closed")
            return None, False
        self._at = found.end()
        if text.startswith('"', self._at) or (quoted and _BARE.match(text, self._at)):
            raise self._error("a blank is missing here")
        return (_ESCAPED.sub(r"\1", quoted[1]), True) if quoted else (found[0], False)

    def _is_operator(self, word: str) -> bool:
        end = self._at + len(word)
        return self._text.startswith(word, self._at) and (
            end == len(self._text) or self._text[end].isspace() or self._text[end] in "()"
        )

    def _takes_operator(self, word: str) -> bool:
        if not self._is_operator(word):
            return False
        self._at += len(word)
        self._skip_blanks()
        return True

    def _skip_blanks(self) -> None:
        blanks = _BLANKS.match(self._text, self._at)
        assert blanks is not None  # it matches the empty text
        self._at = blanks.end()

    def _is_at_end(self) -> bool:
        return self._at == len(self._text)

    def _error(self, problem: str, at: int | None = None) -> FilterError:
        return FilterError((self._at if at is None else at) + 1, problem)


def _flat(nodes: list[Node], kind: type[All] | type[Either]) -> tuple[Node, ...]:
    """The nodes, those of the same kind replaced by what they hold."""
    return tuple(inner for node in nodes for inner in (node.nodes if isinstance(node, kind) else (node,)))
