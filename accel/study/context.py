"""What one look at the model found out, kept beside the study so that a resumed one needs no second look."""

from __future__ import annotations

import msgspec

from accel.model import Source
from accel.study.given import Given
from accel.study.looks import Key


class Context(msgspec.Struct, kw_only=True):
    """What stays the same through one study; the reference's part is filled in when its outputs are there.

    sizes: the batch sizes asked for. knobs: whether other settings of the backends are tried, as where accel chooses
    the variants. look: under which key the look is kept; confirmed: see `accel.study.beginning`.
    """

    source: Source
    identity: str | None
    samples_sha256: str
    metric: Given
    labelled: bool
    load_s: float
    reference_ids: tuple[int, ...] = ()
    reference_s: float = 0.0
    sizes: tuple[int, ...] = ()
    knobs: bool = False
    look: Key | None = None
    confirmed: bool = True
