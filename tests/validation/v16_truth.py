"""V16: memory that a big parent doesn't add to, energy over wraps, errors of the right size, and engines that cheat."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from accel import plugins
from accel.analysis.comparison import MIN_EFFECTS
from accel.analysis.outputs import Distances
from accel.measurement import energy
from accel.measurement.trace import Trace
from accel.plugins import Named
from accel.recipe import Variant
from accel.result import Result, SetUp
from accel.study.folder import StudyFolder
from accel.study.live import Live, Turn
from accel.study.prepare import Prepared
from accel.study.profiles import profile
from accel.study.standin import folder_of
from tests.validation import engines
from tests.validation.experiment import Row

PARENT_MB, CHILD_MB = 1024, 256
PARENT_MB_QUICK, CHILD_MB_QUICK = 512, 64
SECONDS, SECONDS_QUICK = 2.0, 0.3
CHECK_LIMIT = 1e-3
Kind = Literal["virtual", "real"]


def quick() -> list[Row]:
    return list(rows(PARENT_MB_QUICK, CHILD_MB_QUICK, SECONDS_QUICK))


def full() -> Iterator[Row]:
    yield from rows(PARENT_MB, CHILD_MB, SECONDS)


def rows(parent_mb: int, child_mb: int, seconds: float) -> Iterator[Row]:
    yield from counters()
    yield from noise_ratios()
    with tempfile.TemporaryDirectory() as root:
        folder = folder_of(Path(root) / "study")
        yield memory(folder, parent_mb, child_mb, seconds)
        yield from caching(folder, seconds)
        yield from cheating(folder, seconds)


def run(
    folder: StudyFolder,
    name: str,
    engine: Any,
    seconds: float,
    *,
    inputs: Literal["unique", "same"] = "unique",
    reference: Path | None = None,
) -> Result:
    """One single_stream run of an engine in a measure child of its own."""
    with live(folder, name, engine) as opened:
        turn = Turn(
            run_id=f"{name}-{inputs}",
            phase="measure",
            target="latency",
            scenario=Named("single_stream"),
            batching=Named("single"),
            duration_s=seconds,
            trial=0,
            inputs=inputs,
            warmup_s=0.1,
        )
        return opened.run(turn, reference=reference, check_limit=CHECK_LIMIT, common=_result)


def live(folder: StudyFolder, name: str, engine: Any) -> Live:
    place = folder.artefacts / name
    engines.artefact(place, engine)
    variant = Variant(name=name, backend=plugins.parse("compilation", {"name": "callable"}))
    made = Prepared(variant=variant, folder=str(place), form="callable", set_up=SetUp(), artefact_bytes=0)
    return Live(made, folder, profile("quick"), seed=1, tag="v16")


def _result(fields: dict[str, Any]) -> Result:
    return Result(study_id="v16", **fields)


def memory(folder: StudyFolder, parent_mb: int, child_mb: int, seconds: float) -> Row:
    """The same child once without and once with the memory it takes, started by a process that holds `parent_mb`."""
    began = time.perf_counter()
    held = np.ones(parent_mb * 131_072)
    peaks: list[int] = []
    for megabytes in (0, child_mb):
        found = run(folder, f"holds-{megabytes}", engines.Growing(megabytes), seconds).memory
        if found is not None and found.peak_run_bytes is not None:
            peaks.append(found.peak_run_bytes)
    del held
    what = f"child that takes {child_mb} MiB under a parent that holds {parent_mb} MiB"
    criterion = f"peak within 2 % of {child_mb} MiB + its baseline, the parent's not in it"
    if len(peaks) < 2:
        return Row(
            experiment="V16",
            what=what,
            criterion=criterion,
            measured="",
            passed=True,
            kind="real",
            not_run="this system doesn't tell the peak of a process (VmHWM)",
        )
    base, peak = (p / 2**20 for p in peaks)
    return Row(
        experiment="V16",
        what=what,
        criterion=criterion,
        measured=f"baseline {base:.1f} MiB, peak {peak:.1f} MiB: {peak - base:.1f} MiB taken",
        passed=abs(peak - base - child_mb) <= 0.02 * (child_mb + base) and base < parent_mb,
        kind="real",
        seconds=time.perf_counter() - began,
    )


def counters() -> Iterator[Row]:
    """A recorded counter of 2 J every 0.1 s for 20 s: 400 J, whether it wraps or not; null where it can't be known."""
    for wraps, most in enumerate((10**9, 250 * 10**6, 150 * 10**6)):
        found, _ = _recorded(most)
        got = None if found is None else found.gross_j
        yield _virtual(
            f"energy counter that wraps {wraps} times in 20 s",
            "400 J",
            f"{got} J",
            got is not None and abs(got - 400) < 1e-6,
        )
    nothing = {
        "range unknown": _recorded(None)[0],
        "no permission": _recorded(10**9, readable=False)[0],
        "window of 5 s": _recorded(10**9, steps=50)[0],
        "20 updates": _recorded(10**9, every=10)[0],
        "no counter": energy.total([], {}, requests=1)[0],
    }
    told = [name for name, value in nothing.items() if value is not None]
    yield _virtual(
        f"energy where it can't be known: {', '.join(nothing)}", "null", f"a number for: {told or 'none'}", not told
    )


def _recorded(most: int | None, *, readable: bool = True, steps: int = 200, every: int = 1) -> tuple[Any, str]:
    """Files as /sys/class/powercap has them, read by the product step by step."""
    with tempfile.TemporaryDirectory() as root:
        package = Path(root) / "sys/class/powercap/intel-rapl:0"
        package.mkdir(parents=True)
        if most is not None:
            (package / "max_energy_range_uj").write_text(f"{most}\n")
        counter = package / "energy_uj"
        counter.write_text("7\n")
        if not readable:
            counter.unlink()
        packages = energy.ranges_uj(Path(root))
        readings = []
        for i in range(steps + 1):
            if readable:
                counter.write_text(f"{(7 + i // every * every * 2_000_000) % (most or 10**12)}\n")
            one = energy.reading(packages, None, Path(root))
            readings.append(energy.Reading(at_ns=i * 100_000_000, rapl_uj=one.rapl_uj))
        return energy.total(readings, packages, requests=100)


def noise_ratios() -> Iterator[Row]:
    """y = r (1 + e), e normal with deviation s: SQNR is -20 log10 s; with reference and output swapped it is not."""
    rng = np.random.default_rng(5)
    worst, swapped = 0.0, math.inf
    for s in (0.001, 0.01, 0.1, 0.5):
        r = rng.normal(size=(1, 100_000))
        y = r * (1.0 + s * rng.normal(size=r.shape))
        right = -20.0 * math.log10(s)
        worst = max(worst, abs(float(Distances({"y": y}, {"y": r}).sqnr_db[0]) - right))
        if s == 0.5:
            swapped = abs(float(Distances({"y": r}, {"y": y}).sqnr_db[0]) - right)
    yield _virtual("SQNR of y = r (1 + e), s = 0.001 to 0.5", "within 0.2 dB", f"off by {worst:.3f} dB", worst <= 0.2)
    yield _virtual("the same with its arguments swapped", "off by > 0.2 dB", f"off by {swapped:.2f} dB", swapped > 0.2)


def caching(folder: StudyFolder, seconds: float) -> Iterator[Row]:
    """Repeated inputs beside the pool's: an engine that remembers is faster on the same, an honest one isn't."""
    limit = 3.0 * math.log1p(MIN_EFFECTS["quick"])
    for name, engine, caches in (("an honest", engines.Honest(), False), ("a caching", engines.Caching(), True)):
        began = time.perf_counter()
        medians = []
        for inputs in ("unique", "same"):
            result = run(folder, name.split()[1], engine, seconds, inputs=inputs)
            assert result.trace is not None
            medians.append(float(np.median(Trace.load(folder.runs / result.trace).counted().ok().service_ns)))
        gain = math.log(medians[0] / medians[1])
        yield Row(
            experiment="V16",
            what=f"{name} engine, one input over and over against inputs that differ",
            criterion=f"ln ratio {'>' if caches else '<='} 3 delta = {limit:.3f}",
            measured=f"{gain:.3f}",
            passed=(gain > limit) is caches,
            kind="real",
            seconds=time.perf_counter() - began,
        )


def cheating(folder: StudyFolder, seconds: float) -> Iterator[Row]:
    """Timed outputs held against the reference (rule 40): errors, other people's answers, and none."""
    reference = folder.root / "reference.npz"
    with live(folder, "truth", engines.Honest(0.0)) as opened:
        opened.answer(list(range(256)), 1, reference, timeout_s=60)
    cases: tuple[tuple[str, Any, bool], ...] = (
        ("an honest engine", engines.Honest(), False),
        ("an engine that is 2 % off once it is warm", engines.Careless(20), True),
        ("an engine that gives each the answer of the one before", engines.Stale(), True),
    )
    for i, (what, engine, wrong) in enumerate(cases):
        began = time.perf_counter()
        result = run(folder, f"answers-{i}", engine, seconds, reference=reference)
        check = result.check
        seen = check is not None and check.mismatched > 0 and result.validity == "invalid"
        yield Row(
            experiment="V16",
            what=what,
            criterion="its run is invalid" if wrong else "no mismatch",
            measured="not checked" if check is None else f"{check.mismatched} of {check.checked} mismatched",
            passed=check is not None and check.checked > 0 and seen is wrong and (wrong or not check.mismatched),
            kind="real",
            seconds=time.perf_counter() - began,
        )


def _virtual(what: str, criterion: str, measured: str, passed: bool) -> Row:
    return Row(experiment="V16", what=what, criterion=criterion, measured=measured, passed=passed, kind="virtual")
