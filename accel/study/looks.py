"""What one look at a model found out, kept between studies: the second study of an unchanged model needs no second one.

An entry holds the child's reply, the materialised samples and the forms that were made, under a key of everything that
shaped them, in the artefact cache and as safe: whole or not there, mode 0700, capped with the rest. Where the key holds
every byte that was read (a file with samples from files, or made up), an entry is as good as a look. What a factory or
a module's own code reads can't be known beforehand: then the entry lets a study begin, and a look of its own confirms
it before anything is prepared for that model.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from accel.measurement.machine import Machine
from accel.model import Source, convention, facts
from accel.model.identity import FILES, files_of
from accel.result import write_atomically
from accel.study.cache import cache_root, remove, source_sha256
from accel.study.folder import StudyFolder
from accel.study.given import Given

_ENTRY = "look.json"
FORMS = "forms"
_SHAPING = ("model", "samples", "study/prepare_child.py")
"""The parts of accel whose code shapes what a look finds."""


class Key(msgspec.Struct, frozen=True):
    """Which look it is. exact: the key holds every byte that the look reads."""

    digest: str
    exact: bool

    @property
    def folder(self) -> Path:
        """Where the entry lies, if there is one."""
        return cache_root() / f"look-{self.digest}"


class _Entry(msgspec.Struct, frozen=True):
    """look.json. samples: sha256 of each of its files; they lie in studies too, where somebody may write to them."""

    reply: dict[str, Any]
    samples: dict[str, str]


def key_of(
    source: Source, given: dict[str, Given], told: dict[str, Any], machine: Machine, *, trusted: bool = False
) -> Key | None:
    """The key of a look; None for what nothing can vouch for (a function) or whose files can't be read.

    given: samples, labels and metric. told: the other options that the child is told.
    """
    if source.kind == "callable":
        return None
    try:
        model, model_exact = _model(source)
        parts = {name: _given(one) for name, one in given.items() if name != "metric"}
    except OSError:
        return None
    everything = {
        "model": model,
        "kind": source.kind,
        "random_weights": source.random_weights,
        "given": {name: digest for name, (digest, _) in parts.items()},
        # Of a metric only its name reaches the samples.
        "metric": given["metric"].text if given["metric"].kind == "text" else given["metric"].sha256,
        "told": told,
        "trusted": trusted,
        "packages": machine.packages,
        "python": machine.python,
        "accel": _source(),
    }
    digest = hashlib.sha256(msgspec.json.encode(everything, order="sorted")).hexdigest()[:32]
    return Key(digest, model_exact and all(exact for _, exact in parts.values()))


def find(key: Key, folder: StudyFolder) -> dict[str, Any] | None:
    """The reply of the look, with samples and forms put into the study's folder; None if there is no whole entry."""
    if not key.folder.is_dir():
        return None
    with contextlib.suppress(OSError, msgspec.DecodeError):
        entry = msgspec.json.decode((key.folder / _ENTRY).read_bytes(), type=_Entry)
        _link(key.folder / "samples", folder.samples)
        _link(key.folder / "model", folder.model)
        if entry.samples == _hashes(folder.samples):
            with contextlib.suppress(OSError):  # somebody else's folder
                os.utime(key.folder)
            return entry.reply
    # Half of an entry is none, and must not stand in the way of a whole one; what the study stored itself stays.
    for part in (folder.samples, folder.model / FORMS):
        shutil.rmtree(part, ignore_errors=True)
    for name in (convention.FILE, facts.FILE):
        (folder.model / name).unlink(missing_ok=True)
    forget(key)
    return None


def keep(key: Key, folder: StudyFolder, reply: dict[str, Any]) -> None:
    """Store a look; an entry that is there already stays. A full disk is no reason to fail: then nothing is kept."""
    if reply["identity"] is None or key.folder.is_dir():
        return
    with contextlib.suppress(OSError), _made(key.folder) as work:
        _link(folder.samples, work / "samples")
        (work / "model").mkdir()
        # Of what lies beside the forms only these: stored objects are each study's own.
        for name in (convention.FILE, facts.FILE):
            if (folder.model / name).is_file():
                shutil.copyfile(folder.model / name, work / "model" / name)
        entry = _Entry(reply=reply, samples=_hashes(work / "samples"))
        write_atomically(work / _ENTRY, msgspec.json.encode(entry))


def keep_forms(key: Key, folder: StudyFolder) -> None:
    """Add the forms that were made since, so that preparing something new exports nothing again."""
    made = folder.model / FORMS
    if not key.folder.is_dir() or not made.is_dir():
        return
    for form in made.iterdir():
        there = key.folder / "model" / FORMS / form.name
        if form.is_dir() and (form / "seconds.json").is_file() and not there.exists():
            with contextlib.suppress(OSError), _made(there) as work:
                there.parent.mkdir(exist_ok=True)
                _link(form, work)


def forget(key: Key) -> None:
    """Remove an entry that turned out to be of another model."""
    remove(key.folder)


def _model(source: Source) -> tuple[str, bool]:
    """What tells a model apart before it is loaded, and whether that is all there is to it."""
    if source.kind in FILES:
        return _hash(*files_of(Path(source.location))), True
    if source.sha256 is not None:
        return source.sha256, False
    return _factory(source.location), False


def _given(given: Given) -> tuple[str, bool]:
    if given.kind == "none":
        return "", True
    if given.kind == "object":
        return given.sha256, False
    path = Path(given.text)
    if path.is_dir():
        return _hash(*sorted(p for p in path.rglob("*") if p.is_file())), True
    if path.is_file():
        return _hash(path), True
    return _factory(given.text), False


def _factory(location: str) -> str:
    """A factory's own file, and what it is called; what it reads and imports is seen only when it is run."""
    file = Path(location.rpartition(":")[0])
    return f"{location} {_hash(file) if file.is_file() else ''}"


def _hash(*paths: Path) -> str:
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            digest.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _hashes(folder: Path) -> dict[str, str]:
    return {path.name: _hash(path) for path in sorted(folder.iterdir())}


def _source() -> str:
    return source_sha256(*_SHAPING)


@contextlib.contextmanager
def _made(final: Path) -> Iterator[Path]:
    """A folder that is filled beside the entries and then renamed: whole or not there."""
    work = Path(tempfile.mkdtemp(prefix=".making-", dir=cache_root()))
    try:
        yield work
        with contextlib.suppress(OSError):  # another study was faster
            work.rename(final)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _link(there: Path, to: Path) -> None:
    """The same files at another place: large ones by hard links, since nobody changes them in place, else copied."""
    for path in sorted(p for p in there.rglob("*") if p.is_file()):
        place = to / path.relative_to(there)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        try:
            if path.suffix == ".json":
                shutil.copyfile(path, place)
            else:
                os.link(path, place)
        except OSError:
            shutil.copyfile(path, place)
