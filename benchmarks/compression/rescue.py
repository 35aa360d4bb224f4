"""Real collapses of INT8, and what a rescue makes of them: accuracy before and after, and the share of the time kept.

    python -m benchmarks.compression.rescue search [--cases minilm-onnxruntime ...] [--minutes 10]
    python -m benchmarks.compression.rescue measure [--cases ...] [--waves 1]

`search` runs the rescue of each case in a child as a study does, on calibration and validation samples, and judges the
failing and the chosen form on the evaluation part. `measure` times FP32 (twice), the failing and the chosen form of the
same backend in turns; do it while nothing else runs. Both go on where they were. Results: reports/compression/.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from accel.analysis import Estimate
from accel.analysis.conclusion import Comparison
from accel.errors import AccelError
from accel.plugins import Named
from accel.recipe import Variant
from accel.rescue.record import Rescue
from accel.result import Quality, write_atomically
from accel.study.rescuer import Rescuer, keep
from benchmarks.batching.rows import Where
from benchmarks.compression.bench import Bench
from benchmarks.compression.reading import MIN_EFFECT, compared, pairs
from benchmarks.compression.rows import FOLDER, Cell, Timed
from benchmarks.compression.sittings import Sitting, sit, with_runs
from benchmarks.compression.ways import NONE, Way, variant_of
from benchmarks.subject import Ready, Subject, place

_BUDGET = "4h"
"""Only shares of it are used, for the answers of the reference."""
_ITEMS = Path(__file__).with_name("items.py")
_SAMPLES = {"minilm": f"{_ITEMS}:sentences", "ocr": f"{_ITEMS}:lines"}
_LONGEST_S = 1800.0
_RESAMPLES = 2000
_ALL_TYPES = ["Add", "Div", "Erf", "Gather", "Gemm", "LayerNormalization", "MatMul", "Mul", "Reshape", "Softmax", "Sub"]


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """A collapse that was seen: a recipe, a quantizer told to do what ruins it, and a backend."""

    model: str
    backend: str
    compression: tuple[Named, ...]


def _static(**fields: object) -> tuple[Named, ...]:
    return (Named("quantize_static", fields),)


CASES = {
    "minilm-onnxruntime": Case(
        model="minilm", backend="onnxruntime", compression=_static(operators=[*_ALL_TYPES, "Transpose", "Unsqueeze"])
    ),
    "minilm-openvino": Case(model="minilm", backend="openvino", compression=_static(model_type="none")),
    "ocr-openvino": Case(model="ocr", backend="openvino", compression=_static(model_type="none")),
    "ocr-onnxruntime": Case(
        model="ocr",
        backend="onnxruntime",
        compression=_static(operators=["Conv", "MatMul", "Gemm", "Add", "Mul", "Relu", "Softmax"]),
    ),
    "file_types-openvino": Case(model="file_types", backend="openvino", compression=_static(model_type="none")),
    "file_types-onnxruntime": Case(model="file_types", backend="onnxruntime", compression=_static()),
    "digits-onnxruntime": Case(
        model="digits",
        backend="onnxruntime",
        compression=_static(method="distribution", operators=["Conv", "Relu", "Add", "Gemm"]),
    ),
}
"""accel's own settings avoid these, so each is asked for by its fields."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One case. original, before, after: quality of FP32, the failing and the chosen form on the evaluation part.

    against: how many times as fast as the backend's FP32, by form ("before", "after") and target. kept: share of the
    time saved that is still saved, by target, with its 95 % interval (bootstrap over blocks).
    """

    case: str
    model: str
    backend: str
    random_weights: bool
    where: Where
    accuracy_drop: float
    evaluation: int
    rescue: Rescue
    original: Quality | None = None
    before: Quality | None = None
    after: Quality | None = None
    against: dict[str, dict[str, Comparison]] = {}
    kept: dict[str, Estimate] = {}


class Rescued(Bench):
    """A model with its reference answers on the evaluation and the validation part, and more items than its recipe."""

    def __init__(self, model: str) -> None:
        Subject.__init__(self, model, place() / "rescue" / model, budget=_BUDGET, samples=_SAMPLES.get(model))
        self.model = model

    def rescuer(self, on_stage: Callable[[str], Callable[[str], None]]) -> Rescuer:
        """What a study rescues with."""
        yardstick = self._reference(self.record, self._shop, self.context)
        return Rescuer(self.folder, self.record, self.context, self._shop, yardstick, on_stage)


def bench_of(case: Case) -> Rescued:
    """The subject of a case; what it prepares lies apart from that of the table."""
    return Rescued(case.model)


def search(name: str, *, seconds: float) -> Row:
    """Rescue one case (or go on) and judge it on the evaluation part; raises AccelError if it can't begin."""
    case, bench = CASES[name], bench_of(CASES[name])
    failing = variant_of(_way(case, "before"), case.backend)
    found = _rescued(bench, failing, seconds)
    cells = _cells(bench, case, found)
    row = Row(
        case=name,
        model=case.model,
        backend=case.backend,
        random_weights=bench.record.source.random_weights,
        where=Where.here(),
        accuracy_drop=bench.record.accuracy_drop,
        evaluation=len(bench.context.reference_ids),
        rescue=found,
        original=cells["original"].quality,
        before=cells["before"].quality,
        after=cells["after"].quality if "after" in cells else None,
    )
    return write(row)


def _rescued(bench: Rescued, failing: Variant, seconds: float) -> Rescue:
    path = bench.root / "rescues" / f"{failing.name}.json"
    if path.is_file():
        there = msgspec.json.decode(path.read_bytes(), type=Rescue)
        if there.complete:
            return there
    found = bench.rescuer(_on_stage)(failing, seconds)
    keep(bench.root, found)
    return found


def _on_stage(who: str) -> Callable[[str], None]:
    return lambda text: print(f"  {text}", flush=True)


def _way(case: Case, form: str, compression: tuple[Named, ...] | None = None) -> Way:
    return Way(technique=form, compression=case.compression if compression is None else compression)


def _cells(bench: Bench, case: Case, found: Rescue) -> dict[str, Cell]:
    """FP32, the failing form and the chosen one, made cleanly and judged on the evaluation part."""
    asked = {"original": Way(technique=NONE, compression=()), "before": _way(case, "before")}
    if found.chosen is not None:
        asked["after"] = _way(case, "after", found.chosen)
    return {form: bench.cell(way, case.backend, longest_s=_LONGEST_S) for form, way in asked.items()}


def measure(name: str, *, waves: int) -> Row:
    """Time the forms of one case that `search` has found; raises AccelError if there is nothing to time."""
    path = FOLDER / f"rescue-{name}.json"
    if not path.is_file():
        raise SystemExit(f"`{name}` has not been searched yet: python -m benchmarks.compression.rescue search")
    row, case = msgspec.json.decode(path.read_bytes(), type=Row), CASES[name]
    bench = bench_of(case)
    cells = _cells(bench, case, row.rescue)
    readies: dict[str, Ready] = {c.variant: bench.prepared(c.variant) for c in cells.values() if c.outcome == "ready"}
    others = tuple(c for form, c in cells.items() if form != "original")
    for wave in range(waves):
        sit(Sitting(base=cells["original"], candidates=others, telling=True, wave=wave, part=0), bench, readies)
    timed = {form: with_runs(cell, bench) for form, cell in cells.items()}
    return write(read(row, timed))


def read(row: Row, timed: dict[str, Cell]) -> Row:
    """The row with what its runs say."""
    base = timed["original"]
    others = {form: cell for form, cell in timed.items() if form != "original"}
    found = compared(base, list(others.values()), min_effect=MIN_EFFECT)
    against = {form: {str(k): v for k, v in found.get(cell.variant, {}).items()} for form, cell in others.items()}
    kept = {}
    targets: tuple[Timed, ...] = ("latency", "batch")
    for target in targets:
        if "after" in timed and (share := kept_share(base, timed["before"], timed["after"], target)) is not None:
            kept[target] = share
    return msgspec.structs.replace(row, against=against, kept=kept, where=Where.here())


def kept_share(base: Cell, before: Cell, after: Cell, target: Timed) -> Estimate | None:
    """(FP32 - after) / (FP32 - before) in seconds an item, over the blocks of all three; None if INT8 saved none."""
    first = {p.block: p for p in pairs(base, before, target)}
    second = {p.block: p for p in pairs(base, after, target)}
    blocks = sorted(first.keys() & second.keys())
    if len(blocks) < 3:
        return None

    def seconds(value: float) -> float:
        return value if target == "latency" else 1 / value

    times = np.array([[seconds(v) for v in (first[b].base, first[b].candidate, second[b].candidate)] for b in blocks])
    value = _share(np.median(times, axis=0))
    if value is None:
        return None
    rng = np.random.default_rng(0)
    drawn = (np.median(times[rng.integers(0, len(times), len(times))], axis=0) for _ in range(_RESAMPLES))
    shares = [s for one in drawn if (s := _share(one)) is not None]
    low, high = np.quantile(shares, [0.025, 0.975])
    return Estimate(
        value=value, low=float(low), high=float(high), n=len(blocks), unit="", method="bootstrap over blocks"
    )


def _share(times: npt.NDArray[np.float64]) -> float | None:
    base, before, after = (float(t) for t in times)
    return (base - after) / (base - before) if base > before else None


def write(row: Row) -> Row:
    """Commit a row to the reports."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    data = msgspec.json.format(msgspec.json.encode(row), indent=1)
    write_atomically(FOLDER / f"rescue-{row.case}.json", data)
    return row


def said(row: Row) -> str:
    """A case in a few lines."""
    lines = [f"{row.case}: {row.rescue.said}"]
    for form in ("original", "before", "after"):
        quality = getattr(row, form)
        if quality is not None and quality.value is not None:
            judged = f"{quality.metric} {quality.value:.4f}, {quality.outcome} ({quality.samples} samples)"
            lines.append(f"  {form}: {judged}")
    for target, share in row.kept.items():
        ends = f"{share.low or 0:.0%} to {share.high or 0:.0%}"
        lines.append(f"  {target}: {share.value:.0%} of the time saved is kept ({ends})")
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("do", choices=("search", "measure"))
    parser.add_argument("--cases", nargs="+", choices=tuple(CASES), default=list(CASES))
    parser.add_argument("--minutes", type=float, default=10.0, help="of each search")
    parser.add_argument("--waves", type=int, default=1, help="of three blocks each")
    asked = parser.parse_args(words)
    failed = 0
    for name in asked.cases:
        try:
            row = search(name, seconds=60 * asked.minutes) if asked.do == "search" else measure(name, waves=asked.waves)
            print(said(row), flush=True)
        except AccelError as error:
            failed += 1
            print(f"{name}: {error}", file=sys.stderr, flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
