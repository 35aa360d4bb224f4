"""Faults of the hardware's use, planted one at a time: the finding names each, and says nothing beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from accel.analysis.bounds import at_work
from accel.analysis.conclusion import Answer, Finding, Row, StudyRecord
from accel.analysis.findings import findings
from accel.analysis.paired import Floor
from accel.analysis.runs import Run
from accel.compilation import Effective
from accel.compilation._artefact import Artefact
from accel.measurement import affinity, cgroup, denormals
from accel.measurement.instances import Asked, open_instances
from accel.measurement.machine import detect
from accel.model import Tensor
from accel.plugins import Named
from accel.recipe import Variant
from accel.result import Result, Witness
from accel.samples.store import Samples
from tests.measurement.computers import BIG_LITTLE, INTEL_SMT, quota_v1, quota_v2, write
from tests.measurement.places import samples_folder
from tests.synthetic import BASELINE, synthetic_study

BASE = BASELINE.variant
TWO_CORES = pytest.mark.skipif(len(affinity.usable()) < 2, reason="needs two cores")


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> StudyRecord:
    given = synthetic_study(tmp_path_factory.mktemp("study"))
    return msgspec.structs.replace(given, synthetic=False, slo_assumed=False, not_bought=(), command="accel bench m.py")


def found(
    record: StudyRecord, *rows: Row, results: tuple[Result, ...] = (), runs: tuple[Run, ...] = (), winner: str = ""
) -> list[Finding]:
    answer = Answer(
        target="batch", winner=winner, keeps_baseline=not winner, speedup=None, sentence="", evidence="none"
    )
    base = Row(name=BASE.name, variant=BASE, status="ok", is_baseline=True)
    return list(findings([base, *rows], [answer], record, results, {"latency": Floor(), "batch": Floor()}, runs))


def row(effective: Effective | None = None, *, backend: str = "onnxruntime", **fields: Any) -> Row:
    fields = {"instances": 1, "placement": "shared"} | fields
    planted = Variant(name="planted", backend=Named(backend), **fields)
    return Row(name="planted", variant=planted, status="ok", effective=effective)


def runs_with(threads: int, **detail: str) -> Effective:
    return Effective(precision="float32", threads=threads, provider="CPU", detail=detail)


def with_cores(record: StudyRecord, cores: int) -> StudyRecord:
    machine = msgspec.structs.replace(record.machine, cores=cores, logical_cpus=cores)
    return msgspec.structs.replace(record, machine=machine)


# --- threads ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small matrix product for ONNX Runtime, and samples for it."""
    folder = tmp_path_factory.mktemp("place")
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])
    weight = helper.make_tensor("w", TensorProto.FLOAT, [4, 3], np.ones(12, np.float32))
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", [x], [y], [weight])
    (folder / "artefact").mkdir()
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), folder / "artefact" / "model.onnx")
    inputs, outputs = (Tensor("x", "float32", ("batch", 4)),), (Tensor("y", "float32", ("batch", 3)),)
    Artefact(file="model.onnx", inputs=inputs, outputs=outputs, sizes=None).save(folder / "artefact")
    samples_folder(folder / "samples")
    return folder


@pytest.fixture
def really(place: Path) -> Iterator[Any]:
    """Opens the product with these fields, and gives what really runs as a row of a study."""

    def open_(instances: int = 1, placement: str = "shared", **fields: Any) -> Row:
        asked = Asked(
            backend=Named("onnxruntime", fields),
            folder=str(place / "artefact"),
            samples=str(place / "samples"),
            instances=instances,
            placement=placement,  # type: ignore[arg-type]
        )
        opened = open_instances(asked, Samples.open(place / "samples").to_ram(), lambda text: None).opened
        return row(opened.effective, instances=instances, placement=placement)

    with denormals.flushed(on=False):
        yield open_


def test_threads_four_times_the_cores_are_named(record: StudyRecord, really: Any) -> None:
    cores = cgroup.usable_cores()
    here = with_cores(record, cores)
    assert found(here, really()) == []
    (one,) = found(here, really(threads=4 * cores))
    assert one.what.startswith(f"`planted` ran {4 * cores} threads on {cores} usable core")
    assert one.command == f"accel list onnxruntime  # its field `threads`: 0 takes the {cores} usable"
    assert one.why


def test_how_long_they_waited_is_said_where_the_witness_saw_it(record: StudyRecord) -> None:
    waited = Witness(id="W3", value=1.4, warn=0.05, unstable=0.25, invalid=None, level="warn", sentence="Waited.")
    held = result(witnesses=(waited,))
    (one,) = found(with_cores(record, 2), row(runs_with(8)), results=(held,))
    assert "Its threads waited for a core 140 % of the time they ran (W3)." in one.what


@TWO_CORES
def test_spinning_with_two_instances_on_two_cores_is_named(record: StudyRecord, really: Any) -> None:
    cores = cgroup.usable_cores()
    here = with_cores(record, cores)
    spinning = {"instances": 2, "placement": "threads", "threads": cores}
    (one,) = found(here, really(**spinning, spinning=True))
    assert one.what.startswith("The waiting threads of `planted` burn the cores of its own instances: 2 instances")
    assert one.command == f"accel list onnxruntime  # its fields: spinning = false, threads = {max(1, cores // 2)}"
    # Asleep while they wait they are merely too many, and by default they are neither.
    (other,) = found(here, really(**spinning))
    assert other.what.startswith(f"`planted` ran {2 * cores} threads on")
    assert found(here, really(instances=2, placement="threads")) == []


def queued(name: str, level: str) -> Result:
    value = {"ok": 0.01, "unstable": 0.97}[level]
    said = Witness(id="W3", value=value, warn=0.05, unstable=0.25, invalid=None, level=level, sentence="Waited.")  # type: ignore[arg-type]
    variant = BASE if name == BASE.name else Variant(name=name, backend=Named("openvino"), instances=2)
    return result(variant=variant, witnesses=(said,))


def test_threads_that_wait_for_one_another_with_cores_enough_are_named(record: StudyRecord) -> None:
    planted = row(runs_with(2), backend="openvino", instances=2, placement="threads")
    here = with_cores(record, 2)
    # One at a time nobody waits, so only the runs in batches show it.
    own = [queued("planted", level) for level in ("ok", "unstable", "ok", "unstable")]
    calm = [queued(BASE.name, "ok") for _ in range(11)]
    (one,) = found(here, planted, results=(*own, *calm))
    assert one.what.startswith("The threads of `planted` wait for one another: 2 on 2 usable cores.")
    assert "97 %" in one.what
    assert one.command.startswith("accel list openvino")
    # A busy machine holds everybody up; one run alone says nothing; and too many threads are another finding.
    busy = [queued(BASE.name, "unstable") for _ in range(3)]
    for results in ((*own, *calm[:5], *busy), (*own[:3], *calm)):
        assert not any("wait for one another" in f.what for f in found(here, planted, results=results))
    many = row(runs_with(4), backend="openvino", instances=2, placement="threads")
    assert not any("wait for one another" in f.what for f in found(here, many, results=(*own, *calm)))


def test_callers_of_one_engine_count_with_its_helpers() -> None:
    assert at_work(row(runs_with(2), instances=2)) == 3
    assert at_work(row(runs_with(4), instances=2, placement="threads")) == 4
    assert at_work(row(runs_with(1), instances=3)) == 3
    assert at_work(row()) == 0


def test_engines_of_one_thread_that_take_turns_are_not_called_oversubscribed(record: StudyRecord) -> None:
    assert found(with_cores(record, 2), row(runs_with(3, spinning="true"), instances=3, placement="processes")) != []
    assert found(with_cores(record, 2), row(runs_with(3), instances=3, placement="processes")) == []


# --- what belongs together -------------------------------------------------------------------------------------


def smt(record: StudyRecord, tmp_path: Path) -> StudyRecord:
    return msgspec.structs.replace(
        record, machine=msgspec.structs.replace(detect(write(INTEL_SMT, tmp_path)), logical_cpus=8)
    )


def test_instances_on_two_threads_of_one_core_are_named(record: StudyRecord, tmp_path: Path) -> None:
    here = smt(record, tmp_path)
    (one,) = found(here, row(runs_with(2, cores="0 | 4"), instances=2, placement="threads"))
    assert one.what == "Instances of `planted` share physical cores: 0,4 are threads of one core."
    assert "1 instance would have a core each" in one.why
    assert one.command.startswith("lscpu --extended")
    for apart in ("0 | 1", "0,4 | 1,5"):
        assert found(here, row(runs_with(2, cores=apart), instances=2, placement="threads")) == []


def test_the_places_that_accel_chooses_share_none(record: StudyRecord, tmp_path: Path) -> None:
    here = smt(record, tmp_path)
    for count in (2, 3, 4):
        sets = affinity.parts(count, tmp_path)
        detail = " | ".join(",".join(map(str, cores)) for cores in sets)
        assert found(here, row(runs_with(count, cores=detail), instances=count, placement="threads")) == []


def test_a_winner_with_more_threads_than_physical_cores_is_told(record: StudyRecord, tmp_path: Path) -> None:
    here = smt(record, tmp_path)
    (one,) = found(here, row(runs_with(8)), winner="planted")
    assert one.what == "`planted` runs 8 threads on 4 physical cores."
    assert one.command.endswith("try 4")
    assert found(here, row(runs_with(4)), winner="planted") == []


def test_threads_that_hand_work_to_a_gpu_are_not_counted(record: StudyRecord, tmp_path: Path) -> None:
    there = msgspec.structs.replace(runs_with(8), provider="torch eager, cuda")
    assert found(smt(record, tmp_path), row(there), winner="planted") == []
    assert found(with_cores(record, 2), row(there)) == []


# --- what the process may use ----------------------------------------------------------------------------------


@pytest.mark.parametrize("quota", [quota_v1, quota_v2])
def test_a_quota_below_the_cores_is_named(quota: Any, record: StudyRecord, tmp_path: Path) -> None:
    machine = msgspec.structs.replace(detect(write(BIG_LITTLE | quota(0.5), tmp_path)), logical_cpus=6)
    (one,) = found(msgspec.structs.replace(record, machine=machine))
    assert one.what == (
        "This process may use 1 of 6 processors: a CPU quota of 0.5 cores. So every variant got 1 thread, unless it "
        "asked for others."
    )
    assert "even one thread is held up" in one.why
    assert one.command == "accel doctor"


def test_an_affinity_below_the_cores_is_named_with_the_way_out(record: StudyRecord) -> None:
    machine = msgspec.structs.replace(record.machine, cores=1, logical_cpus=4, affinity=(2,))
    (one,) = found(msgspec.structs.replace(record, machine=machine))
    assert "1 of 4 processors: affinity to processor 2 alone" in one.what
    assert one.command == "taskset --cpu-list 0-3 accel bench m.py"


def test_a_quota_that_held_runs_up_names_whom(record: StudyRecord) -> None:
    held = Witness(
        id="W2", value=0.4, warn=0.0, unstable=0.01, invalid=None, level="unstable", sentence="40 % of the periods."
    )
    (one,) = found(record, row(runs_with(1)), results=(result(witnesses=(held,)),))
    assert one.what.startswith("The processor quota of this container held 1 runs up: 40 % of the periods at worst")
    assert "Most of all: `planted`." in one.why


def test_heat_is_named_with_how_often(record: StudyRecord) -> None:
    hot = Witness(
        id="W6T",
        value=3.0,
        warn=None,
        unstable=0.0,
        invalid=None,
        level="unstable",
        sentence="Heat slowed the processor 3 times.",
    )
    results = (result(witnesses=(hot,)), result(run_id="b"), result(run_id="c"))
    assert any(
        f.what == "1 of 3 runs were slowed down by heat: heat slowed the processor 3 times at worst (W6T)."
        for f in found(record, results=results)
    )


def result(**fields: Any) -> Result:
    given: dict[str, Any] = {
        "run_id": "a",
        "study_id": "s",
        "phase": "screening",
        "variant": row().variant,
        "role": "candidate",
        "status": "ok",
    }
    return Result(**(given | fields))


# --- numbers below the smallest normal one ---------------------------------------------------------------------


def test_denormal_inputs_are_named_by_input(record: StudyRecord) -> None:
    quiet = {"x": np.array([0.0, 1.0, 1e-30, -3.0], np.float32)}
    loud = {"x": np.array([1e-40, 1.0, 1e-41, -1e-42], np.float32), "ids": np.array([1, 2])}
    assert found(msgspec.structs.replace(record, denormals=denormals.share(quiet))) == []
    (one,) = found(msgspec.structs.replace(record, denormals=denormals.share(loud)))
    assert one.what == "Inputs hold denormal numbers, below the smallest normal one: 75 % of `x`."
    assert "torch.set_flush_denormal(True)" in one.why
    assert one.command == "accel list onnxruntime  # its field `flush_denormals`"


def test_what_keeping_them_costs_is_said_where_it_was_measured(record: StudyRecord) -> None:
    here = msgspec.structs.replace(record, denormals={"x": 0.5})
    plain = [look(0.001, trial=i) for i in range(3)]
    (one,) = found(here, runs=(*plain, look(0.02, kept=True)))
    assert "In a process that keeps them a call of the original takes 20× [20–20] as long." in one.what
    (other,) = found(here, runs=(*plain, look(0.00105, kept=True)))
    assert "In a process" not in other.what


def look(median_s: float, *, kept: bool = False, trial: int = 0) -> Run:
    seen = result(
        run_id=f"look-{trial}-{kept}",
        phase="measure",
        target=None,
        variant=BASE,
        role="baseline",
        trial=trial,
        scenario=Named("single_stream"),
        effective=runs_with(1, denormals="kept" if kept else "become zero"),
    )
    times = median_s * np.exp(np.random.default_rng(trial).normal(0, 1e-3, 60))
    return Run(result=seen, latency_s=times, items=np.ones(60), seconds=times, service_s=times)
