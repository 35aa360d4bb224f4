"""Where does the time of a study's winners and of its original go? Read from `profiles/` beside its runs."""

from __future__ import annotations

from pathlib import Path

import msgspec

from accel.compilation._profile import Layers
from accel.errors import InputError
from accel.model.layer_class import MULTIPLIES

FOLDER = "profiles"


def read(study: Path) -> tuple[Layers, ...]:
    """Every profile of a study folder, by name; a study without them has none.

    Raises InputError with the path of a file that can't be read.
    """
    return tuple(_one(path) for path in sorted((study / FOLDER).glob("*.json")))


def _one(path: Path) -> Layers:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Layers)
    except (msgspec.DecodeError, UnicodeDecodeError, OSError) as error:
        raise InputError(f"The profile `{path}` can't be read: {error}. Delete it and use --resume.") from None


def by_class(layers: Layers) -> dict[str, float]:
    """Share of the time by class of layer, the largest first."""
    found: dict[str, float] = {}
    for one in layers.times:
        found[one.layer_class] = found.get(one.layer_class, 0.0) + one.seconds_share
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def multiplying(layers: Layers) -> float:
    """The share of the time in layers that multiply, which is what faster arithmetic can shorten."""
    return layers.share(*MULTIPLIES)
