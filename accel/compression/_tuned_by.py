"""Training by the user's own function: called with the module and the seconds it may take, then checked."""

from __future__ import annotations

import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accel.compression._tuning import told, trained_once, zeroed, zeros_kept
from accel.errors import InputError, VariantError

if TYPE_CHECKING:
    from collections.abc import Callable

    from accel.compression.fine_tune import FineTune
    from accel.model import Model
    from accel.samples import Samples

_LATE = 1.5


def tuned_by(asked: FineTune, model: Model, samples: Samples) -> Model:
    """A model whose torch form the user's function has trained.

    Raises InputError if `by` names no function that can be imported, VariantError if it fails, gives something else
    than a module, or changes what the outputs are called, their types or their shapes.
    """
    from accel.model.factory import attribute

    function = attribute(asked.by)
    if not callable(function):
        raise InputError(
            f"`{asked.by}` must be a function of (module, seconds), but is a {type(function).__name__}. Name one in "
            "`by` of `fine_tune`."
        )

    def train(module: Any) -> tuple[Any, str, float]:
        return _trained(asked, model, samples, module, function)

    return trained_once(asked, model, samples, train)


def _trained(
    asked: FineTune, model: Model, samples: Samples, module: Any, function: Callable[..., Any]
) -> tuple[Any, str, float]:
    form = model.as_form("torch")
    wanted = _outputs(form, form.module, model, samples)
    name = asked.by.rpartition(":")[2]
    told(f"fine-tuning by `{name}`")
    begun = time.perf_counter()
    with zeros_kept(module) as living:
        made = _called(asked, module, function)
        zeroed(made, living)
    seconds = time.perf_counter() - begun
    _check(asked, wanted, _tried(asked, form, made, model, samples))
    zeros = sum(int((~alive).sum()) for alive in living.values())
    note = f"fine_tune: trained by `{name}` in {seconds:.0f} s"
    note += f", more than the {asked.seconds:g} s it was given" if seconds > _LATE * asked.seconds else ""
    return made, note + (f"; {zeros:,} weights stay zero" if zeros else ""), seconds


def _called(asked: FineTune, module: Any, function: Callable[..., Any]) -> Any:
    """What the function gives: the module it was handed if it returns nothing."""
    import torch

    from accel.model.factory import importable

    file = asked.by.rpartition(":")[0]
    try:
        with importable([Path(file).resolve().parent] if file.endswith(".py") else [Path.cwd()]):
            made = function(module, asked.seconds)
    except (Exception, SystemExit) as error:
        traceback.print_exc()  # into the log: the reason is one line only
        line = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        raise VariantError(
            f"`{asked.by}` failed with {type(error).__name__}: {line[:300]}".rstrip(" .:") + ".",
            "It is called as `function(module, seconds)`; the whole traceback is in the variant's log.",
        ) from error
    if made is None:
        return module
    if not isinstance(made, torch.nn.Module):
        raise VariantError(
            f"`{asked.by}` must return the trained module, or nothing if it trained it in place, but returned a "
            f"{type(made).__name__}.",
            "Let it return the module.",
        )
    return made


def _tried(asked: FineTune, form: Any, module: Any, model: Model, samples: Samples) -> dict[str, Any]:
    try:
        return _outputs(form, module, model, samples)
    except Exception as error:  # whatever the user's module raises
        raise VariantError(
            f"The module that `{asked.by}` gives fails on calibration samples: {type(error).__name__}: "
            f"{str(error)[:200]}.",
            "Its `forward` must take the same arguments as before, by the same names.",
        ) from error


def _outputs(form: Any, module: Any, model: Model, samples: Samples) -> dict[str, Any]:
    """name -> tensor for the first calibration samples, in evaluation mode."""
    import numpy as np

    from accel.model.torch_form import TorchForm

    fixed = model.signature.batch
    count = min(2, samples.count) if fixed == "any" else int(fixed)
    batch = samples.batch(np.arange(count))
    return TorchForm(module, form.inputs, form.outputs)({name: np.array(batch[name]) for name in form.names})


def _check(asked: FineTune, before: dict[str, Any], after: dict[str, Any]) -> None:
    import torch

    def said(outputs: dict[str, Any]) -> str:
        return ", ".join(f"{n}: {str(v.dtype).rpartition('.')[2]}{list(v.shape)}" for n, v in outputs.items())

    if said(before) != said(after):
        raise VariantError(
            f"The module that `{asked.by}` gives has the outputs ({said(after)}), but the original has "
            f"({said(before)}).",
            "Train the module without changing what it returns.",
        )
    broken = [n for n, v in after.items() if v.is_floating_point() and not bool(torch.isfinite(v).all())]
    if broken:
        raise VariantError(
            f"The module that `{asked.by}` gives answers with numbers that aren't finite in `{broken[0]}`.",
            "Lower the learning rate in it.",
        )
