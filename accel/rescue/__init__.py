"""What to do when quantizing has cost too much: find how little must stay in float for the answers to be right again.

`record` holds what a rescue leaves (light, for whoever reads it), `search` makes one; it needs the runtimes.
"""

from __future__ import annotations

from accel.rescue.record import Rescue, Step

__all__ = ["Rescue", "Step"]
