"""The smallest memory: by hand-made peaks, paired by block; nobody who is slower beyond the limit wins."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from scipy.stats import t

from accel.analysis import memory
from accel.analysis.conclusion import Answer, Conclusion
from accel.analysis.findings import findings
from accel.analysis.paired import Floor
from accel.analysis.reading import conclude
from accel.result import Memory, Result
from tests.synthetic import BASELINE, Made, synthetic_study, variant

MB = 1_000_000
FAST = Made(variant=variant("fast", "openvino"), item_s=0.0017)
SMALL = Made(variant=variant("small", "onnxruntime"), item_s=0.0041)
SLOW = Made(variant=variant("slow", "inductor"), fixed_s=0.003, item_s=0.009)
PEAKS = {"original": 400, "fast": 300, "small": 200, "slow": 100}


def study(folder: Path, peaks: dict[str, float], *, target: str = "memory", **more: Any) -> Conclusion:
    """A finished study whose runs held these megabytes, give or take 1 % from block to block for everyone alike."""
    record = synthetic_study(folder, variants=(FAST, SMALL, SLOW), online=False, **more)
    record = msgspec.structs.replace(record, target=target, left={})
    results = []
    for path in sorted((folder / "runs").glob("*.json")):
        result = Result.load(path)
        mood = 1 + 0.01 * ((result.block or 0) % 3)
        held = Memory(peak_run_bytes=round(peaks[result.variant.name] * mood * MB))
        results.append(msgspec.structs.replace(result, memory=held))
    return conclude(record, results, folder / "runs")


def test_the_smallest_that_is_not_slower_wins(tmp_path: Path) -> None:
    found = study(tmp_path, PEAKS)
    assert found.memory is not None
    assert (found.batch, found.online) == (None, None), "nobody asked for them"
    assert (found.memory.winner, found.memory.keeps_baseline) == ("small", False), "`slow` holds less but is slower"
    ratio = found.memory.less_memory
    assert ratio is not None
    assert ratio.value == pytest.approx(2.0, rel=1e-6), "what the machine does to both falls out"
    assert (ratio.low, ratio.high) == pytest.approx((2 * math.exp(-0.005), 2 * math.exp(0.005))), "equal peaks"
    assert "2.000× [1.990–2.010] less than the original" in found.memory.sentence
    assert found.headline.startswith("Use small: ")
    assert "less memory" in found.headline
    assert found.subline.startswith("95 %: 1.990–2.010×, "), "of the memory, as the headline's number is"


def test_what_only_matters_online_or_in_batches_is_not_said(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    record = msgspec.structs.replace(synthetic_study(folder, blocks=0), slo_assumed=True, slo_s=0.02)
    signature = msgspec.structs.replace(record.signature, batch=4)
    said: dict[str, list[str]] = {}
    for target in ("memory", "both"):
        asked = msgspec.structs.replace(record, target=target, signature=signature)
        won = Answer(
            target="batch", winner="fast", keeps_baseline=False, speedup=None, sentence="", evidence="screening"
        )
        found = findings([], [won], asked, [], {"latency": Floor(), "batch": Floor()})
        said[target] = [f.what for f in found if "latency limit" in f.what or "takes a batch of" in f.what]
    assert (len(said["both"]), said["memory"]) == (2, [])


def test_by_whom_it_is_beaten_is_said(tmp_path: Path) -> None:
    found = study(tmp_path, PEAKS)
    assert set(found.left) == {"fast", "slow"}
    assert found.left["slow"].startswith("It reached 0.2500× [0.2488–0.2513] the original's memory; ")
    assert "SLOWER" in found.left["slow"]
    assert found.left["slow"].endswith("the answer is `small`.")


def test_where_nothing_is_smaller_the_original_stays(tmp_path: Path) -> None:
    found = study(tmp_path, {"original": 400, "fast": 398, "small": 500, "slow": 100})
    assert found.memory is not None
    assert (found.memory.winner, found.memory.keeps_baseline) == ("original", True)
    assert found.headline == "Keep your model: nothing was shown to need less memory and not to be slower."
    assert "The nearest was `slow`: 4.00× [3.98–4.02] less" in found.memory.sentence


def test_what_nobody_asked_for_is_not_there(tmp_path: Path) -> None:
    found = study(tmp_path, PEAKS, target="both")
    assert found.memory is None
    assert all(row.memory is None and row.less_memory is None for row in found.rows)


def test_the_interval_is_that_of_the_logarithms() -> None:
    class Run:
        def __init__(self, block: int, held: float) -> None:
            fields = {"target": "latency", "phase": "blocks", "block": block, "role": "candidate", "trial": 0}
            self.result = type("R", (), {**fields, "memory": Memory(peak_run_bytes=round(held * MB))})()

    base = [Run(0, 400), Run(1, 410), Run(2, 390)]
    one = [Run(0, 200), Run(1, 200), Run(2, 200)]
    found = memory.ratio(base, one)  # type: ignore[arg-type]
    assert found is not None
    logs = np.log([2.0, 2.05, 1.95])
    half = t.ppf(0.975, 2) * logs.std(ddof=1) / math.sqrt(3)
    assert (found[1], found[0].n) == ("blocks", 3)
    assert found[0].low == pytest.approx(math.exp(logs.mean() - half))
    assert found[0].high == pytest.approx(math.exp(logs.mean() + half))


def test_before_the_blocks_rounds_are_paired_and_else_the_first_looks() -> None:
    class Run:
        def __init__(self, phase: str, trial: int, held: float) -> None:
            fields = {"target": "latency", "phase": phase, "block": None, "role": "candidate", "trial": trial}
            self.result = type("R", (), {**fields, "memory": Memory(peak_run_bytes=round(held * MB))})()

    base = [Run("screening", 0, 900), Run("tuning", 1, 400), Run("tuning", 2, 440)]
    turned = [Run("screening", 0, 100), Run("tuning", 1, 200), Run("tuning", 2, 220)]
    found = memory.ratio(base, turned)  # type: ignore[arg-type]
    assert found is not None
    assert (found[0].n, found[1]) == (2, "screening")
    assert found[0].value == pytest.approx(2.0), "not nine times, as a first look after batches of eight would have it"
    looked = memory.ratio(base, [Run("screening", 0, 300)])  # type: ignore[arg-type]
    assert looked is not None
    assert (looked[0].value, looked[0].low, looked[0].n) == (pytest.approx(3.0), None, 1)


def test_less_by_less_than_two_percent_is_nothing() -> None:
    row = type("Row", (), {"less_memory": type("E", (), {"value": 1.03, "low": 1.01})()})()
    assert not memory._is_less(row)  # type: ignore[arg-type]
    row.less_memory.low = 1.025
    assert memory._is_less(row)  # type: ignore[arg-type]
    assert BASELINE.variant.name == "original"
