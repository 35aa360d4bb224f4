"""Train the demo's network from scratch and write the files that ship in `accel/demo` (about 3 minutes on 2 cores).

Run it with `python recipes/models/train_digits.py [--out FOLDER]`. The data are the 1,797 labelled 8x8 images of
scikit-learn's `load_digits` (UCI "Optical recognition of handwritten digits", CC BY 4.0), upscaled to 32x32.
600 images, drawn once with a fixed seed, are kept for evaluation: training, the number of epochs and calibration never
see them. Nothing is selected by their score.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F  # noqa: N812 - torch's own habit

from accel.demo import network

SEED = 20
EVALUATION = 600
CALIBRATION = 192
EPOCHS = 20
BATCH = 32
Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


def images() -> tuple[Floats, Ints]:
    """All digits as float32 (1797, 1, 32, 32) in [0, 1], and their labels; bilinear, so each value is a k / 1024."""
    digits = load_digits()
    small = torch.from_numpy(digits.images.astype(np.float32) / 16).unsqueeze(1)
    large = F.interpolate(small, size=(32, 32), mode="bilinear", align_corners=False)
    return large.numpy(), digits.target.astype(np.int64)


def split(count: int) -> tuple[Ints, Ints]:
    """Ids for training and ids for evaluation, always the same."""
    order = np.random.default_rng(SEED).permutation(count)
    return np.sort(order[EVALUATION:]), np.sort(order[:EVALUATION])


def shifted(batch: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Each image moved by up to three pixels and given a little noise, so that pixels aren't learnt by heart."""
    padded = F.pad(batch, (3, 3, 3, 3))
    moves = torch.randint(0, 7, (len(batch), 2), generator=rng).tolist()
    moved = torch.stack([image[:, dy : dy + 32, dx : dx + 32] for image, (dy, dx) in zip(padded, moves, strict=True)])
    return (moved + 0.05 * torch.randn(moved.shape, generator=rng)).clamp(0, 1)


def train(x: torch.Tensor, y: torch.Tensor) -> nn.Module:
    """The network after a fixed number of epochs."""
    torch.manual_seed(SEED)
    rng = torch.Generator().manual_seed(SEED)
    model = network.Digits().to(memory_format=torch.channels_last)
    steps = -(-len(x) // BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, epochs=EPOCHS, steps_per_epoch=steps)
    for epoch in range(EPOCHS):
        begin, total = time.perf_counter(), 0.0
        for ids in torch.randperm(len(x), generator=rng).split(BATCH):
            inputs = shifted(x[ids], rng).contiguous(memory_format=torch.channels_last)
            loss = F.cross_entropy(model(inputs), y[ids], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(ids)
        print(f"epoch {epoch + 1:2}: loss {total / len(x):.3f}, {time.perf_counter() - begin:.1f} s", flush=True)
    return model.to(memory_format=torch.contiguous_format).eval()


def write_weights(model: nn.Module, path: Path) -> None:
    """Plain arrays without pickle, one a tensor."""
    np.savez(path, **{name: value.numpy() for name, value in model.state_dict().items()})


def write_onnx(path: Path) -> None:
    """The same network as ONNX with a free batch; the exporter folds the batch-norms into the convolutions."""
    program = torch.onnx.export(
        network.factory(path.with_suffix(".npz")),
        (torch.zeros(2, 1, 32, 32),),
        input_names=["image"],
        output_names=["logits"],
        dynamic_shapes={"image": {0: torch.export.Dim("batch")}},
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    model = program.model_proto
    # The exporter's notes hold paths of the machine it ran on, and shapes that upset quantizers.
    del model.graph.value_info[:]
    del model.graph.metadata_props[:], model.metadata_props[:]
    for part in [*model.graph.node, *model.graph.input, *model.graph.output, *model.graph.initializer]:
        del part.metadata_props[:]
    onnx.save(model, path)


def write_samples(x: Floats, y: Ints, train_ids: Ints, test_ids: Ints, path: Path) -> None:
    """Evaluation images and, marked as such, calibration images drawn from the training images."""
    chosen = np.random.default_rng(SEED + 1).choice(train_ids, CALIBRATION, replace=False)
    ids = np.concatenate([test_ids, np.sort(chosen)])
    np.savez_compressed(path, image=x[ids], labels=y[ids], calibration=np.arange(len(ids)) >= len(test_ids))


def main() -> None:
    """Train, score once, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(network.__file__).parent)
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    x, y = images()
    train_ids, test_ids = split(len(x))
    model = train(torch.from_numpy(x[train_ids]), torch.from_numpy(y[train_ids]))
    with torch.inference_mode():
        right = model(torch.from_numpy(x[test_ids])).argmax(1).numpy() == y[test_ids]
    print(f"accuracy on {len(test_ids)} images it has not seen: {right.mean():.4f}")
    write_weights(model, out / "digits.npz")
    write_onnx(out / "digits.onnx")
    write_samples(x, y, train_ids, test_ids, out / "samples.npz")


if __name__ == "__main__":
    main()
