"""What a finished (or cut short) study says: one row a variant, one answer for batch, one for online, and why.

Everything here is computed from stored results, so a report can be remade anywhere, any time, to the same byte.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from accel.analysis import Estimate
from accel.analysis.batch_curve import BatchCurve
from accel.analysis.load_curve import LoadPoint
from accel.analysis.roles import Roles
from accel.analysis.roofline import Roofline
from accel.compilation import DeviceTimes, Effective
from accel.compilation._profile import Layers
from accel.measurement.machine import Machine
from accel.measurement.peaks import Peaks
from accel.model import Facts, Signature, Source
from accel.model.cost import Cost
from accel.recipe import Variant
from accel.rescue.record import Rescue
from accel.result import Numerics, Quality, SetUp

Verdict = Literal["FASTER", "SLOWER", "EQUIVALENT", "INCONCLUSIVE"]


Strategy = Literal["original", "compilation", "compression", "compilation and compression", "batching"]


class PathStep(msgspec.Struct, frozen=True, kw_only=True):
    """A step on the way to the winner, and the variant that holds all strategies up to it.

    "batching" runs in batches (and with all its instances), every other step one request at a time.
    """

    strategy: Strategy
    variant: str


class StudyRecord(msgspec.Struct, frozen=True, kw_only=True):
    """`study.json`: what was asked, of what, where. Written once at the start; `finished_*` when the study ends.

    slo_p, slo_s: the latency limit ("p90 of latencies <= slo_s seconds"); slo_assumed: True if the user gave none.
    samples_kind: "real", "synthetic"; metric None when there are no labels.
    validation_count: samples that rescues choose by; they neither calibrate nor are reported on.
    accuracy_drop: the guard's limit as a fraction.
    price_per_h: what an instance costs an hour, as the user said; None: not said, costs are in instance-seconds.
    simulated: points of the load curve from measured service times on a virtual clock. lengths: seconds a batch by
        bucket of lengths, where samples have lengths. Both are kept since their sources (samples) may be gone.
    left: why a variant went no further though nothing is wrong with it, by name, with the numbers it was decided on;
        None in a study made before this was kept (2026-11).
    path: the way to the winner, whose steps ran in the same rounds; () in a study made before there were such rounds.
    peaks: what this machine can do at most; cost: what one call of the source costs at least; None: not known.
    denormals: input -> which part of its numbers lies below the smallest normal one; None: not looked at.
    """

    study_id: str
    name: str
    created_unix_ns: int
    source: Source
    signature: Signature
    facts: Facts
    machine: Machine
    env_id: str
    accel_version: str
    command: str
    profile: str
    target: Literal["batch", "online", "both", "memory"]
    budget_s: float
    seed: int
    accuracy_drop: float
    samples_count: int
    evaluation_count: int
    calibration_count: int
    synthetic: bool
    metric: str | None
    slo_p: float
    slo_s: float | None
    slo_assumed: bool
    baseline: str
    variants: tuple[Variant, ...]
    schema_version: int = 1
    validation_count: int = 0
    slo_text: str = ""
    reference_note: str = ""
    not_bought: tuple[str, ...] = ()
    finished_unix_ns: int | None = None
    elapsed_s: float | None = None
    interrupted: bool = False
    price_per_h: float | None = None
    simulated: tuple[LoadPoint, ...] = ()
    lengths: tuple[BatchCurve, ...] = ()
    path: tuple[PathStep, ...] = ()
    peaks: Peaks | None = None
    cost: Cost | None = None
    denormals: dict[str, float] | None = None
    left: dict[str, str] | None = None


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """A speed-up against the baseline from paired blocks: ratio > 1 means faster.

    delta: the smallest ratio that counts (the larger of the profile's minimum effect and this study's A/A floor).
    evidence: which runs it rests on. reason: why INCONCLUSIVE.
    p: two-sided p of the paired t-test; None where one run a side was compared.
    holm_k: how many candidates were compared with the baseline at once. held_low, held_high: the interval of the ratio
        at the level that Holm's procedure grants this one among them; FASTER and SLOWER ask that it excludes 1. What is
        printed stays `ratio`, with its 95 % interval.
    """

    ratio: Estimate
    verdict: Verdict
    delta: float
    evidence: Literal["screening", "blocks", "confirmation"]
    reason: str = ""
    p: float | None = None
    holm_k: int = 1
    held_low: float | None = None
    held_high: float | None = None


class Online(msgspec.Struct, frozen=True, kw_only=True):
    """How many requests a second a variant carries within the SLO, and what latency is there.

    rate: the claim (unit "1/s"), its low/high the interval of the crossing.
    predicted: True if no trial held enough requests for the SLO's percentile, so that the rate, read from these
        trials all the same, is indicative.
    trials: (rate, quantile seconds, level) of every server trial, for the chart.
    p50, p90, p99: latency from schedule at the trial nearest to (not above) the claim; None where the sample is too
        small.
    flags: what must be said beside the rate: unconfirmed, nonmonotone, generator_limited, indicative, bracket (see
        `accel.analysis.capacity.Capacity`). crossing: where the fit meets the limit (1/s). lowest_fail: the lowest rate
        that missed the limit in a trial (1/s), None if none did.
    service_p50, ...: what the engine took for the same requests (finished - started). goodput: requests answered within
        the limit, per second, there. keeps_up: whether the queue stayed as it was; None where it isn't known.
    """

    rate: Estimate
    policy: str
    predicted: bool
    trials: tuple[tuple[float, float, str], ...]
    p50: Estimate | None
    p90: Estimate | None
    p99: Estimate | None
    flags: tuple[str, ...] = ()
    crossing: float | None = None
    lowest_fail: float | None = None
    service_p50: Estimate | None = None
    service_p90: Estimate | None = None
    service_p99: Estimate | None = None
    goodput: Estimate | None = None
    keeps_up: bool | None = None


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """Everything known about one variant; `status` ok, or why it is not in the race.

    evidence: the deepest phase it reached. p50/p90/p99 are single_stream service latencies in seconds (closed loop).
    throughput: items/s in batch mode at `batch_size`, the best size found; throughput_by_size for the chart.
    memory: peak resident bytes while one request at a time is answered, less_memory: how many times less than the
        original; of a study that was after memory.
    device_times: the largest batch that was taken apart on a device of its own. device_peak_bytes: of its memory.
    """

    name: str
    variant: Variant
    status: Literal["ok", "failed", "refused", "wrong", "skipped"]
    reason: str = ""
    next_step: str = ""
    evidence: Literal["none", "screening", "tuning", "blocks", "confirmation"] = "none"
    is_baseline: bool = False
    p50: Estimate | None = None
    p90: Estimate | None = None
    p99: Estimate | None = None
    throughput: Estimate | None = None
    batch_size: int | None = None
    latency_by_size: dict[int, Estimate] = {}
    throughput_by_size: dict[int, Estimate] = {}
    speedup_latency: Comparison | None = None
    speedup_batch: Comparison | None = None
    speedup_online: Comparison | None = None
    online: Online | None = None
    quality: Quality | None = None
    set_up: SetUp | None = None
    effective: Effective | None = None
    artefact_bytes: int | None = None
    memory_bytes: int | None = None
    numerics: Numerics | None = None
    validity: Literal["valid", "unstable", "invalid"] = "valid"
    notes: tuple[str, ...] = ()
    log_tail: str = ""
    roofline: Roofline | None = None
    memory: Estimate | None = None
    less_memory: Estimate | None = None
    device_times: DeviceTimes | None = None
    device_peak_bytes: int | None = None


class Pareto(msgspec.Struct, frozen=True, kw_only=True):
    """Who isn't beaten in everything at once. axes: what was compared. names: the set. dominated: by whom each of the
    others is: at least as good on every axis, clearly better on one.
    """

    axes: tuple[str, ...]
    names: tuple[str, ...]
    dominated: dict[str, str] = {}


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The recommendation for one target; `winner` is the baseline's name when nothing was shown to be faster.

    sentence: what to use, how much faster, at what accuracy, how sure. speedup: None when the baseline stays.
    evidence "screening" marks an answer that isn't proved yet. less_memory: how many times less memory than the
    original; of the answer for memory alone, whose speedup is that of latency.
    """

    target: Literal["batch", "online", "memory"]
    winner: str
    keeps_baseline: bool
    speedup: Comparison | None
    sentence: str
    evidence: Literal["none", "screening", "blocks", "confirmation"]
    less_memory: Estimate | None = None


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What was noticed, why it matters, what to type next; weight orders them, the largest first."""

    what: str
    why: str
    command: str = ""
    weight: float = 0.0


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One step of the waterfall: the value reached after adding a strategy; ratio None means it was not measured."""

    strategy: Strategy
    variant: str
    value: float
    unit: str
    ratio: Estimate | None
    shown: bool


class Conclusion(msgspec.Struct, frozen=True, kw_only=True):
    """The whole reading of a study.

    validity, badge: the worst of the evidence behind the answers, and its words.
    smallest_difference: the smallest ratio - 1 this study could show (None before there are blocks).
    counts: tried, refused (accuracy), wrong, failed, skipped.
    groups: by target ("latency", "batch", "online"), who raced in blocks, the fastest group first; members of a group
        were not shown to differ. A target in which fewer than two raced isn't there.
    roles: batch against online; None before there is an answer.
    loads: latency and goodput from idle to twice saturation, by variant, policy and rate.
    batching: the latency-against-batch curve of each tuned variant, then those by bucket of lengths.
    rescues: what was tried for variants that lost their accuracy, each step scored on the validation part.
    layers: where the time of the winners and of the original goes, taken with the runtime's profiler on.
    memory: the answer for the smallest memory, where the study was after it.
    pareto: who isn't beaten in everything at once. left: why each of the others went no further, by name; both None or
        empty in studies made before settings were tried (2026-11).
    """

    record: StudyRecord
    rows: tuple[Row, ...]
    batch: Answer | None
    online: Answer | None
    validity: Literal["valid", "unstable", "invalid"]
    badge: str
    smallest_difference: float | None
    counts: dict[str, int]
    findings: tuple[Finding, ...]
    waterfall: tuple[Step, ...]
    headline: str
    subline: str
    groups: dict[str, tuple[tuple[str, ...], ...]] = {}
    roles: Roles | None = None
    loads: tuple[LoadPoint, ...] = ()
    batching: tuple[BatchCurve, ...] = ()
    rescues: tuple[Rescue, ...] = ()
    layers: tuple[Layers, ...] = ()
    memory: Answer | None = None
    pareto: Pareto | None = None
    left: dict[str, str] = {}

    @property
    def answers(self) -> tuple[Answer, ...]:
        """Those that the study has."""
        return tuple(answer for answer in (self.batch, self.online, self.memory) if answer is not None)

    def row(self, name: str) -> Row:
        """The row of one variant; KeyError if there is none."""
        return next(r for r in self.rows if r.name == name)
