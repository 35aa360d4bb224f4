from __future__ import annotations

import itertools
import sys
from pathlib import Path

import pytest

from accel import checkup
from accel.checkup import BackendState, Checkup, Noise
from accel.measurement.machine import Machine, detect
from accel.measurement.nvml import Gpu
from accel.result import Witness


def machine(**changed: object) -> Machine:
    given = {
        "cpu": "A processor",
        "cores": 2,
        "logical_cpus": 8,
        "flags": ("avx2",),
        "memory_bytes": 8_000_000_000,
        "quota_cores": 2.0,
        "kernel": "Linux 6",
        "hypervisor": None,
        "python": "3.11.9",
        "packages": {"onnxruntime": "1.31.1", "numpy": "2.4.6"},
        **changed,
    }
    return Machine(**given)  # type: ignore[arg-type]


QUIET = Noise(seconds=1.0, spread=0.02, witnesses=(), missing=("W2: cpu.stat",))


def found(*, problem: str = "", noise: Noise = QUIET, **changed: object) -> Checkup:
    state = BackendState(name="onnxruntime", runtime="onnxruntime", version="1", problem=problem, get="pip install it")
    return Checkup(machine=machine(**changed), backends=(state,), noise=noise)


def test_every_backend_but_the_null_one_is_looked_at() -> None:
    states = {s.name: s for s in checkup.backends(machine(), lambda package: "")}
    assert "null" not in states
    assert {"onnxruntime", "openvino"} <= set(states)
    assert states["onnxruntime"].version == "1.31.1"
    assert not any(s.problem or s.get for s in states.values() if s.name != "tensorrt")


def test_what_needs_a_gpu_is_listed_and_not_advised_where_there_is_none() -> None:
    states = {s.name: s for s in checkup.backends(machine(), lambda package: "not installed")}
    assert states["tensorrt"].problem == "needs an NVIDIA GPU, and none is visible here"
    assert states["tensorrt"].get == ""
    here = Checkup(machine=machine(), backends=(states["tensorrt"],), noise=QUIET)
    assert not any("tensorrt" in told for told in checkup.advice(here))
    with_gpu = machine(gpus=(Gpu(name="Test GPU"),))
    states = {s.name: s for s in checkup.backends(with_gpu, lambda package: "not installed")}
    assert states["tensorrt"].get.endswith("pip install --force-reinstall onnxruntime-gpu tensorrt")


def test_what_is_missing_says_how_to_get_it() -> None:
    states = {s.name: s for s in checkup.backends(machine(), lambda package: "not installed")}
    assert states["openvino"].get == 'pip install "accel-bench[openvino]"'
    assert states["onnxruntime"].get == "pip install onnxruntime"


def test_a_package_that_breaks_on_import_is_not_called_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "brokenlib.py").write_text("raise OSError('libgone.so: cannot open')\n")
    (tmp_path / "crashinglib.py").write_text("import os\nos.abort()\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert "libgone.so: cannot open" in checkup.import_problem("brokenlib")
    assert checkup.import_problem("crashinglib").startswith("installed, but it can't be imported")
    assert checkup.import_problem("no_such_package") == "not installed"
    assert checkup.import_problem("json") == ""
    assert "brokenlib" not in sys.modules


def test_the_spread_is_that_of_the_slowest_hundredth() -> None:
    """Ninety-eight pieces of 10 ns and two of 30 ns: the 99th percentile is three times the median."""
    times = itertools.chain([0], *_stretches([10] * 98 + [30] * 2), itertools.repeat(10**9))
    assert checkup.listen(0.000_001_5, lambda: next(times)).spread == pytest.approx(2.0)


def _stretches(lengths: list[int]) -> list[list[int]]:
    """What the clock shows: the loop's question, the start and the end of each piece (the first has no question)."""
    shown, now = [], 0
    for number, length in enumerate(lengths):
        shown.append([*([now] if number else []), now, now + length])
        now += length
    return shown


@pytest.mark.parametrize(
    ("flags", "words"),
    [(("avx512_vnni", "avx512f"), ["INT8 can pay", "512-bit or"]), (("avx2",), ["no 8-bit", "no bfloat16"])],
)
def test_flags_are_told_as_what_they_are_good_for(flags: tuple[str, ...], words: list[str]) -> None:
    told = checkup.abilities(machine(flags=flags))
    assert all(any(word in line for line in told) for word in words)


def test_advice_names_each_thing_to_do() -> None:
    steal = Witness(id="W1", value=0.1, warn=0.01, unstable=0.03, invalid=0.2, level="unstable", sentence="Steal 10 %.")
    noisy = Noise(seconds=1.0, spread=0.5, witnesses=(steal,), missing=())
    told = checkup.advice(
        found(problem="not installed", noise=noisy, governor="powersave", memory_bytes=10**9, logical_cpus=2)
    )
    assert [any(word in line for line in told) for word in ("pip install it", "Steal", "50 %", "powersave", "1 GB")]
    assert len(told) == 5
    assert checkup.advice(found(logical_cpus=2)) == []


def test_a_quota_is_advised_on() -> None:
    (told,) = checkup.advice(found())
    assert told == "Give runtimes 2 threads here: 2 of 8 processors: a CPU quota of 2 cores."


def test_this_machine_is_looked_at_for_real() -> None:
    real = Checkup(machine=detect(), backends=(), noise=checkup.listen(0.05))
    assert real.machine.cores >= 1
    assert real.noise.spread >= 0
    assert not real.can_run
