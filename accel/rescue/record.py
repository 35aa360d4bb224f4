"""What a rescue tried and what it found, as plain values; reading them needs no runtime."""

from __future__ import annotations

from typing import Literal

import msgspec

from accel.plugins import Named

Kind = Literal["start", "switch", "types", "blocks", "nodes"]


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One changed form of the quantized variant, scored on the validation part.

    what: in words. kind: "start" is the failing variant itself; then the rungs of the ladder, cheapest first.
    compression: what makes this form from scratch; each form that is scored was made so.
    score: the guard's metric, or agreement with the reference; drop: reference minus score, positive is worse.
    distance_db: median SQNR to the reference. left_float: operator types or nodes that the step puts back to float.
    relative_time: a call's time divided by that of the same backend's FP32, both in this process, in turns; rough,
        because two engines in one process disturb each other. low and high: its 95 % interval.
    outcome: the guard's word; "failed": it couldn't be made or run, see `reason`.
    acceptable: it passes, or is unresolved with a point estimate within the guard's limit.
    """

    what: str
    kind: Kind
    compression: tuple[Named, ...]
    score: float | None = None
    drop: float | None = None
    distance_db: float | None = None
    relative_time: float | None = None
    relative_time_low: float | None = None
    relative_time_high: float | None = None
    left_float: tuple[str, ...] = ()
    outcome: Literal["passes", "fails", "unresolved", "failed"] = "failed"
    acceptable: bool = False
    reason: str = ""
    seconds: float = 0.0


class Rescue(msgspec.Struct, frozen=True, kw_only=True):
    """Everything one rescue did.

    steps: in the order they were made, the failing variant first.
    chosen: the compression that makes the fastest acceptable form cleanly; None: no improvement was found.
    kept: the share of the time saved by the failing variant that the chosen one still saves (rough).
    self_check_error: how far the graph with all nodes in float lies from the float model, and the one with none from
        the quantized model (the larger relative error); None where no graph was rewired.
    clean_error: relative error of the cleanly quantized outputs against the rewired ones, both run without
        optimizations (which round differently); None where nothing was rewired.
    said: the whole in one sentence. complete: False where the time ended the search.
    """

    variant: str
    steps: tuple[Step, ...]
    chosen: tuple[Named, ...] | None
    said: str
    seconds: float
    complete: bool
    kept: float | None = None
    self_check_error: float | None = None
    clean_error: float | None = None
