"""Puts a quantized variant that fails the guard right again, leaving as little in float as it finds it can.

Cheapest first: settings of the quantizer, whole operator types, blocks, single nodes by sensitivity per millisecond.
What is tried is ordered on a few calibration samples, scored by `judge` on the validation part and timed roughly. The
search ends with the first rung whose best form is acceptable and keeps most of the time that 8 bits had saved, after a
try or two to leave less in float. Relatives: NNCF's accuracy control and neural-compressor's tuning, which stop at the
first pass; here speed counts as well, and no improvement is a result too.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from accel.rescue.apart import ablation_of, clean_error
from accel.rescue.choice import best, better, good_enough, kept
from accel.rescue.groups import by_block, by_type
from accel.rescue.ladder import switches
from accel.rescue.record import Kind, Rescue, Step
from accel.rescue.sensitivity import Names, by_gain, forward
from accel.rescue.steps import Steps
from accel.rescue.told import some, told
from accel.rescue.workbench import Judge, Within, Workbench

if TYPE_CHECKING:
    from accel.model import Model
    from accel.plugins import Named
    from accel.recipe import Variant
    from accel.rescue.ablation import Ablation
    from accel.result import Quality
    from accel.samples import Samples

_REFINEMENTS = 2
_RANKING_SHARE = 0.4
_SELF_CHECK_LIMIT = 1e-2
Groups = dict[str, Names]


def passes(quality: Quality) -> bool:
    """The strictest idea of "within the guard's limit": the interval has settled it."""
    return quality.outcome == "passes"


def rescue(
    variant: Variant,
    model: Model,
    samples: Samples,
    judge: Judge,
    *,
    seconds: float,
    folder: Path,
    on_step: Callable[[Step], None] = lambda step: None,
    within: Within = passes,
    clock: Callable[[], float] = time.monotonic,
) -> Rescue:
    """Search for the fastest form of `variant` whose answers the judge accepts.

    model: as it was loaded. samples: with their parts; the calibration part quantizes and ranks, of the validation part
    `judge` gets the outputs, by name, in the order of its ids. within: whether the point estimate of an unresolved
    quality is within the limit; such a form may be chosen. folder: where steps are kept; a second call with the same
    goes on there. seconds: no step begins later than that. Raises VariantError if there is nothing to rescue or to
    judge by.
    """
    bench = Workbench(variant, model, samples, judge, within=within)
    try:
        return Search(bench, Steps(folder), seconds=seconds, on_step=on_step, clock=clock).run()
    finally:
        bench.close()


class Search:
    """One rescue on its way: what has been tried, the form it builds on, and the time left."""

    def __init__(
        self,
        bench: Workbench,
        steps: Steps,
        *,
        seconds: float,
        on_step: Callable[[Step], None],
        clock: Callable[[], float],
    ) -> None:
        self.bench, self.steps = bench, steps
        self._seconds, self._on_step, self._clock = seconds, on_step, clock
        self._begun = clock()
        self._stopped = False
        self._self_check: float | None = None
        self._apart: tuple[tuple[Named, ...], Ablation | None] | None = None
        self._known_fields = {f.name for f in msgspec.structs.fields(type(self._technique(bench.variant.compression)))}

    def run(self) -> Rescue:
        """The rungs one after another, until one is good enough or the time is over."""
        start = self._attempt("as it is", "start", self.bench.variant.compression)
        if start is not None:
            self.start = self.base = start
            for rung in (self._switches, self._types, self._blocks, self._nodes):
                rung()
                if self._stopped or self._done():
                    break
            self._refine()
        found = best(self.steps.done)
        share = None if found is None or start is None else kept(found, start)
        return Rescue(
            variant=self.bench.variant.name,
            steps=tuple(self.steps.done),
            chosen=None if found is None else found.compression,
            kept=share,
            self_check_error=self._self_check,
            clean_error=None if found is None else clean_error(self.bench, found),
            said=told(self.bench.variant.name, self.steps.done, found, kept=share) + self._unchecked(),
            seconds=self._clock() - self._begun,
            complete=not self._stopped,
        )

    def _unchecked(self) -> str:
        if self._self_check is None or self._self_check <= _SELF_CHECK_LIMIT:
            return ""
        return (
            " Types, blocks and nodes weren't tried: the quantized graph with all of them in float doesn't answer like "
            f"the float model (relative error {self._self_check:.2g})."
        )

    def _done(self) -> bool:
        return good_enough(best(self.steps.done), self.start)

    def _technique(self, compression: tuple[Named, ...]) -> Any:
        return self.bench.technique(compression)

    def _may_go_on(self) -> bool:
        if self._clock() - self._begun >= self._seconds:
            self._stopped = True
        return not self._stopped

    def _attempt(
        self, what: str, kind: Kind, compression: tuple[Named, ...], left_float: tuple[str, ...] = ()
    ) -> Step | None:
        """The step of this form: made now, or found from an earlier attempt; None if there is no time to make it."""
        if (taken := self.steps.taken(compression)) is not None:
            return taken
        step = self.steps.known(compression)
        if step is None:
            if not self._may_go_on():
                return None
            step = self.bench.step(what, kind, compression, left_float, clock=self._clock)
        self.steps.add(step)
        self._on_step(step)
        return step

    def _switches(self) -> None:
        """One setting after another on top of those that helped, until a form passes.

        A form that is only within the limit, unresolved, is followed by two more: another setting may answer better.
        One that is acceptable but keeps too little of the time isn't built on: a later rung leaves less.
        """
        more = _REFINEMENTS
        technique = self._technique(self.start.compression)
        for rung in switches(
            technique,
            self.bench.quantizer(self.start.compression),
            self.bench.before.facts,
            quantized=self.bench.quantized_types(technique),
            samples=int(self.bench.calibration.count),
        ):
            compression = self.bench.with_fields(self.base.compression, rung.fields)
            step = self._attempt(rung.what, "switch", compression, rung.left_float)
            if step is None or (self._done() and (step.outcome == "passes" or not more)):
                return
            more -= self._done()
            if better(step, self.base) and (not step.acceptable or good_enough(step, self.start)):
                self.base = step

    def _types(self) -> None:
        if (ablation := self._ablation()) is not None and "keep" in self._known_fields:
            groups = by_type(ablation.nodes)
            self._score("types", self._forward(groups, ablation), groups, ablation, one_by_one=True)

    def _blocks(self) -> None:
        if (ablation := self._ablation()) is not None and "exclude" in self._known_fields:
            groups = by_block(ablation.nodes)
            self._score("blocks", self._by_gain("blocks", groups, ablation), groups, ablation)

    def _nodes(self) -> None:
        if (ablation := self._ablation()) is not None and "exclude" in self._known_fields:
            groups = ablation.units()
            self._score("nodes", self._by_gain("nodes", groups, ablation), groups, ablation)

    def _refine(self) -> None:
        """If whole types went back to float, try fewer of them, or those of their nodes the error comes from."""
        found = best(self.steps.done)
        if found is None or not found.left_float or found.kind not in ("switch", "types"):
            return
        self.base = self.start if found.kind == "switch" else self.base
        ablation = self._ablation()
        if ablation is None or not {"keep", "exclude"} <= self._known_fields:
            return
        groups = {kind: names for kind, names in by_type(ablation.nodes).items() if kind in found.left_float}
        if found.kind == "switch" and len(groups) > 1:
            order = self._forward(groups, ablation)
            self._halve("types", order, groups, ablation, 0, len(order) + 1)
            return
        among = frozenset().union(*groups.values())
        units = {unit: names for unit, names in ablation.units().items() if names <= among}
        order = self._by_gain("nodes", units, ablation)
        self._halve("nodes", order, units, ablation, 0, len(order) + 1)

    def _forward(self, groups: Groups, ablation: Ablation) -> list[str]:
        return self._order("types", groups, lambda go_on: forward(groups, ablation.error, may_go_on=go_on))

    def _by_gain(self, kind: Kind, groups: Groups, ablation: Ablation) -> list[str]:
        def rank(go_on: Callable[[], bool]) -> list[str]:
            return by_gain(groups, ablation.error, ablation.saved_ms(), may_go_on=go_on)

        return self._order(kind, groups, rank)

    def _order(self, kind: Kind, groups: Groups, rank: Callable[[Callable[[], bool]], list[str]]) -> list[str]:
        """A ranking, from an earlier attempt if it was finished there: it depends on timings, and may not change."""
        known = self.steps.order(kind, self.base.compression, groups)
        if known is not None:
            return known
        until = self._clock() + _RANKING_SHARE * max(0.0, self._seconds - (self._clock() - self._begun))
        cut = False

        def go_on() -> bool:
            nonlocal cut
            cut = cut or not (self._clock() < until and self._may_go_on())
            return not cut

        order = rank(go_on)
        if not cut:
            self.steps.keep_order(kind, self.base.compression, groups, order)
        return order

    def _score(
        self, kind: Kind, order: list[str], groups: Groups, ablation: Ablation, *, one_by_one: bool = False
    ) -> None:
        """Score the first 1, 2, 4, ... of an order until a form is acceptable, then look between the last two."""
        failed = 0
        for count in range(1, len(order) + 1) if one_by_one else doubling(len(order)):
            step = self._left_out(kind, order[:count], groups, ablation)
            if step is None:
                return
            if step.acceptable:
                self._halve(kind, order, groups, ablation, failed, count)
                return
            failed = count

    def _halve(self, kind: Kind, order: list[str], groups: Groups, ablation: Ablation, low: int, high: int) -> None:
        for _ in range(_REFINEMENTS):
            middle = (low + high) // 2
            if middle in (low, high):
                return
            step = self._left_out(kind, order[:middle], groups, ablation)
            if step is None:
                return
            low, high = (low, middle) if step.acceptable else (middle, high)

    def _left_out(self, kind: Kind, names: list[str], groups: Groups, ablation: Ablation) -> Step | None:
        """The step in which these groups are in float, on top of the form that the search builds on."""
        technique = self._technique(self.base.compression)
        if kind == "types":
            listed = tuple(sorted(names))
            fields: dict[str, Any] = {"keep": [*technique.keep, *listed]}
        else:
            left = frozenset().union(*(groups[name] for name in names))
            listed = tuple(name for name, _ in ablation.nodes if name in left)
            fields = {"exclude": [*technique.exclude, *listed]}
        compression = self.bench.with_fields(self.base.compression, fields)
        return self._attempt(f"{some(names)} in float", kind, compression, listed)

    def _ablation(self) -> Ablation | None:
        """The form that the search builds on, taken apart; None if it can't be, or if its two ends don't check."""
        if not self._may_go_on():
            return None
        if self._apart is None or self._apart[0] != self.base.compression:
            self._apart = (self.base.compression, ablation_of(self.bench, self.base.compression))
        found = self._apart[1]
        if found is None:
            return None
        self._self_check = max(self._self_check or 0.0, found.self_check_error)
        return found if found.self_check_error <= _SELF_CHECK_LIMIT else None


def doubling(count: int) -> list[int]:
    """1, 2, 4, ... and the whole.

    >>> doubling(6)
    [1, 2, 4, 6]
    """
    found = [2**i for i in range(count.bit_length()) if 2**i < count]
    return [*found, count] if count else []
