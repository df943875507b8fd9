"""What SIGTERM and SIGINT ask for: the first one to end in good order, the second one to end at once."""

import signal

import trio


class Stop:
    """The operator's wish to end, and the stage that a second signal cuts short.

    Attributes:
        is_asked_for: set by the first signal.
        is_cut: whether there was a second one.
    """

    def __init__(self) -> None:
        self.is_asked_for = trio.Event()
        self.is_cut = False
        self._stage = trio.CancelScope()

    async def obey_signals(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen to both signals; never returns."""
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            task_status.started()
            async for _ in signals:
                if self.is_asked_for.is_set():
                    self.is_cut = True
                    self._stage.cancel()
                self.is_asked_for.set()

    def cut_short(self, stage: trio.CancelScope) -> None:
        """From here on a second signal cancels this stage; at once if it has come already."""
        self._stage = stage
        if self.is_cut:
            stage.cancel()
