"""`reports/COMPRESSION.md` from `reports/compression/*.json`: nothing in it that isn't in those files.

python -m benchmarks.compression.page [FOLDER]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.batching.page import measured_on, write_page
from benchmarks.compression import rows
from benchmarks.compression.claims_part import pruning, static
from benchmarks.compression.peers_part import peers
from benchmarks.compression.rescue import Row
from benchmarks.compression.rescue_part import rescues
from benchmarks.compression.size_part import sizes
from benchmarks.compression.table_part import missing, models, summary
from benchmarks.compression.ways import MODELS

NAME = "COMPRESSION.md"
_INTRODUCTION = (
    "What quantization, pruning and lower precision give on which backend, as measured on one machine by "
    "`make compression`. `python -m benchmarks.compression.page` makes this file from `compression/*.json`."
)


def markdown(folder: Path) -> str:
    """The whole file, ending with a newline."""
    tables = sorted(rows.read(rows.Table, "table-*.json", folder), key=_order)
    raced = sorted(rows.read(rows.Peers, "peers-*.json", folder), key=_order)
    weighed = sorted(rows.read(rows.Sizes, "size-*.json", folder), key=_order)
    parts = ["# Compression", _INTRODUCTION, *measured_on([*(r.where for r in tables), *(r.where for r in raced)])]
    parts += static(tables) + pruning(tables) + summary(tables) + models(tables) + sizes(weighed, tables) + peers(raced)
    parts += rescues(rows.read(Row, "rescue-*.json", folder))
    return "\n\n".join(part for part in parts + missing(tables) if part) + "\n"


def _order(record: rows.Table | rows.Peers | rows.Sizes) -> tuple[int, str]:
    known = MODELS.index(record.model) if record.model in MODELS else len(MODELS)
    return known, record.model


def main(arguments: Sequence[str] | None = None) -> int:
    return write_page(arguments, rows.FOLDER, NAME, markdown)


if __name__ == "__main__":
    sys.exit(main())
