"""`timm:NAME`: built by timm's own code, here a stand-in of its four functions unless timm itself is installed."""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from accel.errors import InputError, MissingLibrary
from accel.model import Model, describe

torch = pytest.importorskip("torch")


class Tiny(torch.nn.Module):  # type: ignore[misc]
    """What create_model gives: an image in, class scores out."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3, stride=2)
        self.head = torch.nn.Linear(4, 5)

    def forward(self, x: Any) -> Any:
        return self.head(self.conv(x).mean((2, 3)))


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """A module `timm` that notes how it was called; its weights for `broken` can't be fetched."""
    asked: list[Any] = []

    def create_model(name: str, *, pretrained: bool) -> Any:
        asked.append((name, pretrained))
        if name == "broken" and pretrained:
            raise RuntimeError("No route to host\nand more")
        return Tiny()

    timm: Any = types.ModuleType("timm")
    timm.is_model = lambda name: name in ("tiny", "broken")
    timm.list_models = lambda: ["tiny", "broken"]
    timm.create_model = create_model
    timm.data = types.SimpleNamespace(resolve_model_data_config=lambda module: {"input_size": (3, 16, 12)})
    monkeypatch.setitem(sys.modules, "timm", timm)
    return asked


def loaded(text: str, folder: Path) -> Model:
    return Model.load(describe(text, folder=folder / "given"), folder / "model")


def test_published_weights_are_asked_for(stand_in: list[Any], tmp_path: Path) -> None:
    model = loaded("timm:tiny", tmp_path)
    assert stand_in == [("tiny", True)]
    assert str(model.signature) == "(x: float32[batch, 3, 16, 12]) -> (output: float32[batch, 5]), batch any"
    assert (model.source.kind, model.source.name, model.source.random_weights) == ("timm", "tiny", False)
    assert model.notes == ()


def test_random_weights_are_seeded_and_said_to_be(stand_in: list[Any], tmp_path: Path) -> None:
    state = torch.random.get_rng_state()
    one = loaded("timm:tiny?pretrained=false", tmp_path / "a")
    two = loaded("timm:tiny?pretrained=false", tmp_path / "b")
    assert stand_in == [("tiny", False)] * 2
    assert one.source.random_weights
    assert "drawn at random" in one.notes[0]
    pairs = zip(one.as_form("torch").module.parameters(), two.as_form("torch").module.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("timm:tinny", "timm has no such model. Did you mean `tiny`?"),
        ("timm:broken", r"can't be loaded \(RuntimeError: No route to host\).*`timm:broken\?pretrained=false`"),
    ],
)
def test_what_timm_can_not_give_is_one_sentence(text: str, says: str, stand_in: list[Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=says) as raised:
        loaded(text, tmp_path)
    assert "\n" not in str(raised.value)


def test_without_timm_the_install_line_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingLibrary, match=r'pip install "accel-bench\[timm\]"'):
        loaded("timm:resnet18", tmp_path)


def test_a_torchvision_of_another_torch_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "timm.py").write_text('raise RuntimeError("operator torchvision::nms does not exist")\n')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "timm", raising=False)
    with pytest.raises(InputError, match="Install the torchvision that belongs to your torch"):
        loaded("timm:resnet18", tmp_path)


@pytest.mark.skipif(
    importlib.util.find_spec("timm") is None, reason="needs timm, which has no CPU build of torchvision"
)
@pytest.mark.filterwarnings("ignore")
def test_timm_itself(tmp_path: Path) -> None:
    """ResNet-18 at 224 x 224 does 1.81 GMAC (He et al. 2016, table 1)."""
    try:
        import timm  # noqa: F401
    except Exception as error:
        pytest.skip(f"timm is installed, but its torchvision isn't one for this torch: {error}")
    model = loaded("timm:resnet18?pretrained=false", tmp_path)
    assert model.signature.outputs[0].shape == ("batch", 1000)
    assert model.facts.macs_per_item == pytest.approx(1.81e9, rel=0.01)
