"""The full grid: backend x compression x threads, streams and the like x batch size; which cells, and how one is timed.

A configuration is opened once, answers every sample of the evaluation for the guard and is then timed at every batch
size; each of these is a cell.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import msgspec

from accel.analysis.runs import load_runs
from accel.errors import AccelError, VariantError
from accel.plugins import Named
from accel.recipe import Variant
from accel.result import Result, write_atomically
from accel.study.instances import derived
from accel.study.live import Live, Turn
from accel.study.screening import allowed
from benchmarks.compression.bench import Bench
from benchmarks.compression.rows import Cell, Run
from benchmarks.compression.sittings import as_run
from benchmarks.knobs.ways import BACKENDS, DEFAULT, KNOBS, Knob, same, variant_of, variants
from benchmarks.search.rows import Tried

MODELS = ("digits", "minilm", "ocr", "tabular", "resnet50", "bert_base")
"""Recipes, the quickest first."""
LEAST = 60
"""Cells that a grid must have."""
SIZES = {
    "digits": (1, 2, 4, 8, 16, 32, 64, 128, 256),
    "minilm": (1, 8, 32),
    "ocr": (1, 2, 4, 8, 16, 32, 64),
    "resnet50": (1, 4, 16),
    "bert_base": (1, 4, 8),
    "tabular": (1, 4, 16, 64, 128, 256, 512, 1024),
}
"""Of the quick models those that a study chooses among, or the grid would be smaller than what it is held against."""
_SIZES = (1, 4, 16, 32)
COMPRESSIONS: dict[str, tuple[tuple[Named, ...], ...]] = {
    "inductor": ((Named("quantize_static"),),),
    "onnxruntime": ((Named("quantize_static"),), (Named("quantize_dynamic"),)),
    "openvino": ((Named("quantize_static"),),),
}
"""By backend, beside none."""
LEFT_OUT = ("max-autotune",)
"""Knobs that the grid does without: this one takes minutes to make."""
CROSSED = {"tabular": "onnxruntime"}
"""Where only one backend beside the original's takes a model, its knobs are also tried two at a time."""
SECONDS = 3.0
"""Of one cell: what `--profile shared` gives a run, since a grid's best is to be believed."""
_WARM_CALLS, _WARM_S = 2, 0.3
_LEAST_CALLS = 3


def configurations(cores: int, baseline: Variant, *, images: bool, crossed: str = "") -> list[tuple[Variant, str]]:
    """(variant, label) of every configuration, the baseline first; nothing is there twice.

    crossed: a backend whose knobs are also tried two at a time, and each of all those with two instances.
    """
    found: dict[str, tuple[Variant, str]] = {baseline.name: (baseline, "baseline")}
    for backend in BACKENDS:
        for variant, label in _of_backend(backend, cores, images=images):
            if not same(variant, baseline):
                found.setdefault(variant.name, (variant, label))
    for variant, label in _crossed(crossed, cores) if crossed else ():
        found.setdefault(variant.name, (variant, label))
    return list(found.values())


def _crossed(backend: str, cores: int) -> Iterator[tuple[Variant, str]]:
    single = [knob for knob in KNOBS[backend] if knob.fields]
    pairs = [
        Knob(label=f"{one.label}, {two.label}", fields=one.fields | two.fields)
        for one, two in combinations(single, 2)
        if not one.fields.keys() & two.fields.keys()
    ]
    for knob in (*single, *pairs):
        variant = variant_of(backend, knob, cores)
        yield variant, knob.label
        for pair in derived(variant, cores):
            yield pair, f"{knob.label}, {pair.instances} instances"


def _of_backend(backend: str, cores: int, *, images: bool) -> Iterator[tuple[Variant, str]]:
    knobs = {knob.label: knob for knob in KNOBS[backend]}
    for label, variant in variants(backend, cores, images=images):
        if label in LEFT_OUT:
            continue
        yield variant, label
        knob = knobs.get(label)
        for chain in COMPRESSIONS.get(backend, ()):
            words = "+".join(one.name for one in chain)
            if knob is None:
                parent = variant_of(backend, knobs[DEFAULT], cores, chain)
                pair = next(v for v in derived(parent, cores) if v.instances == 2)
                yield pair, f"{words}, {label}"
            elif not knob.alone:
                yield variant_of(backend, knob, cores, chain), f"{words}, {label}"


def sizes_of(model: str) -> tuple[int, ...]:
    """The grid's batch sizes."""
    return SIZES.get(model, _SIZES)


def tried_path(bench: Bench, variant: str) -> Path:
    """Where a configuration's figures are kept."""
    return bench.root / "grid" / f"{variant}.json"


def kept(bench: Bench, cell: Cell, sizes: Sequence[int], seconds: float = 0.0) -> Tried | None:
    """What is on disk of a configuration, if it is of this artefact and these sizes and was timed for so long."""
    try:
        tried = msgspec.json.decode(tried_path(bench, cell.variant).read_bytes(), type=Tried)
    except (OSError, msgspec.DecodeError):
        return None
    timed = {run.size for run in tried.cell.runs if run.target == "batch"}
    good = tried.cell.key == cell.key and (bool(tried.cell.failed_runs) or set(sizes) <= timed)
    good = good and tried.seconds >= seconds
    return tried if good else None


def measure(bench: Bench, cell: Cell, sizes: Sequence[int], seconds: float = SECONDS) -> Tried:
    """Open a configuration, check the guard, time it at every size; committed. What fails is a row with its reason."""
    ready = bench.prepared(cell.variant)
    begun = time.perf_counter()
    try:
        with bench.live(ready.prepared, "grid") as live:
            judged = bench.judged(live)
            item_s = (time.perf_counter() - begun) / max(1, len(bench.context.reference_ids))
            runs = tuple(
                run for turn in turns(cell, live, sizes, seconds, item_s) if (run := _one(bench, live, turn, judged))
            )
        done = msgspec.structs.replace(cell, runs=runs, quality=judged.quality)
    except VariantError as error:
        done = msgspec.structs.replace(cell, runs=(), failed_runs=error.reason)
    except AccelError as error:
        done = msgspec.structs.replace(cell, runs=(), failed_runs=str(error))
    took_s = time.perf_counter() - begun
    tried = Tried(cell=done, seconds=seconds, made_s=ready.prepared.set_up.made_s, took_s=took_s)
    path = tried_path(bench, cell.variant)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, msgspec.json.encode(tried))
    return tried


def made_once(listed: Iterable[tuple[str, str, float]]) -> dict[str, float]:
    """Seconds of making by variant, from (variant, the artefact's folder, seconds): a shared artefact counts once."""
    found: dict[str, float] = {}
    seen: set[str] = set()
    for variant, folder, seconds in listed:
        found[variant] = 0.0 if folder in seen else seconds
        seen.add(folder)
    return found


def turns(cell: Cell, live: Live, sizes: Sequence[int], seconds: float, item_s: float) -> list[Turn]:
    """One request at a time, then batches of every size that the engine takes."""
    common: dict[str, Any] = {
        "phase": "screening",
        "block": 0,
        "warmup_iterations": _WARM_CALLS,
        "warmup_s": _WARM_S,
    }
    stem = f"grid-{cell.variant}-{cell.key[:8]}"
    alone = Turn(
        run_id=f"{stem}-latency",
        target="latency",
        scenario=Named("single_stream"),
        batching=Named("single"),
        duration_s=max(seconds, _LEAST_CALLS * item_s),
        trial=0,
        **common,
    )
    return [
        alone,
        *(
            Turn(
                run_id=f"{stem}-{size}",
                target="batch",
                scenario=Named("offline"),
                batching=Named("fixed", {"size": size}),
                duration_s=max(seconds, _LEAST_CALLS * size * item_s),
                trial=size,
                **common,
            )
            for size in dict.fromkeys(allowed(live.sizes, size) for size in sizes)
        ),
    ]


def _one(bench: Bench, live: Live, turn: Turn, judged: Any) -> Run | None:
    result: Result = live.run(turn, reference=bench.reference, check_limit=judged.check_limit, common=bench.result)
    (found, *_), _ = load_runs([result], bench.folder.runs)
    return as_run(found)


def expected_s(cell: Cell, sizes: Sequence[int], evaluation: int, seconds: float = SECONDS) -> float:
    """About how long a configuration takes."""
    item_s = cell.item_s or 0.0
    timed = sum(max(seconds, _LEAST_CALLS * s * item_s) + _WARM_S + _WARM_CALLS * s * item_s for s in (1, *sizes))
    opening = 12.0 if cell.backend == "inductor" else 4.0
    return opening + evaluation * item_s + timed
