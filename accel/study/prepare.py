"""The parent's side of preparing: ask a prepare child for one artefact, or find it in the cache."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from accel import plugins
from accel.errors import VariantError
from accel.measurement.isolation import Child, ChildFailed
from accel.model import Source
from accel.model.cost import Cost
from accel.recipe import Variant
from accel.rescue.record import Rescue
from accel.result import Numerics, SetUp, write_atomically
from accel.study.asking import ask_within
from accel.study.cache import cache_root, folder_bytes
from accel.study.folder import StudyFolder
from accel.study.refusal import refusal

_ENTRY = "prepared.json"


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """An artefact that a measure child can open, with what it took to make it."""

    variant: Variant
    folder: str
    form: str
    set_up: SetUp
    artefact_bytes: int
    notes: tuple[str, ...] = ()
    numerics: Numerics | None = None
    cost: Cost | None = None


class Workshop:
    """Makes artefacts for the variants of one study, each in a prepare child of its own."""

    def __init__(
        self,
        folder: StudyFolder,
        source: Source,
        *,
        memory_limit_bytes: int,
        timeout_s: float,
        left_s: Callable[[], float] = lambda: math.inf,
    ) -> None:
        self._folder = folder
        self._source = source
        self._memory_limit_bytes = memory_limit_bytes
        self._timeout_s, self._left_s = timeout_s, left_s

    def inspect(self, given: dict[str, Any], on_stage: Callable[[str], None]) -> dict[str, Any]:
        """Load the model and the samples once, for the signature, the facts and the materialised samples.

        Raises InputError if the child says what is wrong with them, NothingMeasured if it dies of them.
        """
        try:
            return self._ask({"do": "inspect", "given": given}, "inspect", {}, on_stage)
        except ChildFailed as error:
            raise refusal(error, "Looking at the model and the samples", self._folder.log / "inspect.log") from None

    def prepare(
        self,
        variant: Variant,
        cache_key: str | None,
        seen: dict[str, Any],
        on_stage: Callable[[str], None],
        *,
        longest_s: float = math.inf,
    ) -> Prepared:
        """The artefact of one variant, from the cache if it is there; raises VariantError if it can't be made.

        longest_s: its share of the budget; BudgetEnded if making it takes longer.

        seen: what `inspect` found out (signature, facts, load_s), so that the source is read again only where needed.
        """
        if cache_key is not None:
            found = self._cached(variant, cache_root() / cache_key)
            if found is not None:
                return found
        place = cache_root() if cache_key is not None else self._folder.artefacts
        work = Path(tempfile.mkdtemp(prefix=".making-", dir=place))
        backend = plugins.make("compilation", variant.backend)
        try:
            command = {"do": "prepare", "variant": msgspec.to_builtins(variant), "out": str(work / "artefact"), **seen}
            final = place / (cache_key or variant.name)
            env = backend.env() | {"ACCEL_ARTEFACT": str(work / "artefact")}
            reply = self._ask(command, f"{variant.name}-prepare", env, on_stage, longest_s)
            prepared = Prepared(
                variant=variant,
                folder=str(final / "artefact"),
                form=reply["form"],
                set_up=msgspec.convert(reply["set_up"], SetUp),
                artefact_bytes=folder_bytes(work / "artefact"),
                notes=tuple(reply["notes"]),
                numerics=msgspec.convert(reply.get("numerics"), Numerics | None),
                cost=msgspec.convert(reply.get("cost"), Cost | None),
            )
            write_atomically(work / _ENTRY, msgspec.json.encode(prepared))
            return self._place(prepared, work, final)
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def has(self, variant: Variant, cache_key: str) -> bool:
        """True if the artefact of a variant is in the cache."""
        return self._cached(variant, cache_root() / cache_key) is not None

    def rescue(
        self, variant: Variant, asked: dict[str, Any], on_stage: Callable[[str], None], *, longest_s: float
    ) -> Rescue:
        """Search for a form of a failing variant that keeps the guard's limit (`accel.rescue`), in a prepare child.

        asked: what the child is told beside the model; see `prepare_child.rescue`. Raises ChildFailed if the child
        breaks, BudgetEnded if it is cut after `longest_s`.
        """
        env = plugins.make("compilation", variant.backend).env()
        command, tag = {"do": "rescue", **asked}, f"{variant.name}-rescue"
        # It says itself when it will be over, so it is never silent for longer than it may be.
        return msgspec.convert(self._ask(command, tag, env, on_stage, longest_s, timeout_s=2 * longest_s), Rescue)

    def _place(self, prepared: Prepared, work: Path, final: Path) -> Prepared:
        """Move a made artefact to where it is looked for, unless another study was faster: that one may be in use."""
        for _ in range(2):
            there = self._cached(prepared.variant, final) if final.parent == cache_root() else None
            if there is not None:
                return there
            shutil.rmtree(final, ignore_errors=True)
            with contextlib.suppress(OSError):
                work.rename(final)
                return prepared
        raise VariantError(f"The artefact can't be moved to `{final}`", "Empty the cache folder and use --resume.")

    def _cached(self, variant: Variant, entry: Path) -> Prepared | None:
        try:
            prepared = msgspec.json.decode((entry / _ENTRY).read_bytes(), type=Prepared)
            os.utime(entry)
        except (OSError, msgspec.DecodeError):
            return None
        if not (entry / "artefact").is_dir():
            return None
        return msgspec.structs.replace(
            prepared,
            variant=variant,
            folder=str(entry / "artefact"),
            set_up=msgspec.structs.replace(prepared.set_up, cached=True),
        )

    def _ask(
        self,
        command: dict[str, Any],
        tag: str,
        env: dict[str, str],
        on_stage: Callable[[str], None],
        longest_s: float = math.inf,
        *,
        timeout_s: float | None = None,
    ) -> dict[str, Any]:
        command |= {
            "source": msgspec.to_builtins(self._source),
            "model_folder": str(self._folder.model),
            "samples": str(self._folder.samples),
        }
        with Child(
            "accel.study.prepare_child",
            env=env,
            log=self._folder.log / f"{tag}.log",
            cwd=self._folder.log,
            memory_limit_bytes=self._memory_limit_bytes,
        ) as child:
            left_s = min(self._left_s(), longest_s)
            patience_s = self._timeout_s if timeout_s is None else timeout_s
            return ask_within(child, command, timeout_s=patience_s, left_s=left_s, on_stage=on_stage)


__all__ = ["ChildFailed", "Prepared", "Workshop"]
