"""Counters for Prometheus, made from the log when they are asked for; nothing is counted on the mail's way.

They begin with the process. The log is read on from where it was read last, in bounded pieces.
"""

from typing import Any, Final

from prometheus_client import CollectorRegistry, Gauge, disable_created_metrics, generate_latest
from prometheus_client import Counter as Total

from smtpproxy.inspect.summary import size_of
from smtpproxy.recording.codec import LineError, decode
from smtpproxy.session.events import Content, End, Finding, Reply, SessionStarted, Tls
from smtpproxy.session.findings import FINDINGS
from smtpproxy.store.contract import LogStatus
from smtpproxy.store.reader import LogReader

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """One process's metrics in a registry of their own; used from one thread at a time."""

    def __init__(self, *, version: str, after_seq: int) -> None:
        """Count what is behind that position."""
        self._position = after_seq
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each, which says nothing here
        self._registry = registry = CollectorRegistry()

        def total(name: str, text: str, *labels: str) -> Total:
            return Total(f"smtpproxy_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"smtpproxy_{name}", text, labels, registry=registry)

        self._started = total("sessions_started", "Sessions begun.", "route")
        self._ended = total("sessions_ended", "Sessions ended.", "outcome")
        self._messages = total("messages", "Messages whose content was carried to its end.")
        self._bytes = total("content_bytes", "Octets of message content, as on the wire.")
        self._replies = total("replies", "Replies by code and by who gave them.", "code", "from")
        self._tls = total("tls_handshakes", "TLS handshakes by leg and version.", "leg", "version", "result")
        self._findings = total("findings", "Findings.", "code")
        self._open = gauge("sessions_open", "Sessions that go on.")
        self._subscribers = gauge("live_subscribers", "Subscribers of /live.")
        self._lag = gauge("recorder_lag_seconds", "How long nothing got into the log though something waits.")
        self._pending = gauge("recorder_pending_events", "Events on their way into the log.")
        self._lost = gauge("recorder_lost_events", "Events that could not be recorded since the start.")
        self._gaps = gauge("recorder_gaps", "Gaps in the log since the start.")
        self._is_failed = gauge("recorder_failed", "1 where the store refuses what is written.")
        self._position_shown = gauge("log_position", "The log's last position.")
        gauge("info", "The running version.", "version").labels(version).set(1)

    def catch_up(self, reader: LogReader) -> None:
        """Count what was logged since this was last called; blocks.

        Raises:
            StoreError: the log cannot be read.
        """
        while rows := reader.events_after(self._position):
            for _, _, kind, line in rows:
                # Most of what is said need not even be read.
                if kind in _COUNTED:
                    self._count(line)
            self._position = rows[-1][0]
        self._position_shown.set(self._position)
        self._open.set(reader.open_sessions())

    def render(self, status: LogStatus, *, subscribers: int) -> bytes:
        """The exposition text."""
        self._subscribers.set(subscribers)
        self._lag.set(status.lag_s)
        self._pending.set(status.pending_events)
        self._lost.set(status.lost_events)
        self._gaps.set(status.gaps)
        self._is_failed.set(status.state == "failed")
        return generate_latest(self._registry)

    def _count(self, line: bytes) -> None:
        try:
            event: Any = decode(line)
        except LineError:
            return
        match event:
            case Reply():
                code = str(event.code) if isinstance(event.code, int) else "none"
                self._replies.labels(code, event.from_).inc()
            case Content():
                if not event.end or size_of(event) > len(".\r\n"):
                    self._bytes.inc(size_of(event))
                if event.end:
                    self._messages.inc()
            case SessionStarted():
                self._started.labels(event.route).inc()
            case End():
                self._ended.labels(event.outcome).inc()
            case Tls():
                result = "failed" if event.error else "ok"
                self._tls.labels(event.leg, event.version or "none", result).inc()
            case Finding():
                self._findings.labels(event.code if event.code in FINDINGS else "other").inc()
            case _:
                pass


_COUNTED: Final = frozenset({"reply", "content", "session", "end", "tls", "finding"})
