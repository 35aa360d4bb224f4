"""How many graphs has torch compiled in this process? More of them while a model runs means: it compiles again.

torch.compile traces a graph for the shapes it has seen and guards it; a shape that a guard refuses is compiled anew in
the middle of a call, and after `recompile_limit` times the model runs uncompiled without a word.
Source: https://docs.pytorch.org/docs/stable/compile/programming_model.recompilation.html
"""

from __future__ import annotations

import sys
from typing import Any


def compiled_graphs() -> int | None:
    """Graphs that torch has compiled in this process so far; None where nothing is compiled by torch.

    Looked up, not imported: a process that measures another runtime must not load torch for it.
    """
    dynamo: Any = sys.modules.get("torch._dynamo.utils")
    return None if dynamo is None else int(dynamo.counters["stats"]["unique_graphs"])


def since(before: int | None) -> int | None:
    """How many were compiled since `before`; None where it isn't known."""
    now = compiled_graphs()
    return None if now is None else now - (before or 0)
