"""A study by hand, as a report would meet it: the demo CNN with nine variants, one of each kind of bad news."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import Any

import msgspec
import numpy as np

from accel.analysis import Estimate
from accel.analysis.batch_curve import BatchCurve, batch_curve
from accel.analysis.conclusion import Answer, Comparison, Conclusion, Finding, Online, Row, Step, StudyRecord
from accel.analysis.cost_table import cost_table
from accel.analysis.load_curve import LoadPoint
from accel.analysis.policy import short
from accel.analysis.roles import ITEMS, Role, Roles
from accel.compilation import Effective
from accel.measurement.machine import Machine
from accel.measurement.trace import Trace
from accel.model import Facts, Signature, Source, Tensor
from accel.plugins import Named
from accel.recipe import Variant
from accel.result import Quality, SetUp

CREATED_NS = 1_795_343_400_000_000_000  # 22 Nov 2026, 10:30 UTC
SIZES = (1, 2, 4, 8, 16, 32)


def estimate(value: float, spread: float, unit: str, **other: Any) -> Estimate:
    """value with a relative half-width of `spread`."""
    fields = {"n": 6, "method": "t-interval over 6 blocks", **other}
    return Estimate(value=value, low=value * (1 - spread), high=value * (1 + spread), unit=unit, **fields)


def comparison(ratio: float, verdict: str, spread: float = 0.04, **other: Any) -> Comparison:
    fields = {"delta": 0.05, "evidence": "blocks", **other}
    return Comparison(ratio=estimate(ratio, spread, "×"), verdict=verdict, **fields)  # type: ignore[arg-type]


def quality(value: float, outcome: str = "passes", **other: Any) -> Quality:
    fields = {
        "rule": "accuracy drop at most 1 percentage point",
        "samples": 899,
        "metric": "accuracy",
        "value": value,
        "low": max(0.0, value - 0.011),
        "high": min(1.0, value + 0.008),
        "reference_value": 0.984,
        "drop": 0.984 - value,
        "drop_low": 0.984 - value - 0.003,
        "drop_high": 0.984 - value + 0.003,
        "agreement": 0.998,
        "agreement_low": 0.992,
        "agreement_high": 1.0,
        "sqnr_db": 31.4,
        **other,
    }
    return Quality(outcome=outcome, **fields)  # type: ignore[arg-type]


def online(rate: float, policy: str, service_s: float, *, predicted: bool = False) -> Online:
    """A capacity with trials that rise as a queue's tail does."""
    trials = []
    for share in (0.2, 0.45, 0.65, 0.8, 0.9, 0.97, 1.03, 1.08):
        level = "unstable" if share > 1.05 else "valid"
        bend = 0.16 * (0.02 / service_s - 1)  # so that the curve meets 20 ms at `rate`
        trials.append((rate * share, service_s * (1 + bend * share / (1.16 - share)), level))
    last = trials[5][1]
    return Online(
        rate=estimate(rate, 0.04, "1/s"),
        policy=policy,
        predicted=predicted,
        trials=tuple(trials),
        p50=estimate(service_s * 1.1, 0.03, "s"),
        p90=estimate(last, 0.05, "s"),
        p99=estimate(last * 1.4, 0.08, "s"),
    )


def by_size(best: float, half_at: float) -> dict[int, Estimate]:
    return {b: estimate(best * b / (b + half_at), 0.03, "1/s") for b in SIZES}


def row(name: str, backend: str, p50: float, rate: float, **other: Any) -> Row:
    """An ordinary variant: latency p50 in seconds, `rate` items a second at its best batch size."""
    sizes = by_size(rate * 1.1, 1.2)
    compression = other.pop("compression", ())
    fields: dict[str, Any] = {
        "variant": Variant(name=name, backend=Named(backend, other.pop("knobs", {})), compression=compression),
        "status": "ok",
        "evidence": "blocks",
        "p50": estimate(p50, 0.02, "s"),
        "p90": estimate(p50 * 1.2, 0.03, "s"),
        "p99": estimate(p50 * 1.7, 0.08, "s"),
        "throughput": sizes[16],
        "batch_size": 16,
        "throughput_by_size": sizes,
        "latency_by_size": {b: estimate(b / e.value, 0.03, "s") for b, e in sizes.items()},
        "quality": quality(0.984),
        "set_up": SetUp(
            load_s=0.4, export_s=2.1, compress_s=1.8, compile_s=0.7, import_s=0.35, open_s=0.2, first_run_s=0.05
        ),
        "effective": Effective(precision="f32", threads=2, provider="CPU", detail={"streams": "1"}),
        "artefact_bytes": 3_600_000,
        "memory_bytes": 212_000_000,
        **other,
    }
    return Row(name=name, **fields)


def rows() -> tuple[Row, ...]:
    int8 = (Named("quantize_static"),)
    return (
        row(
            "torch eager",
            "eager",
            0.0124,
            118.0,
            is_baseline=True,
            evidence="confirmation",
            online=online(61.0, "single", 0.0125),
            memory_bytes=402_000_000,
            set_up=SetUp(load_s=0.4, import_s=1.6, open_s=0.3, first_run_s=0.09),
        ),
        row(
            "OpenVINO INT8",
            "openvino",
            0.00271,
            704.0,
            compression=int8,
            evidence="confirmation",
            online=online(296.0, str(DYNAMIC), 0.0028),
            quality=quality(0.983),
            artefact_bytes=1_000_000,
            memory_bytes=168_000_000,
            effective=Effective(precision="i8", threads=2, provider="CPU", detail={"streams": "2"}),
            speedup_latency=comparison(4.58, "FASTER"),
            speedup_batch=comparison(5.97, "FASTER", evidence="confirmation"),
            speedup_online=comparison(4.85, "FASTER", evidence="confirmation"),
            set_up=SetUp(
                load_s=0.4,
                export_s=2.2,
                compress_s=4.9,
                compile_s=1.1,
                import_s=0.31,
                open_s=0.24,
                first_run_s=0.02,
                cached=True,
            ),
        ),
        row(
            "ORT INT8",
            "onnxruntime",
            0.00348,
            511.0,
            compression=int8,
            online=online(214.0, "dynamic(max_size=8)", 0.0036),
            quality=quality(0.981, "unresolved", needed=2100),
            artefact_bytes=1_000_000,
            speedup_latency=comparison(3.56, "FASTER"),
            speedup_batch=comparison(4.33, "FASTER"),
            speedup_online=comparison(3.51, "FASTER"),
        ),
        row(
            "OpenVINO bf16",
            "openvino",
            0.00702,
            246.0,
            knobs={"precision": "bf16"},
            evidence="screening",
            speedup_latency=comparison(1.77, "FASTER", 0.11, evidence="screening"),
            speedup_batch=comparison(2.08, "FASTER", 0.1, evidence="screening"),
        ),
        row(
            "torch.compile",
            "inductor",
            0.0121,
            121.0,
            evidence="screening",
            speedup_latency=comparison(1.02, "EQUIVALENT", 0.03, evidence="screening"),
            speedup_batch=comparison(1.03, "INCONCLUSIVE", 0.09, evidence="screening", reason="interval too wide"),
        ),
        row(
            "dynamic INT8 (trap)",
            "onnxruntime",
            0.0442,
            29.0,
            compression=(Named("quantize_dynamic"),),
            evidence="screening",
            quality=quality(0.982),
            speedup_latency=comparison(0.28, "SLOWER", evidence="screening"),
            speedup_batch=comparison(0.25, "SLOWER", evidence="screening"),
            notes=("Dynamic INT8 has no fast kernel for convolutions here.",),
        ),
        row(
            "distribution calibration (trap)",
            "onnxruntime",
            0.00351,
            508.0,
            compression=(Named("quantize_static", {"calibration": "distribution"}),),
            evidence="screening",
            status="refused",
            reason="accuracy 0.984 -> 0.098, which is more than 1 percentage point",
            next_step="leave `calibration` at its default, `minmax`",
            quality=quality(0.098, "fails"),
            speedup_latency=comparison(3.53, "FASTER", evidence="screening"),
            speedup_batch=comparison(4.31, "FASTER", evidence="screening"),
        ),
        Row(
            name="OpenVINO INT8 8 streams",
            variant=Variant(
                name="OpenVINO INT8 8 streams", backend=Named("openvino", {"streams": 8}), compression=int8
            ),
            status="failed",
            reason="crashed with SIGSEGV while compiling",
            next_step="try `--backend openvino:streams=2`",
            evidence="none",
            set_up=SetUp(load_s=0.4),
            log_tail="[ INFO ] compiling for CPU\nSegmentation fault (core dumped)",
        ),
        Row(
            name="ORT fp16",
            variant=Variant(
                name="ORT fp16", backend=Named("onnxruntime"), compression=(Named("lower_precision", {"to": "f16"}),)
            ),
            status="wrong",
            reason="outputs differ from the reference by 0.31 (limit 0.05)",
            next_step="keep `Resize` in FP32",
            evidence="none",
        ),
        Row(
            name="torchao INT8",
            variant=Variant(name="torchao INT8", backend=Named("inductor"), compression=(Named("quantize_dynamic"),)),
            status="skipped",
            reason="needs the package `torchao`, which is not installed",
            next_step="pip install torchao",
            evidence="none",
        ),
    )


DYNAMIC = Named("dynamic", {"max_size": 16, "slo_s": 0.02, "drop": "early", "curve": [[1, 0.0028], [16, 0.0222]]})
POLICIES = (Named("single"), Named("early_commit"), Named("window"), DYNAMIC)


def role(target: str, variant: str = "OpenVINO INT8", items: float = 720.0, rate: float = 296.0, **other: Any) -> Role:
    """A winner in both roles; what the limit costs is worked out from its two rates."""
    job, claim = estimate(items, 0.03, "1/s"), estimate(rate, 0.04, "1/s")
    busy = other.pop("utilisation", estimate(0.71, 0.03, "1"))
    price = other.pop("price_per_h", None)
    cost = cost_table(items=job, rate=claim, utilisation=busy, start_s=0.57, price_per_h=price, count=ITEMS)
    fields: dict[str, Any] = {
        "batch_size": 16,
        "items": job,
        "job_s": estimate(1e6 / items + 0.57, 0.03, "s"),
        "policy": str(DYNAMIC),
        "rate": claim,
        "p50_s": estimate(0.0041, 0.03, "s"),
        "p99_s": estimate(0.0187, 0.05, "s"),
        "utilisation": busy,
        "start_s": 0.57,
        "slo_cost": estimate(1 - rate / items, 0.06, "1"),
        "cost": cost,
        **other,
    }
    return Role(target=target, variant=variant, **fields)  # type: ignore[arg-type]


def roles(**other: Any) -> Roles:
    """One variant is best in both roles; `batch` and `online` replace either."""
    why = ("`OpenVINO INT8` is best in both roles.", "The limit costs it 59 % [55–62] of its batch throughput.")
    given = {"batch": role("batch"), "online": role("online"), "slo_p": 0.9, "slo_s": 0.02, "same": True, "why": why}
    return Roles(**{**given, **other})


def two_winners() -> Roles:
    """Another variant for batch jobs, and something about it that isn't known."""
    unknown = {"utilisation": None, "missing": ("How busy it is, nobody knows.",)}
    other = role("batch", "ORT INT8", 790.0, 214.0, price_per_h=0.2, **unknown)
    online = role("online", price_per_h=0.2)
    return roles(batch=other, online=online, same=False, why=("Batch jobs: `ORT INT8`. Online: `OpenVINO INT8`.",))


def load_points(variant: str = "OpenVINO INT8", *, simulated: tuple[str, ...] = ("early_commit",)) -> list[LoadPoint]:
    """Policies from idle to twice 720 requests/s: a wait in front, a batch that fills, and a queue that runs away."""
    shape = {"single": (0.0, 1 / 0.0028), "early_commit": (0.01, 560.0), "window": (0.01, 610.0), "dynamic": (0, 700.0)}
    found = []
    for policy in POLICIES:
        wait_s, most = shape[policy.name]
        for load in (0.02, 0.1, 0.25, 0.4, 0.6, 0.8, 0.95, 1.2, 1.6, 2.0):
            rate, free = 720.0 * load, 1 - 720.0 * load / most
            drops = policy.name == "dynamic" and free <= 0.02
            late = None if free <= 0.0 else (wait_s + 0.0033 + 0.0009 / free)
            good = rate if late is not None and late <= 0.02 else most if drops else max(0.0, most * free * 2 + most)
            found.append(
                LoadPoint(
                    variant=variant,
                    policy=policy,
                    label=short(policy),
                    rate=rate,
                    quantile_s=late,
                    p50_s=None if late is None else 0.6 * late,
                    goodput=min(rate, good),
                    dropped=max(0.0, 1 - most / rate) if drops else 0.0,
                    utilisation=min(1.0, rate / most),
                    level="unstable" if load == 0.95 and policy.name == "window" else "valid",
                    simulated=policy.name in simulated,
                    trials=1,
                    n=400,
                )
            )
    return found


def by_length(variant: str = "OpenVINO INT8") -> tuple[BatchCurve, ...]:
    """Short inputs gain from a batch, long ones don't."""
    found = []
    for bucket, fixed_s, item_s in (((3, 16), 0.004, 0.001), ((17, 64), 0.004, 0.004), ((65, 128), 0.0002, 0.02)):
        seconds = {b: estimate(fixed_s + b * item_s, 0.01, "s") for b in SIZES}
        items = {b: estimate(b / e.value, 0.01, "1/s") for b, e in seconds.items()}
        curve = batch_curve(variant, seconds, items, bucket=bucket)
        assert curve is not None
        found.append(curve)
    return tuple(found)


def record(given: tuple[Row, ...], **other: Any) -> StudyRecord:
    fields: dict[str, Any] = {
        "study_id": "demo-3f2a",
        "name": "demo",
        "created_unix_ns": CREATED_NS,
        "source": Source(kind="onnx", name="digits CNN", location="demo/digits.onnx", sha256="ab" * 32),
        "signature": Signature(
            inputs=(Tensor("image", "float32", ("batch", 1, 32, 32)),),
            outputs=(Tensor("logits", "float32", ("batch", 10)),),
            batch="any",
        ),
        "facts": Facts(
            kind="convolutional",
            parameters=912_000,
            weight_bytes=3_650_000,
            operators={"Conv": 20, "Relu": 19, "Add": 9, "Gemm": 1},
            macs_per_item=121_000_000,
            depthwise_share=0.0,
            quantized=False,
            forms=("onnx", "openvino"),
        ),
        "machine": Machine(
            cpu="AMD EPYC 9R14",
            cores=2,
            logical_cpus=2,
            flags=("avx2", "avx512f", "avx512_vnni", "avx512_bf16"),
            memory_bytes=8_200_000_000,
            quota_cores=2.0,
            kernel="6.1.0",
            hypervisor="kvm",
            python="3.11.9",
            packages={"numpy": "2.3.4", "onnxruntime": "1.23.2", "openvino": "2026.0.0", "torch": "2.13.0"},
            missing=("cpufreq", "thermal zones"),
        ),
        "env_id": "e41c0d",
        "accel_version": "0.1.0",
        "command": "accel bench demo --slo p90=20ms --seed 1 --out demo-study",
        "profile": "quick",
        "target": "both",
        "budget_s": 300.0,
        "seed": 1,
        "accuracy_drop": 0.01,
        "samples_count": 1797,
        "evaluation_count": 899,
        "calibration_count": 128,
        "synthetic": False,
        "metric": "accuracy",
        "slo_p": 0.9,
        "slo_s": 0.02,
        "slo_assumed": False,
        "slo_text": "p90 ≤ 20 ms",
        "baseline": "torch eager",
        "variants": tuple(r.variant for r in given),
        "reference_note": "ONNX Runtime, FP32, one thread, optimizations off",
        "not_bought": ("2 of 6 blocks for `ORT INT8` were not run; `--budget 8m` runs them.",),
        "finished_unix_ns": CREATED_NS + 291_000_000_000,
        "elapsed_s": 291.0,
        **other,
    }
    return StudyRecord(**fields)


def conclusion(**other: Any) -> Conclusion:
    """The whole example; any field can be replaced, and `record_...` replaces a field of the record."""
    given = other.pop("rows", rows())
    told = {k.removeprefix("record_"): other.pop(k) for k in list(other) if k.startswith("record_")}
    batch, at_rate = comparison(5.97, "FASTER"), comparison(4.85, "FASTER", evidence="confirmation")
    fields: dict[str, Any] = {
        "record": record(given, **told),
        "rows": given,
        "batch": Answer(
            target="batch",
            winner="OpenVINO INT8",
            keeps_baseline=False,
            speedup=batch,
            sentence="Batch: use OpenVINO INT8, 5.97x [5.7, 6.2] faster at batch 16, accuracy 0.983 (was 0.984).",
            evidence="confirmation",
        ),
        "online": Answer(
            target="online",
            winner="OpenVINO INT8",
            keeps_baseline=False,
            speedup=at_rate,
            sentence="Online: use OpenVINO INT8, 4.85x [4.7, 5.0] more requests/s within p90 <= 20 ms.",
            evidence="confirmation",
        ),
        "validity": "valid",
        "badge": "VALID · smallest difference shown here: 5 %",
        "smallest_difference": 0.05,
        "counts": {"tried": 10, "refused": 1, "wrong": 1, "failed": 1, "skipped": 1},
        "findings": findings(),
        "waterfall": waterfall(),
        "headline": "Use OpenVINO INT8: 4.9× faster online, accuracy unchanged.",
        "subline": "95 %: 4.7–5.0×, measured again afresh. 10 variants tried, 1 refused for accuracy, 1 failed.",
        "roles": roles(),
        "loads": tuple(load_points()),
        "batching": by_length(),
        **other,
    }
    return Conclusion(**fields)


_UNSEEN: dict[str, Any] = {"roles": None, "loads": (), "batching": ()}
"""What a study without an answer, or one made before there were roles, doesn't have."""


def findings() -> tuple[Finding, ...]:
    return (
        Finding(
            what="Distribution calibration is as fast but wrong",
            why="accuracy 0.984 → 0.098. Refused.",
            command="accel list quantize_static",
            weight=3.0,
        ),
        Finding(
            what="899 samples can't show that ORT INT8 loses less than 1 point",
            why="With 2,100 the verdict would be certain.",
            command="accel bench demo --samples more.npz",
            weight=2.0,
        ),
        Finding(
            what="Dynamic INT8 is 3.6× slower",
            why="It has no fast kernel for convolutions on this processor.",
            command="accel list quantize_dynamic",
            weight=1.0,
        ),
        Finding(what="A fourth finding", why="stays off the first screen.", weight=0.5),
    )


def waterfall() -> tuple[Step, ...]:
    return (
        Step(strategy="original", variant="torch eager", value=61.0, unit="1/s", ratio=None, shown=True),
        Step(
            strategy="compilation",
            variant="OpenVINO f32",
            value=112.0,
            unit="1/s",
            ratio=estimate(1.84, 0.05, "×"),
            shown=True,
        ),
        Step(
            strategy="compression",
            variant="OpenVINO INT8",
            value=288.0,
            unit="1/s",
            ratio=estimate(2.57, 0.05, "×"),
            shown=True,
        ),
        Step(
            strategy="batching",
            variant="OpenVINO INT8",
            value=296.0,
            unit="1/s",
            ratio=estimate(1.03, 0.06, "×"),
            shown=False,
        ),
    )


def trace(median_s: float, n: int, seed: int, warmup: int = 10) -> Trace:
    """A closed loop with lognormal service times."""
    rng = np.random.Generator(np.random.PCG64(seed))
    service = (median_s * np.exp(0.15 * rng.standard_normal(n)) * 1e9).astype(np.int64)
    finished = np.cumsum(service)
    started = finished - service
    ids = np.arange(n, dtype=np.int64)
    return Trace(
        due=started,
        taken=started,
        started=started,
        finished=finished,
        batch=ids,
        batch_size=np.ones(n, np.int64),
        sample=ids,
        status=np.zeros(n, np.int64),
        warmup=(ids < warmup).astype(np.int64),
    )


@cache
def traces() -> Mapping[str, Trace]:
    return {
        "torch eager": trace(0.0124, 1200, 1),
        "OpenVINO INT8": trace(0.00271, 4000, 2),
        "ORT INT8": trace(0.00348, 3000, 3),
    }


@cache
def odd_cases() -> dict[str, Conclusion]:
    """Everything that makes a first screen look different."""
    usual = conclusion()
    stays = {"keeps_baseline": True, "winner": "torch eager", "speedup": None}
    assert usual.batch is not None
    assert usual.online is not None
    only_first = tuple(msgspec.structs.replace(r, online=None) for r in usual.rows)
    lost = tuple(r for r in usual.rows if r.status in ("failed", "wrong", "skipped"))
    broken = tuple(
        msgspec.structs.replace(r, status="failed", reason="crashed with SIGKILL", evidence="none", **_nothing())
        for r in usual.rows[:2]
    )
    return {
        "usual": usual,
        "no winner": conclusion(
            headline="Keep your model: nothing was shown to be faster.",
            subline="",
            waterfall=(),
            batch=msgspec.structs.replace(usual.batch, sentence="Batch: keep torch eager.", **stays),
            online=msgspec.structs.replace(usual.online, sentence="Online: keep torch eager.", **stays),
        ),
        "no online": conclusion(
            online=None,
            rows=only_first,
            record_target="batch",
            record_slo_s=None,
            waterfall=(),
            loads=(),
            roles=roles(
                online=None, batch=msgspec.structs.replace(role("batch"), **_only_batch()), why=("No latency limit.",)
            ),
        ),
        "no batch": conclusion(batch=None, record_target="online", roles=roles(batch=None)),
        "older": conclusion(**_UNSEEN),
        "two winners": conclusion(roles=two_winners(), record_price_per_h=0.2),
        "synthetic": conclusion(
            record_synthetic=True,
            record_metric=None,
            headline="Speed only: inputs are synthetic, accuracy unknown.",
            rows=tuple(
                msgspec.structs.replace(r, quality=Quality(outcome="unmeasured", rule="", synthetic=True))
                if r.quality
                else r
                for r in usual.rows
            ),
        ),
        "random weights": conclusion(
            record_source=msgspec.structs.replace(usual.record.source, random_weights=True),
            rows=tuple(
                msgspec.structs.replace(
                    r,
                    quality=Quality(
                        outcome="passes", rule="SQNR at least 20 dB", sqnr_db=28.3, samples=64, random_weights=True
                    ),
                )
                if r.quality
                else r
                for r in usual.rows
            ),
        ),
        "interrupted": conclusion(record_interrupted=True, record_finished_unix_ns=None, record_elapsed_s=None),
        "screening": conclusion(
            smallest_difference=None,
            badge="SCREENING",
            validity="unstable",
            batch=msgspec.structs.replace(usual.batch, evidence="screening"),
            online=None,
            rows=tuple(msgspec.structs.replace(r, evidence="screening", online=None) for r in only_first),
            **_UNSEEN,
        ),
        "one open interval": conclusion(rows=(_open(usual.rows[0]), _open(usual.rows[1]), *usual.rows[2:])),
        "predicted": conclusion(
            rows=tuple(
                msgspec.structs.replace(r, online=msgspec.structs.replace(r.online, predicted=True, p99=None))
                if r.online
                else r
                for r in usual.rows
            )
        ),
        "everything failed": conclusion(
            rows=(*broken, *lost),
            batch=None,
            online=None,
            findings=(),
            waterfall=(),
            validity="invalid",
            badge="INVALID",
            smallest_difference=None,
            headline="Nothing could be measured.",
            subline="2 variants tried, 2 failed.",
            counts={"tried": 2, "refused": 0, "wrong": 0, "failed": 2, "skipped": 0},
            **_UNSEEN,
        ),
        "nothing yet": conclusion(
            rows=(),
            batch=None,
            online=None,
            findings=(),
            waterfall=(),
            counts={},
            badge="INVALID",
            validity="invalid",
            smallest_difference=None,
            record_interrupted=True,
            headline="Nothing was measured yet.",
            subline="",
            **_UNSEEN,
        ),
    }


def _nothing() -> dict[str, Any]:
    numbers = ("p50", "p90", "p99", "throughput", "batch_size", "online", "quality")
    speedups = ("speedup_latency", "speedup_batch", "speedup_online")
    return {**dict.fromkeys(numbers + speedups), "throughput_by_size": {}, "latency_by_size": {}}


def _only_batch() -> dict[str, Any]:
    """A role of which nothing is known online."""
    names = ("rate", "p50_s", "p99_s", "utilisation", "slo_cost")
    return {**dict.fromkeys(names), "policy": "", "missing": ("What it carries online is not known.",)}


def _open(given: Row) -> Row:
    assert given.p50 is not None
    assert given.p99 is not None
    return msgspec.structs.replace(
        given,
        p90=msgspec.structs.replace(given.p50, low=None, high=None, value=math.nan),
        p99=msgspec.structs.replace(given.p99, high=None),
    )


def hostile(text: str = "</script><script>alert(1)</script><img src=x onerror=alert(2)>") -> Conclusion:
    """The same study with an attack in every text field that can hold one."""
    usual = conclusion()
    winner = f"win {text}"

    def renamed(r: Row) -> Row:
        name = winner if r.name == "OpenVINO INT8" else f"{r.name} {text}"
        changed = {"reason": text, "next_step": text, "log_tail": text, "notes": (text,), "name": name}
        return msgspec.structs.replace(r, variant=msgspec.structs.replace(r.variant, name=name), **changed)

    assert usual.online is not None
    assert usual.batch is not None
    return conclusion(
        rows=tuple(renamed(r) for r in usual.rows),
        record_source=msgspec.structs.replace(usual.record.source, name=text, location=text),
        record_command=text,
        record_name=text,
        record_baseline=f"torch eager {text}",
        record_not_bought=(text,),
        record_machine=msgspec.structs.replace(usual.record.machine, cpu=text, packages={text: text}),
        headline=f"Use {winner}: {text}",
        subline=text,
        badge=text,
        findings=(Finding(what=text, why=text, command=text),),
        roles=_attacked(winner, text),
        loads=tuple(msgspec.structs.replace(p, label=text) for p in load_points(winner)),
        batching=by_length(winner),
        online=msgspec.structs.replace(usual.online, winner=winner, sentence=text),
        batch=msgspec.structs.replace(usual.batch, winner=winner, sentence=text),
        waterfall=tuple(msgspec.structs.replace(s, variant=text) for s in usual.waterfall),
    )


def _attacked(winner: str, text: str) -> Roles:
    """Roles that say an attack in every text field they have."""
    one = role("online", winner, policy=text, missing=(text,))
    assert one.cost is not None
    lines = tuple(msgspec.structs.replace(line, label=text, note=text) for line in one.cost.lines)
    cost = msgspec.structs.replace(one.cost, lines=lines, unit=text)
    return roles(batch=None, online=msgspec.structs.replace(one, cost=cost), why=(text,))
