"""The knobs of the torch backends on the processor: they reach torch and are read back from it."""

from __future__ import annotations

import numpy as np
import pytest

from accel import plugins
from accel.plugins import Named
from tests.small_models import facts, machine

torch = pytest.importorskip("torch")
from tests.small_networks import torch_attention, torch_cnn  # noqa: E402


def opened(fields, network, folder):
    model, given, expected = network()
    backend = plugins.make("compilation", Named("eager", fields))
    folder.mkdir()
    backend.build(model, folder)
    return backend, backend.open(folder), given, expected


def relative(found, expected):
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def test_eager_takes_bf16_as_a_field_and_rounds_as_bf16_does(tmp_path):
    backend, engine, given, expected = opened({"precision": "bf16"}, torch_cnn, tmp_path / "a")
    off = relative(engine.run(given)["output"], expected["output"])
    assert engine.effective.precision == "bf16"
    # Eight bits of fraction: far off float32, and not off by more than a few roundings.
    assert 1e-4 < off < 0.02
    space = {"here": tmp_path / "a"}
    exec(backend.script(tmp_path / "a"), space)
    assert 1e-4 < relative(space["predict"](given)["output"], expected["output"]) < 0.02


@pytest.mark.parametrize("name", ["eager", "inductor"])
def test_bf16_is_refused_where_it_would_be_emulated(name):
    backend = plugins.make("compilation", Named(name, {"precision": "bf16"}))
    assert backend.fits(facts(), machine()) is None
    assert "emulated" in backend.fits(facts(), machine(flags=("avx2",))).reason


@pytest.mark.parametrize("name", ["eager", "inductor"])
@pytest.mark.parametrize("precision", ["tf32", "f16"])
def test_a_precision_of_the_gpu_is_refused_on_the_processor(name, precision):
    refusal = plugins.make("compilation", Named(name, {"precision": precision})).fits(facts(), machine())
    assert 'device = "cuda"' in refusal.reason


def test_channels_last_is_read_back_from_the_weights(tmp_path):
    _, engine, given, expected = opened({"channels_last": True}, torch_cnn, tmp_path / "a")
    assert engine.effective.detail["channels_last"] == "true"
    assert relative(engine.run(given)["output"], expected["output"]) < 1e-5


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_run_py_keeps_the_channels_last(precision, tmp_path):
    from accel.compilation.eager import layout

    fields = {"channels_last": True, "precision": precision}
    backend, _, given, expected = opened(fields, torch_cnn, tmp_path / "a")
    space = {"here": tmp_path / "a"}
    exec(backend.script(tmp_path / "a"), space)
    assert layout(space["plain" if precision == "bf16" else "model"]) == "true"
    assert relative(space["predict"](given)["output"], expected["output"]) < (1e-5 if precision == "float32" else 0.02)


def test_sizes_mean_nothing_on_the_processor():
    refusal = plugins.make("compilation", Named("inductor", {"sizes": [4]})).fits(facts(), machine())
    assert "`sizes` is for the GPU" in refusal.reason


def test_channels_last_says_where_it_means_nothing(tmp_path):
    _, engine, given, expected = opened({"channels_last": True}, torch_attention, tmp_path / "a")
    assert engine.effective.detail["channels_last"] == "asked for, but no weight has four axes"
    assert relative(engine.run(given)["logits"], expected["logits"]) < 1e-5


def test_a_weight_laid_out_otherwise_is_counted():
    from accel.compilation.eager import layout

    module = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.Conv2d(8, 8, 3))
    module[0].to(memory_format=torch.channels_last)
    assert layout(module) == "1 of 2 weights"
