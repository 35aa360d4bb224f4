"""More items than the recipes take, so that a drop of one percentage point can be told from chance.

The same generators and the same first draws as `recipes/models/*.py`, whose own samples are as many as a study of a few
minutes can answer.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

LINES = 2600
_MODELS = Path(__file__).parents[2] / "recipes" / "models"


def lines() -> dict[str, Any]:
    """Rendered lines of text for the recogniser, six times as many as in its recipe."""
    recipe = recipe_module("ocr")
    recipe.LINES = LINES
    found: dict[str, Any] = recipe.samples()
    return found


def sentences() -> list[dict[str, Any]]:
    """Every docstring of the nine areas that the recipe draws from: some 1,800."""
    recipe = recipe_module("minilm")
    recipe.PER_AREA = sys.maxsize
    found: list[dict[str, Any]] = recipe.samples()
    return found


def recipe_module(name: str) -> Any:
    """The module beside a recipe; its own imports lie in the same folder."""
    sys.path.insert(0, str(_MODELS))
    return importlib.import_module(name)
