"""A .pt2 is read as data: what could run code is found before torch sees the file."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from accel.errors import InputError
from accel.model import Model, describe
from accel.model.archive import check_archive, copy_plain


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(4, 3)

    def forward(self, x, mask):
        return {"logits": self.linear(x) * mask, "rest": (x.flatten(1),)}


def saved(path: Path, *, fixed: bool = False) -> tuple[Path, Net]:
    net = Net().eval()
    free = None if fixed else {"x": {0: torch.export.Dim("b")}, "mask": {0: torch.export.Dim("b")}}
    program = torch.export.export(net, (torch.ones(2, 4),), {"mask": torch.ones(2, 3)}, dynamic_shapes=free)
    torch.export.save(program, str(path))
    return path, net


def changed(path: Path, change: Callable[[str, bytes], tuple[str, bytes] | None]) -> Path:
    """A copy of an archive whose parts went through `change`."""
    out = path.with_name("changed.pt2")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            part = change(name, old.read(name))
            if part is not None:
                new.writestr(*part)
    return out


def test_a_plain_program_loads_without_trust_and_computes_the_same(tmp_path: Path) -> None:
    path, net = saved(tmp_path / "net.pt2")
    model = Model.load(describe(path, folder=tmp_path), tmp_path / "m")
    assert str(model.signature) == (
        "(x: float32[batch, 4], mask: float32[batch, 3]) -> "
        "(logits: float32[batch, 3], rest.0: float32[batch, 4]), batch any"
    )
    rng = np.random.default_rng(0)
    x, mask = rng.normal(size=(5, 4)).astype("f"), rng.normal(size=(5, 3)).astype("f")
    with torch.no_grad():
        expected = net(torch.from_numpy(x), torch.from_numpy(mask))
    found = model.as_form("torch")({"x": x, "mask": mask})
    np.testing.assert_allclose(found["logits"], expected["logits"], rtol=1e-6)


def test_a_fixed_batch_is_seen_and_used(tmp_path: Path) -> None:
    path, _ = saved(tmp_path / "net.pt2", fixed=True)
    assert Model.load(describe(path, folder=tmp_path), tmp_path / "m").signature.batch == 2


def test_the_copy_holds_no_pickle_and_no_guards(tmp_path: Path) -> None:
    path, _ = saved(tmp_path / "net.pt2")
    copy_plain(path, tmp_path / "plain.pt2")
    with zipfile.ZipFile(path) as archive:
        before = {n.partition("/")[2]: archive.read(n) for n in archive.namelist()}
    with zipfile.ZipFile(tmp_path / "plain.pt2") as archive:
        after = {n.partition("/")[2]: archive.read(n) for n in archive.namelist()}
    assert before["data/sample_inputs/model.pt"].startswith(b"PK")  # what torch would unpickle
    assert after["data/sample_inputs/model.pt"] == b""
    assert json.loads(after["models/model.json"])["guards_code"] == []


def graph_with(old: str, new: str) -> Callable[[str, bytes], tuple[str, bytes]]:
    def change(name: str, data: bytes) -> tuple[str, bytes]:
        if name.endswith("models/model.json"):
            assert old.encode() in data
            data = data.replace(old.encode(), new.encode())
        return name, data

    return change


def added(name: str, content: bytes) -> Callable[[str, bytes], tuple[str, bytes]]:
    def change(found: str, data: bytes) -> tuple[str, bytes]:
        root = found.partition("/")[0]
        return (f"{root}/{name}", content) if found.endswith("byteorder") else (found, data)

    return change


def pickled_weights(name: str, data: bytes) -> tuple[str, bytes]:
    return name, data.replace(b'"use_pickle": false', b'"use_pickle": true')


HOSTILE = {
    "a pickled constant": (added("data/constants/opaque_obj_0", pickle.dumps(print)), "may be a pickle"),
    "legacy pickled weights": (added("data/weights/model.pt", pickle.dumps(print)), "may be a pickle"),
    "native code": (added("data/aotinductor/model/x.so", b"\x7fELF"), "native code"),
    "pickled tensors": (pickled_weights, "pickled tensors"),
    "a call of os.system": (
        graph_with("torch.ops.aten.linear.default", "torch.os.system"),
        "a call of `torch.os.system`",
    ),
    "a getter": (graph_with("torch.ops.aten.linear.default", "_operator.attrgetter"), "_operator.attrgetter"),
    "a file that is mapped": (
        graph_with("torch.ops.aten.linear.default", "torch.ops.aten.from_file.default"),
        "from_file",
    ),
    "an expression": (graph_with("Symbol('s", "__import__('os').system('true') or Symbol('s"), "the expression"),
    "a type to import": (graph_with("builtins.dict", "evil.module.Type"), "evil.module.Type"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_could_run_code_needs_trust(name: str, tmp_path: Path) -> None:
    change, expected = HOSTILE[name]
    path = changed(saved(tmp_path / "net.pt2")[0], change)
    with pytest.raises(InputError) as caught:
        describe(path, folder=tmp_path)
    assert expected in str(caught.value)
    assert "--trust-file" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert describe(path, folder=tmp_path, trust_file=True).trusted


def test_other_zip_files_are_told_apart(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "saved.pt2")
    with pytest.raises(InputError, match=r"as torch\.save"):
        check_archive(tmp_path / "saved.pt2")
    with zipfile.ZipFile(tmp_path / "zip.pt2", "w") as archive:
        archive.writestr("readme", "nothing")
    with pytest.raises(InputError, match="no exported program"):
        check_archive(tmp_path / "zip.pt2")


def test_a_damaged_archive_is_cut_off(tmp_path: Path) -> None:
    path, _ = saved(tmp_path / "net.pt2")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match="cut off"):
        check_archive(path)


@pytest.mark.parametrize("damage", ["data", "encrypted"])
def test_an_archive_that_cannot_be_unpacked_is_one_sentence(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "net.pt2"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("net/models/model.json", "1" * 3000)
    data = bytearray(path.read_bytes())
    if damage == "data":
        data[55:60] = b"\xff" * 5
    else:
        data[6] |= 1
        data[data.find(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"can't be read as \.pt2"):
        check_archive(path)
