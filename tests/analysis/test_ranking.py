from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from accel.analysis.conclusion import Conclusion
from accel.analysis.ranking import grouped
from accel.analysis.reading import conclude
from accel.result import Result
from tests.synthetic import Made, synthetic_study, variant

names = st.lists(st.sampled_from("abcdefgh"), unique=True, min_size=1)


def test_a_name_that_was_shown_slower_than_any_member_opens_a_group() -> None:
    shown = {("c", "a"), ("d", "b"), ("d", "a")}
    assert grouped("abcd", lambda one, than: (one, than) in shown) == (("a", "b"), ("c", "d"))


@given(names)
def test_nothing_shown_is_one_group_and_everything_shown_is_an_order(ordered: list[str]) -> None:
    assert grouped(ordered, lambda one, than: False) == (tuple(ordered),)
    assert grouped(ordered, lambda one, than: True) == tuple((name,) for name in ordered)


@given(names, st.sets(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("abcdefgh"))))
def test_groups_keep_everybody_in_order_and_no_two_members_were_shown_to_differ(
    ordered: list[str], shown: set[tuple[str, str]]
) -> None:
    groups = grouped(ordered, lambda one, than: (one, than) in shown)
    assert [name for group in groups for name in group] == ordered
    for group in groups:
        for i, than in enumerate(group):
            assert all((one, than) not in shown for one in group[i + 1 :])


def test_a_study_s_groups_agree_with_its_verdicts_and_its_answers(tmp_path: Path) -> None:
    """Two variants that can't be told apart, one that is faster than the original and slower than both."""
    close = [
        Made(variant=variant(name, "onnxruntime"), item_s=seconds, sqnr_db=118.0)
        for name, seconds in (("near", 0.00200), ("nearest", 0.00201), ("between", 0.0030))
    ]
    said = _concluded(tmp_path, variants=close)
    assert [set(group) for group in said.groups["batch"]] == [{"near", "nearest"}, {"between"}, {"original"}]
    assert said.groups["batch"] == said.groups["latency"]
    assert said.batch is not None
    other = ({"near", "nearest"} - {said.batch.winner}).pop()
    assert f"Tied with `{other}`" in said.batch.sentence
    assert "between" not in said.batch.sentence


def test_only_who_raced_is_ranked(tmp_path: Path) -> None:
    assert _concluded(tmp_path, blocks=0, confirmations=0, online=False).groups == {}


def _concluded(folder: Path, **wanted: Any) -> Conclusion:
    record = synthetic_study(folder, **wanted)
    return conclude(record, [Result.load(p) for p in sorted((folder / "runs").glob("*.json"))], folder / "runs")
