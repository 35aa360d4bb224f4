"""Reading lines of text by PP-OCRv6 (real weights), on images that are rendered here, so that what they say is known.

The network ships as ONNX in the package `rapidocr` (Apache-2.0, weights by PaddlePaddle), of which no code is run; its
SHA-256 is checked before anything loads it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper
from pinned import package_file

DISTRIBUTION = "rapidocr"
MODEL = "rapidocr/models/PP-OCRv6_rec_small.onnx"
MODEL_SHA256 = "6f327246b50388f3c176ae304bd95767ea6dc0c9ae92153ef8cbe210b3c14884"
HEIGHT, WIDTH = 48, 320
LINES = 420
VOCABULARY = (
    "account address amount arrival balance batch bottle bridge budget butter camera carbon charge coffee copper "
    "cotton credit customer damage dealer delivery deposit design device dinner discount driver engine export "
    "factory filter flight freight garden glass harbour heavy hotel import insurance invoice island journey kitchen "
    "label ledger letter limit machine market matter meter minute mobile morning network notice number office "
    "orange order output packet paper parcel payment pencil people period phone pocket police price printer profit "
    "purchase quality quarter receipt record refund region report return river sample school season second service "
    "silver single station stock storage street sugar summer supply switch table ticket timber total travel value "
    "vehicle voucher warehouse water weight winter yellow zone"
)
WORDS = tuple(VOCABULARY.split())


def recognizer() -> Path:
    """x: float32 (batch, 3, 48, width) -> ids: int64 (batch, steps), confidence: float32 (batch, steps, 1).

    The network as shipped gives 18,710 probabilities a step, 3 MB a line. What reading needs of them is appended to its
    graph: the likeliest character of each step and its probability.
    """
    model = _with_answers(onnx.load(package_file(DISTRIBUTION, MODEL, MODEL_SHA256)))
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "accel" / "recipes"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Written anew each time and moved into place, so that nobody ever loads half of it or somebody else's.
    handle, part = tempfile.mkstemp(dir=folder, suffix=".onnx")
    os.close(handle)
    onnx.save(model, part)
    return Path(part).replace(folder / f"ppocr-v6-{MODEL_SHA256[:16]}.onnx")


def _with_answers(model: onnx.ModelProto) -> onnx.ModelProto:
    graph = model.graph
    (probabilities,) = (output.name for output in graph.output)
    graph.node.append(helper.make_node("ArgMax", [probabilities], ["ids"], "answer_ids", axis=2, keepdims=0))
    graph.node.append(
        helper.make_node("ReduceMax", [probabilities], ["confidence"], "answer_confidence", axes=[2], keepdims=1)
    )
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", "steps"]))
    graph.output.append(helper.make_tensor_value_info("confidence", TensorProto.FLOAT, ["batch", "steps", 1]))
    onnx.checker.check_model(model)
    return model


def samples() -> dict[str, npt.NDArray[Any]]:
    """420 lines of words, amounts, dates and codes: x as PP-OCR expects it, labels as text."""
    rng = np.random.default_rng(6)
    lines = [_line(rng) for _ in range(LINES)]
    return {"x": np.stack([_prepared(_rendered(line, rng)) for line in lines]), "labels": np.array(lines)}


def _line(rng: np.random.Generator) -> str:
    one, two = (WORDS[i] for i in rng.integers(0, len(WORDS), 2))
    kind = int(rng.integers(0, 6))
    if kind == 0:
        return f"{one} {two}"
    if kind == 1:
        return f"{one.capitalize()} {rng.integers(1, 1000)}"
    if kind == 2:
        return f"{rng.integers(1, 29):02d}.{rng.integers(1, 13):02d}.{rng.integers(1990, 2030)}"
    if kind == 3:
        return f"{one} {rng.integers(1, 1000)}.{rng.integers(0, 100):02d}"
    if kind == 4:
        letters = "".join(chr(65 + i) for i in rng.integers(0, 26, 3))
        return f"{letters}-{rng.integers(1000, 100000)}"
    return one.upper()


def _rendered(line: str, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Grey text on a lighter ground with noise, (48, width at most 320), with the font that ships in Pillow."""
    from PIL import Image, ImageDraw, ImageFilter, ImageFont

    font: Any = ImageFont.load_default(size=int(rng.integers(22, 34)))
    left, top, right, bottom = font.getbbox(line)
    ground, ink = int(rng.integers(150, 256)), int(rng.integers(0, 110))
    width = int(right - left) + int(rng.integers(12, 28))
    picture = Image.new("L", (width, HEIGHT), ground)
    place = ((width - (right - left)) / 2 - left, (HEIGHT - (bottom - top)) / 2 - top + int(rng.integers(-3, 4)))
    ImageDraw.Draw(picture).text(place, line, ink, font)
    picture = picture.rotate(float(rng.uniform(-1.5, 1.5)), Image.Resampling.BILINEAR, fillcolor=ground)
    picture = picture.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.0, 1.3))))
    if width > WIDTH:
        picture = picture.resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)
    grey = np.asarray(picture, np.float64) + rng.normal(0, float(rng.uniform(2, 28)), (HEIGHT, picture.width))
    return np.clip(grey, 0, 255).astype(np.uint8)


def _prepared(grey: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """(48, width) -> (3, 48, 320), scaled to [-1, 1] and filled with zeros on the right, as PP-OCR does it."""
    x = np.zeros((3, HEIGHT, WIDTH), np.float32)
    x[:, :, : grey.shape[1]] = (grey.astype(np.float32) / 255 - 0.5) / 0.5
    return x


@cache
def characters() -> tuple[str, ...]:
    """What each id stands for: the blank of CTC, the characters in the file's own list, and the space."""
    model = onnx.load(package_file(DISTRIBUTION, MODEL, MODEL_SHA256), load_external_data=False)
    listed = next(entry.value for entry in model.metadata_props if entry.key == "character")
    return ("", *listed.split("\n"), " ")


def read(ids: npt.NDArray[np.int64]) -> str:
    """Greedy CTC (Graves et al. 2006): repeats become one, then blanks go. ids: (steps,)."""
    known = characters()
    kept = np.concatenate([[True], ids[1:] != ids[:-1]])
    return "".join(known[i] for i in ids[kept])


def lines_read(outputs: Mapping[str, Sequence[npt.NDArray[Any]]], labels: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Per line 1.0 if it is read exactly, else 0.0."""
    return np.array([float(read(ids) == label) for ids, label in zip(outputs["ids"], labels, strict=True)])


def characters_read(
    outputs: Mapping[str, Sequence[npt.NDArray[Any]]], labels: npt.NDArray[Any]
) -> npt.NDArray[np.float64]:
    """Per line the character accuracy: 1 - edits / length (Levenshtein 1966), not below 0."""
    pairs = zip(outputs["ids"], labels, strict=True)
    return np.array([max(0.0, 1 - edits(read(ids), str(label)) / len(str(label))) for ids, label in pairs])


def edits(one: str, two: str) -> int:
    """The least number of insertions, deletions and substitutions from one text to the other."""
    row = list(range(len(two) + 1))
    for i, a in enumerate(one, 1):
        before, row[0] = row[0], i
        for j, b in enumerate(two, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (a != b))
    return row[-1]
