"""What is derived from whom, what it costs, who enters the blocks; held to hand-made speeds on a clock of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest

from accel.errors import VariantError
from accel.plugins import Named
from accel.recipe import Variant
from accel.result import Check, Quality
from accel.simulation.service_times import ServiceTimes
from accel.study import finalists, instances, tuning
from accel.study.budget import Budget, BudgetEnded
from accel.study.decisions import Decisions
from accel.study.instances import derived, with_instances
from accel.study.live import Turn
from accel.study.profiles import PROFILES

ORT, OPENVINO = Named("onnxruntime"), Named("openvino")
QUALITY = Quality(outcome="passes", rule="agreement")


class FakeFunnel:
    """Three measured variants; every run takes 1 s, every opening 2 s; speeds are what the test says."""

    def __init__(self, folder: Path, speeds: dict[str, tuple[float, float, float]], *, target: str = "both") -> None:
        self.now = 0.0
        self.profile = PROFILES["quick"]
        self.budget = Budget(300.0, now=lambda: self.now)
        self.root, self.sizes, self.speeds = folder, tuning.SIZES, speeds
        measured = ("base", "ov", "ort")
        backends = {"base": Named("eager"), "ov": OPENVINO, "ort": ORT}
        variants = tuple(Variant(name=name, backend=backends[name]) for name in measured)
        self.record: Any = Record(
            baseline="base", variants=variants, target=target, machine=SimpleNamespace(cores=2, physical_cores=2)
        )
        self.kept: list[Any] = []
        self.folder: Any = SimpleNamespace(root=folder, write_record=self.kept.append, reference=folder)
        for name in measured:
            (folder / f"{name}.npz").write_text(f"the answers of {name}")
        self.decisions = Decisions()
        self.results: dict[str, Any] = {}
        self.not_bought: list[str] = []
        self.opened: list[str] = []
        self.progress = SimpleNamespace(stage=lambda text: None, time=lambda elapsed, total: None)
        self.item_s: dict[str, float] = {}
        self.cut_after = 10_000
        self.breaks: set[str] = set()
        self.failed: set[str] = set()
        for name in measured:
            self.ran(f"screening-{name}-latency", name, "screening")
            self.ran(f"tuning-{name}-batch-16", name, "tuning")

    def ran(self, run_id: str, name: str, phase: str) -> None:
        variant = self.variant(name)
        check = Check(checked=3, mismatched=0, limit=0.004, largest=0.001)
        self.results[run_id] = SimpleNamespace(
            variant=variant, phase=phase, quality=QUALITY, check=check, batching=None
        )

    def decide(self, **settled: Any) -> None:
        self.decisions = msgspec.structs.replace(self.decisions, **settled)

    def has_failed(self, name: str) -> bool:
        return name in self.failed

    def variant(self, name: str) -> Variant:
        return next(v for v in self.record.variants if v.name == name)

    @contextmanager
    def survives(self, name: str) -> Iterator[None]:
        try:
            yield
        except BudgetEnded:
            raise
        except VariantError:
            self.failed.add(name)

    @contextmanager
    def live(self, name: str, tag: str) -> Iterator[Any]:
        self.now += 2.0
        self.opened.append(name)
        yield SimpleNamespace(prepared=SimpleNamespace(variant=self.variant(name)))

    def measure(self, live: Any, turn: Turn, scored: Any) -> None:
        assert scored.quality is QUALITY, "the artefact is the parent's, and so are its outputs"
        assert scored.largest_error == 0.002, "half of the limit that the parent's runs were held to"
        name = live.prepared.variant.name
        if len(self.results) >= self.cut_after:
            raise BudgetEnded("measuring")
        if name in self.breaks:
            raise VariantError("instance 2 of 2 crashed with SIGSEGV while it ran")
        self.now += 1.0
        self.ran(turn.run_id, name, turn.phase)


class Record(msgspec.Struct, frozen=True):
    """The part of a study's record that is used here."""

    baseline: str
    variants: Any
    target: str
    machine: Any
    facts: Any = None
    slo_s: float = 0.02
    slo_p: float = 0.99
    seed: int = 0


SPEEDS = {"base": (0.010, 100.0, 80.0), "ov": (0.004, 400.0, 300.0), "ort": (0.005, 500.0, 250.0)}
"""Seconds one at a time, items/s in batch, requests/s within the limit."""


@pytest.fixture(scope="module")
def carries() -> Any:
    return instances._carries


@pytest.fixture(autouse=True)
def speeds_by_hand(monkeypatch: pytest.MonkeyPatch, carries: Any) -> None:
    def of(funnel: FakeFunnel, run_id: str) -> str | None:
        return funnel.results[run_id].variant.name if run_id in funnel.results else None

    def rate(funnel: FakeFunnel, run_id: str) -> float:
        name = of(funnel, run_id)
        return funnel.speeds[name][1] if name else 0.0

    monkeypatch.setattr(tuning, "throughput", rate)
    monkeypatch.setattr(instances, "latency_s", lambda funnel, run_id: funnel.speeds[of(funnel, run_id)][0])
    monkeypatch.setattr(instances, "_carries", lambda funnel, name: funnel.speeds[name][2])
    monkeypatch.setattr(instances, "expected_s", lambda funnel, turn, name: 1.0)
    monkeypatch.setattr(finalists, "two_runs_s", lambda funnel: 3.0)


def test_what_is_derived_on_two_four_and_one_a_core() -> None:
    two = derived(Variant(name="a", backend=ORT), 2)
    assert [(v.name, v.instances, v.placement) for v in two] == [("a+2-instances", 2, "threads")]
    assert [v.placement for v in derived(Variant(name="a", backend=Named("eager")), 2)] == ["processes"], "Python"
    four = derived(Variant(name="a", backend=OPENVINO), 4)
    assert [(v.name, v.instances, v.placement, v.backend.fields) for v in four] == [
        ("a+2-instances", 2, "threads", {}),
        ("a+4-instances", 4, "threads", {}),
        ("a+4-streams", 4, "shared", {"streams": 4}),
    ]


@pytest.mark.parametrize(
    "parent",
    [
        Variant(name="a", backend=ORT, instances=2),
        Variant(name="a", backend=Named("onnxruntime", {"threads": 1})),
        Variant(name="a", backend=Named("callable")),
        Variant(name="a" * 115, backend=ORT),
    ],
)
def test_nothing_is_derived_from_what_says_itself_how_it_runs(parent: Variant) -> None:
    assert derived(parent, 2) == []


def test_a_backend_that_compiles_while_it_is_opened_waits_for_a_longer_profile() -> None:
    parent = Variant(name="a", backend=Named("inductor"))
    assert derived(parent, 2, quick=True) == []
    assert [v.placement for v in derived(parent, 2)] == ["processes"]


@pytest.mark.parametrize(
    ("target", "parents"), [("batch", ["ort"]), ("online", ["ov", "ort"]), ("both", ["ort", "ov"])]
)
def test_the_fastest_in_batch_and_in_latency_are_parents_and_quick_makes_two(
    tmp_path: Path, target: str, parents: list[str]
) -> None:
    funnel = FakeFunnel(tmp_path, SPEEDS, target=target)
    found = instances.proposals(funnel, ["base", "ov", "ort"])  # type: ignore[arg-type]
    assert [parent for parent, _ in found] == parents
    assert len(found) <= 2


def test_what_somebody_asked_for_is_not_derived_again(tmp_path: Path) -> None:
    funnel = FakeFunnel(tmp_path, SPEEDS, target="batch")
    own = Variant(name="mine", backend=ORT, instances=2, placement="threads")
    funnel.record = msgspec.structs.replace(funnel.record, variants=(*funnel.record.variants, own))
    assert instances.proposals(funnel, ["base", "ort"]) == []  # type: ignore[arg-type]
    renamed = msgspec.structs.replace(own, name="ort+2-instances", placement="shared")
    funnel.record = msgspec.structs.replace(funnel.record, variants=(*funnel.record.variants[:3], renamed))
    assert instances.proposals(funnel, ["base", "ort"]) == []  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("batch", "online", "enters"),
    [(700.0, 200.0, True), (400.0, 400.0, True), (510.0, 305.0, False), (300.0, 200.0, False)],
)
def test_who_is_better_in_batch_or_online_enters_and_nobody_else(
    tmp_path: Path, batch: float, online: float, enters: bool
) -> None:
    better = {"ort+2-instances": (0.009, batch, online), "ov+2-instances": (0.008, 50.0, 50.0)}
    funnel = FakeFunnel(tmp_path, SPEEDS | better)
    found = with_instances(funnel, ["ov", "ort"])  # type: ignore[arg-type]
    assert found == (["ov", "ort", "ort+2-instances"] if enters else ["ov", "ort"])
    assert funnel.decisions.derived == {"ort+2-instances": "ort", "ov+2-instances": "ov"}
    assert [v.name for v in funnel.kept[-1].variants] == ["base", "ov", "ort", "ort+2-instances", "ov+2-instances"]
    assert (tmp_path / "ort+2-instances.npz").read_text() == "the answers of ort", "what a winner is checked by later"
    sizes = [r.partition("ort+2-instances-batch-")[2] for r in funnel.results if "ort+2-instances-batch-" in r]
    assert sizes == ["1", "8", "16"], "the parent's best size, the one below, and 1"


def test_it_takes_the_last_place_of_three_and_none_of_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    better = {"ort+2-instances": (0.009, 900.0, 400.0), "ov+2-instances": (0.008, 50.0, 50.0)}
    for most, chosen, found in ((3, ["ov", "ort", "base"], ["ov", "ort", "ort+2-instances"]), (2, ["ov", "ort"], 0)):
        funnel = FakeFunnel(tmp_path, SPEEDS | better)
        monkeypatch.setattr(funnel.budget, "finalists", lambda profile, seen, least, most=most: most)
        assert with_instances(funnel, chosen) == (found or chosen)  # type: ignore[arg-type]
        assert "looked better" in funnel.not_bought[-1]


def test_two_instances_carry_what_two_workers_of_the_simulator_carry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, carries: Any
) -> None:
    """One engine of 1.5 times the speed on both cores against two on one core each: alpha = beta = 2 ms, 50 ms."""
    funnel = FakeFunnel(tmp_path, SPEEDS)
    funnel.record = msgspec.structs.replace(funnel.record, slo_s=0.05)
    two = Variant(name="two", backend=ORT, instances=2, placement="threads")
    funnel.record = msgspec.structs.replace(funnel.record, variants=(*funnel.record.variants, two))

    def measured(funnel: Any, name: str) -> ServiceTimes:
        speed = 1.0 if name == "two" else 1.5
        return ServiceTimes({b: np.array([round((2e6 + 2e6 * b) / speed)]) for b in (1, 2, 4, 8, 16)})

    monkeypatch.setattr(instances, "service_times", measured)
    alone, both = carries(funnel, "ort"), carries(funnel, "two")
    assert alone < 1.5 * 500, "full batches of any size take more than 2 ms an item"
    assert 1.2 < both / alone < 1.5, "the research finds 835 against 630 requests/s with its own policy"


def test_one_core_derives_nothing(tmp_path: Path) -> None:
    funnel = FakeFunnel(tmp_path, SPEEDS)
    funnel.record = msgspec.structs.replace(funnel.record, machine=SimpleNamespace(cores=1, physical_cores=1))
    assert with_instances(funnel, ["ov"]) == ["ov"]  # type: ignore[arg-type]
    assert funnel.decisions.derived == {}


def test_what_the_budget_does_not_buy_is_said(tmp_path: Path) -> None:
    funnel = FakeFunnel(tmp_path, SPEEDS)
    funnel.now = 0.62 * 300
    assert with_instances(funnel, ["ov", "ort"]) == ["ov", "ort"]  # type: ignore[arg-type]
    assert (funnel.opened, funnel.decisions.derived, funnel.kept) == ([], {}, []), "no row for what wasn't begun"
    assert [said.partition(":")[0] for said in funnel.not_bought] == [
        "a look at `ort+2-instances`",
        "a look at `ov+2-instances`",
    ]
    cut = FakeFunnel(tmp_path, SPEEDS | {"ort+2-instances": (0.009, 10.0, 10.0)})
    cut.cut_after = len(cut.results) + 2
    assert with_instances(cut, ["ov", "ort"]) == ["ov", "ort"]  # type: ignore[arg-type]
    assert cut.not_bought == ["`ort+2-instances`: the budget ended while measuring"]


def test_one_that_crashes_is_out_and_the_study_goes_on(tmp_path: Path) -> None:
    better = {"ort+2-instances": (0.009, 900.0, 400.0), "ov+2-instances": (0.008, 800.0, 50.0)}
    funnel = FakeFunnel(tmp_path, SPEEDS | better)
    funnel.breaks = {"ort+2-instances"}
    assert with_instances(funnel, ["ov", "ort"]) == ["ov", "ort", "ov+2-instances"]  # type: ignore[arg-type]


def test_a_resumed_study_derives_the_same_and_measures_only_what_is_missing(tmp_path: Path) -> None:
    better = {"ort+2-instances": (0.009, 900.0, 400.0), "ov+2-instances": (0.008, 50.0, 50.0)}
    first = FakeFunnel(tmp_path, SPEEDS | better)
    first.cut_after = len(first.results) + 3
    with_instances(first, ["ov", "ort"])  # type: ignore[arg-type]
    again = FakeFunnel(tmp_path, SPEEDS | better)
    again.record, again.decisions, again.results = first.record, first.decisions, dict(first.results)
    assert with_instances(again, ["ov", "ort"]) == ["ov", "ort", "ort+2-instances"]  # type: ignore[arg-type]
    assert [v.name for v in again.record.variants].count("ort+2-instances") == 1
    made = len(again.results)
    third = FakeFunnel(tmp_path, SPEEDS | better)
    third.record, third.decisions, third.results = again.record, again.decisions, again.results
    assert with_instances(third, ["ov", "ort"]) == ["ov", "ort", "ort+2-instances"]  # type: ignore[arg-type]
    assert (third.opened, len(third.results)) == ([], made)
