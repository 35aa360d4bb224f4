"""HARDWARE.md is what its raw data says, to the byte; ratios, verdicts and shares follow from the recorded runs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest

from accel.analysis import Estimate
from accel.errors import VariantError
from accel.measurement.machine import detect
from accel.plugins import Named
from accel.recipe import Variant
from accel.result import Quality, Result, SetUp
from benchmarks.batching.rows import Where
from benchmarks.compression.items import recipe_module
from benchmarks.compression.rows import Cell, Run, write
from benchmarks.compression.sittings import Clock
from benchmarks.hardware.peaks import Report, Round
from benchmarks.hardware.peaks_part import peaks
from benchmarks.knobs import knobs_part, page, table, ways
from benchmarks.knobs.rows import Contest, Knobs, Rivals
from benchmarks.peers import rival, runtimes, runtimes_part
from benchmarks.race import Race, Side, go_on, runs_of
from benchmarks.search import fresh, grid, picks, regret_part
from benchmarks.search.regret import kept_grids
from benchmarks.search.rows import Duel, Pick, Regret, Tried
from benchmarks.search.second_part import second

REPORTS = Path(__file__).parents[1] / "reports"
WHERE = Where(cpu="A processor", cores=2, env_id="0123", unix_s=1_700_000_000)
PASSES = Quality(outcome="passes", rule="accuracy", value=0.98, reference_value=0.985, low=0.97, high=0.99)
FAILS = Quality(outcome="fails", rule="accuracy", value=0.3, reference_value=0.985, reason="accuracy fell")


@pytest.mark.skipif(not (REPORTS / page.NAME).is_file(), reason="the experiments weren't run for this tree")
def test_the_page_rebuilds_byte_for_byte() -> None:
    assert page.markdown(REPORTS / "hardware") == (REPORTS / page.NAME).read_text("utf-8")


def runs(speed: float, *, first: bool = False, size: int = 8, blocks: int = 6) -> tuple[Run, ...]:
    """10 ms and 100 items/s at speed 1 on a machine that drifts by 2 % a block for everybody, with a little scatter."""
    found = []
    for block in range(blocks):
        drift, scatter = 1.02**block, (0.999 if first else 1.001) if block % 2 else 1.0
        for role in ("baseline", "repeat") if first else ("candidate",):
            seconds, rate = 0.01 * drift / speed / scatter, 100 * speed / drift * scatter
            found.append(Run(target="latency", block=block, role=role, value=seconds, level="valid"))
            found.append(Run(target="batch", block=block, role=role, value=rate, level="valid", size=size))
    return tuple(found)


def cell(
    technique: str, speed: float = 1.0, *, backend: str = "onnxruntime", first: bool = False, **given: Any
) -> Cell:
    fields: dict[str, Any] = {
        "model": "minilm",
        "technique": technique,
        "backend": backend,
        "variant": f"{technique}+{backend}",
        "outcome": "ready",
        "quality": PASSES,
        "runs": runs(speed, first=first),
    }
    return Cell(**fields | given)


# --- knobs -----------------------------------------------------------------------------------------------------------


def table_of(*cells: Cell, random_weights: bool = False) -> Knobs:
    return Knobs(model="minilm", random_weights=random_weights, where=WHERE, size=8, cells=cells)


def test_every_knob_is_held_against_the_recipes_baseline() -> None:
    base = cell("baseline", backend="eager", first=True)
    text = "\n".join(knobs_part.knobs([table_of(base, cell("as it comes", 2.5), cell("half the threads", 0.5))]))
    assert ": 2.50× [2.50–2.51] faster |" in text
    assert "Fastest in batches: onnxruntime, 2.50×" in text
    assert "Shown to be slower than the baseline, one at a time or in batches: onnxruntime (half the threads)." in text


def test_what_fails_the_guard_is_never_called_the_fastest() -> None:
    base = cell("baseline", backend="eager", first=True)
    text = "\n".join(knobs_part.knobs([table_of(base, cell("bf16", 3.0, quality=FAILS), cell("as it comes", 2.0))]))
    assert "Fastest one at a time: onnxruntime, 2.00×" in text
    assert "Fastest one at a time: onnxruntime (bf16)" not in text


def test_the_same_refusal_is_one_row_and_what_was_not_timed_is_listed() -> None:
    why = "bf16 would be emulated | here"
    cells = [cell(knob, outcome="refused", reason=why, runs=(), quality=None) for knob in ("bf16", "freezing, bf16")]
    text = "\n".join(knobs_part.missing([table_of(*cells, cell("as it comes", runs=()))]))
    assert r"| onnxruntime | bf16, freezing, bf16 | MiniLM | bf16 would be emulated \| here. |" in text
    assert "- MiniLM: onnxruntime" in text


def test_knobs_that_come_to_the_same_are_there_once() -> None:
    one_core = [v.name for _, v in ways.variants("openvino", 1, images=False)]
    assert len(one_core) == len(set(one_core))
    names = [v.name for v, _ in ways.pairs(2, Variant(name="mine", backend=Named("eager")), images=True)]
    assert len(names) == len(set(names))
    assert names[0] == "mine"
    assert "eager" not in names


def test_channels_last_is_for_images() -> None:
    labels = [label for label, _ in ways.variants("eager", 2, images=False)]
    assert "channels last" not in labels
    assert "channels last" in [label for label, _ in ways.variants("eager", 2, images=True)]


def test_streams_have_as_many_callers() -> None:
    found = dict(ways.variants("openvino", 2, images=False))
    assert found["a stream a core"].backend.fields == {"streams": 2}
    assert found["a stream a core"].instances == 2
    assert found["half the threads"].backend.fields == {"threads": 1}


def test_everybody_sits_beside_the_baseline() -> None:
    cells = [cell(ways.BASELINE, backend="eager", first=True), *(cell(f"knob {i}") for i in range(7))]
    listed = table.sittings([*cells, cell("broken", outcome="failed")], waves=2)
    assert [len(s.candidates) for s in listed] == [5, 2, 5, 2]
    assert {s.base.technique for s in listed} == {ways.BASELINE}
    blocks = [b for s in listed for b in s.blocks]
    assert len(blocks) == len(set(blocks))
    assert table.sittings(cells[1:], waves=1) == []


# --- a race ----------------------------------------------------------------------------------------------------------


def sides(made: list[tuple[str, int, str]], *, failing: str = "") -> tuple[Side, ...]:
    def go(name: str) -> Callable[[int, Any], Run]:
        def run(block: int, role: Any) -> Run:
            if name == failing:
                raise VariantError("it is broken")
            made.append((name, block, role))
            return Run(target="batch", block=block, role=role, value=1.0, level="valid")

        return run

    return tuple(Side(name=name, go=go(name)) for name in ("ours", "theirs, really/so"))


def test_a_race_that_was_cut_goes_on_where_it_was(tmp_path: Path) -> None:
    made: list[tuple[str, int, str]] = []
    race = Race(name="a race", folder=tmp_path, sides=sides(made), blocks=3)
    go_on(msgspec.structs.replace(race, blocks=2), Clock(1000.0), lambda _: None)
    assert len(made) == 2 * 3
    assert sorted(role for name, block, role in made if name == "ours" and block == 0) == ["baseline", "repeat"]
    go_on(race, Clock(1000.0), lambda _: None)
    assert len(made) == len(set(made)) == 3 * 3
    assert list(race.missing()) == []
    assert len(runs_of(race, "ours")) == 6


def test_who_starts_slowly_sits_in_the_first_blocks_alone(tmp_path: Path) -> None:
    made: list[tuple[str, int, str]] = []
    first, other = sides(made)
    slow = msgspec.structs.replace(other, blocks=2)
    go_on(Race(name="a race", folder=tmp_path, sides=(first, slow), blocks=3), Clock(1000.0), lambda _: None)
    assert sorted(block for name, block, _ in made if name == slow.name) == [0, 1]
    assert sorted(block for name, block, _ in made if name == first.name) == [0, 0, 1, 1, 2, 2]


def test_a_race_without_time_makes_nothing_and_says_so(tmp_path: Path) -> None:
    made: list[tuple[str, int, str]] = []
    said: list[str] = []
    go_on(Race(name="a race", folder=tmp_path, sides=sides(made), blocks=3), Clock(0.5), said.append)
    assert made == []
    assert said == ["not measured, for want of time: a race from block 1 of 3"]


def test_who_fails_drops_out_unless_it_is_the_first(tmp_path: Path) -> None:
    made: list[tuple[str, int, str]] = []
    race = Race(name="a race", folder=tmp_path, sides=sides(made, failing="theirs, really/so"), blocks=2)
    assert go_on(race, Clock(1000.0), lambda _: None) == {"theirs, really/so": "it is broken"}
    assert len(made) == 4
    first = Race(name="a race", folder=tmp_path / "other", sides=sides(made, failing="ours"), blocks=2)
    with pytest.raises(VariantError, match="it is broken"):
        go_on(first, Clock(1000.0), lambda _: None)


# --- peers -----------------------------------------------------------------------------------------------------------


INT8: dict[str, Any] = {"compression": (Named("quantize_static"),)}


def met(ours: float, *, copies: float = 1.0, details: dict[str, dict[str, str]] | None = None) -> Rivals:
    cells = (
        cell(runtimes.ACCEL, ours, first=True, backend="openvino", variant="quantize_static+openvino", **INT8),
        cell(runtimes.APP, copies, backend="openvino", variant=runtimes.APP, **INT8),
        cell(runtimes.APP_SHIPPED, 1.1, backend="openvino", variant=runtimes.APP_SHIPPED, **INT8),
        cell(runtimes.PLAIN, 0.5, variant=runtimes.PLAIN),
    )
    contest = Contest(target="batch", size=8, cells=cells, details=details or {})
    return Rivals(model="minilm", random_weights=False, where=WHERE, contests=(contest,))


def test_winning_everywhere_holds() -> None:
    text = "\n".join(runtimes_part.rivals([met(1.2)]))
    assert "Each lower bound at least 0.95: holds. Above 1 against 2 (benchmark_app and onnxruntime, FP32)" in text
    assert "**accel**: `quantize_static+openvino`" in text


def test_losing_is_said_and_explained() -> None:
    details = {
        runtimes.ACCEL: {"streams": "1", "threads": "2", "precision hint": "float32"},
        runtimes.APP: {"num_streams": "2", "inference_num_threads": "2", "inference_precision_hint": "bf16"},
    }
    text = "\n".join(runtimes_part.rivals([met(0.8, details=details)]))
    assert "Each lower bound at least 0.95: **doesn't hold**." in text
    assert "- benchmark_app (0.80× [0.80–0.80]): streams: 2 there, 1 here" in text
    assert "precision of what isn't quantized: bf16 there, float32 here" in text
    assert "threads: " not in text.split("- benchmark_app (")[1].splitlines()[0]


def test_another_file_than_the_winners_is_said() -> None:
    text = "\n".join(runtimes_part.rivals([met(0.4)]))
    assert (
        "- onnxruntime, FP32 (0.80× [0.80–0.80]): it runs onnxruntime uncompressed, accel's winner openvino with"
        in text
    )


def test_what_the_shipped_loop_leaves_out_is_said_but_does_not_count() -> None:
    text = "\n".join(runtimes_part.rivals([met(1.02)]))
    assert "Each lower bound at least 0.95: holds." in text
    assert "its loop leaves the copies out; with them it is 0.91× [0.91–0.91] as fast" in text


def test_a_rival_without_a_file_is_a_row_with_its_reason() -> None:
    one = met(1.2)
    gone = cell(runtimes.AUTOTUNE, outcome="failed", reason="no compiler", runs=(), variant=runtimes.AUTOTUNE)
    contest = one.contests[0]
    more = msgspec.structs.replace(contest, cells=(*contest.cells, gone))
    text = "\n".join(runtimes_part.rivals([msgspec.structs.replace(one, contests=(more,))]))
    assert "| torch.compile max-autotune | failed: no compiler. |" in text


def test_benchmark_app_gets_the_files_types_and_hint_that_a_user_would_type(tmp_path: Path) -> None:
    for number in (1, 0):
        np.save(tmp_path / f"x-{number:03d}.npy", np.zeros((4, 3), np.float32))
    (batch, _) = rival.batches(tmp_path)
    words = rival.command(Path("m.xml"), tmp_path, batch, 4, "throughput")
    files = f"x:{tmp_path}/x-000.npy,{tmp_path}/x-001.npy"
    assert words[words.index("-i") + 1] == files
    assert words[words.index("-iop") + 1] == "x:f32"
    assert words[words.index("-hint") + 1] == "throughput"
    assert words[words.index("-b") + 1] == "4"


def test_items_are_stacked_inside_the_timed_span(tmp_path: Path) -> None:
    seen: list[Any] = []
    batches = [{"x": np.arange(6.0).reshape(3, 2) + i} for i in range(2)]
    found = rival.timed(lambda batch: seen.append(rival.stacked(batch["x"])), batches, 0.0)
    np.testing.assert_array_equal(seen[0], batches[0]["x"])
    assert found["rate"] * found["median_s"] > 0
    alone = np.zeros((1, 2))
    assert rival.stacked([alone]) is alone


def test_copying_takes_every_output_and_gives_every_item(tmp_path: Path) -> None:
    """benchmark_app's own main on a model that doubles its input: it runs, and says what it took."""
    ov = pytest.importorskip("openvino")
    opset = pytest.importorskip("openvino.opset13")
    x = opset.parameter([-1, -1], np.float32, name="x")
    twice = opset.multiply(x, opset.constant(np.float32(2.0)))
    twice.set_friendly_name("twice")
    model = ov.Model([twice], [x])
    model.inputs[0].set_names({"x"})
    ov.save_model(model, tmp_path / "m.xml")
    folder = tmp_path / "inputs"
    folder.mkdir()
    for i in range(3):
        np.save(folder / f"x-{i:03d}.npy", np.full((1, 4 + i), i, np.float32))
    # Lengths that differ: for them it refuses its synchronous calls.
    done = runtimes.asked_of("app-copying", tmp_path / "m.xml", folder, 0.05, "latency", timeout_s=120.0)
    assert done["median_s"] > 0
    assert done["detail"]["performance_hint"] == "LATENCY"
    assert "-hint latency -b 1" in done["command"]
    assert "-api async -nireq 1" in done["command"]


def test_a_rival_that_fails_says_its_last_line(tmp_path: Path) -> None:
    (tmp_path / "x-000.npy").write_bytes(b"no array")
    with pytest.raises(VariantError, match="Error"):
        runtimes.asked_of("onnxruntime", tmp_path / "none.onnx", tmp_path, 0.1, "latency", timeout_s=60.0)


def test_one_item_a_request_is_tried_where_batches_are_larger() -> None:
    assert runtimes.APP_ALONE in [r.name for r in runtimes.rivals("batch", 8)]
    assert runtimes.APP_ALONE not in [r.name for r in runtimes.rivals("batch", 1)]
    assert runtimes.APP_ALONE not in [r.name for r in runtimes.rivals("latency", 1)]


# --- search ----------------------------------------------------------------------------------------------------------


def tried(name: str, rates: dict[int, float], *, quality: Quality | None = PASSES, wait_s: float = 0.01) -> Tried:
    found = tuple(
        Run(target="batch", block=0, role="candidate", value=rate, level="valid", size=size)
        for size, rate in rates.items()
    )
    alone = Run(target="latency", block=0, role="candidate", value=wait_s, level="valid")
    measured = cell(name, variant=name, runs=(alone, *found), quality=quality)
    return Tried(cell=measured, seconds=3.0, made_s=10.0, took_s=5.0)


def test_the_grids_best_keeps_the_guard() -> None:
    listed = [
        tried("a", {1: 10.0, 8: 50.0}, wait_s=0.02),
        tried("b", {1: 20.0, 8: 40.0}, wait_s=0.01),
        tried("wrong", {1: 99.0, 8: 99.0}, quality=FAILS, wait_s=0.001),
    ]
    assert picks.best_of(listed, "batch") == Pick(variant="a", size=8, value=50.0)
    assert picks.best_of(listed, "latency") == Pick(variant="b", size=1, value=0.01)
    assert picks.best_of(listed[2:], "batch") is None


class SomeRow(NamedTuple):
    name: str
    p50: Estimate | None
    quality: Quality | None = PASSES
    status: str = "ok"
    evidence: str = "blocks"
    is_baseline: bool = False
    variant: Variant = Variant(name="v", backend=Named("eager"))


def estimate(value: float) -> Estimate:
    return Estimate(value=value, low=value, high=value, n=6, unit="s", method="")


class SomeConclusion(NamedTuple):
    rows: tuple[SomeRow, ...]
    batch: None = None


def test_the_pick_for_lone_requests_is_the_fastest_that_was_looked_at_closely() -> None:
    rows = (
        SomeRow("slow", estimate(0.02)),
        SomeRow("quick", estimate(0.01)),
        SomeRow("a glance", estimate(0.001), evidence="screening"),
        SomeRow("wrong", estimate(0.001), quality=FAILS),
        SomeRow("gone", None, status="failed"),
    )
    found = picks.pick_of(SomeConclusion(rows), "latency")  # type: ignore[arg-type]
    assert found == Pick(variant="quick", size=1, value=0.01)
    assert picks.pick_of(SomeConclusion(rows), "batch") is None  # type: ignore[arg-type]


def result(run_id: str, variant: str, phase: Any, **given: Any) -> Result:
    named = Variant(name=variant, backend=Named("eager"))
    return Result(run_id=run_id, study_id="s", phase=phase, variant=named, role="candidate", status="ok", **given)


def test_what_lay_in_the_cache_counts_and_confirmations_do_not() -> None:
    made = SetUp(export_s=3.0, compress_s=7.0, cached=True)
    opened = SetUp(import_s=1.0, open_s=0.5, first_run_s=0.5)
    results = [
        result("1", "a", "screening", set_up=made),
        result("2", "a", "blocks", set_up=made),
        result("3", "b", "screening", set_up=SetUp(export_s=100.0)),
        result("4", "a", "confirmation", wall_s=4.0, set_up=opened),
    ]
    assert picks.study_times(60.0, results) == {"study_s": 54.0, "made_s": 10.0, "confirming_s": 6.0}


def duel(pick: float, *, same: bool = False, quality: Quality | None = PASSES) -> Duel:
    best = cell("best", 1.0, first=True, variant="best-x")
    ours = cell("pick", pick, variant="pick-y")
    a, b = Pick(variant="x", size=8, value=1.0), Pick(variant="x" if same else "y", size=8, value=1.0)
    return Duel(target="batch", best=a, pick=b, same=same, best_cell=best, pick_cell=ours, fresh=quality)


def regret(*duels: Duel, study_s: float | None = 20.0, configurations: int = 20) -> Regret:
    return Regret(
        model="minilm",
        random_weights=False,
        where=WHERE,
        sizes=(1, 4, 16, 32),
        grid=tuple(tried(f"v{i}", {1: 1.0, 4: 2.0, 16: 3.0, 32: 4.0}) for i in range(configurations)),
        study_s=study_s,
        duels=duels,
    )


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (duel(0.97), "| 0.97× [0.97–0.97] | yes | passes |"),
        (duel(0.90), "| 0.90× [0.90–0.90] | **no** | passes |"),
        (duel(1.0, same=True), "| the same cell | yes | passes |"),
        (duel(1.1, quality=FAILS), "| yes | **fails** |"),
    ],
)
def test_regrets_are_held_to_five_percent_and_to_the_guard(one: Duel, said: str) -> None:
    assert said in "\n".join(regret_part.regrets([regret(one)]))


def test_the_share_is_of_measuring_and_of_everything() -> None:
    """20 configurations at 10 s of making and 5 s of measuring: 200 s and 100 s, and 4 sizes each: 80 cells."""
    one = msgspec.structs.replace(regret(duel(1.0), study_s=12.0), made_s=60.0)
    text = "\n".join(regret_part.regrets([one]))
    assert "| MiniLM | 80 of 3 s | 0 | 100 s | 12 s | 12 % | yes | 200 s, 60 s | 24 % |" in text
    assert "At most 15 % of the grid's time: 1 of 1 studies." in text
    assert "| 100 s | 30 s | 30 % | **no** |" in "\n".join(regret_part.regrets([regret(duel(1.0), study_s=30.0)]))
    few = "\n".join(regret_part.regrets([regret(duel(1.0), configurations=10)]))
    assert "| 40 (fewer than 60) of 3 s |" in few


def test_an_artefact_that_several_configurations_share_is_made_once() -> None:
    listed = [("a", "/one", 10.0), ("b", "/one", 10.0), ("c", "/two", 7.0)]
    assert grid.made_once(listed) == {"a": 10.0, "b": 0.0, "c": 7.0}


def test_a_race_that_was_not_run_says_so() -> None:
    unrun = duel(1.0)
    unrun = msgspec.structs.replace(unrun, pick_cell=msgspec.structs.replace(unrun.pick_cell, runs=()))
    assert "| not measured |  | passes |" in "\n".join(regret_part.regrets([regret(unrun)]))


def test_a_kept_grid_serves_on_a_processor_of_the_same_kind_alone(tmp_path: Path) -> None:
    elsewhere = regret(duel(1.0))
    here = msgspec.structs.replace(elsewhere, model="digits", where=Where.here())
    for one in (elsewhere, here):
        write(one, f"search-{one.model}", tmp_path)
    assert kept_grids(tmp_path) == {"digits": here.grid}


def test_half_a_grid_is_said_to_be_one_and_serves_nobody(tmp_path: Path) -> None:
    half = msgspec.structs.replace(regret(duel(1.0)), where=Where.here(), unmeasured=3)
    write(half, "search-minilm", tmp_path)
    assert kept_grids(tmp_path) == {}
    assert "**3 configurations still to come**" in "\n".join(regret_part.regrets([half]))


def test_grids_are_large_enough_and_nothing_is_there_twice() -> None:
    baseline = Variant(name="eager", backend=Named("eager"))
    for model in ("digits", "minilm", "resnet50", "bert_base"):
        listed = grid.configurations(2, baseline, images=model in ("digits", "resnet50"))
        names = [v.name for v, _ in listed]
        assert len(names) == len(set(names))
        assert len(names) * len(grid.sizes_of(model)) >= grid.LEAST
    able = [v for v, _ in grid.configurations(2, baseline, images=True)]
    plain = [v for v in able if not v.compression and v.backend.name == "onnxruntime"]
    assert (1 + len(plain)) * len(grid.sizes_of("tabular")) >= grid.LEAST
    crossed = [v for v, _ in grid.configurations(2, baseline, images=False, crossed="onnxruntime")]
    assert len({v.name for v in crossed}) == len(crossed)
    both_knobs = {"spinning": False, "optimization": "basic"}
    assert [v.instances for v in crossed if v.backend.fields == both_knobs] == [1, 2]
    both = [v for v in able if v.backend.name in ("onnxruntime", "openvino")]
    assert len(both) * len(grid.sizes_of("ocr")) >= grid.LEAST


def test_fresh_samples_are_not_the_recipes_own() -> None:
    found = fresh.digits()
    with np.load(Path(sys.modules["accel.demo"].__file__ or "").parent / "samples.npz") as stored:
        own = stored["image"][~stored["calibration"]]
    assert found["image"].shape == own.shape
    assert found["image"].dtype == own.dtype
    assert not (found["image"] == own).all(axis=(1, 2, 3)).any()


def test_fresh_rows_of_the_table_lie_near_the_held_out_ones() -> None:
    pytest.importorskip("sklearn")
    found, own = fresh.tabular(), recipe_module("tabular").samples()
    np.testing.assert_array_equal(found["labels"], own["labels"])
    near = (found["X"] - own["X"]).std(0) / own["X"].std(0)
    assert np.all((near > 0.04) & (near < 0.06))


# --- peaks -----------------------------------------------------------------------------------------------------------


def test_peaks_are_held_against_second_methods(tmp_path: Path) -> None:
    rates = {"accel": {"fp32/1": 95e9, "ram/2": 20e9}, "in C": {"fp32/1": 100e9, "ram/2": 10e9}}
    rounds = tuple(Round(at_unix_ns=i, rates=rates) for i in range(7))
    report = Report(machine=detect(), rounds=rounds, missing={"likwid": "it isn't installed"})
    (tmp_path / "peaks.json").write_bytes(msgspec.json.encode(report))
    text = "\n".join(peaks(tmp_path / "peaks.json"))
    assert "| fp32, 1 thread | in C | 95 GFLOP/s | 0.95 [0.95–0.95] | yes |" in text
    assert "| ram, 2 threads | in C | 20 GB/s | 2.00 [2.00–2.00] | **no** |" in text
    assert "Within 10 % of at least one of them: 1 of 2." in text
    assert "- No likwid: it isn't installed." in text
    assert peaks(tmp_path / "none.json") == []


# --- a second study --------------------------------------------------------------------------------------------------


def test_every_second_study_has_to_begin_in_time(tmp_path: Path) -> None:
    def model(name: str, *seconds: float) -> dict[str, Any]:
        return {"recipe": name, "first": {"seconds": 40.0}, "second": [{"seconds": s} for s in seconds]}

    path = tmp_path / "second_study.json"
    path.write_text(json.dumps({"models": [model("resnet50", 5.0, 9.0, 6.0), model("minilm", 3.0, 10.5, 4.0)]}))
    text = "\n".join(second(path))
    assert "| ResNet-50 | 40.0 s | 6.0 s (5.0, 9.0, 6.0) | yes |" in text
    assert "| MiniLM | 40.0 s | 4.0 s (3.0, 10.5, 4.0) | **no**: 10.5 s |" in text
    assert second(tmp_path / "none.json") == []


# --- the page --------------------------------------------------------------------------------------------------------


def test_everything_in_the_folder_is_on_the_page(tmp_path: Path) -> None:
    base = cell("baseline", backend="eager", first=True)
    write(table_of(base, cell("as it comes", 2.0)), "knobs-minilm", tmp_path)
    write(met(1.2), "peers-minilm", tmp_path)
    write(regret(duel(1.0)), "search-minilm", tmp_path)
    (tmp_path / "quota.json").write_text(json.dumps({"other": "people's"}))
    text = page.markdown(tmp_path)
    assert "- Under a quota: MiniLM; ResNet-50." in text
    assert "- Beside other runtimes: ResNet-50; BERT-base, 128 tokens." in text
    for expected in ("## Backends and knobs", "## Against other runtimes", "## The pick against a full grid"):
        assert expected in text
    assert "Measured on A processor, 2 cores (`0123`), 2023-11-14." in text
    assert text == page.markdown(tmp_path)
    assert text.endswith("\n")
