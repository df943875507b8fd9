"""Showing the log to whoever watches in this process, each at its own pace; it knows no terminal."""

from collections.abc import Callable, Sequence
from typing import Protocol

import trio

from smtpproxy.errors import StoreError
from smtpproxy.store.contract import Removed, Row
from smtpproxy.store.feed import Feed, Subscription

RETRY_S = 1.0
"""When to look again for a log that cannot be read."""


class Watcher(Protocol):
    """Somebody who is shown the log as it grows."""

    def show(self, item: list[Row] | Removed) -> bool:
        """Take the next events, in order; called in a thread, may block.

        Returns:
            Whether more is wanted.
        """


async def watch_all(
    feed: Feed,
    watchers: Sequence[Watcher],
    *,
    may_show: trio.Event,
    report: Callable[[str], None],
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Show every event from now on to every watcher, until the feed is closed and shown to its end.

    Args:
        feed: of the log; they begin at its head.
        watchers: a stalled one delays neither the others nor the log.
        may_show: nothing is shown before this is set; nothing is lost meanwhile either.
        report: told when a watcher fails.
        task_status: started once all of them are subscribed.
    """
    async with trio.open_nursery() as nursery:
        for watcher in watchers:
            nursery.start_soon(_watch, feed.subscribe(), watcher, may_show, report)
        task_status.started()


async def _watch(
    subscription: Subscription, watcher: Watcher, may_show: trio.Event, report: Callable[[str], None]
) -> None:
    # Its own, so that a terminal that is held up does not take a thread from name look-ups.
    limiter = trio.CapacityLimiter(1)
    with subscription:
        await may_show.wait()
        while True:
            try:
                async for item in subscription:
                    # A thread that a stalled reader holds is left behind when we are cancelled.
                    is_wanted = await trio.to_thread.run_sync(
                        watcher.show, item, abandon_on_cancel=True, limiter=limiter
                    )
                    if not is_wanted:
                        return
            except StoreError:
                await trio.sleep(RETRY_S)
            except Exception as error:  # noqa: BLE001 - whatever a watcher does, mail flows on
                report(f"the live view ended: internal error, please report it ({type(error).__name__})")
                return
            else:
                return
