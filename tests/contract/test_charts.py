"""Every chart the folder holds: its specification is valid, drawn without warnings, and follows light and dark."""

from __future__ import annotations

import re
from typing import Any

import altair
import msgspec
import pytest
import vl_convert

from accel import plugins
from accel.report.charts import _theme
from tests.report import example, rescued

NAMES = plugins.names("charts")
WIDTHS = (960, 336)


def spec_of(name: str, case: str = "usual", width: int = 960) -> dict[str, Any] | None:
    conclusion = rescued.conclusion() if (name, case) == ("rescue", "usual") else example.odd_cases()[case]
    traces = {} if case in ("everything failed", "nothing yet") else example.traces()
    found: dict[str, Any] | None = plugins.load("charts", name)().spec(conclusion, traces, width)
    return found


def test_the_folder_holds_the_charts_the_page_promises() -> None:
    wanted = {"load_curve", "batch_by_length"}
    wanted |= {"online_capacity", "waterfall", "speed_accuracy", "batch_size", "latency_distribution", "set_up_time"}
    assert wanted <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_the_specification_is_valid_and_drawn_without_warnings(
    name: str, width: int, capfd: pytest.CaptureFixture[str]
) -> None:
    spec = spec_of(name, width=width)
    assert spec is not None
    altair.Chart.from_dict(spec, validate=True)
    svg = vl_convert.vegalite_to_svg(spec, show_warnings=True, allowed_base_urls=[])
    told = capfd.readouterr()
    assert "WARN" not in told.err + told.out
    assert svg.startswith("<svg")
    assert "NaN" not in svg
    assert "undefined" not in svg


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "case", ["no winner", "no online", "synthetic", "random weights", "predicted", "one open interval"]
)
def test_every_odd_study_gives_a_valid_specification_or_none(name: str, case: str) -> None:
    spec = spec_of(name, case)
    if spec is not None:
        altair.Chart.from_dict(spec, validate=True)
        assert b"NaN" not in msgspec.json.encode(spec)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_measured_means_no_chart(name: str) -> None:
    assert spec_of(name, "nothing yet") is None


@pytest.mark.parametrize("name", NAMES)
def test_the_same_study_gives_the_same_specification(name: str) -> None:
    assert msgspec.json.encode(spec_of(name)) == msgspec.json.encode(spec_of(name))


@pytest.mark.parametrize("name", NAMES)
def test_every_colour_has_a_dark_counterpart(name: str) -> None:
    colours = set(re.findall(rb"#[0-9a-fA-F]{3,8}\b", msgspec.json.encode(spec_of(name))))
    assert colours <= {c.encode() for c in _theme.DARK}


@pytest.mark.parametrize("name", NAMES)
def test_a_chart_names_no_address(name: str) -> None:
    assert b"http" not in msgspec.json.encode(spec_of(name))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("case", ["usual", "no winner", "no online", "synthetic", "random weights"])
def test_a_chart_has_a_title_and_tells_its_place(name: str, case: str) -> None:
    chart = plugins.load("charts", name)()
    conclusion = rescued.conclusion() if (name, case) == ("rescue", "usual") else example.odd_cases()[case]
    assert chart.title(conclusion)
    assert isinstance(chart.note(conclusion), str)
    assert chart.place in ("wide", "beside", "below")


def rows_of(spec: dict[str, Any], layer: int) -> list[dict[str, Any]]:
    """The data of one layer; Altair moves inline data to the top."""
    rows: list[dict[str, Any]] = spec["datasets"][spec["layer"][layer]["data"]["name"]]
    return rows


def values_of(spec: dict[str, Any], field: str) -> list[Any]:
    return [v[field] for rows in spec["datasets"].values() for v in rows if field in v]


def test_online_capacity_marks_the_claim_on_the_slo_line() -> None:
    spec = spec_of("online_capacity")
    assert spec is not None
    assert "61/s" in values_of(spec, "text")
    assert "296/s" in values_of(spec, "text")
    assert "SLO p90 = 20 ms" in values_of(spec, "text")
    assert {"unstable", "valid"} <= set(values_of(spec, "level"))


def test_the_fitted_curve_never_falls() -> None:
    from accel.report.charts import online_capacity as module

    usual = example.conclusion().row("OpenVINO INT8")
    assert usual.online is not None
    shaken = msgspec.structs.replace(
        usual.online, trials=((10.0, 0.004, "valid"), (20.0, 0.009, "valid"), (30.0, 0.004, "valid"))
    )
    row = msgspec.structs.replace(usual, online=shaken)
    frame = module._Frame.around([row], 20.0)
    fit = module._fit(row, frame)
    # 9 and 4 ms at 20 and 30 requests/s are pooled: geometric mean 6 ms at 25 requests/s
    assert [(p["x"], round(p["y"], 6)) for p in fit] == [(10.0, 4.0), (25.0, 6.0)]


def test_speed_accuracy_marks_the_refused_one() -> None:
    spec = spec_of("speed_accuracy")
    assert spec is not None
    points = {v["variant"]: v for rows in spec["datasets"].values() for v in rows if "state" in v}
    assert points["distribution calibration (trap)"]["state"] == "refused"
    assert points["ORT INT8"]["state"] == "unresolved"
    assert points["torch eager"]["state"] == "original"
    assert points["distribution calibration (trap)"]["y"] == pytest.approx(-88.6)


def test_latency_distribution_ends_at_one_and_leaves_out_the_warm_up() -> None:
    trace = example.trace(0.01, 20, 5, warmup=0)
    slow = trace.finished.copy()
    slow[:5] += 10**12
    cold = msgspec.structs.replace(trace, finished=slow, warmup=(trace.sample < 5).astype("int64"))
    chart = plugins.load("charts", "latency_distribution")()
    spec = chart.spec(example.conclusion(), {"torch eager": cold}, 960)
    values = rows_of(spec, 0)
    assert values[-1]["y"] == 1.0
    assert max(v["ms"] for v in values) < 1000


def test_set_up_stages_add_up() -> None:
    spec = spec_of("set_up_time")
    assert spec is not None
    stages = [v for v in rows_of(spec, 0) if v["variant"] == "OpenVINO INT8"]
    assert [s["stage"] for s in stages] == ["load", "export", "compress", "compile", "open", "first run"]
    # 0.4 + 2.2 + 4.9 + 1.1 + (0.31 + 0.24) + 0.02
    assert stages[-1]["end"] == pytest.approx(9.17)


def test_waterfall_says_what_could_not_be_shown() -> None:
    spec = spec_of("waterfall")
    assert spec is not None
    texts = values_of(spec, "text")
    assert "not shown" in texts
    assert "×2.57" in texts
    assert "2.44–2.70" in texts


def test_the_walls_gap_says_what_the_limit_costs() -> None:
    spec = spec_of("online_capacity")
    assert spec is not None
    assert "the SLO's price: 59 %" in values_of(spec, "text")
    older = spec_of("online_capacity", "older")
    assert older is not None
    assert "the SLO's price" in values_of(older, "text")


def lines_of(spec: dict[str, Any], panel: int) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """(mark, rows) of every layer of a panel that draws points of the load curve."""
    found = []
    for layer in spec["concat"][panel]["layer"]:
        rows = spec["datasets"][layer["data"]["name"]]
        if rows and "policy" in rows[0]:
            found.append((layer["mark"], rows))
    return found


def test_the_load_curve_dashes_what_is_simulated_and_says_so() -> None:
    spec = spec_of("load_curve")
    assert spec is not None
    for mark, rows in lines_of(spec, 1):
        if mark["type"] == "line":
            assert ("strokeDash" in mark) == ({"early_commit 10"} == {r["policy"] for r in rows})
    assert "simulated" in values_of(spec, "text")
    chart = plugins.load("charts", "load_curve")()
    assert "simulated" in chart.note(example.conclusion())
    measured = example.conclusion(loads=tuple(example.load_points(simulated=())))
    assert "simulated" not in chart.note(measured)
    assert b'strokeDash":[5,4]' not in msgspec.json.encode(chart.spec(measured, {}, 960))


def test_a_line_is_dashed_only_where_it_is_simulated() -> None:
    from accel.report.charts._load_lines import pieces

    values = [
        {"x": x, "how": how} for x, how in enumerate(["measured", "measured", "simulated", "measured", "measured"])
    ]
    assert [(dashed, [v["x"] for v in piece]) for dashed, piece in pieces(values)] == [
        (False, [0, 1]),
        (True, [1, 2, 3]),
        (False, [3, 4]),
    ]


def test_latencies_leave_the_picture_once_and_goodput_goes_on() -> None:
    spec = spec_of("load_curve")
    assert spec is not None
    late = [r for mark, rows in lines_of(spec, 0) if mark["type"] == "line" for r in rows if r["policy"] == "single"]
    good = [r for mark, rows in lines_of(spec, 1) if mark["type"] == "line" for r in rows if r["policy"] == "single"]
    # one at a time does 357/s: the first rate above it is 432/s, where nothing is answered in time
    assert [r["x"] for r in late if r["beyond"]] == [432.0]
    assert late[-1]["x"] == 432.0
    assert good[-1]["x"] == 1440.0
    assert not [r for mark, rows in lines_of(spec, 0) if mark["type"] == "point" for r in rows if r["beyond"]]


def test_what_is_in_doubt_is_hollow() -> None:
    spec = spec_of("load_curve")
    assert spec is not None
    hollow = [rows for mark, rows in lines_of(spec, 1) if mark["type"] == "point" and mark["filled"] is False]
    assert [(r["policy"], r["x"]) for rows in hollow for r in rows] == [("window 16", 684.0)]


def test_an_invalid_trial_is_not_drawn() -> None:
    chart = plugins.load("charts", "load_curve")()
    points = example.load_points(simulated=())
    bad = (msgspec.structs.replace(points[3], level="invalid"), *points[:3], *points[4:])
    spec = chart.spec(example.conclusion(loads=bad), {}, 960)
    drawn = {(r["policy"], r["x"]) for _, rows in lines_of(spec, 1) for r in rows}
    assert ("single", points[2].rate) in drawn
    assert ("single", points[3].rate) not in drawn


def test_variants_keep_their_colours_and_policies_their_shapes() -> None:
    chart = plugins.load("charts", "load_curve")()
    both = (*example.load_points(), *example.load_points("torch eager")[:10])
    spec = chart.spec(example.conclusion(loads=both), {}, 960)
    encoding = next(e for layer in spec["concat"][0]["layer"] if "shape" in (e := layer["encoding"]))
    colour, shape = (
        dict(zip(e["domain"], e["range"], strict=True)) for e in (encoding[k]["scale"] for k in ("color", "shape"))
    )
    assert colour["original: single"] == _theme.ORIGINAL
    assert {colour[name] for name in colour if name.startswith("OpenVINO")} == {_theme.WINNER}
    assert shape["original: single"] == shape["OpenVINO INT8: single"] != shape["OpenVINO INT8: window 16"]


def test_batching_by_length_says_where_it_pays() -> None:
    chart = plugins.load("charts", "batch_by_length")()
    assert "Batching pays for length 3–16, length 17–64; it doesn't for length 65–128." in chart.note(
        example.conclusion()
    )
    assert chart.spec(example.conclusion(batching=example.by_length()[:1]), {}, 960) is None
    never = tuple(msgspec.structs.replace(c, pays=False) for c in example.by_length())
    assert "Batching doesn't pay here, whatever the length." in chart.note(example.conclusion(batching=never))


def test_where_batching_does_not_pay_the_batch_chart_says_so() -> None:
    chart = plugins.load("charts", "batch_size")()
    flat = msgspec.structs.replace(example.by_length()[2], bucket=None)
    assert flat.pays is False
    assert "OpenVINO INT8: Batching doesn't pay here" in chart.note(example.conclusion(batching=(flat,)))
    other = msgspec.structs.replace(flat, variant="ORT INT8")
    assert "Nor does it for ORT INT8." in chart.note(example.conclusion(batching=(flat, other)))
    assert "doesn't pay" not in chart.note(example.conclusion())
