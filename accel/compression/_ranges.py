"""The range of each activation, learned from calibration samples one batch at a time, so that memory stays bounded.

ONNX Runtime's own calibrators do the work, with two changes. They are fed batch by batch: given a whole reader, the
histogram methods hold every activation of every sample at once (microsoft/onnxruntime#10503, #21979: 100 to 200 GB).
And a histogram's edges come from a first pass over minima and maxima: grown from the first batch on, a tensor that
begins near zero gets bins of that width up to its later maximum, which can be billions.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from accel.compilation import Arrays
    from accel.compression._calibration import Calibration

_METHODS = {"minmax": "MinMax", "entropy": "Entropy", "percentile": "Percentile", "distribution": "Distribution"}
_BINS = {"entropy": 512, "percentile": 2048, "distribution": 2048}


def learn(
    source: Path,
    wanted: Sequence[str],
    calibration: Calibration,
    *,
    method: str = "minmax",
    percentile: float = 99.999,
    large: bool = False,
) -> Path:
    """Ranges of all tensors that operators of the types `wanted` read or write, as the tool's own JSON beside `source`.

    large: the weights lie beside the file. Runs the network once over all samples, twice for the histogram methods.
    """
    from onnxruntime.quantization.calibrate import save_tensors_data

    with contextlib.redirect_stdout(io.StringIO()):
        found = _collected(_calibrator(source, wanted, "minmax", {}, large), calibration)
        if method != "minmax":
            options: dict[str, Any] = {"num_bins": _BINS[method], "symmetric": False, "percentile": percentile}
            found = _collected(_with_edges(_calibrator(source, wanted, method, options, large), found), calibration)
    target = source.with_name("ranges.json")
    save_tensors_data(found, target)
    return target


def endless(ranges: Path) -> set[str]:
    """Tensors whose values reach infinity (a mask of minus infinity, say): no 8-bit scale can hold them."""
    from onnxruntime.quantization.calibrate import load_tensors_data

    found = {name: _limits(data) for name, data in load_tensors_data(ranges).items()}
    return {name for name, limits in found.items() if not np.isfinite(limits).all()}


def still(ranges: Path) -> tuple[str, ...]:
    """Tensors that were zero in every sample, so that their range says nothing."""
    from onnxruntime.quantization.calibrate import load_tensors_data

    return tuple(name for name, data in load_tensors_data(ranges).items() if _limits(data) == (0.0, 0.0))


def tool_method(method: str) -> Any:
    """The tool's own word for a method."""
    from onnxruntime.quantization import CalibrationMethod

    return getattr(CalibrationMethod, _METHODS[method])


def _limits(data: Any) -> tuple[float, float]:
    low, high = data.range_value
    return float(np.min(low)), float(np.max(high))


def _calibrator(source: Path, wanted: Sequence[str], method: str, options: dict[str, Any], large: bool) -> Any:
    from onnxruntime.quantization.calibrate import create_calibrator

    return create_calibrator(
        source,
        list(wanted),
        augmented_model_path=str(source.with_name("float-watched.onnx")),
        calibrate_method=tool_method(method),
        use_external_data_format=large,
        extra_options=options,
    )


def _collected(calibrator: Any, calibration: Calibration) -> Any:
    feed = reader(calibration)
    for index in range(len(calibration)):
        feed.set_range(index, index + 1)
        calibrator.collect_data(feed)
    return calibrator.compute_data()


def _with_edges(calibrator: Any, known: Any) -> Any:
    """The calibrator with an empty histogram of the final width for every tensor, so that none ever grows."""
    from onnxruntime.quantization.calibrate import HistogramCollector

    collector = HistogramCollector(
        calibrator.method,
        calibrator.symmetric,
        calibrator.num_bins,
        calibrator.num_quantized_bins,
        calibrator.percentile,
        calibrator.scenario,
    )
    for name, data in known.items():
        low, high = (np.float32(limit) for limit in _limits(data))
        threshold = np.array(max(abs(low), abs(high)), np.float32)
        counts, edges = np.histogram([], calibrator.num_bins, range=(-threshold, threshold))
        collector.histogram_dict[name] = (counts.astype(np.int64), edges.astype(np.float32), low, high, threshold)
    calibrator.collector = collector
    return calibrator


def reader(calibration: Calibration) -> Any:
    """The calibration batches in the shape the tool asks for (its base class can only be had by importing it)."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.set_range(0, len(calibration))

        def __len__(self) -> int:
            return len(calibration)

        def set_range(self, start_index: int, end_index: int) -> None:
            self._next = iter(range(start_index, end_index))

        def get_next(self) -> Arrays | None:
            index = next(self._next, None)
            return None if index is None else calibration[index]

    return Reader()
