"""Products of matrices as ONNX Runtime computes them, to find what the processor can do at most."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

Product = tuple[str, Callable[[], object]]


def products(kind: str, size: int, threads: int) -> Iterator[Product]:
    """Ways to multiply `size` x `size` in "fp32" or "int8" on `threads` threads; none in "bf16"."""
    if kind == "bf16":
        return
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    # A pool that spins after its call would steal a core from whatever is timed next.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0" if threads == 1 else "1")
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = ort.InferenceSession(_graph(kind, size), options, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(size)
    given = rng.integers(0, 255, (size, size), np.uint8) if kind == "int8" else rng.random((size, size), np.float32)
    name = "MatMulInteger" if kind == "int8" else "MatMul"
    yield f"onnxruntime {ort.__version__} {name}", lambda: session.run(None, {"x": given})


def _graph(kind: str, size: int) -> bytes:
    """x times a constant, which the runtime packs once, as it does with weights."""
    import onnx
    from onnx import TensorProto, helper

    rng = np.random.default_rng(size + 1)
    eight = kind == "int8"
    weight = (
        rng.integers(-128, 127, (size, size)).astype(np.int8)
        if eight
        else (rng.random((size, size)) - 0.5).astype(np.float32)
    )
    in_type, out_type = (TensorProto.UINT8, TensorProto.INT32) if eight else (TensorProto.FLOAT, TensorProto.FLOAT)
    shape = [size, size]
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger" if eight else "MatMul", ["x", "w"], ["y"])],
        "product",
        [helper.make_tensor_value_info("x", in_type, shape)],
        [helper.make_tensor_value_info("y", out_type, shape)],
        [onnx.numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())
