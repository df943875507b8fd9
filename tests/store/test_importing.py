"""Recordings come into the store once, under their own id or one that says where they came from."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pytest
import trio

from smtpproxy.errors import StoreError
from smtpproxy.recording.codec import decode, splice_seq
from smtpproxy.store import importing
from smtpproxy.store.importing import Imported, ReadLine, import_session
from smtpproxy.store.log import open_log
from smtpproxy.store.reader import LogReader
from tests.store.conversations import append_all, encode, mail_session, noop, recorded, short_session, start


def bring(path: Path, session: str, events: Sequence[ReadLine]) -> Imported:
    return import_session(path, session, lambda: events)


def test_a_session_is_added_as_it_is(path: Path) -> None:
    events = recorded(*mail_session("01A"))
    assert bring(path, "01A", events) == Imported(session="01A", stored_as="01A", is_new=True)
    with LogReader(path) as reader:
        assert list(reader.lines("01A")) == [line for line, _ in events]
        assert reader.summary("01A").outcome == "delivered"
        assert len(reader.messages("01A")) == 1


def test_the_same_again_is_skipped(path: Path) -> None:
    events = recorded(*mail_session("01A"))
    bring(path, "01A", events)
    assert bring(path, "01A", events) == Imported(session="01A", stored_as="01A", is_new=False)
    with LogReader(path) as reader:
        assert reader.head() == len(events)


@pytest.mark.parametrize("commands", [1, 3])
def test_other_events_under_a_known_id_get_an_id_of_their_own(path: Path, commands: int) -> None:
    bring(path, "01A", recorded(*short_session("01A", commands=2)))
    other = recorded(*short_session("01A", commands=commands))
    first = bring(path, "01A", other)
    assert first.is_new
    assert first.stored_as.startswith("01A-")
    with LogReader(path) as reader:
        for line, (was, _) in zip(reader.lines(first.stored_as), other, strict=True):
            assert line.startswith(b'{"kind":')
            fields, before = msgspec.json.decode(line), msgspec.json.decode(was)
            assert fields.pop("session") == first.stored_as
            assert before.pop("session") == "01A"
            assert fields == before
        assert reader.summary(first.stored_as).session == first.stored_as
    # Once more: it is found under the id that it got.
    assert bring(path, "01A", other) == Imported(session="01A", stored_as=first.stored_as, is_new=False)


def test_a_field_of_a_later_version_survives_a_new_id(path: Path) -> None:
    bring(path, "01A", recorded(*short_session("01A", commands=2)))
    line, event = recorded(start("01A"))[0]
    line = line[:-1] + b',"mood":"fine"}'
    stored_as = bring(path, "01A", [(line, event)]).stored_as
    with LogReader(path) as reader:
        assert msgspec.json.decode(next(reader.lines(stored_as)))["mood"] == "fine"


def test_a_kind_of_a_later_version_is_kept(path: Path) -> None:
    line = b'{"kind":"mood","n":1,"session":"01A","t":0.5,"is":"fine"}'
    bring(path, "01A", [*recorded(start("01A")), (line, decode(line))])
    with LogReader(path) as reader:
        assert list(reader.lines("01A"))[1] == line
        assert reader.events_after(1)[0][2] == "mood"


ODD_LINES = [
    (b'{"n":1,"session":"01A","t":0.5,"kind":"mood","is":"fine"}', "mood"),
    (b'{ "t":0.5, "session":"01A", "n":1, "kind":"command", "verb":"NOOP",'
     b' "raw":"NOOP\\r\\n", "to":"server", "from":"client" }', "command"),
    (b'{"kind": "mood", "n":1, "session":"01A", "t":0.5}', "mood"),
    (b'{"kind" : "mood", "n":1, "session":"01A", "t":0.5}', "mood"),
    (b'{"kind":"mo\\u006fd","n":1,"session":"01A","t":0.5}', "mood"),
    (b'{"kind":"a\\"b","n":1,"session":"01A","t":0.5}', 'a"b'),
    ('{"kind":"gemüt","n":1,"session":"01A","t":0.5}'.encode(), "gemüt"),
    (b'{"kind":"joy","n":1,"session":"01A","t":0.5,"kind":"mood"}', "mood"),
    (b'{"kind":"mood",\n"n":1,\n"session":"01A","t":0.5}', "mood"),
    (b'{"kind":"mood","n":1,"session":"01A","t":0.5,"said":"kind"}\r', "mood"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "kind"), ODD_LINES)
def test_a_line_that_others_wrote_says_the_same_and_has_its_kind(path: Path, line: bytes, kind: str) -> None:
    first, odd, last = recorded(start("01A"))[0], (line, decode(line)), recorded(noop("01A", 2))[0]
    bring(path, "01A", [first, odd, last])
    with LogReader(path) as reader:
        rows = reader.events_after(0)
        lines = list(reader.lines("01A"))
    assert [(seq, what) for seq, _, what, _ in rows] == [(1, "session"), (2, kind), (3, "command")]
    assert lines == [row[3] for row in rows]
    assert (lines[0], lines[2]) == (first[0], last[0])
    assert lines[1].startswith(b'{"kind"')
    assert msgspec.json.decode(lines[1]) == msgspec.json.decode(line)


def test_a_position_in_a_line_is_left_out(path: Path) -> None:
    [(line, event)] = recorded(start("01A"))
    bring(path, "01A", [(splice_seq(line, 5), event)])
    with LogReader(path) as reader:
        assert list(reader.lines("01A")) == [line]


def test_a_session_without_an_end_is_listed_as_interrupted_and_stays_as_it_is(path: Path) -> None:
    events = recorded(start("01A"), noop("01A", 1))
    bring(path, "01A", events)
    with LogReader(path) as reader:
        assert reader.summary("01A").outcome == "interrupted"
        assert len(list(reader.lines("01A"))) == 2
    assert not bring(path, "01A", events).is_new


def test_ids_that_could_be_something_else_are_refused(path: Path) -> None:
    for session in ("../01A", "01A/b", "", "x" * 65, "01A\n"):
        with pytest.raises(StoreError, match="cannot be a session id"):
            bring(path, session, [])
    assert not path.exists()


def test_a_recording_that_breaks_off_adds_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "BATCH_BYTES", 100)
    seen_half_way: list[list[str]] = []

    def broken() -> Iterator[ReadLine]:
        yield from recorded(*short_session("01A", commands=5))
        with LogReader(path) as reader:
            assert reader.head() > 0
            seen_half_way.append(reader.session_ids())
        raise ValueError("line 8 is not JSON")

    with pytest.raises(ValueError, match="line 8"):
        import_session(path, "01A", broken)
    with LogReader(path) as reader:
        assert (reader.session_ids(), reader.oldest()) == ([], 0)
    assert seen_half_way == [[]]


def test_what_a_killed_import_left_is_removed_by_the_next(path: Path) -> None:
    connection = importing.open_store(path)
    batch = importing.Folder().fold(recorded(*short_session("01A", commands=5)))
    importing.write_batch(connection, batch, now=0.0, is_import=True)
    connection.close()
    events = recorded(*short_session("01A", commands=3))
    assert bring(path, "01A", events).is_new
    with LogReader(path) as reader:
        assert list(reader.lines("01A")) == [line for line, _ in events]
        assert len(reader.events_after(0)) == len(events)


async def test_import_and_proxy_share_the_store(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "BATCH_BYTES", 1000)
    imported = recorded(*short_session("01I", commands=400))
    async with open_log(path, encode=encode) as log:
        lines: list[bytes] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, bring, path, "01I", imported)
            for number in range(40):
                lines += append_all(log, short_session(f"01P{number:02d}"))
                await log.flush()
        with LogReader(path) as reader:
            assert list(reader.lines("01I")) == [line for line, _ in imported]
            ours = [row for row in _all_rows(reader) if row[1] != "01I"]
            assert [row[3] for row in ours] == lines
            assert [row[0] for row in _all_rows(reader)] == list(range(1, len(lines) + len(imported) + 1))


def _all_rows(reader: LogReader) -> list[tuple[int, str, str, bytes]]:
    return reader.events_after(0, 100_000)
