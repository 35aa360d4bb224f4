"""JSON for other programs: stable, finite, complete."""

from __future__ import annotations

import json

import pytest

from accel.report.jsonout import as_json
from tests.report import example


@pytest.mark.parametrize("case", sorted(example.odd_cases()))
def test_it_is_strict_json_with_the_same_keys_always(case: str) -> None:
    def refuse(name: str) -> None:
        raise AssertionError(name)

    data = json.loads(as_json(example.odd_cases()[case]), parse_constant=refuse)
    assert set(data) == {
        "format",
        "accel_version",
        "record",
        "rows",
        "batch",
        "online",
        "validity",
        "badge",
        "smallest_difference",
        "counts",
        "findings",
        "groups",
        "waterfall",
        "headline",
        "subline",
        "roles",
        "loads",
        "batching",
        "rescues",
        "layers",
        "memory",
        "pareto",
        "left",
    }
    assert data["format"] == 1


def test_the_same_bytes_twice_and_every_row() -> None:
    assert as_json(example.conclusion()) == as_json(example.conclusion())
    data = json.loads(as_json(example.conclusion()))
    assert [r["name"] for r in data["rows"]] == [r.name for r in example.rows()]
    assert data["rows"][1]["speedup_batch"]["verdict"] == "FASTER"
    assert data["rows"][1]["throughput_by_size"]["16"]["value"] == pytest.approx(720.4, abs=0.1)


def test_batch_against_online_and_the_load_curve_are_in_it() -> None:
    data = json.loads(as_json(example.conclusion()))
    assert data["roles"]["online"]["rate"]["value"] == 296.0
    assert data["roles"]["batch"]["cost"]["unit"] == "instance-seconds"
    points = [p for p in data["loads"] if p["policy"]["name"] == "early_commit"]
    assert {p["simulated"] for p in points} == {True}
    assert points[-1]["quantile_s"] is None


def test_what_is_not_finite_is_null() -> None:
    data = json.loads(as_json(example.odd_cases()["one open interval"]))
    assert data["rows"][0]["p90"]["value"] is None
