"""Every number of a study as a tidy table: one row for each variant, target and metric."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from accel.analysis import Estimate
from accel.analysis.conclusion import Comparison, Conclusion, Row
from accel.analysis.policy import said
from accel.errors import MissingLibrary
from accel.result import Result

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("variant", "status", "target", "metric", "value", "low", "high", "unit", "n", "validity", "evidence", "note")


def frame(conclusion: Conclusion, results: Sequence[Result] = ()) -> pd.DataFrame:
    """A pandas.DataFrame with COLUMNS; low and high are the 95 % interval, NaN where an end is open.

    A variant without numbers has one row with its status and reason. results: adds the seconds and cpu of each run's
    phases when given, as metrics `wall_s` and `runs`. Raises MissingLibrary without pandas.
    """
    try:
        import pandas as pd
    except ImportError:
        raise MissingLibrary("pandas", "`study.frame()`", extra="frame") from None

    records: list[dict[str, Any]] = []
    for row in conclusion.rows:
        own = list(_of_row(row)) + list(_spent(row, results))
        common = {"variant": row.name, "status": row.status}
        records += [common | r for r in own] or [common | {"metric": None, "note": row.reason}]
    table = pd.DataFrame.from_records(records, columns=list(COLUMNS))
    numbers = {c: table[c].astype("float64") for c in ("value", "low", "high")}
    return table.assign(**numbers, n=table["n"].astype("Int64"))


def _of_row(row: Row) -> Iterator[dict[str, Any]]:
    for name in ("p50", "p90", "p99"):
        yield from _number("latency", name, getattr(row, name), row.evidence)
    yield from _number("batch", "throughput", row.throughput, row.evidence, note=f"batch {row.batch_size}")
    for size, estimate in sorted(row.throughput_by_size.items()):
        yield from _number("batch", f"throughput_at_{size}", estimate, row.evidence)
    for size, estimate in sorted(row.latency_by_size.items()):
        yield from _number("batch", f"service_at_{size}", estimate, row.evidence)
    if row.online is not None:
        yield from _number("online", "rate", row.online.rate, row.evidence, note=said(row.online.policy))
        for name in ("p50", "p90", "p99"):
            yield from _number("online", name, getattr(row.online, name), row.evidence)
    for target in ("latency", "batch", "online"):
        yield from _speedup(target, getattr(row, f"speedup_{target}"))
    yield from _quality(row)
    yield from _set_up(row)


def _number(
    target: str | None, metric: str, estimate: Estimate | None, evidence: str, note: str = ""
) -> Iterator[dict[str, Any]]:
    if estimate is not None:
        yield {
            "target": target,
            "metric": metric,
            "value": estimate.value,
            "low": estimate.low,
            "high": estimate.high,
            "unit": estimate.unit,
            "n": estimate.n,
            "validity": estimate.validity,
            "evidence": evidence,
            "note": note or estimate.method,
        }


def _speedup(target: str, found: Comparison | None) -> Iterator[dict[str, Any]]:
    if found is not None:
        note = f"{found.verdict}: {found.reason}" if found.reason else found.verdict
        yield from _number(target, "speedup", found.ratio, found.evidence, note=note)


def _quality(row: Row) -> Iterator[dict[str, Any]]:
    q = row.quality
    if q is None:
        return
    shares = (
        (q.metric or "metric", q.value, q.low, q.high, "1"),
        ("drop", q.drop, q.drop_low, q.drop_high, "1"),
        ("agreement", q.agreement, q.agreement_low, q.agreement_high, "1"),
        ("sqnr", q.sqnr_db, None, None, "dB"),
    )
    for metric, value, low, high, unit in shares:
        if value is not None:
            yield {
                "target": "quality",
                "metric": metric,
                "value": value,
                "low": low,
                "high": high,
                "unit": unit,
                "n": q.samples,
                "validity": "valid",
                "note": q.outcome,
            }


def _set_up(row: Row) -> Iterator[dict[str, Any]]:
    facts: dict[str, tuple[float | None, str]] = {
        "artefact_bytes": (row.artefact_bytes, "B"),
        "memory_bytes": (row.memory_bytes, "B"),
    }
    if row.set_up is not None:
        facts |= {f: (getattr(row.set_up, f), "s") for f in row.set_up.__struct_fields__ if f != "cached"}
    for metric, (value, unit) in sorted(facts.items()):
        if value is not None:
            yield {"target": "set-up", "metric": metric, "value": value, "unit": unit, "n": 1}


def _spent(row: Row, results: Sequence[Result]) -> Iterator[dict[str, Any]]:
    own = [r for r in results if r.variant.name == row.name and r.wall_s is not None]
    if own:
        total = sum(r.wall_s for r in own if r.wall_s is not None)
        yield {"target": "study", "metric": "wall_s", "value": total, "unit": "s", "n": len(own)}
