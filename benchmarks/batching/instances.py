"""How many engines with how many threads, at which batch size? One joint table of a model on this machine.

    python -m benchmarks.batching.instances [--model ocr] [--seconds 1] [--blocks 3]

Ways: one engine with all cores; one engine with as many callers as cores; an engine a core in threads; an engine a core
in processes; for OpenVINO as many streams as cores. Each block opens every way in a process of its own, in random
order, and runs batch jobs at each size and as many clients as cores, one request each. Every run is kept; started
again, it goes on where it was.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from accel.errors import VariantError
from accel.measurement.affinity import usable
from accel.measurement.trace import Trace
from accel.plugins import Named
from accel.recipe import Variant
from accel.study.live import Turn, items_per_second
from accel.study.rounds import shuffled
from benchmarks.batching import rows
from benchmarks.batching.policies import folder_of
from benchmarks.subject import Ready, Runner, Subject

SIZES = (1, 4, 8)
BACKENDS = ("onnxruntime", "openvino")


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One way: items/s by batch size, and the latency of as many clients as cores; medians of the blocks."""

    backend: str
    way: str
    items_per_s_batch_1: float
    items_per_s_batch_4: float
    items_per_s_batch_8: float
    clients_per_s: float
    clients_p50_ms: float
    range_batch_8: str
    validity: str


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """What BATCHING.md shows."""

    about: str
    where: rows.Where
    rows: tuple[Row, ...]


def ways(variant: Variant, cores: int) -> dict[str, Variant]:
    """What is tried of one backend, by its name in the table."""

    def made(name: str, **fields: Any) -> Variant:
        return msgspec.structs.replace(variant, name=f"{variant.name}+{name}", **fields)

    found = {
        "one engine": variant,
        f"one engine, {cores} callers": made("callers", instances=cores),
        f"{cores} engines in threads": made("threads", instances=cores, placement="threads"),
        f"{cores} engines in processes": made("processes", instances=cores, placement="processes"),
    }
    if variant.backend.name == "openvino":
        streams = Named("openvino", {**variant.backend.fields, "streams": cores})
        found[f"{cores} streams, {cores} callers"] = made("streams", instances=cores, backend=streams)
    return found


def runs(ready: Ready, subject: Subject, variant: Variant, block: int, seconds: float, cores: int) -> dict[str, Trace]:
    """A way's runs in one block, by what was run."""
    prepared = msgspec.structs.replace(ready.prepared, variant=variant)
    turns = {f"batch {size}": job(variant, size, block, seconds) for size in SIZES}
    turns["clients"] = msgspec.structs.replace(
        turns["batch 1"],
        run_id=f"instances-{variant.name}-clients-{block}",
        scenario=Named("closed_loop", {"k": cores}),
        batching=Named("single"),
        target=None,
    )
    with Runner(subject, msgspec.structs.replace(ready, prepared=prepared)) as runner:
        return {what: runner.run(turn)[1] for what, turn in turns.items()}


def job(variant: Variant, size: int, block: int, seconds: float) -> Turn:
    """A batch job."""
    return Turn(
        run_id=f"instances-{variant.name}-{size}-{block}",
        phase="blocks",
        target="batch",
        scenario=Named("offline"),
        batching=Named("fixed", {"size": size}),
        duration_s=seconds,
        trial=8000 + block,
        block=block,
    )


def measured(model: str, seconds: float, blocks: int) -> Table:
    """The whole table."""
    cores = len(usable())
    found: list[Row] = []
    subject = Subject(model, folder_of(model, "instances"), backend=list(BACKENDS))
    listed: list[tuple[Ready, str, Variant]] = []
    for backend in BACKENDS:
        ready = subject.ready(subject.variants[backend])
        listed += [(ready, name, variant) for name, variant in ways(ready.prepared.variant, cores).items()]
    traces: dict[str, list[dict[str, Trace]]] = {variant.name: [] for _, _, variant in listed}
    failed: dict[str, str] = {}
    for block in range(blocks):
        for ready, _, variant in shuffled(listed, seed=subject.record.seed, block=block):
            if variant.name in failed:
                continue
            print(f"  block {block + 1}: {variant.name}", file=sys.stderr, flush=True)
            try:
                traces[variant.name].append(runs(ready, subject, variant, block, seconds, cores))
            except VariantError as error:
                failed[variant.name] = str(error)
                print(f"  {variant.name}: {error}", file=sys.stderr, flush=True)
    for ready, name, variant in listed:
        if variant.name not in failed:
            found.append(row(ready.prepared.variant.backend.name, name, traces[variant.name], subject, variant.name))
    return Table(
        about=(
            f"{subject.record.name}, {cores} cores: items a second of batch jobs by batch size, and what {cores} "
            f"clients get that ask one request each; medians of {blocks} blocks, every way in a process of its own."
        ),
        where=rows.Where.here(),
        rows=tuple(found),
    )


def row(backend: str, way: str, blocks: Sequence[dict[str, Trace]], subject: Subject, name: str) -> Row:
    """One way's figures."""
    rates = {size: sorted(items_per_second(b[f"batch {size}"]) for b in blocks) for size in SIZES}
    waits = [float(np.median(b["clients"].counted().ok().latency_ns)) * 1e-6 for b in blocks]
    kept = [r for i, r in subject.folder.results().items() if i.startswith(f"instances-{name}-")]
    levels = {r.validity for r in kept if r.variant.name == name}
    return Row(
        backend=backend,
        way=way,
        items_per_s_batch_1=statistics.median(rates[1]),
        items_per_s_batch_4=statistics.median(rates[4]),
        items_per_s_batch_8=statistics.median(rates[8]),
        clients_per_s=statistics.median(items_per_second(b["clients"]) for b in blocks),
        clients_p50_ms=statistics.median(waits),
        range_batch_8=f"{rates[8][0]:.4g} to {rates[8][-1]:.4g}",
        validity=next(level for level in ("invalid", "unstable", "valid") if level in levels),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="ocr")
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--blocks", type=int, default=3)
    parser.add_argument("--rows", type=Path, default=rows.FOLDER, help="folder of the JSON files")
    given = parser.parse_args(arguments)
    print(rows.write(measured(given.model, given.seconds, given.blocks), "instances", given.rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
