"""V21: is a process that is stopped between its turns as good as a fresh one for every turn? (rule 46)

The profile `quick` keeps one process a variant. Here two variants are raced both ways in blocks that alternate, and the
two log-ratios of each pair of blocks are subtracted: the parked way counts as equivalent if the 90 % interval of that
difference lies within the smallest effect that `quick` claims (two one-sided tests).
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np

from accel.analysis.comparison import MIN_EFFECTS
from accel.analysis.estimates import t_interval
from accel.analysis.paired import pairs_of
from accel.analysis.runs import load_runs, of
from accel.demo import onnx_path, samples_path
from accel.plugins import Named
from accel.recipe import Variant
from accel.result import Result, SetUp
from accel.study.folder import StudyFolder
from accel.study.prepare import Prepared
from accel.study.profiles import Profile, profile
from accel.study.racing import Ask, Entrant, Race
from accel.study.standin import folder_of, renamed, stand_in
from tests.validation.experiment import Row

BLOCKS = 12
MEASURED_S = 1.0
DELTA = math.log1p(MIN_EFFECTS["quick"])
_CRITERION = f"90 % interval of the difference within ±{100 * MIN_EFFECTS['quick']:g} %"
LIMIT_S = 900.0
_LEAST = 6


def quick() -> list[Row]:
    """The decision itself, on made-up ratios: the same ones are equivalent, ones 10 % apart are not."""
    rng = np.random.Generator(np.random.PCG64(21))
    parked, fresh = rng.normal(0.1, 0.01, (2, BLOCKS))
    same, apart = equivalent(parked, fresh), equivalent(parked + math.log(1.1), fresh)
    return [
        _row("made-up ratios of one truth", "equivalent", same, same[0]),
        _row("made-up ratios 10 % apart", "not equivalent", apart, not apart[0]),
    ]


def full() -> Iterator[Row]:
    """Two stubs, and the demo's network in two runtimes, for real."""
    yield from quick()
    with tempfile.TemporaryDirectory() as root:
        yield real("two stubs, 2 and 2.2 ms", _stubs(Path(root)))
        yield real("the digits network in ONNX Runtime and OpenVINO", _networks(Path(root)))


def equivalent(parked: Sequence[float], fresh: Sequence[float]) -> tuple[bool, float, float, float]:
    """Whether the two ways agree, with the mean of their differences (ln) and its 90 % interval."""
    mean, low, high = t_interval(np.asarray(parked) - np.asarray(fresh), 0.10)
    return low > -DELTA and high < DELTA, mean, low, high


def real(what: str, ways: tuple[tuple[StudyFolder, list[Entrant]], tuple[StudyFolder, list[Entrant]]]) -> Row:
    """Race both ways, block by block, the one that goes first changing each time."""
    (parked_folder, parked_field), (fresh_folder, fresh_field) = ways
    ask = Ask(target="latency", scenario=Named("single_stream"), batching=Named("single"), duration_s=MEASURED_S)
    results: dict[str, list[Result]] = {"parked": [], "fresh": []}
    with (
        Race(parked_folder, _like(fresh=False), parked_field, [ask], seed=21) as parked,
        Race(fresh_folder, _like(fresh=True), fresh_field, [ask], seed=21) as fresh,
    ):
        for number in range(BLOCKS):
            turns = [("parked", parked), ("fresh", fresh)]
            for name, race in turns if number % 2 else turns[::-1]:
                results[name] += race.block(number)
    ratios = [_ratios(results["parked"], parked_folder), _ratios(results["fresh"], fresh_folder)]
    both = sorted(ratios[0].keys() & ratios[1].keys())
    if len(both) < 3:
        failed = "; ".join(str(error) for race in (parked, fresh) for error in race.failed.values())
        return msgspec.structs.replace(
            _row(what, _CRITERION, (False, 0.0, 0.0, 0.0), False, "real"), measured=f"too few blocks: {failed}"
        )
    found = equivalent([ratios[0][b] for b in both], [ratios[1][b] for b in both])
    return _row(what, _CRITERION, found, found[0], "real", blocks=len(both))


def _ratios(results: list[Result], folder: StudyFolder) -> dict[int, float]:
    """Block -> ln(baseline / candidate) of the medians; disturbed blocks count only where too few others are left."""
    runs, _ = load_runs(results, folder.runs)
    base, other = dict.fromkeys(r.variant.name for r in sorted(results, key=lambda r: r.role))
    raced = [r for r in of(runs, "latency", phase="blocks") if r.result.validity != "invalid"]
    sides = [[r for r in raced if r.result.variant.name == name] for name in (base, other)]
    pairs = pairs_of(*sides, "latency")
    steady = [p for p in pairs if p.stable]
    used = steady if len(steady) >= _LEAST else pairs
    return {p.block: math.log(p.reference / p.candidate) for p in used}


def _like(*, fresh: bool) -> Profile:
    """`quick` with the one difference that is looked at."""
    return msgspec.structs.replace(profile("quick"), fresh=fresh)


def _field(a: Prepared, b: Prepared) -> list[Entrant]:
    return [Entrant(prepared=a, role="baseline"), Entrant(prepared=b)]


def _stubs(root: Path) -> tuple[tuple[StudyFolder, list[Entrant]], tuple[StudyFolder, list[Entrant]]]:
    ways = []
    for way in ("parked", "fresh"):
        folder = folder_of(root / f"stubs-{way}")
        a = stand_in(folder, "a", item_s=0.002)
        ways.append((folder, _field(a, renamed(a, "b", item_s=0.0022))))
    return ways[0], ways[1]


def _networks(root: Path) -> tuple[tuple[StudyFolder, list[Entrant]], tuple[StudyFolder, list[Entrant]]]:
    ways = [(_folder_of_digits(root / f"digits-{way}"), root / f"digits-{way}") for way in ("parked", "fresh")]
    made = [_prepared(root, "onnxruntime"), _prepared(root, "openvino")]
    return (ways[0][0], _field(*made)), (ways[1][0], _field(*made))


def _folder_of_digits(root: Path) -> StudyFolder:
    from accel.samples import materialise

    folder = StudyFolder(root)
    folder.create(resume=False)
    materialise(samples_path(), None, folder.samples, seed=0)
    return folder


def _prepared(root: Path, backend: str) -> Prepared:
    from accel import plugins
    from accel.model import Model, describe

    place = root / backend
    place.mkdir()
    named = plugins.parse("compilation", {"name": backend})
    work = root / f"{backend}-forms"
    work.mkdir()
    source = describe(str(onnx_path()), folder=work)
    plugins.make("compilation", named).build(Model.load(source, work), place)
    variant = Variant(name=backend, backend=named)
    return Prepared(variant=variant, folder=str(place), form="onnx", set_up=SetUp(), artefact_bytes=0)


def _row(
    what: str,
    criterion: str,
    found: tuple[bool, float, float, float],
    passed: bool,
    kind: str = "virtual",
    *,
    blocks: int = BLOCKS,
) -> Row:
    _, mean, low, high = found
    change, ends = math.expm1(mean), (math.expm1(low), math.expm1(high))
    measured = f"parked against fresh {change:+.2%} [{ends[0]:+.2%}, {ends[1]:+.2%}] of {blocks} blocks"
    return Row(
        experiment="V21",
        what=f"one parked process or a fresh one each turn: {what}",
        criterion=criterion,
        measured=measured.replace("%", " %"),
        passed=passed,
        kind="real" if kind == "real" else "virtual",
    )
