"""`reports/GPU.md` from `reports/gpu/*.json`, and those from the archives that `make gpu` wrote on a GPU machine.

python -m benchmarks.gpu.page [ARCHIVE ...]: reads the archives that are given into `reports/gpu`, then makes the page.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from accel.analysis import estimates
from accel.compilation import DeviceTimes
from accel.errors import InputError
from accel.result import write_atomically
from accel.units import show_bytes, show_seconds
from benchmarks.batching.page import measured_on, write_page
from benchmarks.compression.words import per_second, ratio
from benchmarks.gpu.networks import MODELS, NETWORKS
from benchmarks.gpu.reading import base_name, compared, read
from benchmarks.gpu.rows import FOLDER, SIZES, Cell, Table

NAME = "GPU.md"
_INTRODUCTION = (
    "Backends, precisions and batch sizes on one NVIDIA GPU, as measured by `make gpu` within nine minutes; "
    "`python -m benchmarks.gpu.page` makes this file from `gpu/*.json`. All networks have random weights."
)
_METHOD = (
    "Every variant has a process of its own that rests between its turns; a block has each at each batch size once, in "
    "a new random order, and the base twice. A run lasts 0.4 s after a brief warm-up (1 s in the first block), which "
    "is less than the profile `gpu` asks for. Items a second hold the copies to the GPU and back and end with a "
    "synchronised device. Ratios are of the same block, with 95 % intervals; a difference under 5 % counts as none."
)
_APART = (
    "One batch taken apart after each run, the run with the median computing time: to the GPU (into page-locked memory "
    "and over), computing (launching the kernels included), and back. "
)
_OUTPUTS = (
    "Outputs against float32 on the processor: signal to noise of the median sample (dB), the largest difference."
)


def markdown(folder: Path) -> str:
    """The whole file, ending with a newline."""
    known = {p.stem: msgspec.json.decode(p.read_bytes(), type=Table) for p in sorted(folder.glob("*.json"))}
    tables = [known[m] for m in (*MODELS, *sorted(set(known) - set(MODELS))) if m in known]
    parts = ["# GPU", _INTRODUCTION, *measured_on(t.sitting.where for t in tables), *_cards(tables), _METHOD]
    for table in tables:
        parts += _network(table)
    return "\n\n".join(part for part in parts if part) + "\n"


def _cards(tables: Sequence[Table]) -> list[str]:
    said = []
    for table in tables:
        gpu, packages = table.sitting.gpu, table.sitting.packages
        torch = f"torch {packages['torch']}" if "torch" in packages else "no torch"
        if gpu is None:
            said.append("**A rehearsal: the processor stood in for the GPU. Nothing here says anything about one.**")
        else:
            memory = f", {show_bytes(gpu.memory_bytes)}" if gpu.memory_bytes else ""
            said.append(f"GPU: {gpu.name}{memory}, compute capability {gpu.capability}, driver {gpu.driver}, {torch}.")
    return list(dict.fromkeys(said))


def _network(table: Table) -> list[str]:
    model = table.sitting.model
    title = NETWORKS[model].title if model in NETWORKS else model
    return [
        f"## {title}",
        f"Items a second, and how many times as many as `{base_name(table)}` at the same batch size.",
        _speeds(table),
        *([_APART + _sources(table), _apart(table)] if any(c.device_times for c in table.cells) else []),
        _OUTPUTS,
        _outputs(table),
        _absent(table),
    ]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) if rows else ""


def _speeds(table: Table) -> str:
    ratios = {size: compared(table, size) for size in SIZES}
    rows = []
    for name in dict.fromkeys(c.variant for c in table.cells):
        row = [f"`{name}`"]
        for size in SIZES:
            cell = _of(table, name, size)
            rate = None if cell is None else [r.items_per_s for r in cell.runs if r.level != "invalid"]
            shown = per_second(estimates.across_runs(rate, unit="items/s")) if rate else "–"
            against = ratio(ratios[size][name]) if name in ratios[size] else ""
            row.append(" ".join(filter(None, (shown, against))))
        rows.append(row)
    return _table(["variant", *(f"batch {size}" for size in SIZES)], rows)


def _of(table: Table, name: str, size: int) -> Cell | None:
    return next((c for c in table.cells if c.variant == name and c.size == size), None)


def _sources(table: Table) -> str:
    found = sorted({c.device_times.source for c in table.cells if c.device_times})
    return f"By {'; '.join(found)}." if found else ""


def _apart(table: Table) -> str:
    rows = []
    for cell in table.cells:
        times = cell.device_times
        peak = show_bytes(cell.gpu_peak_bytes) if cell.gpu_peak_bytes else "–"
        if times is not None:
            rows.append([f"`{cell.variant}`", str(cell.size), *_parts(times), peak])
    return _table(["variant", "batch", "to the GPU", "computing", "back", "GPU memory, peak"], rows)


def _parts(times: DeviceTimes) -> list[str]:
    return [show_seconds(s) for s in (times.to_device_s, times.compute_s, times.to_host_s)]


def _outputs(table: Table) -> str:
    rows = []
    for name in dict.fromkeys(c.variant for c in table.cells):
        cell = next(c for c in table.cells if c.variant == name)
        quality, effective = cell.quality, cell.effective
        noise = "–" if quality is None or quality.sqnr_db is None else f"{quality.sqnr_db:.0f}"
        worst = "–" if quality is None or quality.max_abs_error is None else f"{quality.max_abs_error:.2g}"
        opened = "–" if cell.open_s is None else show_seconds(cell.open_s)
        precision = "–" if effective is None else effective.precision
        tf32 = "" if effective is None else effective.detail.get("TF32", "–")
        rows.append([f"`{name}`", precision, tf32, noise, worst, opened])
    head = ["variant", "precision", "TF32", "signal to noise, dB", "largest difference", "opening (compiling included)"]
    return _table(head, rows)


def _absent(table: Table) -> str:
    lines = [
        f"- `{o.variant.name}` {o.outcome}: {o.reason} {o.next_step}".rstrip()
        for o in table.sitting.outcomes
        if o.outcome != "ready"
    ]
    return "\n".join(["What didn't run:", "", *lines]) if lines else ""


def main(arguments: Sequence[str] | None = None, folder: Path = FOLDER) -> int:
    """See the head of this file."""
    for archive in sys.argv[1:] if arguments is None else arguments:
        try:
            table = read(Path(archive))
        except InputError as error:
            print(error, file=sys.stderr)
            return 2
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{table.sitting.model}.json"
        write_atomically(path, msgspec.json.format(msgspec.json.encode(table), indent=1))
    return write_page([str(folder)], folder, NAME, markdown)


if __name__ == "__main__":
    sys.exit(main())
