"""Bad input through the real command: one clear sentence, the right exit code, no traceback, nothing lost."""

from __future__ import annotations

import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import Accel, Said, matmul, samples

Prepare = Callable[[Path], object]
ROWS = 64


def x(rows: int = ROWS, columns: int = 4, dtype: type = np.float32) -> np.ndarray:
    return np.ones((rows, columns), dtype=dtype)


def nothing(folder: Path) -> None:
    """The folder as it is is bad enough."""


def text(name: str, content: str) -> Prepare:
    return lambda folder: (folder / name).write_text(content)


def raw(name: str, content: bytes) -> Prepare:
    return lambda folder: (folder / name).write_bytes(content)


def arrays(**given: np.ndarray) -> Prepare:
    return lambda folder: samples(folder / "samples.npz", **given)


def two_inputs(folder: Path, *names: str) -> None:
    """A model that adds `x` and `mask`, and samples of other names."""
    import onnx
    from onnx import TensorProto, helper

    info = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", 4]) for n in ("x", "mask", "y")]
    graph = helper.make_graph([helper.make_node("Add", ["x", "mask"], ["y"])], "two", info[:2], info[2:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), folder / "two.onnx")
    samples(folder / "samples.npz", **{name: x() for name in names or ("x", "maks")})


def recipe(rest: str, model: str = 'model = "model.onnx"\n') -> Prepare:
    return text("recipe.toml", f"{model}{rest}\n")


def truncated(name: str) -> Prepare:
    def cut(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: len(data) // 2])

    return cut


def external(location: str) -> Prepare:
    """The weight of the model lies in another file, at `location` seen from the model."""

    def write(folder: Path) -> None:
        import onnx
        from onnx.external_data_helper import set_external_data

        (folder / "sub").mkdir()
        (folder / "outside.bin").write_bytes(bytes(48))
        model = onnx.load(folder / "model.onnx")
        tensor = model.graph.initializer[0]
        set_external_data(tensor, location=location, offset=0, length=48)
        tensor.ClearField("raw_data")
        (folder / "sub" / "model.onnx").write_bytes(model.SerializeToString())

    return write


def archive(**parts: bytes) -> Prepare:
    """`model.pt2` as a zip of these parts; `__` stands for `/`."""

    def write(folder: Path) -> None:
        with zipfile.ZipFile(folder / "model.pt2", "w") as file:
            for name, data in parts.items():
                file.writestr(f"model/{name.replace('__', '/')}", data)

    return write


PICKLE = pickle.dumps(print)
pickled_pt2 = archive(**{"data__constants__custom_obj_0": PICKLE, "models__model.json": b"{}"})


def pickled_samples(folder: Path) -> None:
    np.savez(folder / "samples.npz", x=np.array([{"a": 1}] * 4, dtype=object))


def module(body: str) -> Prepare:
    return text("net.py", body)


def metric(body: str) -> Prepare:
    """A recipe whose metric is the function `own` of net.py, with this body."""

    def write(folder: Path) -> None:
        recipe('samples = "samples.npz"\nmetric = "net.py:own"')(folder)
        head = "import os, signal\nimport numpy as np\n\n\ndef own(outputs, labels):\n    "
        (folder / "net.py").write_text(head + body + "\n")

    return write


TORCH_NET = """
import torch

def make():
    return torch.nn.Linear(5, 3)
"""


def held_by_another(folder: Path) -> None:
    """The folder `busy` holds a study that another process is writing."""
    code = (
        "import sys\nfrom pathlib import Path\nfrom accel.study.folder import StudyFolder\n"
        "folder = StudyFolder(Path('busy'))\nwith folder.lock():\n    print('held', flush=True)\n    sys.stdin.read()\n"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=folder, text=True
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"
    HOLDING.append(other)


HOLDING: list[subprocess.Popen[str]] = []
BENCH = ("bench", "model.onnx", "--samples", "samples.npz", "--budget", "30s", "--out", "out")
RECIPE = ("bench", "recipe.toml", "--budget", "30s", "--out", "out")


def bench(model: str, *more: str) -> tuple[str, ...]:
    return ("bench", model, "--samples", "samples.npz", "--budget", "30s", "--out", "out", *more)


# name: (what makes the input bad, the arguments, exit code, words that must stand in the sentence)
BAD: dict[str, tuple[Prepare, tuple[str, ...], int, tuple[str, ...]]] = {
    # -- words of the command line
    "misspelt command": (nothing, ("bech", "model.onnx"), 2, ("`bech`", "Did you mean `bench`?")),
    "misspelt option": (nothing, ("bench", "demo", "--bugdet", "5m"), 2, ("`--bugdet`", "Did you mean `--budget`?")),
    "option without value": (nothing, ("bench", "demo", "--out"), 2, ("--out", "requires an argument")),
    "two models": (nothing, ("bench", "demo", "demo"), 2, ("unexpected extra argument",)),
    "no model": (nothing, ("bench",), 2, ("Say what to measure",)),
    "word the shell ate": (nothing, ("bench", "demo", "--slo", "p99"), 2, ("`p99`", "shell", "Quote it")),
    "slo of a mean": (nothing, ("bench", "demo", "--slo", "mean=20ms"), 2, ("p99=20ms", "mean=20ms")),
    "slo below zero": (nothing, ("bench", "demo", "--slo", "p99=-20ms"), 2, ("greater than zero",)),
    "slo of p100": (nothing, ("bench", "demo", "--slo", "p100=20ms"), 2, ("between 0 and 100",)),
    "slo in no unit": (nothing, ("bench", "demo", "--slo", "p99=20mb"), 2, ("20mb", "such as `20ms`")),
    "negative budget": (nothing, ("bench", "demo", "--budget", "-5m"), 2, ("--budget", "greater than zero", "-5m")),
    "budget of nothing": (nothing, ("bench", "demo", "--budget", "0"), 2, ("--budget", "greater than zero")),
    "budget in words": (nothing, ("bench", "demo", "--budget", "soon"), 2, ("--budget", "`5m`", "soon")),
    "drop too large": (nothing, ("bench", "demo", "--accuracy-drop", "200pp"), 2, ("--accuracy-drop", "200pp")),
    "drop in words": (nothing, ("bench", "demo", "--accuracy-drop", "some"), 2, ("--accuracy-drop", "1pp")),
    "misspelt target": (nothing, ("bench", "demo", "--target", "onlin"), 2, ("onlin", "Did you mean `online`?")),
    "misspelt profile": (nothing, ("bench", "demo", "--profile", "quik"), 2, ("quik", "Did you mean `quick`?")),
    "misspelt backend": (nothing, ("bench", "demo", "--backend", "openvno"), 2, ("Did you mean `openvino`?",)),
    "misspelt knob": (nothing, ("bench", "demo", "--backend", "openvino:strems=2"), 2, ("Did you mean `streams`?",)),
    "knob of a wrong type": (nothing, ("bench", "demo", "--backend", "openvino:streams=x"), 2, ("openvino", "`int`")),
    "knob without value": (nothing, ("bench", "demo", "--backend", "openvino:streams"), 2, ("FIELD=VALUE",)),
    "misspelt technique": (
        nothing,
        ("bench", "demo", "--compression", "quantise_static"),
        2,
        ("Did you mean `quantize_static`?",),
    ),
    "misspelt technique in a pipeline": (
        nothing,
        ("bench", "demo", "--compression", "lower_precision+quantise_static"),
        2,
        ("Did you mean `quantize_static`?",),
    ),
    "batch of nothing": (nothing, ("bench", "demo", "--batch", "0"), 2, ("--batch", "at least 1")),
    "batch in words": (nothing, ("bench", "demo", "--batch", "eight"), 2, ("--batch", "whole number", "eight")),
    "batch beyond all memory": (nothing, bench("model.onnx", "--batch", "65537"), 2, ("--batch", "65536", "65537")),
    "batch for a model of one": (
        lambda f: matmul(f / "model.onnx", batch=1),
        bench("model.onnx", "--batch", "4"),
        2,
        ("batches of 1 only", "4", "dynamic batch"),
    ),
    "budget without end": (nothing, ("bench", "demo", "--budget", "inf"), 2, ("--budget", "`5m`", "inf")),
    "budget that is no number": (nothing, ("bench", "demo", "--budget", "nan"), 2, ("--budget", "`5m`", "nan")),
    "drop below zero": (nothing, ("bench", "demo", "--accuracy-drop", "-1pp"), 2, ("--accuracy-drop", "-1pp")),
    "slo without a unit": (nothing, ("bench", "demo", "--slo", "p99=20"), 2, ("no unit", "p99=20ms or 20s")),
    "slo without a time": (nothing, ("bench", "demo", "--slo", "p99="), 2, ("p99=20ms", "`p99=`")),
    "knob of a technique": (
        nothing,
        ("bench", "demo", "--compression", "quantize_static:methd=minmax"),
        2,
        ("quantize_static", "Did you mean `method`?"),
    ),
    "resume without out": (nothing, ("bench", "demo", "--resume"), 2, ("--resume", "--out DIR")),
    "report of nothing": (nothing, ("report",), 2, ("STUDY", "--help")),
    "report of no study": (nothing, ("report", "nowhere"), 2, ("`nowhere`",)),
    "list of nobody": (nothing, ("list", "openvno"), 2, ("openvno", "Did you mean `openvino`?")),
    "list of a folder": (nothing, ("list", "."), 2, ("study.json",)),
    # -- recipes
    "no such recipe": (nothing, ("bench", "none.toml"), 2, ("none.toml", "no recipe")),
    "recipe that is no TOML": (text("recipe.toml", "model = \n"), RECIPE, 2, ("recipe.toml", "TOML", "line 1")),
    "recipe of bytes": (raw("recipe.toml", b"\xff\xfe\x00"), RECIPE, 2, ("recipe.toml", "UTF-8")),
    "recipe without model": (text("recipe.toml", "seed = 3\n"), RECIPE, 2, ("names no model", "model = ")),
    "misspelt key": (recipe('bugdet = "5m"'), RECIPE, 2, ("line 2", "`bugdet`", "Did you mean `budget`?")),
    "recipe with a wrong type": (recipe('seed = "one"'), RECIPE, 2, ("`seed`", "int")),
    "variant without backend": (recipe('[[variant]]\nname = "a"'), RECIPE, 2, ("variant 1 (`a`)", "backend")),
    "variant of a misspelt backend": (
        recipe('[[variant]]\nname = "a"\nbackend = "onxruntime"'),
        RECIPE,
        2,
        ("variant 1 (`a`)", "Did you mean `onnxruntime`?"),
    ),
    "two variants of one name": (recipe('[[variant]]\nbackend = "onnxruntime"\n' * 2), RECIPE, 2, ("two variants",)),
    "variant named as a path": (
        recipe('[[variant]]\nname = "../a"\nbackend = "onnxruntime"'),
        RECIPE,
        2,
        ("`../a`", "name"),
    ),
    "variant of a misspelt knob": (
        recipe('[[variant]]\nbackend = { name = "onnxruntime", treads = 2 }'),
        RECIPE,
        2,
        ("variant 1", "`treads`", "Did you mean `threads`?"),
    ),
    "variant named as a file of ours": (
        recipe('[[variant]]\nname = "outputs"\nbackend = "onnxruntime"'),
        RECIPE,
        2,
        ("`outputs`", "another `name`"),
    ),
    "variant named as the original": (
        recipe('samples = "samples.npz"\n[[variant]]\nname = "onnxruntime"\nbackend = "openvino"'),
        RECIPE,
        2,
        ("`onnxruntime`", "another `name`"),
    ),
    "recipe that is a folder": (lambda f: (f / "recipe.toml").mkdir(), RECIPE, 2, ("recipe.toml", "is a folder")),
    "recipe of a model that isn't there": (
        recipe("", 'model = "gone.onnx"\n'),
        RECIPE,
        2,
        ("gone.onnx", "no such file"),
    ),
    # -- labels and metrics
    "labels that aren't there": (
        recipe('samples = "samples.npz"\nlabels = "labels.npy"'),
        RECIPE,
        2,
        ("Labels", "labels.npy", "no such file"),
    ),
    "labels of no known kind": (
        lambda f: [recipe('samples = "samples.npz"\nlabels = "l.csv"')(f), (f / "l.csv").write_text("1")],
        RECIPE,
        2,
        ("Labels", "l.csv", ".npy"),
    ),
    "labels without samples": (
        lambda f: [recipe('labels = "l.npy"')(f), np.save(f / "l.npy", np.zeros(ROWS))],
        RECIPE,
        2,
        ("Labels were given without samples",),
    ),
    "metric that raises": (
        metric("raise ValueError('no such column.')"),
        RECIPE,
        2,
        ("metric `own` failed", "no such column"),
    ),
    "metric of NaN": (metric("return float('nan')"), RECIPE, 2, ("`own`", "finite number")),
    "metric of text": (metric("return 'good'"), RECIPE, 2, ("`own`", "good")),
    "metric of a table": (metric("return np.ones((2, 2))"), RECIPE, 2, ("`own`", "finite number a sample")),
    "metric that isn't there": (
        recipe('samples = "samples.npz"\nmetric = "gone.py:own"'),
        RECIPE,
        2,
        ("gone.py", "can't be imported"),
    ),
    "metric that is no function": (
        lambda f: [metric("")(f), (f / "net.py").write_text("own = 3\n")],
        RECIPE,
        2,
        ("net.py:own", "must be a function", "int"),
    ),
    "misspelt function of a metric": (
        lambda f: [metric("return 1.0")(f), (f / "net.py").write_text("def owm(outputs, labels): ...\n")],
        RECIPE,
        2,
        ("net.py", "Did you mean `owm`?"),
    ),
    "metric that crashes": (
        metric("os.kill(os.getpid(), signal.SIGSEGV)"),
        RECIPE,
        3,
        ("metric", "SIGSEGV", "metric-score.log"),
    ),
    "accuracy of labels that don't suit": (
        lambda f: [
            recipe('samples = "samples.npz"\nmetric = "accuracy"')(f),
            samples(f / "samples.npz", x=x(), labels=np.zeros((ROWS, 7), int)),
        ],
        RECIPE,
        2,
        ("`accuracy`", "(46, 7)"),
    ),
    "misspelt metric": (
        recipe('samples = "samples.npz"\nmetric = "acuracy"'),
        RECIPE,
        2,
        ("acuracy", "Did you mean `accuracy`?"),
    ),
    # -- models
    "no such model": (nothing, bench("modell.onnx"), 2, ("`modell.onnx`",)),
    "model of no known kind": (text("model.abc", "x"), bench("model.abc"), 2, ("model.abc", ".onnx")),
    "empty model": (raw("model.onnx", b""), BENCH, 2, ("model.onnx", "empty")),
    "truncated model": (truncated("model.onnx"), BENCH, 2, ("model.onnx",)),
    "text named .onnx": (text("model.onnx", "hello, this is no model"), BENCH, 2, ("model.onnx",)),
    "unknown operator": (lambda f: matmul(f / "model.onnx", operator="Frobnicate"), BENCH, 3, ("Frobnicate",)),
    "weights outside the folder": (external("../outside.bin"), bench("sub/model.onnx"), 2, ("outside.bin",)),
    "weights at an absolute path": (external("/etc/hostname"), bench("sub/model.onnx"), 2, ("/etc/hostname",)),
    "weights that are missing": (external("gone.bin"), bench("sub/model.onnx"), 2, ("gone.bin",)),
    "pickled .pt2": (pickled_pt2, bench("model.pt2"), 2, ("model.pt2", "--trust-file")),
    "pickled module named .pt2": (archive(**{"data.pkl": PICKLE}), bench("model.pt2"), 2, ("model.pt2",)),
    "native code in .pt2": (
        archive(**{"data__aotinductor__model.so": b"", "models__model.json": b"{}"}),
        bench("model.pt2"),
        2,
        ("model.pt2", "--trust-file"),
    ),
    "text named .pt2": (text("model.pt2", "no archive"), bench("model.pt2"), 2, ("model.pt2",)),
    "IR without weights": (text("ir.xml", "<net name='a' version='11'></net>"), bench("ir.xml"), 2, ("ir.bin",)),
    "text named .xml": (
        lambda f: [(f / "ir.xml").write_text("<a>"), (f / "ir.bin").write_bytes(b"")],
        bench("ir.xml"),
        2,
        ("ir.xml",),
    ),
    "factory in no file": (nothing, bench("gone.py:make"), 2, ("gone.py",)),
    "misspelt factory": (
        module("def make_net(): ...\n"),
        bench("net.py:make_nett"),
        2,
        ("make_nett", "Did you mean `make_net`?"),
    ),
    "factory that raises": (
        module("def make():\n    raise ValueError('no weights here')\n"),
        bench("net.py:make"),
        2,
        ("net.py:make", "no weights here"),
    ),
    "factory that talks much": (
        module("def make():\n    raise ValueError('no weights.\\nLook elsewhere.\\nReally.')\n"),
        bench("net.py:make"),
        2,
        ("net.py:make", "ValueError: no weights. A factory"),
    ),
    "factory of None": (module("def make():\n    pass\n"), bench("net.py:make"), 2, ("net.py:make", "None")),
    "factory that is none": (module("make = 3\n"), bench("net.py:make"), 2, ("must be a function", "int")),
    "factory with arguments": (module("def make(size):\n    pass\n"), bench("net.py:make"), 2, ("no arguments",)),
    "factory that crashes": (
        module("import os, signal\ndef make():\n    os.kill(os.getpid(), signal.SIGSEGV)\n"),
        bench("net.py:make"),
        3,
        ("SIGSEGV", "loading the model", "inspect.log"),
    ),
    "file that ends Python": (
        module("import sys\nsys.exit(7)\n"),
        bench("net.py:make"),
        2,
        ("net.py", "SystemExit: 7"),
    ),
    "function that raises": (
        module("def make():\n    return predict\n\ndef predict(x):\n    raise ValueError('wrong day')\n"),
        bench("net.py:make"),
        2,
        ("wrong day",),
    ),
    "function without samples": (
        module("def make():\n    return predict\n\ndef predict(x):\n    return x\n"),
        ("bench", "net.py:make", "--out", "out"),
        2,
        ("Give samples",),
    ),
    "torch module that can't take the samples": (
        module(TORCH_NET),
        bench("net.py:make"),
        2,
        ("The model fails on the samples", "2x4 and 5x3"),
    ),
    "factory of nothing": (module("def make():\n    return 3\n"), bench("net.py:make"), 2, ("net.py:make", "int")),
    "file that is no Python": (module("def make(:\n"), bench("net.py:make"), 2, ("net.py",)),
    "module that isn't there": (nothing, bench("no_such_package.models:make"), 2, ("no_such_package",)),
    "folder that is no model": (lambda f: (f / "dir").mkdir(), bench("dir"), 2, ("dir",)),
    # -- samples
    "no such samples": (
        nothing,
        ("bench", "model.onnx", "--samples", "s.npz", "--out", "out"),
        2,
        ("s.npz`", "no such file"),
    ),
    "samples of no known kind": (
        text("samples.csv", "1,2"),
        ("bench", "model.onnx", "--samples", "samples.csv", "--out", "out"),
        2,
        ("samples.csv", ".npz"),
    ),
    "samples in a folder of nothing": (
        lambda f: (f / "dir").mkdir(),
        ("bench", "model.onnx", "--samples", "dir", "--out", "out"),
        2,
        ("dir", "no .npy file"),
    ),
    "factory of samples that raises": (
        module("def rows():\n    raise OSError('no network')\n"),
        ("bench", "model.onnx", "--samples", "net.py:rows", "--out", "out"),
        2,
        ("net.py:rows", "no network"),
    ),
    "factory of samples of None": (
        module("def rows():\n    pass\n"),
        ("bench", "model.onnx", "--samples", "net.py:rows", "--out", "out"),
        2,
        ("Samples", "None"),
    ),
    "samples of another model": (
        lambda f: samples(f / "samples.npz", image=np.ones((ROWS, 3, 8, 8), np.float32), text=np.ones((ROWS, 9), int)),
        BENCH,
        2,
        ("image", "`x`"),
    ),
    "inputs of different counts": (
        lambda f: [two_inputs(f, "x", "mask"), samples(f / "samples.npz", x=x(), mask=x(rows=3))],
        bench("two.onnx"),
        2,
        ("`mask` has 3", "64"),
    ),
    "numbers that can't be converted": (arrays(x=x(dtype=np.int64)), BENCH, 2, ("`x`", "float32", "int64", "astype")),
    "empty samples": (raw("samples.npz", b""), BENCH, 2, ("samples.npz",)),
    "truncated samples": (truncated("samples.npz"), BENCH, 2, ("samples.npz",)),
    "pickled samples": (pickled_samples, BENCH, 2, ("samples.npz", "pickle")),
    "misspelt input": (two_inputs, bench("two.onnx"), 2, ("mask", "maks")),
    "input that is missing": (lambda f: two_inputs(f, "x"), bench("two.onnx"), 2, ("mask",)),
    "wrong type": (arrays(x=np.array([["a"] * 4] * ROWS)), BENCH, 2, ("`x`", "float32")),
    "wrong shape": (arrays(x=x(columns=5)), BENCH, 2, ("`x`", "4", "5")),
    "wrong rank": (arrays(x=np.ones(ROWS, np.float32)), BENCH, 2, ("`x`",)),
    "NaN in samples": (arrays(x=np.full((ROWS, 4), np.nan, np.float32)), BENCH, 2, ("`x`", "NaN")),
    "infinity in samples": (arrays(x=np.full((ROWS, 4), np.inf, np.float32)), BENCH, 2, ("`x`",)),
    "no rows": (arrays(x=x(rows=0)), BENCH, 2, ("samples",)),
    "labels of another length": (arrays(x=x(), labels=np.zeros(ROWS - 1, int)), BENCH, 2, ("labels", "63", "64")),
    # -- outputs
    "out is a file": (text("out", "precious"), BENCH, 2, ("out` is a file",)),
    "out below a file": (text("file", "precious"), (*BENCH[:-1], "file/out"), 2, ("file/out",)),
    "out in a place without files": (nothing, (*BENCH[:-1], "/proc/out"), 2, ("/proc/out",)),
    "out that holds other things": (
        lambda f: [(f / "out").mkdir(), (f / "out" / "thesis.tex").write_text("x")],
        BENCH,
        2,
        ("out` is not empty",),
    ),
    "resume of what is no study": (
        lambda f: [(f / "out").mkdir(), (f / "out" / "thesis.tex").write_text("x")],
        (*BENCH, "--resume"),
        2,
        ("out` is not empty and holds no study",),
    ),
    "resume of a damaged study": (
        lambda f: [
            (f / "out").mkdir(),
            (f / "out" / ".lock").write_text("123"),
            (f / "out" / "study.json").write_text("{"),
        ],
        (*BENCH, "--resume"),
        2,
        ("study.json", "can't be read", "--out"),
    ),
    "report into a place without files": (
        lambda f: [(f / "out").mkdir(), (f / "out" / "study.json").write_text("[]")],
        ("report", "out", "--out", "/proc/page.html"),
        2,
        ("study.json",),
    ),
    "two studies on one out": (held_by_another, (*BENCH[:-1], "busy"), 2, ("busy",)),
    "study that can't be read": (
        lambda f: [(f / "out").mkdir(), (f / "out" / "study.json").write_text("{")],
        ("report", "out"),
        2,
        ("study.json",),
    ),
    "recipe that can't be written": (
        nothing,
        ("bench", "model.onnx", "--samples", "samples.npz", "--save-recipe", "gone/recipe.toml"),
        2,
        ("gone/recipe.toml",),
    ),
}


def files(folder: Path) -> dict[str, bytes]:
    """What lies in a folder; the lock only says who was there last."""
    found = [p for p in folder.rglob("*") if p.is_file() and p.name != ".lock" and p.stat().st_size]
    return {str(p.relative_to(folder)): p.read_bytes() for p in found}


def check_sentence(said: Said, words: tuple[str, ...]) -> None:
    everything = said.out + said.err
    assert "Traceback" not in everything
    assert "should not" not in everything, said.err
    for odd in ("ChildFailed", "VariantError", "InputError", ". .", "  "):
        assert odd not in said.sentence.replace("../", "").replace("...", ""), said.sentence
    assert said.sentence.endswith((".", "?")), said.sentence
    assert said.sentence.startswith("accel: "), said.err
    assert 20 < len(said.sentence) < 600
    for word in words:
        assert word in said.sentence, said.sentence


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_sentence_and_loses_nothing(name: str, place: Path, accel_cli: Accel) -> None:
    prepare, arguments, code, words = BAD[name]
    prepare(place)
    before = files(place)
    try:
        said = accel_cli(*arguments)
    finally:
        while HOLDING:
            HOLDING.pop().communicate("")
    assert said.code == code, said.err
    check_sentence(said, words)
    assert said.out == ""
    after = files(place)
    if code == 2:
        left = set(after) - set(before)
        assert not [name for name in left if "__pycache__" not in name], "the next try must find the place as it was"
    assert {name: after.get(name) for name in before} == before


def test_there_are_at_least_forty() -> None:
    assert len(BAD) >= 40


def test_a_full_disk_is_said_and_what_was_measured_is_kept(
    place: Path, accel_cli: Accel, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    from accel import result

    def full(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(result, "write_atomically", full)
    said = accel_cli("bench", "model.onnx", "--samples", "samples.npz", "--save-recipe", "plan.toml")
    assert said.code == 3
    check_sentence(said, ("disk is full", "plan.toml", "--resume"))


@pytest.mark.slow
def test_a_missing_library_is_a_row_that_says_what_to_install(
    place: Path, accel_cli: Accel, monkeypatch: pytest.MonkeyPatch
) -> None:
    from accel.study import missing

    real = missing.find_spec
    monkeypatch.setattr(missing, "find_spec", lambda name: None if name == "openvino" else real(name))
    said = accel_cli(*BENCH, "--backend", "openvino", "--backend", "onnxruntime")
    assert said.code == 0, said.err
    assert "accel-bench[openvino]" in said.out
    assert (place / "out" / "report.html").stat().st_size > 10_000


@pytest.mark.slow
def test_a_model_that_crashes_at_batch_8_is_run_item_by_item(place: Path, accel_cli: Accel) -> None:
    (place / "net.py").write_text(
        "import os, signal\nimport numpy as np\n\n\ndef make():\n"
        "    def predict(x):\n"
        "        if len(x) == 8:\n            os.kill(os.getpid(), signal.SIGSEGV)\n"
        "        return {'y': np.asarray(x) * 2}\n"
        "    return predict\n"
    )
    said = accel_cli(*bench("net.py:make", "--batch", "1", "--batch", "4", "--target", "batch", "--json"))
    assert "Traceback" not in said.out + said.err
    assert said.code == 0, said.err
    (row,) = json.loads(said.out)["rows"]
    assert (row["status"], row["batch_size"]) == ("ok", 1)
    assert any("batches of 8" in note and "SIGSEGV" in note and "item by item" in note for note in row["notes"])
    assert "SIGSEGV" in (place / "out" / "report.html").read_text("utf-8")


@pytest.mark.slow
def test_the_installed_command_prints_one_line_and_no_traceback(place: Path) -> None:
    """As a process of its own: what reaches stderr is all there is."""
    done = subprocess.run(
        [sys.executable, "-m", "accel.cli.main", "bench", "none.onnx"],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONWARNINGS": "error"},
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.strip().splitlines()) == 1
    assert "none.onnx" in done.stderr


def test_what_nobody_foresaw_is_a_sentence_with_a_log(
    accel_cli: Accel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import tempfile

    from accel import plugins

    def broken(kind: str) -> tuple[str, ...]:
        raise KeyError(f"planted in {kind}")

    monkeypatch.setattr(plugins, "names", broken)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    said = accel_cli("list")
    assert said.code == 3
    assert "Traceback" not in said.out + said.err
    log = next(tmp_path.glob("accel-*.log"))
    assert str(log) in said.sentence
    assert "planted in" in log.read_text()
    assert "Traceback" in log.read_text()
    assert log.stat().st_mode & 0o077 == 0


def test_an_npz_is_a_zip() -> None:
    """The helpers above build real files: a truncated one can't be read by numpy either."""
    buffer = io.BytesIO()
    np.savez(buffer, x=x())
    with pytest.raises((zipfile.BadZipFile, ValueError, EOFError)):
        np.load(io.BytesIO(buffer.getvalue()[: len(buffer.getvalue()) // 2]))["x"]
