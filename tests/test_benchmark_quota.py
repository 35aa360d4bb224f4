"""The experiment with less processor: groups are made and removed, ratios and verdicts follow from the runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from benchmarks.batching.rows import Where
from benchmarks.compression.rows import write
from benchmarks.hardware import alone, limits, quota_part
from benchmarks.hardware.limits import Limit, limited
from benchmarks.hardware.rows import Limited, Pair, Quota, Under
from benchmarks.knobs import page

WHERE = Where(cpu="A processor", cores=2, env_id="0123", unix_s=1_700_000_000)
GROUPS = pytest.mark.skipif(limits.groups() is None, reason="no control group with a quota can be made here")


def runs(speed: float, roles: tuple[str, ...], *, blocks: int = 5, held: int | None = None) -> tuple[Under, ...]:
    """100 items/s at speed 1, on a machine that slows down by 3 % a block for everybody."""
    found: list[Under] = []
    for block in range(blocks):
        pace = speed / 1.03**block * (1.001 if block % 2 else 0.999)
        common = {"target": "batch", "block": block, "value": 100 * pace, "level": "valid", "cpu_s": 1.0, "held": held}
        times = {"one_rate": 50 * pace, "one_p50_s": 0.02 / pace, "one_p99_s": 0.05 / pace}
        periods = None if held is None else 40
        found += [Under(role=role, periods=periods, **common, **times) for role in roles]  # type: ignore[arg-type]
    return tuple(found)


def pair(speed: float, *, blocks: int = 5) -> Pair:
    settings = {"accel": {"threads": "1"}, "own": {"threads": "2"}}
    ours = runs(speed, ("baseline", "repeat"), blocks=blocks, held=2)
    return Pair(
        runtime="openvino", ours=ours, theirs=runs(1.0, ("candidate",), blocks=blocks, held=30), settings=settings
    )


def record(*pairs: Pair) -> Quota:
    limit = Limited(name="quota-1", words="a CPU quota of 1 core", says="1 of 2 processors", pairs=pairs)
    return Quota(model="minilm", random_weights=True, where=WHERE, limits=(limit,))


def test_ratios_are_paired_by_block() -> None:
    found = quota_part.ratio(pair(1.25), lambda run: run.one_rate)
    assert found is not None
    assert found[0] == pytest.approx(1.25)
    assert found[1] == pytest.approx(1.25, rel=0.01)
    assert quota_part.ratio(pair(1.25, blocks=2), lambda run: run.one_rate) is None


@pytest.mark.parametrize(
    ("speed", "blocks", "says"),
    [
        (1.25, 5, "is at least 0.95: holds (the lowest is 1.25)"),
        (0.5, 5, "**doesn't hold** (0.50)"),
        (0.95, 5, "isn't settled: the lowest is 0.95"),
        (1.25, 2, "isn't settled: too few blocks"),
    ],
)
def test_what_was_wanted_is_said_to_hold_or_not(speed: float, blocks: int, says: str, tmp_path: Path) -> None:
    write(record(pair(speed, blocks=blocks)), "quota-minilm", tmp_path)
    text = page.markdown(tmp_path)
    assert says in text
    assert 'accel says: "1 of 2 processors".' in text
    assert "| OpenVINO | 1, 2 |" in text
    assert "5 %, 75 %" in text


def test_a_loop_counts_what_it_ran() -> None:
    calls: list[int] = []
    listed = [{"x": np.zeros((4, 2))}] * 3
    found = alone.timed(lambda batch: calls.append(len(batch["x"])), listed, 0.0)
    assert set(calls) == {4}
    assert found["calls"] == 5
    assert 0 < found["p50_s"] <= found["p99_s"]


@GROUPS
def test_a_process_in_a_group_knows_its_quota_and_what_it_was_held_up() -> None:
    """It burns 20 ms of processor time under 2 ms each 100 ms, so that it is held up on however busy a machine."""
    with limited(0.02) as limit:
        group = Path(limit.group)
        assert group.is_dir()
        code = (
            "import sys, time, msgspec\n"
            "from accel.measurement import cgroup, noise\n"
            "from accel.measurement.snapshot import snapshot\n"
            "from benchmarks.hardware.limits import Limit\n"
            "msgspec.json.decode(sys.argv[1], type=Limit).join()\n"
            "before, end = snapshot(), time.process_time() + 0.02\n"
            "while time.process_time() < end: pass\n"
            "held = next(w for w in noise.judge(before, snapshot())[0] if w.id == 'W2')\n"
            "print(cgroup.usable_cores(), cgroup.quota_cores(), held.level)\n"
        )
        told = msgspec.json.encode(limit).decode()
        root = Path(__file__).parents[1]
        done = subprocess.run(
            [sys.executable, "-c", code, told], capture_output=True, text=True, timeout=120, check=True, cwd=root
        )
        assert done.stdout.split() == ["1", "0.02", "unstable"]
    assert not group.exists()


def test_without_groups_there_is_the_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "groups", lambda: None)
    with limited(1.0) as limit:
        assert limit.cpus == (min(os.sched_getaffinity(0)),)
        assert limit.words == "affinity to 1 of the processors"
    assert limits.groups() is None


def test_where_no_group_can_be_made_none_is_offered(tmp_path: Path) -> None:
    (tmp_path / "sys/fs/cgroup/cpu").mkdir(parents=True)
    assert limits.groups(tmp_path) is None
    assert Limit(name="q", cores=0.5).words == "a CPU quota of 0.5 cores"
