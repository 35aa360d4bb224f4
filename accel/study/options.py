"""What was asked of a study, checked at once: every wrong value is refused before anything is loaded."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from accel import plugins, units
from accel.analysis.conclusion import StudyRecord
from accel.analysis.cost import parse_price
from accel.errors import InputError, nearest
from accel.model.hf_folder import check_name
from accel.paths import with_files
from accel.plugins import Named
from accel.recipe import Recipe, Variant, parse_variant, read, variant_name
from accel.slo import Slo, parse_slo
from accel.study import defaults
from accel.study.profiles import Profile, profile

TARGETS = ("batch", "online", "both", "memory")


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """A study's checked options; `model` and what belongs to it are still as the user gave them.

    backends, compressions: restrict the default variants to these, and combine them where both are given; of the latter
        each is one or several techniques in their order.
    sizes: the batch sizes to try; () means the usual ones. said: what was given in so many words, not by default.
    """

    model: Any
    samples: Any
    labels: Any
    metric: Any
    slo: Slo | None
    slo_text: str
    target: Literal["batch", "online", "both", "memory"]
    accuracy_drop: float
    budget_s: float
    profile: Profile
    backends: tuple[Named, ...]
    compressions: tuple[tuple[Named, ...], ...]
    sizes: tuple[int, ...]
    variants: tuple[Variant, ...]
    defaults: bool
    name: str
    random_weights: bool
    padding: Any
    seed: int
    trust_file: bool
    command: str
    price_per_h: float | None = None
    said: frozenset[str] = frozenset()


def resolve(model: Any, **given: Any) -> Options:
    """Merge keyword arguments over a recipe's values, check each; raises InputError for the first that is wrong."""
    recipe = _recipe(model)
    said = {key: value for key, value in given.items() if value is not None and not _is_empty(value)}

    def pick(key: str, default: Any = None) -> Any:
        """Keyword argument, else recipe, else default."""
        if key in said:
            return said[key]
        from_recipe = getattr(recipe, key, None) if recipe is not None else None
        return default if from_recipe is None else from_recipe

    chosen = profile(pick("profile", "quick"))
    slo_text = pick("slo")
    variants = _variants(said.get("variants", recipe.variants if recipe else ()))
    with_defaults = pick("defaults")
    source = recipe.model if recipe is not None else model
    return Options(
        model=source,
        samples=pick("samples"),
        labels=pick("labels"),
        metric=_metric(pick("metric")),
        slo=None if slo_text is None else parse_slo(str(slo_text)),
        slo_text="" if slo_text is None else str(slo_text),
        target=_one_of("target", pick("target", "both"), TARGETS),
        accuracy_drop=units.fraction(pick("accuracy_drop", "1pp"), "--accuracy-drop"),
        budget_s=units.seconds(pick("budget", chosen.budget), "--budget"),
        profile=chosen,
        backends=tuple(plugins.parse("compilation", b) for b in _many(said.get("backend", ()))),
        compressions=tuple(plugins.parse_several("compression", c) for c in _many(said.get("compression", ()))),
        sizes=_sizes(_many(said.get("batch", ()))),
        variants=variants,
        defaults=bool(with_defaults) if with_defaults is not None else not variants,
        name=_name(pick("name"), source),
        random_weights=bool(pick("random_weights", False)),
        padding=_padding(pick("padding", 0)),
        seed=_seed(pick("seed", 0)),
        trust_file=bool(said.get("trust_file", False)),
        command=str(said.get("command", "accel.bench(…)")),
        price_per_h=parse_price(said["price"]) if "price" in said else None,
        said=frozenset(key for key in ("budget", "profile", "target") if pick(key) is not None),
    )


def _is_empty(value: Any) -> bool:
    """True for an option that can be repeated and wasn't given; arrays must not be compared to find out."""
    return isinstance(value, tuple) and not value


def _recipe(model: Any) -> Recipe | None:
    if isinstance(model, str) and model == "demo":
        from accel import demo

        recipe = demo.recipe()
        # Without torch the demo starts from its ONNX form; the torch rows stay, and say what to install.
        torch_rows = defaults.of_runtime("torch") if recipe.model.endswith(".onnx") else ()
        return msgspec.structs.replace(
            recipe, samples=str(demo.samples_path()), defaults=True, variants=(*torch_rows, *recipe.variants)
        )
    if isinstance(model, str | os.PathLike) and os.fspath(model).endswith(".toml"):
        return read(Path(model))
    return None


def _variants(given: Any) -> tuple[Variant, ...]:
    if not isinstance(given, list | tuple):
        raise InputError(f"`variants` must be a list, but is a {type(given).__name__}. Put the variants in brackets.")
    found: list[Variant] = []
    for number, one in enumerate(given, 1):
        if not isinstance(one, Variant | dict):
            raise InputError(
                f'Variant {number} must be a table such as {{"name": "a", "backend": "onnxruntime"}} or an '
                f"accel.Variant, but is `{one!r}`."
            )
        variant = one if isinstance(one, Variant) else parse_variant(one, f"Variant {number}")
        if any(variant.name == other.name for other in found):
            raise InputError(f"Two variants are named `{variant.name}`. Give one of them another `name`.")
        chain = tuple(with_files(c, Path.cwd()) for c in variant.compression)
        found.append(msgspec.structs.replace(variant, compression=chain))
    return tuple(found)


def _seed(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InputError(f"The seed must be a whole number of at least 0, but is `{value}`.")
    return value


def _padding(value: Any) -> Any:
    values = value.values() if isinstance(value, dict) else [value]
    if any(isinstance(v, bool) or not isinstance(v, int | float) for v in values):
        raise InputError(f"The padding must be a number, or a dict of input name to number, but is `{value!r}`.")
    return value


def _metric(given: Any) -> Any:
    from accel.study.given import METRICS

    if isinstance(given, str) and ":" not in given and given not in METRICS:
        raise InputError(
            f"No metric is called `{given}`. {nearest(given, METRICS)} Your own is given as `file.py:function`."
        )
    return given


def _one_of(what: str, value: Any, known: Sequence[str]) -> Any:
    if value not in known:
        raise InputError(f"--{what} must be one of {', '.join(known)}, but is `{value}`. {nearest(str(value), known)}")
    return value


def _many(value: Any) -> tuple[Any, ...]:
    if isinstance(value, str | int | dict | Named):
        return (value,)
    return tuple(value)


def _sizes(given: tuple[Any, ...]) -> tuple[int, ...]:
    for value in given:
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 65_536:
            raise InputError(f"--batch must be a whole number from 1 to 65536, but is `{value}`.")
    return tuple(sorted(set(given)))


def _name(name: Any, model: Any) -> str:
    if name is not None:
        return str(name)
    if isinstance(model, str | os.PathLike):
        text = os.fspath(model)
        if text.startswith(("hf:", "timm:")):
            return check_name(text)[1]
        return text.rpartition(":")[2] if ":" in text else Path(text).stem
    return str(getattr(model, "__name__", type(model).__name__))


def default_folder(name: str) -> Path:
    """`accel-results/NAME-DATE-TIME` in the current folder; never one that exists."""
    safe = re.sub(r"[^A-Za-z0-9._+-]+", "-", name).strip("-.") or "model"
    base = Path("accel-results") / f"{safe}-{time.strftime('%Y%m%d-%H%M%S')}"
    path, n = base, 1
    while path.exists():
        n += 1
        path = base.with_name(f"{base.name}-{n}")
    return path


def as_begun(options: Options, record: StudyRecord, folder: Path) -> Options:
    """A resumed study goes on as it was begun; only its budget may be another.

    Raises InputError if it is asked to go on as something else.
    """
    asked = {"name": options.name, "profile": options.profile.name, "target": options.target}
    for what, was in (("name", record.name), ("profile", record.profile), ("target", record.target)):
        if asked[what] != was and (what == "name" or what in options.said):
            raise InputError(
                f"The study in `{folder}` was begun with the {what} `{was}` and can't go on with `{asked[what]}`. "
                "Choose another folder with --out."
            )
    budget_s = options.budget_s if "budget" in options.said else record.budget_s
    return msgspec.structs.replace(options, profile=profile(record.profile), target=record.target, budget_s=budget_s)


def asked_variants(options: Options, proposed: Sequence[Variant]) -> list[Variant]:
    """The recipe's own variants first, since somebody asked for them, then the defaults or what --backend asks for."""
    chosen = list(proposed) if options.defaults else []
    if options.backends or options.compressions:
        chosen = _restricted(options)
    names = {v.name for v in options.variants}
    return [*options.variants, *(v for v in chosen if v.name not in names)]


def _restricted(options: Options) -> list[Variant]:
    """Every asked backend alone and with every asked compression; without a backend, all that take the compression."""
    found = [Variant(name=variant_name((), b), backend=b) for b in options.backends]
    for chain in options.compressions:
        techniques: list[Any] = [plugins.make("compression", one) for one in chain]
        able = [Named(name) for name in defaults.backends() if all(t.reads(name) for t in techniques)]
        # The files a technique names are found from here; its variant is called by what was typed.
        found_here = tuple(with_files(one, Path.cwd()) for one in chain)
        found += [
            Variant(name=variant_name(chain, b), backend=b, compression=found_here) for b in options.backends or able
        ]
    return found


def with_baseline(baseline: Variant, variants: list[Variant]) -> tuple[Variant, ...]:
    """The baseline first; a variant of the recipe that *is* the baseline stands in for it."""
    alone = [v for v in variants if not v.compression and v.instances == 1]
    same = next((v for v in alone if v.backend == baseline.backend), None)
    first = same or baseline
    if any(v is not first and v.name == first.name for v in variants):
        raise InputError(
            f"A variant is named `{first.name}`, which is what the original runs as. Give the variant another `name`."
        )
    return (first, *(v for v in variants if v.name != first.name))


def check_sizes(asked: tuple[int, ...], batch: int | str) -> None:
    """Refuse sizes that a model with a fixed batch can't take; `batch` as in Signature."""
    if asked and batch != "any" and batch not in asked:
        raise InputError(
            f"The model takes batches of {batch} only, but --batch asks for {', '.join(map(str, asked))}. Leave out "
            "--batch, or export the model with a dynamic batch."
        )
