"""What holds of every filter and every session, likely or not."""

import itertools
from collections.abc import Callable, Iterable, Set

from hypothesis import example, given
from hypothesis import strategies as st

from smtpproxy.errors import FilterError
from smtpproxy.inspect.filters.facts import FactsFolder
from smtpproxy.inspect.filters.keys import KEYS
from smtpproxy.inspect.filters.live import LiveFilter
from smtpproxy.inspect.filters.selecting import select_sessions
from smtpproxy.inspect.filters.tree import Filter
from smtpproxy.inspect.filters.words import has_phrase, message_words
from smtpproxy.inspect.messages import list_messages, message_octets
from smtpproxy.session.events import AnyEvent, Content
from tests.conversation import Conversation, delivery
from tests.inspect.filtering import facts_of, read, summary_of

WORDS = ["hello", "reset", '"hello world"', "wor*", '"RESET me"', '"OR"', r'"a \" quote"', "größe", "*"]
OTHERS = [
    "from:a@x.example",
    "to:b",
    "subject:hello",
    "code:250",
    "code:4xx",
    "verb:NOOP",
    "user:a*",
    'from:""',
]
EXAMPLES = [*itertools.chain(*(key.examples for key in KEYS.values()))]
TERMS = st.one_of(map(st.sampled_from, (WORDS, OTHERS, EXAMPLES)))


def compound(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    several = st.lists(inner, min_size=1, max_size=3)
    return st.one_of(
        inner.map(lambda text: f"-({text})"),
        several.map(lambda texts: f"({' '.join(texts)})"),
        several.map(lambda texts: f"({' OR '.join(texts)})"),
    )


GROUPS = st.recursive(TERMS, compound, max_leaves=6)
FILTERS = st.builds(
    lambda joint, groups: joint.join(groups),
    st.sampled_from([" ", " OR "]),
    st.lists(GROUPS, min_size=1, max_size=3),
)

Step = Callable[[Conversation], object]
STEPS: list[Step] = [
    lambda talk: talk.server("220 mx"),
    lambda talk: talk.server("250 ok"),
    lambda talk: talk.server("451 later"),
    lambda talk: talk.server("550 no"),
    lambda talk: talk.client("NOOP"),
    lambda talk: talk.client("MAIL FROM:<a@x.example>"),
    lambda talk: talk.client("MAIL FROM:<>"),
    lambda talk: talk.client("RCPT TO:<bob@example.com>"),
    lambda talk: talk.client("AUTH PLAIN {{secret}}", mechanism="PLAIN", identity="alice"),
    lambda talk: talk.client("DATA"),
    lambda talk: talk.content("Subject: hello\r\n\r\nhello world\r\n"),
    lambda talk: talk.content("Subject: =?utf-8?q?RESET?=\r\n", "\r\nreset me, größe\r\n"),
    lambda talk: talk.content("Subject: hello\r\n\r\nwor", end=""),
    lambda talk: talk.chunk(b"Subject: hello\r\n\r\nhello ", last=False),
    lambda talk: talk.chunk(b"world", last=True),
    lambda talk: talk.digested(70_000),
    lambda talk: talk.tls("client"),
    lambda talk: talk.tls("server", version="TLSv1.2"),
    lambda talk: talk.tls("client", error="no"),
    lambda talk: talk.finding("bare-lf"),
    lambda talk: talk.gap(),
]
OUTCOMES = st.sampled_from(["open", "delivered", "rejected", "aborted", "failed", "interrupted", "empty"])


@st.composite
def talks(draw: st.DrawFn) -> list[AnyEvent]:
    talk = Conversation()
    for step in draw(st.lists(st.sampled_from(STEPS), max_size=12)):
        step(talk)
    outcome = draw(OUTCOMES)
    if outcome != "open":
        talk.end(outcome)
    return talk.events


class Index:
    """An index of words, made as the interface says: from `message_words`, a message at a time."""

    def __init__(self, session: str, events: list[AnyEvent], *, is_indexed: bool = True) -> None:
        self._session = session
        self._is_indexed = is_indexed
        numbers = [message.row.message for message in list_messages(events)]
        self._messages = [message_words(b"".join(message_octets(events, number))) for number in numbers]

    def sessions_with(self, phrase: str) -> Set[str] | None:
        has = any(has_phrase(words, phrase) for words in self._messages)
        return {self._session} if has and self._is_indexed else set()

    def has_indexed(self, session: str) -> bool:
        return self._is_indexed and session == self._session


def events_of(events: list[AnyEvent]) -> Callable[[str, bool], Iterable[AnyEvent]]:
    return lambda _, has_content: (event for event in events if has_content or not isinstance(event, Content))


@given(FILTERS)
def test_a_filter_rendered_is_the_same_filter(text: str) -> None:
    wanted = read(text)
    assert read(wanted.render()) == wanted


def read_or_column(text: str) -> Filter | int:
    """The filter, or where the mistake stands."""
    try:
        return read(text)
    except FilterError as error:
        return error.column


HOSTILE = st.one_of(
    st.text(max_size=60),
    st.text(alphabet='()-":* \\OR<>=@0', max_size=60),
    st.builds(lambda key, value: f"{key}:{value}", st.sampled_from([*KEYS]), st.text(max_size=30)),
    st.builds(
        lambda key, value: f"{key}:{value}",
        st.sampled_from([*KEYS]),
        st.text(alphabet="0123456789.:/x*<>=-TZ[]%hmsGk", max_size=20),
    ),
)


@given(HOSTILE, talks())
@example("after:9999999999999d", [])
@example("client:[fe80::1%eth0]:25", Conversation().events)
@example("\ud800 from:\ud800", Conversation().content("\r\nx").events)
def test_of_any_text_only_a_filter_error_comes(text: str, events: list[AnyEvent]) -> None:
    wanted = read_or_column(text)
    if isinstance(wanted, int):
        assert 1 <= wanted <= len(text) + 1
        return
    assert read(wanted.render()) == wanted
    assert wanted.matches(facts_of(events, wanted)) in (True, False)


@given(FILTERS, talks())
def test_a_negated_filter_matches_the_rest(text: str, events: list[AnyEvent]) -> None:
    wanted, negated = read(text), read(f"-({text})")
    facts = facts_of(events, wanted)
    assert wanted.matches(facts) is not negated.matches(facts)


@given(FILTERS, FILTERS, talks())
def test_blanks_are_and(one: str, other: str, events: list[AnyEvent]) -> None:
    both, either = read(f"({one}) ({other})"), read(f"({one}) OR ({other})")
    facts = facts_of(events, both)
    assert both.matches(facts) == (read(one).matches(facts) and read(other).matches(facts))
    assert either.matches(facts) == (read(one).matches(facts) or read(other).matches(facts))


@given(FILTERS, talks())
def test_a_list_decides_as_a_watcher_at_the_end(text: str, events: list[AnyEvent]) -> None:
    wanted, summary = read(text), summary_of(events)
    at_the_end = wanted.matches(facts_of(events, wanted))
    assert wanted.decide(summary) in (at_the_end, None)
    listed = select_sessions(wanted, [summary], events_of=events_of(events))
    assert [*listed] == ([summary] if at_the_end else [])


@given(FILTERS, talks(), st.booleans())
@example("dotted", delivery().events, False)
@example("dotted", delivery().events, True)
def test_with_an_index_or_without_the_same_is_found(
    text: str, events: list[AnyEvent], is_indexed: bool
) -> None:
    # A message that goes on is not indexed yet, nor looked into.
    if events[-1].__struct_config__.tag != "end":
        events = [*events, *Conversation().end("aborted").events[1:]]
    wanted, summary = read(text), summary_of(events)
    index = Index(summary.session, events, is_indexed=is_indexed)
    plain = select_sessions(wanted, [summary], events_of=events_of(events))
    indexed = select_sessions(wanted, [summary], events_of=events_of(events), search=index)
    assert [*indexed] == [*plain]


@given(FILTERS, talks())
@example("-messages:0", delivery().events)
@example("-size:<=69 OR -tls:none", delivery().events)
@example("-duration:<0.05", delivery().events)
@example("messages:0 -is:open", Conversation().end("empty").events)
def test_what_cannot_match_any_more_never_does(text: str, events: list[AnyEvent]) -> None:
    wanted = read(text)
    folder = FactsFolder(wanted.phrases)
    is_hopeless = False
    for event in events:
        folder.add(event)
        facts = folder.facts
        assert not (is_hopeless and wanted.matches(facts))
        is_hopeless = is_hopeless or not wanted.can_still_match(facts)
    if events[-1].__struct_config__.tag == "end":
        assert wanted.can_still_match(folder.facts) is wanted.matches(folder.facts)


@given(FILTERS, talks())
def test_a_live_session_matches_from_the_event_that_makes_it_match(text: str, events: list[AnyEvent]) -> None:
    wanted = read(text)
    matching = [wanted.matches(facts_of(events[: end + 1], wanted)) for end in range(len(events))]
    live = LiveFilter(wanted)
    assert [live.add(event) for event in events] == [*itertools.accumulate(matching, max)]
    assert live.sessions == (0 if events[-1].__struct_config__.tag == "end" else 1)
