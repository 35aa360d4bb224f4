"""Which channels of a module can be removed, and what goes with them: torch-pruning's dependency graph, read.

The graph (Fang et al. 2023, "DepGraph: Towards Any Structural Pruning") says which layers must lose the same channels.
What accel adds: what the outputs are made of stays whole, attention loses whole heads, and what can't be told is left
alone and said.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np

from accel.compression._torch_edit import is_layer, said
from accel.compression._torch_heads import head_count
from accel.errors import VariantError

Part = tuple[Any, str, float]
"""A layer, whether it loses outputs ("out") or inputs ("in"), and how many of them go with one unit."""


class Block(msgspec.Struct, kw_only=True, eq=False):
    """Units of a module that are removed one by one: channels, neurons or heads, with all that hangs on them.

    root, function: what torch-pruning starts from. units: how many there are. width: channels of a unit (a head's
    size, else 1). copies: into how many equal groups the channels are cut (grouped convolution, group norm); a unit is
    removed from each. scores: (units,) how much each matters. owner: the attention module of heads, else None.
    """

    root: Any
    function: Any
    units: int
    width: int
    copies: int
    scores: Any
    parts: list[Part]
    owner: Any = None

    @property
    def is_heads(self) -> bool:
        """True for attention heads, which aren't rounded."""
        return self.owner is not None

    def channels(self, units: Sequence[int]) -> list[int]:
        """The channels that make up some units, in order."""
        stride = self.units * self.width
        return sorted(
            copy * stride + unit * self.width + i
            for copy in range(self.copies)
            for unit in units
            for i in range(self.width)
        )


class Network(msgspec.Struct, kw_only=True, eq=False):
    """A traced module: its blocks, and in words what was left alone."""

    graph: Any
    blocks: list[Block]
    left: list[str]

    def remove(self, block: Block, kept: int) -> None:
        """Remove the least important units of a block until `kept` are left."""
        order = np.argsort(block.scores, kind="stable")
        gone = [int(i) for i in order[: block.units - kept]]
        if not gone:
            return
        group = self.graph.get_pruning_group(block.root, block.function, block.channels(gone))
        group.prune()


def traced(form: Any, example: dict[str, Any], *, heads: bool = True) -> Network:
    """Trace a module and find its blocks. heads: False leaves attention alone.

    Raises VariantError if torch-pruning can't follow the module.
    """
    import torch_pruning as tp

    outputs: list[Any] = []
    with _trainable(form.module):
        try:
            graph = tp.DependencyGraph().build_dependency(
                form.module,
                example_inputs=example,
                forward_fn=lambda module, given: _forward(form, given, outputs),
                verbose=False,
            )
            network = Network(graph=graph, blocks=[], left=[])
            _find(network, _kept_whole(graph, outputs), heads)
        except Exception as error:  # it fails in as many ways as modules are written
            raise VariantError(
                f"torch-pruning can't follow this module: {said(error)}",
                "Prune the module yourself and give the result, or use `low_rank`.",
            ) from error
    return network


@contextlib.contextmanager
def _trainable(module: Any) -> Iterator[None]:
    """Gradients are what the graph is read from; whoever froze a weight finds it frozen again."""
    import torch

    frozen = {name for name, p in module.named_parameters() if not p.requires_grad}
    for p in module.parameters():
        p.requires_grad_(p.is_floating_point())
    with torch.enable_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    for name, p in module.named_parameters():
        p.requires_grad_(name not in frozen and p.is_floating_point())


def _forward(form: Any, given: dict[str, Any], outputs: list[Any]) -> list[Any]:
    from accel.model.torch_form import as_tensor
    from accel.model.tree import flatten

    _, tensors = flatten(form.invoke({name: as_tensor(given[name]) for name in form.names}), root="output")
    outputs += [t for t in tensors.values() if t.grad_fn is not None]
    return outputs


def _kept_whole(graph: Any, outputs: Sequence[Any]) -> set[Any]:
    """The layers whose outputs become the model's, through operators without weights or of one weight a channel."""
    ends = {t.grad_fn for t in outputs}
    waiting = [node for node in graph.module2node.values() if node.grad_fn in ends]
    seen: set[int] = set()
    found: set[Any] = set()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if _makes_channels(node.module):
            found.add(node.module)
        else:
            waiting += node.inputs
    return found


def _makes_channels(module: Any) -> bool:
    import torch

    others = (torch.nn.Embedding, torch.nn.RNNBase, torch.nn.MultiheadAttention, torch.nn.Parameter)
    return is_layer(module) or isinstance(module, others)


def _find(network: Network, whole: set[Any], heads: bool) -> None:
    """Fill in the blocks that may lose units."""
    import torch

    graph = network.graph
    groups = list(graph.get_all_groups(root_module_types=[torch.nn.modules.conv._ConvNd, torch.nn.Linear]))
    attention = {id(g): _attends(graph, g) for g in groups}
    # What an attention's projections read is the residual stream, which all layers share: it stays as it is.
    projections = {m for g in groups if attention[id(g)] for m in _layers(graph, g, "out")}
    skipped = 0
    for group in groups:
        if whole & set(_layers(graph, group, "out")) or projections & set(_layers(graph, group, "in")):
            continue
        if any(_unclear(item.dep.target.module) for item in group):
            continue
        block = _heads(graph, group) if attention[id(group)] else _channels(graph, group)
        if attention[id(group)] and (block is None or not heads):
            skipped += 1
        elif block is not None:
            network.blocks.append(block)
    if skipped:
        why = "its code assumes all heads" if not heads else "the number of heads isn't known or can't be changed"
        network.left.append(f"{skipped} attention block{'s' * (skipped > 1)} left whole: {why}")


def _attends(graph: Any, group: Any) -> bool:
    """True if a product of two activations hangs on these channels."""
    words = ("bmm", "scaleddotproduct", "baddbmm")
    for item in group:
        for node in (item.dep.source, item.dep.target):
            name = str(getattr(node.module, "_grad_fn", "")).lower()
            if any(word in name for word in words) or (name.startswith("mmbackward") and not is_layer(node.module)):
                return True
    return False


def _unclear(module: Any) -> bool:
    """A bare parameter of several axes (positions, class tokens): which axis are the channels is a guess."""
    import torch

    if isinstance(module, torch.nn.Parameter):
        return len([size for size in module.shape if size > 1]) > 1
    return isinstance(module, torch.nn.MultiheadAttention | torch.nn.RNNBase)


def _layers(graph: Any, group: Any, side: str) -> list[Any]:
    """The layers of a group that lose outputs or inputs."""
    return [m for m, where, _ in _parts(graph, group) if where == side]


def _parts(graph: Any, group: Any, units: int = 1) -> list[Part]:
    found: dict[tuple[int, str], Part] = {}
    for item in group:
        module, handler = item.dep.target.module, item.dep.handler
        if not is_layer(module):
            continue
        # A depthwise convolution loses inputs and outputs by one and the same step.
        side = "out" if graph.is_out_channel_pruning_fn(handler) else "in"
        known = found.get((id(module), side), (module, side, 0.0))
        found[(id(module), side)] = (module, side, known[2] + len(item.idxs) / units)
    return list(found.values())


def _channels(graph: Any, group: Any) -> Block | None:
    scores = _scores(group)
    if scores is None:
        return None
    copies = _copies(graph, group)
    if len(scores) % copies:
        return None
    units = len(scores) // copies
    return Block(
        root=group[0].dep.target.module,
        function=group[0].dep.handler,
        units=units,
        width=1,
        copies=copies,
        scores=scores.reshape(copies, units).mean(0),
        parts=_parts(graph, group, units),
    )


def _scores(group: Any) -> Any:
    """The group's L2 norm, relative to its mean, a channel (torch-pruning's GroupMagnitudeImportance)."""
    import torch_pruning as tp

    found = tp.importance.GroupMagnitudeImportance(p=2)(group)
    return None if found is None or not len(found) else found.detach().double().numpy()


def _copies(graph: Any, group: Any) -> int:
    """Into how many equal parts a grouped convolution or group norm among the layers cuts the channels."""
    found = [1]
    for item in group:
        module, handler = item.dep.target.module, item.dep.handler
        pruner = graph.get_pruner_of_module(module)
        if pruner is None or (is_layer(module) and getattr(module, "groups", 1) == getattr(module, "out_channels", 0)):
            continue
        is_out = graph.is_out_channel_pruning_fn(handler)
        found.append(pruner.get_out_channel_groups(module) if is_out else pruner.get_in_channel_groups(module))
    return max(found)


def _heads(graph: Any, group: Any) -> Block | None:
    """Whole heads of an attention module that says how many it has; None if that can't be told."""
    outs, ins = _layers(graph, group, "out"), _layers(graph, group, "in")
    found = head_count(outs, graph.model)
    if found is None or not ins:
        return None
    owner, count = found
    # From the layer behind: there the heads lie one after another, even where one layer makes query, key and value.
    root = ins[0]
    item = next(i for i in group if i.dep.target.module is root and not graph.is_out_channel_pruning_fn(i.dep.handler))
    whole = graph.get_pruning_group(root, item.dep.handler, list(range(graph.get_in_channels(root))))
    scores = _scores(whole)
    if scores is None or len(scores) % count:
        return None
    return Block(
        root=root,
        function=item.dep.handler,
        units=count,
        width=len(scores) // count,
        copies=1,
        scores=scores.reshape(count, -1).mean(1),
        parts=_parts(graph, whole, count),
        owner=owner,
    )
