"""Train a pruned model for a short while, so that it answers again as the original does.

Source: knowledge distillation (Hinton et al. 2015, "Distilling the knowledge in a neural network"), with the teacher
asked anew for every widened input (Beyer et al. 2022, "Knowledge distillation: a good teacher is patient and
consistent"). It helps after `prune_structured`, `low_rank` and `prune_magnitude`, which take away accuracy that a few
hundred steps give back; it can't help a model that is the original already, nor one that is quantized.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import msgspec

from accel.compilation import Refusal
from accel.compression._torch_edit import refused
from accel.model.factory import is_factory

if TYPE_CHECKING:
    from accel.measurement.machine import Machine
    from accel.model import Facts, Model
    from accel.samples import Samples

_DISTILLATION = "distillation"


class FineTune(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Trains the torch form; put it between a pruning technique and a quantizer.

    by: "distillation" learns from the original's own answers to the calibration samples, without labels; or your own
        `file.py:function`, called as `function(module, seconds)` with the module in evaluation mode: it trains it in
        place and returns nothing, or returns the module to go on with.
    seconds: how long it may train. steps: how many steps of distillation at most; where they all fit into `seconds`,
        the same seed gives the same weights.
    learning_rate: the highest of a cosine schedule; by default 0.002 for convolutional networks, else 0.0002.
    temperature: softens the two distributions that classifiers are compared by.
    """

    by: str = _DISTILLATION
    seconds: float = 60.0
    steps: int = 3000
    learning_rate: float | None = None
    temperature: float = 2.0
    seed: int = 0

    needs_samples: ClassVar[bool] = True
    tunes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.by != _DISTILLATION and not is_factory(self.by):
            raise ValueError(f'`by` must be "{_DISTILLATION}" or `file.py:function`, but is `{self.by}`')
        for name in ("seconds", "steps", "learning_rate", "temperature"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise ValueError(f"`{name}` must be above 0, but is {value}")

    def reads(self, target: str) -> tuple[str, ...]:
        return ("torch",)

    def writes(self, target: str) -> str:
        return "torch"

    def fits(self, facts: Facts, machine: Machine, target: str) -> Refusal | None:
        return refused(facts, target, "fine_tune") or self._missing_file()

    def _missing_file(self) -> Refusal | None:
        file = self.by.rpartition(":")[0]
        if not file.endswith(".py") or Path(file).is_file():
            return None
        return Refusal(f"There is no file `{file}`, which `by` names.", "Give the path of the file that trains.")

    def apply(self, model: Model, samples: Samples, target: str) -> Model:
        """The same network with other weights, as a torch form.

        Raises VariantError if there is nothing to learn or the training fails, InputError if `by` names nothing.
        """
        if self.by == _DISTILLATION:
            from accel.compression._distill import distilled

            return distilled(self, model, samples)
        from accel.compression._tuned_by import tuned_by

        return tuned_by(self, model, samples)
