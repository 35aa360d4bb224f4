"""What a runtime's known error text means in words, and what to do next (texts as seen; compared by pattern)."""

from __future__ import annotations

import re

from accel.errors import VariantError

_OTHER = "Try another backend."

# Each: what the runtime says, what it means (groups filled in), what to do next. The first match counts.
_KNOWN: tuple[tuple[str, str, str], ...] = (
    (
        r"NOT_IMPLEMENTED.*?for\s+(\w+)\((\d+)\)",
        "has no kernel on this processor for the operator {0} (version {1}) with this model's types",
        "Use the model in float32, or try the backend `openvino`.",
    ),
    (
        r"(?:Fatal error: |No Op registered for )(\S+?)(?:\(-?\d+\))? (?:is not a registered function/op|with domain)",
        "doesn't know the operator {0}",
        "Export the model with standard ONNX operators.",
    ),
    (
        r"No Op registered for (\w+)",
        "doesn't know the operator {0}",
        "Export the model with standard ONNX operators, or update the runtime.",
    ),
    (
        r"Unsupported model IR version: (\d+), max supported IR version: (\d+)",
        "reads ONNX files up to IR version {1}, and this one is version {0}",
        "Update the runtime, or export the model with an older version.",
    ),
    (
        r"Opset (\d+) is under development.*?till opset (\d+)",
        "knows operator set versions up to {1}, and this model uses {0}",
        "Update the runtime, or export the model with an older opset.",
    ),
    (
        r"Unrecognized attribute: (\w+) for operator (\w+)",
        "refuses the graph: the operator {1} has no attribute `{0}` in this operator set version",
        "Convert the model to opset 17 first (onnx.version_converter).",
    ),
    (
        r"INVALID_PROTOBUF|Protobuf parsing failed|Error parsing message",
        "can't read the file: it isn't ONNX or it is cut short",
        "Export or download the model again.",
    ),
    (
        r"External data|external data file|data_location|GetExtDataFromTensorProto",
        "can't read the weights that lie outside the model file",
        "Keep the external data file beside the .onnx file.",
    ),
    (
        r"Unexpected input data type\. Actual: \(tensor\((\w+)\)\) , expected: \(tensor\((\w+)\)\)",
        "was given an input of type {0}, and the model takes {1}",
        "Convert the samples to {1}.",
    ),
    (
        r"Got invalid dimensions for input: (\S+).*?index: (\d+) Got: (\d+) Expected: (\d+)",
        "was given an input `{0}` whose axis {1} is {2}, and the model takes {3}",
        "Bring the samples to the model's shape; a fixed batch needs an export with a dynamic one.",
    ),
    (
        r"the model input \(shape=(\[[^\]]*\])\) and the tensor \(shape=(\([^)]*\))\) are incompatible",
        "was given an input of shape {1}, and the model takes {0}",
        "Bring the samples to the model's shape.",
    ),
    (
        r"Required inputs \((\[[^)]*\])\) are missing",
        "was not given the inputs {0}",
        "Name the sample arrays as the model names its inputs.",
    ),
    (
        r"OpConversionFailure.*?(?:Conversion is failed for: |for operation(?:s)?[^\w]*)([\w.-]+)",
        "can't convert the operator {0}",
        "Try the backend `onnxruntime`.",
    ),
    (r"OpConversionFailure|Not supported.*?operation", "can't convert an operator of this model", _OTHER),
    (r"Unsupported property (\w+)", "doesn't know the setting {0}", "Leave the setting out."),
    (
        r"[Ff]ailed to allocate memory|bad_alloc|Cannot allocate memory|not enough memory|can't allocate memory",
        "ran out of memory",
        "Use a smaller batch size.",
    ),
    (
        r"ShapeInferenceError|Non-zero status code.*?(?:shape|dimension)|broadcast",
        "found shapes in the graph that don't fit together",
        "Check that the samples have the shapes the model was exported for.",
    ),
)


def explain(error: BaseException, runtime: str, doing: str) -> VariantError:
    """Turn what a runtime raised into a VariantError a person understands.

    runtime: the name to begin with ("ONNX Runtime"); doing: "loading the model", "running a batch of 3".
    """
    if isinstance(error, VariantError):
        return error
    text = str(error)
    for pattern, meaning, next_step in _KNOWN:
        match = re.search(pattern, text, re.DOTALL)
        if match:
            groups = match.groups()
            return VariantError(f"{runtime} {meaning.format(*groups)} ({doing}).", next_step.format(*groups))
    return VariantError(f"{runtime} failed while {doing}: {_first_line(error)}.", _OTHER)


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines()]
    telling = [line for line in lines if line and not line.startswith(("Exception from", "from user code"))]
    return f"{type(error).__name__}: {(telling or ['no message'])[0]}"[:300].rstrip(".: ")
