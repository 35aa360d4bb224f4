"""Who is told how far a study is."""

from __future__ import annotations

from typing import Protocol

from accel.result import Result


class Progress(Protocol):
    """Who is told how far the study is; the command line draws it, tests record it."""

    def stage(self, text: str) -> None: ...

    def done(self, variant: str, result: Result) -> None: ...

    def best(self, text: str) -> None: ...

    def time(self, elapsed_s: float, budget_s: float) -> None: ...


class Quiet:
    """A Progress that tells nobody."""

    def stage(self, text: str) -> None:
        """Ignore."""

    def done(self, variant: str, result: Result) -> None:
        """Ignore."""

    def best(self, text: str) -> None:
        """Ignore."""

    def time(self, elapsed_s: float, budget_s: float) -> None:
        """Ignore."""
