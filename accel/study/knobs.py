"""Which settings of its backend may make a variant better? `defaults/knobs.toml` (data), less what doesn't suit this
variant, model and machine.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from functools import cache
from typing import Any, Literal

import msgspec

from accel import plugins
from accel.compilation import on_gpu
from accel.measurement.machine import Machine
from accel.model.types import Facts
from accel.plugins import Named
from accel.recipe import Variant
from accel.study.cache import shaping_fields
from accel.study.defaults import FOLDER

Goal = Literal["batch", "online", "memory"]
NEEDS = ("cores", "smt", "bf16", "time")
WORDS = ("one", "half", "physical", "all")
_OF_THREADS = {"threads", "inter_threads", "spinning", "stop_spinning"}
_LONGEST_NAME = 120


class Knob(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry of the file; see its head for the meaning of the fields."""

    name: str
    fields: dict[str, Any]
    helps: tuple[Goal, ...]
    needs: tuple[str, ...] = ()
    own: bool = False


class Turned(msgspec.Struct, frozen=True, kw_only=True):
    """A variant with other settings than its parent.

    suffix: what its name ends with. fields: what was set. shares: it opens its parent's artefact. own: its outputs are
    its own, to be scored; else they are its parent's.
    """

    variant: Variant
    parent: str
    suffix: str
    fields: dict[str, Any]
    helps: tuple[Goal, ...]
    shares: bool
    own: bool


@cache
def knobs() -> dict[str, tuple[Knob, ...]]:
    """The whole file: backend -> its knobs in their order."""
    with (FOLDER / "knobs.toml").open("rb") as file:
        data = tomllib.load(file)
    return {backend: msgspec.convert(tuple(entries), tuple[Knob, ...]) for backend, entries in data.items()}


def turned(
    parent: Variant, facts: Facts, machine: Machine, goals: tuple[Goal, ...], *, quick: bool = False
) -> list[Turned]:
    """The parent with each knob that may help one of `goals`, the most promising first.

    None where several instances share the cores, or where the parent itself was asked for with the field set.
    """
    if parent.instances > 1:
        return []
    found: list[Turned] = []
    for knob in knobs().get(parent.backend.name, ()):
        if not set(knob.helps) & set(goals) or not _suits(knob, facts, machine, quick=quick):
            continue
        fields = {name: _number(value, machine) for name, value in knob.fields.items()}
        one = _with(parent, knob.name.format(**fields), fields, knob.helps, own=knob.own)
        if one is not None and all(other.variant.backend != one.variant.backend for other in found):
            found.append(one)
    return found


def together(parent: Variant, first: Turned, second: Turned) -> Turned | None:
    """Two knobs of one parent at once; None where they set the same field."""
    if first.fields.keys() & second.fields.keys():
        return None
    helps = tuple(goal for goal in first.helps if goal in second.helps) or first.helps
    return _with(
        parent,
        f"{first.suffix}-{second.suffix}",
        {**first.fields, **second.fields},
        helps,
        own=first.own or second.own,
    )


def _with(parent: Variant, suffix: str, fields: dict[str, Any], helps: tuple[Goal, ...], *, own: bool) -> Turned | None:
    """None where the name would be too long, or the parent sets a field or has that value already, or computes on a
    GPU, which the processor's threads don't speed up.
    """
    plain = plugins.make("compilation", parent.backend)
    if on_gpu(plain) and fields.keys() & _OF_THREADS:
        return None
    name = f"{parent.name}-{suffix}"
    same = all(getattr(plain, field, value) == value for field, value in fields.items())
    if same or fields.keys() & parent.backend.fields.keys() or len(name) > _LONGEST_NAME:
        return None
    backend = Named(parent.backend.name, {**parent.backend.fields, **fields})
    shares = shaping_fields(backend) == shaping_fields(parent.backend)
    variant = msgspec.structs.replace(parent, name=name, backend=backend, trap="")
    return Turned(
        variant=variant,
        parent=parent.name,
        suffix=suffix,
        fields=fields,
        helps=helps,
        shares=shares,
        own=own or not shares,
    )


def _suits(knob: Knob, facts: Facts, machine: Machine, *, quick: bool) -> bool:
    """True if machine, model and profile are as the knob needs them; of several kinds of model, any will do."""
    has = {
        "cores": machine.cores >= 2,
        "smt": machine.physical_cores < machine.cores,
        "bf16": machine.has_bf16,
        "time": not quick,
    }
    kinds = [need for need in knob.needs if need not in has]
    return all(has[need] for need in knob.needs if need in has) and (not kinds or facts.kind in kinds)


def _number(value: Any, machine: Machine) -> Any:
    """Words for numbers of cores; anything else stays what it is."""
    words = {
        "one": 1,
        "half": max(1, machine.cores // 2),
        "physical": machine.physical_cores,
        "all": machine.cores,
    }
    return words.get(value, value) if isinstance(value, str) else value


def by_turns(groups: list[list[Turned]]) -> Iterator[Turned]:
    """The first of each group, then the second of each, and so on."""
    for i in range(max(map(len, groups), default=0)):
        yield from (group[i] for group in groups if i < len(group))
