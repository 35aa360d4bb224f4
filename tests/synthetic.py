"""A whole study on disk, made from a known truth without measuring anything; for tests of the reading and the report.

`synthetic_study(folder)` writes `folder/study.json` and `folder/runs/RUN_ID.json|npz` as a real study does.
Times come from a service-time model (`fixed_s + batch x item_s`, with noise), so every expected number is known.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from accel.analysis.conclusion import StudyRecord
from accel.analysis.load_curve import LoadPoint
from accel.analysis.policy import short
from accel.compilation import Effective
from accel.measurement.machine import Machine
from accel.measurement.trace import Trace
from accel.model import Facts, Signature, Source, Tensor
from accel.plugins import Named
from accel.recipe import Variant
from accel.result import Check, Memory, Quality, Result, SetUp, Witness, write_atomically

START_NS = 1_795_000_000_000_000_000
LABELLED = 449
SIZES = (1, 2, 4, 8, 16, 32)


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """One variant and the truth about it: a batch of b takes `fixed_s + b * item_s` seconds."""

    variant: Variant
    fixed_s: float = 0.0003
    item_s: float = 0.002
    status: str = "ok"
    reason: str = ""
    next_step: str = ""
    log_tail: str = ""
    precision: str = "float32"
    accuracy: float = 0.984
    unresolved: bool = False
    sqnr_db: float = 60.0
    artefact_bytes: int = 3_900_000
    compress_s: float | None = None
    compile_s: float | None = 0.4
    policy: Named = Named("dynamic", {"max_size": 16})

    def seconds(self, batch: int) -> float:
        """True service time of a batch."""
        return self.fixed_s + batch * self.item_s


def variant(name: str, backend: str, *compression: Named, trap: str = "", **fields: Any) -> Variant:
    """A Variant in one line."""
    return Variant(name=name, backend=Named(backend, fields), compression=compression, trap=trap)


BASELINE = Made(
    variant=variant("original", "eager"),
    fixed_s=0.0008,
    item_s=0.0042,
    sqnr_db=150.0,
    compile_s=None,
    policy=Named("single"),
)


def usual_variants(*, slower: float = 1.0) -> tuple[Made, ...]:
    """Five good ones, two traps, one that crashes, one that is wrong, one whose package is missing.

    slower: multiplies every candidate's times.
    """
    static = Named("quantize_static")
    good = (
        Made(variant=variant("onnxruntime", "onnxruntime"), item_s=0.0024, sqnr_db=118.0),
        Made(
            variant=variant("openvino", "openvino"),
            item_s=0.0017,
            precision="bfloat16",
            accuracy=0.984,
            sqnr_db=41.0,
            compile_s=1.1,
        ),
        Made(
            variant=variant("openvino int8", "openvino", static),
            fixed_s=0.00035,
            item_s=0.0009,
            precision="int8",
            accuracy=0.982,
            sqnr_db=29.0,
            artefact_bytes=1_100_000,
            compress_s=9.5,
            compile_s=1.3,
            unresolved=True,
        ),
        Made(
            variant=variant("onnxruntime int8", "onnxruntime", static),
            item_s=0.0013,
            precision="int8",
            accuracy=0.982,
            sqnr_db=27.0,
            artefact_bytes=1_050_000,
            compress_s=4.2,
        ),
        Made(variant=variant("inductor", "inductor"), fixed_s=0.0004, item_s=0.0032, sqnr_db=122.0, compile_s=41.0),
    )
    bad = (
        Made(
            variant=variant(
                "onnxruntime dynamic int8",
                "onnxruntime",
                Named("quantize_dynamic", {"operators": ["Conv", "MatMul"]}),
                trap="dynamic INT8 on convolutions: activations are quantized anew in every call",
            ),
            item_s=0.011,
            precision="int8",
            accuracy=0.98,
            sqnr_db=31.0,
            artefact_bytes=1_050_000,
        ),
        Made(
            variant=variant(
                "onnxruntime int8 distribution",
                "onnxruntime",
                Named("quantize_static", {"method": "distribution"}),
                trap="Distribution calibration clips the activations of this network",
            ),
            item_s=0.0008,
            status="refused",
            precision="int8",
            accuracy=0.098,
            sqnr_db=1.5,
            reason="accuracy fell from 0.984 to 0.098, more than 1.0 percentage point",
        ),
        Made(
            variant=variant("inductor int8", "inductor", static),
            status="failed",
            reason="crashed with SIGSEGV while compiling",
            next_step="Try `accel bench --backend inductor:threads=1`.",
            log_tail='  File "model.py", line 12, in forward\n<b>Fatal</b> Python error: Segmentation fault',
        ),
        Made(
            variant=variant("openvino f16", "openvino", Named("lower_precision", {"dtype": "float16"})),
            status="wrong",
            reason="the outputs differ from the reference: median relative error 0.83 (limit 0.1)",
        ),
        Made(
            variant=variant("torchao int8", "inductor", Named("quantize_weights")),
            status="skipped",
            reason=(
                "the compression `quantize_weights` needs the package `torchao`, which is not installed. "
                "Install it with: pip install torchao"
            ),
            next_step="pip install torchao",
        ),
    )
    return tuple(msgspec.structs.replace(m, fixed_s=m.fixed_s * slower, item_s=m.item_s * slower) for m in good + bad)


def synthetic_study(
    folder: Path,
    *,
    seed: int = 0,
    blocks: int = 6,
    confirmations: int = 6,
    nothing_faster: bool = False,
    variants: Sequence[Made] | None = None,
    baseline: Made = BASELINE,
    finalists: int = 3,
    noise: float = 0.01,
    drift: float = 0.02,
    synthetic: bool = False,
    random_weights: bool = False,
    labels: bool = True,
    online: bool = True,
    profile: str = "quick",
    slo_p: float = 0.9,
    slo_s: float | None = 0.015,
    unstable_blocks: int = 0,
    measured_s: float = 1.0,
    loads: bool = False,
) -> StudyRecord:
    """Write a study and give its record; the same arguments write the same bytes (but for npz zip times).

    noise: spread (log) between runs of one variant; drift: spread between blocks, shared by all in a block.
    blocks=0 leaves a study that ended after its screening. loads: with the load curve of the original and the first
    finalist: `single` and `dynamic` measured to above saturation, `window` and what lies beyond simulated.
    """
    made = tuple(variants) if variants is not None else usual_variants(slower=4.5 if nothing_faster else 1.0)
    (folder / "runs").mkdir(parents=True, exist_ok=True)
    record = _record(baseline, made, seed, profile, slo_p, slo_s, synthetic, random_weights, labels)
    raced = sorted((m for m in made if m.status == "ok"), key=lambda m: m.seconds(16))[:finalists]
    if loads:
        record = msgspec.structs.replace(record, simulated=_simulated(raced[0], slo_p, slo_s or 0.015))
    write_atomically(folder / "study.json", msgspec.json.format(msgspec.json.encode(record), indent=1))
    writer = _Writer(folder / "runs", record, np.random.default_rng(seed), noise, measured_s)
    for one in (baseline, *made):
        writer.screen(one)
    if blocks == 0:
        return record
    for one in (baseline, *raced):
        writer.tune(one)
        if online and slo_s is not None:
            writer.search(one)
    for block in range(blocks):
        level = "unstable" if block < unstable_blocks else "valid"
        common = float(np.exp(writer.rng.normal(0, drift)))
        for role, one in (("baseline", baseline), ("repeat", baseline), *(("candidate", m) for m in raced)):
            writer.turn("blocks", one, role, block, common, level, online)
    for block in range(confirmations):
        common = float(np.exp(writer.rng.normal(0, drift)))
        for role, one in (("baseline", baseline), ("candidate", raced[0])):
            writer.turn("confirmation", one, role, block, common, "valid", online)
    if loads:
        writer.offer(baseline, (Named("single"),))
        writer.offer(raced[0], (Named("single"), raced[0].policy))
    return record


LOADS = (0.05, 0.25, 0.5, 0.7, 0.85, 0.95, 1.05, 1.3, 1.6, 2.0)
"""Offered rates as shares of the batch throughput at size 16."""
_MEASURED = 7


def _simulated(one: Made, p: float, slo_s: float) -> tuple[LoadPoint, ...]:
    """What a study didn't measure: `window` at all rates (as if its timer only delayed), `dynamic` at the last ones."""
    found = []
    window = msgspec.structs.replace(one, fixed_s=one.fixed_s + 0.005)
    for policy, made, shares in ((Named("window"), window, LOADS), (one.policy, one, LOADS[_MEASURED:])):
        for share in shares:
            rate = round(share * 16 / one.seconds(16), 3)
            latency_s = simulate(made, rate, 800, np.random.default_rng(3), 1.0).latency_ns * 1e-9
            found.append(
                LoadPoint(
                    variant=one.variant.name,
                    policy=policy,
                    label=short(policy),
                    rate=rate,
                    quantile_s=float(np.quantile(latency_s, p, method="inverted_cdf")),
                    p50_s=float(np.median(latency_s)),
                    goodput=rate * float(np.mean(latency_s <= slo_s)),
                    simulated=True,
                    n=len(latency_s),
                )
            )
    return tuple(found)


class _Writer:
    def __init__(
        self, runs: Path, record: StudyRecord, rng: np.random.Generator, noise: float, measured_s: float
    ) -> None:
        self.runs, self.record, self.rng, self.noise, self.measured_s = runs, record, rng, noise, measured_s
        self.count = 0
        self._crossing: dict[str, float] = {}

    def screen(self, one: Made) -> None:
        extra: dict[str, Any] = {"set_up": _set_up(one), "quality": _quality(one, self.record)}
        if one.status != "ok":
            shown = extra if one.status == "refused" else {}
            self._write(one, "screening", "candidate", None, **shown)
            return
        role = "baseline" if one.variant.name == self.record.baseline else "candidate"
        self._write(one, "screening", role, self.single(one, self._run()), target="latency", **extra)
        self._write(one, "screening", role, self.offline(one, 8, self._run()), target="batch", size=8, **extra)

    def tune(self, one: Made) -> None:
        role = "baseline" if one.variant.name == self.record.baseline else "candidate"
        for size in SIZES:
            self._write(one, "tuning", role, self.offline(one, size, self._run()), target="batch", size=size)

    def search(self, one: Made) -> None:
        role = "baseline" if one.variant.name == self.record.baseline else "candidate"
        for share in (0.5, 0.75, 1.12):
            rate = round(self.crossing(one) * share, 3)
            self._write(one, "tuning", role, self.server(one, rate, self._run()), target="online", rate=rate)

    def turn(self, phase: str, one: Made, role: str, block: int, common: float, level: str, online: bool) -> None:
        common *= self._run()
        where: dict[str, Any] = {"block": block, "validity": level}
        self._write(one, phase, role, self.single(one, common), target="latency", **where)
        self._write(one, phase, role, self.offline(one, 16, common), target="batch", size=16, **where)
        if online and self.record.slo_s is not None:
            rate = round(self.crossing(one) * float(np.exp(self.rng.uniform(-0.08, 0.08))), 3)
            self._write(one, phase, role, self.server(one, rate, self._run()), target="online", rate=rate, **where)

    def offer(self, one: Made, policies: tuple[Named, ...]) -> None:
        """Trials of the load curve; no comparison uses them, so they have no target."""
        role = "baseline" if one.variant.name == self.record.baseline else "candidate"
        for policy in policies:
            made = msgspec.structs.replace(one, policy=policy)
            for share in LOADS[:_MEASURED]:
                rate = round(share * 16 / one.seconds(16), 3)
                trace = self.server(made, rate, self._run())
                scenario = Named("server", {"rate": rate})
                self._write(made, "load", role, trace, scenario=scenario, batching=policy, latency="from schedule")

    def crossing(self, one: Made) -> float:
        """The rate at which the quantile meets the limit, by simulation."""
        if one.variant.name in self._crossing:
            return self._crossing[one.variant.name]
        low, high = 1.0, 3.0 / one.item_s
        limit_ns = (self.record.slo_s or 0.015) * 1e9
        for _ in range(14):
            rate = (low * high) ** 0.5
            trace = simulate(one, rate, 3000, np.random.default_rng(1), 1.0)
            q = np.quantile(trace.latency_ns, self.record.slo_p, method="inverted_cdf")
            low, high = (rate, high) if q <= limit_ns else (low, rate)
        self._crossing[one.variant.name] = low
        return low

    def _run(self) -> float:
        return float(np.exp(self.rng.normal(0, self.noise)))

    def single(self, one: Made, factor: float) -> Trace:
        n = max(20, int(self.measured_s / one.seconds(1)))
        service = np.round(_noisy(self.rng, n + 10) * one.seconds(1) * factor * 1e9).astype(np.int64)
        finished = np.cumsum(service + 2_000)
        due = finished - service
        return _trace(due, due + 500, due + 900, finished, np.arange(n + 10), np.ones(n + 10), warmup=10)

    def offline(self, one: Made, size: int, factor: float) -> Trace:
        n = max(4 * size, int(self.measured_s / one.seconds(size)) * size)
        batch = np.arange(n) // size
        each = _noisy(self.rng, int(batch[-1]) + 1) * one.seconds(size) * factor * 1e9
        ends = np.cumsum(np.round(each)).astype(np.int64)
        begins = ends - np.round(each).astype(np.int64)
        zeros = np.zeros(n, np.int64)
        return _trace(zeros, begins[batch], begins[batch], ends[batch], batch, np.full(n, size))

    def server(self, one: Made, rate: float, factor: float) -> Trace:
        return simulate(one, rate, max(400, int(rate * 2 * self.measured_s)), self.rng, factor)

    def _write(
        self,
        one: Made,
        phase: str,
        role: str,
        trace: Trace | None,
        *,
        target: str | None = None,
        size: int = 1,
        rate: float | None = None,
        **extra: Any,
    ) -> None:
        self.count += 1
        run_id = f"{self.count:04d}-{phase}-{one.variant.name.replace(' ', '-')}-{target or 'none'}"
        digest = trace.save(self.runs / f"{run_id}.npz") if trace is not None else None
        scenario = {"latency": Named("single_stream"), "batch": Named("offline"), None: None}
        data = {
            "run_id": run_id,
            "study_id": self.record.study_id,
            "phase": phase,
            "variant": one.variant,
            "role": role,
            "status": one.status,
            "created_unix_ns": START_NS + self.count * 1_000_000_000,
            "target": target,
            "scenario": Named("server", {"rate": rate}) if rate is not None else scenario[target],
            "batching": _batching(one, target, size),
            "latency": "from schedule" if target == "online" else "closed loop" if target == "latency" else None,
            "reason": one.reason,
            "next_step": one.next_step,
            "log_tail": one.log_tail,
            "trace": f"{run_id}.npz" if trace is not None else None,
            "trace_sha256": digest,
            "env_id": self.record.env_id,
            **_measured(one, trace),
            **extra,
        }
        msgspec.convert(data, Result, from_attributes=True).save(self.runs)


def simulate(one: Made, rate: float, n: int, rng: np.random.Generator, factor: float) -> Trace:
    """Poisson arrivals, n in n / rate seconds, at workers that take what is due, up to the policy's size."""
    gaps = rng.exponential(size=n + 1)
    due = np.round(n / rate * 1e9 * np.cumsum(gaps)[:n] / gaps.sum()).astype(np.int64)
    largest = int(one.policy.fields.get("max_size", 1))
    columns = {c: np.zeros(n, np.int64) for c in ("started", "finished", "batch", "batch_size")}
    free = [0] * one.variant.instances
    spread = _noisy(rng, n)
    i = number = 0
    while i < n:
        begin = max(heapq.heappop(free), int(due[i]))
        take = min(largest, int(np.searchsorted(due, begin, side="right")) - i)
        end = begin + round(one.seconds(take) * factor * spread[i] * 1e9)
        for name, value in (("started", begin), ("finished", end), ("batch", number), ("batch_size", take)):
            columns[name][i : i + take] = value
        heapq.heappush(free, end)
        i, number = i + take, number + 1
    return _trace(
        due, columns["started"], columns["started"], *(columns[c] for c in ("finished", "batch", "batch_size"))
    )


def _noisy(rng: np.random.Generator, n: int) -> np.ndarray[Any, Any]:
    return np.exp(np.abs(rng.normal(0, 0.03, n)) - 0.0202)


def _trace(due: Any, taken: Any, started: Any, finished: Any, batch: Any, size: Any, *, warmup: int = 0) -> Trace:
    n = len(due)
    cold = (np.arange(n) < warmup).astype(np.int64)
    columns = {"due": due, "taken": taken, "started": started, "finished": finished, "batch": batch}
    columns |= {"batch_size": size, "sample": np.arange(n) % 256, "status": np.zeros(n), "warmup": cold}
    return Trace(**{k: np.asarray(v).astype(np.int64) for k, v in columns.items()})


def _batching(one: Made, target: str | None, size: int) -> Named | None:
    if target is None:
        return None
    if target == "online":
        return one.policy
    return Named("fixed", {"size": size}) if target == "batch" else Named("single")


def _measured(one: Made, trace: Trace | None) -> dict[str, Any]:
    if trace is None:
        return {}
    steal = Witness(
        id="W1",
        value=0.004,
        warn=0.01,
        unstable=0.03,
        invalid=0.2,
        level="ok",
        sentence="0.4 % of the processors' time was taken by other guests",
    )
    return {
        "process": "fresh",
        "effective": Effective(precision=one.precision, threads=2, provider="CPU"),
        "memory": Memory(
            peak_import_bytes=90_000_000,
            peak_load_bytes=110_000_000 + 4 * one.artefact_bytes,
            peak_run_bytes=130_000_000 + 6 * one.artefact_bytes,
            private_bytes=100_000_000,
        ),
        "cpu_s": float(trace.finished.max()) * 1.7e-9,
        "wall_s": float(trace.finished.max()) * 1e-9,
        "artefact_bytes": one.artefact_bytes,
        "witnesses": (steal,),
        "witness_missing": ("cpufreq",),
        "check": Check(checked=16, mismatched=0, limit=0.01, largest=0.002),
        "seed": 0,
        "trial": 0,
    }


def _set_up(one: Made) -> SetUp:
    return SetUp(
        load_s=0.21,
        export_s=None if one.variant.backend.name in ("eager", "inductor") else 3.4,
        compress_s=one.compress_s,
        compile_s=one.compile_s,
        import_s=0.35 if one.variant.backend.name == "onnxruntime" else 1.2,
        open_s=0.08,
        first_run_s=0.02,
    )


def _quality(one: Made, record: StudyRecord) -> Quality:
    failing = one.status == "refused"
    if record.synthetic or record.source.random_weights or record.metric is None:
        return Quality(
            outcome="fails" if failing else "passes",
            rule="median SQNR >= 20 dB (a correctness check)",
            samples=256,
            sqnr_db=one.sqnr_db,
            sqnr_p1_db=one.sqnr_db - 4,
            sqnr_min_db=one.sqnr_db - 6,
            synthetic=record.synthetic,
            random_weights=record.source.random_weights,
        )
    drop = round(BASELINE.accuracy - one.accuracy, 6)
    return Quality(
        outcome="fails" if failing else "unresolved" if one.unresolved else "passes",
        rule="accuracy drop <= 1.0 percentage point",
        reason=one.reason if failing else "",
        samples=LABELLED,
        metric="accuracy",
        value=one.accuracy,
        low=one.accuracy - 0.014 if not failing else 0.073,
        high=min(1.0, one.accuracy + 0.009) if not failing else 0.129,
        reference_value=BASELINE.accuracy,
        drop=drop,
        drop_low=drop - 0.007,
        drop_high=drop + (0.0105 if one.unresolved else 0.007),
        agreement=0.1 if failing else 0.9955,
        agreement_low=0.07 if failing else 0.984,
        agreement_high=0.13 if failing else 0.9995,
        sqnr_db=one.sqnr_db,
        sqnr_p1_db=one.sqnr_db - 4,
        sqnr_min_db=one.sqnr_db - 6,
        cosine=0.999,
        cosine_min=0.99,
        max_abs_error=0.2,
        needed=1100 if one.unresolved else None,
    )


def _record(
    baseline: Made,
    made: Sequence[Made],
    seed: int,
    profile: str,
    slo_p: float,
    slo_s: float | None,
    synthetic: bool,
    random_weights: bool,
    labels: bool,
) -> StudyRecord:
    return StudyRecord(
        study_id="20261122-digits-0",
        name="digits",
        created_unix_ns=START_NS,
        source=Source(kind="torch", name="digits", location="demo", sha256="5e" * 32, random_weights=random_weights),
        signature=Signature(
            inputs=(Tensor("image", "float32", ("batch", 1, 32, 32)),),
            outputs=(Tensor("scores", "float32", ("batch", 10)),),
            batch="any",
        ),
        facts=Facts(
            kind="convolutional",
            parameters=970_000,
            weight_bytes=3_880_000,
            operators={"Add": 8, "Conv": 20, "Gemm": 1, "Relu": 17},
            macs_per_item=143_000_000,
            depthwise_share=0.0,
            quantized=False,
            forms=("torch", "onnx", "openvino"),
        ),
        machine=Machine(
            cpu="AMD EPYC 9R14",
            cores=2,
            logical_cpus=2,
            flags=("avx2", "avx512_bf16", "avx512_vnni", "avx512f"),
            memory_bytes=8_000_000_000,
            quota_cores=None,
            kernel="6.18.0",
            hypervisor="KVM",
            python="3.11.9",
            packages={"numpy": "2.4.6", "onnxruntime": "1.23.2", "openvino": "2026.0.0", "torch": "2.13.0"},
            missing=("cpufreq",),
        ),
        env_id="c0ffee",
        accel_version="0.1.0",
        command="accel bench demo --slo p90=15ms --budget 5m --seed 0",
        profile=profile,
        target="both",
        budget_s=300.0,
        seed=seed,
        accuracy_drop=0.01,
        samples_count=705,
        evaluation_count=LABELLED,
        calibration_count=256,
        synthetic=synthetic,
        metric="accuracy" if labels and not synthetic else None,
        slo_p=slo_p,
        slo_s=slo_s,
        slo_assumed=slo_s is None,
        baseline=baseline.variant.name,
        variants=(baseline.variant, *(m.variant for m in made)),
        slo_text="p90=15ms" if slo_s is not None else "",
        reference_note="eager FP32, one thread",
        not_bought=("batch sizes of inductor were not tuned: `--budget 8m` would",),
        finished_unix_ns=START_NS + 291_000_000_000,
        elapsed_s=291.0,
    )
