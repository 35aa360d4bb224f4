"""A network whose answers hang on plain values, not on weights alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


class Unsayable:
    """Can be stored once, and then says nothing of what it holds."""

    __slots__ = ("silent",)

    def __init__(self, *, silent: bool = False) -> None:
        self.silent = silent

    def __reduce__(self) -> Any:
        if self.silent:
            raise TypeError("it says nothing")
        return (_silent, ())


def _silent() -> Unsayable:
    return Unsayable(silent=True)


class Scaled(torch.nn.Module):
    def __init__(
        self,
        scale: float = 2.0,
        buffer: float = 1.0,
        listed: Any = (1, {"a": 2}),
        how: Callable[[Any], Any] = torch.relu,
        extra: Any = None,
    ) -> None:
        super().__init__()
        self.scale, self.listed, self.how, self.extra = scale, listed, how, extra
        self.register_buffer("shift", torch.full((1,), buffer), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.how(x) * self.scale + self.shift
