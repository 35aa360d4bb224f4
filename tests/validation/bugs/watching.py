"""Bugs of the witnesses, of memory, energy and the check of timed outputs."""

from __future__ import annotations

from tests.validation.planting import Bug, Edit

_NOISE, _MEMORY, _CHECKING = "accel.measurement.noise", "accel.measurement.memory", "accel.measurement.checking"
_STEADY, _CLOCK, _ENERGY = "accel.measurement.steady", "accel.measurement.clock", "accel.measurement.energy"


def _unwatched(witness: str, limits: str, what: str, *red: str) -> Bug:
    """The witness is still recorded, but no value of it is too much."""
    return Bug(
        name=f"{witness} without a limit",
        what=what,
        rule=witness,
        edits=(Edit(_NOISE, f'"{witness}": Limits({limits})', f'"{witness}": Limits(None, None, None)'),),
        red=red or ("V12",),
    )


BUGS: tuple[Bug, ...] = (
    _unwatched("W1", "0.01, 0.03, 0.20", "no limit for processor time that the host took"),
    _unwatched("W2", "0.0, 0.01, None", "no limit for periods that the CPU quota throttled"),
    _unwatched("W3", "0.05, 0.25, None", "no limit for threads that wait for a processor"),
    _unwatched("W5", "None, 0.005, None", "no limit for standing still for memory or disk"),
    _unwatched("W5F", "None, 0.0, None", "no limit for pages read from disk"),
    _unwatched("W6", "0.05, None, None", "no limit for a changing clock rate"),
    _unwatched("W6T", "None, 0.0, None", "no limit for heat that slows the processor"),
    _unwatched("W6G", "None, 0.0, None", "no limit for what slows a GPU"),
    _unwatched("W8", "100.0, None, None", "no limit for a clock that is steered", "V12", "V17"),
    _unwatched("W8S", "None, None, 0.01", "no limit for sleep of the machine", "V12", "V17"),
    _unwatched("W9", "0.5, None, 1.0", "no limit for the lateness of the harness", "V12", "V10", "V14"),
    _unwatched("W10", "0.05, 0.25, None", "no limit for service times that don't settle", "V15", "V12"),
    _unwatched("W13", "None, None, 0.0", "failed requests leave a run valid", "V12", "V16"),
    Bug(
        name="waiting flagged too early",
        what="waiting makes a run unstable from 0.1 % on",
        rule="W3",
        edits=(Edit(_NOISE, '"W3": Limits(0.05, 0.25, None)', '"W3": Limits(0.001, 0.001, None)'),),
        red=("V12",),
    ),
    Bug(
        name="missing is zero",
        what="a source that isn't there reads as zero",
        rule="35",
        edits=(
            Edit(
                _NOISE,
                "found = [witness(name, value, sentence) for name, _, value, sentence in said if value is not None]",
                "found = [witness(name, value or 0.0, sentence) for name, _, value, sentence in said]",
            ),
        ),
        red=("V12",),
    ),
    Bug(
        name="every change is unrest",
        what="levels 0.1 % apart are told apart",
        rule="16, W10",
        edits=(Edit(_STEADY, "SAME = 0.05", "SAME = 0.001"),),
        red=("V15",),
    ),
    Bug(
        name="no change is seen",
        what="levels are never told apart",
        rule="16, W10",
        edits=(Edit(_STEADY, "SAME = 0.05", "SAME = 50.0"),),
        red=("V15",),
    ),
    Bug(
        name="time of day",
        what="times are taken from the clock of the calendar",
        rule="design: CLOCK_MONOTONIC",
        edits=(Edit(_CLOCK, "self.now_ns = time.perf_counter_ns", "self.now_ns = time.time_ns"),),
        red=("V17",),
    ),
    Bug(
        name="inherited peak",
        what="peak memory as of a forked child: ru_maxrss, in which the parent's size stands",
        rule="41",
        edits=(
            Edit(
                _MEMORY,
                'return _kilobytes(read(process / "status"), "VmHWM")',
                "import resource\n\n    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024",
            ),
        ),
        red=("V16",),
    ),
    Bug(
        name="timed outputs not checked",
        what="wrong answers while timing go unnoticed",
        rule="40",
        edits=(Edit(_CHECKING, "mismatched = sum(not e <= limit for e in errors)", "mismatched = 0"),),
        red=("V16",),
    ),
    Bug(
        name="repeated inputs are not repeated",
        what="`same` walks through the pool like `unique`",
        rule="5",
        edits=(Edit("accel.measurement.worker", 'if given.inputs == "same":', "if False:"),),
        red=("V16",),
    ),
    Bug(
        name="wrap read as loss",
        what="an energy counter that wrapped counts backwards",
        rule="42",
        edits=(
            Edit(
                _ENERGY,
                "[b - a if b >= a else b + wraps_at - a for a, b in pairwise(values)]",
                "[b - a for a, b in pairwise(values)]",
            ),
        ),
        red=("V16",),
    ),
    Bug(
        name="energy of a moment",
        what="a window of any length and any number of updates gives joules",
        rule="42",
        edits=(Edit(_ENERGY, "if window_s < LEAST_S or updates < LEAST_UPDATES:", "if False:"),),
        red=("V16",),
    ),
    Bug(
        name="reference and output swapped",
        what="SQNR against the variant's own outputs",
        rule="39",
        edits=(Edit("accel.analysis.outputs", "signal = float(np.sum(r**2))", "signal = float(np.sum(y**2))"),),
        red=("V16",),
    ),
)
