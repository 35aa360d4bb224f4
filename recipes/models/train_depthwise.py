"""Train the depthwise network from scratch and write its weights (about a minute on 2 cores).

Run it with `python recipes/models/train_depthwise.py [--out FILE]`. Data, parts and widening are those of
`train_digits.py`: the 600 evaluation images are seen once, at the end, and nothing is selected by their score.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import depthwise
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - torch's own habit
from train_digits import BATCH, SEED, images, shifted, split, write_weights

EPOCHS = 30


def train(x: torch.Tensor, y: torch.Tensor) -> nn.Module:
    """The network after a fixed number of epochs."""
    torch.manual_seed(SEED)
    rng = torch.Generator().manual_seed(SEED)
    model = depthwise.Depthwise()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
    steps = -(-len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, epochs=EPOCHS, steps_per_epoch=steps)
    for epoch in range(EPOCHS):
        total = 0.0
        for ids in torch.randperm(len(x), generator=rng).split(BATCH):
            loss = F.cross_entropy(model(shifted(x[ids], rng)), y[ids], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(ids)
        print(f"epoch {epoch + 1:2}: loss {total / len(x):.3f}", flush=True)
    return model.eval()


def main() -> None:
    """Train, score once, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=depthwise.WEIGHTS)
    out: Path = parser.parse_args().out
    x, y = images()
    train_ids, test_ids = split(len(x))
    model = train(torch.from_numpy(x[train_ids]), torch.from_numpy(y[train_ids]))
    with torch.inference_mode():
        right = model(torch.from_numpy(x[test_ids])).argmax(1).numpy() == y[test_ids]
    print(f"accuracy on {len(test_ids)} images it has not seen: {right.mean():.4f}")
    write_weights(model, out)


if __name__ == "__main__":
    main()
