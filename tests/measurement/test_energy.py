"""Energy from recorded counters: wraps, an unknown range, files that may not be read, GPUs, too short windows."""

from __future__ import annotations

from pathlib import Path

import pytest

from accel.measurement import energy
from accel.measurement.energy import Meter, Reading, grown_uj, ranges_uj, reading, total
from accel.measurement.nvml import GpuReading, Nvml
from tests.measurement.nvml_stand_in import StandIn

CAP = "sys/class/powercap"


def package(root: Path, name: str = "intel-rapl:0", uj: str = "5\n", most: str | None = "1000\n") -> Path:
    folder = root / CAP / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "energy_uj").write_text(uj)
    if most is not None:
        (folder / "max_energy_range_uj").write_text(most)
    return folder


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([10, 20, 30], (20, 2)),
        ([10, 10, 10], (0, 0)),
        ([990, 10], (20, 1)),
        ([900, 950, 50, 900, 100], (50 + 100 + 850 + 200, 4)),
        ([5], (0, 0)),
    ],
)
def test_growth_over_no_one_and_two_wraps(values: list[int], expected: tuple[int, int]) -> None:
    assert grown_uj(values, 1000) == expected


def test_packages_are_counted_once_and_only_with_a_known_range(tmp_path: Path) -> None:
    assert ranges_uj(tmp_path) == {}
    package(tmp_path)
    package(tmp_path, "intel-rapl:0:1")
    package(tmp_path, "intel-rapl:1", most=None)
    package(tmp_path, "intel-rapl:2", most="0\n")
    (package(tmp_path, "intel-rapl:3") / "energy_uj").unlink()
    assert ranges_uj(tmp_path) == {"intel-rapl:0": 1000}
    assert reading({"intel-rapl:0": 1000, "intel-rapl:3": 9}, None, tmp_path).rapl_uj == {"intel-rapl:0": 5}


def processor(joules_a_step: float, steps: int = 200, seconds: float = 20.0, wraps_at: int = 10**9) -> list[Reading]:
    step = round(joules_a_step * 1e6)
    times = [round(i * seconds / steps * 1e9) for i in range(steps + 1)]
    return [Reading(at_ns=t, rapl_uj={"p": (i * step) % wraps_at}) for i, t in enumerate(times)]


@pytest.mark.parametrize("wraps_at", [10**9, 150 * 10**6, 90 * 10**6])
def test_the_same_energy_whether_the_counter_wraps_or_not(wraps_at: int) -> None:
    found, doubt = total(processor(1.0, wraps_at=wraps_at), {"p": wraps_at}, requests=400, idle_w=2.0)
    assert found is not None
    assert (found.gross_j, found.window_s, found.source, doubt) == (pytest.approx(200.0), 20.0, "rapl", "")
    assert found.net_j == pytest.approx(160.0)
    assert found.joules_per_request == pytest.approx(0.5)


def test_no_net_without_an_idle_reading_and_nothing_a_request_without_requests() -> None:
    found, _ = total(processor(1.0), {"p": 10**9}, requests=0)
    assert found is not None
    assert (found.net_j, found.idle_w, found.joules_per_request) == (None, None, None)


@pytest.mark.parametrize(
    ("readings", "said"),
    [
        ([], "no counter"),
        (processor(1.0)[:1], "no counter"),
        (processor(1.0, seconds=9.0), "this run had 9.0 s"),
        (processor(1.0, steps=99), "99"),
    ],
)
def test_too_little_is_null(readings: list[Reading], said: str) -> None:
    found, why = total(readings, {"p": 10**9}, requests=1)
    assert found is None
    assert said in why


def test_a_counter_with_a_gap_is_not_counted() -> None:
    readings = processor(1.0)
    readings[7] = Reading(at_ns=readings[7].at_ns, rapl_uj={})
    assert total(readings, {"p": 10**9}, requests=1)[0] is None


def gpu(power_w: float | None, counted_w: float = 50.0) -> list[Reading]:
    power = None if power_w is None else round(power_w * 1e3)
    return [
        Reading(
            at_ns=i * 10**8,
            rapl_uj={},
            gpus=(GpuReading(energy_mj=round(i * counted_w * 100), power_mw=power), GpuReading(power_mw=5)),
        )
        for i in range(201)
    ]


def test_a_gpu_counts_and_its_power_is_the_cross_check() -> None:
    found, doubt = total(gpu(50.0), {}, requests=10)
    assert found is not None
    assert (found.gross_j, found.source, doubt) == (pytest.approx(1000.0), "nvml", "")
    assert total(gpu(54.0), {}, requests=10)[1] == ""
    assert "differ by 20%" in total(gpu(60.0), {}, requests=10)[1]
    assert total(gpu(None), {}, requests=10)[1] == ""


def test_the_meter_reads_while_the_block_runs_and_only_if_there_is_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(energy, "POLL_S", 0.0)
    with Meter(None, tmp_path) as nothing:
        pass
    assert nothing.readings == []
    package(tmp_path)
    with Meter(None, tmp_path, wanted=False) as unwanted:
        pass
    assert unwanted.readings == []
    with Meter(Nvml(StandIn()), tmp_path) as meter:
        while len(meter.readings) < 4:
            continue
    assert meter.readings[0].rapl_uj == {"intel-rapl:0": 5}
    assert meter.readings[-1].gpus[0].energy_mj == 1000
    with Meter(Nvml(StandIn(lacks=("energy",))), tmp_path / "none") as without:
        pass
    assert without.readings == []
