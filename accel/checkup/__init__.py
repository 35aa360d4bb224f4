"""What `accel doctor` finds out.

look: what can run here. devices: where runtimes could compute besides. freeze: why it matters how requests arrive
(--prove). measure: what this machine can show (--measure), from clocks, contests of things with themselves, and their
projection; smaller: what would show more.
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
