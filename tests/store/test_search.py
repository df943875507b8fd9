"""What is searched is found by the index as it is in the log, whatever becomes of session and proxy."""

import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from smtpproxy.inspect.filters.facts import SeenFolder
from smtpproxy.inspect.filters.words import WordFolder, normalise_phrase
from smtpproxy.recording.codec import encode
from smtpproxy.session.events import AnyEvent
from smtpproxy.store import log as log_module
from smtpproxy.store.contract import Recorded
from smtpproxy.store.folding import FoldedBatch
from smtpproxy.store.importing import delete_session, import_session
from smtpproxy.store.indexing import MAX_SEEN_BYTES
from smtpproxy.store.log import EventLog, open_log
from smtpproxy.store.reader import LogReader
from smtpproxy.store.retention import Retention
from smtpproxy.store.source import SqlitePages
from smtpproxy.store.writer import SqliteWriter
from tests.conversation import Conversation
from tests.ends import until
from tests.store.conversations import append_all, start

PATIENCE_S = 10.0


def talk(session: str, *bodies: str) -> list[AnyEvent]:
    """A session that sends these messages."""
    made = Conversation(session).client("EHLO app").server("250 ok")
    for body in bodies:
        made.client("MAIL FROM:<alice@example.com>").server("250 ok").client("DATA").server("354 go")
        made.content(f"Subject: hi\r\n\r\n{body}\r\n").server("250 taken")
    return made.end().events


def write(writer: SqliteWriter, events: Iterable[AnyEvent]) -> None:
    writer.prepare([(encode(event), event) for event in events])
    writer.write()


def index_all(writer: SqliteWriter) -> int:
    """Piece by piece until there is nothing more to do; how many pieces."""
    pieces = 1
    while writer.index():
        pieces += 1
    return pieces


@pytest.fixture
def writer(path: Path) -> Iterator[SqliteWriter]:
    made = SqliteWriter(path, retention=Retention())
    yield made
    made.close()


def found(path: Path, phrase: str) -> set[str] | None:
    with LogReader(path) as reader:
        sessions = reader.index().sessions_with(normalise_phrase(phrase))
        return None if sessions is None else {*sessions}


def is_indexed(path: Path, session: str) -> bool:
    with LogReader(path) as reader:
        return reader.index().has_indexed(session)


def in_tables(path: Path) -> tuple[int, int]:
    """How many sessions and messages the index holds; that it is sound, is made sure of."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("INSERT INTO word_index (word_index) VALUES ('integrity-check')")
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        sessions = connection.execute("SELECT count(*) FROM seen").fetchone()[0]
        messages = connection.execute("SELECT count(*) FROM words").fetchone()[0]
    finally:
        connection.close()
    return sessions, messages


# ---- what is found


def test_words_phrases_and_beginnings(path: Path, writer: SqliteWriter) -> None:
    write(writer, talk("01A", "your order has shipped"))
    write(writer, talk("01B", "Größe XL, naïve café", "resetting the password"))
    assert not is_indexed(path, "01A")
    index_all(writer)
    assert is_indexed(path, "01A")
    assert found(path, "order has shipped") == {"01A"}
    assert found(path, "shipped order") == set()
    assert found(path, "reset") == set()
    assert found(path, "reset*") == {"01B"}
    assert found(path, "the pass*") == {"01B"}
    assert found(path, "GRÖSSE") == {"01B"}
    assert found(path, "cafe") == set()  # letters are themselves: é is no e
    assert found(path, "hi") == {"01A", "01B"}
    # One after the other, but in two messages.
    assert found(path, "café subject") == set()


@pytest.mark.parametrize("word", ["and", "OR", "NOT", "NEAR", "words", "a" * 1500, "中文", "x²"])
def test_no_word_means_something_to_the_database(path: Path, writer: SqliteWriter, word: str) -> None:
    write(writer, talk("01A", f"one {word} two"))
    write(writer, talk("01B", "one two"))
    index_all(writer)
    assert found(path, word) == found(path, f"one {word} two") == found(path, f"{word}*") == {"01A"}


TEXTS = st.lists(
    st.sampled_from(["hello", "hell", "ǅungla", "ﬁn", "İ", "ꮿ", "a", "a_b", "é", "e\u0301", "٣", "𝒳", "12"]),
    max_size=5,
).map(" ".join)
BODIES = st.lists(st.lists(TEXTS, max_size=3), min_size=1, max_size=3)


@given(BODIES, TEXTS, st.booleans())
def test_the_index_finds_what_the_log_says(bodies: list[list[str]], text: str, is_prefix: bool) -> None:
    phrase = normalise_phrase(text + "*" * is_prefix)
    if not phrase:
        return
    talks = {f"01{number}": talk(f"01{number}", *texts) for number, texts in enumerate(bodies)}
    expected = set()
    for session, events in talks.items():
        folder = WordFolder([phrase])
        for event in events:
            folder.add(event)
        expected |= {session} if folder.found else set()
    with tempfile.TemporaryDirectory() as folder_name:
        path = Path(folder_name) / "events.db"
        writer = SqliteWriter(path, retention=Retention())
        for events in talks.values():
            write(writer, events)
        index_all(writer)
        assert found(path, phrase) == expected
        writer.close()


def test_a_message_that_was_cut_short_is_found(path: Path, writer: SqliteWriter) -> None:
    made = Conversation("01A").client("DATA").server("354 go").content("Subject: x\r\n\r\nhalf a wor", end="")
    write(writer, made.end("aborted").events)
    index_all(writer)
    assert found(path, "half a wor") == {"01A"}


def test_what_a_session_said_is_kept_beside_it(path: Path, writer: SqliteWriter) -> None:
    events = talk("01A", "hello")
    write(writer, events)
    with LogReader(path) as reader:
        assert reader.index().seen("01A") is None
    index_all(writer)
    folder = SeenFolder()
    for event in events:
        folder.add(event)
    with LogReader(path) as reader:
        seen = reader.index().seen("01A")
    assert seen == folder.seen
    assert seen is not None
    assert (seen.codes, seen.subjects) == ({250, 354}, {"hi"})


def test_of_who_said_too_much_only_the_log_tells(path: Path, writer: SqliteWriter) -> None:
    made = Conversation("01A")
    for number in range(MAX_SEEN_BYTES // 100):
        made.client(f"X{number:0100} now")
    write(writer, made.end().events)
    index_all(writer)
    with LogReader(path) as reader:
        assert reader.index().has_indexed("01A")
        assert reader.index().seen("01A") is None


# ---- what is not there yet, or no more


def test_a_session_that_goes_on_is_not_indexed(path: Path, writer: SqliteWriter) -> None:
    events = talk("01A", "hello")
    write(writer, events[:-1])
    index_all(writer)
    assert (found(path, "hello"), is_indexed(path, "01A")) == (set(), False)
    write(writer, events[-1:])
    index_all(writer)
    assert (found(path, "hello"), is_indexed(path, "01A")) == ({"01A"}, True)


def test_what_is_indexed_after_the_search_began_is_not_taken_for_searched(
    path: Path, writer: SqliteWriter
) -> None:
    write(writer, talk("01A", "hello"))
    with LogReader(path) as reader:
        index = reader.index()
        assert index.sessions_with("hello") == set()
        index_all(writer)
        assert not index.has_indexed("01A")
        assert reader.index().has_indexed("01A")


def test_a_deleted_session_leaves_the_index(path: Path, writer: SqliteWriter) -> None:
    write(writer, talk("01A", "hello world"))
    write(writer, talk("01B", "hello"))
    index_all(writer)
    delete_session(path, "01A")
    assert (found(path, "hello"), found(path, "world")) == ({"01B"}, set())
    assert in_tables(path) == (1, 1)
    delete_session(path, "01B")
    assert (found(path, "hello"), in_tables(path)) == (set(), (0, 0))


def test_of_what_is_too_old_nothing_is_left(path: Path) -> None:
    clock = [1e9]
    writer = SqliteWriter(path, retention=Retention(max_age_s=10), clock=lambda: clock[0])
    write(writer, talk("01A", *[f"hello {number} " + "x" * 2000 for number in range(200)]))
    index_all(writer)
    assert in_tables(path) == (1, 200)
    clock[0] += 11
    pieces = 1
    while writer.tidy() == 0.0:
        pieces += 1
    assert (found(path, "hello"), in_tables(path)) == (set(), (0, 0))
    writer.close()


def test_a_session_that_is_removed_while_it_is_indexed_leaves_nothing(
    path: Path, writer: SqliteWriter
) -> None:
    write(writer, talk("01A", *["word " * 20_000] * 4))
    while in_tables(path) == (0, 0):
        assert writer.index()
    delete_session(path, "01A")
    index_all(writer)
    assert (found(path, "word"), in_tables(path)) == (set(), (0, 0))


def test_an_import_is_indexed_also_after_it_was_deleted(path: Path, writer: SqliteWriter) -> None:
    index_all(writer)
    for body in ("hello", "world"):
        import_session(path, "01A", lambda body=body: recorded_lines(talk("01A", body)))
        index_all(writer)
        assert found(path, body) == {"01A"}
        delete_session(path, "01A")
        assert found(path, body) == set()


def recorded_lines(events: list[AnyEvent]) -> list[Recorded]:
    return [(encode(event), event) for event in events]


def test_a_store_from_before_there_was_an_index_gets_one(path: Path, writer: SqliteWriter) -> None:
    write(writer, talk("01A", "hello"))
    writer.close()
    connection = sqlite3.connect(path)
    connection.executescript("DROP TABLE word_index; DROP TABLE words; DROP TABLE seen;")
    connection.close()
    with LogReader(path) as reader:
        index = reader.index()
        assert (index.sessions_with("hello"), index.has_indexed("01A"), index.seen("01A")) == (
            None,
            False,
            None,
        )
    again = SqliteWriter(path, retention=Retention())
    index_all(again)
    again.close()
    assert found(path, "hello") == {"01A"}


def test_a_damaged_index_is_no_obstacle(path: Path, writer: SqliteWriter) -> None:
    write(writer, talk("01A", "hello"))
    index_all(writer)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE word_index_data SET block = x'00ff00ff' WHERE id > 10")
    connection.commit()
    connection.close()
    assert found(path, "hello") is None


# ---- when it is done


def test_a_session_that_many_were_written_after_is_found_at_the_next_start(path: Path) -> None:
    first = SqliteWriter(path, retention=Retention())
    for number in range(1200):
        write(first, talk(f"01{number:04}", f"body{number}"))
    first.close()
    second = SqliteWriter(path, retention=Retention())
    index_all(second)
    second.close()
    assert found(path, "body0") == {"010000"}
    assert in_tables(path) == (1200, 1200)


def test_what_was_begun_is_begun_anew_and_stands_there_once(path: Path) -> None:
    first = SqliteWriter(path, retention=Retention())
    write(first, talk("01A", *[f"body{number} " + "word " * 20_000 for number in range(8)]))
    while in_tables(path)[1] < 2:
        assert first.index()
    first.close()  # as a process that is killed would: some messages are written
    assert not is_indexed(path, "01A")
    second = SqliteWriter(path, retention=Retention())
    index_all(second)
    second.close()
    assert in_tables(path) == (1, 8)
    assert found(path, "body7 word") == {"01A"}


INDEXING = """
import sys
from pathlib import Path
from smtpproxy.store.retention import Retention
from smtpproxy.store.writer import SqliteWriter
writer = SqliteWriter(Path(sys.argv[1]), retention=Retention())
print("begun", flush=True)
while writer.index():
    pass
"""


def test_killed_while_indexing_it_is_whole_and_goes_on(path: Path, writer: SqliteWriter) -> None:
    for number in range(300):
        write(writer, talk(f"01{number:03}", *[f"body{number} " + f"word{number} " * 900] * 2))
    writer.close()
    counts = [0]
    while counts[-1] < 300:
        with subprocess.Popen(
            [sys.executable, "-c", INDEXING, str(path)], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            deadline = time.monotonic() + PATIENCE_S
            while process.poll() is None and in_seen(path) < min(300, counts[-1] + 100):
                assert time.monotonic() < deadline
            process.send_signal(signal.SIGKILL)
        sessions, messages = in_tables(path)
        assert messages - 2 * sessions in (0, 1)  # of one session at most, half is there
        assert sessions > counts[-1]
        counts.append(sessions)
    assert in_tables(path) == (300, 600)
    assert found(path, "body299 word299") == {"01299"}


def in_seen(path: Path) -> int:
    connection = sqlite3.connect(path)
    try:
        return int(connection.execute("SELECT count(*) FROM seen").fetchone()[0])
    finally:
        connection.close()


async def test_a_running_log_does_it_by_itself(path: Path) -> None:
    async with open_log(path, encode=encode) as log:
        append_all(log, talk("01A", "hello"))
        await until(lambda: is_indexed(path, "01A"))
    assert found(path, "hello") == {"01A"}


async def test_a_proxy_that_was_killed_leaves_sessions_that_are_indexed_at_the_next_start(path: Path) -> None:
    writer = SqliteWriter(path, retention=Retention())
    write(writer, talk("01A", "hello")[:-1])
    writer.close()
    async with open_log(path, encode=encode):
        await until(lambda: is_indexed(path, "01A"))
    assert found(path, "hello") == {"01A"}


class Slow:
    """A writer that is asked to index again and again, and takes as long as it is told to."""

    is_tidying_due = False

    def __init__(self) -> None:
        self.calls: list[tuple[str, float]] = []
        self.is_in_piece = threading.Event()
        self.may_end = threading.Event()

    def prepare(self, events: list[Recorded]) -> None:
        self._events = events

    def write(self) -> FoldedBatch:
        self.calls.append(("write", time.monotonic()))
        return FoldedBatch()

    def tidy(self) -> float | None:
        return None

    def index(self) -> bool:
        self.calls.append(("index", time.monotonic()))
        self.is_in_piece.set()
        self.may_end.wait(PATIENCE_S)
        return True

    def close(self) -> None:
        pass


async def test_events_go_first_and_indexing_waits_for_a_quiet_time(path: Path) -> None:
    slow = Slow()
    log = EventLog(slow, SqlitePages(path), head=0, encode=encode)
    await trio.to_thread.run_sync(slow.is_in_piece.wait, PATIENCE_S)
    append_all(log, [start("01A")])
    slow.may_end.set()
    await log.flush()
    await until(lambda: slow.calls[-1][0] == "index")
    await log.aclose()
    names = [name for name, _ in slow.calls]
    assert names[:3] == ["index", "write", "index"]
    assert slow.calls[2][1] - slow.calls[1][1] >= log_module.QUIET_S
