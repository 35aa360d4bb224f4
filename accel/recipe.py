"""What to try, as checked and typed values: from a TOML file or from keyword arguments."""

from __future__ import annotations

import hashlib
import json
import math
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from accel import plugins, units
from accel.errors import InputError, nearest
from accel.paths import located, with_files
from accel.plugins import Named
from accel.slo import parse_slo

_LONGEST_NAME = 120
_SAFE_NAME = re.compile(r"[A-Za-z0-9+][A-Za-z0-9._+-]{0,119}")
_TAKEN_NAMES = ("reference", "outputs", "metric", "inspect")
_PATHS = ("model", "samples", "labels")
_KINDS = {"compression": "compression", "backend": "compilation", "batching": "batching"}
_Parsed = TypeVar("_Parsed")


class Variant(msgspec.Struct, frozen=True, kw_only=True):
    """One way to run the model: compressions in their order, then a backend, then who waits for whom.

    batching: None lets the study choose: `fixed` at the best size in batch mode, `dynamic` or `single` online.
    instances, placement: so many at once: callers of one engine ("shared"), or an engine each on its own cores, in a
        thread ("threads") or in a process of its own ("processes").
    trap: why this variant is here although accel wouldn't propose it; "" for ordinary ones.
    """

    name: str
    backend: Named
    compression: tuple[Named, ...] = ()
    batching: Named | None = None
    instances: int = 1
    placement: Literal["shared", "threads", "processes"] = "shared"
    trap: str = ""

    def __str__(self) -> str:
        return self.name


class Recipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model, its samples, what counts and what to try; None means: not said, so the default of `accel.bench`.

    slo, accuracy_drop, budget: as the user wrote them, already checked ("p99=20ms", "1pp", "5m" or seconds).
    metric: a name that accel knows, or `file.py:function`.
    defaults: True adds the default variants for this kind of model to `variants`; None: only if there are none.
    padding: the value that fills the short rows of ragged inputs.
    random_weights: the weights mean nothing, so quality is a correctness check and never called accuracy.
    """

    model: str
    samples: str | None = None
    labels: str | None = None
    metric: str | None = None
    slo: str | None = None
    accuracy_drop: str | float | None = None
    target: Literal["batch", "online", "both", "memory"] | None = None
    budget: str | float | None = None
    profile: str | None = None
    name: str | None = None
    random_weights: bool = False
    padding: float = 0
    defaults: bool | None = None
    seed: int = 0
    variants: tuple[Variant, ...] = ()


def read(path: str | Path) -> Recipe:
    """Read a recipe; paths in it count from its own folder.

    Raises InputError with the file, the line or the whole path inside it, and the nearest known word.
    """
    path = Path(path).expanduser()
    text = _text(path)
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"The recipe `{path}` is not valid TOML: {error}.") from None
    _check_keys(data, _known(Recipe, variants="variant"), f"The recipe `{path}`", text)
    if "model" not in data:
        raise InputError(f'The recipe `{path}` names no model. Add a line such as `model = "model.onnx"`.')
    variants = _variants(data.pop("variant", []), path, text)
    try:
        recipe = msgspec.convert({**data, "variants": []}, Recipe)
    except msgspec.ValidationError as error:
        raise InputError(f"The recipe `{path}`: {_sentence(error)}.") from None
    _check_values(recipe, path)
    found = {key: located(value, path.parent) for key in _PATHS if (value := getattr(recipe, key)) is not None}
    if recipe.metric is not None and ".py:" in recipe.metric:
        found["metric"] = located(recipe.metric, path.parent)
    return msgspec.structs.replace(recipe, variants=tuple(_seen_from(path.parent, v) for v in variants), **found)


def to_toml(recipe: Recipe) -> str:
    """The recipe as TOML; reading it back gives the same recipe, as long as its paths are absolute.

    Raises InputError for a field that TOML can't hold.
    """
    lines = []
    for field in msgspec.structs.fields(Recipe):
        value = getattr(recipe, field.name)
        if field.name != "variants" and value is not None and value != field.default:
            lines.append(f"{field.name} = {_toml(value)}")
    for variant in recipe.variants:
        lines += ["", "[[variant]]", *(f"{key} = {_toml(value)}" for key, value in _variant_table(variant).items())]
    return "\n".join(lines) + "\n"


def variant_name(compression: tuple[Named, ...], backend: Named, instances: Any = 1) -> str:
    """The name of a variant that nobody named; made of letters that are safe in file names.

    >>> variant_name((Named("quantize_static"),), Named("openvino", {"streams": 2}))
    'quantize_static+openvino-streams-2'
    >>> variant_name((), Named("onnxruntime"), 2)
    'onnxruntime+2-instances'
    """
    several = [f"{instances}-instances"] if isinstance(instances, int) and instances > 1 else []
    name = "+".join([*(_label(part) for part in (*compression, backend)), *several])
    # Files are named by it; what is cut off is told apart by its hash.
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 9]}-{_short_hash(name)}"


def parse_variant(given: dict[str, Any], where: str = "The variant") -> Variant:
    """Check one variant given as a table; `where` opens every message.

    Raises InputError for unknown keys and plug-ins (with the nearest known one) and for names unfit for files.
    """
    _check_keys(given, _known(Variant), where)
    if "backend" not in given:
        raise InputError(f'{where} names no backend. Add a line such as `backend = "onnxruntime"`.')
    backend = _parsed(plugins.parse, "backend", given["backend"], where)
    listed = given.get("compression", [])
    techniques = listed if isinstance(listed, (list, tuple)) else [listed]
    chains = [
        _parsed(plugins.parse_several, "compression", one, f"{where}, compression {i}")
        for i, one in enumerate(techniques, 1)
    ]
    compression = tuple(named for chain in chains for named in chain)
    batching = (
        _parsed(plugins.parse, "batching", given["batching"], where) if given.get("batching") is not None else None
    )
    try:
        plain = msgspec.convert(
            {
                "name": variant_name(compression, backend, given.get("instances")),
                **_without_plugins(given),
                "backend": {"name": ""},
            },
            Variant,
        )
    except msgspec.ValidationError as error:
        raise InputError(f"{where}: {_sentence(error)}.") from None
    _check_variant(plain, where)
    return msgspec.structs.replace(plain, backend=backend, compression=compression, batching=batching)


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        raise InputError(f"There is no recipe `{path}`. Give the path of a .toml file.") from None
    except IsADirectoryError:
        raise InputError(f"The recipe `{path}` is a folder; give a .toml file.") from None
    except UnicodeDecodeError as error:
        raise InputError(
            f"The recipe `{path}` is not UTF-8 text (byte {error.start}). Save it as UTF-8, or name another file."
        ) from None
    except OSError as error:
        raise InputError(f"The recipe `{path}` can't be read: {error.strerror}.") from None


def _known(struct: type[msgspec.Struct], **renamed: str) -> list[str]:
    return [renamed.get(f.encode_name, f.encode_name) for f in msgspec.structs.fields(struct)]


def _check_keys(given: dict[str, Any], known: list[str], where: str, text: str = "") -> None:
    for key in given:
        if key not in known:
            raise InputError(f"{where}{_line_of(key, text)} has an unknown key `{key}`. {nearest(key, known)}")


def _line_of(key: str, text: str) -> str:
    for number, line in enumerate(text.splitlines(), 1):
        if re.match(rf"\s*\[*\s*[\"']?{re.escape(key)}[\"']?\s*[=\].]", line):
            return f", line {number},"
    return ""


def _variants(given: Any, path: Path, text: str) -> tuple[Variant, ...]:
    if not isinstance(given, list) or not all(isinstance(table, dict) for table in given):
        line = _line_of("variant", text)
        raise InputError(f"The recipe `{path}`{line} must give its variants as tables that start with `[[variant]]`.")
    found: list[Variant] = []
    for number, table in enumerate(given, 1):
        called = f" (`{table['name']}`)" if isinstance(table.get("name"), str) else ""
        variant = parse_variant(table, f"The recipe `{path}`, variant {number}{called}")
        if any(variant.name == other.name for other in found):
            raise InputError(
                f"The recipe `{path}` has two variants named `{variant.name}`. Give one of them another `name`."
            )
        found.append(variant)
    return tuple(found)


def _parsed(parse: Callable[[str, Any], _Parsed], key: str, given: Any, where: str) -> _Parsed:
    try:
        return parse(_KINDS[key], given)
    except InputError as error:
        raise type(error)(f"{where}: {error}") if type(error) is InputError else error from None


def _seen_from(folder: Path, variant: Variant) -> Variant:
    """The same, with the files its techniques name found from the recipe's folder; the name stays as it is."""
    return msgspec.structs.replace(variant, compression=tuple(with_files(c, folder) for c in variant.compression))


def _without_plugins(given: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in given.items() if key not in _KINDS}


def _check_variant(variant: Variant, where: str) -> None:
    if not _SAFE_NAME.fullmatch(variant.name):
        raise InputError(
            f"{where}: `{variant.name}` can't be a variant's name: it names files too, so use up to 120 letters, "
            "digits and `._+-`, the first a letter, a digit or `+`."
        )
    if variant.name in _TAKEN_NAMES:
        raise InputError(
            f"{where}: `{variant.name}` is a name that accel uses itself. Give the variant another `name`."
        )
    if variant.instances < 1:
        raise InputError(f"{where}: `instances` must be at least 1, but is `{variant.instances}`.")
    if variant.placement != "shared" and variant.instances == 1:
        raise InputError(
            f'{where}: `placement = "{variant.placement}"` says where several instances run, but there is one. '
            "Give `instances` a number from 2, or leave `placement` out."
        )


def _check_values(recipe: Recipe, path: Path) -> None:
    try:
        if recipe.slo is not None:
            parse_slo(recipe.slo)
        if recipe.budget is not None:
            units.seconds(recipe.budget, "`budget`")
        if recipe.accuracy_drop is not None:
            units.fraction(recipe.accuracy_drop, "`accuracy_drop`")
    except InputError as error:
        raise InputError(f"The recipe `{path}`: {error}") from None
    if recipe.seed < 0:
        raise InputError(f"The recipe `{path}`: `seed` must not be negative, but is `{recipe.seed}`.")


def _sentence(error: msgspec.ValidationError) -> str:
    message, _, where = str(error).partition(" - at ")
    place = where.strip("`").removeprefix("$.")
    return f"`{place}`: {message[0].lower()}{message[1:]}" if place else message[0].lower() + message[1:]


def _label(part: Named) -> str:
    """A plug-in and its fields in one word; of a file, only its own name.

    >>> _label(Named("fine_tune", {"by": "/models/tune.py:run", "seconds": 30}))
    'fine_tune-by-tune.py_run-seconds-30'
    """
    words = [part.name]
    for key, value in sorted(part.fields.items()):
        text = value if isinstance(value, str) else json.dumps(value, separators=(".", "."))
        words += [key, text.rpartition("/")[2] if ".py:" in text else text]
    return re.sub(r"[^A-Za-z0-9._+-]+", "_", "-".join(words))


def _variant_table(variant: Variant) -> dict[str, Any]:
    table: dict[str, Any] = {"name": variant.name}
    if variant.compression:
        table["compression"] = [_table(one) for one in variant.compression]
    table["backend"] = _table(variant.backend)
    if variant.batching is not None:
        table["batching"] = _table(variant.batching)
    if variant.instances != 1:
        table["instances"] = variant.instances
    if variant.placement != "shared":
        table["placement"] = variant.placement
    if variant.trap:
        table["trap"] = variant.trap
    return table


def _table(part: Named) -> dict[str, Any]:
    return {"name": part.name, **part.fields}


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, (int, float)):
        return repr(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_toml(one) for one in value)}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{_key(k)} = {_toml(v)}' for k, v in value.items())} }}"
    raise InputError(f"A recipe can't hold the value `{value!r}`: TOML has no such type.")


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _toml(key)


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
