"""Removing channels, heads and neurons: counts by hand, what must stay as it is, and what can't be done said."""

from __future__ import annotations

import sys

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torch_pruning")

from torch import nn  # noqa: E402

from accel import plugins  # noqa: E402
from accel.compression._torch_widths import kept  # noqa: E402
from accel.errors import InputError, VariantError  # noqa: E402
from accel.plugins import Named  # noqa: E402
from tests.pruned_networks import (  # noqa: E402
    Depthwise,
    Mlp,
    Residual,
    Vision,
    bert,
    images,
    model_of,
    seeded,
    texts,
)
from tests.small_models import facts, machine  # noqa: E402


def prune(model, **fields):
    return plugins.make("compression", Named("prune_structured", fields)).apply(model, None, "onnxruntime")


def parameters(model):
    return sum(p.numel() for p in model.as_form("torch").module.parameters())


def answers(model, given):
    return {name: value.numpy() for name, value in model.as_form("torch")(given).items()}


def rows(n=4, width=16):
    return {"x": np.random.default_rng(0).normal(size=(n, width)).astype(np.float32)}


@pytest.mark.parametrize(
    ("make", "given", "round_to", "before", "after"),
    [
        # stem 3x16x9 + 32, two convolutions 16x16x9 with a norm of 32 each, head 16x10 + 10
        (Residual, images(), 16, 19818, 432 + 32 + 2 * (2304 + 32) + 170),
        # expand 3x16, depthwise 16x9, project 16x8, grouped 8x4x9, norm 16, head 8x5 + 5
        (Depthwise, images(), 4, 96 + 288 + 512 + 1152 + 32 + 85, 48 + 144 + 128 + 288 + 16 + 45),
        # 16x16 + 16, 16x16 + 16, 16x4 + 4
        (Mlp, rows(), 16, 544 + 1056 + 132, 272 + 272 + 68),
        # two layers: three of 32x16 + 16, 16x32 + 32, norms, 32x32 + 32 twice; embeddings 50+16+2 rows and a norm
        (bert, texts(), 16, 2240 + 2 * (4224 + 128 + 2112 + 2080), 2240 + 2 * (1584 + 544 + 128 + 1056 + 1056)),
        # query, key, value 32x48 + 48, 16x32 + 32, two of 32x32 + 32, patches, token, positions, norms, head
        (Vision, images(), 16, 10634, 1584 + 544 + 2112 + 1568 + 32 + 160 + 128 + 330),
    ],
)
def test_half_of_everything_by_hand(make, given, round_to, before, after, tmp_path):
    model = model_of(seeded(make), given, tmp_path)
    whole = answers(model, given)
    pruned = prune(model, ratio=0.5, round_to=round_to)
    assert parameters(model) == before
    assert pruned.facts.parameters == parameters(pruned) == after
    assert pruned.facts.weight_bytes == 4 * after
    assert pruned.notes[-1].startswith("prune_structured: ")
    found = answers(pruned, given)
    assert {n: (a.shape, a.dtype) for n, a in found.items()} == {n: (a.shape, a.dtype) for n, a in whole.items()}
    # The argument stays as it was.
    for name, value in answers(model, given).items():
        np.testing.assert_array_equal(value, whole[name])


def test_multiply_accumulates_are_counted_anew_and_said(tmp_path):
    """64 positions: 864 + 2 x 9216 of them and the head's 320 before; 432 + 2 x 2304 and 160 after."""
    model = model_of(seeded(Residual), images(), tmp_path)
    before, after = 64 * (864 + 2 * 9216) + 320, 64 * (432 + 2 * 2304) + 160
    pruned = prune(model)
    assert pruned.facts.macs_per_item == round(model.facts.macs_per_item * after / before)
    share, weights = int(100 * (1 - after / before)), int(100 * (1 - 5306 / 19818))
    assert pruned.notes[-1] == (
        f"prune_structured: {share} % of the multiply-accumulates and {weights} % of the parameters removed, "
        "channels rounded to 16"
    )


@pytest.mark.parametrize(("make", "given"), [(Residual, images()), (bert, texts())])
def test_a_ratio_of_zero_changes_nothing(make, given, tmp_path):
    model = model_of(seeded(make), given, tmp_path)
    same = prune(model, ratio=0)
    for name, value in answers(model, given).items():
        np.testing.assert_array_equal(answers(same, given)[name], value)
    assert "0 % of the multiply-accumulates and 0 % of the parameters" in same.notes[-1]


def _silence(*tensors_and_rows):
    with torch.no_grad():
        for tensor, index in tensors_and_rows:
            tensor[index] = 0


def test_channels_that_do_nothing_go_without_a_trace(tmp_path):
    """The graph's oracle: with every second channel silent throughout, the pruned network must answer the same."""
    net = seeded(Residual)
    dead, all_of = slice(0, None, 2), slice(None)
    stem, norm = net.stem[0], net.stem[1]
    _silence((stem.weight, dead), (norm.weight, dead), (norm.bias, dead))
    _silence((net.conv2.weight, dead), (net.norm2.weight, dead), (net.norm2.bias, dead))
    _silence((net.conv1.weight, (all_of, dead)), (net.head.weight, (all_of, dead)))
    _silence((net.conv1.weight, dead), (net.norm1.weight, dead), (net.norm1.bias, dead))
    _silence((net.conv2.weight, (all_of, dead)))
    model = model_of(net, images(), tmp_path)
    pruned = prune(model)
    assert parameters(pruned) == 5306
    np.testing.assert_allclose(
        answers(pruned, images())["output"], answers(model, images())["output"], rtol=1e-5, atol=1e-6
    )


def test_heads_and_neurons_that_do_nothing_go_without_a_trace(tmp_path):
    net = seeded(lambda: bert(1))
    layer = net.bert.encoder.layer[0]
    dead, all_of = [*range(8, 16), *range(24, 32)], slice(None)
    attention = layer.attention.self
    for projection in (attention.query, attention.key, attention.value):
        _silence((projection.weight, dead), (projection.bias, dead))
    _silence((layer.attention.output.dense.weight, (all_of, dead)))
    _silence((layer.intermediate.dense.weight, slice(0, None, 2)), (layer.intermediate.dense.bias, slice(0, None, 2)))
    _silence((layer.output.dense.weight, (all_of, slice(0, None, 2))))
    model = model_of(net, texts(), tmp_path, "transformer")
    pruned = prune(model)
    kept_layer = pruned.as_form("torch").module.bert.encoder.layer[0].attention.self
    assert (kept_layer.num_attention_heads, kept_layer.all_head_size, kept_layer.query.out_features) == (2, 16, 16)
    # Lengths the graph was not traced with.
    longer = texts(3, 11)
    for given in (texts(), longer):
        np.testing.assert_allclose(
            answers(pruned, given)["output"], answers(model, given)["output"], rtol=1e-4, atol=1e-5
        )


def test_heads_of_one_layer_for_query_key_and_value(tmp_path):
    net = seeded(Vision)
    dead = [*range(0, 8), *range(16, 24)]
    fused = [third + d for third in (0, 32, 64) for d in dead]
    _silence((net.attention.qkv.weight, fused), (net.attention.qkv.bias, fused))
    _silence((net.attention.proj.weight, (slice(None), dead)))
    _silence((net.up.weight, slice(0, 32)), (net.up.bias, slice(0, 32)), (net.down.weight, (slice(None), slice(0, 32))))
    model = model_of(net, images(), tmp_path, "transformer")
    pruned = prune(model)
    attention = pruned.as_form("torch").module.attention
    assert (attention.num_heads, attention.head_dim, attention.qkv.out_features) == (2, 8, 48)
    np.testing.assert_allclose(
        answers(pruned, images())["output"], answers(model, images())["output"], rtol=1e-4, atol=1e-5
    )


def test_attention_whose_code_counts_on_all_heads_is_left_whole_and_said(tmp_path):
    """Torch-Pruning #101: the forward reshapes to the width of what came in."""
    model = model_of(seeded(lambda: Vision(stiff=True)), images(), tmp_path, "transformer")
    pruned = prune(model)
    assert parameters(pruned) == 3168 + 1056 + 2112 + 1568 + 32 + 160 + 128 + 330
    assert "1 attention block left whole: its code assumes all heads" in pruned.notes[-1]


def test_what_the_outputs_are_made_of_keeps_its_width(tmp_path):
    """Two outputs, one of them the inner state: its layer can't lose channels, the one before it can."""

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.head = nn.Linear(16, 32), nn.Linear(32, 32), nn.Linear(32, 32)

        def forward(self, x):
            state = self.second(self.first(x).relu()).relu()
            return {"state": state.exp(), "logits": self.head(state)}

    pruned = prune(model_of(seeded(Two), rows(), tmp_path)).as_form("torch").module
    assert (pruned.first.out_features, pruned.second.out_features, pruned.head.out_features) == (16, 32, 32)


@pytest.mark.parametrize("scope", ["local", "global"])
@pytest.mark.parametrize("flops", [0.3, 0.6, 0.9])
def test_a_share_of_the_multiply_accumulates_is_reached(scope, flops, tmp_path):
    model = model_of(seeded(Residual), images(), tmp_path)
    pruned = prune(model, flops=flops, scope=scope, round_to=1)
    left = pruned.facts.macs_per_item / model.facts.macs_per_item
    # One channel more or less of 32 is 6 % of a layer at most.
    assert 1 - flops - 0.07 <= left <= 1 - flops + 0.005


def test_more_than_can_go_is_refused_with_what_can(tmp_path):
    model = model_of(seeded(Residual), images(), tmp_path)
    with pytest.raises(VariantError, match=r"At most 73 % .* round_to = 16, but flops = 0.9 asks for 90 %"):
        prune(model, flops=0.9)


def test_nothing_to_remove_is_said_instead_of_a_copy_sold_as_pruned(tmp_path):
    """Torch-Pruning #149: "pruned" and as large as before."""
    model = model_of(seeded(Residual), images(), tmp_path)
    with pytest.raises(VariantError, match="Nothing can be removed with round_to = 64") as raised:
        prune(model, round_to=64)
    assert "smaller `round_to`" in raised.value.next_step


def test_globally_what_matters_less_loses_more(tmp_path):
    net = seeded(Mlp)
    with torch.no_grad():
        # Most of the first layer's neurons are nearly silent; the second's are alike.
        net.layers[0].weight[8:] *= 1e-3
        net.layers[0].bias[8:] *= 1e-3
        net.layers[2].weight[:, 8:] *= 1e-3
    model = model_of(net, rows(), tmp_path)
    local, world = (prune(model, ratio=0.375, scope=s, round_to=1).as_form("torch").module for s in ("local", "global"))
    assert [local.layers[i].out_features for i in (0, 2)] == [20, 20]
    assert world.layers[0].out_features < world.layers[2].out_features
    assert world.layers[0].out_features + world.layers[2].out_features == 40


class _Block:
    def __init__(self, units, scores=None, *, copies=1, heads=False):
        self.units, self.copies, self.width, self.is_heads = units, copies, 1, heads
        self.scores = np.arange(units, dtype=float) if scores is None else np.asarray(scores, float)


@pytest.mark.parametrize(
    ("units", "ratio", "round_to", "expected"),
    [
        (64, 0.5, 16, 32),
        (48, 0.5, 16, 32),  # 24 lies halfway: keeps more
        (40, 0.5, 16, 16),  # 20
        (24, 0.5, 16, 16),
        (8, 0.5, 16, 8),  # narrower than the rounding: whole
        (64, 0.99, 16, 16),  # never none
        (100, 0.0, 16, 100),  # no multiple, but nothing was asked to go
        (10, 0.5, 1, 5),
    ],
)
def test_rounding(units, ratio, round_to, expected):
    assert kept([_Block(units)], ratio, "local", round_to) == [expected]


def test_rounding_of_groups_and_heads():
    assert kept([_Block(8, copies=4)], 0.5, "local", 16) == [4]  # 4 groups of 4: 16 channels
    assert kept([_Block(12, heads=True)], 0.5, "local", 16) == [6]
    assert kept([_Block(4, heads=True)], 0.99, "local", 16) == [1]


def test_frozen_weights_stay_frozen_and_others_trainable(tmp_path):
    net = seeded(Residual)
    net.conv1.weight.requires_grad_(False)
    model = model_of(net, images(), tmp_path)
    pruned = prune(model).as_form("torch").module
    assert not pruned.conv1.weight.requires_grad
    assert pruned.conv2.weight.requires_grad
    assert not net.conv1.weight.requires_grad


def test_an_exported_program_has_no_layers_to_prune(tmp_path):
    from accel.model.exported import exported_module

    net = seeded(Mlp)
    program = torch.export.export(net, (torch.zeros(2, 16),))
    model = model_of(net, rows(), tmp_path)
    model.as_form("torch").module = exported_module(program)
    with pytest.raises(VariantError, match="exported program") as raised:
        prune(model)
    assert "factory" in raised.value.next_step


def test_a_quantized_model_is_not_pruned(tmp_path):
    model = model_of(seeded(Mlp), rows(), tmp_path)
    quantized = model.derive("torch", model.as_form("torch"), facts=facts(quantized=True))
    with pytest.raises(VariantError, match="quantized") as raised:
        prune(quantized)
    assert "before the quantization" in raised.value.next_step


NAMES = ["prune_structured", "prune_magnitude", "prune_2_4", "low_rank"]
TORCH = facts().__class__(**{**{f: getattr(facts(), f) for f in facts().__struct_fields__}, "forms": ("torch", "onnx")})


@pytest.mark.parametrize("name", NAMES)
def test_a_model_that_came_as_a_file_is_refused_with_the_next_step(name):
    refusal = plugins.make("compression", Named(name)).fits(facts(), machine(), "onnxruntime")
    assert refusal is not None
    assert "torch module, but the model came as onnx" in refusal.reason
    assert "factory" in refusal.next_step


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("target", ["onnxruntime", "openvino", "eager", "inductor", "callable", "endpoint"])
def test_where_it_fits(name, target):
    refusal = plugins.make("compression", Named(name)).fits(TORCH, machine(), target)
    runs = target not in ("callable", "endpoint")
    assert (refusal is None) == (runs and name != "prune_2_4")


def test_2_4_says_that_a_processor_gains_nothing_from_it():
    refusal = plugins.make("compression", Named("prune_2_4")).fits(TORCH, machine(), "onnxruntime")
    assert "buys nothing" in refusal.reason
    assert "prune_structured" in refusal.next_step


def test_a_missing_package_is_named_with_the_line_that_installs_it(monkeypatch):
    monkeypatch.setattr("accel.compression._rules.find_spec", lambda name: None)
    refusal = plugins.make("compression", Named("prune_structured")).fits(TORCH, machine(), "onnxruntime")
    assert "torch_pruning" in refusal.reason
    assert 'pip install "accel-bench[torch]"' in refusal.next_step


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("prune_structured", {"ratio": 1.0}),
        ("prune_structured", {"ratio": -0.1}),
        ("prune_structured", {"flops": 0}),
        ("prune_structured", {"round_to": 0}),
        ("prune_structured", {"scope": "whole"}),
        ("prune_magnitude", {"sparsity": 1}),
        ("low_rank", {"energy": 0}),
        ("low_rank", {"rank": 0}),
    ],
)
def test_values_out_of_range_are_refused_by_name(name, fields):
    with pytest.raises(InputError, match=next(iter(fields))):
        plugins.make("compression", Named(name, fields))


def test_importing_the_techniques_loads_no_torch():
    import subprocess

    code = (
        "import sys; from accel import plugins; "
        f"[plugins.load('compression', n) for n in {NAMES!r}]; "
        "sys.exit('torch' in sys.modules or 'torch_pruning' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize(("make", "given"), [(Residual, images()), (lambda: bert(1), texts())])
def test_a_pruned_module_goes_the_same_way_as_any_other(make, given, tmp_path):
    """Exported, run by ONNX Runtime, OpenVINO and eager, and quantized afterwards."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("openvino")
    pruned = prune(model_of(seeded(make), given, tmp_path / "model"))
    expected = answers(pruned, given)["output"]
    for target in ("eager", "onnxruntime", "openvino"):
        np.testing.assert_allclose(_run(pruned, target, tmp_path / target, given), expected, rtol=1e-3, atol=1e-4)
    # What was removed is not in the file either (pytorch #36214, #43552: masks leave both as they were).
    stored = onnx.load(pruned.as_form("onnx")).graph.initializer
    assert sum(int(np.prod(w.dims)) for w in stored) <= parameters(pruned) + 200
    quantized = plugins.make("compression", Named("quantize_dynamic")).apply(pruned, None, "onnxruntime")
    found = _run(quantized, "onnxruntime", tmp_path / "int8", given)
    assert np.linalg.norm(found - expected) / np.linalg.norm(expected) < 0.1
    assert [note.partition(":")[0] for note in quantized.notes] == ["prune_structured", "quantize_dynamic"]


def _run(model, target, folder, given):
    folder.mkdir()
    backend = plugins.make("compilation", Named(target, {"threads": 1}))
    backend.build(model, folder)
    engine = backend.open(folder)
    try:
        return next(iter(engine.run(given).values()))
    finally:
        engine.close()
