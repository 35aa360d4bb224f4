from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from accel.errors import InputError
from accel.planning.demand import demand


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_steady_rate_is_one_window() -> None:
    found = demand(5000, None, 60)
    assert (found.kind, found.rates.tolist(), found.peak, found.mean) == ("steady", [5000], 5000, 5000)


def test_rates_run_along_lines_between_rows(tmp_path: Path) -> None:
    found = demand(None, write(tmp_path / "day.csv", "", "time,rate", "0,100", "", "120,300", "240,0"), 60)
    # From 100 to 300 in two minutes: 150 and 250 on average; then down to nothing: 225 and 75.
    assert found.rates.tolist() == pytest.approx([150, 250, 225, 75])
    assert (found.kind, found.duration_s) == ("rates", 240)


def test_a_rate_scales_the_traces_mean(tmp_path: Path) -> None:
    trace = write(tmp_path / "day.csv", "time_s,RPS", "0,10", "60,10", "120,30")
    found = demand(300, trace, 60)
    assert found.scale == pytest.approx(300 / 15)
    assert found.mean == pytest.approx(300)
    assert found.peak == pytest.approx(400)


def test_windows_need_not_meet_the_rows(tmp_path: Path) -> None:
    found = demand(None, write(tmp_path / "r.csv", "time,rate", "0,0", "90,90", "100,90"), 50)
    assert found.rates.tolist() == pytest.approx([25, (40 * 70 + 10 * 90) / 50])


def test_arrivals_are_counted_by_window(tmp_path: Path) -> None:
    times = np.concatenate([np.linspace(0, 59.9, 60), np.linspace(60, 119.9, 180), np.linspace(120, 180, 61)])
    np.savetxt(tmp_path / "a.csv", times)
    found = demand(None, tmp_path / "a.csv", 60)
    assert found.kind == "arrivals"
    assert found.rates.tolist() == pytest.approx([1, 3, 1], abs=0.02)
    assert found.offsets_s is not None
    assert len(found.offsets_s) == 301


def test_a_short_recording_counts_as_steady(tmp_path: Path) -> None:
    np.savetxt(tmp_path / "a.csv", np.arange(200) * 0.1)
    found = demand(None, tmp_path / "a.csv", 60)
    assert found.rates.tolist() == pytest.approx([10])


def test_lengths_beside_arrivals_make_no_difference(tmp_path: Path) -> None:
    alone = demand(None, write(tmp_path / "a.csv", "0", "1", "2.5"), 60)
    beside = demand(None, write(tmp_path / "b.csv", "time,length", "0,7", "1,9", "2.5,8"), 60)
    assert beside.rates.tolist() == alone.rates.tolist()


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["time,rate", "0,5"], "holds 1 rows, but two are needed"),
        (["time,rate", "0,5", "0,6"], "isn't later than the one above"),
        (["time,rate", "9,5", "3,6"], "isn't later than the one above"),
        (["time,rate", "0,five", "1,6"], "is `0,five`, not two numbers"),
        (["time,rate", "0", "1,6"], "is `0`, not two numbers"),
        (["time,rate", "0,-1", "1,6"], "no rate of at least 0"),
        (["time,rate", "0,nan", "1,6"], "no rate of at least 0"),
        (["time,rate", "0,0", "100,0"], "holds no request"),
        (["time,rate", "0,2e6", "100,2e6"], "at most 1,000,000 are planned"),
        (["time,rate", "0,1", "1e12,1"], "--metric-window"),
        (["a,b", "0,1", "1,1"], "The second column"),
        (["0,1", "1,1"], "Call it `rate`"),
        (["3", "1"], "before the one above"),
        ([""], "two different times are needed"),
    ],
)
def test_a_wrong_trace_is_one_sentence(tmp_path: Path, lines: list[str], words: str) -> None:
    with pytest.raises(InputError) as caught:
        demand(None, write(tmp_path / "t.csv", *lines), 60)
    assert words in str(caught.value)


def test_a_missing_trace_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="can't be read: No such file"):
        demand(None, tmp_path / "none.csv", 60)


@pytest.mark.parametrize("rate", [0, -5, 1e6 + 1, float("nan"), float("inf")])
def test_a_wrong_rate_is_one_sentence(rate: float) -> None:
    with pytest.raises(InputError, match="--rate must be above 0 and at most 1,000,000"):
        demand(rate, None, 60)


def test_nothing_given_is_one_sentence() -> None:
    with pytest.raises(InputError, match="--rate 5000"):
        demand(None, None, 60)
