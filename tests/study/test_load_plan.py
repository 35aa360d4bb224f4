"""Which runs draw the load curve, and in which order."""

from __future__ import annotations

import numpy as np

from accel import plugins
from accel.plugins import Named
from accel.simulation.service_times import ServiceTimes
from accel.study.load_plan import Cell, Grid, policies, saturation, stages

SLO_S = 0.05
TUNED = Named("dynamic", {"max_size": 16, "target": 9, "drop": "early", "slo_s": SLO_S, "curve": [[1, 0.0085]]})


def times(*sizes: int) -> ServiceTimes:
    """8 ms a call and 0.5 ms an item."""
    return ServiceTimes({s: np.array([round((8 + 0.5 * s) * 1e6)]) for s in sizes})


def grid(name: str = "net", claim: float = 500.0, keep: tuple[str, ...] = ()) -> Grid:
    found = policies(TUNED, times(1, 4, 16), SLO_S)
    return Grid(
        name=name,
        policies={k: p for k, p in found.items() if not keep or k in keep},
        saturation=saturation(times(1, 4, 16)),
        claim=claim,
    )


def test_saturation_is_full_batches_one_after_another() -> None:
    assert saturation(times(1, 4, 16)) == 16 / 0.016
    assert saturation(times(1, 4, 16), instances=2) == 2 * 16 / 0.016
    slower = ServiceTimes({1: np.array([1_000_000]), 8: np.array([16_000_000])})
    assert saturation(slower) == 1000.0, "a batch that gains nothing isn't saturation"


def test_the_policies_are_the_tuned_one_and_what_servers_ship_with() -> None:
    found = policies(TUNED, times(1, 4, 16), SLO_S)
    assert found["dynamic"] == TUNED
    assert found["dynamic-keeps"] == Named("dynamic", {"max_size": 16, "target": 9})
    assert found["early_commit"].fields == {"size": 10, "timeout_s": 0.01}
    assert found["window"].fields == {"size": 9, "timeout_s": 0.01}
    for policy in found.values():
        plugins.make("batching", policy)


def test_where_single_was_chosen_dynamic_is_shown_beside_it_with_a_deadline() -> None:
    found = policies(Named("single"), times(1, 4), SLO_S)
    assert found["single"] == Named("single")
    assert found["dynamic"].fields["drop"] == "early"
    assert found["dynamic"].fields["max_size"] == 4
    assert found["dynamic-keeps"] == Named("dynamic", {"max_size": 4})
    assert found["early_commit"].fields["size"] == 4, "never more than was measured"
    for policy in found.values():
        plugins.make("batching", policy)


def test_rates_go_from_nearly_idle_to_twice_saturation() -> None:
    rates = grid().rates
    assert (rates[0], rates[-1]) == (50.0, 2000.0)
    assert {250.0, 500.0, 2000.0} <= set(rates), "where policies are compared"
    assert list(rates) == sorted(set(rates))


def test_one_without_a_claim_is_compared_at_a_share_of_saturation() -> None:
    assert grid(claim=0.0).key_rates == (350.0, 700.0, 2000.0)


def test_first_comes_what_matters_most() -> None:
    first, peers, *_ = stages([grid()])
    assert [(c.key, c.rate) for c in first] == [
        *((key, rate) for rate in (250.0, 500.0) for key in ("single", "dynamic")),
        *((key, 2000.0) for key in ("dynamic", "dynamic-keeps")),
    ]
    assert {c.key for c in peers} == {"early_commit", "window", "single"}


def test_every_run_is_made_once_and_two_whole_curves_in_the_end() -> None:
    found = [c for stage in stages([grid(), grid("base", keep=("single",))]) for c in stage]
    assert len({c.run_id for c in found}) == len(found)
    own = {(c.key, c.rate) for c in found if c.name == "net"}
    assert {(key, rate) for key in ("single", "dynamic") for rate in grid().rates} <= own
    assert {c.key for c in found if c.name == "base"} == {"single"}


def test_three_trials_at_the_claim_for_every_policy_that_is_compared() -> None:
    found = [c for stage in stages([grid()]) for c in stage if c.rate == 500.0]
    for key in ("single", "dynamic", "early_commit", "window"):
        assert len({c.trial for c in found if c.key == key}) == 3


def test_the_same_rate_and_repeat_give_every_policy_the_same_schedule() -> None:
    by_place: dict[tuple[float, str], set[str]] = {}
    found: list[Cell] = [c for stage in stages([grid()]) for c in stage]
    for cell in found:
        by_place.setdefault((cell.rate, str(cell.trial)), set()).add(cell.key)
    assert {"single", "dynamic", "early_commit", "window"} <= by_place[500.0, str(found[2].trial)]
    trials = {(c.rate, c.trial) for c in found}
    assert len({t for _, t in trials}) == len(trials), "no trial number serves two rates"


def test_a_plan_is_the_same_every_time() -> None:
    assert stages([grid()]) == stages([grid()])
