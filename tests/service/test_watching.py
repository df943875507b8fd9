"""Watchers are shown everything, each at its own pace."""

import threading

import trio
import trio.testing

from smtpproxy.recording.codec import encode
from smtpproxy.service.watching import Watcher, watch_all
from smtpproxy.session.events import End
from smtpproxy.store.contract import Removed, Row
from smtpproxy.store.memory import NullLog


class Seen:
    """Remembers positions, and wants no more after the last one."""

    def __init__(self, last: int) -> None:
        self.positions: list[int] = []
        self.is_content = threading.Event()
        self._last = last

    def show(self, item: list[Row] | Removed) -> bool:
        assert not isinstance(item, Removed)
        self.positions += [row[0] for row in item]
        if self.positions[-1] >= self._last:
            self.is_content.set()
        return not self.is_content.is_set()


class Stalled:
    """A terminal that somebody holds up."""

    def __init__(self) -> None:
        self.may_go_on = threading.Event()

    def show(self, item: list[Row] | Removed) -> bool:
        self.may_go_on.wait()
        return True


class Failing:
    """A mistake of ours."""

    def show(self, item: list[Row] | Removed) -> bool:
        raise ValueError("what a peer said")


def say(log: NullLog, n: int) -> None:
    event = End(n=n, session="s1", t=0.0, outcome="empty")
    log.append(encode(event), event)


async def test_all_is_shown_whatever_another_watcher_does() -> None:
    log, may_show, reports = NullLog(), trio.Event(), list[str]()
    seen, satisfied, stalled = Seen(last=5), Seen(last=1), Stalled()
    watchers: list[Watcher] = [stalled, seen, Failing(), satisfied]
    try:
        async with trio.open_nursery() as nursery:

            async def watch(task_status: trio.TaskStatus[None]) -> None:
                await watch_all(
                    log.feed, watchers, may_show=may_show, report=reports.append, task_status=task_status
                )

            await nursery.start(watch)
            say(log, 0)
            await trio.testing.wait_all_tasks_blocked()
            assert seen.positions == []
            may_show.set()
            for n in range(1, 5):
                say(log, n)
            with trio.fail_after(20):
                for watcher in (seen, satisfied):
                    await trio.to_thread.run_sync(watcher.is_content.wait, abandon_on_cancel=True)
            stalled.may_go_on.set()
            await log.aclose()
    finally:
        stalled.may_go_on.set()
    assert seen.positions == [1, 2, 3, 4, 5]
    assert satisfied.positions[0] == 1
    assert reports == ["the live view ended: internal error, please report it (ValueError)"]
