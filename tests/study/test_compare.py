"""Studies are compared as they lie on disk; the gate measures what they kept again, wherever the folder came from."""

from __future__ import annotations

import inspect
import json
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

import accel
from accel import plugins
from accel.errors import GateFailed, InputError
from accel.model import Signature, Tensor
from accel.plugins import Named
from accel.recipe import Variant
from accel.result import Memory, Result, SetUp
from accel.samples import materialise
from accel.study.compare import StudyComparison
from accel.study.folder import StudyFolder
from accel.study.kept import Index, Kept, find, kept, kept_bytes
from accel.study.profiles import PROFILES
from accel.study.standin import stand_in
from tests import small_models
from tests.synthetic import synthetic_study, usual_variants

WINNER = "openvino int8"
_MADE: dict[tuple[int, float, int], Path] = {}


def stored(folder: Path, *, seed: int = 0, slower: float = 1.0, fewer: int = 0) -> Path:
    """A study of known truth on disk; nothing was measured and nothing is kept."""
    made = usual_variants(slower=slower)
    asked = (seed, slower, fewer)
    if asked not in _MADE:
        _MADE[asked] = Path(tempfile.mkdtemp(dir=folder.parent.parent)) / "study"
        synthetic_study(_MADE[asked], seed=seed, variants=made[: len(made) - fewer])
    shutil.copytree(_MADE[asked], folder)
    return folder


def keeping(folder: Path, *, backend: str = "stub", samples: int = 48, item_s: float = 0.001, size: int = 5000) -> Path:
    """The same with artefacts of the stub as what its winner kept, and samples it was measured with."""
    stored(folder)
    signature = Signature(
        inputs=(Tensor(name="x", dtype="float32", shape=("batch", 16)),),
        outputs=(Tensor(name="y", dtype="float32", shape=("batch", 4)),),
        batch="any",
    )
    given = {"x": np.random.default_rng(0).normal(size=(samples, 16)).astype(np.float32)}
    labels = np.zeros(samples, np.int64)  # the stub answers with zeros, so its first class is always right
    materialise(given, signature, folder / "samples", labels=labels, seed=0, calibration=0)
    files = StudyFolder(folder)
    files.artefacts.mkdir(exist_ok=True)
    artefact = stand_in(files, "winner", item_s=item_s)
    home = folder / "winner" / "batch"
    home.mkdir(parents=True)
    Path(artefact.folder).rename(home / "artefact")
    one = Kept(
        variant=Variant(name=WINNER, backend=Named(backend, {"item_s": item_s, "wait": "sleep"})),
        roles=("batch", "online"),
        folder="winner/batch/artefact",
        form="onnx",
        set_up=SetUp(),
        artefact_bytes=size,
        batch_size=16,
    )
    (folder / "winner" / "kept.json").write_bytes(msgspec.json.encode(Index(kept=(one,))))
    return folder


# --- stored numbers ----------------------------------------------------------------------------------------------


def test_two_studies_say_what_moved_appeared_and_vanished(tmp_path: Path) -> None:
    old, new = stored(tmp_path / "old", fewer=6), stored(tmp_path / "new", seed=3, slower=1.1)
    found = accel.compare(old, new)
    ratios = {(m.variant, m.metric): m.ratio for m in found.changes.moved}
    assert ratios["openvino", "p50"].value == pytest.approx(1.1, rel=0.03)
    assert ratios["openvino", "throughput"].value == pytest.approx(1 / 1.1, rel=0.03)
    assert ratios["original", "p50"].value == pytest.approx(1.0, rel=0.03)
    assert found.changes.appeared
    assert found.changes.vanished == ()
    assert accel.compare(new, old).changes.vanished == found.changes.appeared
    text = str(found)
    assert "information only" in text
    assert f"Appeared: {', '.join(found.changes.appeared)}" in " ".join(text.split())
    assert found.outcome is None
    assert found.passed


def test_the_stored_interval_joins_both(tmp_path: Path) -> None:
    """MOVER: the log half-widths of both numbers, joined as a right angle's sides."""
    old, new = stored(tmp_path / "old"), stored(tmp_path / "new", seed=3)
    moved = next(m for m in accel.compare(old, new).changes.moved if m.metric == "p50")
    assert moved.new.low is not None
    assert moved.old.high is not None
    assert moved.ratio.low is not None
    expected = np.hypot(np.log(moved.new.value / moved.new.low), np.log(moved.old.high / moved.old.value))
    assert np.log(moved.ratio.value / moved.ratio.low) == pytest.approx(expected)


def test_other_machines_and_other_questions_are_warned_of(tmp_path: Path) -> None:
    old, new = stored(tmp_path / "old"), tmp_path / "new"
    record = synthetic_study(new, slo_s=0.03, profile="shared")
    machine = msgspec.structs.replace(record.machine, cores=96, packages={"numpy": "9.9"})
    moved = msgspec.structs.replace(record, machine=machine, samples_count=7)
    (new / "study.json").write_bytes(msgspec.json.encode(moved))
    said = " ".join(accel.compare(old, new).changes.warnings)
    for word in ("cores", "→ 96", "samples differ", "latency limits differ", "profiles differ"):
        assert word in said
    assert accel.compare(old, stored(tmp_path / "same", seed=5)).changes.warnings == ()


def test_two_variants_of_a_study_are_compared_in_its_own_blocks(tmp_path: Path) -> None:
    """Truth: openvino takes 2.0 ms, its int8 form 1.25 ms."""
    study = stored(tmp_path / "study")
    found = accel.compare(study / "openvino", study / WINNER)
    assert found.beside is not None
    assert found.beside.latency is not None
    assert found.beside.latency.ratio.value == pytest.approx(2.0 / 1.25, rel=0.03)
    assert found.beside.latency.verdict == "FASTER"
    assert found.beside.latency.evidence == "blocks"
    back = accel.compare(study / WINNER, study / "openvino").beside
    assert back is not None
    assert back.latency is not None
    assert back.latency.verdict == "SLOWER"
    assert back.latency.ratio.value == pytest.approx(1 / found.beside.latency.ratio.value, rel=1e-6)
    assert "from the blocks of their study" in str(found)


def test_a_comparison_is_json_that_reads_back(tmp_path: Path) -> None:
    found = accel.compare(stored(tmp_path / "old"), stored(tmp_path / "new", seed=3))
    assert msgspec.json.decode(found.to_json(), type=StudyComparison) == found


# --- bad input ---------------------------------------------------------------------------------------------------


def _missing(place: Path) -> tuple[Path, Path]:
    return stored(place / "old"), place / "gone"


def _no_study(place: Path) -> tuple[Path, Path]:
    (place / "empty").mkdir()
    return place / "empty", stored(place / "new")


def _twice(place: Path) -> tuple[Path, Path]:
    stored(place / "old")
    (place / "link").symlink_to(place / "old")
    return place / "old", place / "link"


def _variant_twice(place: Path) -> tuple[Path, Path]:
    stored(place / "old")
    return place / "old" / "openvino", place / "old" / "openvino"


def _misspelt(place: Path) -> tuple[Path, Path]:
    return stored(place / "old") / "openvno", place / "old" / "original"


def _uneven(place: Path) -> tuple[Path, Path]:
    return stored(place / "old"), stored(place / "new") / "openvino"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (_missing, "doesn't exist"),
        (_no_study, "holds no study"),
        (_twice, "the same study"),
        (_variant_twice, "the same variant"),
        (_misspelt, "`openvino`"),
        (_uneven, "not one with the other"),
    ],
)
def test_what_cannot_be_compared_is_one_sentence(
    make: Callable[[Path], tuple[Path, Path]], said: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=said):
        accel.compare(*make(tmp_path))


def test_a_study_that_kept_nothing_cannot_meet(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="keeps no artefact"):
        accel.compare(stored(tmp_path / "old"), stored(tmp_path / "new"), fail_if=["p50=+5%"])


def test_an_index_may_not_name_a_folder_elsewhere(tmp_path: Path) -> None:
    study = keeping(tmp_path / "study")
    (one,) = kept(study)
    away = msgspec.structs.replace(one, folder="../../etc")
    with pytest.raises(InputError, match="outside the study"):
        away.prepared(study)
    (study / "winner" / "kept.json").write_text("{")
    with pytest.raises(InputError, match="can't be read"):
        kept(study)


@pytest.mark.parametrize("backend", ["callable", "eager", "inductor", "a_third_party"])
def test_artefacts_that_could_run_code_are_opened_on_request_only(backend: str, tmp_path: Path) -> None:
    old, new = keeping(tmp_path / "old"), keeping(tmp_path / "new", backend=backend)
    with pytest.raises(InputError, match="--trust-file"):
        accel.compare(old, new, fail_if=["size=+5%"])


def test_backends_that_call_themselves_plain_open_no_pickle_and_no_native_code() -> None:
    loaded = {name: plugins.load("compilation", name) for name in plugins.names("compilation")}
    plain = {name for name, backend in loaded.items() if getattr(backend, "plain", False)}
    assert plain == {"null", "onnxruntime", "openvino", "stub"}
    for name in plain:
        source = Path(inspect.getfile(loaded[name])).read_text("utf-8")
        assert not re.search(r"pickle|import torch|ctypes|custom_ops|add_extension", source), name


# --- the gate ----------------------------------------------------------------------------------------------------


def test_the_gate_runs_both_artefacts_of_copied_folders(tmp_path: Path) -> None:
    """Ten times as slow, too short to decide: measured all the same, sizes told exactly, runs kept, time kept."""
    old, new = keeping(tmp_path / "made"), keeping(tmp_path / "new", item_s=0.01, size=6000)
    shutil.copytree(old, tmp_path / "cache" / "old")
    shutil.rmtree(old)
    told: list[str] = []
    found = accel.compare(
        tmp_path / "cache" / "old",
        new,
        fail_if=["p50=+5%", "size=+10%", "rate=-3%"],
        budget="10s",
        out=tmp_path / "gate",
        progress=told.append,
    )
    p50, size, rate = found.judgements
    assert (p50.outcome, p50.evidence) == ("can't tell", "re-run")
    assert p50.measured.blocks >= 1
    assert (size.outcome, size.evidence) == ("fails", "exact")
    assert (rate.outcome, rate.evidence) == ("can't tell", "stored")
    assert found.outcome == "fails"
    assert len(list((tmp_path / "gate" / "both" / "runs").glob("*.json"))) == 3 * p50.measured.blocks
    assert json.loads((tmp_path / "gate" / "comparison.json").read_text())["outcome"] == "fails"
    assert any("block 1" in line for line in told)
    with pytest.raises(GateFailed, match="size") as error:
        found.check()
    assert error.value.exit_code == 1


def test_accuracy_is_told_from_both_answering_the_same_labelled_samples(tmp_path: Path) -> None:
    old, new = keeping(tmp_path / "old", samples=600), keeping(tmp_path / "new", samples=600, item_s=0.0001)
    (found,) = accel.compare(old, new, fail_if=["accuracy=-3pp"], budget="60s").judgements
    assert (found.evidence, found.outcome) == ("re-run", "passes")
    assert found.measured.ratio is not None
    assert found.measured.ratio.value == 0.0
    assert "+0.00 pp" in found.sentence


def test_a_percentile_the_budget_does_not_carry_names_the_budget_that_would(tmp_path: Path) -> None:
    """Ten seconds for six blocks of three leave a second a run: 100 requests, where p99 takes 1000."""
    old, new = (keeping(tmp_path / name, item_s=0.01) for name in ("old", "new"))
    (found,) = accel.compare(old, new, fail_if=["p99=+5%"], budget="10s").judgements
    assert found.outcome == "can't tell"
    assert "--budget" in found.settle


def test_an_old_artefact_that_cannot_run_here_is_no_failure(tmp_path: Path) -> None:
    """Its model takes another input: stored numbers are information, strict makes it a failure."""
    old, new = keeping(tmp_path / "old"), keeping(tmp_path / "new")
    artefact = old / "winner" / "batch" / "artefact" / "artefact.json"
    artefact.write_text(artefact.read_text().replace('"x"', '"pixels"'))
    found = accel.compare(old, new, fail_if=["p50=+5%"], budget="10s")
    assert found.outcome == "can't tell"
    assert found.passed
    assert "old artefact can't run here" in found.judgements[0].sentence
    assert "stored numbers" in found.judgements[0].sentence
    strict = msgspec.structs.replace(found, strict=True)
    with pytest.raises(GateFailed, match="can't tell"):
        strict.check()


def test_without_a_rerun_limits_on_times_stay_open(tmp_path: Path) -> None:
    old, new = keeping(tmp_path / "old"), keeping(tmp_path / "new")
    found = accel.compare(old, new, fail_if=["p50=+5%", "size=+10%"], rerun=False)
    assert [j.outcome for j in found.judgements] == ["can't tell", "passes"]
    assert found.judgements[0].evidence == "stored"


def test_limits_need_a_target_both_studies_have(tmp_path: Path) -> None:
    old = keeping(tmp_path / "old")
    record = msgspec.json.decode((old / "study.json").read_bytes())
    record["target"] = "online"
    (old / "study.json").write_bytes(msgspec.json.encode(record))
    with pytest.raises(InputError, match="no answer for batch"):
        accel.compare(old, keeping(tmp_path / "new"), fail_if=["throughput=-3%"])


def test_winners_for_memory_are_to_be_named(tmp_path: Path) -> None:
    for side in ("old", "new"):
        folder = keeping(tmp_path / side)
        record = msgspec.json.decode((folder / "study.json").read_bytes())
        (folder / "study.json").write_bytes(msgspec.json.encode(record | {"target": "memory"}))
        for path in (folder / "runs").glob("*.json"):
            held = Memory(peak_run_bytes=200_000_000)
            result = msgspec.structs.replace(Result.load(path), memory=held)
            path.write_bytes(msgspec.json.encode(result))
    with pytest.raises(InputError, match=r"both after memory.*old/original. and .*new/original"):
        accel.compare(tmp_path / "old", tmp_path / "new", fail_if=["p50=+5%"])


# --- what a study keeps --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> accel.Study:
    """A real study of a few seconds, of two variants."""
    folder = tmp_path_factory.mktemp("real")
    short = {"blocks": 1, "confirmations": 0, "warmup_s": 0.05, "screen_s": 0.15, "tune_s": 0.1, "measure_s": 0.2}
    model = small_models.cnn(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PROFILES, "quick", msgspec.structs.replace(PROFILES["quick"], **short))
        return accel.bench(
            model.as_form("onnx"),
            samples=small_models.items(model.signature, 48),
            backend=["openvino"],
            target="batch",
            batch=[8],
            budget="2m",
            out=folder / "out",
        )


def test_a_study_keeps_its_baseline_and_winner_once_each(study: accel.Study) -> None:
    winner, base = study.best("batch").name, study.record.baseline
    there = {one.variant.name: one for one in kept(study.folder)}
    assert set(there) == {winner, base}
    assert "batch" in there[winner].roles
    assert "baseline" in there[base].roles
    assert (study.folder / "winner" / "baseline").exists() == (winner != base)
    assert kept_bytes(study.folder) == sum(one.artefact_bytes for one in there.values())
    for one in there.values():
        assert Path(one.prepared(study.folder).folder).is_dir()
        assert one.reference is not None
        assert (study.folder / one.reference).is_file()
        assert not Path(one.folder).is_absolute()


def test_a_real_study_and_its_copy_meet(study: accel.Study, tmp_path: Path) -> None:
    """The artefact of a copied folder runs in its own runtime; what it shows is up to the machine."""
    shutil.copytree(study.folder, tmp_path / "old")
    found = accel.compare(tmp_path / "old", study.folder, fail_if=["throughput=-90%", "memory=+900%"], budget="12s")
    assert {j.evidence for j in found.judgements} == {"re-run"}
    assert found.outcome != "fails"
    assert all(j.measured.blocks >= 1 for j in found.judgements)
    assert not [note for note in found.notes if "outputs" in note]


def test_what_is_not_kept_is_named_with_what_is(study: accel.Study) -> None:
    with pytest.raises(InputError, match="only of its baseline and winners"):
        find(study.folder, "nobody")
