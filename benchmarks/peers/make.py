"""A quantized file by another tool's documented call, in a process of its own: `python -m benchmarks.peers.make`.

onnxruntime   quant_pre_process, then quantize_static with QuantFormat.QDQ: `onnxruntime.quantization`'s defaults
advised       the same with the types that its docstring advises for x86 processors with VNNI
nncf          nncf.quantize(model, dataset): the basic quantization flow of OpenVINO's documentation
transformer   the same with model_type=TRANSFORMER, which that documentation names for transformers
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from accel.samples import Samples


def rows(samples: Samples, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The calibration samples, one a time, at their real lengths."""
    for i in samples.calibration:
        row = samples.row(int(i))
        yield {name: row[name] for name in names}


def onnxruntime(source: Path, samples: Samples, out: Path, *, advised: bool = False) -> str:
    """QDQ by ONNX Runtime's own tool; gives what was called."""
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    names = [i.name for i in onnx.load(source, load_external_data=False).graph.input]
    listed = rows(samples, names)

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> dict[str, Any] | None:
            return next(listed, None)

    prepared = out / "prepared.onnx"
    said = "quant_pre_process(model)"
    try:
        quant_pre_process(str(source), str(prepared))
    except Exception as error:  # of any kind: its symbolic shape inference fails on many transformers
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        said = f"quant_pre_process(model, skip_symbolic_shape=True), since without it: {type(error).__name__}"
    asked = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8} if advised else {}
    quantize_static(str(prepared), str(out / "model.onnx"), Reader(), quant_format=QuantFormat.QDQ, **asked)
    for file in out.glob("prepared.onnx*"):
        file.unlink()
    told = ", activation_type=QUInt8, weight_type=QInt8" if advised else ""
    return f"{said}; quantize_static(…, quant_format=QDQ{told})"


def nncf(source: Path, samples: Samples, out: Path, *, transformer: bool = False) -> str:
    """By NNCF, in the form that the source has (ONNX or OpenVINO's IR); gives what was called."""
    import nncf as tool

    model, names, save = _opened(source, out)
    dataset = tool.Dataset(list(rows(samples, names)), lambda row: row)
    asked = {"model_type": tool.ModelType.TRANSFORMER} if transformer else {}
    save(tool.quantize(model, dataset, **asked))
    return f"nncf.quantize(model, dataset{', model_type=TRANSFORMER' if transformer else ''})"


def _opened(source: Path, out: Path) -> tuple[Any, list[str], Callable[[Any], None]]:
    """The model, its inputs' names, and how to save it."""
    if source.suffix == ".onnx":
        import onnx

        graph = onnx.load(source)
        return graph, [i.name for i in graph.graph.input], lambda model: onnx.save(model, out / "model.onnx")
    import openvino as ov

    network = ov.Core().read_model(source)
    names = [i.get_any_name() for i in network.inputs]
    return network, names, lambda model: ov.save_model(model, out / "model.xml", compress_to_fp16=False)


TOOLS: dict[str, Callable[[Path, Samples, Path], str]] = {
    "onnxruntime": onnxruntime,
    "advised": lambda source, samples, out: onnxruntime(source, samples, out, advised=True),
    "nncf": nncf,
    "transformer": lambda source, samples, out: nncf(source, samples, out, transformer=True),
}
PACKAGES = {"onnxruntime": "onnxruntime", "advised": "onnxruntime", "nncf": "nncf", "transformer": "nncf"}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("tool", choices=tuple(TOOLS))
    parser.add_argument("source", type=Path)
    parser.add_argument("samples", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args(arguments)
    given.out.mkdir(parents=True, exist_ok=True)
    called = TOOLS[given.tool](given.source, Samples.open(given.samples), given.out)
    version = importlib.metadata.version(PACKAGES[given.tool])
    told = {"called": called, "version": f"{PACKAGES[given.tool]} {version}"}
    (given.out / "called.json").write_text(json.dumps(told))
    return 0


if __name__ == "__main__":
    sys.exit(main())
