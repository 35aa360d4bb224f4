"""What both ways of tuning share: a copy to train, zeros that stay zero, threads, and weights kept for later variants.

A study tries one pruned network on several backends and with a quantizer on top. It is trained once: the weights lie
in the original's folder, under a hash of the weights that went in, the samples and every field.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from accel.errors import VariantError
from accel.measurement.cgroup import usable_cores

if TYPE_CHECKING:
    from accel.compression.fine_tune import FineTune
    from accel.model import Model
    from accel.samples import Samples

_MEANT = 0.01
"""From this share of exact zeros in a weight on they are meant: no trained weight has so many by chance."""
_ALONE_MACS = 1e6
_NOTE, _SECONDS = "accel: note", "accel: seconds"


def working_copy(module: Any) -> Any:
    """A module of its own to train, all its floating-point parameters trainable. Raises VariantError if torch can't."""
    try:
        made = copy.deepcopy(module)
    except Exception as error:  # a module's own __deepcopy__ may raise anything
        raise VariantError(
            f"The module can't be copied for training: {type(error).__name__}: {str(error)[:200]}.",
            "Give a factory (`file.py:function`) whose module can be copied.",
        ) from error
    for parameter in made.parameters():
        if parameter.is_floating_point():
            parameter.requires_grad_(True)
    return made


@contextlib.contextmanager
def zeros_kept(module: Any) -> Iterator[dict[str, Any]]:
    """Exact zeros of weights (two axes or more) stay zero where they are 1 % of a weight or more, as pruning left them.

    Their gradients are zeroed meanwhile; call `zeroed` afterwards for what an optimizer's decay or a user's own code
    may have done. Gives {parameter: True where it lives}.
    """
    living = {}
    for name, weight in module.named_parameters():
        if weight.ndim >= 2 and weight.is_floating_point():
            alive = weight.detach() != 0
            if float((~alive).double().mean()) >= _MEANT:
                living[name] = alive
    weights = dict(module.named_parameters())
    hooks = [weights[n].register_hook(lambda g, alive=alive: g * alive) for n, alive in living.items()]
    try:
        yield living
    finally:
        for hook in hooks:
            hook.remove()


def zeroed(module: Any, living: dict[str, Any]) -> None:
    """Set to zero what was zero before; a weight of another shape is another weight and stays."""
    import torch

    with torch.no_grad():
        for name, weight in module.named_parameters():
            if name in living and living[name].shape == weight.shape:
                weight.mul_(living[name])


@contextlib.contextmanager
def settled(seed: int, macs_per_item: int | None = None) -> Iterator[None]:
    """One seed, gradients and threads for torch; everything is put back afterwards.

    All usable cores, but one for a model so small that threads would only wait for each other.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1 if macs_per_item is not None and macs_per_item < _ALONE_MACS else usable_cores())
    try:
        with torch.random.fork_rng(devices=[]), torch.inference_mode(False), torch.enable_grad():
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(threads)


def told(text: str) -> None:
    """Say how far the training is, to whoever waits for this child."""
    from accel.measurement.protocol import stage

    stage(text)


def trained_once(
    asked: FineTune, model: Model, samples: Samples, train: Callable[[Any], tuple[Any, str, float]]
) -> Model:
    """A model with the weights that `train` gives for a copy of this one's module, or gave in an earlier child.

    train: module -> (module, a sentence about what was done, seconds it took).
    """
    from accel.model.torch_form import TorchForm

    form = model.as_form("torch")
    path = _place(model, f"{_digest(asked, form.module, samples)}.npz")
    module = working_copy(form.module)
    with settled(asked.seed, model.facts.macs_per_item):
        kept = _kept(path, module)
        if kept is None:
            before, structure = module, repr(module)
            module, note, seconds = train(module)
            if module is before and repr(module) == structure:
                _keep(path, module, note, seconds)
        else:
            note, seconds = f"{kept[0]}; trained once for all variants that begin like this one", kept[1]
    _like(module, form.module)
    made = model.derive("torch", TorchForm(module, form.inputs, form.outputs), notes=(note,))
    if kept is not None and hasattr(made, "seconds"):
        made.seconds = made.seconds | {"compress": made.seconds.get("compress", 0.0) + seconds}
    return made


def _like(module: Any, before: Any) -> None:
    """Without gradients, and frozen where it was frozen before."""
    frozen = {name for name, parameter in before.named_parameters() if not parameter.requires_grad}
    for name, parameter in module.named_parameters():
        parameter.grad = None
        if name in frozen:
            parameter.requires_grad_(False)


def _place(model: Model, name: str) -> Path:
    return Path(model.original.folder) / "tuned" / name


def _digest(asked: FineTune, module: Any, samples: Samples) -> str:
    """Hash of all that shapes the trained weights: fields, the user's file, samples, structure and weights."""
    sha = hashlib.sha256(msgspec.json.encode(asked))
    file = Path(asked.by.rpartition(":")[0])
    sha.update(file.read_bytes() if file.is_file() else b"")
    sha.update(repr(module).encode())
    for name, column in samples.inputs.items():
        sha.update(
            f"{name}{column.dtype}{column.shape}{samples.ragged}".encode() + np.ascontiguousarray(column).tobytes()
        )
    for name, value in module.state_dict().items():
        sha.update(f"{name}{value.dtype}{tuple(value.shape)}".encode())
        sha.update(_bytes(value))
    return sha.hexdigest()[:32]


def _bytes(value: Any) -> Any:
    import torch

    return value.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes()


def _keep(path: Path, module: Any, note: str, seconds: float) -> None:
    """Store plain arrays, whole or not at all; what numpy has no type for isn't stored and is trained again."""
    state = {name: value.detach().cpu() for name, value in module.state_dict().items()}
    try:
        arrays = {name: value.numpy() for name, value in state.items()}
    except TypeError:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(suffix=".part", dir=path.parent)
    with os.fdopen(handle, "wb") as file:
        np.savez(file, **{**arrays, _NOTE: np.array(note), _SECONDS: np.array(seconds)})
    Path(part).replace(path)


def _kept(path: Path, module: Any) -> tuple[str, float] | None:
    """Load what `_keep` stored into the module; None if there is nothing, or nothing that fits."""
    import torch

    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as stored:
        found = {name: stored[name] for name in stored.files}
    note, seconds = str(found.pop(_NOTE)), float(found.pop(_SECONDS))
    own = {name: (tuple(v.shape), v.numpy().dtype) for name, v in module.state_dict().items()}
    if own != {name: (a.shape, a.dtype) for name, a in found.items()}:  # a user's function gave another structure
        return None
    module.load_state_dict({name: torch.from_numpy(a) for name, a in found.items()})
    return note, seconds
