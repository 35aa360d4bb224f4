"""What few-bit weights make of a model's layers, and what they do to its speed where it doesn't fit into the cache."""

from __future__ import annotations

from collections.abc import Sequence

from accel.units import show_bytes
from benchmarks.compression import words
from benchmarks.compression.reading import Line, lines
from benchmarks.compression.rows import Layers, Sizes, Table

WANTED = 0.20
"""INT4 weights: at most this share of FP32's bytes, for the layers that have them."""
_FOUR = ("int4", "uint4", "i4", "u4")


def sizes(found: Sequence[Sizes], tables: Sequence[Table]) -> list[str]:
    """One table a model, with the speed from the big table beside it."""
    parts: list[str] = []
    for one in found:
        if not one.layers:
            continue
        table = next((t for t in tables if t.model == one.model), None)
        timed = {} if table is None else {(x.cell.technique, x.cell.backend): x for x in lines(table.cells)}
        body = [_row(layers, timed.get((layers.technique, layers.backend))) for layers in one.layers]
        head = ["technique", "backend", "layers", "FP32", "stored", "share", "one at a time", "in batches of 8"]
        parts += [f"### {words.title(one.model)}", words.grid(head, body)]
        parts += [s for s in (_four(one), "" if table is None else _cache(one, table, timed)) if s]
    about = (
        "Bytes of the layers whose weights are stored in few bits: codes, scales and zero points, read from the "
        "artefact, against four bytes a weight."
    )
    return ["## Size", about, *parts] if parts else []


def share(layers: Layers) -> float:
    """Stored over float32."""
    return layers.stored_bytes / layers.float_bytes


def is_four(layers: Layers) -> bool:
    """True if most of the weights stand in 4 bits."""
    four = sum(n for kind, n in layers.codes.items() if kind in _FOUR)
    return four > sum(layers.codes.values()) / 2


def _row(layers: Layers, line: Line | None) -> list[str]:
    return [
        f"`{layers.technique}`",
        layers.backend,
        f"{layers.layers} ({', '.join(layers.codes)})",
        show_bytes(layers.float_bytes),
        show_bytes(layers.stored_bytes),
        f"{100 * share(layers):.1f} %",
        words.ratio(None if line is None else line.against.get("latency")),
        words.ratio(None if line is None else line.against.get("batch")),
    ]


def _four(one: Sizes) -> str:
    """Whether the 4-bit weights are as small as was wanted."""
    said = [
        f"{100 * share(x):.1f} % on {x.backend} ({'holds' if share(x) <= WANTED else '**does not hold**'})"
        for x in one.layers
        if is_four(x)
    ]
    return f"INT4: at most {100 * WANTED:.0f} % of FP32's bytes was wanted; {words.listed(said)}." if said else ""


def _cache(one: Sizes, table: Table, timed: dict[tuple[str, str], Line]) -> str:
    """How large the model is beside the last-level cache, and what smaller weights do to its speed."""
    whole, cache = max(one.float_file_bytes.values(), default=0), max(table.caches_bytes.values(), default=0)
    if not whole or not cache:
        return "How large this machine's last-level cache is isn't known."
    beside = "more than" if whole > cache else "less than"
    head = f"In FP32 the model takes {show_bytes(whole)}, {beside} the last-level cache of {show_bytes(cache)}"
    said = [
        f"`{line.cell.technique}` on {line.cell.backend} {words.ratio(line.against['latency'])}"
        for line in timed.values()
        if line.cell.technique.startswith("quantize_weights") and "latency" in line.against
    ]
    times = (
        f"; one request at a time {words.listed(said)}" if said else "; its speed with few-bit weights isn't measured"
    )
    return f"{head}{times}."
