"""What computes in 8 bits, variant by variant: the section of the page, and the same as lines of text."""

from __future__ import annotations

import msgspec

from accel.analysis.conclusion import Conclusion
from accel.result import Numerics, OperatorPrecision
from accel.units import show_bytes

_SHOWN = 6


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One operator type: how many of how many, and what stayed in float with its reason."""

    type: str
    low: str
    left: tuple[str, ...]
    names: str
    kind: str


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """The variants that share one reading of an artefact."""

    names: tuple[str, ...]
    lines: tuple[Line, ...]
    facts: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    source: str


def parts(conclusion: Conclusion) -> tuple[Part, ...]:
    """A part for each reading, in the order of the study; () for a study in which none was made."""
    found: list[tuple[Numerics, list[str]]] = []
    for row in conclusion.rows:
        if row.numerics is None:
            continue
        same = next((names for numerics, names in found if numerics == row.numerics), None)
        if same is None:
            found.append((row.numerics, [row.name]))
        else:
            same.append(row.name)
    return tuple(_part(numerics, names) for numerics, names in found)


def told(numerics: Numerics) -> list[str]:
    """The same as lines of text, for a terminal."""
    lines = [f"in 8 bits: {', '.join(f'{o.type} {o.low} of {o.total}' for o in numerics.operators) or 'nothing'}"]
    for one in numerics.operators:
        lines += [f"left in float: {n} {one.type}: {reason}" for reason, n in one.left.items()]
    lines += [f"{word}: {value}" for word, value in _facts(numerics)]
    return [*lines, *(f"note: {n}" for n in numerics.notes), f"read from: {numerics.source}"]


def _part(numerics: Numerics, names: list[str]) -> Part:
    return Part(
        names=tuple(names),
        lines=tuple(_line(o) for o in numerics.operators),
        facts=_facts(numerics),
        notes=tuple(n[:1].upper() + n[1:] for n in numerics.notes),
        source=numerics.source,
    )


def _line(one: OperatorPrecision) -> Line:
    shown = ", ".join(one.names[:_SHOWN]) + (", …" if sum(one.left.values()) > _SHOWN else "")
    return Line(
        type=one.type,
        low=f"{one.low} of {one.total}",
        left=tuple(f"{n}: {reason}" for reason, n in one.left.items()),
        names=shown,
        kind="none" if one.low == 0 else "some" if one.low < one.total else "",
    )


def _facts(numerics: Numerics) -> tuple[tuple[str, str], ...]:
    facts: list[tuple[str, str]] = []
    if numerics.unfused is not None:
        around = ", ".join(f"{n} before {kind}" for kind, n in numerics.unfused_around.items())
        facts.append(("Q/DQ pairs not fused", f"{numerics.unfused}{f' ({around})' if around else ''}"))
    if numerics.conversions is not None:
        facts.append(("conversions of dtype or layout", str(numerics.conversions)))
    if numerics.between:
        facts.append(("in float behind 8 bits", ", ".join(f"{n} {kind}" for kind, n in numerics.between.items())))
    if numerics.weight_bytes:
        facts.append(("weights", _bytes(numerics.weight_bytes)))
    if numerics.activation_bytes:
        facts.append(("written in a run of one item", _bytes(numerics.activation_bytes)))
    if numerics.islands:
        more = ", …" if len(numerics.islands) > _SHOWN else ""
        facts.append(("float between 8 bits", ", ".join(numerics.islands[:_SHOWN]) + more))
    seen = numerics.calibration
    if seen is not None:
        facts.append(("calibrated on", f"{seen.items} samples{' (too few)' if seen.few else ''}"))
        facts += [("constant in calibration", ", ".join(seen.constant))] if seen.constant else []
        facts += [("range unused", ", ".join(seen.unused[:_SHOWN]))] if seen.unused else []
    return tuple(facts)


def _bytes(sizes: dict[str, int]) -> str:
    return ", ".join(f"{show_bytes(size)} {dtype}" for dtype, size in sizes.items())
