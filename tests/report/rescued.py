"""The example study in which a variant failed and was rescued, as a report would meet it."""

from __future__ import annotations

from typing import Any

import msgspec

from accel.analysis.conclusion import Conclusion
from accel.plugins import Named
from accel.rescue.record import Rescue, Step
from tests.report import example

TRANSFORMER = (Named("quantize_static", {"model_type": "transformer"}),)
EVIL = "<script>alert(1)</script>"


def conclusion(*, hostile: bool = False, **more: Any) -> Conclusion:
    """The example in which `OpenVINO INT8` failed and a rescue of it chose the second step."""
    base = example.conclusion()
    row = base.row("OpenVINO INT8")
    failed = msgspec.structs.replace(row, status="refused", quality=example.quality(0.42, "fails"))
    variant = msgspec.structs.replace(row.variant, name="OpenVINO INT8-rescued", compression=TRANSFORMER)
    made = msgspec.structs.replace(row, name=variant.name, variant=variant, quality=example.quality(0.98))
    rows = tuple(failed if r.name == row.name else r for r in base.rows)
    name = f"/layer.3/{EVIL}/MatMul" if hostile else "/layer.3/MatMul"
    steps = (
        Step(what="as it was", kind="start", compression=row.variant.compression, score=0.42, drop=0.564,
             relative_time=0.4, relative_time_low=0.38, relative_time_high=0.42, outcome="fails"),
        Step(what="transformer mode", kind="switch", compression=TRANSFORMER, score=0.981, drop=0.003,
             relative_time=0.5, relative_time_low=0.48, relative_time_high=0.52, outcome="passes", acceptable=True,
             left_float=(name, "Softmax")),
        Step(what=EVIL if hostile else "entropy", kind="switch", compression=(Named("x"),), outcome="failed",
             reason="it ran out of memory"),
    )  # fmt: skip
    fields = {"steps": steps, "chosen": TRANSFORMER, "said": "Transformer mode brought it back.", "complete": True}
    rescue = Rescue(variant=row.name, seconds=31.0, **{"self_check_error": 3e-7, **fields, **more})
    return msgspec.structs.replace(base, rows=(*rows, made), rescues=(rescue,))
