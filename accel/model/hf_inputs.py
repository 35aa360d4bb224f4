"""With what is a network of transformers called? By the names of the samples, else by what its kind of input needs."""

from __future__ import annotations

import inspect
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from accel.errors import InputError, nearest
from accel.model.types import Source
from accel.samples.given import is_unnamed
from accel.samples.synthetic import FREE_AXIS

_LENGTH = 16
_AUDIO_SAMPLES = 16_000
_TEXT = ("input_ids", "attention_mask", "token_type_ids", "position_ids")
_KNOWN = (*_TEXT, "bbox", "pixel_values", "pixel_mask", "input_values", "input_features")
_FIRST_TOKEN = 5
"""Ids below it are mostly padding, start and end, which some networks treat apart."""


class Inputs(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """example: arguments of two rows by name, None where samples tell them. short: with a shorter sequence, or None."""

    example: dict[str, Any] | None
    short: dict[str, Any] | None = None


def inputs_of(network: Any, names: tuple[str, ...] | None, source: Source) -> Inputs:
    """Raises InputError for samples with names the network doesn't take, or where made-up inputs aren't known."""
    takes = [name for name in inspect.signature(network.forward).parameters if name in _KNOWN]
    if names is not None and not (is_unnamed(names) or (len(names) == 1 and names[0] not in _KNOWN)):
        for name in names:
            if name not in takes:
                raise InputError(f"The network `{source.name}` takes no input `{name}`. {nearest(name, takes)}")
        return Inputs(example=None)
    main = network.main_input_name
    example, free = _made(network.config, main, takes)
    if not example:
        raise InputError(
            f"The network `{source.name}` takes `{main}`, for which no inputs can be made up. Give samples (--samples) "
            f"with arrays named as its inputs ({', '.join(takes)})."
        )
    if names is not None:
        example = dict(list(example.items())[: len(names)])
    short = {n: a[:, : _LENGTH // 2] for n, a in example.items()} if free else None
    return Inputs(example=_tensors(example), short=short)


def _made(config: Any, main: str, takes: list[str]) -> tuple[dict[str, npt.NDArray[Any]], bool]:
    """(two rows of inputs, whether their second axis may vary)."""
    rng = np.random.Generator(np.random.PCG64(0))
    text = getattr(config, "text_config", config)
    if main == "input_ids" and getattr(text, "vocab_size", None):
        longest = getattr(text, "max_position_embeddings", None) or FREE_AXIS * 2
        length = max(1, min(_LENGTH, longest - 4))
        ids = rng.integers(min(_FIRST_TOKEN, text.vocab_size - 1), text.vocab_size, (2, length), np.int64)
        made = {"input_ids": ids}
        if "attention_mask" in takes:
            made["attention_mask"] = np.ones_like(ids)
        # Made-up samples are FREE_AXIS long, and some networks keep the first positions for padding.
        return made, longest >= FREE_AXIS + 4
    vision = getattr(config, "vision_config", config)
    if main == "pixel_values" and getattr(vision, "image_size", None):
        size = vision.image_size
        height, width = (size, size) if isinstance(size, int) else tuple(size)[-2:]
        shape = (2, getattr(vision, "num_channels", 3), height, width)
        return {main: rng.standard_normal(shape, np.float32)}, False
    if main == "input_values":
        return {main: rng.standard_normal((2, _AUDIO_SAMPLES), np.float32)}, False
    return {}, False


def _tensors(arrays: dict[str, npt.NDArray[Any]]) -> dict[str, Any]:
    import torch

    return {name: torch.from_numpy(array) for name, array in arrays.items()}
