"""Artefacts are kept between studies: in the user's cache folder, under a key of everything that shaped them."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import inspect
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec

import accel
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


def source_sha256(*parts: str) -> str:
    """Hash of the source of parts of accel: folders with all below, or files."""
    root = Path(accel.__file__).parent
    found = [p for part in parts for p in ((root / part).rglob("*.py") if (root / part).is_dir() else [root / part])]
    digest = hashlib.sha256()
    for path in sorted(found):
        digest.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def shrink(limit_bytes: int = 20_000_000_000) -> None:
    """Remove the least recently used artefacts until the cache fits; what was used within a day stays."""
    root = cache_root()
    for entry in root.glob(".*-*"):
        # What a killed study left half made, or half removed; a day is longer than any preparation takes.
        if _unused_s(entry) >= _KEEP_S:
            shutil.rmtree(entry, ignore_errors=True)
    unused_s = {e: _unused_s(e) for e in root.iterdir() if e.is_dir() and not e.name.startswith(".")}
    sizes: dict[Path, int] = {}
    for entry in unused_s:
        with contextlib.suppress(OSError):  # another study removes it now
            sizes[entry] = folder_bytes(entry)
    total = sum(sizes.values())
    for entry in sorted(sizes, key=lambda e: -unused_s[e]):
        if total <= limit_bytes or unused_s[entry] < _KEEP_S:
            return
        remove(entry)
        total -= sizes[entry]


def remove(entry: Path) -> None:
    """Remove an entry: renamed first, so that it is either whole or not there, even if this is killed half-way."""
    with contextlib.suppress(OSError):  # another study was faster
        going = Path(tempfile.mkdtemp(prefix=".going-", dir=entry.parent))
        try:
            entry.rename(going / entry.name)
        finally:
            shutil.rmtree(going, ignore_errors=True)


def _unused_s(entry: Path) -> float:
    """Seconds since it was last used; none for what another study just moved or removed."""
    try:
        return time.time() - entry.stat().st_mtime
    except OSError:
        return 0.0


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
