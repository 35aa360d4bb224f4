"""What runs, what is done, what is best so far and how much time is left, so that a person can trust the wait."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from accel.analysis.policy import short
from accel.units import show_seconds

if TYPE_CHECKING:
    from rich.console import Console

_WORDS = {"ok": "measured", "failed": "failed", "refused": "refused", "wrong": "wrong", "skipped": "skipped"}


class Progress:
    """Shows a study on stderr: four lines redrawn at most once a second, or plain lines where there is no terminal.

    No thread and no timer of its own runs beside a measurement: it draws only when it is told something.
    console, now: for tests; `now` gives seconds.
    """

    def __init__(self, console: Console | None = None, now: Callable[[], float] = time.monotonic) -> None:
        from rich.console import Console

        self._console = console or Console(stderr=True)
        self._now = now
        self._began = now()
        self._drawn: float | None = None
        self._stage = ""
        self._best = ""
        self._time = ""
        self._done: Counter[str] = Counter()
        self._last = ""
        self._live: Any = None

    def __enter__(self) -> Progress:
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            from rich.live import Live

            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def stage(self, text: str) -> None:
        """What runs now."""
        if text != self._stage:
            self._stage = text
            self._tell(text)

    def done(self, variant: object, result: object) -> None:
        """One step of one variant is over; `result` may tell its `status` and `reason`."""
        status = str(getattr(result, "status", "ok"))
        reason = str(getattr(result, "reason", "") or "")
        self._done[status] += 1
        self._last = f"{variant}: {_WORDS.get(status, status)}{_of_what(result)}" + (f", {reason}" if reason else "")
        self._tell(self._last)

    def best(self, text: str) -> None:
        """The best so far, in words."""
        if text != self._best:
            self._best = text
            self._tell(f"best so far: {text}")

    def time(self, elapsed_s: float, budget_s: float) -> None:
        """How much of the budget is gone."""
        left = max(0.0, budget_s - elapsed_s)
        self._time = f"{show_seconds(max(elapsed_s, 1.0))} of {show_seconds(budget_s)}, {_left(left)}"
        self._draw()

    def _tell(self, line: str) -> None:
        if self._live is None:
            self._console.print(
                f"[{self._now() - self._began:4.0f} s] {line}", markup=False, highlight=False, soft_wrap=True
            )
        else:
            self._draw()

    def _draw(self) -> None:
        if self._live is None or (self._drawn is not None and self._now() - self._drawn < 1.0):
            return
        self._drawn = self._now()
        self._live.update(self._lines(), refresh=True)

    def _lines(self) -> Any:
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2))
        table.add_column(style="dim")
        table.add_column(no_wrap=True, overflow="ellipsis")
        counts = ", ".join(f"{n} {_WORDS.get(status, status)}" for status, n in self._done.most_common())
        rows = {"now": self._stage, "done": counts, "last": self._last, "best": self._best, "time": self._time}
        for word, text in rows.items():
            if text:
                table.add_row(word, Text(text.partition("\n")[0]))
        return table


def _of_what(result: object) -> str:
    """` (batch, fixed 8)`, as far as the result tells."""
    target, batching = (getattr(result, name, None) for name in ("target", "batching"))
    # A tuned policy holds a whole measured curve.
    parts = [*([str(target)] if target is not None else []), *([short(batching)] if batching is not None else [])]
    return f" ({', '.join(parts)})" if parts else ""


def _left(seconds: float) -> str:
    return f"{show_seconds(seconds)} left" if seconds >= 1 else "finishing"
