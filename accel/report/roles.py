"""Batch against online, as plain values: what each winner gives as a job and as a service, and what that costs."""

from __future__ import annotations

import msgspec

from accel.analysis import Estimate
from accel.analysis.conclusion import Conclusion
from accel.analysis.cost import CostLine
from accel.analysis.roles import Role, Roles
from accel.analysis.wording import includes_zero
from accel.report import words
from accel.report.everything import Cell
from accel.units import show_seconds

_ABOVE = ("utilisation",)
"""Lines of a cost table that the first table shows already and no other line speaks of."""
_EMPTY = Cell(value=words.NOTHING)


class RoleLine(msgspec.Struct, frozen=True, kw_only=True):
    """One winner in both roles. won: in which ("batch", "online", "both"); missing: what there is no evidence for, as
    far as it isn't said already.
    """

    name: str
    won: str
    batch: tuple[Cell, ...]
    online: tuple[Cell, ...]
    missing: tuple[str, ...]


class Priced(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the cost table: its label and note, and a cell for each variant."""

    label: str
    note: str
    cells: tuple[Cell, ...]


class Versus(msgspec.Struct, frozen=True, kw_only=True):
    """The section of the page. said: which variant wins where, and why they differ, a sentence each.

    batch, online: headings with their explanations, of the cells of each line. priced: the cost table, one column for
    each of `variants`; basis: what its unit is.
    """

    limit: str
    said: tuple[str, ...]
    batch: tuple[tuple[str, str], ...]
    online: tuple[tuple[str, str], ...]
    lines: tuple[RoleLine, ...]
    variants: tuple[str, ...]
    priced: tuple[Priced, ...]
    basis: str


def versus(conclusion: Conclusion) -> Versus | None:
    """The section, or None where the study has no answer for either role."""
    roles = conclusion.roles
    if roles is None or not (roles.batch or roles.online):
        return None
    chosen = winners(roles)
    return Versus(
        limit=words.slo(conclusion.record),
        said=roles.why,
        batch=_batch_columns(roles),
        online=_online_columns(roles),
        lines=tuple(_line(name, role, won, roles) for name, (role, won) in chosen.items()),
        variants=tuple(name for name, (role, _) in chosen.items() if role.cost is not None),
        priced=_priced([role for role, _ in chosen.values() if role.cost is not None]),
        basis=_basis([role for role, _ in chosen.values()]),
    )


def winners(roles: Roles) -> dict[str, tuple[Role, str]]:
    """Name -> (its role, where it won: "batch", "online" or "both"); the batch winner first, each variant once."""
    found: dict[str, tuple[Role, str]] = {}
    for role in (roles.batch, roles.online):
        if role is not None:
            won = "both" if role.variant in found else role.target
            found[role.variant] = (found[role.variant][0] if won == "both" else role, won)
    return found


def _batch_columns(roles: Roles) -> tuple[tuple[str, str], ...]:
    return (
        ("best size", "the batch size with the most items a second"),
        ("items/s", "batch mode: everything is there at the start"),
        (items_word(roles.items), "on one instance, its start included"),
    )


def _online_columns(roles: Roles) -> tuple[tuple[str, str], ...]:
    percentile = words.percentile(roles.slo_p)
    return (
        ("requests/s", f"within {percentile} ≤ {show_seconds(roles.slo_s)}" if roles.slo_s else "within the limit"),
        (f"p50 / {percentile} there", "latency from schedule at that rate"),
        ("busy there", "share of time in which the workers ran a batch at that rate"),
        ("the SLO costs", "1 - requests/s ÷ items/s of the same variant"),
        ("start-up", "from a fresh process to the first answer"),
    )


def items_word(items: int) -> str:
    """How many items, as one says it.

    >>> items_word(1_000_000), items_word(20_000)
    ('1 million items', '20,000 items')
    """
    millions = items / 1_000_000
    return f"{millions:g} million items" if items >= 1_000_000 and millions == int(millions) else f"{items:,} items"


def _line(name: str, role: Role, won: str, roles: Roles) -> RoleLine:
    copies = f"{role.instances} instances" if role.instances > 1 else ""
    return RoleLine(
        name=name,
        won=won,
        batch=(
            Cell(value=str(role.batch_size), small=(copies,) if copies else ()) if role.batch_size else _EMPTY,
            number(role.items),
            seconds(role.job_s),
        ),
        online=(
            _with(number(role.rate), words.policy(role.policy) if role.policy else ""),
            _latency(role),
            share(role.utilisation),
            price(role.slo_cost),
            Cell(value=words.seconds_or_dash(role.start_s)),
        ),
        missing=tuple(text for text in role.missing if text not in roles.why),
    )


def number(estimate: Estimate | None) -> Cell:
    """A number above its interval; a dash where there is none."""
    value, doubt = words.value_of(estimate), words.doubt(estimate)
    if value == words.NOTHING:
        return _EMPTY
    small = tuple(filter(None, (words.ends_of(estimate), doubt)))
    return Cell(value=value, small=small, kind="unsure" if doubt else "")


def share(estimate: Estimate | None) -> Cell:
    """A share as per cent above its interval.

    >>> share(Estimate(value=0.41, low=0.38, high=0.44, n=6, unit="", method="")).value
    '41 %'
    """
    value = words.value_of(estimate, 0.01)
    if estimate is None or value == words.NOTHING:
        return _EMPTY
    return Cell(value=f"{value} %", small=tuple(filter(None, (words.ends_of(estimate, 0.01), words.doubt(estimate)))))


def price(estimate: Estimate | None) -> Cell:
    """A share that the limit costs; in words where the interval leaves open whether it costs anything.

    >>> price(Estimate(value=0.2, low=-3.3, high=0.8, n=6, unit="", method="")).value
    'not shown'
    """
    if includes_zero(estimate):
        return Cell(value="not shown", kind="unsure")
    return share(estimate)


def seconds(estimate: Estimate | None) -> Cell:
    """A duration above its interval, each in the unit that suits; a dash without an interval."""
    if estimate is None or words.half_width(estimate) is None:
        return _EMPTY
    low, high = (words.NOTHING if end is None else show_seconds(end) for end in (estimate.low, estimate.high))
    return Cell(value=show_seconds(estimate.value), small=(f"{low} to {high}".replace(words.NOTHING, "?"),))


def _latency(role: Role) -> Cell:
    """Median and the SLO's percentile in one unit; without a median the percentile alone."""
    known = [e for e in (role.p50_s, role.p99_s) if e is not None and words.half_width(e) is not None]
    if role.p99_s is None or role.p99_s not in known:
        return _EMPTY
    scale, unit = words.latency_scale(max(e.value for e in known))
    both = " / ".join(words.value_of(e, scale) for e in known)
    return Cell(value=f"{both} {unit}", small=tuple(words.ends_of(e, scale) for e in known))


def _with(cell: Cell, more: str) -> Cell:
    return msgspec.structs.replace(cell, small=(*cell.small, more)) if more and cell.value != words.NOTHING else cell


def _priced(roles: list[Role]) -> tuple[Priced, ...]:
    """A line for each kind of cost that any of the variants has, in the order of the first that has it."""
    tables = [role.cost for role in roles if role.cost is not None]
    found: dict[str, CostLine] = {}
    for table in tables:
        for line in table.lines:
            if line.key in _ABOVE:
                continue
            if line.key not in found or (found[line.key].value is None and line.value is not None):
                found[line.key] = line
    return tuple(
        Priced(
            label=line.label,
            note=line.note,
            cells=tuple(_cost(table.line(key)) for table in tables),
        )
        for key, line in found.items()
    )


def _cost(line: CostLine | None) -> Cell:
    if line is None or line.value is None:
        return _EMPTY
    if line.key == "start_s":  # a single reading, as set-up times are everywhere
        return Cell(value=show_seconds(line.value.value))
    return measured(line.value)


def measured(estimate: Estimate) -> Cell:
    """A value in the way its unit asks for: a duration, a share, a rate, money or instance-seconds."""
    if estimate.unit == "s":
        return seconds(estimate)
    if estimate.unit in ("", "1", "share"):
        return share(estimate)
    cell = number(estimate)
    per = {"1/s": "/s", "1/day": " a day"}.get(estimate.unit, "")
    return msgspec.structs.replace(cell, value=f"{cell.value}{per}") if cell.value != words.NOTHING else cell


def _basis(roles: list[Role]) -> str:
    table = next((role.cost for role in roles if role.cost is not None), None)
    if table is None:
        return ""
    if table.price_per_h is None:
        return "In instance-seconds of this machine; with `--price` an hour they become money."
    return f"At {table.price_per_h:g} per instance-hour, as given by `--price`; in that currency."
