"""What a child with several instances is told before it starts."""

from __future__ import annotations

import pytest

from accel.measurement.affinity import THREAD_VARIABLES
from accel.plugins import Named
from accel.recipe import Variant
from accel.study import live


@pytest.fixture(autouse=True)
def four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "usable_cores", lambda: 4)
    monkeypatch.setattr("accel.measurement.cgroup.usable_cores", lambda: 4)
    for name in (*THREAD_VARIABLES, "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)


def several(**fields: object) -> dict[str, str]:
    return live.several(Variant(name="v", backend=Named("stub"), **fields))  # type: ignore[arg-type]


def test_one_instance_is_told_nothing() -> None:
    assert several() == {}


def test_callers_of_one_engine_share_its_pool_but_nobody_spins() -> None:
    assert several(instances=2) == {"OMP_WAIT_POLICY": "PASSIVE"}


@pytest.mark.parametrize(("instances", "threads"), [(2, "2"), (3, "2"), (4, "1"), (9, "1")])
def test_pools_are_as_wide_as_a_share_of_the_cores(instances: int, threads: str) -> None:
    env = several(instances=instances, placement="processes")
    assert env == {"OMP_WAIT_POLICY": "PASSIVE"} | dict.fromkeys(THREAD_VARIABLES, threads)


def test_what_the_user_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    env = several(instances=2, placement="threads")
    assert "OMP_WAIT_POLICY" not in env
    assert (env["OMP_NUM_THREADS"], env["MKL_NUM_THREADS"]) == ("1", "2")
