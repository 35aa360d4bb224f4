"""How far a student's answers are from its teacher's, as one number that can be learnt from.

Rows of logits (batch, classes) are compared as softened distributions (Kullback-Leibler divergence times the squared
temperature; Hinton et al. 2015) and as values; everything else as values: squared error over the teacher's variance,
so that 1 means "no better than the mean" for outputs of any scale. Padded positions don't count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from accel.errors import VariantError

Tensors = Mapping[str, Any]


class Term(msgspec.Struct, frozen=True):
    """One output: what it is compared as, and the teacher's variance."""

    name: str
    kind: str
    variance: float


class Distance:
    """The loss of a student against what the teacher gave; `learn` it from the teacher's held-back answers.

    Raises VariantError if no output is a number that can be learnt, or some aren't finite.
    """

    def __init__(self, answers: Sequence[Tensors], temperature: float) -> None:
        import torch

        self._temperature = temperature
        floats = [n for n, value in answers[0].items() if value.is_floating_point()]
        if not floats:
            raise VariantError(
                f"None of the outputs ({', '.join(answers[0])}) is a floating-point number, so nothing can be learnt "
                "from them.",
                'Give a function that trains the model: `by = "file.py:function"`.',
            )
        self.terms = []
        for name in floats:
            flat = torch.cat([a[name].detach().float().flatten() for a in answers])
            if not bool(torch.isfinite(flat).all()):
                raise VariantError(
                    f"The original's output `{name}` has values that aren't finite, so it can't be learnt from.",
                    'Give a function that trains the model: `by = "file.py:function"`.',
                )
            variance = float(flat.var(unbiased=False))
            self.terms.append(Term(name, _kind(answers[0][name]), max(variance, 1e-12)))

    def __call__(self, student: Tensors, teacher: Tensors, inputs: Tensors) -> Any:
        """The mean over all outputs; a tensor that gradients flow through."""
        losses = [self._term(t, student[t.name].float(), teacher[t.name].float(), inputs) for t in self.terms]
        return sum(losses) / len(losses)

    def _term(self, term: Term, student: Any, teacher: Any, inputs: Tensors) -> Any:
        import torch

        weight = _positions(inputs, teacher)
        squared = (student - teacher) ** 2 / term.variance
        loss = squared.mean() if weight is None else (squared * weight).sum() / (weight.expand_as(squared).sum() + 1e-9)
        if term.kind == "values":
            return loss
        hot = self._temperature
        if term.kind == "probabilities":
            student, teacher = student.clamp(min=1e-8).log(), teacher.clamp(min=1e-8).log()
        divergence = torch.nn.functional.kl_div(
            torch.log_softmax(student / hot, -1), torch.log_softmax(teacher / hot, -1), log_target=True,
            reduction="batchmean",
        )  # fmt: skip
        return loss + hot * hot * divergence

    def agreeing(self, student: Sequence[Tensors], teacher: Sequence[Tensors]) -> tuple[int, int] | None:
        """(items with the same largest class, items), for the first output that is one of classes; else None."""
        name = next((t.name for t in self.terms if t.kind != "values"), None)
        if name is None:
            return None
        pairs = [(s[name].argmax(-1) == t[name].argmax(-1)) for s, t in zip(student, teacher, strict=True)]
        return sum(int(p.sum()) for p in pairs), sum(p.numel() for p in pairs)


def _kind(value: Any) -> str:
    """ "probabilities" for rows that add up to 1, "values" for rows of length 1 and all that isn't (batch, classes)."""
    if value.ndim != 2 or value.shape[1] < 2:
        return "values"
    value = value.float()
    if bool((value.norm(dim=1) - 1).abs().max() < 1e-3):
        return "values"
    is_share = bool((value >= 0).all()) and bool((value.sum(1) - 1).abs().max() < 1e-3)
    return "probabilities" if is_share else "logits"


def _positions(inputs: Tensors, output: Any) -> Any:
    """Weights of an output's (batch, position, ...) from an input that masks them; None if there is no such input."""
    for name, value in inputs.items():
        if "mask" in name.lower() and value.ndim == 2 and output.ndim >= 3 and value.shape == output.shape[:2]:
            return value.to(output.dtype).reshape(*value.shape, *[1] * (output.ndim - 2))
    return None
