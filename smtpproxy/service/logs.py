"""The log that a configuration asks for, and how it is doing; it knows no session and no event."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias

import trio

from smtpproxy.config.model import Config
from smtpproxy.recording.codec import encode
from smtpproxy.store.contract import LogStatus
from smtpproxy.store.log import EventLog, open_log
from smtpproxy.store.memory import NullLog
from smtpproxy.store.retention import Retention

Log: TypeAlias = EventLog | NullLog

LOOK_S = 1.0
_DAY_S = 86400.0


@asynccontextmanager
async def open_configured_log(config: Config) -> AsyncIterator[Log]:
    """The event log in the configured store, or one that keeps nothing; closed on leaving.

    Raises:
        StoreError: another proxy has the store, or it cannot be opened; on leaving: not all was written.
    """
    if config.store is None:
        log = NullLog()
        try:
            yield log
        finally:
            await log.aclose()
        return
    kept = config.retention
    async with open_log(
        config.store,
        encode=encode,
        retention=Retention(max_age_s=kept.days * _DAY_S or None, max_bytes=kept.octets or None),
        on_record_failure=config.on_record_failure,
    ) as event_log:
        yield event_log


async def report_status(log: Log, report: Callable[[str], None], *, is_refusing: bool) -> None:
    """Tell the operator when recording fails or falls behind, and when it works again; never returns."""
    before = LogStatus()
    while True:
        # A store that hangs tells nobody: it is seen by looking. Once a second costs next to nothing.
        await trio.sleep(LOOK_S)
        now = log.status()
        if now.state != before.state or now.is_dropping != before.is_dropping:
            report(_describe(now, lost_before=before.lost_events, is_refusing=is_refusing))
            before = now


def _describe(status: LogStatus, *, lost_before: int, is_refusing: bool) -> str:
    if status.state == "ok":
        lost = status.lost_events - lost_before
        return "recording works again" + (
            f"; {lost} events are missing, and gaps in the log tell where" if lost else ""
        )
    reason = status.error or "the store is too slow"
    refused = "; new sessions are refused" if is_refusing else ""
    if status.is_dropping:
        return f"recording drops events, mail flows on: {reason}{refused}"
    return f"recording is behind: {reason}{refused}"
