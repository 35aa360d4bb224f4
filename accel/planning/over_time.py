"""Replicas over a day: by timetable, and as an autoscaler would have them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import msgspec

from accel.analysis.cost import HOUR_S
from accel.analysis.fleet import FleetPlan, hours, replica_hours
from accel.analysis.replicas import autoscaled
from accel.planning.demand import Demand

_STRETCHES_S = (60.0, 300.0, 900.0)
_MOST_STRETCHES = 20
"""A load that changes is planned by the hour, one of less than five hours by shorter stretches."""

Plan = TypeVar("Plan", bound=FleetPlan)


def over_time(made: Plan, load: Demand) -> Plan:
    """With stretches and an autoscaler, where the load changes."""
    if len(load.rates) < 2:
        return made
    rates: Sequence[float] = load.rates.tolist()
    fleet = made.chosen
    hour_s = max(load.window_s, next((s for s in _STRETCHES_S if load.duration_s / s <= _MOST_STRETCHES), HOUR_S))
    stretches = hours(rates, load.window_s, hour_s, fleet.capacity, fleet.scaling)
    scaled = autoscaled(rates, fleet.capacity.value, fleet.scaling)
    always, each = replica_hours(stretches, rates, load.window_s, hour_s)
    return msgspec.structs.replace(
        made,
        hours=tuple(stretches),
        hour_s=hour_s,
        scaled=scaled,
        replica_hours=(always, each, scaled.replica_hours),
    )
