"""V3: how often are identical variants called different? (A/A studies, through the product's reading and verdicts.)

Rules held to it: one number a run (19), stopping on width (21), the smallest effect that counts and the A/A floor (37),
Holm's procedure over several candidates (37), the doubt where the baseline differs from its own repeat (W12).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

import msgspec

from accel.analysis.conclusion import Comparison
from tests.validation import real, virtual
from tests.validation.experiment import Row
from tests.validation.virtual import Weather

STUDIES = 200
REAL = 40
SAME = {"copy": 1.0}
THREE = {"copy": 1.0, "copy 2": 1.0, "copy 3": 1.0}
ROUGH = Weather(run=0.10, block=0.10)
"""Runs that scatter by 10 %, as on a machine that somebody else works on as well."""
MOODS = Weather(process=0.03)
"""Processes that keep 3 % of their own through a session: no order can cancel that, the repeat can only show it."""
_DIFFERENT = ("FASTER", "SLOWER")


def quick() -> list[Row]:
    """All the virtual ones."""
    return list(_virtual())


def full() -> Iterator[Row]:
    """The virtual ones, then short real ones."""
    yield from _virtual()
    yield from _real()


def _virtual() -> Iterator[Row]:
    for profile in ("quick", "shared"):
        yield from _both(f"{STUDIES} studies, profile {profile}", _studies(SAME, Weather(), profile), STUDIES)
    false = _verdicts(_studies(SAME, ROUGH, "shared"))
    yield _row(
        f"{STUDIES} studies, profile shared, runs scattering by 10 %",
        "FASTER or SLOWER in at most 4",
        f"{false}",
        false <= 4,
    )
    false = _verdicts(_studies(THREE, ROUGH, "quick"))
    yield _row(
        f"{STUDIES} studies of three identical candidates, runs scattering by 10 %",
        "FASTER or SLOWER for any of them in at most 4",
        f"{false}",
        false <= 4,
    )
    count = 3 * STUDIES
    false = _verdicts(_studies(SAME, MOODS, "quick", count))
    yield _row(
        f"{count} studies, each process with 3 % of its own through the session",
        "FASTER or SLOWER in at most 12 %, by the doubt that A and A' throw on it",
        f"{false / count:.1%}",
        false <= 0.12 * count,
    )


def _studies(
    candidates: Mapping[str, float], weather: Weather, profile: str, count: int = STUDIES
) -> list[dict[str, Comparison]]:
    return list(virtual.studies(candidates, weather, profile=profile, count=count, seed=3000))


def _verdicts(studies: list[dict[str, Comparison]]) -> int:
    """In how many studies any candidate was called different."""
    return sum(any(c.verdict in _DIFFERENT for c in found.values()) for found in studies)


def _both(what: str, studies: list[dict[str, Comparison]], count: int, kind: str = "virtual") -> Iterator[Row]:
    out = sum(not virtual.holds(c, 1.0) for found in studies for c in found.values())
    false = _verdicts(studies)
    most_out, most_false = (16, 4) if count == STUDIES else (6, 1)
    yield _row(what, f"the 95 % interval excludes 1 in at most {most_out}", f"{out}", out <= most_out, kind)
    yield _row(what, f"FASTER or SLOWER in at most {most_false}", f"{false}", false <= most_false, kind)


def _real() -> Iterator[Row]:
    start = time.monotonic()
    studies = [real.compared(SAME, seed=100 + number) for number in range(REAL)]
    seconds = time.monotonic() - start
    for row in _both(f"{REAL} real races of a stand-in with its copy, 6 blocks", studies, REAL, "real"):
        yield _timed(row, seconds)


def _timed(row: Row, seconds: float) -> Row:
    return msgspec.structs.replace(row, seconds=round(seconds, 1))


def _row(what: str, criterion: str, measured: str, passed: bool, kind: str = "virtual") -> Row:
    return Row(
        experiment="V3",
        what=what,
        criterion=criterion,
        measured=measured,
        passed=passed,
        kind="real" if kind == "real" else "virtual",
    )
