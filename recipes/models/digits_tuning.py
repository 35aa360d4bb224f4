"""A function for `fine_tune`'s field `by`: trains the pruned digits network on labelled images.

The images are those that `train_digits.py` trained the original on; the 600 that accuracy is reported on aren't read.
Needs scikit-learn, which brings the images: `pip install "accel-bench[torch]" scikit-learn`.
"""

from __future__ import annotations

import time
from typing import Any

SEED = 21
EPOCHS = 12
RATE = 2e-3


def with_labels(module: Any, seconds: float) -> None:
    """Train in place by cross-entropy, 12 epochs at most and no longer than `seconds`."""
    import torch
    from torch.nn import functional as F  # noqa: N812 - torch's own habit
    from train_digits import BATCH, images, shifted, split

    x, y = (torch.from_numpy(part) for part in images())
    ids, _ = split(len(x))
    x, y, rng = x[ids], y[ids], torch.Generator().manual_seed(SEED)
    steps, end = EPOCHS * -(-len(x) // BATCH), time.monotonic() + 0.95 * seconds
    optimizer = torch.optim.AdamW(module.parameters(), lr=RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2 * RATE, total_steps=steps)
    module.train()
    for _ in range(EPOCHS):
        for chosen in torch.randperm(len(x), generator=rng).split(BATCH):
            if time.monotonic() > end:
                return
            loss = F.cross_entropy(module(shifted(x[chosen], rng)), y[chosen], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
