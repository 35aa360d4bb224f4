"""The measure child, driven for real through `Child` with the `null` backend."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accel.measurement import noise
from accel.measurement.isolation import Child, ChildFailed
from accel.measurement.outputs import load_ids, load_outputs, save_outputs
from accel.measurement.trace import DROPPED, Trace
from tests.measurement.places import null_folder, samples_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("worker")


@pytest.fixture(scope="module")
def child(folder: Path) -> Iterator[Child]:
    """One opened worker for all tests here: its start is what takes time."""
    with Child("accel.measurement.worker", log=folder / "log.txt", cwd=folder) as child:
        opened = child.ask(
            {
                "do": "open",
                "backend": {"name": "null", "fields": {}},
                "folder": str(null_folder(folder / "null")),
                "samples": str(samples_folder(folder / "samples")),
            },
            timeout_s=60,
        )
        assert opened["sizes"] is None
        assert opened["effective"]["provider"] == "null"
        assert opened["import_s"] >= 0
        assert opened["open_s"] > 0
        assert opened["memory"]["peak_load_bytes"] is None or opened["memory"]["peak_load_bytes"] > 1e6
        yield child


def measure(child: Child, out: Path, **changes: Any) -> dict[str, Any]:
    command = {
        "do": "measure",
        "scenario": {"name": "single_stream", "fields": {"limit": 300}},
        "batching": {"name": "single", "fields": {}},
        "seed": 7,
        "trial": 0,
        "duration_s": 5.0,
        "warmup_iterations": 3,
        "warmup_s": 0.0,
        "workers": 1,
        "drain_s": 5.0,
        "out": str(out),
        "reference": None,
        "check_limit": 1e-3,
    }
    return child.ask({**command, **changes}, timeout_s=60)


def test_infer_answers_in_order_and_times_the_first_call_once(child: Child, folder: Path) -> None:
    ids = [12, 30, 11, 39, 20]
    command = {"do": "infer", "ids": ids, "batch": 2, "out": str(folder / "out.npz")}
    assert child.ask(command, timeout_s=60)["n"] == 5
    assert child.ask(command, timeout_s=60)["first_run_s"] is None
    assert load_ids(folder / "out.npz").tolist() == ids
    assert [row.shape for row in load_outputs(folder / "out.npz")["y"]] == [(3,)] * 5


def test_single_stream_leaves_a_trace_that_is_what_the_reply_says(child: Child, folder: Path) -> None:
    reply = measure(child, folder / "trace.npz")
    assert reply["trace_sha256"] == hashlib.sha256((folder / "trace.npz").read_bytes()).hexdigest()
    trace = Trace.load(folder / "trace.npz")
    assert reply["n"] == len(trace) == 305
    assert trace.warmup.sum() == 5
    assert set(trace.sample.tolist()) <= set(range(10, 40)), "only the evaluation part is asked"
    assert reply["latency"] == "closed loop"
    assert reply["check"] is None
    assert reply["errors"] == []
    named = {w["id"] for w in reply["witnesses"]} | {m.partition(":")[0] for m in reply["witness_missing"]}
    assert named == set(noise.TABLE)
    assert reply["steady"]["n"] == 300
    assert reply["steady"]["label"] == "short", "300 calls of microseconds"
    assert all(0 < s < 1 for s in reply["canary_s"])
    assert reply["energy"] is None, "no window of 10 s"
    assert reply["recompiled"] is None, "this child hasn't loaded torch"
    assert reply["memory"]["gpu_bytes"] is None or reply["memory"]["gpu_bytes"] >= 0


def test_same_seed_and_trial_give_the_same_schedule(child: Child, folder: Path) -> None:
    server = {"scenario": {"name": "server", "fields": {"rate": 400.0, "lead_s": 0.05, "tail_s": 0.05}}}
    first = measure(child, folder / "a.npz", duration_s=0.2, **server)
    again = measure(child, folder / "b.npz", duration_s=0.2, **server)
    other = measure(child, folder / "c.npz", duration_s=0.2, trial=1, **server)
    assert first["schedule_sha256"] == again["schedule_sha256"] != other["schedule_sha256"]
    assert first["latency"] == "from schedule"
    assert len(Trace.load(folder / "a.npz").counted()) == 80


SHORT = {"name": "server", "fields": {"rate": 400.0, "lead_s": 0.05, "tail_s": 0.05}}


def test_requests_that_a_policy_gives_up_are_said_and_no_fault_of_the_run(child: Child, folder: Path) -> None:
    hopeless = {"max_size": 4, "slo_s": 0.5, "drop": "early", "curve": [[1, 1.0], [4, 2.0]]}
    batching = {"name": "dynamic", "fields": hopeless}
    reply = measure(child, folder / "dropped.npz", scenario=SHORT, batching=batching, duration_s=0.2)
    assert set(Trace.load(folder / "dropped.npz").status.tolist()) == {DROPPED}
    assert any("gave up requests" in note for note in reply["notes"])
    answers = next(w for w in reply["witnesses"] if w["id"] == "W13")
    assert answers["level"] == "ok"
    assert f"{reply['n']} were given up" in answers["sentence"]
    plain = measure(child, folder / "plain.npz", scenario=SHORT, duration_s=0.2)
    assert not any("gave up" in note for note in plain["notes"])


def test_a_policy_that_waits_for_its_timer_is_no_late_harness(child: Child, folder: Path) -> None:
    batching = {"name": "window", "fields": {"size": 64, "timeout_s": 0.02}}
    measure(child, folder / "window.npz", scenario=SHORT, batching=batching, duration_s=0.4)
    trace = Trace.load(folder / "window.npz")
    assert np.median(trace.latency_ns) > 5e6, "it did wait"
    assert np.median(trace.lag_ns()) < 5e6


def test_timed_outputs_are_checked_against_the_reference(child: Child, folder: Path) -> None:
    zeros = [{"y": np.zeros(3, np.float32)}] * 20
    ones = [{"y": np.ones(3, np.float32)}] * 20
    save_outputs(folder / "right.npz", zeros, range(20, 40))
    save_outputs(folder / "wrong.npz", ones, range(20, 40))
    right = measure(child, folder / "d.npz", reference=str(folder / "right.npz"))["check"]
    wrong = measure(child, folder / "d.npz", reference=str(folder / "wrong.npz"))["check"]
    assert right["checked"] == wrong["checked"] >= 3
    assert right["mismatched"] == 0
    assert wrong["mismatched"] == wrong["checked"]
    assert wrong["largest"] == pytest.approx(1.0)
    assert set(Trace.load(folder / "d.npz").sample.tolist()) == set(range(20, 40)), "the reference names the pool"


def test_offline_with_full_batches(child: Child, folder: Path) -> None:
    measure(
        child,
        folder / "e.npz",
        scenario={"name": "offline", "fields": {"samples": 21}},
        batching={"name": "fixed", "fields": {"size": 8}},
        workers=2,
    )
    trace = Trace.load(folder / "e.npz")
    assert trace.batch_size.tolist() == [8] * 16 + [5] * 5
    assert trace.due.tolist() == [0] * 21


def test_an_expected_error_is_a_sentence_and_the_child_lives_on(child: Child, folder: Path) -> None:
    with pytest.raises(ChildFailed, match="Did you mean `single`") as failed:
        measure(child, folder / "f.npz", batching={"name": "singel", "fields": {}})
    assert failed.value.cause == "error"
    assert measure(child, folder / "f.npz")["n"] == 305


def test_measuring_before_opening_is_refused(folder: Path) -> None:
    with Child("accel.measurement.worker", log=folder / "log2.txt", cwd=folder) as fresh:
        with pytest.raises(ChildFailed, match="before it was told to `open`"):
            measure(fresh, folder / "g.npz")
        missing = {"do": "open", "backend": {"name": "null", "fields": {}}, "folder": str(folder / "no")}
        with pytest.raises(ChildFailed, match="holds no samples"):
            fresh.ask({**missing, "samples": str(folder / "nothing")}, timeout_s=60)


def test_the_worker_starts_with_nothing_but_numpy_and_msgspec() -> None:
    code = (
        "import sys, accel.measurement.worker as w; "
        "print(*sorted({m.partition('.')[0] for m in sys.modules} - set(sys.stdlib_module_names)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {m for m in done.stdout.split() if not m.startswith("_")}
    assert {"accel", "numpy", "msgspec"} <= loaded
    assert loaded <= {"accel", "numpy", "msgspec", "typing_extensions", "sitecustomize"}


def test_same_inputs_are_one_sample_and_unique_ones_the_pool(child: Child, folder: Path) -> None:
    asked = {"scenario": {"name": "single_stream", "fields": {"limit": 60, "warmup": 2}}}
    replies = [measure(child, folder / f"{i}.npz", inputs=i, **asked) for i in ("unique", "same")]
    unique, same = (Trace.load(folder / f"{i}.npz") for i in ("unique", "same"))
    assert [r["inputs"] for r in replies] == ["unique", "same"]
    assert len(set(unique.sample.tolist())) == 30
    assert set(same.sample.tolist()) == {unique.sample[2]}
    assert replies[0]["schedule_sha256"] != replies[1]["schedule_sha256"]
    assert replies[0]["notes"] == []
