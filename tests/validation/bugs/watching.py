"""Bugs of the witnesses, of memory, energy and the check of timed outputs."""

from __future__ import annotations

from tests.validation.planting import Bug, Edit

_NOISE, _MEMORY, _CHECKING = "accel.measurement.noise", "accel.measurement.memory", "accel.measurement.checking"

BUGS: tuple[Bug, ...] = (
    Bug(
        name="steal not watched",
        what="no limit for processor time that the host took",
        rule="W1",
        edits=(Edit(_NOISE, '"W1": Limits(0.01, 0.03, 0.20)', '"W1": Limits(None, None, None)'),),
        red=("V12",),
    ),
    Bug(
        name="throttling not watched",
        what="no limit for periods that the CPU quota throttled",
        rule="W2",
        edits=(Edit(_NOISE, '"W2": Limits(0.0, 0.01, None)', '"W2": Limits(None, None, None)'),),
        red=("V12",),
    ),
    Bug(
        name="waiting not watched",
        what="no limit for threads that wait for a processor",
        rule="W3",
        edits=(Edit(_NOISE, '"W3": Limits(0.05, 0.25, None)', '"W3": Limits(None, None, None)'),),
        red=("V12",),
    ),
    Bug(
        name="waiting flagged at 5 %",
        what="waiting makes a run unstable from 5 % on, as the specification starts with",
        rule="W3",
        edits=(Edit(_NOISE, '"W3": Limits(0.05, 0.25, None)', '"W3": Limits(0.001, 0.001, None)'),),
        red=("V12",),
    ),
    Bug(
        name="stalls not watched",
        what="no limit for standing still for memory or disk",
        rule="W5",
        edits=(Edit(_NOISE, '"W5": Limits(None, 0.005, None)', '"W5": Limits(None, None, None)'),),
        red=("V12",),
    ),
    Bug(
        name="lateness not watched",
        what="no limit for the lateness of the harness",
        rule="W9",
        edits=(Edit(_NOISE, '"W9": Limits(0.5, None, 1.0)', '"W9": Limits(0.5, None, None)'),),
        red=("V10", "V12", "V14"),
    ),
    Bug(
        name="errors not watched",
        what="failed requests leave a run valid",
        rule="W13",
        edits=(Edit(_NOISE, '"W13": Limits(None, None, 0.0)', '"W13": Limits(None, None, None)'),),
        red=("V12", "V16"),
    ),
    Bug(
        name="missing is zero",
        what="a source that isn't there reads as zero",
        rule="35",
        edits=(
            Edit(
                _NOISE,
                '            missing.append(f"{name}: {source}")\n',
                "            found.append(witness(name, 0.0, sentence))\n",
            ),
        ),
        red=("V12",),
    ),
    Bug(
        name="peak since the parent",
        what="peak memory is ru_maxrss, which starts at the parent's size",
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
)
