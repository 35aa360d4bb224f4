"""Does this .pt2 hold anything that could run code when it is loaded? Read as a zip, before torch sees it.

What `torch.export.save` of torch 2.13 writes: the graph as JSON, weights and constants as raw bytes, and the example
inputs as a pickle. Besides, such files can hold pickled objects and native code (AOTInductor), and even the JSON can
name any function of torch, or an expression that sympy evaluates. So without `--trust-file` only a copy is loaded that
holds what was checked here: no pickle, no native code, no guards, tensor operators and plain arithmetic only.
"""

from __future__ import annotations

import json
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from accel.errors import InputError

_PLAIN = re.compile(
    r"archive_format|archive_version|version|byteorder|\.format_version|\.storage_alignment|\.data/[a-z_]+"
    r"|data/weights/weight_\d+|data/constants/tensor_\d+"
)
_CONFIG = re.compile(r"data/(weights|constants)/[\w.-]+\.json")
_GRAPH = re.compile(r"models/[\w.-]+\.json")
_EXAMPLE = re.compile(r"data/sample_inputs/[\w.-]+\.pt")
_NATIVE = (".so", ".cubin", ".hsaco", ".o", ".cpp", ".dll", ".pyd", ".py")

_ARITHMETIC = "getitem|add|sub|mul|truediv|floordiv|mod|neg|pow|eq|ne|lt|le|gt|ge|and_|or_|xor|not_|pos|abs"
_HIGHER = "wrap_with_set_grad_enabled|wrap_with_autocast|cond|map|map_impl|scan|while_loop"
_TARGET = re.compile(
    r"torch\.ops\.(aten|prims|quantized_decomposed)\.(?!from_file)\w+(\.\w+)?"
    rf"|torch\.ops\.higher_order\.({_HIGHER})|_operator\.({_ARITHMETIC})|math\.\w+|torch\.sym_\w+"
)
_FUNCTIONS = (
    "Add|Mul|Max|Min|Mod|PythonMod|FloorDiv|CleanDiv|CeilDiv|Pow|PowByNatural|FloatPow|Eq|Ne|Ge|Gt|Le|Lt|And|Or|Not"
    "|Where|Abs|TruncToInt|FloorToInt|CeilToInt|RoundToInt|TruncToFloat|IntTrueDiv|FloatTrueDiv|ToFloat"
    "|ModularIndexing|Integer|Float|Rational|StrictLessThan|LessThan|GreaterThan|StrictGreaterThan|Equality|Unequality"
    "|oo|true|false|True|False"
)
_SYMBOL = r"Symbol\('[a-z]{1,4}\d+'(, [a-z]+=(True|False))*\)"
_EXPRESSION = re.compile(rf"(\s|\d+(\.\d+)?|{_SYMBOL}|[a-z]{{1,4}}\d+\b|({_FUNCTIONS})\b|[-+*/%(),<>=!&|~])*")
_TREES = ("builtins.dict", "builtins.tuple", "builtins.list", "collections.OrderedDict", None)


class _NotPlainError(Exception):
    """What was found that isn't plain data, in words."""


def check_archive(path: Path) -> None:
    """Raise InputError unless the archive could be loaded as plain data."""
    for _ in _plain_parts(path):
        pass


def copy_plain(path: Path, target: Path) -> None:
    """Write a .pt2 that holds only what was checked; the pickled example inputs and the guards are left out.

    Raises InputError like `check_archive`.
    """
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as out:
        for name, data in _plain_parts(path):
            out.writestr(zipfile.ZipInfo(name), data)


def _plain_parts(path: Path) -> Iterator[tuple[str, bytes]]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if min((entry.header_offset for entry in archive.infolist()), default=0):
                raise zipfile.BadZipFile("its directory isn't at its end")
            root = names[0].partition("/")[0] + "/" if names else "/"
            if not any(_GRAPH.fullmatch(n.removeprefix(root)) for n in names):
                _refuse_foreign(path, names)
            if len(set(names)) < len(names):
                raise _NotPlainError("two parts of one name")
            for name in names:
                yield name, _checked(name.removeprefix(root), archive.read(name))
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, AttributeError) as error:
        # Encrypted parts and unknown ways of packing are RuntimeErrors; JSON of another shape lacks attributes.
        raise InputError(f"Model `{path}` can't be read as .pt2 ({error}): cut off or another kind of file.") from None
    except _NotPlainError as found:
        raise InputError(
            f"Model `{path}` holds {found}, which could run code when the file is loaded. If you know who made it, "
            "allow it with --trust-file (trust_file=True): loading it may then run anything as you."
        ) from None


def _refuse_foreign(path: Path, names: list[str]) -> None:
    native = [n for n in names if n.endswith(_NATIVE)]
    if native:
        raise _NotPlainError(f"native code (`{native[0]}`), as AOTInductor packages do")
    if any(n.endswith("data.pkl") for n in names):
        raise _NotPlainError("a pickle (`data.pkl`), as torch.save and TorchScript write it")
    raise InputError(f"Model `{path}` holds no exported program. Write it with torch.export.save(program, path).")


def _checked(name: str, data: bytes) -> bytes:
    if _EXAMPLE.fullmatch(name):
        return b""
    if _GRAPH.fullmatch(name):
        return json.dumps(_plain_graph(_json(name, data))).encode()
    if _CONFIG.fullmatch(name):
        if any(entry.get("use_pickle") for entry in _json(name, data).get("config", {}).values()):
            raise _NotPlainError(f"pickled tensors (`{name}`)")
        return data
    if _PLAIN.fullmatch(name):
        return data
    kind = "native code" if name.endswith(_NATIVE) or "aotinductor" in name else "a part that may be a pickle"
    raise _NotPlainError(f"{kind} (`{name}`)")


def _json(name: str, data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        raise _NotPlainError(f"a part that can't be read (`{name}`)") from None


def _plain_graph(graph: Any) -> Any:
    graph["guards_code"] = []
    return _walked(graph, "")


def _walked(value: Any, key: str) -> Any:
    """The same JSON, every string the loader acts on checked, and metadata (which names functions) emptied."""
    if isinstance(value, dict):
        return {k: {} if k == "metadata" and isinstance(v, dict) else _walked(v, k) for k, v in value.items()}
    if isinstance(value, list):
        return [_walked(v, key) for v in value]
    if isinstance(value, str):
        _check_text(value, key)
    return value


def _check_text(text: str, key: str) -> None:
    if key == "target" and text.startswith(("torch", "_operator", "math", "#")) and not _TARGET.fullmatch(text):
        raise _NotPlainError(f"a call of `{text[:80]}`")
    if key == "expr_str" and not _EXPRESSION.fullmatch(text):
        raise _NotPlainError(f"the expression `{text[:80]}`")
    if key in ("in_spec", "out_spec") and text:
        _check_tree(_json(key, text.encode()))


def _check_tree(value: Any) -> None:
    if isinstance(value, dict):
        if "type" in value and value["type"] not in _TREES:
            raise _NotPlainError(f"inputs or outputs of the type `{value['type']}`")
        if "__enum__" in value or "default_factory_module" in value:
            raise _NotPlainError("inputs or outputs that name a module to import")
        for item in value.values():
            _check_tree(item)
    elif isinstance(value, list):
        for item in value:
            _check_tree(item)
    elif isinstance(value, str) and value[:1] in "[{":
        _check_tree(_json("spec", value.encode()))
