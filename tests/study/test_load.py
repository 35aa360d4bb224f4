"""Load outlasts the latency limit (rule 13)."""

from __future__ import annotations

import pytest

from accel.plugins import Named, make
from accel.study.load import covering, server_at


@pytest.mark.parametrize(("limit_s", "tail_s"), [(None, 1.0), (0.02, 1.0), (1.0, 1.0), (3.0, 3.0)])
def test_it_goes_on_for_the_limit_but_at_least_a_second(limit_s: float | None, tail_s: float) -> None:
    plan = make("scenarios", server_at(200.0, limit_s)).plan(64, seed=0, trial=0, duration_s=1.0)
    assert plan.tail == round(200 * tail_s)


def test_other_scenarios_have_no_load_of_their_own() -> None:
    assert covering(Named("single_stream"), 5.0) == Named("single_stream")
    assert covering(Named("server", {"rate": 1.0, "arrivals": "constant"}), 5.0).fields == {
        "rate": 1.0,
        "arrivals": "constant",
        "tail_s": 5.0,
    }
