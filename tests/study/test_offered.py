"""The phase of the load curve: what is run, in which order, within which time, and what is simulated instead."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest

from accel.analysis import Estimate
from accel.analysis.conclusion import StudyRecord
from accel.plugins import Named
from accel.recipe import Variant
from accel.simulation.service_times import ServiceTimes
from accel.study import offered
from accel.study.budget import Budget, BudgetEnded
from accel.study.decisions import Decisions, Entry
from accel.study.live import Turn
from accel.study.profiles import PROFILES
from tests.study.test_rounds import FakeLive
from tests.synthetic import synthetic_study

SLO_S = 0.05
TUNED = Named("dynamic", {"max_size": 16, "target": 9, "drop": "early", "slo_s": SLO_S, "curve": [[1, 0.0085]]})
TIMES = ServiceTimes({s: np.array([round((8 + 0.5 * s) * 1e6)]) for s in (1, 4, 16)})


class FakeFunnel:
    """What the load curve uses of a study; every run takes its length on a clock of its own."""

    def __init__(
        self,
        folder: Path,
        record: StudyRecord,
        *,
        profile: str = "quick",
        budget_s: float = 300.0,
        spent_s: float = 0.0,
        winner: str = "net",
    ) -> None:
        self.now = 0.0
        self.profile = PROFILES[profile]
        self.budget = Budget(budget_s, spent_s=spent_s, now=lambda: self.now)
        self.record = msgspec.structs.replace(record, baseline="base", slo_s=SLO_S, slo_p=0.9, target="both")
        self.root = folder
        self.folder: Any = SimpleNamespace(root=folder, write_record=lambda record: self.kept.append(record))
        self.kept: list[StudyRecord] = []
        self.decisions = Decisions(
            blocks=(Entry(name="base", policy=Named("single"), rate=60.0), Entry(name="net", policy=TUNED, rate=400.0))
        )
        self.results: dict[str, Any] = {}
        self.not_bought: list[str] = []
        self.order: list[str] = []
        self.failed: set[str] = set()
        self.progress = SimpleNamespace(stage=lambda text: None, time=lambda elapsed, total: None)
        self.rest = lambda: None
        self.cut_after = 10_000
        claim = Estimate(value=500.0, low=450.0, high=550.0, n=6, unit="1/s", method="")
        rows = {"net": SimpleNamespace(online=SimpleNamespace(rate=claim)), "base": SimpleNamespace(online=None)}
        self.conclusion = SimpleNamespace(online=SimpleNamespace(winner=winner), row=lambda name: rows[name])

    def read(self) -> Any:
        return self.conclusion

    def decide(self, **settled: Any) -> None:
        self.decisions = msgspec.structs.replace(self.decisions, **settled).save(self.root)

    def has_failed(self, name: str) -> bool:
        return name in self.failed

    def variant(self, name: str) -> Variant:
        return Variant(name=name, backend=Named("eager"))

    @contextmanager
    def survives_look(self, name: str) -> Iterator[None]:
        yield

    def live(self, name: str, tag: str) -> FakeLive:
        self.now += 2.0
        return FakeLive((name, "candidate"), self.order)

    def measure(self, live: FakeLive, turn: Turn) -> None:
        if len(self.results) >= self.cut_after:
            raise BudgetEnded("measuring")
        self.now += turn.duration_s + 2.0
        self.results[turn.run_id] = turn


@pytest.fixture
def record(tmp_path: Path) -> StudyRecord:
    return synthetic_study(tmp_path / "study", blocks=0)


@pytest.fixture(autouse=True)
def known_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offered, "service_times", lambda funnel, name: TIMES)


def drawn(funnel: FakeFunnel) -> dict[str, Any]:
    offered.offer(funnel)  # type: ignore[arg-type]
    return funnel.results


def test_quick_buys_the_chosen_policy_against_none_within_its_part_of_the_budget(
    tmp_path: Path, record: StudyRecord
) -> None:
    funnel = FakeFunnel(tmp_path, record)
    made = drawn(funnel)
    assert sorted((t.scenario.fields["rate"], t.batching.name) for t in made.values()) == [
        *((rate, name) for rate in (250.0, 500.0) for name in ("dynamic", "single")),
        *((2000.0, "dynamic") for _ in ("giving up", "keeping")),
    ]
    assert funnel.now <= 36.0
    assert all(t.target is None and t.phase == "load" for t in made.values()), "no comparison uses them"
    assert funnel.not_bought == [], "the rest is simulated by design"


def test_what_there_is_no_time_for_is_said(tmp_path: Path, record: StudyRecord) -> None:
    funnel = FakeFunnel(tmp_path, record, spent_s=280.0)
    made = drawn(funnel)
    assert 0 < len(made) < 6
    assert funnel.not_bought == [f"{6 - len(made)} of 6 trials of the load curve, which is simulated there"]
    none = FakeFunnel(tmp_path, record, spent_s=299.0)
    assert drawn(none) == {}
    assert none.not_bought == ["the load curve"]


def test_what_is_not_bought_is_simulated_and_kept_in_the_record(tmp_path: Path, record: StudyRecord) -> None:
    funnel = FakeFunnel(tmp_path, record, spent_s=294.0)
    assert drawn(funnel) == {}
    points = funnel.record.simulated
    assert funnel.kept[-1].simulated == points
    assert all(p.simulated and p.trials == 0 for p in points)
    names = {(p.variant, p.policy.name) for p in points}
    assert names == {("net", n) for n in ("single", "dynamic", "early_commit", "window")} | {("base", "single")}
    assert msgspec.json.decode(msgspec.json.encode(funnel.record), type=StudyRecord) == funnel.record


def test_simulated_overload_shows_what_a_deadline_is_worth(tmp_path: Path, record: StudyRecord) -> None:
    """8 ms + 0.5 ms an item, p90 <= 50 ms, 2,000 requests/s where 720 to 1,000 can be answered (serving.md 3.1)."""
    funnel = FakeFunnel(tmp_path, record, spent_s=294.0)
    drawn(funnel)
    over = [p for p in funnel.record.simulated if p.rate == 2000.0 and p.policy.name == "dynamic"]
    drops = next(p for p in over if p.policy.fields.get("drop") == "early")
    keeps = next(p for p in over if "drop" not in p.policy.fields)
    assert drops.goodput > 600
    assert keeps.goodput < 100
    assert drops.dropped > 0.5
    assert keeps.dropped == 0
    assert not keeps.keeps_up


def test_a_resumed_study_makes_the_same_runs_and_none_twice(tmp_path: Path, record: StudyRecord) -> None:
    whole = FakeFunnel(tmp_path / "a", record, profile="shared", budget_s=54_000.0)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    drawn(whole)
    cut = FakeFunnel(tmp_path / "b", record, profile="shared", budget_s=54_000.0)
    cut.cut_after = 7
    drawn(cut)
    assert cut.not_bought == ["the rest of the load curve: the budget ended while measuring"]
    assert len(cut.results) == 7
    cut.cut_after, cut.not_bought = 10_000, []
    cut.conclusion.online.winner = "base"
    drawn(cut)
    assert set(cut.results) == set(whole.results), "what was settled stays, whatever is found later"
    before = cut.now
    drawn(cut)
    assert cut.now == before


def test_a_proving_profile_repeats_what_needs_an_interval(tmp_path: Path, record: StudyRecord) -> None:
    funnel = FakeFunnel(tmp_path, record, profile="shared", budget_s=5400.0)
    made = drawn(funnel)
    at_claim = [t for t in made.values() if t.scenario.fields["rate"] == 500.0]
    for policy in ("single", "dynamic", "early_commit", "window"):
        assert len({t.trial for t in at_claim if t.batching.name == policy}) == 3
    assert {t.trial for t in at_claim if t.batching.name == "window"} == {
        t.trial for t in at_claim if t.batching.name == "early_commit"
    }, "the same schedules"
    assert funnel.now <= 0.12 * 5400


def test_the_order_is_random_but_the_same_every_time(tmp_path: Path, record: StudyRecord) -> None:
    orders = [list(drawn(FakeFunnel(tmp_path, record))) for _ in range(2)]
    assert orders[0] == orders[1]
    rates = [r.split("-")[-1] for r in orders[0]]
    assert rates != sorted(rates, key=float) or len(set(rates)) == 1


def test_without_an_online_question_there_is_no_curve(tmp_path: Path, record: StudyRecord) -> None:
    batch = FakeFunnel(tmp_path, record)
    batch.record = msgspec.structs.replace(batch.record, target="batch")
    assert drawn(batch) == {}
    nothing = FakeFunnel(tmp_path, record)
    nothing.conclusion.online = None
    assert drawn(nothing) == {}
    assert nothing.not_bought == []


def test_the_original_alone_is_shown_under_every_policy(tmp_path: Path, record: StudyRecord) -> None:
    funnel = FakeFunnel(tmp_path, record, winner="base", spent_s=294.0)
    drawn(funnel)
    assert {p.variant for p in funnel.record.simulated} == {"base"}
    assert {p.policy.name for p in funnel.record.simulated} == {"single", "dynamic", "early_commit", "window"}


def test_overload_is_expected_to_take_longer_than_its_requests_come(tmp_path: Path, record: StudyRecord) -> None:
    funnel = FakeFunnel(tmp_path, record)
    grid = offered._settled(funnel)[0]  # type: ignore[arg-type]
    cells = {c.rate: c for stage in offered.stages([grid]) for c in stage if c.key == "single"}
    calm, over = (offered.trial_s(funnel, cells[rate], grid) for rate in (250.0, 2000.0))  # type: ignore[arg-type]
    assert over - calm == pytest.approx(2.0), "what waits when the load ends is answered for 2 s"


def test_a_model_too_slow_for_a_short_run_is_only_simulated(
    tmp_path: Path, record: StudyRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = ServiceTimes({s: np.array([s * 500_000_000]) for s in (1, 4)})
    monkeypatch.setattr(offered, "service_times", lambda funnel, name: slow)
    funnel = FakeFunnel(tmp_path, record)
    funnel.conclusion.row("net").online.rate = msgspec.structs.replace(
        funnel.conclusion.row("net").online.rate, value=1.0
    )
    assert drawn(funnel) == {}
    assert funnel.record.simulated
    assert funnel.not_bought == []
