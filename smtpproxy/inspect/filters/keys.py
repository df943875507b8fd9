"""The keys of the filter language, one table: what each asks of a session; docs/filters.md has it too.

A `Key` reads the value behind it into a `Check`, and raises ValueError with words that go on after "KEY: ".
"""

import difflib
from collections.abc import Callable, Iterable
from typing import Final, get_args

from smtpproxy.inspect.filters import readers
from smtpproxy.inspect.filters.facts import Seen, SessionFacts
from smtpproxy.inspect.filters.tree import Check, Course, Truth
from smtpproxy.inspect.filters.words import normalise_phrase
from smtpproxy.inspect.summary import SessionSummary
from smtpproxy.session.events import Outcome
from smtpproxy.session.findings import FINDINGS


class Key:
    """One key of the language.

    Attributes:
        meaning: one phrase for people.
        examples: terms that are valid; the first is named where a value is missing.
    """

    def __init__(self, read: Callable[[str, float], Check], meaning: str, *examples: str) -> None:
        """A key.

        Args:
            read: given the value and the time in seconds since 1970, what to ask.
            meaning: one phrase for people.
            examples: terms that are valid.
        """
        self.read = read
        self.meaning = meaning
        self.examples = examples


def free_words(value: str) -> Check:
    """What words without a key ask: whether a message has them, one after the other."""
    phrase = normalise_phrase(value)
    if not phrase:
        raise ValueError("there is no letter or digit in it to search for")
    return Check(ask=lambda facts: None if facts.found is None else phrase in facts.found, phrase=phrase)


def suggestion(word: str, known: Iterable[str]) -> str:
    """` (did you mean X?)` where something known is written alike, else nothing."""
    near = difflib.get_close_matches(word.lower()[:40], list(known), n=1)
    return f" (did you mean {near[0]}?)" if near else ""


def _of_summary(ask: Callable[[SessionSummary], bool], course: Course = "rises") -> Check:
    return Check(ask=lambda facts: ask(facts.summary), course=course)


def _of_start(ask: Callable[[SessionSummary], bool], course: Course = "fixed") -> Check:
    """Of what is known once the session's first event is."""
    return Check(ask=lambda facts: ask(facts.summary) if facts.summary.started else None, course=course)


def _of_seen(
    ask: Callable[[Seen], bool],
    known: Callable[[SessionSummary], Truth] = lambda _: None,
    *,
    wants_subjects: bool = False,
) -> Check:
    """Of what a summary lacks; `known` is what it tells all the same."""

    def answer(facts: SessionFacts) -> Truth:
        return known(facts.summary) if facts.seen is None else ask(facts.seen)

    return Check(ask=answer, wants_subjects=wants_subjects)


def _choice(value: str, checks: dict[str, Check]) -> Check:
    check = checks.get(value.lower())
    if check is None:
        raise ValueError(f"wants one of {', '.join(checks)}{suggestion(value, checks)}")
    return check


def _from(value: str, _: float) -> Check:
    matches = readers.read_address(value).matches

    def known(summary: SessionSummary) -> Truth:
        # The summary has the first MAIL only: another one is in the events.
        if summary.mail_from is None:
            return False
        return matches(summary.mail_from) or None

    return _of_seen(lambda seen: any(map(matches, seen.senders)), known)


def _to(value: str, _: float) -> Check:
    matches = readers.read_address(value).matches
    return _of_summary(lambda summary: any(map(matches, summary.rcpt_to)))


def _subject(value: str, _: float) -> Check:
    wanted = " ".join(value.casefold().split())
    return _of_seen(
        lambda seen: any(wanted in subject.casefold() for subject in seen.subjects),
        # A message that was cut short has a subject too, and is not counted; its octets are.
        lambda summary: None if summary.messages or summary.bytes else False,
        wants_subjects=True,
    )


def _code(value: str, _: float) -> Check:
    matches = readers.read_code(value)

    def known(summary: SessionSummary) -> Truth:
        return True if summary.last_code is not None and matches(summary.last_code) else None

    return _of_seen(lambda seen: any(map(matches, seen.codes)), known)


def _enhanced(value: str, _: float) -> Check:
    matches = readers.read_enhanced(value)
    return _of_seen(lambda seen: any(map(matches, seen.enhanced)))


def _verb(value: str, _: float) -> Check:
    matches = readers.Glob(value).matches
    return _of_seen(lambda seen: any(map(matches, seen.verbs)))


def _mechanism(value: str, _: float) -> Check:
    matches = readers.Glob(value).matches
    return _of_seen(lambda seen: any(map(matches, seen.mechanisms)))


def _user(value: str, _: float) -> Check:
    matches = readers.Glob(value).matches
    return _of_seen(lambda seen: any(map(matches, seen.identities)))


def _tls(value: str, _: float) -> Check:
    checks = {
        "none": _of_summary(lambda summary: not summary.tls_client and not summary.tls_server, "falls"),
        "client": _of_summary(lambda summary: bool(summary.tls_client)),
        "server": _of_summary(lambda summary: bool(summary.tls_server)),
    }
    for version in ("1.0", "1.1", "1.2", "1.3"):
        checks[version] = _tls_version(version)
    return _choice(value, checks)


def _tls_version(version: str) -> Check:
    # As OpenSSL spells them: version 1.0 is TLSv1.
    name = f"TLSv{version.removesuffix('.0')}"
    return _of_summary(lambda summary: name in (summary.tls_client, summary.tls_server))


def _finding(value: str, _: float) -> Check:
    matches = readers.Glob(value).matches
    if not any(map(matches, FINDINGS)):
        raise ValueError(f"there is no finding {value[:40]}{suggestion(value, FINDINGS)}")
    return _of_summary(lambda summary: any(map(matches, summary.findings)))


def _is(value: str, _: float) -> Check:
    checks = {outcome: _outcome(outcome) for outcome in get_args(Outcome)}
    checks["lmtp"] = _of_start(
        lambda summary: summary.upstream.startswith("lmtp") or summary.listen.startswith("lmtp")
    )
    return _choice(value, checks)


def _outcome(outcome: str) -> Check:
    return _of_summary(lambda summary: summary.outcome == outcome, "falls" if outcome == "open" else "rises")


def _has(value: str, _: float) -> Check:
    checks = {
        "message": _of_summary(lambda summary: summary.messages > 0),
        "auth": _of_seen(lambda seen: "AUTH" in seen.verbs),
        "tls": _of_summary(lambda summary: bool(summary.tls_client or summary.tls_server)),
        "finding": _of_summary(lambda summary: bool(summary.findings)),
    }
    return _choice(value, checks)


def _client(value: str, _: float) -> Check:
    matches = readers.read_network(value)
    # Any course: behind a balancer the PROXY header says later who it is.
    return _of_start(lambda summary: matches(summary.client), "any")


def _upstream(value: str, _: float) -> Check:
    matches = readers.Glob(f"*{value}*").matches
    return _of_start(lambda summary: matches(summary.upstream))


def _listen(value: str, _: float) -> Check:
    matches = readers.Glob(f"*{value}*").matches
    return _of_start(lambda summary: matches(summary.listen))


def _route(value: str, _: float) -> Check:
    matches = readers.Glob(value).matches
    return _of_start(lambda summary: matches(summary.route))


def _session(value: str, _: float) -> Check:
    prefix = value.casefold()
    return _of_summary(lambda summary: summary.session.casefold().startswith(prefix), "fixed")


def _before(value: str, now: float) -> Check:
    moment = readers.read_moment(value, now)
    return _of_moment(lambda started: started < moment)


def _after(value: str, now: float) -> Check:
    moment = readers.read_moment(value, now)
    return _of_moment(lambda started: started >= moment)


def _of_moment(ask: Callable[[float], bool]) -> Check:
    def answer(facts: SessionFacts) -> Truth:
        started = readers.started_seconds(facts.summary.started)
        return None if started is None else ask(started)

    return Check(ask=answer, course="fixed")


def _duration(value: str, _: float) -> Check:
    sign, matches = readers.read_duration(value)
    return _of_summary(lambda summary: matches(summary.duration), _course_of(sign))


def _size(value: str, _: float) -> Check:
    sign, matches = readers.read_size(value)
    return _of_summary(lambda summary: matches(summary.bytes), _course_of(sign))


def _messages(value: str, _: float) -> Check:
    sign, matches = readers.read_count(value)
    return _of_summary(lambda summary: matches(summary.messages), _course_of(sign))


def _course_of(sign: str) -> Course:
    """How a comparison goes of what only grows."""
    courses: dict[str, Course] = {">": "rises", ">=": "rises", "<": "falls", "<=": "falls", "=": "any"}
    return courses[sign]


KEYS: Final[dict[str, Key]] = {
    "from": Key(
        _from,
        "a MAIL's address",
        "from:alice@example.com",
        "from:*@example.com",
        "from:@example.com",
        "from:<>",
    ),
    "to": Key(_to, "a RCPT's address, accepted or not", "to:bob@example.com", "to:@example.com", "to:bob"),
    "subject": Key(_subject, "a part of a message's subject", 'subject:"password reset"', "subject:größe"),
    "code": Key(_code, "a reply's code, whoever said it", "code:550", "code:5xx", "code:>=400"),
    "enhanced": Key(_enhanced, "a reply's enhanced status code", "enhanced:5.7.1", "enhanced:5.7.*"),
    "verb": Key(_verb, "a command that the client said", "verb:AUTH", "verb:X*"),
    "mechanism": Key(
        _mechanism, "a mechanism of AUTH that was tried", "mechanism:PLAIN", "mechanism:SCRAM-*"
    ),
    "user": Key(_user, "whose account AUTH named", "user:alice", "user:*@example.com"),
    "tls": Key(
        _tls,
        "TLS: `none`, the leg that has it, or a version on either leg",
        *("tls:none", "tls:client", "tls:server", "tls:1.2", "tls:1.3"),
    ),
    "finding": Key(_finding, "a finding's code", "finding:bare-lf", "finding:upstream-*"),
    "is": Key(
        _is,
        "how it ended, `open` if it has not; `lmtp` by its listener or upstream",
        *(f"is:{outcome}" for outcome in get_args(Outcome)),
        "is:lmtp",
    ),
    "has": Key(
        _has,
        "something is there; `message` is one sent to its end, `auth` any attempt",
        *("has:message", "has:auth", "has:tls", "has:finding"),
    ),
    "client": Key(_client, "the client's address, or its network", "client:192.0.2.7", "client:10.0.0.0/8"),
    "upstream": Key(_upstream, "a part of the URL of the server", "upstream:smtp.example.com"),
    "route": Key(_route, "the route's name", "route:default"),
    "listen": Key(_listen, "a part of the URL of the listener", "listen::1025"),
    "session": Key(_session, "the beginning of its id", "session:01KB3S"),
    "before": Key(
        _before, "it began before a date, a time, or so long ago (UTC)", "before:2026-11-23", "before:2h"
    ),
    "after": Key(
        _after,
        "it began then or after",
        *("after:2026-11-23", "after:2026-11-23T17:00", "after:17:00", "after:30m"),
    ),
    "duration": Key(_duration, "seconds from accept to the end", "duration:>1.5", "duration:<200ms"),
    "size": Key(_size, "octets of all its messages; k, M, G are of 1024", "size:>1M", "size:<=500k"),
    "messages": Key(_messages, "messages sent to their end", "messages:>1", "messages:0"),
}
"""By their names; one that stands in a filter may be written in any case."""
