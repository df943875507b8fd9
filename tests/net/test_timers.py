"""One task for all timers, on a clock that jumps: order, cancelling, sweeping, earlier deadlines."""

from functools import partial

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from smtpproxy.net import timers as timers_module
from smtpproxy.net.timers import Timers


@pytest.fixture
async def timers(nursery: trio.Nursery) -> Timers:
    timers = Timers()
    nursery.start_soon(timers.run)
    return timers


async def test_callbacks_come_in_order_of_deadline_then_of_asking(
    autojump_clock: MockClock, timers: Timers
) -> None:
    called: list[tuple[str, float]] = []
    began = trio.current_time()

    def note(name: str) -> None:
        called.append((name, trio.current_time() - began))

    for name, seconds in [("c", 3.0), ("a", 1.0), ("b1", 2.0), ("b2", 2.0), ("now", 0.0)]:
        timers.call_later(seconds, partial(note, name))
    await trio.sleep(10)
    assert [name for name, _ in called] == ["now", "a", "b1", "b2", "c"]
    assert [when for _, when in called] == pytest.approx([0, 1, 2, 2, 3], abs=0.1)


async def test_a_cancelled_timer_is_silent_and_may_be_cancelled_again(
    autojump_clock: MockClock, timers: Timers
) -> None:
    called: list[str] = []
    timer = timers.call_later(1, lambda: called.append("cancelled"))
    timers.call_later(1, lambda: called.append("kept"))
    timer.cancel()
    timer.cancel()
    await trio.sleep(2)
    assert called == ["kept"]
    timer.cancel()


async def test_an_earlier_deadline_wakes_the_sleeper(autojump_clock: MockClock, timers: Timers) -> None:
    called: list[float] = []
    began = trio.current_time()
    timers.call_later(1000, lambda: called.append(trio.current_time() - began))
    await trio.testing.wait_all_tasks_blocked()
    timers.call_later(1, lambda: called.append(trio.current_time() - began))
    await trio.sleep(5)
    assert called == pytest.approx([1], abs=0.1)
    await trio.sleep(1000)
    assert called == pytest.approx([1, 1000], abs=0.1)


async def test_a_callback_may_ask_for_the_next_and_cancel_another(
    autojump_clock: MockClock, timers: Timers
) -> None:
    called: list[str] = []
    doomed = timers.call_later(2, lambda: called.append("doomed"))

    def first() -> None:
        called.append("first")
        doomed.cancel()
        timers.call_later(1, lambda: called.append("next"))

    timers.call_later(1, first)
    await trio.sleep(5)
    assert called == ["first", "next"]


async def test_cancelled_timers_do_not_pile_up(autojump_clock: MockClock, timers: Timers) -> None:
    # Every command of a session replaces its idle timer: the dead ones must go long before their deadline.
    called: list[int] = []
    for number in range(10_000):
        timer = timers.call_later(900, partial(called.append, number))
        if number % 100:
            timer.cancel()
    assert len(timers._heap) < 2 * 100 + timers_module._COMPACT_ABOVE + 1
    await trio.sleep(1000)
    assert called == list(range(0, 10_000, 100)), "sweeping keeps the living, in order"


async def test_sweeping_inside_a_callback(autojump_clock: MockClock, timers: Timers) -> None:
    called: list[str] = []
    others = [timers.call_later(2, lambda: called.append("cancelled")) for _ in range(1000)]

    def cancel_all() -> None:
        for other in others:
            other.cancel()

    timers.call_later(1, cancel_all)
    timers.call_later(1, lambda: called.append("same time"))
    timers.call_later(3, lambda: called.append("later"))
    await trio.sleep(5)
    assert called == ["same time", "later"]
