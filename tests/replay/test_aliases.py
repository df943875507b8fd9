"""What stands for what, over a session."""

from collections.abc import Callable

from hypothesis import assume, given
from hypothesis import strategies as st

from smtpproxy.replay.aliases import Aliases

IDS = st.from_regex(r"[1-9][A-F]{3}[0-9][A-F]{4}[0-9]", fullmatch=True)
WORDS = st.sampled_from(["Ok:", "accepted", "for", "delivery", "2.0.0", "<bob@example.com>", "(total)"])
PIECES = st.lists(st.one_of(WORDS, IDS), min_size=1, max_size=8)
SESSIONS = st.lists(PIECES, min_size=1, max_size=5)


def renamed(ids: set[str]) -> Callable[[str], str]:
    """Another name for each of them, never one for two."""
    names = {name: f"4b{number:08d}zX" for number, name in enumerate(sorted(ids))}
    return lambda piece: names.get(piece, piece)


def ids_of(session: list[list[str]]) -> set[str]:
    return {piece for line in session for piece in line if piece[0] in "123456789" and len(piece) == 10}


@given(SESSIONS)
def test_a_session_is_as_itself(session: list[list[str]]) -> None:
    aliases = Aliases()
    for pieces in session:
        line = " ".join(pieces)
        assert aliases.conflict(line, line) == ""


@given(SESSIONS)
def test_other_ids_are_the_same_session(session: list[list[str]]) -> None:
    aliases, rename = Aliases(), renamed(ids_of(session))
    for pieces in session:
        assert aliases.conflict(" ".join(pieces), " ".join(map(rename, pieces))) == ""


@given(SESSIONS, st.data())
def test_another_word_is_a_difference(session: list[list[str]], data: st.DataObject) -> None:
    aliases, rename = Aliases(), renamed(ids_of(session))
    pieces = data.draw(st.sampled_from(session))
    places = [at for at, piece in enumerate(pieces) if piece not in ids_of(session)]
    assume(places)
    changed = [*map(rename, pieces)]
    changed[data.draw(st.sampled_from(places))] = "refused"
    assert aliases.conflict(" ".join(pieces), " ".join(changed)) == "the text differs"


@given(IDS, IDS, IDS)
def test_one_id_for_two_or_two_for_one_is_a_difference(one: str, two: str, three: str) -> None:
    assume(len({one, two, three}) == 3)
    aliases = Aliases()
    assert aliases.conflict(f"queued as {one}", f"queued as {two}") == ""
    assert (
        aliases.conflict(f"{one} removed", f"{three} removed")
        == f"{three} comes for {one}, for which {two} came before"
    )
    assert (
        aliases.conflict(f"{three} removed", f"{two} removed")
        == f"{two} comes for {three}, and came for {one} before"
    )
    assert aliases.conflict(f"{one} removed", f"{two} removed") == ""


def test_times_and_addresses_may_fall_together() -> None:
    aliases = Aliases()
    assert aliases.conflict("[10.0.0.5] 22:59:36", "[127.0.0.1] 12:00:00") == ""
    assert aliases.conflict("[10.0.0.6] 22:59:37", "[127.0.0.1] 12:00:00") == ""


def test_the_servers_name_is_known_after_its_greeting() -> None:
    aliases = Aliases()
    assert aliases.conflict("2.0.0 mx.example.com closing", "2.0.0 localhost closing") == "the text differs"
    aliases.learn_names("mx.example.com ESMTP", "localhost ESMTP")
    assert aliases.conflict("mx.example.com ESMTP", "localhost ESMTP", is_named=True) == ""
    assert aliases.conflict("2.0.0 mx.example.com closing", "2.0.0 localhost closing") == ""
    assert aliases.conflict("2.0.0 mx.example.com closing", "2.0.0 other closing") == "the text differs"


def test_a_line_without_end_must_be_the_same_to_the_letter() -> None:
    long = "queued as 9F2A31234B " * 5000
    assert Aliases().conflict(long, long) == ""
    assert Aliases().conflict(long, long.replace("9F2A31234B", "9F2A31234C")) == "the text differs"
