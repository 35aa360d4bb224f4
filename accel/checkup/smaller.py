"""What would let this machine show a smaller difference? More blocks, a quieter machine, steadier processors."""

from __future__ import annotations

from collections.abc import Sequence

from accel.checkup.contest import Against
from accel.checkup.measure import Measured
from accel.checkup.projection import Smallest

_SCATTER = "the scatter between blocks"
_OFTEN = 0.1


def worst(contests: Sequence[Against]) -> dict[str, tuple[Against, Smallest]]:
    """By profile, the contest that limits it: the largest smallest difference over all subjects and targets."""
    found: dict[str, tuple[Against, Smallest]] = {}
    for against in contests:
        for smallest in against.smallest:
            if smallest.profile not in found or smallest.difference > found[smallest.profile][1].difference:
                found[smallest.profile] = (against, smallest)
    return found


def advice(found: Measured) -> list[str]:
    """One sentence a step, the most important first; empty if every profile shows its own least difference."""
    told = [_alarm(a) for a in found.contests if a.false_alarm]
    limits = worst(found.contests)
    told += [_more_blocks(a, s) for a, s in limits.values() if s.cause == _SCATTER]
    if any(s.cause == "the baseline measured twice" for _, s in limits.values()):
        told.append(
            "The baseline measured twice differed by more than a profile's least: other work came and went. Measure "
            "again when it is over, or with more --budget."
        )
    if not told:
        return []
    told += [
        f"{f.id} spoke up in {f.runs} of {f.of} runs ({f.level}), at worst: {f.sentence} Stop what else runs, or use a "
        "machine of your own."
        for f in found.fired
        if f.runs >= _OFTEN * f.of
    ]
    return told + _machine(found)


def _alarm(against: Against) -> str:
    change = f"{abs(against.copy.ratio.value - 1):.1%}".replace("%", " %")
    return (
        f"A byte-identical copy of {against.subject} was called {against.copy.verdict} ({against.target}, {change}): "
        "don't believe small differences measured here now. Stop what else runs and measure again."
    )


def _more_blocks(against: Against, smallest: Smallest) -> str:
    sd = f"{against.scatter.sd_at(smallest.run_s):.1%}".replace("%", " %")
    begin = f"`{smallest.profile}`: {against.subject} ({against.target}) scatters by {sd} between blocks; "
    if smallest.blocks_to_halve is None:
        return begin + "no reasonable number of blocks halves what that hides. Use a quieter machine."
    return begin + f"{smallest.blocks_to_halve} blocks instead of {smallest.blocks} would halve what that hides."


def _machine(found: Measured) -> list[str]:
    machine, told = found.machine, []
    if machine.governor not in (None, "performance"):
        told.append(f"The frequency governor is `{machine.governor}`; `performance` makes times repeat better.")
    if machine.cores >= 4:
        told.append("Pin accel away from everything else, for example with `taskset -c 2,3 accel bench ...`.")
    else:
        told.append(
            f"With {machine.cores} processors nothing can be kept for the measurement alone; one with four or more can "
            "leave some to everything else (`taskset`)."
        )
    if machine.hypervisor is not None:
        told.append("This is a virtual machine: what its host does can't be seen from inside, only its scatter.")
    return told
