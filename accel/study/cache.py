"""Artefacts are kept between studies: in the user's cache folder, under a key of everything that shaped them."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import os
import shutil
import time
from pathlib import Path
from typing import Any

import msgspec

from accel import plugins
from accel.compilation import on_gpu
from accel.measurement.machine import Machine
from accel.plugins import Named
from accel.recipe import Variant

_KEEP_S = 24 * 3600


def cache_root() -> Path:
    """`$ACCEL_CACHE`, else `accel` in the user's cache folder; made with mode 0700."""
    base = os.environ.get("ACCEL_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "accel"
    root = Path(base) / "artefacts"
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    return root


def key(variant: Variant, *, model_sha256: str, calibration_sha256: str, machine: Machine) -> str:
    """Hash of the model, the calibration data, every field that shapes the artefact, the files they name, the
    plug-ins' source, versions, processor and cores, and the GPU where it computes on one.
    """
    parts: dict[str, Any] = {
        "model": model_sha256,
        "calibration": calibration_sha256 if variant.compression else "",
        "compression": variant.compression,
        "backend": [variant.backend.name, shaping_fields(variant.backend)],
        "source": [_source_sha256("compression", c.name) for c in variant.compression]
        + [_source_sha256("compilation", variant.backend.name)],
        "files": [_file_sha256(c.fields) for c in variant.compression],
        "packages": machine.packages,
        "flags": machine.flags,
        "cores": machine.cores,
    }
    if on_gpu(plugins.make("compilation", variant.backend)):
        # Engines and kernels are made for a chip and its driver.
        parts["gpus"] = machine.gpus
    return hashlib.sha256(msgspec.json.encode(parts, order="sorted")).hexdigest()[:32]


def shaping_fields(backend: Named) -> dict[str, Any]:
    """The fields of a backend that shape its artefact, as plain data and only where they differ from their defaults.

    >>> shaping_fields(Named("openvino", {"threads": 1, "precision": "bf16"}))
    {'precision': 'bf16'}
    """
    fields = plugins.plain(plugins.make("compilation", backend)).fields
    shaping = getattr(plugins.load("compilation", backend.name), "build_fields", None)
    return fields if shaping is None else {name: value for name, value in fields.items() if name in shaping}


def _file_sha256(fields: dict[str, Any]) -> list[str]:
    """Hashes of the user's own files that fields name as `file.py:function`; what those import isn't followed."""
    named = [Path(v.partition(".py:")[0] + ".py") for v in fields.values() if isinstance(v, str) and ".py:" in v]
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in named if path.is_file()]


def _source_sha256(kind: str, name: str) -> str:
    """Hash of a plug-in's file and of the private files beside it, which its code may use."""
    module = importlib.import_module(plugins.load(kind, name).__module__)
    own = Path(inspect.getfile(module))
    digest = hashlib.sha256(own.read_bytes())
    for path in sorted(own.parent.glob("_*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def shrink(limit_bytes: int = 20_000_000_000) -> None:
    """Remove the least recently used artefacts until the cache fits; what was used within a day stays."""
    root = cache_root()
    for entry in root.glob(".*-*"):
        # What a killed study left half made, or half removed; a day is longer than any preparation takes.
        if time.time() - entry.stat().st_mtime >= _KEEP_S:
            shutil.rmtree(entry, ignore_errors=True)
    entries = [e for e in root.iterdir() if e.is_dir() and not e.name.startswith(".")]
    sizes = {e: folder_bytes(e) for e in entries}
    total = sum(sizes.values())
    for entry in sorted(entries, key=lambda e: e.stat().st_mtime):
        if total <= limit_bytes or time.time() - entry.stat().st_mtime < _KEEP_S:
            return
        # Renamed first: an entry is either whole or not there, even if this is killed half-way.
        going = entry.with_name(f".going-{entry.name}")
        entry.rename(going)
        shutil.rmtree(going, ignore_errors=True)
        total -= sizes[entry]


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
