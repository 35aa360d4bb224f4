"""The range of each activation, learned from calibration samples one batch at a time, so that memory stays bounded.

ONNX Runtime's own calibrators do the work, with two changes. They are fed batch by batch: given a whole reader, the
histogram methods hold every activation of every sample at once (microsoft/onnxruntime#10503, #21979: 100 to 200 GB).
And a histogram's edges come from a first pass over minima and maxima: grown from the first batch on, a tensor that
begins near zero gets bins of that width up to its later maximum, which can be billions.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from accel.compression._entropy import collector

if TYPE_CHECKING:
    from accel.compilation import Arrays
    from accel.compression._calibration import Calibration

_METHODS = {"minmax": "MinMax", "entropy": "Entropy", "percentile": "Percentile", "distribution": "Distribution"}
_BINS = 2048
_ENDLESS = "endless.json"


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
        beyond = _take_out_endless(found)
        if method != "minmax":
            options: dict[str, Any] = {"num_bins": _BINS, "symmetric": False, "percentile": percentile}
            found = _collected(_with_edges(_calibrator(source, wanted, method, options, large), found), calibration)
    target = source.with_name("ranges.json")
    save_tensors_data(found, target)
    target.with_name(_ENDLESS).write_text(json.dumps(sorted(beyond)))
    return target


def _take_out_endless(found: Any) -> set[str]:
    beyond = {name for name, data in found.items() if not np.isfinite(_limits(data)).all()}
    for name in beyond:
        del found.data[name]
    return beyond


def endless(ranges: Path) -> set[str]:
    """Tensors whose values reach infinity (a mask of minus infinity, say): no 8-bit scale can hold them."""
    return set(json.loads(ranges.with_name(_ENDLESS).read_text()))


def still(ranges: Path) -> tuple[str, ...]:
    """Tensors that held one value in every sample, so that their range says nothing."""
    from onnxruntime.quantization.calibrate import load_tensors_data

    return tuple(name for name, data in load_tensors_data(ranges).items() if np.ptp(_limits(data)) == 0)


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
    found = collector(
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
        counts, edges = np.histogram([], calibrator.num_bins, range=(-float(threshold), float(threshold)))
        found.histogram_dict[name] = (counts.astype(np.int64), edges.astype(np.float32), low, high, threshold)
    calibrator.tensors_to_calibrate = set(known.keys())
    calibrator.collector = found
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
