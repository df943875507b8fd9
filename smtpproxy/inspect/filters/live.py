"""Which sessions of a live stream match, from the event on that makes each match; it knows no transport."""

from smtpproxy.inspect.filters.facts import FactsFolder
from smtpproxy.inspect.filters.tree import Filter
from smtpproxy.session.events import AnyEvent, End


class LiveFilter:
    """Follows every session of one stream of events, in order; keeps something of those that are open.

    A session that matched once goes on matching to its end, even where later events would undo that: who
    watches it must not lose the rest of the conversation. Where a stream begins in the middle of sessions,
    `add` their earlier events first, and what was asked then is known.

    An event takes some microseconds. Where the filter has free words, the one that ends a message takes up to
    30 ms (half a second for mail that was made to be slow): ask from another thread then, if nobody may wait.
    """

    def __init__(self, wanted: Filter) -> None:
        self._wanted = wanted
        self._phrases = wanted.phrases
        self._undecided: dict[str, FactsFolder] = {}
        self._decided: dict[str, bool] = {}

    @property
    def sessions(self) -> int:
        """How many sessions are being followed."""
        return len(self._undecided) + len(self._decided)

    def add(self, event: AnyEvent) -> bool:
        """Take the stream's next event; whether its session matches, by now or since earlier."""
        session = event.session
        answer = self._decided.get(session)
        if answer is None:
            answer = self._ask(event)
        if isinstance(event, End):
            self.forget(session)
        return answer

    def forget(self, session: str) -> None:
        """Let go of a session that will not go on."""
        self._decided.pop(session, None)
        self._undecided.pop(session, None)

    def _ask(self, event: AnyEvent) -> bool:
        session = event.session
        folder = self._undecided.get(session)
        if folder is None:
            folder = self._undecided[session] = FactsFolder(self._phrases)
        folder.add(event)
        facts = folder.facts
        matches = self._wanted.matches(facts)
        if matches or not self._wanted.can_still_match(facts):
            del self._undecided[session]
            self._decided[session] = matches
        return matches
