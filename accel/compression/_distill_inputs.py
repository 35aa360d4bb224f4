"""What a student is asked while it learns: the calibration samples, and more inputs made from them.

There are no labels, so any input that the teacher can answer teaches something: inputs are shifted, mixed with one
another (Zhang et al. 2018, "mixup") and given noise where all of them are plain float arrays of one shape, and some
tokens are exchanged for others where there are token ids with a mask.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from accel.errors import VariantError

if TYPE_CHECKING:
    from accel.model import Model
    from accel.samples import Samples

Tensors = dict[str, Any]

LARGEST_BATCH, LARGEST_RAGGED = 32, 16
_HELD_BACK, _MOST_HELD = 0.15, 64
_ENOUGH = 8
_BATCH_MACS = 8e9
_NOISE = 0.05
_EXCHANGED = 0.1


class Inputs:
    """Batches to learn from, and a part held back that is never learnt from nor widened.

    With fewer than 8 samples nothing can be spared and `held` is all of them. A model with a fixed batch gets full
    batches of that size. Raises VariantError if there are too few samples for one batch.
    """

    def __init__(self, model: Model, samples: Samples, names: tuple[str, ...], seed: int) -> None:
        import torch

        self._samples, self._names = samples, names
        self._random = torch.Generator().manual_seed(seed)
        fixed, count = model.signature.batch, samples.count
        self._is_fixed = fixed != "any"
        self.batch = int(fixed) if fixed != "any" else min(_size(model, samples), max(1, count))
        if count < self.batch or count == 0:
            raise VariantError(
                f"Distillation needs at least {self.batch} calibration samples, but there are {count}.",
                "Give more samples, or a function that trains the model.",
            )
        order = np.random.default_rng(seed).permutation(count)
        spared = min(_MOST_HELD, round(_HELD_BACK * count)) if count >= _ENOUGH else 0
        if fixed != "any":
            spared = spared // self.batch * self.batch if count - spared >= self.batch else 0
        self.ids = order[spared:]
        self.held_ids = np.sort(order[:spared]) if spared else np.arange(count)
        self._waiting: list[int] = []
        self._float = not samples.ragged and all(np.issubdtype(_column(samples, n).dtype, np.floating) for n in names)
        self._tokens, self._mask = _token_inputs(samples, names)

    def held(self) -> list[Tensors]:
        """The held-back samples in batches, as they are; a fixed batch leaves out what doesn't fill one."""
        ids = self.held_ids[: len(self.held_ids) // self.batch * self.batch] if self._is_fixed else self.held_ids
        return [self._tensors(ids[i : i + self.batch]) for i in range(0, len(ids), self.batch)]

    def plain(self) -> Tensors:
        """The next samples to learn from, as they are; every sample comes once before any comes again."""
        while len(self._waiting) < self.batch:
            order = self._permutation(len(self.ids))
            self._waiting += [int(self.ids[i]) for i in order]
        chosen, self._waiting = self._waiting[: self.batch], self._waiting[self.batch :]
        return self._tensors(np.array(chosen))

    def widened(self) -> Tensors:
        """The next samples to learn from, changed at random."""
        batch = self.plain()
        if self._float:
            return self._mixed({name: self._noisy(self._shifted(value)) for name, value in batch.items()})
        return self._exchanged(batch) if self._mask else batch

    @property
    def changes(self) -> str:
        """What `widened` does, in words; "" if nothing."""
        if self._float:
            return (
                "shifted, mixed and given noise" if any(map(self._is_image, self._names)) else "mixed and given noise"
            )
        return "with some tokens exchanged" if self._mask else ""

    def _tensors(self, ids: Any) -> Tensors:
        import torch

        batch = self._samples.batch(ids)
        # Copied by torch, which aligns memory: sums over numpy's own differ in their last bit from run to run.
        return {name: torch.tensor(np.ascontiguousarray(batch[name])) for name in self._names}

    def _permutation(self, count: int) -> list[int]:
        import torch

        found: list[int] = torch.randperm(count, generator=self._random).tolist()
        return found

    def _uniform(self, count: int, like: Any) -> Any:
        """`count` numbers between 0 and 1, shaped to scale the items of `like`."""
        import torch

        return torch.rand(count, generator=self._random).to(like.dtype).reshape(-1, *[1] * (like.ndim - 1))

    def _is_image(self, name: str) -> bool:
        return _is_image(_column(self._samples, name).shape)

    def _shifted(self, images: Any) -> Any:
        """Each image moved by up to a tenth of its size, its edge repeated; other tensors as they are."""
        import torch

        if not _is_image(tuple(images.shape)):
            return images
        height, width = images.shape[2:]
        up, left = max(1, height // 10), max(1, width // 10)
        padded = torch.nn.functional.pad(images, (left, left, up, up), mode="replicate")
        dy = torch.randint(0, 2 * up + 1, (len(images),), generator=self._random).tolist()
        dx = torch.randint(0, 2 * left + 1, (len(images),), generator=self._random).tolist()
        moved = [image[:, y : y + height, x : x + width] for image, y, x in zip(padded, dy, dx, strict=True)]
        return torch.stack(moved)

    def _noisy(self, values: Any) -> Any:
        """Noise of up to a twentieth of the batch's spread, inside the batch's range."""
        import torch

        noise = torch.randn(values.shape, generator=self._random).to(values.dtype)
        strength = _NOISE * values.std(unbiased=False) * self._uniform(len(values), values)
        return (values + strength * noise).clamp(values.min(), values.max())

    def _mixed(self, batch: Tensors) -> Tensors:
        """Half of the items become a weighted mean of two; all inputs of an item are mixed alike."""
        import torch

        first = next(iter(batch.values()))
        half, other = len(first) // 2, torch.tensor(self._permutation(len(first)))
        share = torch.rand(len(first), generator=self._random)
        share[half:] = 1.0
        mixed = {}
        for name, value in batch.items():
            weight = share.to(value.dtype).reshape(-1, *[1] * (value.ndim - 1))
            mixed[name] = weight * value + (1 - weight) * value[other]
        return mixed

    def _exchanged(self, batch: Tensors) -> Tensors:
        """A tenth of the tokens, never the first, the last or padding, become tokens of other items in the batch."""
        import torch

        ids, real = batch[self._tokens].clone(), batch[self._mask] != 0
        inner = real.clone()
        inner[:, 0] = False
        inner[torch.arange(len(ids)), real.sum(1).clamp(min=1) - 1] = False
        chosen = inner & (torch.rand(ids.shape, generator=self._random) < _EXCHANGED)
        pool = ids[inner]
        if len(pool):
            drawn = torch.randint(0, len(pool), (int(chosen.sum()),), generator=self._random)
            ids[chosen] = pool[drawn]
        return {**batch, self._tokens: ids}


def _column(samples: Samples, name: str) -> Any:
    return samples.inputs[name]


def _is_image(shape: tuple[int, ...]) -> bool:
    """(n, channels, height, width) with the channels of a picture."""
    return len(shape) == 4 and shape[1] in (1, 3, 4) and min(shape[2:]) >= 8


def _size(model: Model, samples: Samples) -> int:
    """Fewer items a step for heavy models, so that a short training has steps enough; 4 at least, for batch-norms."""
    largest = LARGEST_RAGGED if samples.ragged else LARGEST_BATCH
    macs = model.facts.macs_per_item or 0
    return largest if not macs else max(4, min(largest, int(_BATCH_MACS / macs)))


def _token_inputs(samples: Samples, names: tuple[str, ...]) -> tuple[str, str]:
    """(input of token ids, input that masks it): one integer input whose name ends in `ids`, one with `mask` in it."""
    integer = [n for n in names if np.issubdtype(_column(samples, n).dtype, np.integer)]
    masks = [n for n in integer if "mask" in n.lower()]
    ids = [n for n in integer if n.lower().endswith("ids") and "type" not in n.lower() and "position" not in n.lower()]
    if len(ids) == 1 and len(masks) == 1 and _column(samples, ids[0]).shape == _column(samples, masks[0]).shape:
        return ids[0], masks[0]
    return "", ""
