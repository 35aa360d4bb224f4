"""Zeros in weights and layers split in two: exact counts, exact patterns, exact for matrices that are of low rank."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from accel import plugins  # noqa: E402
from accel.compression._torch_svd import decompose, ranks, split  # noqa: E402
from accel.compression.prune_2_4 import pattern  # noqa: E402
from accel.compression.prune_magnitude import zero_smallest  # noqa: E402
from accel.errors import VariantError  # noqa: E402
from accel.model.torch_form import TorchForm  # noqa: E402
from accel.plugins import Named  # noqa: E402
from tests.pruned_networks import Mlp, Residual, images, model_of, seeded  # noqa: E402


def apply(name, model, **fields):
    return plugins.make("compression", Named(name, fields)).apply(model, None, "onnxruntime")


def rows(n=4, width=16):
    return {"x": np.random.default_rng(0).normal(size=(n, width)).astype(np.float32)}


def low(rank, out=24, into=40, seed=0):
    """A matrix of known rank."""
    rng = np.random.default_rng(seed)
    return torch.from_numpy((rng.normal(size=(out, rank)) @ rng.normal(size=(rank, into))).astype(np.float32))


@settings(max_examples=50, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    sparsity=st.floats(0, 0.99),
    scope=st.sampled_from(["global", "local"]),
    ties=st.booleans(),
)
def test_exactly_as_many_zeros_as_asked_and_the_smallest(sizes, sparsity, scope, ties):
    rng = np.random.default_rng(sum(sizes))
    made = [rng.integers(1, 4, n) if ties else rng.normal(size=n) + 0.0 for n in sizes]
    before = [torch.tensor(np.where(a == 0, 1, a), dtype=torch.float32) for a in made]
    after = [w.clone() for w in before]
    zero_smallest(after, sparsity, scope)
    groups = (
        [list(zip(before, after, strict=True))] if scope == "global" else [[b] for b in zip(before, after, strict=True)]
    )
    for group in groups:
        old, new = (torch.cat([pair[i] for pair in group]) for i in (0, 1))
        gone = new == 0
        assert int(gone.sum()) == round(sparsity * len(old))
        assert torch.equal(new[~gone], old[~gone])
        if gone.any() and not gone.all():
            assert old[gone].abs().max() <= old[~gone].abs().min()


def test_magnitude_pruning_says_that_it_buys_no_speed_and_what_size(tmp_path):
    model = model_of(seeded(Residual), images(), tmp_path)
    pruned = apply("prune_magnitude", model, sparsity=0.7)
    layers = [m for m in pruned.as_form("torch").module.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    zeros = sum(int((m.weight == 0).sum()) for m in layers)
    assert zeros == round(0.7 * (864 + 2 * 9216 + 320))
    assert "no speed" in pruned.notes[-1]
    assert "70 % of the weights are zero" in pruned.notes[-1]
    assert (pruned.facts.parameters, pruned.facts.macs_per_item) == (
        model.facts.parameters,
        model.facts.macs_per_item,
    )
    assert all((m.weight != 0).all() for m in model.as_form("torch").module.modules() if isinstance(m, nn.Conv2d))


@pytest.mark.parametrize("make", [Mlp, Residual])
def test_every_four_weights_hold_exactly_two(make):
    net = seeded(make)
    before = {
        name: m.weight.detach().clone() for name, m in net.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)
    }
    done, left = pattern(net)
    # The stem of the residual network has three inputs: no multiple of four.
    assert (done, left) == ((3, 0) if make is Mlp else (3, 1))
    for name, old in before.items():
        new = net.get_submodule(name).weight.detach()
        if old.shape[1] % 4:
            assert torch.equal(new, old)
            continue
        fours, olds = (w.movedim(1, -1).reshape(-1, 4) for w in (new, old))
        assert ((fours != 0).sum(1) == 2).all()
        kept = fours != 0
        assert torch.equal(fours[kept], olds[kept])
        assert (olds.abs().masked_fill(kept, 0).amax(1) <= olds.abs().masked_fill(~kept, 9e9).amin(1)).all()


def test_2_4_changes_only_weights_and_says_what_it_is_worth(tmp_path):
    pruned = apply("prune_2_4", model_of(seeded(Residual), images(), tmp_path))
    assert pruned.notes[-1].startswith("prune_2_4: two of every four weights zero in 3 layers, 1 left whole")
    assert "buys no speed" in pruned.notes[-1]


def test_no_layer_for_the_pattern_is_refused(tmp_path):
    model = model_of(nn.Sequential(nn.Linear(3, 5), nn.ReLU()), {"input": rows(4, 3)["x"]}, tmp_path)
    with pytest.raises(VariantError, match="2:4 pattern"):
        apply("prune_2_4", model)


class Wide(nn.Module):
    """A linear layer and a strided, dilated convolution whose weights are of a given rank."""

    def __init__(self, rank):
        super().__init__()
        self.conv = nn.Conv2d(8, 24, 3, stride=2, padding=2, dilation=2)
        self.dense = nn.Linear(24, 40)
        with torch.no_grad():
            self.conv.weight.copy_(low(rank, 24, 72).view(24, 8, 3, 3) / 30)
            self.dense.weight.copy_(low(rank, 40, 24) / 30)

    def forward(self, x):
        return self.dense(self.conv(x).mean((2, 3)))


@settings(max_examples=12, deadline=None)
@given(rank=st.integers(1, 8))
def test_a_matrix_of_known_rank_is_split_exactly(rank, tmp_path_factory):
    model = model_of(seeded(lambda: Wide(rank)), images(8), tmp_path_factory.mktemp("m"))
    halved = apply("low_rank", model, energy=1.0, round_to=1)
    module = halved.as_form("torch").module
    assert [module.conv[0].out_channels, module.dense[0].out_features] == [rank, rank]
    whole, found = (m.as_form("torch")(images(8))["output"] for m in (model, halved))
    torch.testing.assert_close(found, whole, rtol=1e-4, atol=1e-5)
    # Parameters by hand: rank x (24 + 72) and rank x (40 + 24), and the biases.
    assert halved.facts.parameters == rank * (96 + 64) + 24 + 40


def test_what_full_rank_would_cost_more_is_left_whole(tmp_path):
    """24 x 40: the halves are cheaper up to rank 14 (14 x 64 < 960), dearer from 15 on."""
    for rank, expected in ((14, [14]), (15, [None])):
        form = TorchForm.from_names(nn.Sequential(nn.Linear(40, 24)), ["input"])
        with torch.no_grad():
            form.module[0].weight.copy_(low(rank))
        layers = decompose(form, {"input": np.zeros((2, 40), np.float32)})
        assert ranks(layers, energy=1.0, rank=None, flops=None, round_to=1) == expected


def test_rounding_up_never_costs_more_than_the_layer(tmp_path):
    form = TorchForm.from_names(nn.Sequential(nn.Linear(40, 24)), ["input"])
    with torch.no_grad():
        form.module[0].weight.copy_(low(14))
    layers = decompose(form, {"input": np.zeros((2, 40), np.float32)})
    assert ranks(layers, energy=1.0, rank=None, flops=None, round_to=8) == [14]
    with torch.no_grad():
        form.module[0].weight.copy_(low(5))
    layers = decompose(form, {"input": np.zeros((2, 40), np.float32)})
    assert ranks(layers, energy=1.0, rank=None, flops=None, round_to=8) == [8]


def test_energy_by_hand():
    """Singular values 4, 2, 1: squares 16, 4, 1 of 21."""
    form = TorchForm.from_names(nn.Sequential(nn.Linear(3, 3)), ["input"])
    with torch.no_grad():
        form.module[0].weight.copy_(torch.diag(torch.tensor([1.0, 4.0, 2.0])))
    (layer,) = decompose(form, {"input": np.zeros((2, 3), np.float32)})
    np.testing.assert_allclose(layer.values, [4, 2, 1], atol=1e-6)
    assert [layer.rank_for(e) for e in (0.5, 16 / 21, 0.77, 20 / 21, 0.96, 1.0)] == [1, 1, 2, 2, 3, 3]
    assert layer.cost(1) == 6 / 9


@pytest.mark.parametrize("flops", [0.2, 0.5])
def test_a_share_of_the_multiply_accumulates_is_reached(flops, tmp_path):
    model = model_of(seeded(Residual), images(), tmp_path)
    halved = apply("low_rank", model, flops=flops, round_to=1)
    left = halved.facts.macs_per_item / model.facts.macs_per_item
    # One singular value of the largest layer is 320 of 19296 a position.
    assert 1 - flops - 0.05 <= left <= 1 - flops + 0.005


def test_weights_of_full_rank_are_refused_instead_of_made_dearer(tmp_path):
    with pytest.raises(VariantError, match="No layer gets cheaper") as raised:
        apply("low_rank", model_of(seeded(Mlp), rows(), tmp_path), energy=1.0)
    assert "prune_structured" in raised.value.next_step


def test_shared_grouped_and_fused_layers_are_left_alone(tmp_path):
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(16, 16), nn.Linear(16, 16)
            self.two.weight = self.one.weight
            self.fused = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
            self.free = nn.Linear(16, 16)

        def forward(self, x):
            return self.free(self.fused(self.two(self.one(x))[:, None])[:, 0])

    halved = apply("low_rank", model_of(seeded(Mixed), rows(), tmp_path), rank=2)
    assert "1 of 1 layers split in two at rank 2" in halved.notes[-1]


def test_rank_and_flops_exclude_each_other():
    from tests.compression.test_pruning import TORCH
    from tests.small_models import machine

    refusal = plugins.make("compression", Named("low_rank", {"rank": 4, "flops": 0.5})).fits(
        TORCH, machine(), "onnxruntime"
    )
    assert refusal is not None
    assert "one of them" in refusal.next_step


@pytest.mark.parametrize("shape", [(24, 40), (40, 24)])
def test_the_halves_are_the_best_approximation(shape):
    """Eckart and Young: the truncated singular value decomposition, here by numpy."""
    form = TorchForm.from_names(nn.Sequential(nn.Linear(shape[1], shape[0])), ["input"])
    with torch.no_grad():
        weight = form.module[0].weight.copy_(low(20, *shape)).numpy().astype(float)
    (layer,) = decompose(form, {"input": np.zeros((2, shape[1]), np.float32)})
    left, values, right = np.linalg.svd(weight)
    np.testing.assert_allclose(layer.values[:20], values[:20], rtol=1e-5)
    split(form.module, layer, 6)
    found = (form.module[0][1].weight @ form.module[0][0].weight).detach().numpy()
    np.testing.assert_allclose(found, left[:, :6] * values[:6] @ right[:6], atol=1e-4)
