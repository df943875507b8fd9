"""Asked to end without a signal: once in good order, twice at once."""

import trio

from smtpproxy.service.stopping import Stop


async def test_the_first_time_nothing_is_cut() -> None:
    stop = Stop(has_signals=False)
    with trio.CancelScope() as stage:
        stop.cut_short(stage)
        stop.ask()
        await stop.is_asked_for.wait()
        await trio.lowlevel.checkpoint()
    assert not stop.is_cut
    assert not stage.cancelled_caught


async def test_the_second_time_cuts_the_stage() -> None:
    stop = Stop(has_signals=False)
    with trio.CancelScope() as stage:
        stop.cut_short(stage)
        stop.ask()
        stop.ask()
        await trio.sleep_forever()
    assert stop.is_cut
    assert stage.cancelled_caught


async def test_a_stage_that_begins_later_is_cut_too() -> None:
    stop = Stop(has_signals=False)
    stop.ask()
    stop.ask()
    with trio.CancelScope() as stage:
        stop.cut_short(stage)
        await trio.sleep_forever()
    assert stage.cancelled_caught


async def test_without_signals_it_listens_to_none() -> None:
    stop = Stop(has_signals=False)
    async with trio.open_nursery() as nursery:
        await nursery.start(stop.obey_signals)
    assert not stop.is_asked_for.is_set()


async def test_asking_counts_beside_signals() -> None:
    stop = Stop()
    async with trio.open_nursery() as nursery:
        await nursery.start(stop.obey_signals)
        stop.ask()
        await stop.is_asked_for.wait()
        nursery.cancel_scope.cancel()
    assert not stop.is_cut
