"""Requests arrive by themselves, whether or not the earlier ones are answered: what do users wait?"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from accel.scenarios import Plan, generator, sample_order


class Server(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Open loop at `rate` requests per second; metric: latency from the scheduled time (rules 1, 6-8).

    arrivals: "poisson": exponential gaps, rescaled so that the counted part holds exactly round(rate * duration)
        requests (a Poisson process conditioned on its count); "constant": equal gaps.
    lead_s: load before the counted part, so that the queue is in its steady state when counting starts.
    tail_s: load after it, so that the last counted requests see real load; at least the latency limit (rule 13).

    One seed and trial give one unit schedule: at another rate the same gaps come, scaled (common random numbers).
    """

    latency: ClassVar[str] = "from schedule"
    rate: Annotated[float, msgspec.Meta(gt=0)] = 1.0
    arrivals: Literal["poisson", "constant"] = "poisson"
    lead_s: Annotated[float, msgspec.Meta(ge=0)] = 0.3
    tail_s: Annotated[float, msgspec.Meta(ge=0)] = 1.0

    def plan(self, pool_size: int, *, seed: int, trial: int, duration_s: float) -> Plan:
        """Lead, counted part and tail, one after another; the counted part starts at `lead_s`."""
        n = max(1, round(self.rate * duration_s))
        before, after = round(self.rate * self.lead_s), round(self.rate * self.tail_s)
        rng = generator(seed, 1, trial)
        early, late = rng.spawn(2)
        due = np.concatenate(
            [
                self._offsets(before, self.lead_s, early),
                self.lead_s + self._offsets(n, duration_s, rng),
                self.lead_s + duration_s + self._offsets(after, self.tail_s, late),
            ]
        )
        order = sample_order(n + before + after, pool_size, seed=seed, trial=trial)
        return Plan(
            due_ns=np.rint(due * 1e9).astype(np.int64),
            # The counted part gets the head of the order, so that it is the same whatever lies around it.
            sample_ids=np.concatenate([order[n : n + before], order[:n], order[n + before :]]),
            warmup=before,
            tail=after,
        )

    def _offsets(self, n: int, length_s: float, rng: np.random.Generator) -> npt.NDArray[np.float64]:
        """(n,) seconds in [0, length_s), ascending."""
        if self.arrivals == "constant":
            return np.arange(n, dtype=np.float64) * (length_s / max(n, 1))
        ends = np.cumsum(rng.exponential(size=n + 1))
        offsets: npt.NDArray[np.float64] = length_s * ends[:-1] / ends[-1]
        return offsets
