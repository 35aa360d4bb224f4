"""The GPU benchmark: what is tried, what is carried, what the archives say, and a page that is what its JSON says."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from accel import plugins
from accel.compilation import DeviceTimes, Effective, Refusal
from accel.errors import InputError, VariantError
from accel.measurement.nvml import Gpu
from accel.measurement.outputs import save_outputs
from accel.measurement.trace import Trace
from accel.plugins import Named
from accel.result import Memory, Quality, Result, SetUp
from accel.study.budget import BudgetEnded
from benchmarks.batching.rows import Where
from benchmarks.gpu import fetch, go, page, reading, rows, run
from benchmarks.gpu.networks import MODELS, NETWORKS
from benchmarks.gpu.outputs import compared
from benchmarks.gpu.rows import SIZES, Outcome, Sitting

REPORTS = Path(__file__).parents[1] / "reports"
BASE, OURS = rows.variants("minilm", rehearsal=False)[:2]
CARD = Gpu(name="Test GPU", memory_bytes=80 << 30, driver="580.1", capability="9.0", cuda="13.0")


@pytest.mark.skipif(not (REPORTS / page.NAME).is_file(), reason="nobody has run this on a GPU for this tree")
def test_the_page_rebuilds_byte_for_byte() -> None:
    assert page.markdown(REPORTS / "gpu") == (REPORTS / page.NAME).read_text("utf-8")


@pytest.mark.parametrize("model", MODELS)
def test_every_variant_is_a_backend_with_its_fields_and_takes_every_size(model: str) -> None:
    tried = rows.variants(model, rehearsal=False)
    assert len({v.name for v in tried}) == len(tried)
    for variant in tried:
        backend = plugins.make("compilation", variant.backend)
        fields = variant.backend.fields
        assert fields.get("device") == "cuda" or backend.needs_gpu
        if "sizes" in fields:
            assert tuple(fields["sizes"]) == SIZES
        if "batch" in fields:
            assert (fields["batch"][0], fields["batch"][-1]) == (SIZES[0], SIZES[-1])
    assert tried[0].name == "eager-float32"


def test_eight_bit_floats_are_for_large_linear_layers_alone() -> None:
    having = [m for m in MODELS if any("fp8" in v.name for v in rows.variants(m, rehearsal=False))]
    assert having == ["bert_base"]


def test_the_networks_lie_where_they_are_said_to_lie() -> None:
    for network in NETWORKS.values():
        for location in (network.network, network.samples):
            file, _, name = location.rpartition(":")
            assert f"def {name}(" in Path(file).read_text("utf-8")


def test_what_is_carried_is_pinned_and_named_once() -> None:
    assert sorted(line.partition("==")[0] for line in fetch.pinned()) == sorted(fetch.NEEDED)


def wheel(folder: Path, name: str, module: str) -> None:
    with zipfile.ZipFile(folder / name, "w") as file:
        file.writestr(f"{module}/__init__.py", "there = True\n")


def test_wheels_are_unpacked_and_one_for_another_python_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(go, "WHEELS", tmp_path)
    here = f"cp{sys.version_info.major}{sys.version_info.minor}"
    wheel(tmp_path, "pure-1-py3-none-any.whl", "pure")
    wheel(tmp_path, "stable-1-cp36-abi3-manylinux_2_28_x86_64.whl", "stable")
    wheel(tmp_path, f"own-1-{here}-{here}-manylinux_2_28_x86_64.whl", "own")
    go.install(tmp_path / "site")
    assert {p.name for p in (tmp_path / "site").iterdir()} == {"pure", "stable", "own"}
    wheel(tmp_path, "old-1-cp38-cp38-manylinux_2_28_x86_64.whl", "old")
    with pytest.raises(SystemExit, match="make gpu-wheels GPU_VERSION="):
        go.install(tmp_path / "site2")


def test_starting_it_needs_the_standard_library_alone() -> None:
    """It runs before anything is installed."""
    code = "import sys, runpy; sys.argv = ['go.py', '--help']; runpy.run_path('benchmarks/gpu/go.py', run_name='x'); "
    code += "print(sorted(m for m in sys.modules if m.partition('.')[0] in ('numpy', 'msgspec', 'torch', 'accel')))"
    command = [sys.executable, "-S", "-c", code]
    done = subprocess.run(command, cwd=go.ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_measuring_part_needs_only_what_is_carried() -> None:
    """Its modules import nothing beyond the standard library, numpy, accel itself and the carried wheels."""
    code = (
        "import sys\n"
        "class No:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in sys.argv[1].split(','): raise ImportError('not here: ' + name)\n"
        "sys.meta_path.insert(0, No())\n"
        "import benchmarks.gpu.run, benchmarks.gpu.build, accel.measurement.worker, accel.compilation._torch_cuda\n"
        "from accel import plugins\n"
        "for name in ('eager', 'inductor', 'onnxruntime', 'tensorrt'): plugins.load('compilation', name)()\n"
    )
    absent = "scipy,pandas,altair,jinja2,click,rich,onnx,onnxruntime,openvino,nncf,sklearn,torchao,pynvml,vl_convert"
    subprocess.run([sys.executable, "-c", code, absent], cwd=go.ROOT, check=True, capture_output=True, text=True)


def test_outputs_are_compared_by_the_worst_sample(tmp_path: Path) -> None:
    theirs = [{"y": np.array([3.0, 4.0])}, {"y": np.array([0.0, 10.0])}]
    ours = [{"y": np.array([3.0, 4.5])}, {"y": np.array([0.0, 10.0])}]
    save_outputs(tmp_path / "r.npz", theirs)
    save_outputs(tmp_path / "c.npz", ours)
    found = compared(tmp_path / "r.npz", tmp_path / "c.npz")
    assert found.quality.sqnr_min_db == pytest.approx(20.0)
    assert found.quality.max_abs_error == pytest.approx(0.5)
    assert found.check_limit == pytest.approx(0.2)
    assert found.quality.outcome == "unmeasured"
    same = compared(tmp_path / "r.npz", tmp_path / "r.npz")
    assert same.quality.sqnr_db is None
    assert same.check_limit == pytest.approx(1e-3)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (VariantError("broken", "mend it"), "failed"),
        (BudgetEnded("opening the model"), "late"),
        (run.Refused(Refusal("no GPU")), "refused"),
    ],
)
def test_why_a_variant_dropped_out(error: Any, outcome: str) -> None:
    assert run.outcome_of(OURS, error).outcome == outcome


def trace(size: int, batch_ns: int) -> Trace:
    """Ten batches one after another, everything due at 0."""
    batches = np.repeat(np.arange(10), size)
    zeros = np.zeros(len(batches), np.int64)
    started = batches * batch_ns
    return Trace(
        due=zeros,
        taken=started,
        started=started,
        finished=started + batch_ns,
        batch=batches,
        batch_size=np.full(len(batches), size),
        sample=zeros,
        status=zeros,
        warmup=zeros,
    )


def result(variant: Any, size: int, block: int, role: str, batch_ns: int, folder: Path) -> None:
    name = f"minilm-{variant.name}-{size}-{block}-{role}"
    sha = trace(size, batch_ns).save(folder / f"{name}.npz")
    Result(
        run_id=name,
        study_id="gpu-minilm",
        phase="blocks",
        variant=variant,
        role=role,  # type: ignore[arg-type]
        status="ok",
        block=block,
        target="batch",
        scenario=Named("offline"),
        batching=Named("fixed", {"size": size}),
        latency="from schedule",
        effective=Effective(precision="float32", threads=1, provider="test", detail={"TF32": "off"}),
        set_up=SetUp(open_s=12.0),
        memory=Memory(gpu_peak_bytes=3_000_000 + block),
        quality=Quality(outcome="unmeasured", rule="check", sqnr_db=41.2, max_abs_error=0.01),
        device_times=DeviceTimes(
            rows=size, repeats=20, to_device_s=1e-4, compute_s=1e-3 * (1 + block), to_host_s=5e-5, source="a clock"
        ),
        trace=f"{name}.npz",
        trace_sha256=sha,
    ).save(folder)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Five blocks: tf32 twice as fast as float32 at batch 8; the other sizes weren't reached; one refused."""
    runs = tmp_path / "runs"
    runs.mkdir()
    for block in range(5):
        drift = 1000 * block
        result(BASE, 8, block, "baseline", 2_000_000 + drift, runs)
        result(BASE, 8, block, "repeat", 2_000_000 + drift + 500 * (-1) ** block, runs)
        result(OURS, 8, block, "candidate", 1_000_000 + drift // 2 + 300 * (-1) ** block, runs)
    refused = Outcome(
        variant=rows.variants("minilm", rehearsal=False)[-1], outcome="refused", reason="No.", next_step="Go."
    )
    outcomes = (*(Outcome(variant=v, outcome="ready") for v in (BASE, OURS)), refused)
    where = Where(cpu="A processor", cores=16, env_id="0123", unix_s=1_700_000_000)
    sitting = Sitting(
        model="minilm",
        where=where,
        gpu=CARD,
        packages={"torch": "2.11.0"},
        seconds=9.0,
        rehearsal=False,
        outcomes=outcomes,
    )
    (runs / run.SITTING).write_bytes(msgspec.json.encode(sitting))
    run.packed(runs, tmp_path / "minilm.tar.gz")
    return tmp_path / "minilm.tar.gz"


def test_an_archive_becomes_cells_with_rates_and_ratios(archive: Path) -> None:
    table = reading.read(archive)
    assert [(c.variant, c.size, len(c.runs)) for c in table.cells] == [(BASE.name, 8, 10), (OURS.name, 8, 5)]
    ours = table.cells[1]
    assert ours.runs[0].items_per_s == pytest.approx(8 / 1.0003e-3, rel=1e-6)
    assert ours.runs[0].batch_s == pytest.approx(1.0003e-3)
    assert ours.device_times is not None
    assert ours.device_times.compute_s == pytest.approx(3e-3)
    assert ours.gpu_peak_bytes == 3_000_004
    found = reading.compared(table, 8)
    assert set(found) == {OURS.name}
    assert found[OURS.name].ratio.value == pytest.approx(2.0, rel=0.01)
    assert found[OURS.name].verdict == "FASTER"
    assert reading.compared(table, 64) == {}


def test_the_page_says_what_ran_how_fast_and_what_did_not(archive: Path, tmp_path: Path) -> None:
    folder = tmp_path / "reports" / "gpu"
    assert page.main([str(archive)], folder) == 0
    text = (folder.parent / page.NAME).read_text("utf-8")
    assert text == page.markdown(folder)
    assert "GPU: Test GPU, 85.9 GB, compute capability 9.0, driver 580.1, torch 2.11.0." in text
    assert "2.00× [" in text
    assert "faster" in text
    assert "| `eager-tf32` | 8 | 100 µs | 3 ms | 50 µs | 3 MB |" in text
    assert "refused: No. Go." in text
    assert "rehearsal" not in text


def test_a_rehearsal_never_passes_for_a_gpu(archive: Path, tmp_path: Path) -> None:
    table = reading.read(archive)
    sitting = msgspec.structs.replace(table.sitting, gpu=None, rehearsal=True)
    folder = tmp_path / "gpu"
    folder.mkdir()
    rehearsed = msgspec.structs.replace(table, sitting=sitting)
    (folder / "minilm.json").write_bytes(msgspec.json.encode(rehearsed))
    assert "**A rehearsal" in page.markdown(folder)


def test_a_foreign_file_is_no_archive(tmp_path: Path) -> None:
    (tmp_path / "x.tar.gz").write_bytes(b"no")
    with pytest.raises(InputError, match="isn't what `make gpu` wrote"):
        reading.read(tmp_path / "x.tar.gz")
    outside = tmp_path / "outside"
    outside.write_text("{}")
    with tarfile.open(tmp_path / "y.tar.gz", "w:gz") as tar:
        tar.add(outside, "../escaped.json")
    with pytest.raises(InputError, match="isn't what `make gpu` wrote"):
        reading.read(tmp_path / "y.tar.gz")
    assert not (tmp_path.parent / "escaped.json").exists()
