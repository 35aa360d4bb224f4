"""One model made ready for the table: every artefact, what it is worth, and why there is none where there is none."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from accel.errors import AccelError, VariantError
from accel.measurement.isolation import ChildFailed
from accel.plugins import Named
from accel.recipe import Variant
from accel.result import write_atomically
from accel.study import cache
from accel.study.artefacts import find_prepared, remember
from accel.study.beginning import Changed
from accel.study.budget import BudgetEnded
from accel.study.missing import NotTried, why_not
from benchmarks.compression.rows import Cell, Outcome, keep, load
from benchmarks.compression.ways import BACKENDS, Way, portable, variant_of, ways
from benchmarks.subject import ROOT, Ready, Subject, place

_BUDGET = "4h"
"""Only shares of it are used: for the reference's answers, and for how long a child may be silent."""


def root_of(model: str) -> Path:
    """Where everything of a model is kept."""
    return place() / "compression" / Path(model).stem


class Bench(Subject):
    """A model with its samples and reference answers, and the cells of its table."""

    def __init__(self, model: str, root: Path | None = None) -> None:
        super().__init__(model, root or root_of(model), budget=_BUDGET)
        self.model = Path(model).stem

    @property
    def root(self) -> Path:
        """Where everything of this model is kept."""
        return self.folder.root

    def key(self, variant: Variant) -> str:
        """Of everything an artefact depends on: the model, the samples, the techniques' source, versions, processor."""
        return cache.key(
            variant,
            model_sha256=self.context.identity or "",
            calibration_sha256=self.context.samples_sha256,
            machine=self.machine,
        )

    def cell(self, way: Way, backend: str, *, longest_s: float, again: bool = False, stale: bool = True) -> Cell:
        """The cell of one pair; made if it isn't there, if what makes it has changed (`stale`) or failed (`again`)."""
        return self.of(variant_of(way, backend), way.technique, longest_s=longest_s, again=again, stale=stale)

    def of(
        self, variant: Variant, technique: str, *, longest_s: float, again: bool = False, stale: bool = True
    ) -> Cell:
        """The cell of any variant; `technique`: what it is called in its table."""
        there = load(self.root, variant.name)
        if there is not None and self._good(there, variant, again=again, stale=stale):
            return there
        return self._kept(variant, technique, lambda: self._made(variant, longest_s))

    def refusals(self) -> list[Cell]:
        """The cells of all pairs that aren't tried: to know that, nothing has to be made."""
        pairs = [(variant_of(way, backend), way.technique) for backend in BACKENDS for way in ways(self.model)]
        return self.refused(pairs)

    def refused(self, pairs: Iterable[tuple[Variant, str]]) -> list[Cell]:
        """Those of (variant, what it is called) that aren't tried."""
        found = []
        for variant, technique in pairs:
            refusal = why_not(variant, self.record.facts, self.machine)
            if refusal is not None:
                found.append(self._kept(variant, technique, partial(_why, refusal, "failed", 0.0)))
        return found

    def _kept(self, variant: Variant, technique: str, made: Callable[[], dict[str, Any]]) -> Cell:
        common: dict[str, Any] = {
            "model": self.model,
            "technique": technique,
            "backend": variant.backend.name,
            "variant": variant.name,
            "compression": portable(variant.compression),
            "key": self.key(variant),
            "probe": is_probe(variant.compression),
        }
        cell = Cell(**common, **made())
        keep(self.root, cell)
        return cell

    def _good(self, there: Cell, variant: Variant, *, again: bool, stale: bool) -> bool:
        if there.outcome in ("refused", "skipped") or (again and there.outcome != "ready"):
            return False
        if stale and there.key != self.key(variant):
            return False
        return there.outcome != "ready" or find_prepared(self.root, variant.name) is not None

    def _made(self, variant: Variant, longest_s: float) -> dict[str, Any]:
        """What becomes of a variant, as fields of its cell."""
        path = self.folder.reference / f"{variant.name}.json"
        path.unlink(missing_ok=True)
        try:
            with self.folder.lock():
                prepared = self._prepare(variant, self._shop, self.context, self.record, longest_s)
                remember(self.root, prepared)
        except AccelError as error:
            return _why(error, "failed", longest_s)
        except Changed:
            raise SystemExit(f"{self.root} was begun with another model or other samples: delete that folder") from None
        begun = time.perf_counter()
        try:
            ready = self._compared(prepared)
        except AccelError as error:
            return _why(error, "failed" if isinstance(error, ChildFailed) else "wrong", longest_s)
        took = time.perf_counter() - begun
        write_atomically(path, msgspec.json.encode(ready))
        return {
            "outcome": "ready",
            "quality": ready.quality,
            "artefact_bytes": prepared.artefact_bytes,
            "set_up": prepared.set_up,
            "numerics": prepared.numerics and short(prepared.numerics),
            "notes": tuple(tidy(note) for note in prepared.notes),
            "item_s": took / max(1, len(self.context.reference_ids)),
        }

    def is_stale(self, cell: Cell) -> bool:
        """True if what makes this artefact has changed since it was made."""
        row = next((w for w in ways(self.model) if w.technique == cell.technique), None)
        return row is None or cell.key != self.key(variant_of(row, cell.backend))

    def prepared(self, variant: str) -> Ready:
        """An artefact that a cell says is ready."""
        return msgspec.json.decode((self.folder.reference / f"{variant}.json").read_bytes(), type=Ready)


def _why(error: AccelError, otherwise: Outcome, longest_s: float) -> dict[str, Any]:
    """A reason as fields of a cell."""
    if isinstance(error, BudgetEnded):
        return {"outcome": "late", "reason": f"making it took longer than {longest_s:.0f} s (while {error.doing})"}
    outcome = error.status if isinstance(error, NotTried) else otherwise
    if isinstance(error, VariantError):
        return {"outcome": outcome, "reason": tidy(error.reason), "next_step": tidy(error.next_step)}
    return {"outcome": outcome, "reason": tidy(str(error))}


def tidy(text: str) -> str:
    """A sentence without this machine's folders.

    >>> tidy(f"There is no `{ROOT}/recipes/a.py`")
    'There is no `recipes/a.py`'
    """
    for folder in (place(), ROOT):
        text = text.replace(f"{folder}/", "")
    return text


def short(numerics: Any) -> Any:
    """Without the names of single operators: the table has no room for them."""
    operators = tuple(msgspec.structs.replace(o, names=()) for o in numerics.operators)
    return msgspec.structs.replace(numerics, operators=operators, islands=())


def is_probe(compression: Sequence[Named]) -> bool:
    """True if accuracy is given away and not won back, as accel sees it."""
    from accel import compression as techniques

    known = getattr(techniques, "is_probe", None)
    return bool(known(compression)) if known is not None else False
