"""What kind of network is it? Decided by what does most of its multiply-accumulates (MACs).

kind: where convolutions do at least as many MACs as matrix products, `depthwise` if more than 40 % of the convolutions
wider than 1x1 are depthwise and nothing attends, else `convolutional`; where matrix products do more, `transformer` if
there is attention (a Softmax whose result is multiplied again, or a fused operator), else `other`. So a network of both
kinds is what does most of its work: PP-OCRv6 (convolutions, many of them depthwise, then attention) is convolutional.
Where shapes can't be inferred, operators are counted instead of MACs. A graph with a tree ensemble in it is `trees`,
whatever stands before it.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Literal

import msgspec

from accel.errors import MissingLibrary, VariantError
from accel.model.types import Facts

if TYPE_CHECKING:
    from accel.model.load import Model

FILE = "facts.json"
DEPTHWISE_SHARE = 0.4
Kind = Literal["convolutional", "depthwise", "transformer", "trees", "other"]


class Counts(msgspec.Struct, kw_only=True):
    """What was counted in one form of the model; MACs are per item, at batch 1."""

    operators: dict[str, int] = {}
    parameters: int | None = None
    weight_bytes: int | None = None
    conv_macs: int | None = 0
    matmul_macs: int | None = 0
    convs: int = 0
    matmuls: int = 0
    wide_convs: int = 0
    depthwise: int = 0
    attention: bool = False
    trees: bool = False
    quantized: bool = False
    vocabulary: dict[str, int] = {}


class _Kept(msgspec.Struct, kw_only=True):
    """facts.json: for which source and signature the facts were made."""

    key: str
    facts: Facts
    notes: tuple[str, ...]


def facts_of(model: Model) -> tuple[Facts, tuple[str, ...]]:
    """The facts of a loaded model and notes on what couldn't be found out; kept on disk for the next child."""
    path = model.folder / FILE
    key = f"{msgspec.json.encode(model.source).decode()} {model.signature} {sorted(model.forms)}"
    with contextlib.suppress(OSError, msgspec.DecodeError):  # not made yet, or by an older version
        kept = msgspec.json.decode(path.read_bytes(), type=_Kept)
        if kept.key == key:
            return kept.facts, kept.notes
    facts, notes = _made(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.encode(_Kept(key=key, facts=facts, notes=notes)))
    return facts, notes


def _made(model: Model) -> tuple[Facts, tuple[str, ...]]:
    counts, notes, failed = _counted(model)
    forms = tuple(f for f in ("torch", "sklearn", "onnx", "openvino", "callable") if model.has_path_to(f))
    if failed:
        forms = tuple(f for f in forms if f in model.forms)
    return conclude(counts, forms), notes


def _counted(model: Model) -> tuple[Counts, tuple[str, ...], bool]:
    """(counts, notes, whether the ONNX form failed)."""
    if "callable" in model.forms:
        return Counts(conv_macs=None, matmul_macs=None), (), False
    if "openvino" in model.forms:
        from accel.model.count_openvino import count_openvino

        return count_openvino(model.as_form("openvino"), model.example), (), False
    from accel.model.count_onnx import count_onnx

    try:
        path = model.as_form("onnx")
    except (VariantError, MissingLibrary) as error:
        reason = error.reason if isinstance(error, VariantError) else str(error)
        return (
            _without_graph(model),
            (f"No ONNX form: {reason.rstrip('.')}. ONNX Runtime and OpenVINO are left out.",),
            True,
        )
    return count_onnx(path, model.signature, model.example), (), False


def _without_graph(model: Model) -> Counts:
    if "torch" not in model.forms:
        return Counts(conv_macs=None, matmul_macs=None)
    from accel.model.count_torch import count_torch

    return count_torch(model.as_form("torch"), model.example)


def conclude(counts: Counts, forms: tuple[str, ...]) -> Facts:
    """The facts that follow from what was counted."""
    known = counts.conv_macs is not None and counts.matmul_macs is not None
    share = counts.depthwise / counts.wide_convs if counts.wide_convs else 0.0
    return Facts(
        kind=_kind(counts, share, known),
        parameters=counts.parameters,
        weight_bytes=counts.weight_bytes,
        operators=dict(sorted(counts.operators.items())),
        macs_per_item=(counts.conv_macs or 0) + (counts.matmul_macs or 0) if known else None,
        depthwise_share=share,
        quantized=counts.quantized,
        forms=forms,
        vocabulary=counts.vocabulary,
    )


def _kind(counts: Counts, share: float, known: bool) -> Kind:
    if counts.trees:
        return "trees"
    conv, matmul = (counts.conv_macs, counts.matmul_macs) if known else (counts.convs, counts.matmuls)
    conv, matmul = conv or 0, matmul or 0
    if counts.convs and conv >= matmul:
        return "depthwise" if share > DEPTHWISE_SHARE and not counts.attention else "convolutional"
    return "transformer" if counts.attention and matmul > conv else "other"
