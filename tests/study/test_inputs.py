"""Everything a model may come as ends with results: through the whole line, with the real runtimes, briefly."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

import accel
from accel.study import profiles
from tests import small_models

ROOT = Path(__file__).parents[2]
BUDGET = "30s"
BRIEF = {
    "blocks": 1,
    "up_to_blocks": None,
    "confirmations": 1,
    "warmup_s": 0.1,
    "screen_s": 0.2,
    "tune_s": 0.1,
    "measure_s": 0.2,
    "probe_gaps_s": (),
}
"""What is tested here is the way through, not the evidence: runs of a fifth of a second."""
SHORTEN = f"""
import msgspec
from accel.study import profiles
profiles.PROFILES["quick"] = msgspec.structs.replace(profiles.PROFILES["quick"], **{BRIEF!r})
"""

NET = '''
import torch

class Net(torch.nn.Module):
    """Returns a nested structure, so that it has to survive."""

    def __init__(self):
        super().__init__()
        self.inner = torch.nn.Linear(32, 64)
        self.head = torch.nn.Linear(64, 10)

    def forward(self, x, *, scale=None):
        h = torch.relu(self.inner(x))
        return {"logits": self.head(h), "hidden": [h, h.mean(dim=1)]}

def build():
    torch.manual_seed(0)
    return Net()
'''


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(profiles.PROFILES, "quick", msgspec.structs.replace(profiles.PROFILES["quick"], **BRIEF))


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(0).standard_normal((64, 32)).astype(np.float32)}


@pytest.fixture
def net_file(tmp_path: Path) -> Path:
    path = tmp_path / "net.py"
    path.write_text(NET)
    return path


def ended_well(study: accel.Study, *, winner_of: str = "batch") -> None:
    statuses = {r.name: (r.status, r.reason) for r in study.conclusion.rows}
    assert statuses[study.record.baseline][0] == "ok", statuses
    assert study.best(winner_of).name in statuses  # type: ignore[arg-type]
    assert (study.folder / "report.html").stat().st_size > 10_000
    assert study.conclusion.headline


def test_an_onnx_file(tmp_path: Path) -> None:
    model = small_models.cnn(tmp_path)
    samples = tmp_path / "samples.npz"
    np.savez(samples, **small_models.items(model.signature, 48))
    study = accel.bench(
        model.as_form("onnx"),
        samples=samples,
        budget=BUDGET,
        out=tmp_path / "out",
        backend=["openvino"],
        target="batch",
    )
    ended_well(study)
    assert [r.name for r in study.conclusion.rows][:2] == ["onnxruntime", "openvino"]


def test_an_openvino_file(tmp_path: Path) -> None:
    import openvino as ov

    model = small_models.cnn(tmp_path)
    xml = tmp_path / "cnn.xml"
    ov.save_model(ov.Core().read_model(str(model.as_form("onnx"))), str(xml), compress_to_fp16=False)
    study = accel.bench(xml, budget=BUDGET, out=tmp_path / "out", target="batch", backend=["openvino:threads=1"])
    ended_well(study)
    assert study.record.baseline == "openvino"
    assert study.record.synthetic
    assert "synthetic" in study.conclusion.subline + study.conclusion.headline


def test_a_factory_keeps_the_original_calling_convention(
    tmp_path: Path, net_file: Path, arrays: dict[str, np.ndarray]
) -> None:
    import torch

    study = accel.bench(
        f"{net_file}:build",
        samples=arrays,
        budget=BUDGET,
        out=tmp_path / "out",
        target="batch",
        variants=[{"name": "ort", "backend": "onnxruntime"}],
    )
    ended_well(study)
    model = study.best("batch").load()
    x = torch.from_numpy(arrays["x"][:3])
    for call in (lambda: model(x), lambda: model(x=x)):
        out = call()
        assert set(out) == {"logits", "hidden"}
        assert out["logits"].shape == (3, 10)
        assert [tuple(h.shape) for h in out["hidden"]] == [(3, 64), (3,)]
    with pytest.raises(accel.InputError, match="same way"):
        model(x, scale=x)
    model.close()


def test_an_exported_program(tmp_path: Path, net_file: Path, arrays: dict[str, np.ndarray]) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import torch, net\n"
        "batch = torch.export.Dim('batch')\n"
        "program = torch.export.export(net.build().eval(), (torch.zeros(2, 32),), dynamic_shapes=({0: batch},))\n"
        f"torch.export.save(program, {str(tmp_path / 'net.pt2')!r})\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)
    study = accel.bench(
        tmp_path / "net.pt2",
        samples=arrays,
        budget=BUDGET,
        out=tmp_path / "out",
        target="batch",
        trust_file=True,
        backend=["onnxruntime"],
    )
    ended_well(study)
    assert study.record.baseline == "eager"


def test_a_callable_by_measure() -> None:
    def count_words(text: str) -> int:
        return len(text.split())

    found = accel.measure(count_words, ["a b c", "d e"], rate=50, duration="2s")
    assert found.requests == 100
    assert found.errors == 0
    assert found.latency == "from schedule"
    assert found.p50 is not None
    assert found.p50.low is not None
    assert found.p99 is None, "100 requests don't carry a p99"


def test_a_callable_that_fails_is_counted_not_hidden() -> None:
    def picky(text: str) -> int:
        if "x" in text:
            raise ValueError("no x, please")
        return 1

    found = accel.measure(picky, ["fine", "x"], duration="1s")
    assert found.errors > 0
    assert found.validity == "invalid"
    assert "no x, please" in found.reason


def test_a_module_in_a_script_without_a_guard(tmp_path: Path) -> None:
    script = tmp_path / "study.py"
    script.write_text(
        NET + SHORTEN + f"\nimport accel, numpy as np\n"
        f"study = accel.bench(build(), {{'x': np.random.rand(64, 32).astype('float32')}}, budget='{BUDGET}', "
        f"out={str(tmp_path / 'out')!r}, target='batch', backend=['onnxruntime'])\n"
        "print('ENDED', study.conclusion.row('eager').status, study.conclusion.row('onnxruntime').status)\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert "ENDED ok ok" in done.stdout, done.stderr[-3000:]
    assert done.stdout.count("ENDED") == 1, "a child must never run the user's script again"


def test_a_module_defined_in_a_notebook_cell(tmp_path: Path) -> None:
    import nbformat
    from nbclient import NotebookClient

    cells = [
        NET,
        SHORTEN + "import accel, numpy as np",
        f"study = accel.bench(build(), {{'x': np.random.rand(64, 32).astype('float32')}}, budget='{BUDGET}', "
        f"out={str(tmp_path / 'out')!r}, target='batch', backend=['onnxruntime'])",
        "study",
        "print(study.conclusion.row('onnxruntime').status)",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    NotebookClient(notebook, timeout=240, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()
    shown = notebook.cells[3].outputs[0]["data"]
    assert "text/html" in shown
    assert notebook.cells[4].outputs[0]["text"].strip() == "ok"
