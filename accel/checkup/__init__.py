"""What `accel doctor` finds out: what can run here (`look`), what this machine can show (`measure`), why arrivals count
(`freeze`).
"""

from __future__ import annotations

from accel.checkup.look import (
    BackendState,
    Checkup,
    Noise,
    abilities,
    advice,
    backends,
    examine,
    import_problem,
    listen,
)

__all__ = [
    "BackendState",
    "Checkup",
    "Noise",
    "abilities",
    "advice",
    "backends",
    "examine",
    "import_problem",
    "listen",
]
