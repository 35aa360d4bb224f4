"""What a rescue is given and what is left of it: the evaluation part never gets there, whatever ids are asked for."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest

from accel.analysis.rescues import read, steps_of
from accel.measurement.isolation import ChildFailed
from accel.measurement.outputs import save_outputs
from accel.plugins import Named
from accel.recipe import Variant
from accel.rescue.record import Rescue, Step
from accel.samples import materialise
from accel.study import prepare_child
from accel.study.budget import BudgetEnded
from accel.study.folder import StudyFolder
from accel.study.given import Given, give
from accel.study.rescuer import Rescuer, cut, keep
from accel.study.scoring import Terms

STATIC = Named("quantize_static")
VARIANT = Variant(name="int8", backend=Named("onnxruntime"), compression=(STATIC,))
TERMS = Terms(accuracy_drop=0.01, compressed=True, random_weights=False, synthetic=False, metric="accuracy")
CLASSES = 5


def step(what: str, relative_time: float | None, *, acceptable: bool = True, **more: Any) -> Step:
    compression = (Named("quantize_static", {"method": what}),)
    fields = {"kind": "switch", "compression": compression, "acceptable": acceptable, **more}
    return Step(what=what, relative_time=relative_time, **fields)  # type: ignore[arg-type]


def found(*steps: Step) -> Rescue:
    return Rescue(variant="int8", steps=steps, chosen=None, said="Nothing.", seconds=0.0, complete=True)


# the child's side


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A command about 200 samples whose label is the class of their reference's output."""
    folder = StudyFolder(tmp_path)
    folder.create(resume=True)
    x = np.random.default_rng(0).normal(size=(200, CLASSES)).astype(np.float32)
    samples = materialise({"x": x}, None, folder.samples, labels=x.argmax(1), metric="accuracy", seed=4)
    ids = [int(i) for i in samples.validation[::2]]
    save_outputs(folder.reference / "validation.npz", [{"y": x[i]} for i in ids], ids)
    monkeypatch.setattr(prepare_child, "_model", lambda command, samples: samples)
    monkeypatch.setattr(prepare_child, "stage", lambda text: None)
    return {
        "variant": msgspec.to_builtins(VARIANT),
        "samples": str(folder.samples),
        "seconds": 5.0,
        "steps": str(tmp_path / "rescues" / "int8"),
        "reference": str(folder.reference / "validation.npz"),
        "ids": ids,
        "metric": msgspec.to_builtins(give(None, folder.model, "metric")),
        "terms": msgspec.to_builtins(TERMS),
        "x": x,
    }


def test_the_search_sees_calibration_and_validation_rows_alone(
    asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}

    def search(variant: Any, model: Any, samples: Any, judge: Any, **more: Any) -> Rescue:
        right = {"y": [samples.inputs["x"][i] for i in samples.validation]}
        seen.update(variant=variant, model=model, samples=samples, more=more, right=judge(right))
        seen["reversed"] = judge({"y": right["y"][::-1]})
        more["on_step"](step("a", 0.5))
        return found()

    monkeypatch.setattr("accel.rescue.search.rescue", search)
    reply = prepare_child.rescue(asked)
    samples = seen["samples"]
    assert len(samples.evaluation) == 0
    everything = materialise({"x": asked["x"]}, None, Path(asked["steps"]) / "again", seed=4)
    kept = {tuple(row) for row in samples.inputs["x"]}
    assert kept == {tuple(asked["x"][i]) for i in [*everything.calibration, *asked["ids"]]}
    assert not kept & {tuple(asked["x"][i]) for i in everything.evaluation}
    assert [tuple(samples.inputs["x"][i]) for i in samples.validation] == [tuple(asked["x"][i]) for i in asked["ids"]]
    assert seen["right"].value == 1.0, "outputs, reference and labels are of the same samples in the same order"
    assert seen["right"].samples == len(asked["ids"])
    assert seen["reversed"].value < 0.6
    assert seen["model"] is samples, "the model's own example inputs come from these rows too"
    assert seen["more"]["seconds"] == 5.0
    assert msgspec.convert(reply, Rescue) == found()


def test_what_may_be_chosen_is_what_may_win(asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}
    monkeypatch.setattr("accel.rescue.search.rescue", lambda *args, **more: seen.update(more) or found())
    prepare_child.rescue(asked)
    quality = prepare_child._judge(asked, _samples(asked))({"y": [asked["x"][i] for i in asked["ids"]]})
    for outcome, drop, may in (("passes", 0.0, True), ("fails", 0.0, False), ("unresolved", 0.009, True)):
        assert seen["within"](msgspec.structs.replace(quality, outcome=outcome, drop=drop)) is may
    assert not seen["within"](msgspec.structs.replace(quality, outcome="unresolved", drop=0.011))


def _samples(asked: dict[str, Any]) -> Any:
    everything = materialise({"x": asked["x"]}, None, Path(asked["steps"]) / "s", labels=asked["x"].argmax(1), seed=4)
    return everything.only([*everything.calibration, *asked["ids"]])


# the parent's side


class Fakes:
    """A workshop whose child does what a test says, a reference that is there already."""

    def __init__(self, folder: Path) -> None:
        self.root = folder
        self.outcome: Any = found()
        self.asked: list[tuple[dict[str, Any], float]] = []

    def rescue(self, variant: Variant, asked: dict[str, Any], on_stage: Any, *, longest_s: float) -> Rescue:
        self.asked.append((asked, longest_s))
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    def validation(self, most_s: float) -> tuple[Path, tuple[int, ...]]:
        assert most_s < 60
        return self.root / "reference" / "validation.npz", (3, 5, 8)

    def rescuer(self) -> Rescuer:
        record: Any = Record(source=SimpleNamespace(random_weights=False), signature={}, facts={})
        context: Any = SimpleNamespace(metric=Given(kind="none"), load_s=0.1)
        folder: Any = SimpleNamespace(root=self.root, samples=self.root / "samples")
        return Rescuer(folder, record, context, self, self, lambda who: lambda text: None)  # type: ignore[arg-type]

    def steps(self, *steps: Step) -> None:
        (self.root / "rescues/int8").mkdir(parents=True)
        lines = b"".join(msgspec.json.encode(s) + b"\n" for s in steps)
        (self.root / "rescues/int8/steps.jsonl").write_bytes(lines + b'{"what": "cut in ha')


class Record(msgspec.Struct, frozen=True):
    """The part of a study's record that is used here."""

    source: Any
    signature: Any
    facts: Any
    accuracy_drop: float = 0.01
    synthetic: bool = False
    metric: str | None = "accuracy"


def test_it_is_asked_about_the_validation_samples_within_its_time(tmp_path: Path) -> None:
    fakes = Fakes(tmp_path)
    made = fakes.rescuer()(VARIANT, 60.0)
    ((asked, longest_s),) = fakes.asked
    assert asked["ids"] == [3, 5, 8]
    assert asked["steps"] == str(tmp_path / "rescues" / "int8")
    assert asked["terms"]["accuracy_drop"] == 0.01
    assert 59 < asked["seconds"] <= 60 < longest_s
    assert made.said == "Nothing."


@pytest.mark.parametrize(
    ("error", "complete"),
    [
        (BudgetEnded("rescue: nodes"), False),
        (ChildFailed("did not answer within 90 s", cause="hang"), False),
        (ChildFailed("was stopped: out of memory", cause="memory"), True),
    ],
)
def test_a_child_that_is_cut_or_breaks_leaves_the_best_of_its_steps(
    tmp_path: Path, error: Exception, complete: bool
) -> None:
    fakes = Fakes(tmp_path)
    start = step("start", 0.4, kind="start", acceptable=False)
    fakes.steps(start, step("slow", 0.9), step("fast", 0.6), step("wrong", 0.5, acceptable=False), step("no", 1.1))
    fakes.outcome = error
    made = fakes.rescuer()(VARIANT, 60.0)
    assert made.chosen == (Named("quantize_static", {"method": "fast"}),)
    assert (len(made.steps), made.complete) == (5, complete)
    assert made.said.startswith("Cut short, since ")
    assert made.said.endswith("the best before was: fast.")


def test_nothing_acceptable_is_no_improvement() -> None:
    assert cut("int8", (), "it broke", complete=True).chosen is None
    worse = cut("int8", (step("a", 0.5, acceptable=False), step("b", 1.2)), "it broke", complete=True)
    assert worse.chosen is None
    assert worse.said == "Cut short, since it broke; no improvement was found before."


def test_what_is_kept_is_read_back_and_half_a_line_is_left_out(tmp_path: Path) -> None:
    keep(tmp_path, found(step("a", 0.5)))
    assert read(tmp_path) == (found(step("a", 0.5)),)
    Fakes(tmp_path).steps(step("a", 0.5))
    assert steps_of(tmp_path / "rescues/int8") == (step("a", 0.5),)
    assert read(tmp_path) == (found(step("a", 0.5)),), "steps of a search aren't a rescue"
