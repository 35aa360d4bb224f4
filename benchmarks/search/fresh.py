"""Samples that neither a study nor a grid of the recipe has seen, from the same generators.

Given as `fresh.py:NAME`. The digits are the recipe's own images, each moved by a pixel and made a little noisy, and the
table is the recipe's own rows with noise: of neither are there others that weren't trained on.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from benchmarks.compression.items import recipe_module

SEED = 7919


def resnet50() -> dict[str, Any]:
    """As many made-up images, drawn anew."""
    recipe = recipe_module("resnet50")
    return {"pixel_values": recipe.images(recipe.IMAGES, seed=SEED)}


def bert_base() -> dict[str, Any]:
    """As many made-up texts, drawn anew."""
    recipe = recipe_module("bert_base")
    recipe.SEED = SEED
    found: dict[str, Any] = recipe.samples()
    return found


def minilm() -> list[dict[str, Any]]:
    """Every docstring of the nine areas that isn't among the recipe's own."""
    recipe = recipe_module("minilm")
    known = {row["input_ids"].tobytes() for row in recipe.samples()}
    recipe.PER_AREA = sys.maxsize
    return [row for row in recipe.samples() if row["input_ids"].tobytes() not in known]


def ocr() -> dict[str, Any]:
    """The lines that follow the recipe's in the same random sequence."""
    recipe = recipe_module("ocr")
    own = recipe.LINES
    recipe.LINES = 2 * own
    return {name: values[own:] for name, values in recipe.samples().items()}


def digits() -> dict[str, Any]:
    """The evaluation's images moved by one pixel, with noise."""
    from accel.demo import samples_path

    with np.load(samples_path()) as stored:
        images, labels = (stored[name][~stored["calibration"]] for name in ("image", "labels"))
    rng = np.random.default_rng(SEED)
    moved = np.stack([np.roll(one, rng.integers(-1, 2, 2), (-2, -1)) for one in images])
    noisy = np.clip(moved + rng.normal(0, 0.02, moved.shape), 0, 1)
    return {"image": noisy.astype(images.dtype), "labels": labels}


def tabular() -> dict[str, Any]:
    """The held-out rows with noise of a twentieth of each column's deviation."""
    found = recipe_module("tabular").samples()
    x = found["X"]
    noise = np.random.default_rng(SEED).normal(0, 0.05, x.shape) * x.std(0)
    return {"X": (x + noise).astype(x.dtype), "labels": found["labels"]}
