"""Samples: real inputs with or without labels, once as plain .npy on disk, in three parts that never meet."""

from __future__ import annotations

from accel.samples.make import matched, materialise
from accel.samples.store import Samples

__all__ = ["Samples", "matched", "materialise"]
