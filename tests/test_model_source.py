"""What a model may be given as: seen in the parent, refused in one sentence, stored so that only its child reads it."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import numpy as np
import onnx
import pytest

from accel.errors import InputError
from accel.model import Model, describe
from tests.models import graphs
from tests.models.process import run_code, run_file

FACTORIES = Path(__file__).parent / "models" / "factories.py"


def test_each_kind_is_told_by_its_spelling(tmp_path: Path) -> None:
    graphs.linear(tmp_path / "net.onnx")
    (tmp_path / "net.xml").write_text('<?xml version="1.0"?><net name="x"/>')
    (tmp_path / "net.bin").write_bytes(b"0")
    kinds = {
        str(tmp_path / "net.onnx"): "onnx",
        tmp_path / "net.xml": "openvino",
        f"{FACTORIES}:module": "factory",
        "package.module:factory": "factory",
        np.tanh: "callable",
    }
    for given, kind in kinds.items():
        assert describe(given, folder=tmp_path / "o").kind == kind


def test_names_and_random_weights(tmp_path: Path) -> None:
    source = describe(graphs.linear(tmp_path / "my net.onnx"), folder=tmp_path, random_weights=True)
    assert source.name == "my_net"
    assert source.random_weights
    assert describe(f"{FACTORIES}:module", folder=tmp_path).name == "factories-module"
    assert describe(f"{FACTORIES}:module", folder=tmp_path, name="mine").name == "mine"


def test_describing_a_file_imports_no_torch(tmp_path: Path) -> None:
    path = graphs.linear(tmp_path / "net.onnx")
    code = (
        "import sys; from pathlib import Path; from accel.model import describe\n"
        f"describe({str(path)!r}, folder=Path({str(tmp_path)!r}))\n"
        f"describe({str(FACTORIES) + ':module'!r}, folder=Path({str(tmp_path)!r}))\n"
        "print([m for m in ('torch', 'openvino', 'onnxruntime') if m in sys.modules])"
    )
    assert run_code(code).strip() == "[]"


# live objects


def test_a_stored_object_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    source = describe(lambda x: x, folder=tmp_path / "o")
    assert stat.S_IMODE(Path(source.location).stat().st_mode) == 0o600
    assert stat.S_IMODE(Path(source.location).parent.stat().st_mode) == 0o700


def test_a_stored_object_that_was_changed_is_not_loaded(tmp_path: Path) -> None:
    source = describe(lambda x: x, folder=tmp_path / "o")
    Path(source.location).write_bytes(Path(source.location).read_bytes() + b"x")
    with pytest.raises(InputError, match="its hash differs"):
        Model.load(source, tmp_path / "m")


SCRIPT = """
import sys, json
from pathlib import Path
import msgspec, numpy as np, torch
from accel.model import describe
from accel.samples import materialise
import neighbour

class Net(torch.nn.Module):
    def forward(self, x):
        return neighbour.twice(x)

out = Path(sys.argv[1])
source = describe(Net(), folder=out / "o")
materialise(np.ones((3, 4), np.float32), None, out / "s")
(out / "source.json").write_bytes(msgspec.json.encode(source))
"""
LOAD = """
import sys, msgspec
from pathlib import Path
from accel.model import Model, Source
from accel.samples import Samples
out = Path({out!r})
source = msgspec.json.decode((out / "source.json").read_bytes(), type=Source)
model = Model.load(source, out / "m", Samples.open(out / "s"))
print(model.as_form("torch")({{"x": model.example["x"]}})["output"].sum().item())
"""


def test_a_class_of_a_script_and_its_neighbour_reach_another_process(tmp_path: Path) -> None:
    (tmp_path / "script").mkdir()
    (tmp_path / "script" / "main.py").write_text(SCRIPT)
    (tmp_path / "script" / "neighbour.py").write_text("def twice(x):\n    return x * 2\n")
    run_file(str(tmp_path / "script" / "main.py"), str(tmp_path))
    assert float(run_code(LOAD.format(out=str(tmp_path))).strip()) == 16.0  # 2 rows of 4 ones, doubled


def test_what_cannot_be_pickled_asks_for_a_factory(tmp_path: Path) -> None:
    lock = threading.Lock()
    with pytest.raises(InputError, match=r"give `file\.py:function`"):
        describe(lambda x: (lock, x), folder=tmp_path)


def test_a_module_that_cannot_be_pickled_is_exported(tmp_path: Path) -> None:
    import torch

    class Locked(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lock = threading.Lock()

        def forward(self, x, y):
            return {"sum": x + y}

    samples = {"x": np.ones((5, 4)), "y": np.full((5, 4), 2.0)}
    source = describe(Locked(), folder=tmp_path / "o", samples=samples)
    assert source.kind == "pt2"
    model = Model.load(source, tmp_path / "m")
    assert model.signature.batch == "any"
    assert (
        model.as_form("torch")({"x": np.ones((3, 4), "f"), "y": np.ones((3, 4), "f")})["sum"].tolist()
        == [[2.0] * 4] * 3
    )


# everything that is wrong is one sentence


def cut(folder: Path) -> Path:
    path = graphs.linear(folder / "cut.onnx")
    path.write_bytes(path.read_bytes()[:-20])
    return path


def text_as(name: str):
    def make(folder: Path) -> Path:
        (folder / name).write_text("these are words, not a model")
        return folder / name

    return make


def linked_out(folder: Path) -> Path:
    path = graphs.external(folder / "e.onnx", "w.data")
    (folder / "w.data").rename(folder.parent / "elsewhere.data")
    (folder / "w.data").symlink_to(folder.parent / "elsewhere.data")
    return path


BAD = {
    "no such file": (lambda f: (graphs.linear(f / "model.onnx"), f / "modle.onnx")[1], "Did you mean"),
    "no such folder": (lambda f: f / "no" / "model.onnx", "there is no folder"),
    "empty file": (lambda f: (f / "e.onnx").touch() or f / "e.onnx", "is empty"),
    "a folder": (lambda f: f, "is a folder"),
    "a folder called .onnx": (lambda f: (f / "d.onnx").mkdir() or f / "d.onnx", "is a folder"),
    "cut off": (cut, "can't be read as ONNX"),
    "text called .onnx": (text_as("t.onnx"), "ONNX"),
    "other suffix": (text_as("m.txt"), "`.txt` files aren't read"),
    ".pth": (text_as("m.pth"), "without the network"),
    ".pkl": (text_as("m.pkl"), "never loaded"),
    ".safetensors": (text_as("m.safetensors"), "without the network"),
    ".h5": (text_as("m.h5"), "tf2onnx"),
    ".xml without .bin": (lambda f: (f / "m.xml").write_text("<net/>") and f / "m.xml", "`m.bin` isn't beside it"),
    "other .xml": (lambda f: (f / "m.xml").write_text("<html/>") and f / "m.xml", "no OpenVINO model"),
    "weights above": (lambda f: graphs.external(f / "e.onnx", "../w.data"), "outside its own folder"),
    "weights elsewhere": (lambda f: graphs.external(f / "e.onnx", "/etc/passwd"), "outside its own folder"),
    "weights missing": (lambda f: graphs.external(f / "e.onnx", "lost.data"), "isn't there"),
    "weights linked out": (linked_out, "a link out of its folder"),
    "factory without a name": (lambda f: FACTORIES, "name the function"),
    "factory file missing": (lambda f: f"{FACTORIES.with_name('factoris.py')}:module", "Did you mean"),
    "text called .pt2": (text_as("m.pt2"), "can't be read as .pt2"),
    "a number": (lambda f: 7, "can't be a int"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_models_are_refused_in_one_sentence(name: str, tmp_path: Path) -> None:
    make, expected = BAD[name]
    (tmp_path / "in").mkdir()
    with pytest.raises(InputError) as caught:
        describe(make(tmp_path / "in"), folder=tmp_path / "o")
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_empty_graph_is_no_model(tmp_path: Path) -> None:
    onnx.save(onnx.ModelProto(), str(tmp_path / "m.onnx"))
    (tmp_path / "m.onnx").write_bytes(b"\x08\x09")  # a version and nothing else
    with pytest.raises(InputError, match="holds no graph"):
        describe(tmp_path / "m.onnx", folder=tmp_path)


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        (f"{FACTORIES}:modul", "Did you mean `module`"),
        (f"{FACTORIES}:NUMBER", "must be a function"),
        (f"{FACTORIES}:broken", "RuntimeError: no weights here"),
        (f"{FACTORIES}:number", "returned something of type `int`"),
        ("no_such_package.net:build", "can't be imported: ModuleNotFoundError"),
    ],
)
def test_bad_factories_are_refused_in_the_child(location: str, expected: str, tmp_path: Path) -> None:
    source = describe(location, folder=tmp_path)
    with pytest.raises(InputError, match=expected):
        Model.load(source, tmp_path / "m")
