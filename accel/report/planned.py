"""What `accel plan` prints: how many replicas of what, the alternatives, the day, and what was taken for granted."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from typing import Any

import msgspec

from accel.analysis import Estimate
from accel.analysis.fleet import Fleet, FleetPlan
from accel.analysis.policy import said
from accel.analysis.serverless import ServerlessCost
from accel.analysis.wording import ends, half_width, rounded, with_ends
from accel.report.terminal import QUIET, styled
from accel.units import show_seconds

_WIDTH = 80
_HOURS_SHOWN = 24


def text(plan: FleetPlan, width: int = _WIDTH, *, colour: bool | None = None) -> str:
    """The plan for a terminal; colour None: only where standard output is one."""
    from rich.console import Console

    wanted = sys.stdout.isatty() and "NO_COLOR" not in os.environ if colour is None else colour
    console = Console(
        file=io.StringIO(),
        width=width,
        force_terminal=wanted,
        no_color=not wanted,
        highlight=False,
        emoji=False,
        markup=False,
        legacy_windows=False,
        _environ={},
    )
    for part in _parts(plan):
        console.print(part, overflow="fold")
    written: str = console.file.getvalue()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in written.splitlines())


def _parts(plan: FleetPlan) -> Iterator[Any]:
    fleet = plan.chosen
    limit = f"p{100 * plan.slo.p:.6g} ≤ {show_seconds(plan.slo.seconds)}"
    yield styled(f"{_load(plan)} within {limit}", style="bold")
    yield styled("")
    yield styled(f"{_replicas(fleet)} of {fleet.variant}, {said(fleet.policy)}{_instances(fleet)}", style="bold green")
    yield _facts([*_about(plan, fleet)])
    if plan.others or plan.cannot:
        yield styled("")
        yield _table(("variant", "requests/s each", "replicas", "used", "a million"), map(_row, (fleet, *plan.others)))
        for sentence in plan.cannot:
            yield styled(sentence, style=QUIET)
    if plan.hours:
        yield styled("")
        yield from _day(plan)
    yield styled("")
    for note in plan.notes:
        yield styled(f"· {note}", style=QUIET)


def _load(plan: FleetPlan) -> str:
    if plan.kind == "steady":
        return f"{_thousands(plan.rate)} requests/s"
    lasts = show_seconds(plan.duration_s)
    return f"{_thousands(plan.mean)} requests/s on average, {_thousands(plan.rate)} at the peak, over {lasts},"


def _replicas(fleet: Fleet) -> str:
    found = fleet.replicas
    word = "replica" if found.count == 1 else "replicas"
    return f"{found.count:,} {word} [{_range(found.fewest, found.most)}]"


def _instances(fleet: Fleet) -> str:
    return f", {fleet.instances} instances in each" if fleet.instances > 1 else ""


def _range(fewest: int, most: int | None) -> str:
    return f"{fewest:,}–{'?' if most is None else f'{most:,}'}"


def _about(plan: FleetPlan, fleet: Fleet) -> Iterator[tuple[str, str]]:
    level = "" if fleet.capacity.validity == "valid" else f" ({fleet.capacity.validity})"
    yield "each carries", f"{with_ends(fleet.capacity, 'requests/s')}{level}, {fleet.note}"
    yield "used", f"{_percents(fleet.replicas.utilisation)} of that at the peak"
    name = f"p{100 * plan.slo.p:.6g}"
    if fleet.p_quantile_s is not None:
        gone = (
            "" if fleet.with_one_gone_s is None else f"; with one replica gone {_latency(fleet.with_one_gone_s, plan)}"
        )
        yield f"{name} there", f"{_latency(fleet.p_quantile_s, plan)}{gone} (simulated, Poisson arrivals)"
    yield "one fails", _failing(plan, fleet)
    million = with_ends(fleet.per_million, f"{plan.unit} a million predictions")
    yield "cost", f"{million}; {_money(fleet.per_day.value)} a day, called or not"
    if plan.serverless is not None:
        yield "serverless", _by_call(plan.serverless)
    if plan.burst is not None:
        yield "arrivals", _bursts(plan)


def _by_call(paid: ServerlessCost) -> str:
    million = with_ends(paid.per_million, f"price units a million, with {paid.gb:.2g} GB")
    rate = with_ends(paid.from_rate, "requests/s")
    even = (
        f"one replica costs less from {rate} on"
        if paid.carried
        else f"cheaper at any rate one replica carries ({rate})"
    )
    cold = "" if paid.cold_s is None else f"; a cold call waits {show_seconds(paid.cold_s)} and more"
    return f"{million}; {even}{cold}"


def _failing(plan: FleetPlan, fleet: Fleet) -> str:
    delay = show_seconds(fleet.scaling.delay_s)
    if fleet.replicas.count == 1:
        return f"nobody is answered for {delay}: `--spare 1` adds a second"
    if fleet.late_if_lost <= 0:
        return "the rest still carry the peak within the limit"
    return f"{_thousands(fleet.late_if_lost)} requests too many for the rest in the {delay} until it is replaced"


def _latency(estimate: Estimate, plan: FleetPlan) -> str:
    if estimate.low is not None and estimate.low > 4 * plan.slo.seconds:
        return f"far beyond {show_seconds(plan.slo.seconds)}"
    shown = [show_seconds(e) for e in (estimate.value, estimate.low, estimate.high) if e is not None]
    return f"{shown[0]} [{'–'.join(shown[1:])}]"


def _bursts(plan: FleetPlan) -> str:
    burst = plan.burst
    if burst is None:
        return ""
    parts = [f"gaps vary by {burst.cv:.2f} of their mean (Poisson: 1)"]
    parts += [f"index of dispersion {value:.3g} in {show_seconds(window)}" for window, value in burst.dispersion]
    if plan.gaps is not None:
        parts.append(f"their own gaps change the capacity {with_ends(plan.gaps, 'times')}")
    return "; ".join(parts)


def _row(fleet: Fleet) -> tuple[str, ...]:
    return (
        fleet.variant,
        f"{rounded(fleet.capacity.value, half_width(fleet.capacity) or 0.0)} [{ends(fleet.capacity)}]",
        f"{fleet.replicas.count:,} [{_range(fleet.replicas.fewest, fleet.replicas.most)}]",
        f"{100 * fleet.replicas.utilisation.value:.0f} %",
        _money(fleet.per_million.value),
    )


def _day(plan: FleetPlan) -> Iterator[Any]:
    shown = plan.hours[:_HOURS_SHOWN]
    rows = [
        (
            _clock(hour.begin_s),
            _thousands(hour.rate),
            f"{hour.count:,} [{_range(hour.fewest, hour.most)}]",
            f"{100 * hour.utilisation.value:.0f} %",
        )
        for hour in shown
    ]
    yield _table(("from", "peak requests/s", "replicas", "used, on average"), rows)
    if len(plan.hours) > len(shown):
        yield styled(f"and {len(plan.hours) - len(shown)} stretches more (--json has them)", style=QUIET)
    if plan.scaled is None or plan.replica_hours is None:
        return
    always, each, scaled = plan.replica_hours
    yield styled(
        f"Replica-hours: {_money(always)} if the peak's number is always up, {_money(each)} by this timetable, "
        f"{_money(scaled)} autoscaled ({plan.scaled.fewest:,} to {plan.scaled.most:,} replicas)."
    )
    share = plan.scaled.late / plan.scaled.requests if plan.scaled.requests else 0.0
    scaling = plan.chosen.scaling
    yield styled(
        f"Autoscaled, {_thousands(plan.scaled.late)} requests ({100 * share:.2g} %) come beyond what is up: "
        f"replicas arrive {show_seconds(scaling.delay_s)} after a rise and leave {show_seconds(scaling.cool_down_s)} "
        "after a fall."
    )


def _clock(begin_s: float) -> str:
    days, rest = divmod(round(begin_s), 86_400)
    return f"{f'{days} d ' if days else ''}{rest // 3600:02d}:{rest % 3600 // 60:02d}"


def _facts(pairs: list[tuple[str, str]]) -> Any:
    from rich.table import Table

    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in pairs:
        grid.add_row(styled(f"  {name}", style=QUIET), styled(value))
    return grid


def _table(heads: tuple[str, ...], rows: Any) -> Any:
    from rich.table import Table

    grid = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for i, head in enumerate(heads):
        grid.add_column(head, justify="left" if i == 0 else "right", overflow="fold")
    for row in rows:
        grid.add_row(*(styled(cell) for cell in row))
    return grid


def _percents(share: Estimate) -> str:
    low, high = (None if end is None else 100 * end for end in (share.low, share.high))
    return with_ends(msgspec.structs.replace(share, value=100 * share.value, low=low, high=high), "%")


def _thousands(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _money(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
