"""`reports/VALIDATION.md` from a record: nothing in it that isn't in the record."""

from __future__ import annotations

import datetime

from accel.units import show_bytes, show_seconds
from tests.validation.catalogue import word
from tests.validation.experiment import Row
from tests.validation.record import Experiment, Record

_INTRODUCTION = (
    "The experiments that prove the harness right, as they came out on one machine. `make validate` makes this file",
    "from `validation.json`; what each experiment does stands at the top of its module in `tests/validation/`.",
    "*virtual*: a fake clock or recorded data, the same anywhere. *real*: timed on this machine.",
)


def markdown(record: Record) -> str:
    """The whole file, ending with a newline."""
    rows = [row for e in record.experiments for row in _rows(e)]
    parts = [
        "# Validation",
        "\n".join(_INTRODUCTION),
        "\n".join(_facts(record)),
        _verdict(rows),
        "\n".join(_table(rows)),
        *_could_not(rows),
        *_times(record),
    ]
    return "\n\n".join(parts) + "\n"


def _facts(record: Record) -> list[str]:
    m = record.machine
    memory = f", {show_bytes(m.memory_bytes)}" if m.memory_bytes is not None else ""
    where = {None: "", "unknown": ", a virtual machine"}
    hypervisor = where.get(m.hypervisor, f", a virtual machine ({m.hypervisor})")
    version = f"accel {record.accel_version}" + (f" at `{record.commit}`" if record.commit else "")
    return [
        f"- Machine: {m.cpu}, {m.cores} of {m.logical_cpus} cores{memory}{hypervisor}, {m.kernel}, Python {m.python}"
        f" (`{record.env_id}`)",
        f"- Measured: {_days(record)}, with {version}, witness table {record.witness_policy}",
        f"- Time: {show_seconds(sum(e.seconds for e in record.experiments))} in all",
    ]


def _days(record: Record) -> str:
    moments = [datetime.datetime.fromtimestamp(e.begun_unix_ns / 1e9, datetime.UTC) for e in record.experiments]
    days = sorted({m.strftime("%Y-%m-%d") for m in moments})
    return " to ".join([days[0], days[-1]] if len(days) > 1 else days) or "never"


def _rows(experiment: Experiment) -> list[Row]:
    """Its rows, and one more if it ended before all were there."""
    rows = list(experiment.rows)
    if experiment.state != "done":
        came = f"{experiment.state} after {show_seconds(experiment.seconds)} and {len(rows)} rows"
        rows.append(
            Row(
                experiment=word(experiment.module),
                what="the rest of this experiment",
                criterion="runs to its end",
                measured=f"{came}: {experiment.reason}" if experiment.reason else came,
                passed=False,
                kind="real",
            )
        )
    return rows


def _verdict(rows: list[Row]) -> str:
    ran = [r for r in rows if not r.not_run]
    passed = sum(r.passed for r in ran)
    text = f"**{passed} of {len(ran)} criteria hold.**"
    failed = list(dict.fromkeys(r.experiment for r in ran if not r.passed))
    if failed:
        text += f" Not in {', '.join(failed)}; the figures stand in the table."
    if len(ran) < len(rows):
        text += f" {len(rows) - len(ran)} could not be run here."
    return text


def _table(rows: list[Row]) -> list[str]:
    lines = ["| experiment | what | kind | criterion | measured | pass |", "|---|---|---|---|---|---|"]
    for row in rows:
        if not row.not_run:
            passed = "yes" if row.passed else "**no**"
            cells = (row.experiment, row.what, row.kind, row.criterion, row.measured, passed)
            lines.append("| " + " | ".join(_cell(c) for c in cells) + " |")
    return lines


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def _could_not(rows: list[Row]) -> list[str]:
    missing = [f"- {r.experiment}, {_cell(r.what)}: {_cell(r.not_run)}" for r in rows if r.not_run]
    return ["## What could not be run here", "\n".join(missing)] if missing else []


def _times(record: Record) -> list[str]:
    if not record.experiments:
        return []
    lines = [f"- {word(e.module)} (`{e.module}`): {show_seconds(e.seconds)}" for e in record.experiments]
    return ["## How long each took", "\n".join(lines)]
