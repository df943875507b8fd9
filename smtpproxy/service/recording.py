"""From a session's events to lines in the log: redacted, then encoded once; it knows no file and no socket.

This is the one stage before every sink: the log, the console and whoever watches get what comes out here.
"""

from collections.abc import Callable
from typing import Protocol

from smtpproxy.config.model import Bodies
from smtpproxy.net.route import Recorder
from smtpproxy.recording.codec import encode
from smtpproxy.recording.redaction import Redactor
from smtpproxy.session.events import AnyEvent, End, Gap


class Log(Protocol):
    """What recording asks of a log, whether it keeps anything or not."""

    def append(self, line: bytes, event: AnyEvent) -> None: ...
    def wants_events(self) -> bool: ...
    def is_full(self) -> bool: ...
    async def wait_until_ready(self) -> None: ...
    def refusal(self) -> str | None: ...


class LogRecording:
    """The driver's view of the log (net.route.Recording)."""

    def __init__(
        self, log: Log, *, keep_secrets: bool, bodies: Bodies, report: Callable[[str], None]
    ) -> None:
        """Record into `log`; `report` is told in one line of what should never happen."""
        self._log = log
        self._keep_secrets = keep_secrets
        self._bodies = bodies
        self._report = report
        self.is_full = log.is_full
        self.wait_until_ready = log.wait_until_ready
        self.refusal = log.refusal

    def open_session(self) -> Recorder:
        """A recorder for a session that begins.

        Whether anybody wants it is asked once: a redactor must see a session from its start.
        """
        if not self._log.wants_events():
            return _NO_RECORDER
        redactor = Redactor(keep_secrets=self._keep_secrets, bodies=self._bodies)
        return _LogRecorder(self._log, redactor, self._report)


class _LogRecorder:
    """Takes one session's events, in order."""

    __slots__ = ("_append", "_is_broken", "_redact", "_report")

    def __init__(self, log: Log, redactor: Redactor, report: Callable[[str], None]) -> None:
        self._append = log.append
        self._redact = redactor.redact
        self._report = report
        self._is_broken = False

    def record(self, events: list[AnyEvent]) -> None:
        """Redact, encode and hand over; never raises, since recording must not break the app's traffic."""
        if self._is_broken:
            self._record_end(events)
            return
        append, redact = self._append, self._redact
        taken = 0
        try:
            for event in events:
                redacted = redact(event)
                append(encode(redacted), redacted)
                taken += 1
        except Exception as error:  # noqa: BLE001 - see above
            # What was not redacted is not recorded, and neither is what follows it: the redactor has lost
            # its place. The error's text stays out too, since it may quote the event.
            self._is_broken = True
            failed = events[taken]
            self._report(f"session {failed.session} is not recorded any further: {type(error).__name__}")
            gap = Gap(
                n=failed.n,
                session=failed.session,
                t=failed.t,
                events=len(events) - taken,
                octets=0,
                reason=f"smtpproxy could not record this ({type(error).__name__}); please report it",
            )
            append(encode(gap), gap)
            self._record_end(events[taken:])

    def _record_end(self, events: list[AnyEvent]) -> None:
        """A session that is recorded no further still ends; that event holds nothing that was said."""
        for event in events:
            if isinstance(event, End):
                self._append(encode(event), event)


class _NoRecorder:
    """Takes events and forgets them."""

    __slots__ = ()

    def record(self, events: list[AnyEvent]) -> None:
        """Do nothing, at no cost."""


_NO_RECORDER = _NoRecorder()
