"""V19: the gate of `accel compare` passes what didn't change, fails what got slower, and says when it can't tell."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from accel.analysis.gate import Judgement, judge, parse_limit
from accel.analysis.runs import Run
from accel.model import Signature, Tensor
from accel.study.folder import StudyFolder
from accel.study.gate import Duel, Side, gate_profile, latency_ask, until_narrow
from accel.study.prepare import Prepared
from accel.study.standin import folder_of, renamed, stand_in
from tests.validation import virtual
from tests.validation.experiment import Row

LIMIT = "p50=+3%"
VIRTUAL, VIRTUAL_FULL = 30, 200
STUB_GATES, DEMO_GATES = 20, 5
STUB_S, SLOWER = 0.002, 1.10
RUN_S, WARMUP_S, STUB_BUDGET_S = 0.3, 0.2, 30.0
DEMO_RUN_S, DEMO_BUDGET_S = 1.0, 40.0
LIMIT_S = 2700.0
WEATHER = virtual.Weather()
Counts = Counter[str]


def quick() -> list[Row]:
    """Virtual gates: the product's blocks, stopping and judging, on runs of known truth."""
    return virtual_gates(VIRTUAL)


def virtual_gates(count: int) -> list[Row]:
    """So many gates on each of four truths."""
    begun = time.perf_counter()
    same, slower, edge = (_virtual(times, count) for times in (1.0, SLOWER, 1.03))
    wild = _virtual(SLOWER, count, msgspec.structs.replace(WEATHER, disturbed=0.5, seen=1.0))
    took = time.perf_counter() - begun
    nine = round(0.95 * count)
    return [
        _row("no change", f"no gate fails, ≥ {nine} of {count} pass", same, _none_fails(same, nine), took=took),
        _row("10 % slower", f"≥ {nine} of {count} fail, none passes", slower, _all_fail(slower, nine)),
        _row(
            "3 % slower, the limit itself",
            f"≤ {count // 10} fail, ≥ {round(0.85 * count)} can't be told",
            edge,
            edge["fails"] <= count // 10 and edge["can't tell"] >= round(0.85 * count),
        ),
        _row(
            "10 % slower while half of the runs are disturbed",
            "none passes",
            wild,
            wild["passes"] == 0,
        ),
    ]


def _none_fails(found: Counts, least: int) -> bool:
    return found["fails"] == 0 and found["passes"] >= least


def _all_fail(found: Counts, least: int) -> bool:
    return found["passes"] == 0 and found["fails"] >= least


def _virtual(times: float, count: int, weather: virtual.Weather = WEATHER) -> Counts:
    return Counter(_virtual_gate(times, weather, seed).outcome for seed in range(count))


def _virtual_gate(times: float, weather: virtual.Weather, seed: int) -> Judgement:
    limit = parse_limit(LIMIT)
    session = virtual.Session(virtual.field({"new": times}), weather, seed=seed)

    def block(number: int) -> Sequence[Run] | None:
        return session.block(number) if number < 24 else None

    found = until_narrow([limit], block)
    return judge(limit, found[limit], target="online", old="old", new="new")


def _row(
    what: str,
    criterion: str,
    found: Counts,
    passed: bool,
    *,
    kind: Literal["virtual", "real"] = "virtual",
    more: str = "",
    took: float = 0.0,
) -> Row:
    n = found.total()
    shown = ", ".join(f"{found[word]} {words}" for word, words in _WORDS.items())
    return Row(
        experiment="V19",
        what=f"{n} gates with {LIMIT}: {what}",
        criterion=criterion,
        measured=shown + more,
        passed=passed,
        kind=kind,
        seconds=took,
    )


_WORDS = {"passes": "passed", "fails": "failed", "can't tell": "couldn't tell"}


def full() -> Iterator[Row]:
    """Virtual gates, gates on a spin stub, and gates on the demo's network in ONNX Runtime."""
    yield from virtual_gates(VIRTUAL_FULL)
    yield from stub_gates()
    yield from demo_gates()


def stub_gates(count: int = STUB_GATES) -> Iterator[Row]:
    """Real processes whose service time is known."""
    profile = msgspec.structs.replace(gate_profile(), warmup_s=WARMUP_S)
    with tempfile.TemporaryDirectory(prefix="accel-v19-") as place:
        folder = folder_of(Path(place) / "stub")
        old = stand_in(folder, "stub", item_s=STUB_S)
        for what, new in (("no change", old), ("10 % slower", renamed(old, "slow", item_s=SLOWER * STUB_S))):
            begun = time.perf_counter()
            gates = [
                _real_gate(
                    folder, old, new, Path(place) / f"{what[:2]}{n}", RUN_S, STUB_BUDGET_S, seed=n, profile=profile
                )
                for n in range(count)
            ]
            found = Counter(g.outcome for g in gates)
            same = new is old
            least = count if same else count - max(1, count // 20)
            yield _row(
                f"a spin stub of {1000 * STUB_S:g} ms, {what}",
                f"none fails, {count} of {count} exit with 0" if same else f"≥ {least} of {count} fail, none passes",
                found,
                found["fails"] == 0 if same else _all_fail(found, least),
                kind="real",
                more=_widths(gates),
                took=time.perf_counter() - begun,
            )


def demo_gates(count: int = DEMO_GATES) -> Iterator[Row]:
    """The demo's network in ONNX Runtime: against itself, and against itself with its graph as written."""
    with tempfile.TemporaryDirectory(prefix="accel-v19-") as place:
        folder = StudyFolder(Path(place) / "demo")
        folder.create(resume=False)
        old = _demo(folder)
        for what, new in (("no change", old), ("one thread, graph not optimized", _planted(old))):
            begun = time.perf_counter()
            gates = [
                _real_gate(folder, old, new, Path(place) / f"{what[:2]}{n}", DEMO_RUN_S, DEMO_BUDGET_S, seed=n)
                for n in range(count)
            ]
            found = Counter(g.outcome for g in gates)
            same = new is old
            yield _row(
                f"the demo's network, {what}",
                "none fails" if same else "none passes",
                found,
                found["fails" if same else "passes"] == 0,
                kind="real",
                more=_widths(gates),
                took=time.perf_counter() - begun,
            )


def _real_gate(
    folder: StudyFolder, old: Prepared, new: Prepared, place: Path, run_s: float, budget_s: float, **given: object
) -> Judgement:
    limit = parse_limit(LIMIT)
    asks = (latency_ask(run_s),)
    sides = [Side(prepared=one, asks=asks) for one in (old, new)]
    duel = Duel(sides[0], sides[1], [limit], place=place, samples=folder.samples, **given)  # type: ignore[arg-type]
    fought = duel.fight(budget_s)
    assert not fought.failed, fought.failed
    return judge(limit, fought.measured[limit], target="online", old="old", new="new", block_s=fought.block_s)


def _widths(gates: Sequence[Judgement]) -> str:
    changes = [g.measured.ratio.value - 1 for g in gates if g.measured.ratio is not None]
    blocks = [g.measured.blocks for g in gates]
    if not changes:
        return ""
    return f"; changes {min(changes):+.1%} to {max(changes):+.1%}, {min(blocks)} to {max(blocks)} blocks".replace(
        "%", " %"
    )


def _demo(folder: StudyFolder) -> Prepared:
    """The demo's ONNX file as an artefact of ONNX Runtime, with the demo's images as samples."""
    from accel import demo, plugins
    from accel.plugins import Named
    from accel.recipe import Variant
    from accel.result import SetUp
    from accel.samples import materialise
    from tests.small_models import FileModel

    signature = Signature(
        inputs=(Tensor(name="image", dtype="float32", shape=("batch", 1, 32, 32)),),
        outputs=(Tensor(name="logits", dtype="float32", shape=("batch", 10)),),
        batch="any",
    )
    materialise(str(demo.samples_path()), signature, folder.samples, seed=0)
    model = FileModel(signature, {"onnx": str(demo.onnx_path())})
    place = folder.artefacts / "demo"
    place.mkdir(parents=True)
    variant = Variant(name="demo", backend=Named("onnxruntime"))
    plugins.make("compilation", variant.backend).build(model, place)
    return Prepared(variant=variant, folder=str(place), form="onnx", set_up=SetUp(), artefact_bytes=0)


def _planted(prepared: Prepared) -> Prepared:
    return renamed(prepared, "planted", threads=1, optimization="none")
