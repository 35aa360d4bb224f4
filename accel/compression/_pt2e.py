"""Static quantization of a torch module for inductor: PT2E with torchao's x86 quantizer."""

from __future__ import annotations

import warnings
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from accel.compression._calibration import Calibration
from accel.compression._graph import listed, quantized_facts, require
from accel.compression._processor import forms_here
from accel.errors import VariantError

if TYPE_CHECKING:
    from accel.compression.quantize_static import QuantizeStatic
    from accel.model import Model
    from accel.samples import Samples

_HEAVY = {"conv1d": "conv", "conv2d": "conv", "linear": "linear", "addmm": "linear", "matmul": "matmul", "mm": "linear"}


def quantize(asked: QuantizeStatic, model: Model, samples: Samples) -> Model:
    """A torch form whose graph holds quantize and dequantize steps; inductor folds them into 8-bit kernels.

    Raises VariantError with torch's reason: export, the quantizer and the conversion each refuse some modules.
    """
    calibration = Calibration(model, samples, asked.count)
    form = model.as_form("torch")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            graph = _converted(form, model, calibration)
            quantized = _as_form(graph, form, model, calibration)
    except Exception as error:
        raise VariantError(
            f"torch can't quantize this module (PT2E): {type(error).__name__}: {_first_line(error)}",
            "Use the backend `onnxruntime` or `openvino`.",
        ) from error
    done, before = _counted(graph)
    require(done, ("convolution", "linear layer"))
    note = f"quantize_static: {listed(done)} of {listed(before)} in 8 bits by PT2E, {calibration.items} samples"
    if left := sum(_one_channel(node) for node in graph.graph.nodes):
        note += f"; {left} of one input channel left in float, whose 8-bit form torch.compile can't run"
    return model.derive(
        "torch",
        quantized,
        notes=(forms_here().said, note),
        facts=quantized_facts(model),
        calibrated=calibration.seen(),
    )


def _converted(form: Any, model: Model, calibration: Calibration) -> Any:
    """The quantized graph module."""
    import torch
    import torchao.quantization.pt2e.quantizer.x86_inductor_quantizer as x86
    from torchao.quantization.pt2e import move_exported_model_to_eval
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    graph = _exported(_channels_last(form.flat_module()), form, model, calibration, strict=True).module()
    quantizer = _quantizer()
    quantizer.set_global(
        x86.get_default_x86_inductor_quantization_config(is_dynamic=False, reduce_range=forms_here().reduce_range)
    )
    with torch.no_grad():
        prepared = prepare_pt2e(graph, quantizer)
        for batch in calibration:
            prepared(*[torch.from_numpy(batch[name]) for name in form.names])
        converted = convert_pt2e(prepared)
    move_exported_model_to_eval(converted)
    for name, value in [*vars(converted).items()]:
        # The 8-bit weights are plain attributes; only as buffers does freezing take them for constants.
        if isinstance(value, torch.Tensor):
            delattr(converted, name)
            converted.register_buffer(name, value)
    return converted


def _quantizer() -> Any:
    """torchao's x86 quantizer, less what inductor can't run.

    An image of one channel lies the same way with its channels first or last. The 8-bit convolution takes it for the
    former and inductor for the latter, and the compiled graph asserts ("expected size 32==32, stride 1==1024").
    """
    import torchao.quantization.pt2e.quantizer.x86_inductor_quantizer as x86

    class Runnable(x86.X86InductorQuantizer):  # type: ignore[misc]
        def annotate(self, model: Any) -> Any:
            model = super().annotate(model)
            for node in model.graph.nodes:
                if _one_channel(node):
                    node.meta.pop("quantization_annotation", None)
            return model

    return Runnable()


def _one_channel(node: Any) -> bool:
    """True for a convolution of images whose input has one channel."""
    if not str(node.target).startswith("aten.conv2d."):
        return False
    value = node.args[0].meta.get("val")
    return value is not None and value.shape[1] == 1


def _channels_last(module: Any) -> Any:
    """The module fed with images whose channels lie last, as the 8-bit kernels want them; its weights stay as they lie.

    Without it, inductor was seen to assert on a depthwise network ("expected size 32==32, stride 1==1024 at dim=1").
    """
    import torch

    class ChannelsLast(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.inner = module

        def forward(self, *tensors: Any) -> Any:
            last = torch.channels_last
            return self.inner(*[t.contiguous(memory_format=last) if t.dim() == 4 else t for t in tensors])

    return ChannelsLast()


def _as_form(graph: Any, form: Any, model: Model, calibration: Calibration) -> Any:
    """A TorchForm that can be stored: the graph exported once more, since a live one can't be pickled."""
    import torch

    from accel.model.exported import exported_module
    from accel.model.torch_form import TorchForm
    from accel.model.tree import flatten

    program = _exported(graph, form, model, calibration, strict=False)
    spelt = tuple(program.graph_signature.user_inputs)
    tree, _ = flatten(dict.fromkeys(spelt, torch.zeros(1)), root="input")
    return TorchForm(exported_module(program), msgspec.structs.replace(tree, names=form.names))


def _exported(module: Any, form: Any, model: Model, calibration: Calibration, *, strict: bool) -> Any:
    """strict: for the flat module, since otherwise a ReLU used twice is one node with two outputs, which the quantizer
    refuses; a graph that was exported before has a plain parameter for each input and is exported as it is.
    """
    import torch

    inputs = {t.name: t for t in model.signature.inputs}
    example = calibration[0]
    # With two rows at least: torch takes an axis of length 1 for a constant.
    rows = int(model.signature.batch) if model.signature.batch != "any" else max(2, calibration.batch)
    tensors = tuple(torch.from_numpy(_of_rows(example[name], rows)) for name in form.names)
    free = [
        {i: torch.export.Dim.DYNAMIC for i, a in enumerate(inputs[n].shape) if isinstance(a, str)} for n in form.names
    ]
    shapes = (tuple(free),) if strict else tuple(free)
    return torch.export.export(module, tensors, dynamic_shapes=shapes, strict=strict)


def _of_rows(array: Any, rows: int) -> Any:
    return np.ascontiguousarray(np.resize(array, (rows, *array.shape[1:])))


def _counted(graph: Any) -> tuple[Counter[str], Counter[str]]:
    """Heavy operators whose first two inputs come out of a dequantize step, and all of them."""
    done: Counter[str] = Counter()
    every: Counter[str] = Counter()
    for node in graph.graph.nodes:
        word = next((w for key, w in _HEAVY.items() if str(node.target).startswith(f"aten.{key}.")), None)
        if word is None:
            continue
        every[word] += 1
        done[word] += all("dequantize" in str(getattr(a, "target", "")) for a in node.args[:2])
    return +done, every


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "")[:250]
