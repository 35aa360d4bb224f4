"""The built-in demo: a trained network, real images it has not seen, and a recipe with two traps.

Files
    network.py    the architecture and `factory()`, which loads the weights; needs torch
    digits.npz    the weights, 1.3 MB, plain float32 arrays (no pickle)
    digits.onnx   the same network as ONNX, batch-norms folded, the batch free; needs no torch
    samples.npz   `image` float32 (792, 1, 32, 32) in [0, 1], `labels` int64, and `calibration`, a mask:
                  600 images for evaluation, 192 of the training images for calibration
    digits.toml   the recipe that `accel bench demo` runs

Where it comes from: `recipes/models/train_digits.py` trains the network from scratch and writes these files. The images
are scikit-learn's `load_digits`, the test part of "Optical recognition of handwritten digits" (E. Alpaydin, C. Kaynak,
1998; UCI Machine Learning Repository, https://doi.org/10.24432/C50P49, CC BY 4.0), upscaled from 8x8 to 32x32. The
weights carry this package's licence. 0.99 of the 600 evaluation images are read correctly; none of them took part in
training, in calibration or in any choice.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import msgspec

from accel.recipe import Recipe, read

FOLDER = Path(__file__).parent


def recipe_path() -> Path:
    """The recipe that `accel bench demo` runs."""
    return FOLDER / "digits.toml"


def onnx_path() -> Path:
    """The network as ONNX, for a machine without torch."""
    return FOLDER / "digits.onnx"


def samples_path() -> Path:
    """The images, labels and calibration mask."""
    return FOLDER / "samples.npz"


def model_source() -> str:
    """What to give as MODEL: the torch factory if torch is installed, else the path of the ONNX form."""
    return "accel.demo.network:factory" if find_spec("torch") is not None else str(onnx_path())


def recipe() -> Recipe:
    """The demo's recipe, with the form of the model that can be loaded here."""
    return msgspec.structs.replace(read(recipe_path()), model=model_source())
