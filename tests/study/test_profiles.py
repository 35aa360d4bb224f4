"""The table of profiles keeps what the specification asks of each (rules 15, 21, 30, 46)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import accel
from accel.analysis.comparison import MIN_EFFECTS
from accel.analysis.stopping import LEAST, MOST
from accel.errors import InputError
from accel.study.profiles import PROFILES, profile
from accel.units import seconds
from tests import small_models

PROVING = ("shared", "quiet", "gpu")


def test_quick_is_six_blocks_of_a_second_in_parked_processes_without_a_rest() -> None:
    quick = PROFILES["quick"]
    assert (quick.blocks, quick.most_blocks, quick.fresh, quick.cool_down_s) == (6, 6, False, 0.0)
    assert quick.warmup_iterations >= 10
    assert (quick.warmup_s, quick.measure_s) == (0.3, 1.0)
    assert quick.search_share == 0.0


@pytest.mark.parametrize("name", PROVING)
def test_profiles_that_prove_ask_for_fresh_processes_and_blocks_until_intervals_are_narrow(name: str) -> None:
    one = PROFILES[name]
    assert (one.blocks, one.most_blocks) == (LEAST, MOST)
    assert one.fresh
    assert one.cool_down_s == 1.0
    assert one.measure_s >= 3.0
    assert one.warmup_s >= (5.0 if name == "gpu" else 2.0)
    assert one.search_requests >= 4000
    assert 1.0 in one.probe_gaps_s


def test_trials_and_resolution_by_rule_46() -> None:
    assert {n: (PROFILES[n].search_s, PROFILES[n].resolution) for n in PROVING} == {
        "shared": (60.0, 0.05),
        "quiet": (30.0, 0.02),
        "gpu": (30.0, 0.02),
    }


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_shares_leave_the_blocks_a_part(name: str) -> None:
    one = PROFILES[name]
    assert one.screening_share + one.tuning_share + one.search_share + one.confirming_share <= 0.8
    assert seconds(one.budget, "--budget") > 0
    assert MIN_EFFECTS[name] <= one.resolution


def test_a_misspelt_profile_is_named() -> None:
    with pytest.raises(InputError, match="No profile is called `qick`"):
        profile("qick")


def test_a_dry_run_says_what_each_profile_costs(tmp_path: Path) -> None:
    model = small_models.mlp(tmp_path)
    text = accel.plan_study(model.as_form("onnx"), backend=["openvino"], profile="shared").describe()
    assert "budget 1 h 30 min, profile shared" in text
    assert "the highest rate: up to 20 trials a variant of 1 min 0 s or 4,000 requests" in text
    for name in PROFILES:
        assert re.search(rf"^  {name}: \d+( to \d+)? blocks, .* usual budget ", text, re.MULTILINE), text
    assert "within 10 % or 15 s of the budget" in text
