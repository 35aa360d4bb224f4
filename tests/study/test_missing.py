"""What is refused before a child is started: a technique for itself, and techniques in an order that can't be."""

from __future__ import annotations

import msgspec
import pytest

from accel.measurement.nvml import Gpu
from accel.plugins import Named, parse_several
from accel.recipe import Variant
from accel.study.missing import why_not
from tests.small_models import facts, machine

pytest.importorskip("onnxruntime")
TORCH = msgspec.structs.replace(facts(), forms=("torch", "onnx", "openvino"))


def asked(chain: str, backend: str = "onnxruntime") -> Variant:
    return Variant(name="asked", backend=Named(backend), compression=parse_several("compression", chain))


@pytest.mark.parametrize("chain", ["quantize_static", "prune_magnitude+quantize_static", "fine_tune+quantize_dynamic"])
def test_what_can_follow_one_another_may_be_tried(chain: str) -> None:
    assert why_not(asked(chain), TORCH, machine()) is None


def test_what_needs_a_module_must_come_before_what_leaves_a_graph() -> None:
    refusal = why_not(asked("quantize_static+prune_magnitude"), TORCH, machine())
    assert refusal is not None
    assert "but `quantize_static` before it leaves onnx" in refusal.reason
    assert refusal.next_step == "Put `prune_magnitude` before `quantize_static`."
    assert refusal.status == "refused"


def test_the_second_quantization_finds_a_quantized_model() -> None:
    refusal = why_not(asked("quantize_dynamic+quantize_static"), TORCH, machine())
    assert refusal is not None
    assert "quantized already" in refusal.reason


def test_a_backend_that_is_not_installed_is_skipped_and_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("accel.study.missing.find_spec", lambda name: None)
    refusal = why_not(asked("quantize_static"), TORCH, machine())
    assert refusal is not None
    assert refusal.status == "skipped"
    assert "pip install" in refusal.next_step


def test_no_package_is_asked_for_where_it_would_not_help(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("accel.study.missing.find_spec", lambda name: None)
    plain, card = Variant(name="asked", backend=Named("tensorrt")), Gpu(name="H200", capability="9.0")
    alone = why_not(plain, TORCH, machine())
    assert alone is not None
    assert (alone.status, "NVIDIA GPU" in alone.reason) == ("refused", True)
    beside = why_not(plain, TORCH, msgspec.structs.replace(machine(), gpus=(card,)))
    assert beside is not None
    assert beside.status == "skipped"
    assert beside.next_step.endswith("pip install --force-reinstall onnxruntime-gpu tensorrt")


@pytest.mark.parametrize(
    ("backend", "form", "fine"),
    [("eager", "onnx", False), ("eager", "sklearn", False), ("onnxruntime", "sklearn", True), ("eager", "torch", True)],
)
def test_a_backend_that_no_form_of_the_model_leads_to_is_refused(backend: str, form: str, fine: bool) -> None:
    plain = Variant(name="asked", backend=Named(backend))
    refusal = why_not(plain, msgspec.structs.replace(facts(), forms=(form,)), machine())
    if fine:
        assert refusal is None
        return
    assert refusal is not None
    assert refusal.status == "refused"
    assert refusal.reason == f"`eager` needs the model as torch, but there is only {form}."
    assert "leave `eager` out" in refusal.next_step
