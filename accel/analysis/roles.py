"""The same model in two roles, as a batch job and as an online service: what does each winner give, and what in the
other role?

Only the words; `accel.analysis.versus` fills them in from a study's rows and trials.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from accel.analysis import Estimate
from accel.analysis.cost import CostTable

ITEMS = 1_000_000


class Role(msgspec.Struct, frozen=True, kw_only=True):
    """The winner of one role, with what the very same variant gives in the other: both halves are always filled as far
    as there is evidence; what there is none for is None, and `missing` says so in words.

    As a batch job: `batch_size` is the best size, `items` the items a second there (unit "1/s"), `job_s` the seconds
    that `Roles.items` items take on one instance, the start included.
    Online: `policy` as it was measured, `rate` the requests a second within the SLO (the claim; low and high are those
    of the crossing; unit "1/s"), `p50_s` and `p99_s` the latency from schedule there (`p99_s` is the SLO's quantile,
    `Roles.slo_p`), `utilisation` the share of time in which the instance's workers were busy there.
    instances: copies of the engine (workers) in both.
    start_s: from a fresh process to the first answer. slo_cost: 1 - rate / items, the share of the batch throughput
    that the latency limit costs, both rates of this variant. cost: what a million predictions cost in each role.
    """

    target: Literal["batch", "online"]
    variant: str
    keeps_baseline: bool = False
    instances: int = 1
    batch_size: int | None = None
    items: Estimate | None = None
    job_s: Estimate | None = None
    policy: str = ""
    rate: Estimate | None = None
    p50_s: Estimate | None = None
    p99_s: Estimate | None = None
    utilisation: Estimate | None = None
    start_s: float | None = None
    slo_cost: Estimate | None = None
    cost: CostTable | None = None
    missing: tuple[str, ...] = ()


class Roles(msgspec.Struct, frozen=True, kw_only=True):
    """Batch against online: both winners (None where the study has no answer for that role), and why they differ.

    items: the N that seconds and costs of a job are given for. slo_p, slo_s: the latency limit.
    why: sentences: which variant wins where, and what makes the difference (batch size, policy, cost of a call,
    instances, latency limit); fit to be printed one after another.
    """

    batch: Role | None
    online: Role | None
    items: int = ITEMS
    slo_p: float = 0.0
    slo_s: float | None = None
    same: bool = False
    why: tuple[str, ...] = ()
