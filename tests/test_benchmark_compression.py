"""COMPRESSION.md is what its raw data says, to the byte; ratios and verdicts follow from the recorded runs."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from accel.errors import AccelError, VariantError
from accel.plugins import Named
from accel.result import Quality
from accel.study.budget import BudgetEnded
from accel.study.missing import NotTried
from benchmarks import subject
from benchmarks.batching.rows import Where
from benchmarks.compression import (
    bench,
    claims_part,
    page,
    peers_part,
    reading,
    rows,
    size,
    size_part,
    table_part,
    ways,
)
from benchmarks.compression.rows import Cell, Layers, Peers, Run, Sizes, Table
from benchmarks.compression.sittings import BLOCKS, ORDER, Clock, entrants, expected_s, sittings, spend, turns
from benchmarks.peers import compression as contest

REPORTS = Path(__file__).parents[1] / "reports"
WHERE = Where(cpu="A processor", cores=2, env_id="0123", unix_s=1_700_000_000)
PASSES = Quality(outcome="passes", rule="accuracy", value=0.98, reference_value=0.985, low=0.97, high=0.99)
FAILS = Quality(outcome="fails", rule="accuracy", value=0.3, reference_value=0.985, reason="accuracy fell")


@pytest.mark.skipif(not (REPORTS / page.NAME).is_file(), reason="the experiments weren't run for this tree")
def test_the_page_rebuilds_byte_for_byte() -> None:
    assert page.markdown(REPORTS / "compression") == (REPORTS / page.NAME).read_text("utf-8")


def runs(speed: float, *, repeat: bool = False, blocks: int = 6, level: Any = "valid") -> tuple[Run, ...]:
    """A machine that drifts by 2 % a block for everybody: 10 ms and 100 items/s at speed 1, with a little scatter."""
    found = []
    for block in range(blocks):
        drift = 1.02**block
        for role in ("baseline", "repeat") if repeat else ("candidate",):
            wobble = math.exp(0.002 * ((-1) ** block if role == "repeat" else 0))
            found.append(
                Run(target="latency", block=block, role=role, value=0.01 * drift * wobble / speed, level=level)
            )
            rate = 100 * speed / drift * wobble * (1.001 if block % 2 else 1.0)
            found.append(Run(target="batch", block=block, role=role, value=rate, level=level, size=8))
    return tuple(found)


def cell(technique: str, speed: float = 1.0, *, backend: str = "onnxruntime", **given: Any) -> Cell:
    compression = () if technique in ("none", "float32") else (Named(technique.split()[0]),)
    fields: dict[str, Any] = {
        "model": "minilm",
        "technique": technique,
        "backend": backend,
        "variant": f"{technique}+{backend}",
        "outcome": "ready",
        "compression": compression,
        "quality": PASSES,
        "artefact_bytes": 1_000_000 if not compression else 250_000,
        "item_s": 0.002,
        "key": "0123456789",
        "runs": runs(speed, repeat=not compression),
    }
    return Cell(**fields | given)


def refused(technique: str, backend: str, reason: str) -> Cell:
    return cell(technique, backend=backend, outcome="refused", reason=reason, runs=(), quality=None)


def table(*cells: Cell, model: str = "minilm", random_weights: bool = False) -> Table:
    return Table(
        model=model,
        random_weights=random_weights,
        where=WHERE,
        caches_bytes={"L1d": 32_768, "L3": 33_554_432},
        evaluation=400,
        calibration=90,
        accuracy_drop=0.01,
        cells=tuple(msgspec.structs.replace(c, model=model) for c in cells),
    )


# --- reading ---------------------------------------------------------------------------------------------------------


def test_a_ratio_is_that_of_the_blocks_whatever_the_machine_drifts() -> None:
    found = {x.cell.technique: x for x in reading.lines([cell("none"), cell("quantize_static", 2.5)])}
    latency = found["quantize_static"].against["latency"]
    assert latency.ratio.value == pytest.approx(2.5, rel=0.005)
    assert latency.verdict == "FASTER"
    assert found["none"].against == {}


def test_twice_as_slow_is_slower_in_both_units() -> None:
    line = reading.lines([cell("none"), cell("quantize_dynamic", 0.5)])[1]
    assert {t: c.verdict for t, c in line.against.items()} == {"latency": "SLOWER", "batch": "SLOWER"}


def test_an_effect_below_what_counts_is_the_same() -> None:
    line = reading.lines([cell("none"), cell("low_rank", 1.02)])[1]
    assert line.against["latency"].verdict == "EQUIVALENT"


def test_invalid_runs_and_other_backends_are_not_compared() -> None:
    other = cell("quantize_static", 2.0, backend="openvino")
    broken = cell("quantize_dynamic", 2.0, runs=runs(2.0, level="invalid"))
    found = reading.lines([cell("none"), other, broken])
    assert [x.against for x in found[1:]] == [{}, {}]


def test_two_blocks_give_no_verdict() -> None:
    assert reading.lines([cell("none"), cell("low_rank", 3.0, runs=runs(3.0, blocks=2))])[1].against == {}


@pytest.mark.parametrize(("speed", "wanted", "said"), [(2.5, 2.0, True), (1.8, 2.0, False), (2.0, 2.0, None)])
def test_what_was_wanted_holds_where_the_whole_interval_reaches_it(
    speed: float, wanted: float, said: bool | None
) -> None:
    line = reading.lines([cell("none"), cell("quantize_static", speed)])[1]
    assert reading.reaches(line.against["latency"], wanted) is said


def test_a_disturbed_race_settles_nothing() -> None:
    noisy = cell("quantize_static", 3.0, runs=runs(3.0, level="unstable"))
    found = reading.lines([cell("none"), noisy])[1].against["latency"]
    assert found.verdict == "INCONCLUSIVE"
    assert reading.reaches(found, 2.0) is None
    assert reading.at_least_as_fast(found) is None


# --- the page --------------------------------------------------------------------------------------------------------


def test_static_int8_holds_only_with_outputs_that_pass() -> None:
    good = table(cell("none"), cell("quantize_static", 1.8))
    bad = table(cell("none"), cell("quantize_static", 1.8, quality=FAILS))
    assert "MiniLM: 1.5× holds on onnxruntime." in "\n".join(claims_part.static([good]))
    assert "MiniLM: 1.5× **doesn't hold** on onnxruntime." in "\n".join(claims_part.static([bad]))


@pytest.mark.parametrize(
    ("both", "said"), [(3.0, "is faster than"), (1.5, "is **not** faster"), (2.002, "isn't settled")]
)
def test_int8_on_top_of_pruning_is_held_against_either_alone(both: float, said: str) -> None:
    cells = [cell("none"), cell(ways.STATIC, 1.5), cell(ways.TUNED, 2.0), cell(ways.BOTH, both)]
    text = "\n".join(claims_part.pruning([table(*cells, model="digits")]))
    assert f"one at a time, INT8 on top of pruning {said}" in text or said in text
    assert "| 1.6× | **holds** |" in text


def test_fast_and_wrong_is_said() -> None:
    text = "\n".join(table_part.summary([table(cell("none"), cell("quantize_static", 1.8, quality=FAILS))]))
    assert "**Fast and wrong** (1)" in text
    assert "| `quantize_static` | 1 faster (1 fail) |" in text


def test_a_speed_probe_is_called_one() -> None:
    text = "\n".join(table_part.models([table(cell("none"), cell("prune_structured", 2.0, quality=FAILS, probe=True))]))
    assert "speed probe (0.300, was 0.985)" in text
    assert "**fails**" not in text


def test_the_same_refusal_is_one_row() -> None:
    why = "There is no static quantizer for the backend `eager`"
    tables = [table(refused("quantize_static", "eager", why), model=m) for m in ("minilm", "digits")]
    text = "\n".join(table_part.missing(tables))
    assert f"| `quantize_static` | eager | MiniLM, Digits CNN | {why}. |" in text


def test_what_was_not_timed_is_listed() -> None:
    text = "\n".join(table_part.missing([table(cell("none"), cell("low_rank", runs=()))]))
    assert "Prepared, but there was no time to measure them:\n- MiniLM on onnxruntime: `low_rank`" in text


def test_random_weights_are_labelled() -> None:
    assert "Random weights" in "\n".join(table_part.models([table(cell("none"), random_weights=True)]))


def sizes(stored: int) -> Sizes:
    four = Layers(
        technique="quantize_weights int4",
        backend="onnxruntime",
        layers=2,
        float_bytes=100_000_000,
        stored_bytes=stored,
        codes={"int4": 25_000_000},
        file_bytes=stored,
    )
    return Sizes(model="minilm", float_file_bytes={"onnxruntime": 110_000_000}, layers=(four,))


@pytest.mark.parametrize(("stored", "said"), [(16_000_000, "(holds)"), (21_000_000, "(**does not hold**)")])
def test_four_bits_are_held_to_a_fifth(stored: int, said: str) -> None:
    timed = table(cell("none"), cell("quantize_weights int4", 0.8))
    text = "\n".join(size_part.sizes([sizes(stored)], [timed]))
    assert said in text
    assert "more than the last-level cache of 33.6 MB" in text
    assert "`quantize_weights int4` on onnxruntime 0.80× [0.80–0.80] **slower**" in text


def peers(speed: float, beside: Quality) -> Peers:
    tool = cell("nncf", 1.0)
    return Peers(
        model="minilm",
        random_weights=False,
        where=WHERE,
        settings={"nncf for onnxruntime": "nncf.quantize(model, dataset)"},
        cells=(cell("float32", 0.5), cell("accel", speed), tool, *contest.absent("minilm")),
        beside={tool.variant: beside},
    )


@pytest.mark.parametrize(
    ("speed", "quality", "said"),
    [(1.5, PASSES, "| yes | yes |"), (1.0, PASSES, "| yes | yes |"), (0.8, FAILS, "| **no** | **no** |")],
)
def test_peers_are_held_against_accel(speed: float, quality: Quality, said: str) -> None:
    text = "\n".join(peers_part.peers([peers(speed, quality)]))
    assert said in text
    assert f"accel's file: {'not so against' if speed < 1 else 'at least as fast and as accurate as'} nncf." in text
    assert "| neural-compressor | skipped: no environment that has it is named. Set NEURAL_COMPRESSOR to" in text


def test_everything_in_the_folder_is_on_the_page(tmp_path: Path) -> None:
    one = table(cell("none"), cell("quantize_static", 1.8), refused("low_rank", "eager", "It | isn't <tried>"))
    rows.write(one, "table-minilm", tmp_path)
    rows.write(sizes(16_000_000), "size-minilm", tmp_path)
    rows.write(peers(1.2, PASSES), "peers-minilm", tmp_path)
    text = page.markdown(tmp_path)
    for expected in ("## Static INT8", "## Technique by", "### MiniLM", "## Size", "## Against other", "## Refused"):
        assert expected in text
    assert r"It \| isn't &lt;tried>" in text
    assert text == page.markdown(tmp_path)


# --- which pairs, and when -------------------------------------------------------------------------------------------


def test_every_pair_is_one_of_the_table_and_told_once() -> None:
    models = ("digits", "ocr")
    both = [(m, w.technique, b) for telling in (True, False) for m, w, b in ways.pairs(models, telling=telling)]
    assert len(both) == len(set(both)) == sum(len(ways.ways(m)) for m in models) * len(ways.BACKENDS)
    first = both[: len(models) * 5]
    assert {t for _, t, _ in first} == {"none", "quantize_static", "quantize_dynamic"}


def four() -> dict[str, list[Cell]]:
    techniques = ("none", "quantize_static", "quantize_dynamic", "low_rank", "prune_magnitude")
    return {"minilm": [cell(t, runs=()) for t in techniques]}


def test_telling_pairs_sit_twice_before_the_others_once() -> None:
    listed = list(sittings(four()))
    assert [(s.telling, s.wave) for s in listed] == list(ORDER)
    assert [c.technique for c in listed[0].candidates] == ["quantize_static", "quantize_dynamic"]
    assert [c.technique for c in listed[2].candidates] == ["low_rank", "prune_magnitude"]
    blocks = [b for s in listed for b in s.blocks]
    assert len(blocks) == len(set(blocks)) == BLOCKS * len(ORDER)


def test_without_the_float_form_nobody_sits() -> None:
    cells = [c for c in four()["minilm"] if c.technique != "none"]
    assert list(sittings({"minilm": cells})) == []


def test_runs_have_names_of_their_own() -> None:
    sitting = next(iter(sittings(four())))
    by_variant = {c.variant: c for c in sitting.cells}
    named = [t.run_id for who in entrants(sitting) for b in sitting.blocks for t in turns(by_variant[who[0]], who, b)]
    assert len(named) == len(set(named)) == 4 * BLOCKS * 2
    again = msgspec.structs.replace(sitting.base, key="another-key")
    assert not {t.run_id for t in turns(again, entrants(sitting)[0], 0)} & set(named)


def test_time_is_spent_in_order_and_what_does_not_fit_is_said() -> None:
    now = [0.0]
    listed = list(sittings(four()))
    long = expected_s(listed[0])
    made: list[Any] = []

    def go(sitting: Any) -> None:
        made.append(sitting)
        now[0] += expected_s(sitting)

    left = spend(listed, Clock(2.5 * long, lambda: now[0]), done=lambda s: False, go=go, said=lambda _: None)
    assert made == listed[:2]
    assert left == listed[2:]


def test_a_slower_machine_is_learned() -> None:
    now = [0.0]
    clock = Clock(100.0, lambda: now[0])
    assert clock.fits(60.0)
    clock.took(10.0, 30.0)
    assert not clock.fits(60.0)


# --- bytes -----------------------------------------------------------------------------------------------------------


def test_bytes_of_a_four_bit_layer_are_counted_by_hand(tmp_path: Path) -> None:
    """K = 64, N = 32, blocks of 32: 1,024 bytes of codes, 64 scales of 4 bytes; float32: 8,192."""
    codes = helper.make_tensor("B", TensorProto.UINT8, [32, 2, 16], np.zeros(1024, np.uint8).tobytes(), raw=True)
    scales = helper.make_tensor("scales", TensorProto.FLOAT, [64], np.ones(64, np.float32).tobytes(), raw=True)
    node = helper.make_node(
        "MatMulNBits", ["x", "B", "scales"], ["y"], domain="com.microsoft", K=64, N=32, bits=4, block_size=32
    )
    found = size.onnx_weights(saved(tmp_path, node, [codes, scales]))
    assert [(w.count, w.kind, w.stored_bytes) for w in found] == [(2048, "int4", 1024 + 256)]


def test_bytes_of_an_eight_bit_layer_hold_its_scales(tmp_path: Path) -> None:
    codes = helper.make_tensor("w", TensorProto.INT8, [32, 64], np.zeros(2048, np.int8).tobytes(), raw=True)
    scale = helper.make_tensor("s", TensorProto.FLOAT, [32], np.ones(32, np.float32).tobytes(), raw=True)
    zero = helper.make_tensor("z", TensorProto.INT8, [32], np.zeros(32, np.int8).tobytes(), raw=True)
    bias = helper.make_tensor("b", TensorProto.FLOAT, [512], np.ones(512, np.float32).tobytes(), raw=True)
    node = helper.make_node("DequantizeLinear", ["w", "s", "z"], ["y"], axis=0)
    found = size.onnx_weights(saved(tmp_path, node, [codes, scale, zero, bias]))
    assert [(w.count, w.kind, w.stored_bytes) for w in found] == [(2048, "int8", 2048 + 128 + 32)]


def saved(folder: Path, node: Any, initializers: list[Any]) -> Path:
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([node], "g", [], [y], initializers)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]), folder / "m.onnx")
    return folder / "m.onnx"


def test_bytes_of_an_openvino_layer_hold_its_scales(tmp_path: Path) -> None:
    ov = pytest.importorskip("openvino")
    opset = pytest.importorskip("openvino.opset13")
    x = opset.parameter([1, 64], np.float32, name="x")
    weight = opset.constant(np.ones((32, 64), np.int8))
    scaled = opset.multiply(opset.convert(weight, "f32"), opset.constant(np.full((32, 1), 0.5, np.float32)))
    ov.save_model(ov.Model([opset.matmul(x, scaled, False, True)], [x]), tmp_path / "m.xml", compress_to_fp16=False)
    found = size.openvino_weights(tmp_path / "m.xml")
    assert [(w.count, w.kind, w.stored_bytes) for w in found] == [(2048, "i8", 2048 + 128)]


# --- preparing -------------------------------------------------------------------------------------------------------


def test_a_tool_that_fails_says_its_last_line() -> None:
    with pytest.raises(VariantError, match="ValueError: no such thing"):
        contest.make([sys.executable, "-c", "raise ValueError('no such thing')"], 30.0)


def test_a_transformer_meets_nncf_as_its_documentation_says_too() -> None:
    assert "nncf, model_type=TRANSFORMER" in contest.tools("minilm", "openvino")
    assert "nncf, model_type=TRANSFORMER" not in contest.tools("resnet50", "openvino")


@pytest.mark.parametrize(
    ("error", "outcome", "reason"),
    [
        (NotTried("no kernels", "Use another.", "refused"), "refused", "no kernels"),
        (NotTried("`torch` is not installed", "pip install torch", "skipped"), "skipped", "`torch` is not installed"),
        (BudgetEnded("compiling"), "late", "making it took longer than 240 s (while compiling)"),
        (VariantError("it is broken"), "failed", "it is broken"),
        (VariantError(f"no `{subject.ROOT}/recipes/a.py`"), "failed", "no `recipes/a.py`"),
    ],
)
def test_why_there_is_no_figure_is_kept(error: AccelError, outcome: str, reason: str) -> None:
    found = bench._why(error, "failed", 240.0)
    assert (found["outcome"], found["reason"]) == (outcome, reason)


def test_names_and_records_hold_no_path_of_this_machine() -> None:
    labelled = next(w for w in ways.ways("digits") if w.technique == ways.LABELLED)
    assert str(subject.ROOT) in labelled.compression[1].fields["by"]
    assert ways.portable(labelled.compression)[1].fields["by"] == ways.TRAINERS["digits"]
    assert ways.variant_of(labelled, "onnxruntime").name == "prune_structured+fine_tune-by-with_labels+onnxruntime"


def test_a_cell_is_read_back_as_it_was_kept(tmp_path: Path) -> None:
    one = cell("quantize_static", 2.0)
    rows.keep(tmp_path, one)
    assert rows.load(tmp_path, one.variant) == one
    rows.cell_path(tmp_path, one.variant).write_text("{half")
    assert rows.load(tmp_path, one.variant) is None


def test_the_tool_in_another_environment_is_a_row_or_a_peer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NEURAL_COMPRESSOR", raising=False)
    (row,) = contest.absent("minilm")
    assert (row.outcome, "NEURAL_COMPRESSOR" in row.next_step) == ("skipped", True)
    assert contest.ABSENT not in contest.tools("minilm", "onnxruntime")
    (tmp_path / "python").write_text("")
    monkeypatch.setenv("NEURAL_COMPRESSOR", str(tmp_path / "python"))
    assert contest.absent("minilm") == ()
    assert contest.ABSENT in contest.tools("minilm", "onnxruntime")
    assert contest.ABSENT not in contest.tools("minilm", "openvino")


def test_the_other_environment_reads_items_in_order(tmp_path: Path) -> None:
    from benchmarks.peers.by_neural_compressor import Items, read

    np.savez(tmp_path / "c.npz", **{f"{i}/x": np.full((1, 2), i) for i in (10, 2, 0)})
    rows = read(tmp_path / "c.npz")
    assert [int(row["x"][0, 0]) for row in rows] == [0, 2, 10]
    assert [row["x"].shape for row, _ in Items(rows)] == [(1, 2)] * 3


def test_rescues_are_read_from_their_files() -> None:
    from benchmarks.compression.rescue import Row
    from benchmarks.compression.rescue_part import rescues

    found = rows.read(Row, "rescue-*.json", rows.FOLDER)
    one = next(row for row in found if row.case == "minilm-onnxruntime")
    text = "\n".join(rescues([one]))
    kept = one.kept["batch"]
    assert f"{kept.value:.0%} [{kept.low:.0%}–{kept.high:.0%}]" in text
    assert "0.899 passes | 0.801 fails | 0.899 passes" in text
    assert "not told" in "\n".join(rescues([msgspec.structs.replace(one, kept={})]))
    assert rescues([]) == []
