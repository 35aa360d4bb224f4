"""Import a runtime and open an artefact with it, once or once a share of the cores: what it took, and what it holds."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from accel import plugins
from accel.compilation import Backend, Effective, Engine, not_installed
from accel.measurement import denormals, memory
from accel.measurement.affinity import Cores, pinned
from accel.measurement.denormals import Denormals
from accel.result import Memory


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """What opening told about one engine, or about several together.

    import_s, open_s: seconds. sizes, parallel_runs: as in `Engine`. peaks: of importing and of opening.
    """

    import_s: float
    open_s: float
    sizes: tuple[int, ...] | None
    parallel_runs: bool
    effective: Effective
    peaks: Memory


def open_engines(
    backend: Backend,
    folder: Path,
    shares: Sequence[Cores],
    say: Callable[[str], None],
    smallest: Denormals = "zero",
) -> tuple[list[Engine], Opened]:
    """Open one engine for each share of the cores, with the opening thread kept on that share.

    Pools that a runtime starts while it is opened inherit the affinity, and a backend that asks how many cores it may
    use gets the size of the share; what becomes of denormal numbers they inherit too (see `denormals`), which a
    backend's own field `flush_denormals` overrides. `say` hears what is going on. Raises MissingLibrary, VariantError.
    """
    say(f"importing {backend.runtime}")
    memory.reset_peak()
    import_s = _import(backend)
    peak_import = memory.peak_bytes()
    # After the import, since loading a library may change it for this thread.
    own = getattr(backend, "flush_denormals", None)
    on = smallest == "zero" if own is None else bool(own)
    zero = denormals.flush(on=on)
    memory.reset_peak()
    engines: list[Engine] = []
    start = time.perf_counter()
    for i, cores in enumerate(shares, 1):
        say("opening the model" if len(shares) == 1 else f"opening instance {i} of {len(shares)}")
        with pinned(cores):
            engines.append(backend.open(folder))
    first = engines[0]
    # A runtime may have set this thread back, whose setting the workers inherit.
    denormals.flush(on=on)
    effective = msgspec.structs.replace(
        first.effective, detail={**first.effective.detail, "denormals": "become zero" if zero else "kept"}
    )
    return engines, Opened(
        import_s=import_s,
        open_s=time.perf_counter() - start,
        sizes=first.sizes,
        parallel_runs=first.parallel_runs,
        effective=effective,
        peaks=Memory(peak_import_bytes=peak_import, peak_load_bytes=memory.peak_bytes()),
    )


def _import(backend: Backend) -> float:
    """Seconds that importing the runtime's package takes in this process."""
    start = time.perf_counter()
    try:
        importlib.import_module(backend.runtime)
    except ModuleNotFoundError as error:
        what = f"The backend `{plugins.name_of(backend)}`"
        raise not_installed(backend, what, error.name) from None
    return time.perf_counter() - start
