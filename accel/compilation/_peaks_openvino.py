"""Products of matrices as OpenVINO computes them, to find what the processor can do at most."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

Product = tuple[str, Callable[[], object]]


def products(kind: str, size: int, threads: int) -> Iterator[Product]:
    """Ways to multiply `size` x `size` in "fp32", "bf16" or "int8" on `threads` threads."""
    import openvino as ov

    told = {
        "INFERENCE_NUM_THREADS": str(threads),
        "NUM_STREAMS": "1",
        "INFERENCE_PRECISION_HINT": "bf16" if kind == "bf16" else "f32",
    }
    compiled = ov.Core().compile_model(_graph(kind, size), "CPU", told)
    request = compiled.create_infer_request()
    given = np.random.default_rng(size).random((size, size), np.float32)
    request.set_input_tensor(ov.Tensor(given, shared_memory=True))
    yield f"openvino {ov.__version__.partition('-')[0]} MatMul", request.infer


def _graph(kind: str, size: int) -> Any:
    """x times a constant; in 8 bits with the steps that make OpenVINO compute there, which count nothing."""
    import openvino as ov
    from openvino import opset13 as ops

    rng = np.random.default_rng(size + 1)
    x = ops.parameter([size, size], np.float32, name="x")
    if kind != "int8":
        weight = ops.constant((rng.random((size, size)) - 0.5).astype(np.float32))
        return ov.Model([ops.matmul(x, weight, False, True)], [x], "product")
    low, high = np.float32(0), np.float32(1)
    eight = ops.fake_quantize(x, low, high, low, high, 256)
    stored = ops.constant(rng.integers(-127, 127, (size, size)).astype(np.int8))
    weight = ops.multiply(ops.convert(stored, np.float32), ops.constant(np.full((size, 1), 0.01, np.float32)))
    return ov.Model([ops.matmul(eight, weight, False, True)], [x], "product")
