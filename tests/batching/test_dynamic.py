"""Whom `dynamic` gives up and when it waits, by hand and against the pseudo-code of the simulation it comes from."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel import plugins
from accel.batching import Decision, Waiting
from accel.batching.dynamic import Dynamic
from accel.errors import InputError
from accel.plugins import Named

MS = 1_000_000
CURVE = ((1, 0.010), (4, 0.016), (8, 0.024))  # 10, 12, 14, 16, 18, 20, 22, 24 ms
SLO = {"slo_s": 0.050, "curve": CURVE}


def policy(**fields: Any) -> Dynamic:
    return Dynamic(**{"max_size": 8, **SLO, **fields})


def decide(made: Dynamic, due_ms: list[float], now_ms: float, **more: Any) -> Decision:
    return made.decide(Waiting.of(due_ns=[round(d * MS) for d in due_ms], **more), round(now_ms * MS))


@pytest.mark.parametrize(
    ("due_ms", "now_ms", "drop", "take"),
    [
        ([0], 40, 0, 1),  # alone: 40 + 10 = 50, just in time
        ([0], 40.001, 1, 0),
        ([0, 0, 0], 36, 0, 3),  # 36 + 14 = 50: all of them in time
        ([0, 1, 2], 37, 0, 3),  # 37 + 14 = 51 is late for the oldest, but alone it would be in time: it is kept
        ([0, 1, 2], 40.5, 1, 2),  # alone it would be late, too; the next: 40.5 + 12 = 52.5 > 51, alone 50.5: kept
        ([0] * 8 + [20], 26, 0, 8),  # a full batch: 26 + 24 = 50
        ([0] * 8 + [20], 27, 2, 7),  # late in a full batch, and nobody is saved by a smaller one ...
        ([0] * 20, 27, 13, 7),  # ... until fewer than a full batch are left
        ([0, 0, 0], 60, 3, 0),
    ],
)
def test_early_drop(due_ms: list[float], now_ms: float, drop: int, take: int) -> None:
    found = decide(policy(drop="early"), due_ms, now_ms)
    assert (found.drop, found.take, found.recheck_ns, found.pick) == (drop, take, None, None)


@pytest.mark.parametrize(
    ("due_ms", "now_ms", "drop", "take"),
    [
        ([0], 400, 0, 1),  # a lone one is never given up
        ([0, 0], 37.999, 0, 2),
        ([0, 0], 38, 1, 1),  # 38 + 12 >= 50; then it is alone
        ([0] * 11, 24, 3, 8),  # eleven by 24 + 30 ms, ten by 52, nine by 50: too late; eight by 48
    ],
)
def test_queue_drop_looks_at_all_that_wait(due_ms: list[float], now_ms: float, drop: int, take: int) -> None:
    found = decide(policy(drop="queue"), due_ms, now_ms)
    assert (found.drop, found.take) == (drop, take)


@pytest.mark.parametrize(
    ("now_ms", "drop", "take"),
    [(26, 0, 3), (26.001, 2, 1), (31.001, 3, 0)],
)
def test_age_drop_is_the_limit_less_a_full_batch(now_ms: float, drop: int, take: int) -> None:
    found = decide(policy(drop="age"), [0, 0, 5], now_ms)
    assert (found.drop, found.take) == (drop, take)


def test_deferral_waits_until_one_more_would_make_the_oldest_late() -> None:
    made = policy(defer=True)
    # Three wait; a batch of four takes 16 ms, so the oldest allows waiting until 50 - 16 = 34 ms.
    assert decide(made, [0, 1, 2], 10, idle_workers=2) == Decision(0, 34 * MS)
    assert decide(made, [0, 1, 2], 34, idle_workers=2).take == 3
    assert decide(made, [0] * 8, 10).take == 8, "a full batch has nobody to wait for"
    assert decide(made, [0, 1, 2], 10, draining=True).take == 3, "nobody else will come"


def test_deferral_starts_from_those_that_are_left() -> None:
    found = decide(policy(defer=True, drop="early"), [0, 30], 45)
    assert found == Decision(0, (30 + 50 - 12) * MS, 1)


def test_the_target_is_what_a_batch_aims_at_and_never_above_the_cap() -> None:
    assert decide(policy(target=4), [0] * 9, 1).take == 4
    assert Dynamic(max_size=8, target=20).largest == 8
    assert Dynamic(max_size=8, target=3).largest == 3


def test_without_drop_and_deferral_the_limit_changes_nothing() -> None:
    assert decide(policy(), [0] * 5, 1000) == Decision(5)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"drop": "early"}, 'drop = "early" needs slo_s above 0 and a curve'),
        ({"drop": "age", "slo_s": 0.05}, "needs slo_s above 0 and a curve"),
        ({"defer": True, "curve": [[1, 0.01]]}, "defer needs slo_s above 0"),
        ({"curve": [[1, 0.01], [4, 0.009]]}, "seconds never fall"),
        ({"curve": [[4, 0.01], [1, 0.02]]}, "sizes must ascend"),
        ({"curve": [[0, 0.01]]}, ">= 1"),
        ({"drop": "late"}, "late"),
    ],
)
def test_what_it_can_not_decide_it_refuses_at_birth(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        plugins.make("batching", Named("dynamic", fields))


def test_it_comes_back_from_plain_data_as_it_was() -> None:
    made = policy(drop="early", target=6)
    named = plugins.plain(made)
    assert named.fields["curve"] == [[1, 0.010], [4, 0.016], [8, 0.024]]
    assert plugins.make("batching", named) == made
    assert plugins.plain(plugins.make("batching", Named("dynamic", {"max_size": 4}))) == Named(
        "dynamic", {"max_size": 4}
    )


def pseudo_code(rule: str, due: list[int], now: int, most: int, slo: int) -> tuple[int, int]:
    """Who is dropped and how many are taken, written out a second time as the rules were first simulated."""
    takes = {n: (8 + 2 * n) * MS for n in range(1, 41)}
    q = deque(due)
    if rule == "early":
        while q and now + takes[min(len(q), most)] > q[0] + slo and (len(q) >= most or now + takes[1] > q[0] + slo):
            q.popleft()
    else:
        while len(q) > 1 and now - q[0] + takes[len(q)] >= slo:
            q.popleft()
    return len(due) - len(q), min(len(q), most)


@given(
    rule=st.sampled_from(["early", "queue"]),
    due=st.lists(st.integers(0, 60 * MS), min_size=1, max_size=40).map(sorted),
    later=st.integers(0, 80 * MS),
    most=st.integers(1, 8),
)
def test_the_rules_are_those_that_were_simulated(rule: Any, due: list[int], later: int, most: int) -> None:
    found = policy(drop=rule, target=most).decide(Waiting.of(due_ns=due), due[-1] + later)
    assert (found.drop, found.take) == pseudo_code(rule, due, due[-1] + later, most, 50 * MS)
