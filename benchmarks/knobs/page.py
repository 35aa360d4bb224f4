"""`reports/HARDWARE.md` from `reports/hardware/*.json`: nothing in it that isn't in those files.

python -m benchmarks.knobs.page [FOLDER]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.batching.page import measured_on, write_page
from benchmarks.compression.rows import read
from benchmarks.compression.words import title
from benchmarks.hardware import quota
from benchmarks.hardware.peaks_part import peaks
from benchmarks.hardware.quota_part import quotas
from benchmarks.hardware.rows import Quota
from benchmarks.knobs.knobs_part import knobs
from benchmarks.knobs.rows import FOLDER, Knobs, Rivals
from benchmarks.knobs.ways import MODELS
from benchmarks.peers import runtimes
from benchmarks.peers.runtimes_part import rivals
from benchmarks.search import grid
from benchmarks.search.regret_part import regrets
from benchmarks.search.rows import Regret
from benchmarks.search.second_part import second

NAME = "HARDWARE.md"
_INTRODUCTION = (
    "What backends and their knobs give, how accel's winners fare beside other runtimes, and whether its search finds "
    "what a full grid finds; as measured on one machine by `make hardware`. `python -m benchmarks.knobs.page` makes "
    "this file from `hardware/*.json`."
)


def markdown(folder: Path) -> str:
    """The whole file, ending with a newline."""
    listed = sorted(read(Knobs, "knobs-*.json", folder), key=_order)
    met = sorted(read(Rivals, "peers-*.json", folder), key=_order)
    searched = sorted(read(Regret, "search-*.json", folder), key=_order)
    halved = sorted(read(Quota, "quota-*.json", folder), key=_order)
    every = (listed, met, searched, halved)
    where = measured_on(record.where for records in every for record in records)
    parts = ["# Hardware", _INTRODUCTION, *where, *knobs(listed), *rivals(met), *regrets(searched), *quotas(halved)]
    parts += [*second(folder / "second_study.json"), *peaks(folder / "peaks.json")]
    parts += _to_come(
        {
            "Backends and knobs": (MODELS, listed),
            "Beside other runtimes": (runtimes.MODELS, met),
            "The pick against a full grid": (grid.MODELS, searched),
            "Under a quota": (quota.MODELS, halved),
        }
    )
    return "\n\n".join(part for part in parts if part) + "\n"


def _to_come(by: dict[str, tuple[Sequence[str], Sequence[Knobs | Rivals | Regret | Quota]]]) -> list[str]:
    """Which models an experiment is meant for and wasn't run with."""
    lines = []
    for what, (models, records) in by.items():
        missing = [title(m) for m in models if m not in {record.model for record in records}]
        lines += [f"- {what}: {'; '.join(missing)}."] if missing else []
    return ["## Not measured yet", "\n".join(lines)] if lines else []


def _order(record: Knobs | Rivals | Regret | Quota) -> tuple[int, str]:
    known = MODELS.index(record.model) if record.model in MODELS else len(MODELS)
    return known, record.model


def main(arguments: Sequence[str] | None = None) -> int:
    return write_page(arguments, FOLDER, NAME, markdown)


if __name__ == "__main__":
    sys.exit(main())
