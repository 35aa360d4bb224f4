"""An artefact is found again exactly when everything that shaped it is the same; and the cache doesn't grow forever."""

from __future__ import annotations

import os
import shutil
import stat
import time
from pathlib import Path

import msgspec
import pytest

from accel.measurement.nvml import Gpu
from accel.plugins import Named
from accel.recipe import Variant
from accel.study import cache
from accel.study.cache import cache_root, folder_bytes, key, shrink
from tests.small_models import machine

STATIC = Variant(name="int8", backend=Named("openvino"), compression=(Named("quantize_static"),))
PLAIN = Variant(name="plain", backend=Named("openvino"))
DAY_S = 24 * 3600


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ACCEL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "artefacts"


def key_of(variant: Variant = STATIC, *, model: str = "m", calibration: str = "c", **changed: object) -> str:
    here = msgspec.structs.replace(machine(), **changed)
    return key(variant, model_sha256=model, calibration_sha256=calibration, machine=here)


def test_the_same_gives_the_same() -> None:
    assert key_of() == key_of()
    assert len(key_of()) == 32


def test_a_name_is_no_ingredient() -> None:
    assert key_of(msgspec.structs.replace(STATIC, name="other")) == key_of()


def test_how_it_is_batched_is_no_ingredient() -> None:
    assert key_of(msgspec.structs.replace(STATIC, batching=Named("dynamic"), instances=2)) == key_of()


@pytest.mark.parametrize(
    "changed",
    [
        {"model": "other weights"},
        {"calibration": "other samples"},
        {"packages": {"onnxruntime": "1", "openvino": "2", "torch": "1"}},
        {"flags": ("avx2",)},
        {"cores": 4},
        {"variant": msgspec.structs.replace(STATIC, compression=(Named("quantize_static", {"preset": "mixed"}),))},
        {"variant": msgspec.structs.replace(STATIC, backend=Named("openvino", {"precision": "bf16"}))},
        {"variant": msgspec.structs.replace(STATIC, compression=STATIC.compression * 2)},
        {"variant": PLAIN},
    ],
    ids=["weights", "calibration", "version", "flags", "cores", "compression", "backend", "twice", "uncompressed"],
)
def test_each_ingredient_changes_the_key(changed: dict[str, object]) -> None:
    assert key_of(**changed) != key_of()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("backend", "same"),
    [
        (Named("openvino", {"threads": 1, "streams": 1, "hint": "throughput"}), True),
        (Named("openvino", {"precision": "f32"}), True),
        (Named("openvino", {"cache": True}), False),
        (Named("onnxruntime", {"threads": 1, "spinning": False, "inter_threads": 2}), True),
        (Named("onnxruntime", {"save_optimized": True}), False),
        (Named("eager", {"threads": 1, "channels_last": True}), True),
        # The thread count stands in the C++ that is compiled.
        (Named("inductor", {"threads": 1}), False),
        (Named("endpoint", {"url": "http://127.0.0.1:8000/x"}), False),
    ],
    ids=str,
)
def test_only_fields_that_shape_the_artefact_are_ingredients(backend: Named, same: bool) -> None:
    before = key_of(Variant(name="a", backend=Named(backend.name)))
    assert (key_of(Variant(name="a", backend=backend)) == before) is same


def test_samples_matter_only_to_what_is_calibrated() -> None:
    assert key_of(PLAIN, calibration="a") == key_of(PLAIN, calibration="b")


@pytest.mark.parametrize("edited", ["compression", "compilation"])
def test_an_edited_plug_in_makes_its_artefacts_anew(monkeypatch: pytest.MonkeyPatch, edited: str) -> None:
    before = key_of()
    source = cache._source_sha256
    monkeypatch.setattr(cache, "_source_sha256", lambda kind, name: source(kind, name) + "x" * (kind == edited))
    assert key_of() != before


def test_an_edited_file_of_the_users_makes_its_artefacts_anew(tmp_path: Path) -> None:
    file = tmp_path / "tune.py"
    tuned = msgspec.structs.replace(STATIC, compression=(Named("fine_tune", {"by": f"{file}:train"}),))
    gone = key_of(tuned)
    file.write_text("def train(module, seconds): ...\n")
    first = key_of(tuned)
    file.write_text("def train(module, seconds): module.train()\n")
    assert len({gone, first, key_of(tuned)}) == 3


def test_the_cache_is_the_users_own(root: Path) -> None:
    assert cache_root() == root
    assert stat.S_IMODE(root.stat().st_mode) == 0o700


def test_the_users_cache_folder_is_respected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACCEL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_root() == tmp_path / "xdg" / "accel" / "artefacts"


def entry(name: str, size: int, days_old: float) -> Path:
    folder = cache_root() / name
    (folder / "artefact").mkdir(parents=True)
    (folder / "artefact" / "model.bin").write_bytes(b"0" * size)
    when = time.time() - days_old * DAY_S
    os.utime(folder, (when, when))
    return folder


def test_the_least_recently_used_go_first_until_the_rest_fits() -> None:
    old, older, recent = entry("old", 400, 3), entry("older", 400, 5), entry("recent", 400, 2)
    assert folder_bytes(cache_root()) == 1200
    shrink(limit_bytes=900)
    assert (old.exists(), older.exists(), recent.exists()) == (True, False, True)
    shrink(limit_bytes=400)
    assert (old.exists(), recent.exists()) == (False, True)


def test_what_fits_stays_however_old() -> None:
    ancient = entry("ancient", 400, 500)
    shrink(limit_bytes=400)
    assert ancient.exists()


def test_what_was_used_today_stays_since_a_study_may_be_running() -> None:
    today = entry("today", 400, 0.5)
    shrink(limit_bytes=0)
    assert today.exists()


def test_entries_that_another_study_removes_meanwhile_are_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two"):
        entry(name, 400, 3)

    def weighed_too_late(folder: Path) -> int:
        shutil.rmtree(folder)
        return 400

    monkeypatch.setattr(cache, "folder_bytes", weighed_too_late)
    shrink(limit_bytes=0)
    assert not list(cache_root().iterdir())


def test_what_was_left_half_removed_is_not_in_the_way() -> None:
    left, old = entry(".going-old", 1, 0.1), entry("old", 400, 3)
    shrink(limit_bytes=0)
    assert (left.exists(), old.exists()) == (True, False)


def test_what_a_killed_study_left_half_made_goes_after_a_day() -> None:
    left, making, going = entry(".making-a", 1, 2), entry(".making-b", 1, 0.1), entry(".going-c", 1, 2)
    shrink()
    assert (left.exists(), making.exists(), going.exists()) == (False, True, False)


def test_the_gpu_is_an_ingredient_of_what_computes_on_one() -> None:
    def made_on(gpu: str, backend: Named) -> str:
        here = msgspec.structs.replace(machine(), gpus=(Gpu(name=gpu),))
        return key(Variant(name="v", backend=backend), model_sha256="m", calibration_sha256="c", machine=here)

    for backend in (Named("inductor", {"device": "cuda"}), Named("tensorrt")):
        assert made_on("one", backend) != made_on("another", backend)
    assert made_on("one", Named("inductor")) == made_on("another", Named("inductor"))
