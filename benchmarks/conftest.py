"""Which models, backends and compressions the suite runs over; see `test_batch_versus_online`."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from accel.errors import AccelError, VariantError
from accel.recipe import Variant
from benchmarks import cells
from benchmarks.batching.rows import Where
from benchmarks.subject import Ready, Runner, Subject, place

ORIGINAL = "original"


def listed(name: str, default: str) -> list[str]:
    """The words of an environment variable, separated by commas."""
    return [word for word in os.environ.get(name, default).split(",") if word]


MODELS = listed("ACCEL_BENCH_MODELS", "digits,minilm,ocr,resnet50,bert_base")
BACKENDS = listed("ACCEL_BENCH_BACKENDS", "onnxruntime,openvino")
COMPRESSIONS = listed("ACCEL_BENCH_COMPRESSIONS", "none,quantize_static")
WAYS = [ORIGINAL, *("+".join(pair) for pair in itertools.product(COMPRESSIONS, BACKENDS))]


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One cell to fill: a variant of a model, ready to be timed."""

    subject: Subject
    ready: Ready
    runner: Runner

    @property
    def folder(self) -> Path:
        """Where everything about this model is kept."""
        return self.subject.folder.root

    def cell(self) -> cells.Cell:
        """The cell without its halves."""
        record = self.subject.record
        return cells.Cell(
            model=record.name,
            variant=self.ready.name,
            original=self.ready.name == record.baseline,
            random_weights=record.source.random_weights,
            where=Where.here(),
            quality=self.ready.quality,
        )


_subjects: dict[str, Subject] = {}


def subject_of(model: str) -> Subject:
    """A model, looked at once a session."""
    if model not in _subjects:
        techniques = [c for c in COMPRESSIONS if c != "none"]
        out = place() / "suite" / Path(model).stem
        _subjects[model] = Subject(model, out, backend=BACKENDS, compression=techniques)
    return _subjects[model]


@pytest.fixture(
    params=[(model, way) for model in MODELS for way in WAYS], ids=lambda pair: f"{Path(pair[0]).stem}-{pair[1]}"
)
def entry(request: pytest.FixtureRequest) -> Iterator[Entry]:
    """A cell; skipped where the variant is the original itself or can't be used, which the cell then says."""
    model, way = request.param
    try:
        subject = subject_of(model)
    except AccelError as error:
        pytest.skip(f"{model}: {error}")
    variant = variant_of(subject, way)
    try:
        ready = subject.ready(variant)
    except VariantError as error:
        record = subject.record
        cells.keep(
            subject.folder.root,
            cells.Cell(
                model=record.name,
                variant=variant.name,
                original=False,
                random_weights=record.source.random_weights,
                where=Where.here(),
                reason=error.reason,
            ),
        )
        pytest.skip(f"{variant.name}: {error.reason}")
    with Runner(subject, ready) as runner:
        yield Entry(subject=subject, ready=ready, runner=runner)


def variant_of(subject: Subject, way: str) -> Variant:
    """The variant that a word such as `quantize_static+openvino` means; skips what is the original under two words."""
    name = subject.record.baseline if way == ORIGINAL else way.removeprefix("none+")
    if way != ORIGINAL and name == subject.record.baseline:
        pytest.skip(f"`{name}` is the original itself")
    return subject.variants[name]
