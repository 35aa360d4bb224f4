"""`accel list`: every plug-in, the fields of one, or what happened to the variants of a study."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import click

from accel import plugins
from accel.errors import InputError, NoStudy, nearest
from accel.units import show_bytes, show_seconds

if TYPE_CHECKING:
    from accel.analysis.conclusion import Conclusion, Row

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
"""A study may be somebody else's: no name, reason or log may move the cursor or recolour a terminal."""


@click.command("list")
@click.argument("name", required=False, metavar="[NAME | STUDY | STUDY/VARIANT]")
def command(name: str | None) -> int:
    """List all plug-ins; or the fields of the one called NAME; or what happened in the folder STUDY."""
    if name is None:
        lines = _everything()
    elif (Path(name) / "study.json").is_file():
        lines = _study(_conclusion(Path(name)))
    elif (Path(name).parent / "study.json").is_file():
        lines = _variant(_conclusion(Path(name).parent), Path(name).name)
    else:
        lines = _named(name)
    click.echo("\n".join(_CONTROL.sub(" ", line) for line in lines))
    return 0


def _everything() -> list[str]:
    lines: list[str] = []
    for kind, word in plugins.WORDS.items():
        names = plugins.names(kind)
        width = max((len(n) for n in names), default=0)
        lines += ["", f"{kind} ({word})" if kind != "charts" else "charts (of the report)"]
        lines += [f"  {n:{width}}  {_one_line(kind, n)}" for n in names]
    return [*lines[1:], "", "accel list NAME shows the fields of one."]


def _named(name: str) -> list[str]:
    found = [(kind, plugins.load(kind, name)) for kind in plugins.FOLDERS if name in plugins.names(kind)]
    if not found:
        if "/" in name or Path(name).exists():
            raise NoStudy(Path(name))
        everything = [n for kind in plugins.FOLDERS for n in plugins.names(kind)]
        raise InputError(f"Nothing is called `{name}`, neither a plug-in nor a study. {nearest(name, everything)}")
    return [line for kind, cls in found for line in (*_plugin(kind, name, cls), *_devices(kind, cls))]


def _devices(kind: str, cls: type[Any]) -> list[str]:
    """Where a backend's runtime can compute here, and where it could elsewhere."""
    if kind != "compilation" or not isinstance(runtime := getattr(cls, "runtime", None), str):
        return []
    from importlib.util import find_spec

    from accel.checkup.devices import devices, lines
    from accel.measurement.machine import detect

    if find_spec(runtime) is None:
        return ["", f"The package `{runtime}` is not installed here; `accel doctor` says how to get it."]
    told = lines(devices([runtime], len(detect().gpus or ())))
    return ["", f"Devices of {runtime} here:", *(f"  {line}" for line in told)] if told else []


def _plugin(kind: str, name: str, cls: type[Any]) -> list[str]:
    lines = [f"{name} ({plugins.WORDS[kind]})", "", *(inspect.getdoc(cls) or "").splitlines(), ""]
    fields = _fields(cls)
    width = max((len(field) for field, _ in fields), default=0)
    return [*lines, "Fields:" if fields else "No fields.", *(f"  {f:{width}}  {told}" for f, told in fields)]


def _fields(cls: type[Any]) -> list[tuple[str, str]]:
    """Each field with its type and its default, as text."""
    import msgspec

    if not issubclass(cls, msgspec.Struct):
        return []
    listed = []
    for field in msgspec.structs.fields(cls):
        made = field.default_factory is not msgspec.NODEFAULT
        default = field.default_factory() if made else field.default
        listed.append((field.encode_name, f"{_type_name(field.type)} = {default!r}"))
    return listed


def _type_name(given: Any) -> str:
    """A field's type as it is said: `int >= 1 | None`, `tuple[str, ...]`, `"poisson" | "constant"`."""
    origin, inner = get_origin(given), get_args(given)
    if origin is Annotated:
        limits = " and ".join(word for meta in inner[1:] for word in _bounds(meta))
        return f"{_type_name(inner[0])} {limits}".rstrip()
    if origin is Literal:
        return " | ".join(json.dumps(value) for value in inner)
    if origin in (Union, UnionType):
        return " | ".join(map(_type_name, inner))
    if given in (None, NoneType, ...):
        return "..." if given is ... else "None"
    name = getattr(origin or given, "__name__", str(given))
    return f"{name}[{', '.join(map(_type_name, inner))}]" if inner else name


def _bounds(meta: Any) -> list[str]:
    """The limits of a number, of those that msgspec knows."""
    signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    return [f"{sign} {limit}" for key, sign in signs.items() if (limit := getattr(meta, key, None)) is not None]


def _one_line(kind: str, name: str) -> str:
    """What the plug-in is, or why it can't be loaded: one broken third-party plug-in must not hide the others."""
    try:
        cls = plugins.load(kind, name)
    except Exception as error:
        return f"can't be loaded: {type(error).__name__}: {error}"
    return (inspect.getdoc(cls) or "").partition("\n")[0] + _not_here(kind, name, cls)


def _not_here(kind: str, name: str, cls: type[Any]) -> str:
    """How to get a backend whose package isn't installed; "" for everything else."""
    from importlib.util import find_spec

    from accel.errors import MissingLibrary

    runtime = getattr(cls, "runtime", None)
    if kind != "compilation" or not isinstance(runtime, str) or find_spec(runtime) is not None:
        return ""
    line = MissingLibrary(runtime, f"the backend `{name}`", extra=getattr(cls, "extra", None)).install
    return f" (not installed; get it with: {line})"


def _conclusion(folder: Path) -> Conclusion:
    import accel

    return accel.open_study(folder).conclusion


def _study(conclusion: Conclusion) -> list[str]:
    width = max((len(row.name) for row in conclusion.rows), default=0)
    lines = [f"{conclusion.record.name}: {conclusion.headline}", ""]
    lines += [f"  {row.name:{width}}  {_happened(row)}" for row in conclusion.rows]
    return [*lines, "", "accel list STUDY/VARIANT says more about one."]


def _happened(row: Row) -> str:
    if row.status != "ok":
        return f"{row.status}: {row.reason}"
    return f"ok, reached {row.evidence}" + (" (baseline)" if row.is_baseline else "")


def _variant(conclusion: Conclusion, name: str) -> list[str]:
    names = [row.name for row in conclusion.rows]
    if name not in names:
        raise InputError(f"The study has no variant `{name}`. {nearest(name, names)}")
    row = conclusion.row(name)
    lines = [f"{row.name}: {_happened(row)}"]
    lines += [f"why no further: {why}"] if (why := _why(conclusion, row)) else []
    lines += [f"next step: {row.next_step}"] if row.next_step else []
    lines += [f"why it is here: {row.variant.trap}"] if row.variant.trap else []
    lines += [f"backend: {row.variant.backend}"]
    lines += [f"compression: {', '.join(str(c) for c in row.variant.compression)}"] if row.variant.compression else []
    lines += _ran(row) + _cost(row) + _near(conclusion, row) + _scored(row) + _computes(row)
    lines += _on_device(row)
    lines += _spends(conclusion, row)
    lines += _rescue(conclusion, row)
    lines += [f"note: {note}" for note in row.notes]
    return lines + (["", "the end of its log:", *row.log_tail.splitlines()] if row.log_tail else [])


def _why(conclusion: Conclusion, row: Row) -> str:
    """Why it is no answer, also of a study made before that was kept."""
    from accel.analysis.left import reasons
    from accel.analysis.pareto import pareto

    known = conclusion.left
    if not known:
        known = reasons(conclusion.rows, conclusion.record, conclusion.answers, pareto(conclusion.rows))
    return known.get(row.name, "")


def _ran(row: Row) -> list[str]:
    if row.effective is None:
        return []
    detail = "".join(f", {key} {value}" for key, value in row.effective.detail.items())
    ran = row.effective
    return [f"really ran: {ran.precision} on {ran.provider}, {ran.threads} threads{detail}"]


def _computes(row: Row) -> list[str]:
    from accel.report.numerics import told

    return [] if row.numerics is None else told(row.numerics)


def _spends(conclusion: Conclusion, row: Row) -> list[str]:
    from accel.report.layers import told

    return [line for one in conclusion.layers if one.variant == row.name for line in told(one)]


def _cost(row: Row) -> list[str]:
    lines = []
    if row.set_up is not None:
        steps = {name.removesuffix("_s"): getattr(row.set_up, name) for name in row.set_up.__struct_fields__}
        seconds = [f"{n} {show_seconds(s)}" for n, s in steps.items() if isinstance(s, float)]
        lines.append(f"set-up: {', '.join(seconds)}" + (" (cached)" if row.set_up.cached else ""))
    if row.artefact_bytes is not None:
        lines.append(f"size: {show_bytes(row.artefact_bytes)}")
    if row.memory_bytes is not None:
        lines.append(f"memory: {show_bytes(row.memory_bytes)}")
    return lines


def _on_device(row: Row) -> list[str]:
    from accel.report.device import told

    return told(row)


def _near(conclusion: Conclusion, row: Row) -> list[str]:
    from accel.report.roofline import told

    return told(row, conclusion)


def _rescue(conclusion: Conclusion, row: Row) -> list[str]:
    from accel.report.rescues import of_variant

    return list(of_variant(conclusion, row.name))


def _scored(row: Row) -> list[str]:
    quality = row.quality
    if quality is None:
        return []
    value = f"{quality.metric} {quality.value:.4g}, " if quality.value is not None and quality.metric else ""
    reason = f" ({quality.reason})" if quality.reason else ""
    needed = f", {quality.needed:,} samples needed" if quality.outcome == "unresolved" and quality.needed else ""
    return [f"accuracy: {value}{quality.outcome}{needed} by the rule: {quality.rule}{reason}"]
