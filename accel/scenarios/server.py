"""Requests arrive by themselves, whether or not the earlier ones are answered: what do users wait?"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from accel.errors import InputError
from accel.scenarios import Int64, Plan, generator, sample_order
from accel.scenarios._recorded import read_recording

Float = npt.NDArray[np.float64]
Rate = Annotated[float, msgspec.Meta(gt=0)]


class Server(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Open loop at `rate` requests per second; metric: latency from the scheduled time (rules 1, 6-8).

    rate: None: the recording's own rate for "replay", else 1.
    arrivals: "poisson": exponential gaps, rescaled so that the counted part holds exactly round(rate * duration)
        requests (a Poisson process conditioned on its count). "poisson_free": the same number of exponential gaps as
        they fall, so that the realized rate scatters by 1/sqrt(n) and queueing theory holds to the letter. "constant":
        equal gaps. "gamma": gaps with the coefficient of variation `cv`, rescaled like "poisson", which it is at cv 1;
        above 1 it comes in bursts. "replay": arrivals recorded in the file `trace` (a column of seconds, if you like
        one of lengths beside it, or .npy), scaled to `rate`; the counted part begins with the first of them, and a
        short recording is repeated end to end.
    lead_s: load before the counted part, so that the queue is in its steady state when counting starts.
    tail_s: load after it, so that the last counted requests see real load; at least the latency limit (rule 13).

    One seed and trial give one unit schedule: at another rate the same gaps come, scaled (common random numbers).
    """

    latency: ClassVar[str] = "from schedule"
    rate: Rate | None = None
    arrivals: Literal["poisson", "poisson_free", "constant", "gamma", "replay"] = "poisson"
    cv: Annotated[float, msgspec.Meta(gt=0, le=10)] = 1.0
    trace: str | None = None
    lead_s: Annotated[float, msgspec.Meta(ge=0)] = 0.3
    tail_s: Annotated[float, msgspec.Meta(ge=0)] = 1.0

    def plan(self, pool_size: int, *, seed: int, trial: int, duration_s: float) -> Plan:
        """Lead, counted part and tail, one after another; the counted part starts at `lead_s` ("poisson_free": after
        the gaps of the lead). Raises InputError for a recording that can't be read or is missing.
        """
        if (self.trace is None) == (self.arrivals == "replay"):
            raise InputError('`trace` and arrivals = "replay" belong together: give both or neither.')
        parts, lengths, notes = (
            (self._parts(seed, trial, duration_s), None, ())
            if self.trace is None
            else self._recorded(Path(self.trace), duration_s)
        )
        before, n, after = (len(p) for p in parts)
        order = sample_order(n + before + after, pool_size, seed=seed, trial=trial)
        return Plan(
            due_ns=np.rint(np.concatenate(parts) * 1e9).astype(np.int64),
            # The counted part gets the head of the order, so that it is the same whatever lies around it.
            sample_ids=np.concatenate([order[n : n + before], order[:n], order[n + before :]]),
            warmup=before,
            tail=after,
            lengths=lengths,
            notes=notes,
        )

    def _parts(self, seed: int, trial: int, duration_s: float) -> tuple[Float, Float, Float]:
        """Due times (s) before, in and after the counted part."""
        rate = self.rate or 1.0
        counts = (round(rate * self.lead_s), max(1, round(rate * duration_s)), round(rate * self.tail_s))
        rng = generator(seed, 1, trial)
        early, late = rng.spawn(2)
        if self.arrivals == "poisson_free":
            before, counted, after = (
                np.cumsum(r.exponential(size=n)) / rate for n, r in zip(counts, (early, rng, late), strict=True)
            )
            start = float(before[-1]) if len(before) else 0.0
            return before, start + counted, start + counted[-1] + after
        return (
            self._offsets(counts[0], self.lead_s, early),
            self.lead_s + self._offsets(counts[1], duration_s, rng),
            self.lead_s + duration_s + self._offsets(counts[2], self.tail_s, late),
        )

    def _offsets(self, n: int, length_s: float, rng: np.random.Generator) -> Float:
        """(n,) seconds in [0, length_s), ascending."""
        if self.arrivals == "constant":
            return np.arange(n, dtype=np.float64) * (length_s / max(n, 1))
        if self.arrivals == "gamma" and self.cv != 1.0:
            ends = np.cumsum(rng.gamma(1 / self.cv**2, size=n + 1))
        else:
            ends = np.cumsum(rng.exponential(size=n + 1))
        # Gaps of a few requests at a high cv can all round to nothing.
        offsets: Float = length_s * ends[:-1] / (ends[-1] or 1.0)
        return offsets

    def _recorded(
        self, path: Path, duration_s: float
    ) -> tuple[tuple[Float, Float, Float], Int64 | None, tuple[str, ...]]:
        """The same, the recorded lengths of all of them, and what has to be said."""
        recording = read_recording(path)
        stretch = recording.rate / self.rate if self.rate else 1.0
        edges = np.array([-self.lead_s, 0.0, duration_s, duration_s + self.tail_s]) / stretch
        times, lengths = zip(*(recording.between(a, b) for a, b in pairwise(edges.tolist())), strict=True)
        before, counted, after = (self.lead_s + stretch * part for part in times)
        length_s = stretch * recording.length_s
        notes = (
            f"the recorded arrivals last {length_s:.3g} s and were repeated end to end to fill {duration_s:.3g} s",
        )
        return (
            (before, counted, after),
            None if recording.lengths is None else np.concatenate(lengths),
            notes if duration_s > length_s * (1 + 1e-9) else (),
        )
