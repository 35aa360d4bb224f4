"""Which settings are tried: the data file against the registry, and what is left out for this machine and model."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from accel import plugins
from accel.measurement.machine import Machine, detect
from accel.measurement.topology import Topology
from accel.model.types import Facts
from accel.plugins import Named
from accel.recipe import Variant
from accel.study import defaults
from accel.study.knobs import NEEDS, WORDS, by_turns, knobs, together, turned

ORT = Variant(name="onnxruntime-int8", backend=Named("onnxruntime"), compression=(Named("quantize_static"),))
KINDS = ("convolutional", "depthwise", "transformer", "other", "trees")


def machine(cores: int = 4, threads_per_core: int = 1) -> Machine:
    siblings = tuple(tuple(range(i, i + threads_per_core)) for i in range(0, cores, threads_per_core))
    topology = Topology(packages=1, cores=len(siblings), threads_per_core=threads_per_core, siblings=siblings)
    affinity = tuple(range(cores))
    return msgspec.structs.replace(detect(), cores=cores, topology=topology, affinity=affinity, flags=("avx2",))


@pytest.fixture
def facts() -> Facts:
    return Facts(kind="transformer", forms=("onnx",), **_facts())


def _facts() -> dict[str, Any]:
    required = [f.name for f in msgspec.structs.fields(Facts) if f.required and f.name not in ("kind", "forms")]
    return dict.fromkeys(required)


def names(found: Any) -> list[str]:
    return [one.variant.name for one in found]


@pytest.mark.parametrize("backend", sorted(knobs()))
def test_every_field_exists_and_takes_its_value(backend: str) -> None:
    for knob in knobs()[backend]:
        fields = {field: 1 if value in WORDS else value for field, value in knob.fields.items()}
        plugins.make("compilation", Named(backend, fields))
        assert knob.name.format(**fields), "every placeholder is a field"
        assert set(knob.needs) <= {*NEEDS, *KINDS}
        assert knob.helps


def test_the_file_is_no_order_of_variants() -> None:
    assert set(defaults.backends()) >= {"onnxruntime", "openvino"}


def test_threads_are_counted_on_this_machine_and_names_say_them(facts: Facts) -> None:
    found = turned(ORT, facts, machine(8), ("batch",), quick=True)
    assert names(found) == [f"onnxruntime-int8-{what}" for what in ("threads-1", "spinning-off", "threads-4")]
    assert [one.variant.backend.fields for one in found] == [{"threads": 1}, {"spinning": False}, {"threads": 4}]
    assert all(one.shares and not one.own and one.parent == "onnxruntime-int8" for one in found)
    assert all(one.variant.compression == ORT.compression for one in found)
    two = turned(ORT, facts, machine(2), ("batch",), quick=True)
    assert names(two) == ["onnxruntime-int8-threads-1", "onnxruntime-int8-spinning-off"], "half of two is one"
    smt = turned(ORT, facts, machine(8, threads_per_core=2), ("batch",), quick=True)
    assert names(smt)[2] == "onnxruntime-int8-threads-4", "one thread a core; half would be the same"
    assert len(smt) == 3
    assert turned(ORT, facts, machine(1), ("batch",), quick=True) == []


def test_a_goal_asks_only_for_what_may_help_it(facts: Facts) -> None:
    assert names(turned(ORT, facts, machine(), ("memory",))) == ["onnxruntime-int8-threads-1"]


def test_what_was_asked_for_is_not_turned_again(facts: Facts) -> None:
    own = msgspec.structs.replace(ORT, backend=Named("onnxruntime", {"threads": 2}))
    assert names(turned(own, facts, machine(), ("batch",), quick=True)) == ["onnxruntime-int8-spinning-off"]
    assert turned(msgspec.structs.replace(ORT, instances=2), facts, machine(), ("batch",)) == []
    assert turned(Variant(name="a", backend=Named("callable")), facts, machine(), ("batch",)) == []


def test_what_shapes_the_artefact_is_prepared_and_scored_anew(facts: Facts) -> None:
    found = turned(ORT, facts, machine(), ("batch",), quick=False)
    slow = next(one for one in found if "optimization" in one.fields)
    assert (slow.shares, slow.own) == (False, True)
    kept = turned(Variant(name="eager", backend=Named("eager")), facts, machine(), ("batch",))
    assert "eager-channels-last" not in names(kept), "a transformer has no channels"
    images = msgspec.structs.replace(facts, kind="convolutional")
    last = next(
        o for o in turned(Variant(name="eager", backend=Named("eager")), images, machine(), ("batch",)) if o.own
    )
    assert (last.variant.name, last.shares) == ("eager-channels-last", True), "the artefact is the same, not the order"


def test_two_at_once_and_never_the_same_field_twice(facts: Facts) -> None:
    one, off, half = turned(ORT, facts, machine(8), ("batch",), quick=True)
    both = together(ORT, one, off)
    assert both is not None
    assert both.variant.name == "onnxruntime-int8-threads-1-spinning-off"
    assert both.variant.backend.fields == {"threads": 1, "spinning": False}
    assert together(ORT, one, half) is None


def test_the_best_of_every_parent_comes_before_anyones_second(facts: Facts) -> None:
    ort = turned(ORT, facts, machine(), ("batch",), quick=True)
    eager = turned(Variant(name="eager", backend=Named("eager")), facts, machine(), ("batch",), quick=True)
    assert names(by_turns([ort, eager]))[:3] == [ort[0].variant.name, "eager-threads-1", ort[1].variant.name]


def test_what_computes_on_a_gpu_is_not_turned_by_the_processors_threads(facts: Facts) -> None:
    for name in ("eager", "onnxruntime"):
        on_processor = turned(Variant(name="a", backend=Named(name)), facts, machine(), ("batch", "online", "memory"))
        backend = Named(name, {"device": "cuda"})
        on_gpu = turned(Variant(name="a", backend=backend), facts, machine(), ("batch", "online", "memory"))
        assert any("threads" in one.fields for one in on_processor)
        assert not any({"threads", "spinning"} & one.fields.keys() for one in on_gpu)
        kept = [one.suffix for one in on_processor if not {"threads", "spinning", "stop_spinning"} & one.fields.keys()]
        assert [one.suffix for one in on_gpu] == kept
