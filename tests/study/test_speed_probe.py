"""A pruned model that nothing tuned is timed, but can't win, however fast and right it looks."""

from __future__ import annotations

from types import SimpleNamespace

import msgspec
import numpy as np
import pytest

from accel.analysis import guard
from accel.analysis.conclusion import Row
from accel.analysis.reading import conclude
from accel.compression import is_probe
from accel.errors import InputError
from accel.measurement.outputs import save_outputs
from accel.plugins import Named
from accel.recipe import Variant
from accel.report import table, words
from accel.result import Result
from accel.study.given import Given
from accel.study.judging import Judge
from accel.study.scoring import Terms, score
from tests.synthetic import BASELINE, Made, synthetic_study, usual_variants, variant


@pytest.mark.parametrize(
    ("techniques", "expected"),
    [
        ([], False),
        (["quantize_static"], False),
        (["prune_structured"], True),
        (["prune_magnitude"], True),
        (["prune_2_4"], True),
        (["low_rank"], True),
        (["prune_structured", "quantize_static"], True),
        (["prune_structured", "fine_tune"], False),
        (["prune_structured", "fine_tune", "quantize_static"], False),
        (["low_rank", "prune_structured", "fine_tune"], False),
        (["fine_tune", "prune_structured"], True),
        (["prune_structured", "fine_tune", "low_rank"], True),
    ],
)
def test_what_is_a_probe(techniques, expected):
    assert is_probe([Named(t) for t in techniques]) is expected


def test_an_unknown_technique_is_named():
    with pytest.raises(InputError, match="prune_structred"):
        is_probe([Named("prune_structred")])


def _terms(**more):
    fixed = {"accuracy_drop": 0.01, "compressed": True, "random_weights": False, "synthetic": False, "metric": None}
    return Terms(**{**fixed, **more})


@pytest.fixture
def answered(tmp_path):
    """The same 200 right answers of the candidate and of the reference; their labels."""
    labels = np.arange(200) % 10
    for name in ("pruned", "outputs"):
        save_outputs(tmp_path / f"{name}.npz", [{"logits": np.eye(10, dtype=np.float32)[i]} for i in labels])
    return tmp_path, labels


def test_a_probe_fails_with_its_figures_kept(answered):
    folder, labels = answered
    paths = folder / "pruned.npz", folder / "outputs.npz"
    honest = score(*paths, labels, "accuracy", _terms()).quality
    probe = score(*paths, labels, "accuracy", _terms(probe=True)).quality
    assert (honest.outcome, honest.value) == ("passes", 1.0)
    assert (probe.outcome, probe.rule) == ("fails", "a pruned model must be fine-tuned to win")
    assert probe.reason.startswith("a speed probe: ")
    assert guard.is_probe(probe)
    assert not guard.is_probe(honest)
    kept = {"outcome": honest.outcome, "rule": honest.rule, "reason": honest.reason}
    assert msgspec.structs.replace(probe, **kept) == honest


@pytest.mark.parametrize(
    ("techniques", "outcome"), [(["prune_structured"], "fails"), (["prune_structured", "fine_tune"], "passes")]
)
def test_the_judge_knows_a_probe_by_its_techniques(techniques, outcome, answered, monkeypatch):
    folder, labels = answered
    record = SimpleNamespace(
        accuracy_drop=0.1, source=SimpleNamespace(random_weights=False), synthetic=False, metric="accuracy"
    )
    context = SimpleNamespace(metric=Given(kind="none"), reference_ids=tuple(range(200)))
    monkeypatch.setattr("accel.study.judging.Samples", SimpleNamespace(open=lambda _: SimpleNamespace(labels=labels)))
    judge = Judge(SimpleNamespace(reference=folder, samples=folder), record, context)
    candidate = Variant(name="pruned", backend=Named("onnxruntime"), compression=tuple(map(Named, techniques)))
    assert judge.score(candidate, folder / "pruned.npz").quality.outcome == outcome


@pytest.fixture(scope="module")
def studied(tmp_path_factory):
    """A study with a probe that is ten times faster than everything else and answers all right."""
    folder = tmp_path_factory.mktemp("study")
    fastest = min(m.item_s for m in usual_variants() if m.status == "ok")
    pruned = Made(
        variant=variant("pruned", "onnxruntime", Named("prune_structured")),
        fixed_s=BASELINE.fixed_s / 50,
        item_s=fastest / 10,
        accuracy=0.984,
    )
    record = synthetic_study(folder, variants=(*usual_variants()[:3], pruned))
    for path in (folder / "runs").glob("*.json"):
        result = Result.load(path)
        if result.variant.name == "pruned" and result.quality is not None:
            msgspec.structs.replace(result, quality=guard.as_probe(result.quality)).save(folder / "runs")
    results = [Result.load(path) for path in (folder / "runs").glob("*.json")]
    return conclude(record, results, folder / "runs")


def test_ten_times_faster_and_right_it_still_does_not_win(studied):
    row: Row = studied.row("pruned")
    assert row.speedup_batch.ratio.value > 10
    assert row.speedup_batch.verdict == "FASTER"
    assert row.status == "refused"
    for answer in (studied.batch, studied.online):
        assert answer.winner not in ("pruned", BASELINE.variant.name)


def test_it_is_called_a_speed_probe_everywhere(studied):
    assert words.status_word(studied.row("pruned")) == "SPEED PROBE"
    shown = table.text(studied, 120, colour=False)
    assert "SPEED PROBE" in shown
    assert "nothing tuned the model after it was pruned" in shown
    assert "refused for accuracy" not in studied.subline
    assert "1 speed probe" in studied.subline
    (finding,) = [f for f in studied.findings if "speed probe" in f.what]
    assert "can't win" in finding.what
    assert "fine_tune" in finding.why
    assert not any("wrong" in f.what for f in studied.findings)


def test_the_chart_marks_it_apart(studied):
    from accel.report.charts.speed_accuracy import SpeedAccuracy

    said = str(SpeedAccuracy().spec(studied, {}, 600))
    assert "speed probe" in said
    assert "pruned (speed probe)" in said
