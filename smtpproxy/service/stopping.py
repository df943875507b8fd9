"""Whoever asks the proxy to end: the first time in good order, the second time at once."""

import signal

import trio


class Stop:
    """The wish to end, and the stage that a second one cuts short.

    Attributes:
        is_asked_for: set by the first wish.
        is_cut: whether there was a second one.
    """

    def __init__(self, *, has_signals: bool = True) -> None:
        """Nobody has asked yet.

        Args:
            has_signals: SIGTERM and SIGINT ask too. Only the main thread hears them: elsewhere it must be
                False.
        """
        self.is_asked_for = trio.Event()
        self.is_cut = False
        self._has_signals = has_signals
        self._stage = trio.CancelScope()

    def ask(self) -> None:
        """End in good order; asked again, at once. Call it in trio's thread."""
        if self.is_asked_for.is_set():
            self.is_cut = True
            self._stage.cancel()
        self.is_asked_for.set()

    async def obey_signals(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen to both signals and never return; where they do not count, return at once."""
        if not self._has_signals:
            task_status.started()
            return
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            task_status.started()
            async for _ in signals:
                self.ask()

    def cut_short(self, stage: trio.CancelScope) -> None:
        """From here on a second wish cancels this stage; at once if there was one already."""
        self._stage = stage
        if self.is_cut:
            stage.cancel()
