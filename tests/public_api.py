"""The public names of accel with their signatures, as text. `python -m tests.public_api` rewrites the golden file."""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path
from typing import Any

import msgspec

import accel

GOLDEN = Path(__file__).parent / "golden" / "public_api.txt"


def as_text() -> str:
    """One line a public name; a class is followed by its public members."""
    lines = [line for name in accel.__all__ for line in _lines(name, getattr(accel, name))]
    return "\n".join([*lines, *_result_fields()]) + "\n"


def _lines(name: str, value: Any) -> list[str]:
    if not inspect.isclass(value):
        return [f"{name}{_signature(value)}"]
    bases = ", ".join(base.__name__ for base in value.__bases__ if base is not object)
    lines = [f"class {name}({bases})" if bases else f"class {name}"]
    if issubclass(value, msgspec.Struct) or dataclasses.is_dataclass(value):
        lines += [f"    {field}: {kind}" for field, kind in value.__annotations__.items() if not field.startswith("_")]
    else:
        lines += [f"    __init__{_signature(value.__init__)}"] if "__init__" in vars(value) else []
    return lines + [f"    {member}" for member in _members(value)]


def _members(cls: type[Any]) -> list[str]:
    found = []
    for name, member in sorted(vars(cls).items()):
        if name.startswith("_"):
            continue
        plain = inspect.unwrap(getattr(member, "__func__", member)) if not isinstance(member, property) else member.fget
        plain = getattr(plain, "func", plain)
        if isinstance(member, property) or type(member).__name__ == "cached_property":
            found.append(f"{name} -> {inspect.signature(plain).return_annotation}")
        elif inspect.isfunction(plain):
            found.append(f"{name}{_signature(plain)}")
    return found


def _result_fields() -> list[str]:
    """The stored format is public too: who reads results by program relies on these names."""
    from accel import result

    fields = ", ".join(field.encode_name for field in msgspec.structs.fields(result.Result))
    return [f"file format {result.SCHEMA_VERSION}: {fields}"]


def _signature(value: Any) -> str:
    return str(inspect.signature(value))


if __name__ == "__main__":
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text(as_text(), "utf-8")
