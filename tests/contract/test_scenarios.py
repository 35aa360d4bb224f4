"""Every scenario that the folder holds keeps the contract."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from accel import plugins
from accel.plugins import Named
from accel.scenarios import Plan, Scenario

NAMES = plugins.names("scenarios")


@pytest.fixture(params=NAMES)
def scenario(request: pytest.FixtureRequest) -> Scenario:
    made: Scenario = plugins.make("scenarios", Named(request.param))
    return made


def plan(scenario: Scenario, seed: int = 3, trial: int = 1) -> Plan:
    return scenario.plan(17, seed=seed, trial=trial, duration_s=0.5)


def test_it_is_a_frozen_struct_with_defaults_and_says_what_its_latency_is(scenario: Scenario) -> None:
    assert isinstance(scenario, msgspec.Struct)
    assert scenario.__struct_config__.frozen
    assert scenario.latency in ("from schedule", "closed loop")
    assert type(scenario).__doc__


def test_a_plan_is_well_formed(scenario: Scenario) -> None:
    made = plan(scenario)
    n = len(made.sample_ids)
    assert n >= 1
    assert made.sample_ids.dtype == np.int64
    assert made.sample_ids.min() >= 0
    assert made.sample_ids.max() < 17
    assert made.warmup + made.tail < n
    assert (made.due_ns is None) == (scenario.latency == "closed loop")
    if made.due_ns is None:
        assert 1 <= made.outstanding <= n
        assert made.limit_ns is not None
    else:
        assert made.due_ns.dtype == np.int64
        assert made.due_ns.shape == (n,)
        assert made.due_ns[0] >= 0
        assert (np.diff(made.due_ns) >= 0).all()


def test_same_seed_and_trial_same_plan_else_another(scenario: Scenario) -> None:
    assert plan(scenario).sha256 == plan(scenario).sha256
    assert plan(scenario).sha256 != plan(scenario, trial=2).sha256
    assert plan(scenario).sha256 != plan(scenario, seed=4).sha256


def test_making_a_plan_touches_no_global_randomness(scenario: Scenario) -> None:
    np.random.seed(0)
    before = np.random.get_state()[1].tolist()  # type: ignore[index,union-attr]
    plan(scenario)
    assert np.random.get_state()[1].tolist() == before  # type: ignore[index,union-attr]
