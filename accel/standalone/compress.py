"""`accel.compress`: what was asked, checked at once, made in children, judged against the original."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from accel import plugins
from accel.compilation._artefact import NAME
from accel.errors import InputError
from accel.plugins import Named
from accel.recipe import Variant
from accel.standalone.compressed import SUFFIXES, Compressed, destination, files_bytes, free
from accel.standalone.making import Made, make
from accel.standalone.own import with_files
from accel.study.options import Options, resolve
from accel.study.refusal import holds_more


def compress(
    model: Any,
    techniques: Any,
    *,
    samples: Any = None,
    labels: Any = None,
    backend: Any = "onnxruntime",
    metric: Any = None,
    accuracy_drop: str | float | None = None,
    portable: bool = False,
    out: str | os.PathLike[str] | None = None,
    budget: str | float = "30m",
    name: str | None = None,
    trust_file: bool = False,
    random_weights: bool | None = None,
    padding: Any = None,
    seed: int | None = None,
    progress: Callable[[str], None] | None = None,
) -> Compressed:
    """Compress a model once and give the file, judged against the original on samples it wasn't made with.

    >>> small = accel.compress("model.onnx", "quantize_static", samples="samples.npz")   # doctest: +SKIP
    >>> small.save("int8.onnx")                                                          # doctest: +SKIP

    model, samples, labels, metric, accuracy_drop: as for `accel.bench`. techniques: a name ("quantize_static"), names
    joined by "+", a dict with a name and fields (`fine_tune`'s `by` may be a function itself), or a list of these,
    applied in this order. backend: whose file it becomes, onnxruntime (.onnx) or openvino (.xml and .bin). portable:
    sets the field of that name, for a file that several runtimes load. out: where to save it at once; without it the
    file lies in a temporary folder until the program ends. budget: how long it may take at most. progress: called with
    a sentence at every step.

    Nothing is timed: `accel.bench` says whether it is faster. Raises InputError for wrong input and for pairs that
    make no sense, VariantError where a toolchain fails.
    """
    place = Path(tempfile.mkdtemp(prefix="accel-compress-"))
    try:
        options = resolve(
            model,
            samples=samples,
            labels=labels,
            backend=(backend,),
            compression=(with_files(techniques, place / "own"),),
            metric=metric,
            accuracy_drop=accuracy_drop,
            budget=budget,
            name=name,
            trust_file=trust_file,
            random_weights=random_weights,
            padding=padding,
            seed=seed,
        )
        found = _made(options, portable, out, place, progress or _nobody)
    except BaseException:
        _remove(place)
        raise
    if out is None:
        _remove_at_exit(place)
    else:
        _remove(place)
    return found


def _made(
    options: Options, portable: bool, out: str | os.PathLike[str] | None, place: Path, progress: Callable[[str], None]
) -> Compressed:
    """Make it in `place`; saved at `out` if that was asked for and is free."""
    started = time.perf_counter()
    variant = _variant(options, portable)
    if out is not None:
        free(destination(out, _form(variant.backend)))
    found = _compressed(options, make(options, variant, place / "study", progress), place, started)
    return found if out is None else msgspec.structs.replace(found, path=found.save(out))


def _variant(options: Options, portable: bool) -> Variant:
    techniques, backend = options.compressions[0], options.backends[0]
    if not techniques:
        raise InputError("`techniques` is empty. Name one, such as `quantize_static`.")
    if _form(backend) not in SUFFIXES:
        able = [n for n in plugins.names("compilation") if _form(Named(n)) in SUFFIXES]
        raise InputError(
            f"The backend `{backend.name}` leaves no file that a plain runtime loads. Use "
            f"{' or '.join(f'`{n}`' for n in able)}, or `accel.bench` to measure with `{backend.name}`."
        )
    return Variant(name="compressed", backend=backend, compression=_portable(techniques) if portable else techniques)


def _form(backend: Named) -> str:
    """The form of model that a backend is built from."""
    return str(plugins.load("compilation", backend.name).runs[0])


def _portable(techniques: tuple[Named, ...]) -> tuple[Named, ...]:
    """`portable` set in every technique that knows the field."""
    knowing = [n for n in techniques if "portable" in plugins.load("compression", n.name).__struct_fields__]
    if not knowing:
        able = [
            n for n in plugins.names("compression") if "portable" in plugins.load("compression", n).__struct_fields__
        ]
        raise InputError(
            f"`portable` means something to {', '.join(f'`{n}`' for n in able)} only, which isn't asked for. Leave it "
            "out."
        )
    return tuple(Named(n.name, n.fields | {"portable": True}) if n in knowing else n for n in techniques)


def _compressed(options: Options, made: Made, place: Path, started: float) -> Compressed:
    """Keep the model's files alone in `place`, without what else its making left there."""
    kept = place / "file"
    shutil.copytree(made.compressed.folder, kept, ignore=shutil.ignore_patterns(NAME))
    before, after = files_bytes(Path(made.original.folder)), files_bytes(kept)
    shutil.rmtree(place / "study")
    return Compressed(
        name=options.name,
        path=kept / made.file,
        form=_form(made.compressed.variant.backend),  # type: ignore[arg-type]  # one of SUFFIXES, as was checked
        techniques=made.compressed.variant.compression,
        backend=made.compressed.variant.backend,
        quality=made.quality,
        numerics=made.compressed.numerics,
        effective=made.effective,
        set_up=made.compressed.set_up,
        before_bytes=before,
        after_bytes=after,
        seconds=time.perf_counter() - started,
        notes=made.notes,
    )


def _remove(place: Path) -> None:
    """All of it, unless a log in it tells more than the sentence that was raised."""
    if not holds_more(place / "study" / "log"):
        shutil.rmtree(place, ignore_errors=True)


def _remove_at_exit(place: Path) -> None:
    """When this very process ends; a fork of it that ends earlier leaves the file alone."""
    pid = os.getpid()

    def remove() -> None:
        if os.getpid() == pid:
            shutil.rmtree(place, ignore_errors=True)

    atexit.register(remove)


def _nobody(text: str) -> None:
    """A progress that tells nobody."""
