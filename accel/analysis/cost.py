"""What does a prediction cost, as a batch job and from an endpoint? Section 7 of the research as pure functions."""

from __future__ import annotations

import msgspec

from accel.analysis import Estimate


class CostLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the table: what it is in words, its value with interval and unit, and how it is made.

    key: job_s, job, job_per_million, job_start_share, endpoint_per_million, endpoint_day, endpoint_half_per_million,
        utilisation, start_s, headroom, break_even_rate, break_even_runs.
    value: None where the evidence is missing; then `note` says what is.
    """

    key: str
    label: str
    value: Estimate | None
    note: str = ""


class CostTable(msgspec.Struct, frozen=True, kw_only=True):
    """Costs of one variant in both roles; `unit`: "instance-seconds", or "price units" where the user gave a price.

    price_per_h: what the user said an instance costs an hour, in whatever currency; None: not said.
    items: how many the job holds. lines: in the order in which they are to be shown.
    """

    unit: str
    price_per_h: float | None
    items: int
    lines: tuple[CostLine, ...]

    def line(self, key: str) -> CostLine | None:
        """The line of that key, or None if the table has none."""
        return next((line for line in self.lines if line.key == key), None)
