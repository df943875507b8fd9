"""What is appended is in the store, in order, with its summaries; and what a killed run left is ended."""

import json
import os
import sqlite3
import stat
import time
from pathlib import Path

import pytest
import trio

from smtpproxy.errors import StoreError
from smtpproxy.session.events import Command
from smtpproxy.store.log import open_log
from smtpproxy.store.reader import LogReader
from tests.ends import until
from tests.store.conversations import (
    append_all,
    content,
    encode,
    kinds,
    mail_session,
    noop,
    probe,
    short_session,
    start,
)


async def test_what_was_appended_is_there_after_a_flush(path: Path) -> None:
    async with open_log(path, encode=encode) as log:
        one = append_all(log, mail_session("01A"))
        await log.flush()
        with LogReader(path) as reader:
            assert list(reader.lines("01A")) == one
            assert [row[0] for row in reader.events_after(0)] == list(range(1, len(one) + 1))


async def test_what_was_appended_is_there_after_closing(path: Path) -> None:
    async with open_log(path, encode=encode) as log:
        one = append_all(log, short_session("01A", commands=3000))
    with LogReader(path) as reader:
        assert list(reader.lines("01A")) == one


async def test_interleaved_sessions_keep_their_order(path: Path) -> None:
    async with open_log(path, encode=encode) as log:
        lines = append_all(
            log, [start("01A"), start("01B"), noop("01A", 1), noop("01B", 1), noop("01A", 2), noop("01B", 2)]
        )
        await log.flush()
        later = append_all(log, [noop("01B", 3), noop("01A", 3)])
        await log.flush()
        with LogReader(path) as reader:
            rows = reader.events_after(0)
    assert [row[0] for row in rows] == list(range(1, 9))
    for session, theirs in (("01A", [*lines[0::2], later[1]]), ("01B", [*lines[1::2], later[0]])):
        assert [row[3] for row in rows if row[1] == session] == theirs
    # What was said 10 ms later comes later, whoever said it.
    assert {row[3] for row in rows[6:]} == set(later)


async def test_a_session_is_summed_up_while_it_goes_on(path: Path) -> None:
    events = mail_session("01A")
    async with open_log(path, encode=encode) as log:
        append_all(log, events[:3])
        await log.flush()
        with LogReader(path) as reader:
            assert reader.summary("01A").outcome == "open"
            append_all(log, events[3:])
            await log.flush()
            summary = reader.summary("01A")
    assert (summary.outcome, summary.mail_from, summary.rcpt_to, summary.messages) == (
        "delivered",
        "alice@example.org",
        ["bob@example.net"],
        1,
    )


async def test_a_message_row_points_at_its_content(path: Path) -> None:
    body = ["Subject: hi\r\n\r\n", "x" * 1000 + "\r\n"]
    events = mail_session("01B")
    at = kinds([(0, "", json.loads(encode(event))["kind"], b"") for event in events]).index("content")
    async with open_log(path, encode=encode) as log:
        append_all(log, short_session("01A"))
        # Content comes in several batches, with another session's events between.
        append_all(log, events[:at])
        append_all(log, [content("01B", at, body[0])])
        await log.flush()
        append_all(log, [start("01C"), content("01B", at + 1, body[1])])
        await log.flush()
        append_all(log, [noop("01C", 1), content("01B", at + 2, ".\r\n", end=True)])
        await log.flush()
        append_all(log, [mail_session("01B")[-1]])
        await log.flush()
        with LogReader(path) as reader:
            [message] = reader.messages("01B")
            rows = {row[0]: row for row in reader.events_after(0)}
    assert body[0].encode().strip() in rows[message.first_seq][3].replace(rb"\r\n", b"\r\n")
    assert json.loads(rows[message.last_seq][3])["end"] is True
    assert (message.mail_from, message.rcpt_to) == ("alice@example.org", ["bob@example.net"])
    assert message.headers == b"Subject: hi\r\n"
    assert message.size == sum(map(len, body))


async def test_positions_never_restart(path: Path) -> None:
    async with open_log(path, encode=encode) as log:
        append_all(log, short_session("01A"))
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM runs")
    connection.close()
    async with open_log(path, encode=encode) as log:
        append_all(log, short_session("01B"))
        await log.flush()
        with LogReader(path) as reader:
            assert [row[0] for row in reader.events_after(0)] == [4, 5, 6]


async def test_a_session_cut_short_is_interrupted_at_the_next_start(path: Path) -> None:
    async with open_log(path, encode=encode) as log:
        whole = append_all(log, mail_session("01A"))
        torn = append_all(log, mail_session("01B")[:-1])
    async with open_log(path, encode=encode):
        pass
    with LogReader(path) as reader:
        assert list(reader.lines("01A")) == whole
        *lines, last = reader.lines("01B")
        assert lines == torn
        end = json.loads(last)
        assert (end["kind"], end["outcome"], end["n"]) == ("end", "interrupted", len(torn))
        summary = reader.summary("01B")
        assert (summary.outcome, summary.messages) == ("interrupted", 1)
    async with open_log(path, encode=encode):
        pass
    with LogReader(path) as reader:
        assert len(list(reader.lines("01B"))) == len(torn) + 1


async def test_a_session_with_a_long_summary_is_summed_up_whole_in_the_end(path: Path) -> None:
    recipients = [f"recipient-{number}@example.net" for number in range(300)]
    async with open_log(path, encode=encode) as log:
        append_all(log, [start("01A")])
        for n, recipient in enumerate(recipients, 1):
            # A batch each: the row is not rewritten with every one of them.
            rcpt = Command(
                n=n,
                session="01A",
                t=n / 100,
                from_="client",
                to="server",
                raw=f"RCPT TO:<{recipient}>\r\n",
                verb="RCPT",
            )
            append_all(log, [rcpt])
            await log.flush()
    async with open_log(path, encode=encode):
        pass
    with LogReader(path) as reader:
        summary = reader.summary("01A")
        assert (summary.outcome, summary.rcpt_to) == ("interrupted", recipients)
        end = json.loads(list(reader.lines("01A"))[-1])
        assert (end["kind"], end["n"]) == ("end", 301)


async def test_probes_are_listed_only_when_asked_for(path: Path) -> None:
    async with open_log(path, encode=encode) as log:
        append_all(log, probe("01A"))
        append_all(log, short_session("01B"))
    with LogReader(path) as reader:
        assert [summary.session for summary in reader.sessions()] == ["01B"]
        assert {summary.session for summary in reader.sessions(include_probes=True)} == {"01A", "01B"}


async def test_only_the_owner_may_open_what_is_made(path: Path) -> None:
    async with open_log(path, encode=encode) as log:
        append_all(log, short_session("01A"))
        await log.flush()
        with LogReader(path):
            modes = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in path.parent.iterdir()}
    assert modes == {
        "events.db": 0o600,
        "events.db-wal": 0o600,
        "events.db-shm": 0o600,
        "events.db.lock": 0o600,
    }
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_a_second_proxy_is_told_who_has_the_store(path: Path) -> None:
    async with open_log(path, encode=encode):
        with pytest.raises(StoreError, match=rf"in use by another smtpproxy \(process {os.getpid()}\)"):
            async with open_log(path, encode=encode):
                pass
    async with open_log(path, encode=encode) as log:
        assert log.status().state == "ok"


async def test_idle_means_asleep(path: Path) -> None:
    async with open_log(path, encode=encode) as log:
        append_all(log, short_session("01A"))
        await log.flush()
        await until(lambda: log._index_at > time.monotonic() + 1)  # its session has been indexed
        turns: list[int] = []

        def is_asleep() -> bool:
            turns.append(_switches(log._thread.native_id))
            return turns[-3:] == turns[-1:] * 3

        await until(is_asleep)
        before = _switches(log._thread.native_id)
        await trio.sleep(0.3)
        assert _switches(log._thread.native_id) - before <= 1


def _switches(thread: int | None) -> int:
    """How often the kernel has given that thread a turn."""
    status = Path(f"/proc/self/task/{thread}/status").read_text()
    return sum(int(line.split()[1]) for line in status.splitlines() if "ctxt_switches" in line)
