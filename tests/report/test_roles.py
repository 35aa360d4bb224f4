"""Batch against online on the page and in the terminal: both roles, what is missing, what it costs."""

from __future__ import annotations

import msgspec
import pytest
from rich.cells import cell_len

from accel.analysis import Estimate
from accel.analysis.roles import Roles
from accel.report import page, roles, table
from tests.report import example
from tests.report.test_page import Seen, rendered


def section(given: Roles | None) -> roles.Versus:
    found = roles.versus(example.conclusion(roles=given))
    assert found is not None
    return found


def test_one_variant_in_both_roles_is_one_line() -> None:
    found = section(example.roles())
    assert [(line.name, line.won) for line in found.lines] == [("OpenVINO INT8", "both")]
    (line,) = found.lines
    assert [c.value for c in line.batch] == ["16", "720", "23 min 9 s"]  # 1e6 / 720 + 0.57 s
    assert [c.value for c in line.online] == ["296", "4.10 / 18.7 ms", "71 %", "59 %", "570 ms"]
    assert line.online[0].small == ("284–308", "dynamic batches of up to 16, drops what would be late")


def test_two_winners_are_two_lines_with_what_is_missing() -> None:
    found = section(example.two_winners())
    assert [(line.name, line.won) for line in found.lines] == [("ORT INT8", "batch"), ("OpenVINO INT8", "online")]
    assert found.lines[0].online[2].value == "–"
    assert found.lines[0].missing == ("How busy it is, nobody knows.",)
    assert found.variants == ("ORT INT8", "OpenVINO INT8")


def test_what_the_sentences_say_already_is_not_said_again() -> None:
    said = "How busy it is, nobody knows."
    one = msgspec.structs.replace(example.role("online"), missing=(said, "And this."))
    found = section(example.roles(batch=None, online=one, why=(said,)))
    assert found.lines[0].missing == ("And this.",)


def test_nothing_that_is_none_is_shown() -> None:
    bare = dict.fromkeys(("items", "job_s", "rate", "p50_s", "p99_s", "utilisation", "start_s", "slo_cost", "cost"))
    empty = msgspec.structs.replace(example.role("online"), batch_size=None, policy="", **bare)
    found = section(example.roles(batch=None, online=empty))
    (line,) = found.lines
    assert {c.value for c in (*line.batch, *line.online)} == {"–"}
    assert found.priced == ()
    assert "What it costs" not in page.render(example.conclusion(roles=example.roles(batch=None, online=empty)))


def test_a_number_without_an_interval_is_not_shown() -> None:
    bare = Estimate(value=777.7, low=None, high=None, n=1, unit="1/s", method="one short run")
    found = section(example.roles(online=None, batch=msgspec.structs.replace(example.role("batch"), items=bare)))
    assert found.lines[0].batch[1].value == "–"


def test_a_price_that_may_be_none_is_no_number() -> None:
    unsettled = Estimate(value=0.4, low=-3.3, high=0.8, n=4, unit="1", method="four trials, one of them disturbed")
    found = section(
        example.roles(batch=None, online=msgspec.structs.replace(example.role("online"), slo_cost=unsettled))
    )
    values = [cell.value for cell in found.lines[0].online]
    assert values[3] == "not shown"
    assert "-330" not in "".join(text for cell in found.lines[0].online for text in cell.small)


def test_without_roles_there_is_no_section() -> None:
    assert roles.versus(example.conclusion(roles=None)) is None
    assert roles.versus(example.conclusion(roles=Roles(batch=None, online=None))) is None
    text = rendered("older")
    assert 'id="versus"' not in text
    assert "Batch against online" not in Seen(text).text
    assert "Batch against online" not in table.text(example.odd_cases()["older"])


def test_costs_are_in_instance_seconds_without_a_price() -> None:
    found = section(example.roles())
    assert "instance-seconds" in found.basis
    by_label = {p.label: p.cells[0].value for p in found.priced}
    # a million at 296/s: 3378 instance-seconds; at half of it twice as many
    full = next(v for label, v in by_label.items() if "highest rate within the limit" in label)
    half = next(v for label, v in by_label.items() if "half that rate" in label)
    assert float(full.replace(",", "")) == pytest.approx(3378, rel=0.02)
    assert float(half.replace(",", "")) == pytest.approx(6757, rel=0.02)


def test_costs_are_in_the_users_money_with_one() -> None:
    priced = example.roles(batch=example.role("batch", price_per_h=0.2), online=example.role("online", price_per_h=0.2))
    found = section(priced)
    assert found.basis.startswith("At 0.2 per instance-hour")
    job = next(p for p in found.priced if p.label.startswith("that job's cost"))
    assert float(job.cells[0].value) == pytest.approx((1e6 / 720 + 0.57) / 3600 * 0.2, rel=0.03)


def test_the_page_holds_the_section_and_escapes_it() -> None:
    text = Seen(rendered("usual")).text
    for part in (
        "Batch against online",
        "OpenVINO INT8 is best in both roles.",
        "the SLO costs",
        "best in both",
        "What it costs",
        "an endpoint pays for as long as it is up",
    ):
        assert part in text, part
    assert "img" not in {tag for tag, _ in Seen(rendered("hostile")).tags}


def test_the_first_screen_tells_policy_and_how_busy_it_is() -> None:
    text = Seen(rendered("usual")).text
    assert "dynamic batches of up to 16, drops what would be late" in text
    assert "busy there 71 %" in text
    assert "0.0222" not in text


def test_a_price_turns_the_batch_card_into_money() -> None:
    text = Seen(page.render(example.conclusion(record_price_per_h=0.36))).text
    # 1e6 / 720.4 items/s x 0.36 / 3600
    assert "cost, at 0.36 an hour 0.139 [0.135–0.143]" in text


@pytest.mark.parametrize("case", ["usual", "two winners", "no online", "no batch"])
@pytest.mark.parametrize("width", [80, 100])
def test_the_terminal_tells_both_roles(case: str, width: int) -> None:
    text = table.text(example.odd_cases()[case], width)
    assert max(map(cell_len, text.splitlines())) <= width
    lines = text.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("Batch against online"))
    assert " ".join(lines[at + 1].split()) == "items/s batch 1 million items requests/s busy SLO costs"
    if case == "usual":
        assert lines[at + 2] == "OpenVINO INT8  best in both"
        assert " ".join(lines[at + 3].split()) == "720 16 23 min 9 s 296 71 % 59 %"
        assert lines[at + 5] == "`OpenVINO INT8` is best in both roles."
    if case == "no online":
        assert lines[at + 3].split()[-3:] == ["-", "-", "-"]


def test_many_items_are_said_as_one_says_them() -> None:
    assert [roles.items_word(n) for n in (1_000_000, 2_500_000, 3_000_000, 800)] == [
        "1 million items",
        "2,500,000 items",
        "3 million items",
        "800 items",
    ]
