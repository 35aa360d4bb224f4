"""Where does the time of a study's winners and of its original go? Read from `profiles/` beside its runs."""

from __future__ import annotations

from pathlib import Path

from accel.analysis.stored import every
from accel.compilation._profile import Layers
from accel.model.layer_class import MULTIPLIES

FOLDER = "profiles"


def read(study: Path) -> tuple[Layers, ...]:
    """Every profile of a study folder, by name; a study without them has none.

    Raises InputError with the path of a file that can't be read.
    """
    return every(study / FOLDER, Layers, "profile")


def by_class(layers: Layers) -> dict[str, float]:
    """Share of the time by class of layer, the largest first."""
    found: dict[str, float] = {}
    for one in layers.times:
        found[one.layer_class] = found.get(one.layer_class, 0.0) + one.seconds_share
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def multiplying(layers: Layers) -> float:
    """The share of the time in layers that multiply, which is what faster arithmetic can shorten."""
    return layers.share(*MULTIPLIES)
