"""The folder is the registry: `accel/compression/quantize_static.py` *is* `quantize_static`.

A plug-in is one frozen `msgspec.Struct` in a file of its own; its fields are its knobs, each with a default.
Third parties add theirs through the entry-point group `accel.plugins`, named `KIND.NAME`.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import pkgutil
import re
import sys
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from accel.errors import InputError, nearest

FOLDERS = {
    "compression": "accel.compression",
    "compilation": "accel.compilation",
    "batching": "accel.batching",
    "scenarios": "accel.scenarios",
    "charts": "accel.report.charts",
}
WORDS = {
    "compression": "compression technique",
    "compilation": "backend",
    "batching": "batching policy",
    "scenarios": "scenario",
    "charts": "chart",
}
_JOIN = re.compile(r"\+(?=[a-z]\w*(?:[:+]|$))")
"""A plus sign before a name; one inside a value (1e+5, a path) isn't followed by a name alone."""


class Named(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A plug-in as plain data, so that reading a result never needs the plug-in itself."""

    name: str
    fields: dict[str, Any] = {}

    def __str__(self) -> str:
        if not self.fields:
            return self.name
        return f"{self.name}({', '.join(f'{k}={v}' for k, v in sorted(self.fields.items()))})"


@cache
def _third_party(kind: str) -> dict[str, importlib.metadata.EntryPoint]:
    prefix = kind + "."
    found = importlib.metadata.entry_points(group="accel.plugins")
    return {e.name.removeprefix(prefix): e for e in found if e.name.startswith(prefix)}


@cache
def names(kind: str) -> tuple[str, ...]:
    """The names a folder (and installed third parties) offer, sorted; imports no plug-in."""
    package = importlib.import_module(FOLDERS[kind])
    own = {m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_")}
    return tuple(sorted(own | set(_third_party(kind))))


@cache
def load(kind: str, name: str) -> type[Any]:
    """The class of one plug-in; imports that one file only.

    Raises InputError for an unknown name, with the nearest known one.
    """
    if name not in names(kind):
        raise InputError(f"No {WORDS[kind]} is called `{name}`. {nearest(name, names(kind))}")
    if name in _third_party(kind):
        return _only_struct(_third_party(kind)[name].load(), name)
    return _only_struct(importlib.import_module(f"{FOLDERS[kind]}.{name}"), name)


def _only_struct(found: Any, name: str) -> type[Any]:
    if isinstance(found, type):
        return found
    own = [
        value
        for key, value in vars(found).items()
        if isinstance(value, type)
        and issubclass(value, msgspec.Struct)
        and value.__module__ == found.__name__
        and not key.startswith("_")
    ]
    if len(own) != 1:
        raise InputError(
            f"The plug-in file `{name}.py` must hold exactly one public msgspec.Struct, but holds {len(own)}."
        )
    return own[0]


def make(kind: str, named: Named) -> Any:
    """Turn plain data into a checked plug-in object; errors carry the whole path."""
    cls = load(kind, named.name)
    try:
        return msgspec.convert(named.fields, cls)
    except msgspec.ValidationError as error:
        known = [f.encode_name for f in msgspec.structs.fields(cls)]
        wrong = [k for k in named.fields if k not in known]
        if wrong:
            raise InputError(
                f"The {WORDS[kind]} `{named.name}` has no field `{wrong[0]}`. {nearest(wrong[0], known)}"
            ) from None
        said, _, place = str(error).partition(" - at ")
        field = f"field `{place.strip('`').removeprefix('$.')}`: " if place else ""
        raise InputError(
            f"The {WORDS[kind]} `{named.name}`: {field}{said}. See its fields with `accel list {named.name}`."
        ) from None


def name_of(plugin: Any) -> str:
    """The registry name of a plug-in object: its file's name, or its entry point's.

    The object is one that `make` or `load` gave.
    """
    module = type(plugin).__module__
    for kind in FOLDERS:
        for name, entry in _third_party(kind).items():
            # A module may hold several plug-ins; without a class the entry names the module itself.
            if entry.module == module and entry.attr in ("", type(plugin).__qualname__):
                return name
    return module.rpartition(".")[2]


def plain(plugin: Any) -> Named:
    """The opposite of `make`: only fields that differ from their defaults are kept."""
    fields: dict[str, Any] = {}
    for field in msgspec.structs.fields(type(plugin)):
        value = getattr(plugin, field.name)
        made = field.default_factory is not msgspec.NODEFAULT
        if value != (field.default_factory() if made else field.default):
            fields[field.encode_name] = _listed(msgspec.to_builtins(value))
    return Named(name_of(plugin), fields)


def _listed(value: Any) -> Any:
    """Lists for tuples, so that what comes back from JSON or TOML is equal."""
    return [_listed(v) for v in value] if isinstance(value, tuple | list) else value


def parse(kind: str, given: str | dict[str, Any] | Named) -> Named:
    """Read `"openvino"`, `"openvino:streams=2,precision=f32"` or `{"name": "openvino", "streams": 2}`, and check it.

    >>> str(parse("batching", "fixed:size=16"))
    'fixed(size=16)'
    """
    if isinstance(given, Named):
        named = given
    elif isinstance(given, str):
        named = _from_text(kind, given)
    elif isinstance(given, dict) and isinstance(given.get("name"), str):
        named = Named(given["name"], {k: _said(k, v) for k, v in given.items() if k != "name"})
    else:
        raise InputError(
            f'A {WORDS[kind]} must be a name or a table with a `name`, such as {{ name = "{names(kind)[0]}" }}, '
            f"but is `{given!r}`."
        )
    return plain(make(kind, named))


def parse_several(kind: str, given: Any) -> tuple[Named, ...]:
    """Read plug-ins that follow one another: `"a+b:field=1"`, one of what `parse` takes, or a list of these; checked.

    >>> [str(one) for one in parse_several("compression", "quantize_dynamic:per_channel=false+lower_precision")]
    ['quantize_dynamic(per_channel=False)', 'lower_precision']
    """
    if isinstance(given, str):
        return tuple(parse(kind, part) for part in _JOIN.split(given))
    if isinstance(given, list | tuple):
        return tuple(named for one in given for named in parse_several(kind, one))
    return (parse(kind, given),)


def _said(field: str, value: Any) -> Any:
    """A field's value as plain data: a function becomes `file.py:name`, by which another process finds it.

    Raises InputError for a function that no other process would find.
    """
    if not callable(value):
        return value
    module, name = sys.modules.get(getattr(value, "__module__", None) or ""), getattr(value, "__qualname__", "")
    file = getattr(module, "__file__", None) or ""
    if not file.endswith(".py") or getattr(module, name, None) is not value:
        raise InputError(
            f"The function given as `{field}` can't be found again by another process: it is a lambda, a method, "
            "inside another function, or typed at a prompt. Write it at the top level of a file and give "
            "`file.py:name`."
        )
    return f"{Path(file).absolute()}:{name}"


def _from_text(kind: str, text: str) -> Named:
    name, _, rest = text.partition(":")
    fields: dict[str, Any] = {}
    for part in filter(None, rest.split(",")):
        key, equals, value = part.partition("=")
        if not equals:
            raise InputError(f"In `{text}` the part `{part}` must be FIELD=VALUE, such as `{name}:threads=1`.")
        fields[key.strip()] = _value(value.strip())
    return Named(name.strip(), fields)


def _value(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
