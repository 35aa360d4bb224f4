"""What does a plan take for granted? Sentences that stand under it."""

from __future__ import annotations

from collections.abc import Iterator

from accel.analysis.conclusion import Conclusion
from accel.analysis.fleet import FleetPlan
from accel.analysis.replicas import split_dispersion
from accel.planning.demand import Demand
from accel.units import show_seconds

_BURSTY = 1.2


def notes(
    made: FleetPlan, load: Demand, found: Conclusion, *, headroom: float | None, growth_per_s: float | None
) -> Iterator[str]:
    """Assumptions and their consequences, the weightiest first."""
    fleet = made.chosen
    yield from _capacity(made, found)
    yield from _room(made, load, headroom, growth_per_s)
    if fleet.replicas.count > 1:
        yield (
            "Each replica is a copy of this instance on a machine like this one, behind a balancer that splits "
            "requests at random: a Poisson stream split so stays Poisson; round robin is no worse."
        )
    if not fleet.start_known:
        yield "How long a replica takes to start was not measured, so it counts as 0 s: give --start-seconds."
    elif fleet.replicas.count > 1 or made.scaled is not None:
        yield (
            f"A new replica answers {show_seconds(fleet.scaling.start_s)} after it is ordered; getting a machine and "
            "an image comes on top unless --start-seconds says it."
        )
    yield from _bursts(made)
    if load.scale != 1.0 and load.offsets_s is not None:
        yield f"The recorded rates were multiplied by {load.scale:.4g}; gaps shrink with them, so bursts grow alike."


def _capacity(made: FleetPlan, found: Conclusion) -> Iterator[str]:
    fleet = made.chosen
    row = found.row(fleet.variant)
    flags = row.online.flags if row.online is not None else ()
    if flags:
        yield f"The measured rate of `{fleet.variant}` is marked: {', '.join(flags)}."
    if fleet.capacity.validity != "valid":
        yield f"The measured rate of `{fleet.variant}` is {fleet.capacity.validity}: the machine was disturbed."
    if fleet.capacity.low is None:
        yield "The capacity's interval is open below, so the most replicas that may be needed aren't known."
    if found.record.synthetic:
        yield "Inputs were synthetic: real ones may take longer."


def _room(made: FleetPlan, load: Demand, headroom: float | None, growth_per_s: float | None) -> Iterator[str]:
    scaling = made.chosen.scaling
    delay = show_seconds(scaling.delay_s)
    full = f"{100 * scaling.headroom:.3g} %"
    if headroom is not None:
        yield f"Replicas are planned {full} full, as asked: room for {100 * (1 / headroom - 1):.3g} % more requests."
    elif growth_per_s is not None:
        yield (
            f"Replicas are planned {full} full, 1 / (1 + g D): the rate may grow by {100 * growth_per_s * 60:.3g} % a "
            f"minute for the {delay} until further ones answer."
        )
    elif len(load.rates) > 1:
        yield f"Replicas are planned {full} full: the steepest growth in the trace over the {delay} until more answer."
    else:
        yield f"No room to grow is planned: give --growth or --headroom if the rate can rise within {delay}."


def _bursts(made: FleetPlan) -> Iterator[str]:
    if made.burst is None:
        if made.kind == "rates":
            yield "Between the given rates arrivals are taken as Poisson; record arrival times to plan for bursts."
        return
    split = split_dispersion(made.burst.worst, made.chosen.replicas.count)
    if made.gaps is None:
        yield "The recording is too short (or no trace is left) to simulate its own gaps: arrivals count as Poisson."
    if split > _BURSTY:
        yield (
            f"The arrivals come in bursts: split over {made.chosen.replicas.count} replicas their index of dispersion "
            f"is still {split:.3g} (Poisson: 1)."
        )
