"""Products of matrices as torch computes them, to find what the processor can do at most."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

Product = tuple[str, Callable[[], object]]
"""(what it is, in words; the call)."""


def products(kind: str, size: int, threads: int) -> Iterator[Product]:
    """Ways to multiply `size` x `size` in "fp32", "bf16" or "int8" on `threads` threads."""
    import torch

    torch.set_num_threads(threads)
    name = f"torch {torch.__version__}"
    left, right = (torch.rand((size, size)) - 0.5 for _ in range(2))
    if kind in ("fp32", "bf16"):
        dtype = torch.float32 if kind == "fp32" else torch.bfloat16
        a, b = left.to(dtype), right.to(dtype)
        out = torch.empty_like(a)
        yield f"{name} mm", _quiet(lambda: torch.mm(a, b, out=out))
        return
    yield f"{name} _int_mm", _quiet(_int_mm(torch, size))
    if "onednn" in torch.backends.quantized.supported_engines:
        yield f"{name} quantized linear (oneDNN)", _quiet(_linear(torch, left, right))


def _int_mm(torch: Any, size: int) -> Callable[[], object]:
    a, b = (torch.randint(-128, 127, (size, size), dtype=torch.int8) for _ in range(2))
    return lambda: torch._int_mm(a, b)


def _linear(torch: Any, left: Any, right: Any) -> Callable[[], object]:
    torch.backends.quantized.engine = "onednn"
    packed = torch.ops.quantized.linear_prepack(torch.quantize_per_tensor(right, 0.01, 0, torch.qint8), None)
    given = torch.quantize_per_tensor(left, 0.01, 128, torch.quint8)
    return lambda: torch.ops.quantized.linear(given, packed, 0.1, 128)


def _quiet(call: Callable[[], object]) -> Callable[[], object]:
    """Without the bookkeeping of gradients."""
    import torch

    def run() -> object:
        with torch.inference_mode():
            return call()

    return run
