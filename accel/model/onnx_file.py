"""Is this a whole ONNX file, with all of its external data, and none of it from elsewhere?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from accel.errors import InputError
from accel.model.places import inside


def check_onnx(path: Path) -> None:
    """Read the graph, not the external data; raises InputError if it is cut off, empty or reaches out of its folder."""
    for name in external_files(read_graph(path)):
        _check_external(path, name)


def read_graph(path: Path) -> Any:
    """The ModelProto without external data. Raises InputError if the file is no ONNX model."""
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        model = onnx.load(str(path), load_external_data=False)
    except (DecodeError, ValueError, UnicodeDecodeError) as error:
        raise InputError(
            f"Model `{path}` can't be read as ONNX ({error}): it is cut off, damaged or another kind of file. "
            "Export or download it again."
        ) from None
    if not model.graph.node and not model.graph.output:
        raise InputError(f"Model `{path}` holds no graph, so it is no ONNX model or it was cut off.")
    return model


def external_files(model: Any) -> list[str]:
    """Locations named by tensors that lie outside the file, each once, in order."""
    found: dict[str, None] = {}
    for tensor in _tensors(model):
        if tensor.data_location == 1:  # TensorProto.EXTERNAL
            found.update({entry.value: None for entry in tensor.external_data if entry.key == "location"})
    return list(found)


def _tensors(model: Any) -> Iterator[Any]:
    yield from _graph_tensors(model.graph)
    for function in model.functions:
        for node in function.node:
            yield from _node_tensors(node)


def _graph_tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield sparse.values
        yield sparse.indices
    for node in graph.node:
        yield from _node_tensors(node)


def _node_tensors(node: Any) -> Iterator[Any]:
    for attribute in node.attribute:
        yield from [attribute.t, *attribute.tensors]
        for graph in [attribute.g, *attribute.graphs]:
            yield from _graph_tensors(graph)


def _check_external(path: Path, name: str) -> None:
    folder = path.parent
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise InputError(
            f"Model `{path}` keeps weights in `{name}`, outside its own folder, which isn't read. "
            "Put the data file beside the model and save it again with a plain file name."
        )
    target = folder / name
    if not target.exists():
        raise InputError(
            f"Model `{path}` keeps weights in `{name}`, but `{target}` isn't there. Put it beside the model."
        )
    if not inside(target, folder):
        raise InputError(
            f"Model `{path}` keeps weights in `{name}`, which is a link out of its folder (to `{target.resolve()}`) "
            "and isn't read. Copy the file itself beside the model."
        )
