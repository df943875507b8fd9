"""What stands for what: volatile values of a recording and those heard in their place; it knows no reply.

A queue id is another one each time, but where the recording says the same id twice, the live server must say
the same one twice as well, and never one for two. That is kept for ids and for what the server calls itself.
Times, addresses and counts may fall together by chance (two replies within one second, everybody on
127.0.0.1): of them only the kind counts.
"""

from typing import Final

from smtpproxy.replay.volatile import Kind, Token, tokens_of

MAX_LINE_CHARACTERS: Final = 64 * 1024
"""Of a line with volatile parts; a longer one must be the same to the letter."""
_KEPT: Final[frozenset[Kind]] = frozenset({"id", "name"})


class Aliases:
    """The pairs of one session that is rerun; one for each attempt."""

    def __init__(self) -> None:
        self._live: dict[Token, str] = {}
        self._recorded: dict[Token, str] = {}
        self._recorded_names: set[str] = set()
        self._live_names: set[str] = set()

    def learn_names(self, recorded: str, live: str) -> None:
        """Remember how the server calls itself, from the texts of two greetings or of two replies to EHLO."""
        for names, text in ((self._recorded_names, recorded), (self._live_names, live)):
            name = text.split(maxsplit=1)[0].strip("[].").lower() if text.strip() else ""
            # A word without a dot may be any word: what is no host name is a name at its own place only.
            if "." in name or name == "localhost":
                names.add(name)

    def conflict(self, recorded: str, live: str, *, is_named: bool = False) -> str:
        """Why the live text is not the recorded one, in words; "" where it is.

        Its volatile values are remembered, up to the first that contradicts what was heard before.

        Args:
            recorded, live: one line each, without code and line end.
            is_named: they begin with the server's name.
        """
        if max(len(recorded), len(live)) > MAX_LINE_CHARACTERS:
            return "" if recorded == live else "the text differs"
        expected = list(tokens_of(recorded, names=self._recorded_names, is_named=is_named))
        heard = list(tokens_of(live, names=self._live_names, is_named=is_named))
        if [_outline(token) for token in expected] != [_outline(token) for token in heard]:
            return "the text differs"
        for ours, theirs in zip(expected, heard, strict=True):
            if ours.kind in _KEPT and (why := self._pair(ours, theirs)):
                return why
        return ""

    def _pair(self, ours: Token, theirs: Token) -> str:
        """Remember that one stands for the other, unless that contradicts what was heard before."""
        live, recorded = self._live.get(ours), self._recorded.get(theirs)
        if live is None and recorded is None:
            self._live[ours], self._recorded[theirs] = theirs.text, ours.text
        elif live is None:
            return f"{theirs.text} comes for {ours.text}, and came for {recorded} before"
        elif live != theirs.text:
            return f"{theirs.text} comes for {ours.text}, for which {live} came before"
        return ""


def _outline(token: Token) -> Token:
    return token if token.kind == "text" else Token(token.kind, "")
