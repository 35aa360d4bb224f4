"""accel: the fastest honest way to run your model on this machine, for batch jobs and for online requests.

>>> import accel
>>> study = accel.bench("model.onnx", samples="samples.npz", slo="p99=20ms")   # doctest: +SKIP
>>> model = study.best("online").load()                                         # doctest: +SKIP

Importing accel loads neither numpy nor torch nor pandas; each name is resolved when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from accel.endpoint.bench import bench_endpoint as bench_endpoint
    from accel.endpoint.driven import EndpointStudy as EndpointStudy
    from accel.errors import AccelError as AccelError
    from accel.errors import GateFailed as GateFailed
    from accel.errors import InputError as InputError
    from accel.errors import MissingLibrary as MissingLibrary
    from accel.errors import NothingMeasured as NothingMeasured
    from accel.errors import VariantError as VariantError
    from accel.planning.plan import CapacityPlan as CapacityPlan
    from accel.planning.plan import plan as plan
    from accel.recipe import Recipe as Recipe
    from accel.recipe import Variant as Variant
    from accel.standalone.compress import compress as compress
    from accel.standalone.compressed import Compressed as Compressed
    from accel.study.compare import StudyComparison as StudyComparison
    from accel.study.compare import compare as compare
    from accel.study.highest_rate import MaxQps as MaxQps
    from accel.study.highest_rate import max_qps as max_qps
    from accel.study.loaded import load_folder as load
    from accel.study.measure import Measurement as Measurement
    from accel.study.measure import measure as measure
    from accel.study.optimize import optimize as optimize
    from accel.study.study import Plan as Plan
    from accel.study.study import Study as Study
    from accel.study.study import bench as bench
    from accel.study.study import open_study as open_study
    from accel.study.study import plan_study as plan_study
    from accel.study.study import write_report as write_report
    from accel.study.winner import Winner as Winner

__version__ = "0.1.0"

_WHERE = {
    "AccelError": "accel.errors:AccelError",
    "CapacityPlan": "accel.planning.plan:CapacityPlan",
    "Compressed": "accel.standalone.compressed:Compressed",
    "EndpointStudy": "accel.endpoint.driven:EndpointStudy",
    "GateFailed": "accel.errors:GateFailed",
    "InputError": "accel.errors:InputError",
    "MaxQps": "accel.study.highest_rate:MaxQps",
    "Measurement": "accel.study.measure:Measurement",
    "MissingLibrary": "accel.errors:MissingLibrary",
    "NothingMeasured": "accel.errors:NothingMeasured",
    "Plan": "accel.study.study:Plan",
    "Recipe": "accel.recipe:Recipe",
    "Study": "accel.study.study:Study",
    "StudyComparison": "accel.study.compare:StudyComparison",
    "Variant": "accel.recipe:Variant",
    "VariantError": "accel.errors:VariantError",
    "Winner": "accel.study.winner:Winner",
    "bench": "accel.study.study:bench",
    "bench_endpoint": "accel.endpoint.bench:bench_endpoint",
    "compare": "accel.study.compare:compare",
    "compress": "accel.standalone.compress:compress",
    "load": "accel.study.loaded:load_folder",
    "max_qps": "accel.study.highest_rate:max_qps",
    "measure": "accel.study.measure:measure",
    "open_study": "accel.study.study:open_study",
    "optimize": "accel.study.optimize:optimize",
    "plan": "accel.planning.plan:plan",
    "plan_study": "accel.study.study:plan_study",
    "write_report": "accel.study.study:write_report",
}

__all__ = [
    "AccelError",
    "CapacityPlan",
    "Compressed",
    "EndpointStudy",
    "GateFailed",
    "InputError",
    "MaxQps",
    "Measurement",
    "MissingLibrary",
    "NothingMeasured",
    "Plan",
    "Recipe",
    "Study",
    "StudyComparison",
    "Variant",
    "VariantError",
    "Winner",
    "bench",
    "bench_endpoint",
    "compare",
    "compress",
    "load",
    "max_qps",
    "measure",
    "open_study",
    "optimize",
    "plan",
    "plan_study",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module `accel` has no attribute `{name}`")
    module, _, attribute = _WHERE[name].partition(":")
    value = getattr(importlib.import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
