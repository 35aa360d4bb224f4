"""The built-in training: the pruned network learns to answer as the original does, from inputs without labels."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from accel.compression._distill_inputs import Inputs, Tensors
from accel.compression._distill_loss import Distance
from accel.compression._tuning import told, trained_once, zeroed, zeros_kept
from accel.errors import VariantError

if TYPE_CHECKING:
    from accel.compression.fine_tune import FineTune
    from accel.model import Model
    from accel.samples import Samples

_CONVOLUTIONAL, _OTHER = 2e-3, 2e-4
"""Usual highest rates of AdamW for networks with batch-norms and for those with layer-norms."""
_WARM_UP, _LONGEST_NORM = 0.05, 1.0
_LOOK_EVERY = 25
_TRAIN_UNTIL = 0.92
"""Share of the time after which training ends, so that statistics and the last look fit into the rest."""
_SETTLING_BATCHES = 24
_PACE_AFTER = 4


def distilled(asked: FineTune, model: Model, samples: Samples) -> Model:
    """A model whose torch form was trained against the original's answers; see `FineTune`.

    Raises VariantError where there is nothing to learn.
    """
    if model.original is model or model.original.as_form("torch") is model.as_form("torch"):
        raise VariantError(
            "Distillation has nothing to learn: this model is the original itself.",
            "Put `fine_tune` behind a technique that changes the model, such as `prune_structured`.",
        )

    def train(module: Any) -> tuple[Any, str, float]:
        inputs = Inputs(model, samples, model.as_form("torch").names, asked.seed)
        lesson = Lesson(asked, model, module, inputs)
        return module, lesson.run(), lesson.seconds

    return trained_once(asked, model, samples, train)


class Look(msgspec.Struct, frozen=True):
    """The held-back error at one moment, and the weights it was found with."""

    error: float
    state: dict[str, Any]


class Lesson:
    """One training: steps of AdamW under a cosine schedule, the best state by held-back error kept.

    Only batch-norms are in training mode, so that their statistics follow the narrower layers; dropout is off.
    clock: seconds, to be replaced in tests.
    """

    def __init__(
        self, asked: FineTune, model: Model, module: Any, inputs: Inputs, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        from accel.model.torch_form import TorchForm

        self._asked, self._module, self._inputs, self._clock = asked, module, inputs, clock
        student = model.as_form("torch")
        self._own = TorchForm(module, student.inputs, student.outputs)
        self._teacher = model.original.as_form("torch")
        kind = model.facts.kind
        usual = _CONVOLUTIONAL if kind in ("convolutional", "depthwise") else _OTHER
        self._rate = asked.learning_rate or usual
        self._norms = _norms(module)
        self.steps, self.seconds, self._first_end = 0, 0.0, 0.0

    def run(self) -> str:
        """Train the module in place; a sentence about how it went."""
        begun = self._clock()
        held = self._inputs.held()
        self._held = [(batch, self._taught(batch)) for batch in held]
        self._distance = Distance([answers for _, answers in self._held], self._asked.temperature)
        first = best = self._look(None)
        with zeros_kept(self._module) as living:
            best = self._train(begun, best, living)
            best = self._settled(best)
            self._module.load_state_dict(best.state)
            zeroed(self._module, living)
        self.seconds = self._clock() - begun
        return self._sentence(first, best, sum(int((~alive).sum()) for alive in living.values()))

    def _train(self, begun: float, best: Look, living: dict[str, Any]) -> Look:
        import torch

        weights = [p for p in self._module.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(weights, lr=self._rate, weight_decay=0.0)
        share, until_s, said = 0.0, _TRAIN_UNTIL * self._asked.seconds, 0
        while share < 1 and self.steps < self._asked.steps and self._clock() - begun < until_s:
            if share * 10 >= said:
                told(f"fine-tuning by distillation, {100 * share:.0f} %, held-back error {best.error:.3g} at best")
                said = int(share * 10) + 1
            for group in optimizer.param_groups:
                group["lr"] = self._rate * _scheduled(share)
            self._step(optimizer, weights)
            zeroed(self._module, living)
            share += (1 - share) / self._steps_left(begun + until_s)
            if self.steps % _LOOK_EVERY == 0:
                best = self._look(best)
        return self._look(best)

    def _steps_left(self, end: float) -> float:
        """Steps, this one included, over which the rest of the schedule is spread: all that were asked for, or fewer.

        Time only matters where they don't fit into it, so that a run that has time enough can be repeated exactly. The
        first step sets things up and says nothing about the pace.
        """
        now, left = self._clock(), self._asked.steps - self.steps + 1.0
        if self.steps == 1:
            self._first_end = now
        if self.steps < _PACE_AFTER:
            return left
        step_s = (now - self._first_end) / (self.steps - 1)
        return max(1.0, min(left, (end - now) / max(step_s, 1e-9)))

    def _step(self, optimizer: Any, weights: list[Any]) -> None:
        import torch

        batch = self._inputs.widened()
        wanted = self._taught(batch)
        self._learning(self._inputs.batch > 1)
        loss = self._distance(self._answers(self._own, batch), wanted, batch)
        self.steps += 1
        optimizer.zero_grad(set_to_none=True)
        if not bool(torch.isfinite(loss)):
            return
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, _LONGEST_NORM)
        optimizer.step()

    def _taught(self, batch: Tensors) -> Tensors:
        import torch

        with torch.no_grad():
            return self._answers(self._teacher, batch)

    def _answers(self, form: Any, batch: Tensors) -> Tensors:
        """Named outputs; unlike a call of the form itself, gradients can flow through them."""
        return dict(form.named_outputs(form.invoke(batch)))

    def _learning(self, on: bool) -> None:
        """Batch-norms learn their statistics from batches of two and more; all else stays in evaluation mode."""
        for part in self._module.modules():
            part.training = on and part in self._norms

    def _look(self, best: Look | None) -> Look:
        """The module as it is now, if its held-back error is below the best so far; else that one."""
        import torch

        self._learning(False)
        with torch.no_grad():
            errors = [float(self._distance(self._answers(self._own, b), wanted, b)) for b, wanted in self._held]
        error = sum(errors) / len(errors)
        if best is not None and not error < best.error:
            return best
        state = {name: value.detach().clone() for name, value in self._module.state_dict().items()}
        return Look(error if math.isfinite(error) else math.inf, state)

    def _settled(self, best: Look) -> Look:
        """The best weights with batch-norm statistics of unchanged samples, if that is better still.

        Training saw widened inputs and ever other weights; a plain mean over the samples as they are is exact.
        """
        import torch

        if not self._norms or self._inputs.batch < 2:
            return best
        self._module.load_state_dict(best.state)
        momenta = {norm: norm.momentum for norm in self._norms}
        for norm in self._norms:
            norm.reset_running_stats()
            norm.momentum = None
        self._learning(True)
        with torch.no_grad():
            for _ in range(min(_SETTLING_BATCHES, -(-len(self._inputs.ids) // self._inputs.batch))):
                self._answers(self._own, self._inputs.plain())
        for norm, momentum in momenta.items():
            norm.momentum = momentum
        return self._look(best)

    def _sentence(self, first: Look, best: Look, zeros: int) -> str:
        import torch

        self._learning(False)
        with torch.no_grad():
            answers = [self._answers(self._own, batch) for batch, _ in self._held]
        agreeing = self._distance.agreeing(answers, [wanted for _, wanted in self._held])
        cut = f" of {self._asked.steps:,}" if self.steps < self._asked.steps else ""
        said = (
            f"fine_tune: distilled from the original in {self.steps:,}{cut} steps and {self.seconds:.0f} s, on "
            f"{len(self._inputs.ids)} calibration samples"
        )
        said += f" ({self._inputs.changes})" if self._inputs.changes else ""
        said += f"; held-back error {first.error:.3g} before, {best.error:.3g} after"
        if agreeing is not None:
            said += f", the original's class for {agreeing[0]} of {agreeing[1]}"
        said += "; it made nothing better" if best is first else ""
        return said + (f"; {zeros:,} weights stay zero" if zeros else "")


def _norms(module: Any) -> set[Any]:
    import torch

    kind = torch.nn.modules.batchnorm._BatchNorm
    return {part for part in module.modules() if isinstance(part, kind) and part.track_running_stats}


def _scheduled(share: float) -> float:
    """Warm-up over a twentieth of the training, then half a cosine down to zero (Loshchilov and Hutter 2017).

    >>> [round(_scheduled(s), 3) for s in (0.025, 0.05, 0.525, 1.0)]
    [0.5, 1.0, 0.5, 0.0]
    """
    if share < _WARM_UP:
        return max(share / _WARM_UP, 0.02)
    return 0.5 * (1 + math.cos(math.pi * (share - _WARM_UP) / (1 - _WARM_UP)))
