"""Ablation of a QDQ graph in ONNX Runtime: rewired in memory, run on one calibration batch, timed by its profiler."""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from collections.abc import Collection, Iterable, Set
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from accel.rescue.ablation import Arrays, joined
from accel.rescue.error import error
from accel.rescue.floatize import Parts, floatize, sharing

_PROFILED_RUNS = 6
_US_PER_MS = 1e3


class OnnxAblation:
    """Answers of a quantized graph with some nodes in float.

    parts: the graph taken apart. float_path, quantized_path: the two files it came from. batches: what is fed, each a
    dict of arrays. threads: of one operator.
    """

    def __init__(
        self, parts: Parts, float_path: Path, quantized_path: Path, batches: Iterable[Arrays], *, threads: int
    ) -> None:
        self.parts, self.nodes = parts, parts.nodes
        self._float, self._quantized = float_path, quantized_path
        self._batches, self._threads = [dict(batch) for batch in batches], threads
        self._known: dict[frozenset[str], float] = {}

    @cached_property
    def expected(self) -> dict[str, npt.NDArray[Any]]:
        """The float model's answers."""
        return self._run(str(self._float))

    @cached_property
    def self_check_error(self) -> float:
        every = {node.name for node in self.parts.reference.graph.node}
        quantized = self._run(str(self._quantized))
        return max(self.error(every), error(self.outputs(frozenset()), quantized))

    def outputs(self, left: Set[str]) -> dict[str, npt.NDArray[Any]]:
        return self._run(floatize(self.parts, left).SerializeToString())

    def clean_error(self, left: Set[str], clean: Path) -> float:
        """Distance of a cleanly quantized file's answers from those of the same nodes left out by rewiring.

        Both without optimizations: fusing in another order rounds differently, which 8 bits carry on to percents.
        """
        rewired = self._run(floatize(self.parts, left).SerializeToString(), optimize=False)
        return error(self._run(str(clean), optimize=False), rewired)

    def error(self, left: Set[str]) -> float:
        key = frozenset(left)
        if key not in self._known:
            self._known[key] = error(self.outputs(left), self.expected)
        return self._known[key]

    def units(self) -> dict[str, frozenset[str]]:
        found = {name: frozenset({name}) for name, _ in self.nodes}
        for names in sharing(self.parts):
            found.setdefault(" and ".join(sorted(names)), names)
        return found

    def saved_ms(self) -> dict[str, float]:
        owners = kernel_owners(self.parts)
        before, after = (self._profiled(path, owners) for path in (self._float, self._quantized))
        return {name: before[name] - after.get(name, 0.0) for name, _ in self.nodes if name in before}

    def _run(self, model: Any, *, optimize: bool = True) -> dict[str, npt.NDArray[Any]]:
        session = _session(model, self._threads, optimize=optimize)
        names = [output.name for output in session.get_outputs()]
        return joined([dict(zip(names, session.run(names, batch), strict=True)) for batch in self._batches])

    def _profiled(self, path: Path, owners: dict[str, str]) -> dict[str, float]:
        with tempfile.TemporaryDirectory() as folder:
            session = _session(str(path), self._threads, profile=f"{folder}/profile")
            for _ in range(_PROFILED_RUNS):
                session.run(None, self._batches[0])
            return by_node(json.loads(Path(session.end_profiling()).read_text()), owners)


def _session(model: Any, threads: int, profile: str | None = None, *, optimize: bool = True) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    if not optimize:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = profile
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def kernel_owners(parts: Parts) -> dict[str, str]:
    """By the name of any node or of what it writes: the quantized node whose time it counts to.

    ONNX Runtime fuses an activation into the operator before it and names the kernel after either, or after the tensor
    written. What isn't quantized itself counts to the quantized node before it: in both graphs, so that it cancels.
    """
    quantized = {name for name, _ in parts.nodes}
    owners: dict[str, str] = {}
    for node in parts.reference.graph.node:
        owner = node.name if node.name in quantized else next((owners[i] for i in node.input if i in owners), None)
        if owner is not None:
            owners |= dict.fromkeys((node.name, *(name for name in node.output if name)), owner)
    return owners


def by_node(events: list[dict[str, Any]], owners: dict[str, str]) -> dict[str, float]:
    """Median milliseconds a run in ONNX Runtime's profile, summed by the node that `owners` counts a kernel to."""
    found: dict[str, list[float]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and str(event["name"]).endswith("_kernel_time"):
            found[str(event["name"]).removesuffix("_kernel_time")].append(float(event["dur"]) / _US_PER_MS)
    spent: dict[str, float] = defaultdict(float)
    for name, times in found.items():
        original = _origin(name, owners)
        if original is not None:
            spent[owners[original]] += float(np.median(times))
    return dict(spent)


def _origin(name: str, known: Collection[str]) -> str | None:
    """The longest known name that a kernel's name begins with, as optimizers write it.

    >>> _origin("fused conv1_nchwc", {"conv1", "conv"})
    'conv1'
    """
    bare = name.removeprefix("fused ")
    return max((one for one in known if bare == one or bare.startswith((f"{one}_", f"{one}/"))), key=len, default=None)
