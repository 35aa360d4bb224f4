"""Bugs of interleaving, comparing and stopping."""

from __future__ import annotations

from tests.validation.planting import Bug, Edit

_COMPARISON, _PAIRED = "accel.analysis.comparison", "accel.analysis.paired"
_STOPPING, _ROUNDS, _GATE = "accel.analysis.stopping", "accel.study.rounds", "accel.analysis.gate"

BUGS: tuple[Bug, ...] = (
    Bug(
        name="sequential order",
        what="entrants run in the same order in every block",
        rule="32",
        edits=(Edit(_ROUNDS, "generator(seed, 3, block).permutation(len(entrants))", "range(len(entrants))"),),
        red=("V13",),
    ),
    Bug(
        name="pooled values",
        what="thirty values of each run are taken as independent",
        rule="19",
        edits=(
            Edit(
                _COMPARISON,
                "return [sign * math.log(p.candidate / p.reference) for p in used], doubt",
                "return [sign * math.log(p.candidate / p.reference) for p in used for _ in range(30)], doubt",
            ),
        ),
        red=("V3",),
    ),
    Bug(
        name="significance stopping",
        what="blocks end as soon as the interval excludes no change",
        rule="21",
        edits=(
            Edit(
                _STOPPING,
                "half_width(steady) <= delta / 2",
                "abs(sum(math.log(p.candidate / p.reference) for p in steady)) / len(steady) > half_width(steady)",
            ),
            Edit(_STOPPING, "len(steady) >= max(least, 3)", "len(steady) >= 3"),
        ),
        red=("V3",),
    ),
    Bug(
        name="unpaired",
        what="a candidate is divided by the baseline of another block",
        rule="37",
        edits=(
            Edit(
                _PAIRED,
                "numbers = [value(run, target, p) for run in sides]",
                "sides[0] = theirs[max(theirs) - block] if max(theirs) - block in theirs else sides[0]\n"
                "        numbers = [value(run, target, p) for run in sides[:2]]",
            ),
        ),
        red=("V4", "V13"),
    ),
    Bug(
        name="any difference counts",
        what="no smallest effect: an interval that excludes 1 is enough",
        rule="37",
        edits=(Edit(_COMPARISON, "return max(math.log1p(min_effect), floor)", "return max(1e-9, floor)"),),
        red=("V3",),
    ),
    Bug(
        name="no A/A floor",
        what="what the baseline differs from itself is not asked",
        rule="37",
        edits=(Edit(_COMPARISON, "return max(math.log1p(min_effect), floor)", "return math.log1p(min_effect)"),),
        red=("V3", "V13"),
    ),
    Bug(
        name="A' not heeded",
        what="verdicts stand although the baseline measured twice differs from itself",
        rule="36, W12",
        edits=(
            Edit(
                _PAIRED,
                "    if not floor.suspicious or low is None or high is None:\n        return found\n",
                "    return found\n",
            ),
        ),
        red=("V3", "V12", "V13"),
    ),
    Bug(
        name="no Holm",
        what="each of several candidates is judged as if it were alone",
        rule="37, Holm",
        edits=(Edit(_COMPARISON, "level = ALPHA / (len(family) - step)", "level = ALPHA"),),
        red=("V3",),
    ),
    Bug(
        name="absence as equality",
        what="what isn't shown to differ is called EQUIVALENT",
        rule="37",
        edits=(Edit(_COMPARISON, "if -delta < ends90[0] and ends90[1] < delta:", "if low <= 0 <= high:"),),
        red=("V3", "V4"),
    ),
    Bug(
        name="wrong direction",
        what="more throughput counts as slower",
        rule="37",
        edits=(
            Edit(
                _COMPARISON,
                'sign = 1.0 if better == "higher" else -1.0\n    used',
                'sign = -1.0 if better == "higher" else 1.0\n    used',
            ),
        ),
        red=("V4",),
    ),
    Bug(
        name="disturbed blocks count",
        what="blocks that a witness flagged are used like the others",
        rule="36",
        edits=(Edit(_COMPARISON, "steady = [p for p in pairs if p.stable]", "steady = list(pairs)"),),
        red=("V4", "V12"),
    ),
    Bug(
        name="gate on the estimate",
        what="the gate fails on the estimate, without its interval",
        rule="issue: the gate",
        edits=(
            Edit(
                _GATE,
                '    if limit.worse == "higher":\n',
                '    low = high = (low + high) / 2\n    if limit.worse == "higher":\n',
            ),
        ),
        red=("V19",),
    ),
)
