"""Several engines of one variant, driven for real: each on its own cores, answers to their requests, crashes said."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel.compilation._artefact import Artefact
from accel.compilation.onnxruntime import OnnxRuntime
from accel.compilation.openvino import OpenVino
from accel.measurement import affinity, denormals
from accel.measurement.feeding import InstanceLost
from accel.measurement.instances import Asked, Instances, beside_others, open_instances
from accel.measurement.isolation import Child, ChildFailed
from accel.measurement.outputs import load_outputs, save_outputs
from accel.measurement.remote import packed, unpacked
from accel.measurement.trace import OK, Trace
from accel.model import Tensor, pickles
from accel.plugins import Named
from accel.samples.store import Samples
from tests.measurement.places import null_folder, samples_folder

TWO_CORES = pytest.mark.skipif(len(affinity.usable()) < 2, reason="needs two cores")


# --- shares of the cores ---------------------------------------------------------------------------------------------


@given(n=st.integers(1, 64), count=st.integers(1, 80))
def test_shares_are_a_partition_as_even_as_can_be(n: int, count: int) -> None:
    shares = affinity.shares(tuple(range(n)), count)
    assert len(shares) == count
    sizes = [len(s) for s in shares]
    assert min(sizes) >= 1
    assert max(sizes) - min(sizes) <= 1
    if count <= n:
        assert [c for s in shares for c in s] == list(range(n))


def test_without_affinity_nothing_is_pinned() -> None:
    assert affinity.shares((), 3) == ((), (), ())
    with affinity.pinned(()):
        pass


def test_siblings_of_a_core_stay_together_and_a_quota_takes_whole_cores_first(tmp_path: Path) -> None:
    # Two cores with two threads each, numbered as Linux does: 0 and 2 are siblings, 1 and 3 too.
    for cpu in range(4):
        place = tmp_path / f"sys/devices/system/cpu/cpu{cpu}/topology"
        place.mkdir(parents=True)
        (place / "physical_package_id").write_text("0\n")
        (place / "core_id").write_text(f"{cpu % 2}\n")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
        assert affinity.shares(affinity.usable(tmp_path), 2) == ((0, 2), (1, 3))
        group = tmp_path / "sys/fs/cgroup"
        group.mkdir(parents=True)
        (group / "cgroup.controllers").write_text("cpu")
        (group / "cpu.max").write_text("200000 100000")
        (tmp_path / "proc/self").mkdir(parents=True)
        (tmp_path / "proc/self/cgroup").write_text("0::/\n")
        assert affinity.usable(tmp_path) == (0, 1)


def test_pinning_ends_with_its_block() -> None:
    before = os.sched_getaffinity(0)
    with affinity.pinned((min(before),)):
        assert os.sched_getaffinity(0) == {min(before)}
    assert os.sched_getaffinity(0) == before


# --- engines that tell where they run --------------------------------------------------------------------------------


def predict(inputs: dict[str, Any]) -> dict[str, Any]:
    """Answers with its input, and with the processors that its thread may use and its process."""
    x = inputs["x"]
    where = np.array([[sum(1 << core for core in os.sched_getaffinity(0)), os.getpid()]], np.float64)
    return {"y": x, "where": np.repeat(where, len(x), axis=0)}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("instances")
    samples_folder(folder / "samples")
    null_folder(folder / "null")
    where = Tensor("where", "float64", ("batch", 2))
    _callable(folder / "telling", Tensor("y", "float32", ("batch", 4)), where)
    _callable(folder / "echo", Tensor("y", "float32", ("batch", 4)))
    return folder


def _callable(folder: Path, *outputs: Tensor) -> None:
    folder.mkdir()
    sha256, roots = pickles.store({"call": predict}, folder / "callable.pkl")
    (folder / "callable.json").write_text(json.dumps({"sha256": sha256, "sys_path": roots}))
    Artefact(
        file="callable.pkl",
        inputs=(Tensor("x", "float32", ("batch", 4)),),
        outputs=outputs,
        sizes=None,
    ).save(folder)


def asked(place: Path, backend: str = "null", folder: str = "null", **fields: Any) -> Asked:
    given = {k: fields.pop(k) for k in ("instances", "placement") if k in fields}
    return Asked(backend=Named(backend, fields), folder=str(place / folder), samples=str(place / "samples"), **given)


@pytest.fixture
def opened(place: Path) -> Iterator[Any]:
    held: list[Instances] = []

    def open_(one: Asked) -> Instances:
        held.append(open_instances(one, Samples.open(place / "samples").to_ram(), lambda text: None))
        return held[-1]

    # What a measure child sets for itself must not outlive the test.
    with denormals.flushed(on=False):
        yield open_
    for instances in held:
        for feed in instances.feeds:
            getattr(feed, "close", lambda: None)()


@TWO_CORES
def test_threads_have_an_engine_each_on_cores_of_their_own(place: Path, opened: Any) -> None:
    usable = affinity.usable()
    instances = opened(asked(place, "callable", "telling", parallel=True, instances=2, placement="threads"))
    assert len({id(feed) for feed in instances.feeds}) == 2
    seen = []
    for feed in instances.feeds:
        with affinity.restored():
            feed.enter()
            seen.append(int(feed.call([12])["where"][0, 0]))
    shares = affinity.shares(usable, 2)
    assert seen == [sum(1 << core for core in share) for share in shares]
    assert seen[0] & seen[1] == 0
    assert instances.opened.effective.detail["cores"] == " | ".join(",".join(map(str, s)) for s in shares)


@TWO_CORES
def test_processes_are_pinned_as_a_whole_and_hold_a_copy_of_the_samples(place: Path, opened: Any) -> None:
    instances = opened(asked(place, "callable", "telling", instances=2, placement="processes"))
    assert len(set(instances.pids)) == 2
    shares = affinity.shares(affinity.usable(), 2)
    assert [psutil.Process(pid).cpu_affinity() for pid in instances.pids] == [sorted(s) for s in shares]
    x = Samples.open(place / "samples").inputs["x"]
    for feed, pid in zip(instances.feeds, instances.pids, strict=True):
        many = feed.keep(feed.call([13, 11, 29]))
        alone = feed.keep(feed.run(feed.rows[17]))
        assert many == alone == {}, "outputs stay there until they are collected"
        feed.collect()
        np.testing.assert_array_equal(many["y"], x[[13, 11, 29]])
        np.testing.assert_array_equal(alone["y"], x[[17]])
        assert set(many["where"][:, 1]) == {float(pid)}


def test_more_instances_than_cores_run_and_it_is_said(place: Path, opened: Any) -> None:
    count = len(affinity.usable()) + 1
    instances = opened(asked(place, instances=count, placement="threads"))
    assert len(instances.feeds) == count
    assert f"{count} instances share" in instances.notes[0]


def test_a_function_that_may_not_be_shared_is_sent_to_processes(place: Path, opened: Any) -> None:
    with pytest.raises(Exception, match="can't live in one process"):
        opened(asked(place, "callable", "telling", instances=2, placement="threads"))


def test_an_artefact_that_no_instance_can_open_says_why(place: Path, opened: Any) -> None:
    before = {p.pid for p in psutil.Process().children()}
    with pytest.raises(Exception, match="nothing"):
        opened(asked(place, "null", "nothing", instances=2, placement="processes"))
    assert {p.pid for p in psutil.Process().children()} <= before, "no process is left behind"


def test_a_lost_process_is_a_reason(place: Path, opened: Any) -> None:
    instances = opened(asked(place, instances=2, placement="processes"))
    os.kill(instances.pids[1], signal.SIGSEGV)
    instances.feeds[0].call([1])
    with pytest.raises(InstanceLost, match="instance 2 of 2 crashed with SIGSEGV while it ran"):
        instances.feeds[1].call([1])
    with pytest.raises(InstanceLost):
        instances.feeds[1].call([1])


def test_several_engines_neither_spin_nor_pin_unless_asked_for(place: Path) -> None:
    def among(backend: Any, instances: int, placement: str) -> Any:
        return beside_others(backend, asked(place, instances=instances, placement=placement))

    assert among(OnnxRuntime(), 2, "threads").spinning is False
    assert among(OnnxRuntime(), 1, "shared").spinning is None
    assert among(OnnxRuntime(spinning=True), 2, "threads").spinning is True
    assert among(OpenVino(), 2, "threads").pinning is False
    assert among(OpenVino(pinning=True), 2, "threads").pinning is True
    # One engine knows its streams, and a process has its cores to itself: there the runtime may pin.
    assert among(OpenVino(streams=2), 2, "shared") == OpenVino(streams=2)
    assert among(OpenVino(), 2, "processes") == OpenVino()


@TWO_CORES
def test_engines_of_a_runtime_that_pins_stay_on_their_own_cores(place: Path, opened: Any) -> None:
    """With its own pinning every engine of OpenVINO takes the first core, and moves whoever calls it."""
    openvino_folder(place / "product")
    instances = opened(asked(place, "openvino", "product", instances=2, placement="threads"))

    def worker(feed: Any) -> set[int]:
        feed.enter()
        feed.call([1, 2, 3])
        return os.sched_getaffinity(0)

    with ThreadPoolExecutor(1) as first, ThreadPoolExecutor(1) as second:
        seen = [pool.submit(worker, feed).result() for pool, feed in zip((first, second), instances.feeds, strict=True)]
    assert seen == [set(share) for share in affinity.shares(affinity.usable(), 2)]


def openvino_folder(folder: Path) -> None:
    import openvino as ov
    from openvino import opset13 as ops

    folder.mkdir()
    x = ops.parameter([-1, 4], np.float32)
    y = ops.matmul(x, ops.constant(np.ones((4, 3), np.float32)), False, False)
    ov.save_model(ov.Model([y], [x]), folder / "model.xml", compress_to_fp16=False)
    inputs, outputs = (Tensor("x", "float32", ("batch", 4)),), (Tensor("y", "float32", ("batch", 3)),)
    Artefact(file="model.xml", inputs=inputs, outputs=outputs, sizes=None).save(folder)


def test_outputs_survive_the_pipe() -> None:
    arrays = {"file": np.arange(6).reshape(2, 3), "b": np.array([[True], [False]]), "": np.zeros((2, 0), np.float16)}
    back = unpacked(packed(arrays))
    assert list(back) == list(arrays)
    for name, value in arrays.items():
        assert back[name].dtype == value.dtype
        np.testing.assert_array_equal(back[name], value)


# --- through the measure child ---------------------------------------------------------------------------------------


def open_child(child: Child, one: Asked) -> dict[str, Any]:
    return child.ask({"do": "open", **msgspec.to_builtins(one)}, timeout_s=60)


def measure(child: Child, out: Path, on_stage: Any = None, **changes: Any) -> dict[str, Any]:
    command = {
        "do": "measure",
        "scenario": {"name": "offline", "fields": {"samples": 40}},
        "batching": {"name": "fixed", "fields": {"size": 2}},
        "seed": 7,
        "trial": 0,
        "duration_s": 5.0,
        "warmup_iterations": 3,
        "warmup_s": 0.0,
        "workers": 2,
        "drain_s": 5.0,
        "out": str(out),
    }
    return child.ask({**command, **changes}, timeout_s=60, on_stage=on_stage)


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Child]:
    with Child("accel.measurement.worker", log=tmp_path / "log.txt", cwd=tmp_path) as started:
        yield started


@pytest.mark.parametrize("placement", ["threads", "processes"])
def test_two_sleeping_engines_answer_twice_as_many(place: Path, child: Child, tmp_path: Path, placement: str) -> None:
    opened = open_child(
        child, asked(place, "stub", item_s=0.02, wait="sleep", instances=2, placement=placement, folder="null")
    )
    assert opened["effective"]["detail"]["instances"].startswith("2, an engine each")
    both = measure(child, tmp_path / "two.npz")
    one = measure(child, tmp_path / "one.npz", workers=1)
    ratio = one["wall_s"] / both["wall_s"]
    assert 1.6 < ratio < 2.4, "sleeping takes no processor, so load hardly matters"
    trace = Trace.load(tmp_path / "two.npz")
    assert set(trace.status.tolist()) == {OK}
    if placement == "processes":
        assert both["memory"]["peak_run_bytes"] > 2 * 15e6, "both processes and their parent are in it"


@pytest.mark.parametrize("placement", ["threads", "processes"])
def test_timed_answers_belong_to_their_requests(place: Path, child: Child, tmp_path: Path, placement: str) -> None:
    """The function returns its input; a reference whose rows are moved by one shows that a mix-up would be seen."""
    open_child(child, asked(place, "callable", "echo", parallel=True, instances=2, placement=placement))
    command = {"do": "infer", "ids": list(range(10, 40)), "batch": 7, "out": str(tmp_path / "right.npz")}
    assert child.ask(command, timeout_s=60)["n"] == 30
    answers = np.stack(load_outputs(tmp_path / "right.npz")["y"])
    np.testing.assert_array_equal(answers, Samples.open(place / "samples").inputs["x"][10:40])
    save_outputs(tmp_path / "moved.npz", [{"y": row} for row in np.roll(answers, 1, axis=0)], range(10, 40))
    asked_for = {
        "scenario": {"name": "server", "fields": {"rate": 1500.0, "lead_s": 0.05, "tail_s": 0.05}},
        "batching": {"name": "dynamic", "fields": {"max_size": 4}},
        "duration_s": 0.5,
        "check_limit": 1e-6,
    }
    right, moved = (
        measure(child, tmp_path / "t.npz", **asked_for, reference=str(tmp_path / f"{name}.npz"))["check"]
        for name in ("right", "moved")
    )
    assert right["checked"] == moved["checked"] >= 3
    assert right["mismatched"] == 0
    assert moved["mismatched"] == moved["checked"]


def test_one_at_a_time_is_served_by_one_engine(place: Path, child: Child, tmp_path: Path) -> None:
    open_child(child, asked(place, instances=2, placement="threads"))
    reply = measure(
        child,
        tmp_path / "t.npz",
        scenario={"name": "single_stream", "fields": {"limit": 50}},
        batching={"name": "single", "fields": {}},
    )
    assert reply["n"] == 55


def test_a_crash_of_one_instance_ends_the_run_with_its_reason(place: Path, child: Child, tmp_path: Path) -> None:
    stub = asked(place, "stub", item_s=0.02, wait="sleep", instances=2, placement="processes")
    open_child(child, stub)
    victim = psutil.Process(child.pid).children()[0]

    def kill(text: str) -> None:
        if text == "measuring":
            victim.send_signal(signal.SIGKILL)

    scenario = {"name": "offline", "fields": {"samples": 2000}}
    with pytest.raises(ChildFailed, match="instance . of 2 was killed with SIGKILL") as failed:
        measure(child, tmp_path / "t.npz", on_stage=kill, scenario=scenario)
    assert failed.value.cause == "error"


def test_the_processes_of_instances_die_with_their_measure_child(place: Path, tmp_path: Path) -> None:
    with Child("accel.measurement.worker", log=tmp_path / "log.txt", cwd=tmp_path) as child:
        open_child(child, asked(place, instances=2, placement="processes"))
        family = psutil.Process(child.pid).children()
        assert len(family) == 2
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not alive
