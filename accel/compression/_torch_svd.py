"""Singular values of a module's layers, how many to keep of each, and the two layers that take the place of one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from accel.compression._torch_edit import is_layer
from accel.compression._torch_widths import layer_macs
from accel.errors import VariantError

_STEPS = 40


class Layer(msgspec.Struct, kw_only=True, eq=False):
    """One layer as a matrix (outputs, inputs x kernel): its decomposition, and what it costs.

    values: singular values, falling. basis: the singular vectors of its shorter side, one a column. macs: of one run of
    the example.
    """

    name: str
    module: Any
    rows: int
    columns: int
    values: Any
    basis: Any
    macs: int

    def cost(self, rank: int) -> float:
        """Multiply-accumulates of the two halves, as a share of the whole's; below 1 it pays."""
        return rank * (self.rows + self.columns) / (self.rows * self.columns)

    def rank_for(self, energy: float) -> int:
        """The fewest singular values whose squares add up to a share `energy` of all; at least one.

        What lies below the resolution of the weights' own arithmetic counts as nothing, so that energy = 1 finds the
        rank of a matrix (the threshold of numpy.linalg.matrix_rank, at float32).
        """
        squares = np.square(self.values)
        noise = np.square(self.values[0] * max(self.rows, self.columns) * np.finfo(np.float32).eps)
        squares = np.where(squares > noise, squares, 0.0)
        total = squares.sum()
        if total == 0:
            return 1
        missing = total - np.cumsum(squares)
        return int(np.argmax(missing <= (1 - energy) * total + 1e-12 * total)) + 1


def decompose(form: Any, example: dict[str, Any]) -> list[Layer]:
    """The layers that could be split, each with its singular value decomposition (in float64).

    By the eigenvalues of the product of the matrix with itself, which takes a tenth of the time: it loses what lies
    below 1e-8 of the largest value, and float32 weights hold nothing there.

    Left out: grouped and transposed convolutions, weights that two layers share, and what torch's own transformer
    layers read past the layer (their fused path takes `linear1.weight` itself).
    """
    import torch

    macs = layer_macs(form, example)
    found = []
    for name, module in _plain_layers(form.module):
        matrix = module.weight.detach().double().flatten(1)
        if not torch.isfinite(matrix).all():
            continue
        squares, basis = torch.linalg.eigh(
            matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
        )
        found.append(
            Layer(
                name=name,
                module=module,
                rows=matrix.shape[0],
                columns=matrix.shape[1],
                values=squares.flip(0).clamp(min=0).sqrt().numpy(),
                basis=basis.flip(1).float(),
                macs=macs.get(module, 0),
            )
        )
    return found


def _plain_layers(root: Any) -> list[tuple[str, Any]]:
    import torch

    nn = torch.nn
    fused = [p for p in root.modules() if type(p).__module__ == "torch.nn.modules.transformer"]
    inside = {id(m) for parent in fused for m in parent.modules()}
    owners: dict[int, int] = {}
    for module in root.modules():
        for p in module.parameters(recurse=False):
            owners[id(p)] = owners.get(id(p), 0) + 1
    plain = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
    return [
        (name, m)
        for name, m in root.named_modules()
        if type(m) in plain
        and is_layer(m)
        and name
        and id(m) not in inside
        and owners[id(m.weight)] == 1
        and getattr(m, "groups", 1) == 1
        and getattr(m, "padding_mode", "zeros") == "zeros"
    ]


def ranks(
    layers: Sequence[Layer], *, energy: float, rank: int | None, flops: float | None, round_to: int
) -> list[int | None]:
    """The width of each layer's middle, None where splitting wouldn't pay.

    Raises VariantError if `flops` asks for more than rank one everywhere would save.
    """
    if rank is not None:
        return [_paying(layer, rank, 1) for layer in layers]
    if flops is None:
        return [_paying(layer, layer.rank_for(energy), round_to) for layer in layers]
    low, high = 0.0, 1.0
    if (most := _saved(layers, low, round_to)) < flops:
        raise VariantError(
            f"Splitting can remove at most {int(100 * most)} % of the layers' multiply-accumulates, but flops = "
            f"{flops:g} asks for {100 * flops:g} %.",
            "Ask for less.",
        )
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if _saved(layers, middle, round_to) >= flops else (low, middle)
    return [_paying(layer, layer.rank_for(low), round_to) for layer in layers]


def _paying(layer: Layer, rank: int, round_to: int) -> int | None:
    rounded = min(round_to * math.ceil(rank / round_to), len(layer.values))
    # Rounding for the kernels must not undo what the split saves.
    chosen = rounded if layer.cost(rounded) < 1 else rank
    return chosen if layer.cost(chosen) < 1 else None


def _saved(layers: Sequence[Layer], energy: float, round_to: int) -> float:
    """The share of the layers' multiply-accumulates that goes at an energy; falls as the energy rises."""
    total = sum(layer.macs for layer in layers)
    saved = 0.0
    for layer in layers:
        rank = _paying(layer, layer.rank_for(energy), round_to)
        saved += layer.macs * (1 - layer.cost(rank)) if rank is not None else 0.0
    return saved / total if total else 0.0


def _halves(layer: Layer, rank: int) -> tuple[Any, Any]:
    """(rank, columns) and (rows, rank), whose product is the best approximation of the layer's matrix.

    Half of each singular value goes to either side, so that both are of like size for training and for 8 bits.
    """
    import torch

    matrix, basis = layer.module.weight.detach().double().flatten(1), layer.basis[:, :rank].double()
    # Below the weights' own resolution the scale is free, and a division by nothing would not be.
    least = layer.values[0] * np.finfo(np.float32).eps
    scale = torch.from_numpy(np.sqrt(np.maximum(layer.values[:rank], least)) if least > 0 else np.ones(rank))
    if layer.rows <= layer.columns:
        return (basis.T @ matrix) / scale[:, None], basis * scale
    return basis.T * scale[:, None], (matrix @ basis) / scale


def split(root: Any, layer: Layer, rank: int) -> None:
    """Put two layers in the place of one in its parent: to the middle, and from there out, with the bias."""
    import torch

    old, nn = layer.module, torch.nn
    first, second = _halves(layer, rank)
    with torch.no_grad():
        if isinstance(old, nn.Linear):
            narrow = nn.Linear(old.in_features, rank, bias=False)
            wide = nn.Linear(rank, old.out_features, bias=old.bias is not None)
        else:
            kind = type(old)
            narrow = kind(old.in_channels, rank, old.kernel_size, old.stride, old.padding, old.dilation, bias=False)
            wide = kind(rank, old.out_channels, 1, bias=old.bias is not None)
        narrow.weight.copy_(first.view_as(narrow.weight))
        wide.weight.copy_(second.view_as(wide.weight))
        if old.bias is not None:
            wide.bias.copy_(old.bias)
    halves = nn.Sequential(narrow, wide).to(old.weight.dtype)
    halves.train(old.training)
    parent, _, name = layer.name.rpartition(".")
    setattr(root.get_submodule(parent), name, halves)
