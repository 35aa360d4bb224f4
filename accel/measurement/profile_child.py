"""The profile child: opens one artefact with its runtime's own profiler on and says where the time goes.

Nothing it times is compared with anything: a profiler makes runs slower, and by different amounts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from accel import plugins
from accel.compilation._profile_any import profile as profiled
from accel.measurement.protocol import serve, stage
from accel.plugins import Named
from accel.samples.store import Samples


def profile(command: dict[str, Any]) -> dict[str, Any]:
    """Run `ids` as one batch for about `seconds`; `layers` is null where the runtime has no profiler."""
    backend = msgspec.convert(command["backend"], Named)
    stage("reading the samples")
    samples = Samples.open(Path(command["samples"])).to_ram()
    ids = [int(i) for i in command["ids"]]
    inputs = samples.row(ids[0]) if len(ids) == 1 else samples.batch(ids)
    stage("running with the profiler on")
    engine: Any = plugins.make("compilation", backend)
    found = profiled(backend.name, engine, Path(command["folder"]), dict(inputs), float(command["seconds"]))
    return {"layers": msgspec.to_builtins(found)}


if __name__ == "__main__":
    serve({"profile": profile})
