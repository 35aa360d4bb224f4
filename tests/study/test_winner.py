"""What a study recommends can be saved, runs without accel, and is called again another day."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

import accel
from accel.errors import InputError
from accel.study.artefacts import find_prepared
from accel.study.profiles import PROFILES
from accel.study.winner import Winner, keep_winners, write_winner
from tests import small_models

BACKENDS = ("onnxruntime", "openvino")


def brief(patch: pytest.MonkeyPatch) -> None:
    """A study of one block, whose lengths don't matter here."""
    short = {"blocks": 1, "confirmations": 0, "warmup_s": 0.05, "screen_s": 0.15, "tune_s": 0.1, "measure_s": 0.2}
    patch.setitem(PROFILES, "quick", msgspec.structs.replace(PROFILES["quick"], **short))


def made(folder: Path, model: small_models.FileModel) -> accel.Study:
    return accel.bench(
        model.as_form("onnx"),
        samples=small_models.items(model.signature, 48),
        backend=["openvino"],
        target="batch",
        batch=[8] if model.signature.batch == "any" else [],
        budget="2m",
        out=folder / "out",
    )


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[accel.Study]:
    folder = tmp_path_factory.mktemp("winner")
    with pytest.MonkeyPatch.context() as patch:
        brief(patch)
        yield made(folder, small_models.cnn(folder))


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has numpy and the two runtimes, and nothing else."""
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    for package in ("numpy", *BACKENDS):
        spec = importlib.util.find_spec(package)
        assert spec is not None
        assert spec.submodule_search_locations is not None
        source = Path(next(iter(spec.submodule_search_locations)))
        for found in (source, source.with_name(f"{package}.libs")):
            if found.exists():
                (site / found.name).symlink_to(found)
    return folder / "bin" / "python"


def saved(study: accel.Study, name: str, folder: Path) -> Path:
    """Save any variant, as if it had won: which one does is up to the machine."""
    answer = study.conclusion.batch
    prepared = find_prepared(study.folder, name)
    assert answer is not None
    assert prepared is not None
    write_winner(study, msgspec.structs.replace(answer, winner=name), prepared, folder)
    return folder


def run(python: Path, *words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    done = [str(python), "-I", *map(str, words)]
    return subprocess.run(done, capture_output=True, text=True, check=False, cwd=cwd)


def items(count: int) -> np.ndarray:
    return np.random.default_rng(7).normal(size=(count, 3, 16, 16)).astype(np.float32)


def test_the_bare_python_has_no_accel(bare: Path, tmp_path: Path) -> None:
    done = run(bare, "-c", "import accel", cwd=tmp_path)
    assert "No module named 'accel'" in done.stderr


@pytest.mark.parametrize("name", BACKENDS)
def test_a_saved_model_runs_without_accel(study: accel.Study, bare: Path, tmp_path: Path, name: str) -> None:
    folder = saved(study, name, tmp_path / "saved")
    moved = folder.rename(tmp_path / "moved elsewhere")
    checked = run(bare, moved / "run.py", cwd=tmp_path)
    assert checked.returncode == 0, checked.stderr
    assert float(checked.stdout.rpartition(":")[2]) < 1e-4

    np.savez(tmp_path / "inputs.npz", x=items(5))
    done = run(bare, moved / "run.py", tmp_path / "inputs.npz", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "outputs.npz") as file, accel.load(moved) as model:
        assert file.files == ["y"]
        np.testing.assert_allclose(file["y"], model({"x": items(5)})["y"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", BACKENDS)
def test_the_check_can_fail(study: accel.Study, bare: Path, tmp_path: Path, name: str) -> None:
    folder = saved(study, name, tmp_path / "saved")
    with np.load(folder / "expected.npz") as file:
        stored = dict(file)
    np.savez(folder / "expected.npz", **(stored | {"out/y": stored["out/y"] * 1.2}))
    assert run(bare, folder / "run.py", cwd=tmp_path).returncode == 1


def test_run_py_is_short_and_needs_what_it_says(study: accel.Study, tmp_path: Path) -> None:
    for name in BACKENDS:
        folder = saved(study, name, tmp_path / name)
        lines = [line for line in (folder / "run.py").read_text().splitlines() if line.strip()]
        assert len(lines) <= 45
        needed = [line.partition("==")[0] for line in (folder / "requirements.txt").read_text().splitlines()]
        assert needed == ["numpy", name]


def test_the_recommended_one_is_saved_where_one_likes_but_overwrites_nothing(
    study: accel.Study, tmp_path: Path
) -> None:
    winner = study.best("batch")
    folder = winner.save(tmp_path / "deep" / "winner")
    assert {p.name for p in folder.iterdir()} == {
        "artefact",
        "expected.npz",
        "requirements.txt",
        "run.py",
        "settings.json",
    }
    with pytest.raises(InputError, match="isn't empty"):
        winner.save(folder)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="isn't empty"):
        winner.save(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"
    (tmp_path / "empty").mkdir()
    assert (winner.save(tmp_path / "empty") / "run.py").is_file()


def test_no_answer_for_what_was_not_asked(study: accel.Study) -> None:
    with pytest.raises(InputError, match='target="both"'):
        study.best("online")
    with pytest.raises(InputError, match='takes "batch", "online" or "memory"'):
        study.best("fast")  # type: ignore[arg-type]


def test_it_is_called_by_dict_by_keyword_and_by_position_in_another_process(study: accel.Study) -> None:
    code = (
        "import sys, numpy as np, accel\n"
        "model = accel.load(sys.argv[1])\n"
        "x = np.ones((2, 3, 16, 16), np.float32)\n"
        "a, b, c = model({'x': x}), model(x=x), model(x)\n"
        "assert a['y'].shape == (2, 5) and (a['y'] == b['y']).all() and (a['y'] == c['y']).all()\n"
        "assert (model(x.astype('float64'))['y'] == a['y']).all()\n"
        "print('torch' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(study.best("batch").folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "False"


def test_wrong_calls_say_what_is_right(study: accel.Study) -> None:
    x = items(2)
    with study.best("batch").load() as model:
        with pytest.raises(InputError, match=r"no input `X`.*`x`"):
            model({"X": x})
        with pytest.raises(InputError, match=r"`x` is missing; the model takes x"):
            model()
        with pytest.raises(InputError, match="takes x, but got more"):
            model(x, x)
        with pytest.raises(InputError, match="got `x` twice"):
            model(x, x=x)
        assert model(x)["y"].shape == (2, 5)
    with pytest.raises(InputError, match=r"is closed\. Load it again"):
        model(x)
    model.close()


def test_what_is_no_saved_model_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no saved model"):
        accel.load(tmp_path)


def test_a_lost_artefact_says_how_to_get_it_back(study: accel.Study, tmp_path: Path) -> None:
    winner = Winner(study, study.best("batch").answer)
    hidden = winner.folder.rename(tmp_path / "hidden")
    try:
        with pytest.raises(InputError, match="--resume"):
            winner.load()
        with pytest.raises(InputError, match="--resume"):
            winner.save(tmp_path / "new")
    finally:
        hidden.rename(winner.folder)


def test_an_original_that_never_answered_is_not_kept(study: accel.Study, tmp_path: Path) -> None:
    """It was prepared, but its first outputs took too long, as on a busy machine: the study still ends with a table."""
    folder = tmp_path / "out"
    shutil.copytree(study.folder, folder)
    shutil.rmtree(folder / "winner")
    for path in (folder / "runs").glob("*.json"):
        data = msgspec.json.decode(path.read_bytes())
        path.write_bytes(msgspec.json.encode({**data, "status": "failed", "reason": "did not answer within 26 s"}))
    for path in (folder / "reference").glob("*.npz"):
        path.unlink()
    broken = accel.open_study(folder)
    assert broken.conclusion.batch is not None
    assert find_prepared(folder, broken.conclusion.batch.winner) is not None
    keep_winners(broken)
    assert not (folder / "winner" / "batch").exists()


def test_a_model_of_a_fixed_batch_is_saved_and_checked_with_that_batch(bare: Path, tmp_path: Path) -> None:
    model = small_models.cnn(tmp_path, batch=4)
    with pytest.MonkeyPatch.context() as patch:
        brief(patch)
        study = made(tmp_path, model)
    folder = saved(study, "onnxruntime", tmp_path / "saved")
    done = run(bare, folder / "run.py", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with accel.load(folder) as loaded:
        assert loaded(items(4))["y"].shape == (4, 5)
        with pytest.raises(InputError, match="takes batches of 4, but got 3 items"):
            loaded(items(3))
