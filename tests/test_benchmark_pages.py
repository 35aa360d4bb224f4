"""The pages of the benchmarks are what their raw data says, to the byte; and they say of it what it means."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from accel.plugins import Named
from benchmarks import page as suite_page
from benchmarks.batching import bucketed_part, page, policies_part, prediction_part, rows
from benchmarks.batching.rows import Span

REPORTS = Path(__file__).parents[1] / "reports"
ENDPOINT = {
    "freeze": {
        "theory_p99_s": 1.5,
        "from schedule": {"p50": 0.01, "max": 2.0},
        "closed loop": {"p50": 0.005, "max": 2.0},
    },
    "agreement": [
        {
            "rate": 40.0,
            "http_p99_s": [0.011, 0.013],
            "inside_p99_s": [0.01, 0.01],
            "transport_p50_s": 0.001,
            "rest_s": {"mean": 0.0009, "low": 0.0008, "high": 0.001},
        }
    ],
}
WHERE = rows.Where(cpu="A processor", cores=2, env_id="0123", unix_s=1_700_000_000)


@pytest.mark.skipif(not (REPORTS / page.NAME).is_file(), reason="the experiments weren't run for this tree")
def test_batching_rebuilds_byte_for_byte() -> None:
    assert page.markdown(REPORTS / "batching") == (REPORTS / page.NAME).read_text("utf-8")


@pytest.mark.skipif(not (REPORTS / suite_page.NAME).is_dir(), reason="the suite wasn't run for this tree")
def test_batch_versus_online_rebuilds_byte_for_byte() -> None:
    cells = suite_page.read(REPORTS / suite_page.NAME / "cells.json")
    assert suite_page.render(cells) == (REPORTS / f"{suite_page.NAME}.html").read_text("utf-8")


def policy(name: str, crossing: float, against: Span | None = None, **fields: object) -> rows.Policy:
    return rows.Policy(
        name=name,
        batching=Named(name, dict(fields)),
        simulated=1.1 * crossing,
        claim=0.95 * crossing,
        crossing=Span(value=crossing, low=0.9 * crossing, high=1.1 * crossing),
        level="valid",
        flags=(),
        points=(),
        against_single=against,
    )


def raced(gain: Span | None, *, verdict: str = "", goodputs: tuple[float, ...] = (190.0, 200.0)) -> rows.Policies:
    return rows.Policies(
        model="one",
        variant="onnxruntime",
        random_weights=True,
        where=WHERE,
        p=0.9,
        wanted_p=0.99,
        slo_s=0.1,
        seconds=8.0,
        curve=((1, 0.01), (8, 0.04)),
        saturation=200.0,
        verdict=verdict,
        policies=(policy("single", 80.0), policy("dynamic", 200.0, gain, max_size=8)),
        overload=(rows.Overload(drop="early", rate=400.0, goodputs=goodputs, simulated=196.0),),
    )


@pytest.mark.parametrize(
    ("gain", "said"),
    [
        (Span(value=2.5, low=2.2, high=2.8), "**Batching pays here**"),
        (Span(value=1.02, low=0.97, high=1.07), "**Batching doesn't pay here**"),
        (Span(value=1.2, low=0.9, high=1.6), "**Not settled**"),
        (None, "**No verdict**"),
    ],
)
def test_a_verdict_follows_from_the_interval(gain: Span | None, said: str) -> None:
    assert said in "\n".join(policies_part.policies([raced(gain)]))


def test_what_must_stand_beside_the_figures_does() -> None:
    text = "\n".join(policies_part.policies([raced(Span(value=2.5, low=2.2, high=2.8))]))
    assert "p90 within 100 ms (the recipe says p99, which trials this long don't carry)" in text
    assert "The weights are random" in text
    assert "| 190 [180, 220] | 220 | 2.50× [2.20, 2.80] |" in text


@pytest.mark.parametrize(("goodputs", "holds"), [((190.0, 194.0), "yes"), ((180.0, 185.0), "**no**")])
def test_overload_is_held_against_the_crossing(goodputs: tuple[float, ...], holds: str) -> None:
    lines = "\n".join(policies_part.overload([raced(None, goodputs=goodputs)])).splitlines()
    assert lines[-1].endswith(f"| 98 % | {holds} |")


def foretold(measured_s: float | None, predicted_s: float | None, *, busy: float = 0.5) -> rows.Predictions:
    row = rows.Prediction(
        policy="single",
        rate=40.0,
        busy=busy,
        n=400,
        level="valid",
        measured_s=measured_s,
        predicted_s=predicted_s,
    )
    crossing = rows.Crossing(
        policy="single", measured=Span(value=80.0, low=75.0, high=85.0), predicted=84.0, beforehand=90.0, busy=0.7
    )
    return rows.Predictions(model="one", variant="onnxruntime", where=WHERE, p=0.9, rows=(row,), capacities=(crossing,))


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (foretold(0.1, 0.114), "1 of 1 undisturbed"),
        (foretold(0.1, 0.116), "0 of 1 undisturbed"),
        (foretold(0.1, None), "0 of 1 undisturbed"),
        (foretold(0.1, 0.2, busy=0.81), "0 of 0 undisturbed"),
    ],
)
def test_predictions_are_held_to_their_limit(one: rows.Predictions, said: str) -> None:
    text = "\n".join(prediction_part.predictions([one]))
    assert said in text
    assert "1 of 1 crossings within 10 %" in text


def job(ratio: float, mismatched: int) -> rows.Bucketed:
    ways = {"bucketed": Named("bucketed"), "fixed, same size": Named("fixed", {"size": 16})}
    return rows.Bucketed(
        model="one",
        variant="onnxruntime",
        where=WHERE,
        texts="docstrings",
        items=300,
        lengths=(5, 30, 128),
        batching=ways,
        rates={"bucketed": (100.0, 104.0, 96.0), "fixed, same size": (50.0, 52.0, 48.0)},
        padding={"bucketed": 1.1, "fixed, same size": 2.6},
        ratios={"fixed, same size": Span(value=ratio, low=ratio - 0.1, high=ratio + 0.1)},
        checked=60,
        mismatched=mismatched,
        tolerance=1e-3,
    )


@pytest.mark.parametrize(
    ("ratio", "mismatched", "said"),
    [
        (2.0, 0, "2.00× [1.90, 2.10]; 1.5 was wanted and holds. All 60 checked answers"),
        (1.2, 0, "1.5 was wanted and doesn't hold"),
        (2.0, 3, "3 of 60 checked answers"),
    ],
)
def test_buckets_are_held_to_their_limits(ratio: float, mismatched: int, said: str) -> None:
    assert said in "\n".join(bucketed_part.bucketed([job(ratio, mismatched)]))


def test_everything_that_lies_in_the_folder_is_on_the_page(tmp_path: Path) -> None:
    rows.write(raced(Span(value=2.5, low=2.2, high=2.8)), "policies-one", tmp_path)
    rows.write(foretold(0.1, 0.11), "prediction-one", tmp_path)
    rows.write(job(2.0, 0), "bucketed-one", tmp_path)
    (tmp_path / "simulated.md").write_text("# The table\n\nfigures\n")
    (tmp_path / "replicas.json").write_bytes(msgspec.json.encode({"about": "A|B.", "rows": [{"p99_s": 0.12345678}]}))
    (tmp_path / "endpoint.json").write_bytes(msgspec.json.encode(ENDPOINT))
    text = page.markdown(tmp_path)
    for expected in ("## Policies", "## Does the sim", "## Buckets", "## The table", "## Replicas", "| 0.1235 |"):
        assert expected in text
    assert "| 40 | 12 ms | 10 ms | 1 ms | 900 µs [800, 1000] | 2 |" in text
    assert "| closed loop | 5 ms | 2 s |" in text
    assert text == page.markdown(tmp_path)
    assert text.endswith("\n")
