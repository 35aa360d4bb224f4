"""One network made ready for every backend, in a process of its own: samples, reference outputs, the stored module.

python -m benchmarks.gpu.build MODEL FOLDER [VARIANT]: VARIANT for a backend that builds from another form than torch's.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec

from accel import plugins
from accel.compilation import Engine
from accel.measurement.outputs import save_outputs, split_rows
from accel.model import Model, describe
from accel.model.factory import call_factory
from accel.plugins import Named
from accel.samples import Samples, matched, materialise
from accel.study.folder import StudyFolder
from benchmarks.gpu.networks import NETWORKS
from benchmarks.gpu.rows import variants

REFERENCE = 32
"""Samples that outputs are compared on, and that timed runs walk through."""
STORED = "torch"


class Plain:
    """A loaded model as backends see it, without its facts: counting operators would export it first."""

    def __init__(self, model: Model) -> None:
        self.signature, self.precision, self.example = model.signature, model.precision, model.example
        self.facts: Any = SimpleNamespace(quantized=False)
        self._model = model

    def as_form(self, form: str) -> Any:
        return self._model.as_form(form)


def build(model: str, folder: StudyFolder) -> None:
    """Samples, the stored module, and what float32 on the processor answers."""
    samples, loaded = _loaded(model, folder)
    where = folder.artefacts / STORED
    where.mkdir(exist_ok=True)
    backend = plugins.make("compilation", Named("eager"))
    backend.build(Plain(loaded), where)
    ids = [int(i) for i in samples.evaluation[:REFERENCE]]
    save_outputs(folder.reference / "outputs.npz", _answers(backend.open(where), samples, ids), ids)


def _loaded(model: str, folder: StudyFolder) -> tuple[Samples, Model]:
    network = NETWORKS[model]
    raw, _ = call_factory(network.samples)
    samples = materialise(raw, None, folder.samples, seed=0, calibration=0)
    source = describe(network.network, folder=folder.model, random_weights=True)
    loaded = Model.load(source, folder.model, samples)
    return matched(samples, loaded.signature, folder.samples), loaded


def _answers(engine: Engine, samples: Samples, ids: list[int]) -> list[Any]:
    rows: list[Any] = []
    for at in range(0, len(ids), 8):
        part = ids[at : at + 8]
        rows += split_rows(engine.run(samples.batch(part)), len(part))
    engine.close()
    return rows


def build_variant(model: str, folder: StudyFolder, name: str) -> None:
    """The artefact of one variant that doesn't start from the stored module."""
    variant = next(v for v in variants(model, rehearsal=False) if v.name == name)
    _, loaded = _loaded(model, folder)
    where = folder.artefacts / name
    where.mkdir(exist_ok=True)
    plugins.make("compilation", variant.backend).build(Plain(loaded), where)


def main() -> None:
    """See the head of this file; a reason goes to stderr as one line."""
    model, root, *variant = sys.argv[1:]
    folder = StudyFolder(Path(root))
    folder.create(resume=True)
    if variant:
        build_variant(model, folder, variant[0])
    else:
        build(model, folder)
    print(msgspec.json.encode({"built": model}).decode())


if __name__ == "__main__":
    main()
