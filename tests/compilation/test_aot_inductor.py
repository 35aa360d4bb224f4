"""A package compiled ahead of time: any batch, no compiler where it is opened, no other processor, no wrong answers."""

from __future__ import annotations

import sys

import msgspec
import numpy as np
import pytest

from accel import plugins
from accel.compilation import _compiler, _processor
from accel.compilation._artefact import Artefact
from accel.errors import VariantError
from accel.plugins import Named
from tests.fresh_process import run_fresh
from tests.small_models import facts, machine

torch = pytest.importorskip("torch")
from tests.small_networks import torch_attention  # noqa: E402


def backend_of(fields=None):
    return plugins.make("compilation", Named("aot_inductor", fields or {}))


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """One package for all tests: compiling takes its time."""
    if backend_of().fits(facts(), machine()) is not None:
        pytest.skip("no C++ compiler")
    folder = tmp_path_factory.mktemp("aot") / "artefact"
    folder.mkdir()
    model, given, expected = torch_attention()
    backend_of({"threads": 1}).build(model, folder)
    return folder, given, expected


@pytest.mark.slow
def test_it_opens_without_a_compiler_and_takes_any_batch_and_length(built, tmp_path, monkeypatch):
    folder, given, expected = built
    assert sorted(p.name for p in folder.parent.iterdir()) == ["artefact"], "the compiler's own files are gone"
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("CXX", str(tmp_path / "no-compiler"))
    answer = run_fresh(Named("aot_inductor", {"threads": 1}), folder, given, [1, 2, 3, 4], tmp_path / "run")
    for n in (1, 2, 3, 4):
        for name, value in expected.items():
            np.testing.assert_allclose(answer["outputs"][f"{n}/{name}"], value[:n], rtol=1e-4, atol=1e-5)
    assert answer["effective"]["threads"] == 1
    assert answer["effective"]["detail"]["compiled for"]
    assert "torchao" not in answer["modules"]


@pytest.mark.slow
def test_run_py_needs_neither_accel_nor_the_modules_code(built):
    folder, given, expected = built
    script = backend_of({"threads": 1}).script(folder)
    assert "accel" not in script
    space = {"here": folder}
    exec(script, space)
    found = space["predict"]({"ids": given["ids"][:, :5], "mask": given["mask"][:, :5]})
    assert found["hidden"].shape == (4, 5, 32)
    np.testing.assert_allclose(space["predict"](given)["logits"], expected["logits"], rtol=1e-4, atol=1e-5)


def test_a_package_for_another_processor_is_refused_before_its_code_is_loaded(tmp_path):
    _, given, _ = torch_attention()
    del given
    artefact = Artefact(file="model.pt2", inputs=(), outputs=(), sizes=None, made_for=("avx2", "avx1024"))
    artefact.save(tmp_path)
    (tmp_path / "model.pt2").write_bytes(b"of another processor")
    with pytest.raises(VariantError, match="avx1024, which this one lacks") as raised:
        backend_of().open(tmp_path)
    assert raised.value.next_step == "Prepare the variant on this machine."


def test_processors():
    assert _processor.lacking(("avx2", "fma"), ("avx2", "avx512f", "fma")) == ()
    assert _processor.lacking(("avx2", "avx512f"), ("avx2",)) == ("avx512f",)
    assert _processor.same_kind(("b", "a"), ("a", "b"))
    assert not _processor.same_kind(("a",), ("a", "b"))


class _Wrong:
    """Answers as the module does for two items, and otherwise for one."""

    def __init__(self, flat, names):
        self._flat, self._names = flat, names

    def run(self, given):
        with torch.no_grad():
            values = self._flat(*[torch.from_numpy(a) for a in given.values()])
        first = next(iter(given.values()))
        return {n: v.numpy() * (len(first) > 1) for n, v in zip(self._names, values, strict=True)}


def test_a_package_that_answers_otherwise_for_a_batch_of_one_is_caught_while_building():
    from accel.compilation.aot_inductor import _hold_against

    model, given, expected = torch_attention()
    flat = model.as_form("torch").flat_module()
    artefact = Artefact.of(model, "model.pt2")
    example = {name: value[:2] for name, value in given.items()}
    with pytest.raises(VariantError, match="a batch of 1") as raised:
        _hold_against(flat, _Wrong(flat, tuple(expected)), artefact, example)
    assert "inductor" in raised.value.next_step
    fixed = msgspec.structs.replace(artefact, sizes=(2,))
    _hold_against(flat, _Wrong(flat, tuple(expected)), fixed, example)


@pytest.mark.parametrize("name", ["inductor", "aot_inductor"])
@pytest.mark.parametrize(("asked", "says"), [(None, "isn't on the PATH"), ("icpx", "CXX names `icpx`")])
def test_without_a_compiler_it_is_said_which_and_how_to_get_one(name, asked, says, monkeypatch, tmp_path):
    """torch calls one compiler alone, so that another one that is there is no help."""
    other = tmp_path / ("g++" if sys.platform == "darwin" else "clang++")
    other.write_text("")
    other.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    if asked is None:
        monkeypatch.delenv("CXX", raising=False)
    else:
        monkeypatch.setenv("CXX", asked)
    refusal = plugins.make("compilation", Named(name)).fits(facts(), machine())
    assert says in refusal.reason
    assert _compiler.install()[0] in refusal.next_step


@pytest.mark.parametrize(
    ("release", "line"),
    [
        ('NAME="Debian"\nID=debian\n', "apt-get install g++"),
        ('ID="linuxmint"\nID_LIKE="ubuntu debian"\n', "apt-get install g++"),
        ('ID="rocky"\nID_LIKE="rhel centos fedora"\n', "dnf install gcc-c++"),
        ("ID=alpine\n", "apk add g++"),
        ("ID=unheard-of\n", "Debian: apt-get install g++"),
        (None, "Debian: apt-get install g++"),
    ],
)
def test_the_line_that_installs_a_compiler_is_this_systems(release, line, tmp_path, monkeypatch):
    monkeypatch.setattr(_compiler.platform, "system", lambda: "Linux")
    if release is not None:
        (tmp_path / "etc").mkdir()
        (tmp_path / "etc" / "os-release").write_text(release)
    assert _compiler.install(tmp_path)[0] == line


@pytest.mark.parametrize(
    ("text", "header", "kind"),
    [
        ("x.cpp:2:10: fatal error: Python.h: No such file or directory", "Python.h", 1),
        ("x.cpp:9:10: fatal error: 'omp.h' file not found", "omp.h", 0),
    ],
)
def test_a_missing_header_is_named_with_its_package(text, header, kind):
    from accel.compilation._torch import explain_torch

    error = explain_torch(RuntimeError(f"CppCompileError: C++ compile error\n{text}"), "compiling the model")
    assert f"`{header}`" in str(error)
    assert _compiler.install()[kind] in error.next_step
