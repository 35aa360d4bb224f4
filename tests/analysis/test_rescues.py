"""What is said of rescues: shares by hand, the sentence of a finding, and that old studies have none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from accel.analysis import rescues
from accel.analysis.conclusion import Row
from accel.analysis.findings import findings
from accel.analysis.reading import conclude
from accel.errors import InputError
from accel.plugins import Named
from accel.recipe import Variant
from accel.rescue.record import Rescue, Step
from accel.result import Quality, Result
from tests.synthetic import synthetic_study

STATIC, TRANSFORMER = Named("quantize_static"), Named("quantize_static", {"model_type": "transformer"})
RULE = "accuracy may drop by at most 1 percentage point"
FAILING = Quality(
    outcome="fails", rule=RULE, metric="accuracy", value=0.3, reference_value=0.85, drop=0.55, samples=1000
)
BACK = Quality(
    outcome="passes", rule=RULE, metric="accuracy", value=0.848, reference_value=0.85, drop=0.002, samples=1000
)


def step(what: str, time: tuple[float, float, float] | None, *compression: Named, **more: Any) -> Step:
    value, low, high = time or (None, None, None)
    fields = {"kind": "switch", "relative_time": value, "relative_time_low": low, "relative_time_high": high, **more}
    return Step(what=what, compression=compression, **fields)  # type: ignore[arg-type]


START = step("as it was", (0.5, 0.48, 0.52), STATIC, kind="start")
FOUND = step("NNCF's mode for transformers", (0.6, 0.58, 0.62), TRANSFORMER, acceptable=True)


def rescue(*steps: Step, chosen: tuple[Named, ...] | None = (TRANSFORMER,)) -> Rescue:
    return Rescue(variant="int8", steps=steps, chosen=chosen, said="It worked.", seconds=9.0, complete=True)


def row(name: str, quality: Quality | None, *compression: Named, **more: Any) -> Row:
    variant = Variant(name=name, backend=Named("openvino"), compression=compression)
    return Row(name=name, variant=variant, quality=quality, **{"status": "ok", **more})


def test_the_share_kept_and_its_ends_by_hand() -> None:
    value, low, high = rescues.kept(rescue(START, FOUND)) or (0.0, 0.0, 0.0)
    assert value == pytest.approx(0.4 / 0.5)
    assert low == pytest.approx(0.38 / 0.52)
    assert high == pytest.approx(0.42 / 0.48)
    unsure = msgspec.structs.replace(FOUND, relative_time_low=None)
    assert rescues.kept(rescue(START, unsure)) == (pytest.approx(0.8), None, None)


@pytest.mark.parametrize("start", [step("slow", (1.1, 1.0, 1.2), STATIC, kind="start"), step("?", None, STATIC)])
def test_where_nothing_was_saved_or_timed_no_share_is_kept(start: Step) -> None:
    assert rescues.kept(rescue(start, FOUND)) is None
    assert rescues.kept(rescue(START, FOUND, chosen=(Named("other"),))) is None


@pytest.mark.parametrize(
    ("quality", "said"),
    [
        (FAILING, "lost 55 points of accuracy"),
        (
            Quality(outcome="fails", rule="top-1 agreement with the reference of at least 99 %", agreement=0.444),
            "gave the original's answer on only 44.4 % of the samples",
        ),
        (Quality(outcome="fails", rule="median SQNR of at least 20 dB", sqnr_db=3.21), "strayed to 3.2 dB from"),
        (Quality(outcome="fails", rule="outputs must be finite"), "failed the guard"),
    ],
)
def test_what_was_lost_in_words(quality: Quality, said: str) -> None:
    assert rescues.lost(quality).startswith(said)


def test_the_rescued_row_is_found_by_what_it_is_not_by_its_name() -> None:
    rows = [row("int8", FAILING, STATIC), row("mine", BACK, TRANSFORMER)]
    found = rescues.rescued_row(rescue(START, FOUND), rows)
    assert found is not None
    assert found.name == "mine"
    elsewhere = msgspec.structs.replace(rows[1].variant, backend=Named("onnxruntime"))
    rows[1] = msgspec.structs.replace(rows[1], variant=elsewhere)
    assert rescues.rescued_row(rescue(START, FOUND), rows) is None


# findings


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return synthetic_study(tmp_path_factory.mktemp("study"))


def said(record: Any, rescued: Rescue, *rows: Row) -> str:
    found = findings(rows, (), record, (), {}, rescued=(rescued,))
    lines = [f.what for f in found if f.what.startswith("`int8` lost")]
    assert len(lines) == 1
    return lines[0]


def test_a_rescue_that_worked_says_what_was_lost_and_what_is_kept(record: Any) -> None:
    rows = (row("int8", FAILING, STATIC, status="refused"), row("int8-rescued", BACK, TRANSFORMER))
    assert said(record, rescue(START, FOUND), *rows) == (
        "`int8` lost 55 points of accuracy; with NNCF's mode for transformers it passes the guard, accuracy 0.848 "
        "(was 0.850), and keeps 80 % [73–88] of the time saved, timed roughly during the rescue."
    )


def test_names_left_in_float_stand_in_the_sentence(record: Any) -> None:
    types = msgspec.structs.replace(FOUND, what="Add in float", left_float=("Add", "Softmax", "Mul", "Div", "Sub"))
    rows = (row("int8", FAILING, STATIC, status="refused"), row("int8-rescued", BACK, TRANSFORMER))
    assert "(in float: `Add`, `Softmax`, `Mul` and 2 more)" in said(record, rescue(START, types), *rows)


def test_what_the_evaluation_part_says_counts_not_the_validation_part(record: Any) -> None:
    still = row("int8-rescued", FAILING, TRANSFORMER, status="refused")
    line = said(record, rescue(START, FOUND), row("int8", FAILING, STATIC, status="refused"), still)
    assert "it still fails" in line
    assert "keeps" not in line, "no time is saved by what is refused"
    unsure = row("int8-rescued", msgspec.structs.replace(BACK, outcome="unresolved", needed=2300), TRANSFORMER)
    line = said(record, rescue(START, FOUND), row("int8", FAILING, STATIC, status="refused"), unsure)
    assert "1000 samples leave it unresolved; about 2,300 would settle it" in line


def test_no_improvement_and_not_measured_are_said(record: Any) -> None:
    failing = row("int8", FAILING, STATIC, status="refused")
    assert said(record, rescue(START, chosen=None), failing).endswith("; no improvement was found.")
    assert said(record, rescue(START, FOUND), failing).endswith("was found, but not measured.")


# reading


def test_a_study_reads_its_rescues_and_an_old_one_has_none(tmp_path: Path) -> None:
    study = synthetic_study(tmp_path)
    results = [Result.load(p) for p in sorted((tmp_path / "runs").glob("*.json"))]
    assert conclude(study, results, tmp_path / "runs").rescues == ()
    (tmp_path / "rescues").mkdir()
    made = rescue(START, FOUND)
    (tmp_path / "rescues" / "int8.json").write_bytes(msgspec.json.encode(made))
    assert conclude(study, results, tmp_path / "runs").rescues == (made,)
    (tmp_path / "rescues" / "int8.json").write_text("{")
    with pytest.raises(InputError, match=r"int8\.json"):
        conclude(study, results, tmp_path / "runs")
