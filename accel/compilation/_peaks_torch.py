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
    if kind == "int8":
        yield f"{name} _int_mm", _quiet(_int_mm(torch, size))
        return
    dtype = torch.float32 if kind == "fp32" else torch.bfloat16
    left, right = ((torch.rand((size, size)) - 0.5).to(dtype) for _ in range(2))
    out = torch.empty_like(left)
    yield f"{name} mm", _quiet(lambda: torch.mm(left, right, out=out))


def _int_mm(torch: Any, size: int) -> Callable[[], object]:
    a, b = (torch.randint(-128, 127, (size, size), dtype=torch.int8) for _ in range(2))
    return lambda: torch._int_mm(a, b)


def _quiet(call: Callable[[], object]) -> Callable[[], object]:
    """Without the bookkeeping of gradients."""
    import torch

    def run() -> object:
        with torch.inference_mode():
            return call()

    return run
