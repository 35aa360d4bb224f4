"""Any Python function, called as it is; nothing is compiled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
import numpy as np
import numpy.typing as npt

from accel.compilation import Arrays, Effective, Refusal
from accel.compilation._artefact import Artefact, script_head
from accel.errors import InputError, VariantError

if TYPE_CHECKING:
    from accel.measurement.machine import Machine
    from accel.model import Facts, Model

_FILE = "callable.pkl"
_RECORD = "callable.json"


class Callable(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The user's own function; what happens inside is its own affair.

    parallel: whether it may be called from several threads at once.
    """

    parallel: bool = False

    runs: ClassVar[tuple[str, ...]] = ("callable",)
    runtime: ClassVar[str] = "cloudpickle"
    extra: ClassVar[str | None] = None
    build_fields: ClassVar[tuple[str, ...]] = ()

    @property
    def shares_process(self) -> bool:
        """Two restored functions may share their modules' state, so only if it may be called from several threads."""
        return self.parallel

    def env(self) -> dict[str, str]:
        return {}

    def fits(self, facts: Facts, machine: Machine) -> Refusal | None:
        return None

    def build(self, model: Model, folder: Path) -> None:
        """Store the function by value; raises VariantError if it can't be stored."""
        from accel.model import pickles

        try:
            sha256, roots = pickles.store({"call": model.as_form("callable")}, folder / _FILE)
        except Exception as error:
            raise VariantError(
                f"The function can't be stored: {type(error).__name__}: {error}.",
                "Give it as `file.py:factory`, where the factory returns the function.",
            ) from error
        (folder / _RECORD).write_text(json.dumps({"sha256": sha256, "sys_path": roots}))
        Artefact.of(model, _FILE, stored="unknown").save(folder)

    def open(self, folder: Path) -> CallableEngine:
        """Restore the function; raises VariantError if what it imports isn't there."""
        from accel.model import pickles

        record = json.loads((folder / _RECORD).read_text())
        try:
            restored = pickles.restore(folder / _FILE, record["sha256"], tuple(record["sys_path"]))
        except InputError:
            raise
        except Exception as error:
            raise VariantError(
                f"The function can't be restored: {type(error).__name__}: {error}.",
                "Make sure that what it imports is installed here.",
            ) from error
        return CallableEngine(restored["call"], Artefact.load(folder), parallel=self.parallel)

    def script(self, folder: Path) -> str:
        return (
            "# A Python function is stored with its own code; it needs accel to be restored.\n"
            "from accel.compilation.callable import Callable\n\n"
            f"{script_head(Artefact.load(folder))}engine = Callable().open(here)\n\n\n"
            "def predict(inputs):\n    return engine.run(inputs)\n"
        )


class CallableEngine:
    """The function behind named arrays; its outputs are copied if they might be its own buffers."""

    def __init__(self, call: Any, artefact: Artefact, *, parallel: bool) -> None:
        self.sizes = artefact.sizes
        self.parallel_runs = parallel
        self.effective = Effective(precision="unknown", threads=0, provider="callable")
        self._call = call
        self._names = artefact.output_names

    def run(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        try:
            outputs = self._call(inputs)
        except Exception as error:
            raise VariantError(
                f"The function failed with {type(error).__name__}: {error}.",
                "Try it on the same samples outside accel.",
            ) from error
        return {name: _own(outputs[name]) for name in self._names}

    def close(self) -> None:
        self._call = None


def _own(value: Any) -> npt.NDArray[Any]:
    """An array that stays as it is: a view (of a buffer the function may write again) is copied."""
    array = np.asarray(value)
    return array if array.flags.owndata and array is not value else np.array(array)
