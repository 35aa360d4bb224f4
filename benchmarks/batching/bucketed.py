"""What do buckets give a batch job over sentences of mixed length, against first-come batches padded to their longest?

    python -m benchmarks.batching.bucketed [--model minilm] [--items 400] [--blocks 6]

The sentences of recipes/minilm.toml are real: docstrings of Python's library, 5 to 128 tokens. Three ways, each a block
of one process in random order over the same sentences in the same order: `bucketed` at its best size, `fixed` at that
size (what padding to the longest costs), and `fixed` at *its* best size (what a careful user without buckets does).
Timed outputs are compared with the reference's. Every run is kept; started again, it goes on where it was.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from accel.analysis.estimates import t_interval
from accel.errors import VariantError
from accel.measurement.trace import Trace
from accel.plugins import Named
from accel.result import Result
from accel.samples import Samples
from accel.study.live import Turn, items_per_second
from accel.study.rounds import shuffled
from benchmarks.batching import rows
from benchmarks.batching.policies import Chosen, subject_of
from benchmarks.subject import Runner

SIZES = (1, 2, 4, 8, 16, 32)
WINDOW = 512
BUCKETED, PADDED, CAREFUL = "bucketed", "fixed, same size", "fixed, best size"
TEXTS = {"minilm": "docstrings of Python's own library, the first two paragraphs of each"}


def job(run_id: str, batching: Named, items: int, *, trial: int, block: int | None = None) -> Turn:
    """A batch job over so many sentences; the same trial, the same sentences in the same order."""
    return Turn(
        run_id=run_id,
        phase="blocks" if block is not None else "tuning",
        target="batch",
        scenario=Named("offline", {"samples": items}),
        batching=batching,
        duration_s=10.0,
        trial=trial,
        block=block,
    )


def best(runner: Runner, kind: str, items: int) -> Named:
    """The fields with the highest rate in one short job each."""
    rates: list[tuple[float, Named]] = []
    for size in SIZES:
        batching = batching_of(kind, size)
        try:
            _, trace = runner.run(job(f"look-{kind}-{size}", batching, items, trial=7000))
        except VariantError:
            break
        rates.append((items_per_second(trace), batching))
    most = max(rate for rate, _ in rates)
    return next(batching for rate, batching in rates if rate >= 0.98 * most)


def batching_of(kind: str, size: int) -> Named:
    """`fixed` or `bucketed` with one batch size."""
    if kind == "fixed":
        return Named("fixed", {"size": size})
    return Named("bucketed", {"max_size": size, "window": WINDOW})


def raced(
    runner: Runner, ways: dict[str, Named], items: int, blocks: int
) -> tuple[dict[str, list[float]], dict[str, list[float]], list[Result]]:
    """By way: items a second and padded over real length of each block; and all Results."""
    rates: dict[str, list[float]] = {way: [] for way in ways}
    padding: dict[str, list[float]] = {way: [] for way in ways}
    lengths = lengths_of(runner)
    results: list[Result] = []
    for block in range(blocks):
        for way in shuffled(list(ways), seed=runner.subject.record.seed, block=block):
            run_id = f"bucketed-{block}-{way.replace(', ', '-').replace(' ', '-')}"
            result, trace = runner.run(job(run_id, ways[way], items, trial=7100 + block, block=block))
            rates[way].append(items_per_second(trace))
            padding[way].append(padded(trace, lengths))
            results.append(result)
    return rates, padding, results


def lengths_of(runner: Runner) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """(samples,) tokens of each; ones where nothing is ragged."""
    samples = Samples.open(runner.subject.folder.samples)
    found = [np.asarray(samples.lengths[name]).reshape(samples.count, -1)[:, 0] for name in samples.ragged]
    return found[0].astype(np.int64) if found else np.ones(samples.count, np.int64)


def padded(trace: Trace, lengths: np.ndarray[tuple[int], np.dtype[np.int64]]) -> float:
    """Tokens that were computed over tokens that were there: longest times size over the sum, over all batches."""
    done = trace.counted().ok()
    computed = sum(
        int(lengths[done.sample[done.batch == batch]].max()) * int((done.batch == batch).sum())
        for batch in np.unique(done.batch)
    )
    return computed / float(lengths[done.sample].sum())


def over(rates: dict[str, list[float]], way: str) -> rows.Span:
    """How many times as many items a second `bucketed` gives, paired by block."""
    logs = [math.log(a / b) for a, b in zip(rates[BUCKETED], rates[way], strict=True)]
    if len(logs) < 2:
        return rows.Span(value=math.exp(logs[0]))
    mean, low, high = t_interval(logs)
    return rows.Span(value=math.exp(mean), low=math.exp(low), high=math.exp(high))


def measured(model: str, chosen: Chosen, items: int | None, blocks: int) -> rows.Bucketed:
    """All rows of one model."""
    subject, runner = subject_of(model, chosen)
    count = items or len(subject.context.reference_ids)
    with runner:
        sorted_, first_come = best(runner, "bucketed", count), best(runner, "fixed", count)
        size = int(sorted_.fields["max_size"])
        ways = {BUCKETED: sorted_, PADDED: batching_of("fixed", size), CAREFUL: first_come}
        rates, padding, results = raced(runner, ways, count, blocks)
        lengths = lengths_of(runner)[list(subject.context.reference_ids)]
    checks = [r.check for r in results if r.check is not None]
    return rows.Bucketed(
        model=subject.record.name,
        variant=runner.ready.name,
        where=rows.Where.here(),
        texts=TEXTS.get(model, "the recipe's samples"),
        items=count,
        lengths=(int(lengths.min()), int(np.median(lengths)), int(lengths.max())),
        batching=ways,
        rates={way: tuple(found) for way, found in rates.items()},
        padding={way: float(np.mean(found)) for way, found in padding.items()},
        ratios={way: over(rates, way) for way in (PADDED, CAREFUL)},
        checked=sum(c.checked for c in checks),
        mismatched=sum(c.mismatched for c in checks),
        tolerance=runner.ready.check_limit,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--backend", default="onnxruntime")
    parser.add_argument("--items", type=int, help="sentences a job; by default all that have reference answers")
    parser.add_argument("--blocks", type=int, default=6)
    parser.add_argument("--rows", type=Path, default=rows.FOLDER, help="folder of the JSON files")
    given = parser.parse_args(arguments)
    found = measured(given.model, Chosen(backend=given.backend), given.items, given.blocks)
    print(rows.write(found, f"bucketed-{found.model}", given.rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
