"""Ablation of a network that NNCF quantized: nodes are rewired past what NNCF has put before them.

NNCF keeps the names of a network's nodes and adds its own: FakeQuantize before inputs, Multiply for SmoothQuant; it
also changes biases. A node goes back to float by reading what it read in the float network, its constants included,
and its bias with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from accel.rescue.ablation import Arrays, joined
from accel.rescue.error import error

_SETTINGS = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1"}
_CONSTANT = ("Constant", "Convert")
_PROFILED_RUNS = 6
_DEEPEST = 8


class IrAblation:
    """Answers of a quantized OpenVINO network with some nodes in float.

    names: of the outputs, in order. batches: what is fed, each a dict of arrays in the order of the inputs.
    """

    def __init__(
        self, float_path: Path, quantized_path: Path, batches: Iterable[Arrays], *, names: list[str], threads: int
    ) -> None:
        import openvino as ov

        self._core = ov.Core()
        self._float = self._core.read_model(str(float_path))
        self._quantized = self._core.read_model(str(quantized_path))
        self._batches, self._names = [list(batch.values()) for batch in batches], names
        self._settings = {**_SETTINGS, "INFERENCE_NUM_THREADS": str(threads)}
        self._originals = {node.get_friendly_name(): node for node in self._float.get_ops()}
        self._known: dict[frozenset[str], float] = {}
        self.nodes = self._found()

    def _found(self) -> tuple[tuple[str, str], ...]:
        ordered = self._quantized.get_ordered_ops()
        return tuple(
            (node.get_friendly_name(), node.get_type_name())
            for node in ordered
            if node.get_friendly_name() in self._originals
            and any(v.get_node().get_type_name() == "FakeQuantize" for v in node.input_values())
        )

    @cached_property
    def expected(self) -> dict[str, npt.NDArray[Any]]:
        """The float network's answers."""
        return self._run(self._float)

    @cached_property
    def self_check_error(self) -> float:
        return self.error(frozenset(self._originals))

    def outputs(self, left: Set[str]) -> dict[str, npt.NDArray[Any]]:
        return self._run(floatize(self._quantized, self._originals, left))

    def error(self, left: Set[str]) -> float:
        key = frozenset(left)
        if key not in self._known:
            self._known[key] = error(self.outputs(left), self.expected)
        return self._known[key]

    def units(self) -> dict[str, frozenset[str]]:
        return {name: frozenset({name}) for name, _ in self.nodes}

    def saved_ms(self) -> dict[str, float]:
        before, after = self._profiled(self._float), self._profiled(self._quantized)
        return {name: before[name] - after.get(name, 0.0) for name, _ in self.nodes if name in before}

    def _run(self, network: Any) -> dict[str, npt.NDArray[Any]]:
        request = self._core.compile_model(network, "CPU", self._settings).create_infer_request()
        found = []
        for batch in self._batches:
            answer = request.infer(batch)
            found.append({name: np.array(answer[i]) for i, name in enumerate(self._names)})
        return joined(found)

    def _profiled(self, network: Any) -> dict[str, float]:
        settings = {**self._settings, "PERF_COUNT": "YES"}
        request = self._core.compile_model(network, "CPU", settings).create_infer_request()
        spent: dict[str, list[float]] = {}
        for _ in range(_PROFILED_RUNS):
            request.infer(self._batches[0])
            for one in request.get_profiling_info():
                spent.setdefault(one.node_name, []).append(one.real_time.total_seconds() * 1e3)
        return {name: float(np.median(times)) for name, times in spent.items()}


def floatize(quantized: Any, originals: dict[str, Any], left: Set[str]) -> Any:
    """A copy of a quantized network in which the nodes `left` read what they read in the float network."""
    network = quantized.clone()
    there = {node.get_friendly_name(): node for node in network.get_ops()}
    for name in left:
        node, original = there.get(name), originals.get(name)
        if node is None or original is None:
            continue
        _restore(node, original, originals)
        for output in node.outputs():
            for target in output.get_target_inputs():
                reader = target.get_node()
                if reader.get_type_name() == "Add" and reader.get_friendly_name() in originals:
                    _restore_constants(reader, originals[reader.get_friendly_name()])
    return network


def _restore(node: Any, original: Any, originals: dict[str, Any]) -> None:
    _restore_constants(node, original)
    for i in range(len(original.inputs())):
        if _constant(original.input_value(i)) is None:
            source = _past(node.input_value(i), originals)
            if source is not None:
                node.input(i).replace_source_output(source)


def _restore_constants(node: Any, original: Any) -> None:
    from openvino import opset13 as ops

    for i in range(len(original.inputs())):
        value = _constant(original.input_value(i))
        if value is not None:
            node.input(i).replace_source_output(ops.constant(value).output(0))


def _constant(output: Any) -> npt.NDArray[Any] | None:
    """The value of a constant, or of a constant that is converted; None for anything else."""
    node = output.get_node()
    if node.get_type_name() == "Convert":
        value = _constant(node.input_value(0))
        return None if value is None else value.astype(output.get_element_type().to_dtype())
    if node.get_type_name() != "Constant":
        return None
    data: npt.NDArray[Any] = node.data
    return data


def _past(output: Any, originals: dict[str, Any]) -> Any:
    """What an input read before NNCF put nodes of its own before it; None where that is what it reads now."""
    found = output
    for _ in range(_DEEPEST):
        node = found.get_node()
        if node.get_friendly_name() in originals:
            return None if found is output else found
        found = node.input_value(0)
    return None
