"""What a study settles once and holds to when it resumes, since it rested on the time that was left and on few runs.

A phase is closed when the next one has begun: whoever enters the blocks later would be compared with another hour.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from accel.plugins import Named
from accel.result import write_atomically
from accel.study.load_plan import Grid

_FILE = "decisions.json"


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A variant that goes on, with its batching policy and first rate (1/s) of server trials; None: no such trials."""

    name: str
    policy: Named | None = None
    rate: float | None = None


class Decisions(msgspec.Struct, frozen=True, kw_only=True):
    """finalists: who went on after screening, before other settings were tried. blocks: the baseline and those who are
    compared in them; confirming: the baseline and the winners; offered: whose load curves are drawn, with which
    policies at which rates. None until it is settled.

    repeats: numbers of the blocks that stand in for disturbed ones.
    too_large: by variant, the batch size at which it failed while tuned though smaller ones ran, and why.
    derived: variants with several instances or other settings, by name, and whose artefact each opens.
    knobs: variants with other settings of their backend, by name, and whose settings they are; None until it is settled
    who is tried. Those that share an artefact stand in `derived` too.
    rescued: variants that a rescue made, by name, and whom each stands in for. rescuing: from when to when into the
    study (s) there were rescues; None before there was one. runoff: who took part in the run-off; none if there was no
    need, None until that is settled.
    """

    finalists: tuple[str, ...] | None = None
    blocks: tuple[Entry, ...] | None = None
    confirming: tuple[Entry, ...] | None = None
    offered: tuple[Grid, ...] | None = None
    repeats: tuple[int, ...] = ()
    too_large: dict[str, tuple[int, str]] = {}
    derived: dict[str, str] = {}
    knobs: dict[str, str] | None = None
    rescued: dict[str, str] = {}
    rescuing: tuple[float, float] | None = None
    runoff: tuple[str, ...] | None = None

    @classmethod
    def load(cls, study: Path) -> Decisions:
        """What an earlier attempt settled; nothing if there was none."""
        path = study / _FILE
        return msgspec.json.decode(path.read_bytes(), type=cls) if path.is_file() else cls()

    def save(self, study: Path) -> Decisions:
        """Commit it; gives what a later attempt will read, so that this one goes on with the very same values."""
        write_atomically(study / _FILE, msgspec.json.format(msgspec.json.encode(self), indent=1))
        return Decisions.load(study)
