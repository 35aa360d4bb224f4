"""Several studies on one page: all answers, a warning that says what differs, nothing from outside, text escaped."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

import accel
from accel.analysis.conclusion import Conclusion
from accel.errors import InputError
from accel.measurement.machine import Machine
from accel.report import environment, page, side_by_side
from accel.report.first_screen import first_screen
from tests.report import example
from tests.report.test_page import Seen
from tests.synthetic import synthetic_study

USUAL = example.conclusion()


def elsewhere(env_id: str = "aa77bb", **machine: Any) -> Conclusion:
    """The usual study, made on another machine."""
    return example.conclusion(
        record_env_id=env_id, record_machine=msgspec.structs.replace(USUAL.record.machine, **machine)
    )


def test_each_study_shows_strip_badge_headline_answers_id_and_table() -> None:
    other = example.conclusion(
        record_name="rival",
        record_study_id="rival-1",
        record_source=msgspec.structs.replace(USUAL.record.source, name="rival CNN"),
        headline="Keep your model: nothing was shown to be faster.",
        badge="UNSTABLE · the machine was disturbed",
    )
    seen = Seen(side_by_side.render([USUAL, other]))
    for part in (
        "digits CNN",
        "rival CNN",
        "22 Nov 2026",
        "VALID · smallest difference shown here: 5 %",
        "UNSTABLE · the machine was disturbed",
        "4.9× faster online, accuracy unchanged.",
        "Keep your model: nothing was shown to be faster.",
        "296 requests/s",
        "[284–308] at p90 ≤ 20 ms · was 61 [59–63]",
        "720 items/s",
        "study rival-1",
        "All variants of rival",
        "All variants of demo",
    ):
        assert part in seen.text, part
    assert seen.text.count("e41c0d") == 3, "in the subline and once a study"
    assert seen.text.count("ORT INT8") >= 2
    assert [t for t, _ in seen.tags].count("h1") == 1


def test_the_same_environment_needs_no_warning() -> None:
    assert side_by_side.warning([USUAL.record, USUAL.record]) == ""
    assert 'class="warning"' not in side_by_side.render([USUAL, USUAL])


def test_different_environments_are_warned_of_and_told() -> None:
    packages = {**USUAL.record.machine.packages, "torch": "2.14.0", "nncf": "3.0.0"}
    del packages["openvino"]
    other = elsewhere(cpu="Intel Xeon 8488C", cores=4, quota_cores=None, packages=packages)
    text = Seen(side_by_side.render([USUAL, other])).text
    assert "can't be compared" in text
    assert "these differ: processor, usable cores, CPU quota, nncf, openvino, torch." in text
    found = {
        d.what: d.values for d in side_by_side.differences_of_environment([USUAL.record, USUAL.record, other.record])
    }
    assert found == {
        "processor": ("AMD EPYC 9R14", "AMD EPYC 9R14", "Intel Xeon 8488C"),
        "usable cores": ("2", "2", "4"),
        "CPU quota": ("2", "2", "none"),
        "nncf": ("not installed", "not installed", "3.0.0"),
        "openvino": ("2026.0.0", "2026.0.0", "not installed"),
        "torch": ("2.13.0", "2.13.0", "2.14.0"),
    }


def test_ids_that_differ_for_an_unknown_reason_are_warned_of_too() -> None:
    assert "no recorded fact differs" in side_by_side.warning([USUAL.record, elsewhere().record])


@pytest.mark.parametrize("field", [f for f in Machine.__struct_fields__ if f != "packages"])
def test_no_fact_of_a_machine_is_left_out(field: str) -> None:
    value = getattr(USUAL.record.machine, field)
    changed = {tuple: ("other",), dict: {"L1": 1}, int: 3, float: 3.5, str: "other", type(None): "other"}[type(value)]
    found = side_by_side.differences_of_environment([USUAL.record, elsewhere(**{field: changed}).record])
    assert len(found) == 1, field
    assert found[0].what == environment.FACTS[field]


def test_what_was_asked_differently_is_told() -> None:
    other = example.conclusion(record_slo_s=0.05, record_synthetic=True, record_accel_version="0.2.0")
    found = {d.what: d.values for d in side_by_side.differences_of_question([USUAL.record, other.record])}
    assert found == {
        "samples": ("1797", "1797, synthetic"),
        "SLO": ("p90 ≤ 20 ms", "p90 ≤ 50 ms"),
        "accel": ("0.1.0", "0.2.0"),
    }


def test_studies_of_one_name_are_numbered() -> None:
    text = Seen(side_by_side.render([USUAL, USUAL])).text
    assert "All variants of 1. demo" in text
    assert "All variants of 2. demo" in text


def test_the_page_asks_for_nothing_from_outside_and_stays_small() -> None:
    text = side_by_side.render([USUAL, example.hostile(), elsewhere(cores=4)])
    assert not re.search(r"https?://|url\(|@import", text)
    seen = Seen(text)
    policy = next(a["content"] for t, a in seen.tags if t == "meta" and a.get("http-equiv"))
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert page.hash_of(seen.scripts[0][1]) in policy
    assert len(text) < 300_000


def test_hostile_text_stays_text() -> None:
    seen = Seen(side_by_side.render([example.hostile(), USUAL]))
    assert len(seen.scripts) == 1
    assert "img" not in {tag for tag, _ in seen.tags}
    assert not [name for _, attributes in seen.tags for name in attributes if name.startswith("on")]
    assert "<script>alert(1)</script>" in seen.text


def test_ids_are_unique_and_links_lead_to_them() -> None:
    tags = Seen(side_by_side.render([USUAL, USUAL, elsewhere(cores=4)])).tags
    ids = [a["id"] for _, a in tags if a.get("id")]
    assert len(ids) == len(set(ids))
    named = [str(a["href"])[1:] for _, a in tags if a.get("href")] + [
        str(a["aria-labelledby"]) for _, a in tags if a.get("aria-labelledby")
    ]
    assert set(named) <= set(ids)


@pytest.mark.parametrize("case", [c for c in example.odd_cases() if c != "usual"])
def test_odd_studies_have_their_place_too(case: str) -> None:
    odd = example.odd_cases()[case]
    text = Seen(side_by_side.render([odd])).text
    assert odd.headline.replace(" ", "") in text.replace(" ", "")
    for card in first_screen(odd).cards:
        assert card.big in text
        assert card.aside.partition(" · ")[0] in text


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    synthetic_study(folder, blocks=3, confirmations=2, measured_s=0.3)
    return folder


def test_stored_studies_are_written_twice_alike(study: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(study, moved)
    accel.write_report([study, study], tmp_path / "one.html")
    side_by_side.write_several([moved, moved], tmp_path / "new" / "two.html")
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "new" / "two.html").read_bytes()
    assert not list(tmp_path.glob("*.part"))


def test_the_order_is_the_one_given() -> None:
    text = side_by_side.render([USUAL, example.conclusion(record_name="another")])
    assert text.index("All variants of demo") < text.index("All variants of another")


def test_a_folder_without_a_study_is_named(study: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere.*holds no study"):
        side_by_side.write_several([study, tmp_path / "nowhere"], tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_no_study_at_all_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no study to report"):
        side_by_side.write_several([], tmp_path / "report.html")
