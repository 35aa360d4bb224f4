"""Freezing a running process once, for a known time: the disturbance whose effect on latencies is known by theory."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable


class Stall:
    """One SIGSTOP and its SIGCONT, sent by a thread of their own while the parent waits for the reply.

    Never more than one of each; `cancel` returns when neither can be sent any more.
    """

    def __init__(self, send: Callable[[signal.Signals], None], after_s: float, for_s: float) -> None:
        self._send, self._after_s, self._for_s = send, after_s, for_s
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self.lasted_s: float | None = None

    def begin(self) -> None:
        """Start the countdown; a second call does nothing."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._freeze, daemon=True)
            self._thread.start()

    def cancel(self) -> None:
        """Nothing is stopped from now on; what is stopped goes on at once."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def _freeze(self) -> None:
        if self._over.wait(self._after_s):
            return
        self._send(signal.SIGSTOP)
        stopped = time.monotonic()
        self._over.wait(self._for_s)
        self._send(signal.SIGCONT)
        self.lasted_s = time.monotonic() - stopped
