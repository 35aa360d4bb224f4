"""Folders and names of models that a library builds: seen in the parent, without importing that library."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from accel.errors import InputError

CONFIG = "config.json"
_NAME = {
    "hf": re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?(@\w[\w.-]*(/\w[\w.-]*)*)?"),
    "timm": re.compile(r"[A-Za-z0-9][\w.-]*(\?pretrained=(true|false))?"),
}
_SUCH_AS = {
    "hf": "hf:distilbert/distilbert-base-uncased or, with a revision, hf:NAME@main",
    "timm": "timm:resnet50 or, with seeded random weights, timm:resnet50?pretrained=false",
}


def is_model_folder(path: Path) -> bool:
    """True for a folder in the layout of Hugging Face."""
    return (path / CONFIG).is_file()


def check_name(text: str) -> tuple[Literal["hf", "timm"], str]:
    """(library, the model's own name) of `hf:NAME` or `timm:NAME`. Raises InputError for a name that can't be one.

    >>> check_name("hf:org/net@v1"), check_name("timm:resnet50?pretrained=false")
    (('hf', 'net'), ('timm', 'resnet50'))
    """
    kind: Literal["hf", "timm"] = "hf" if text.startswith("hf:") else "timm"
    name = text.removeprefix(f"{kind}:")
    if not _NAME[kind].fullmatch(name):
        raise InputError(f"Model `{text}` names no model. Write it as {_SUCH_AS[kind]}.")
    return kind, name.partition("@")[0].partition("?")[0].rpartition("/")[2]
