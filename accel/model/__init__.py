"""What came in: a torch module, a .pt2, an .onnx, an OpenVINO .xml or any callable; its signature, facts and forms.

`Source` is plain data and lives in the parent; `Model` is loaded and lives in a child.
"""

from __future__ import annotations

from accel.model.load import Model
from accel.model.source import describe
from accel.model.types import Facts, Kind, Signature, Source, Tensor

__all__ = ["Facts", "Kind", "Model", "Signature", "Source", "Tensor", "describe"]
