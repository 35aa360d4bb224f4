"""What HARDWARE.md says of a second study: how soon after the command it measures something."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

from benchmarks.compression import words

LIMIT_S = 10.0


def second(path: Path) -> list[str]:
    """A table, one row a model; nothing where there is no such file."""
    if not path.is_file():
        return []
    body = []
    for one in json.loads(path.read_bytes())["models"]:
        seconds = [again["seconds"] for again in one["second"]]
        each = ", ".join(f"{s:.1f}" for s in seconds)
        within = "yes" if max(seconds) <= LIMIT_S else f"**no**: {max(seconds):.1f} s"
        row = [f"{one['first']['seconds']:.1f} s", f"{statistics.median(seconds):.1f} s ({each})", within]
        body.append([words.title(one["recipe"]), *row])
    about = (
        "From typing `accel bench RECIPE` to the start of the first timed run, in a first study with an empty cache "
        "and in the ones after it; every repeat is shown."
    )
    head = ["model", "first study", "later ones: median (each)", f"all within {LIMIT_S:g} s"]
    return ["## A second study of the same model", about, words.grid(head, body)]
