"""`reports/BATCHING.md` from `reports/batching/*.json`: nothing in it that isn't in those files.

python -m benchmarks.batching.page [FOLDER]
"""

from __future__ import annotations

import datetime
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from accel.result import write_atomically
from benchmarks.batching import rows
from benchmarks.batching.bucketed_part import bucketed
from benchmarks.batching.endpoint_part import endpoint
from benchmarks.batching.policies_part import overload, policies
from benchmarks.batching.prediction_part import predictions

NAME = "BATCHING.md"
OTHERS = {"replicas": "Replicas", "instances": "Instances, threads and batch size"}
"""Experiments of other modules, by the name of their file; each row of them is a table's row."""
_INTRODUCTION = (
    "What batching gives on real models, as measured on one machine by the experiments in `benchmarks/batching/`. "
    "`python -m benchmarks.batching.page` makes this file from `batching/*.json`."
)


def markdown(folder: Path) -> str:
    """The whole file, ending with a newline."""
    raced = rows.read(rows.Policies, "policies-*.json", folder)
    foretold = rows.read(rows.Predictions, "prediction-*.json", folder)
    jobs = rows.read(rows.Bucketed, "bucketed-*.json", folder)
    parts = ["# Batching", _INTRODUCTION, *measured_on(r.where for r in (*raced, *foretold, *jobs))]
    parts += policies(raced) + overload(raced) + predictions(foretold) + bucketed(jobs)
    simulated = folder / "simulated.md"
    if simulated.is_file():
        parts += [_deeper(simulated.read_text(encoding="utf-8")).strip()]
    parts += endpoint(folder / "endpoint.json")
    for name, title in OTHERS.items():
        parts += _other(folder / f"{name}.json", title)
    return "\n\n".join(parts) + "\n"


def measured_on(wheres: Iterable[rows.Where]) -> list[str]:
    """The machines and days; one line a machine."""
    machines: dict[tuple[str, int, str], set[str]] = {}
    for where in wheres:
        day = datetime.datetime.fromtimestamp(where.unix_s, datetime.UTC).strftime("%Y-%m-%d")
        machines.setdefault((where.cpu, where.cores, where.env_id), set()).add(day)
    return [
        f"Measured on {cpu}, {cores} cores (`{env}`), {' and '.join(sorted(days))}."
        for (cpu, cores, env), days in sorted(machines.items())
    ]


def _other(path: Path, title: str) -> list[str]:
    """A file of rows (a list of tables, or under "rows"), each row's keys the columns; a sentence under "about"."""
    if not path.is_file():
        return []
    data: Any = msgspec.json.decode(path.read_bytes())
    listed = data if isinstance(data, list) else data.get("rows", [])
    about = [] if isinstance(data, list) or not data.get("about") else [str(data["about"])]
    if not listed:
        return [f"## {title}", *about] if about else []
    columns = list(dict.fromkeys(key for row in listed for key in row))
    lines = ["| " + " | ".join(c.replace("_", " ") for c in columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(_cell(row.get(c)) for c in columns) + " |" for row in listed]
    return [f"## {title}", *about, "\n".join(lines)]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(_cell(v) for v in value)
    return " ".join(str(value).split()).replace("|", "\\|").replace("<", "&lt;")


def _deeper(text: str) -> str:
    """Headings one level down, since this file has a title of its own."""
    return "\n".join(f"#{line}" if line.startswith("#") else line for line in text.splitlines())


def write_page(arguments: Sequence[str] | None, usual: Path, name: str, markdown: Callable[[Path], str]) -> int:
    """What the module of a page does when it is run: the page beside the folder that is given, or the usual one."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    folder = Path(given[0]) if given else usual
    path = folder.parent / name
    write_atomically(path, markdown(folder).encode())
    print(path)
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    return write_page(arguments, rows.FOLDER, NAME, markdown)


if __name__ == "__main__":
    sys.exit(main())
