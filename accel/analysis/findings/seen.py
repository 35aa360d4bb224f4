"""What every rule may look at, and a few words they share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from accel.analysis.batch_curve import BatchCurve
from accel.analysis.conclusion import Answer, Row, StudyRecord
from accel.analysis.load_curve import LoadPoint
from accel.analysis.paired import Floor, Paired
from accel.analysis.runs import Run
from accel.compilation._profile import Layers
from accel.rescue.record import Rescue
from accel.result import Result


class Seen(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A study as its rules see it: rows and answers, all results, those of them that have a readable trace as runs."""

    record: StudyRecord
    rows: tuple[Row, ...]
    answers: tuple[Answer, ...]
    results: tuple[Result, ...]
    floors: Mapping[Paired, Floor]
    runs: tuple[Run, ...] = ()
    loads: tuple[LoadPoint, ...] = ()
    batching: tuple[BatchCurve, ...] = ()
    rescues: tuple[Rescue, ...] = ()
    layers: tuple[Layers, ...] = ()

    def layers_of(self, name: str) -> Layers | None:
        """The profile of a variant, if one was made."""
        return next((one for one in self.layers if one.variant == name), None)

    @property
    def winners(self) -> tuple[str, ...]:
        """The variants that are recommended, the original not among them."""
        return tuple(dict.fromkeys(a.winner for a in self.answers if not a.keeps_baseline))

    def winning_rows(self) -> Iterator[Row]:
        """Their rows."""
        return (row for row in self.rows if row.name in self.winners)

    def at_s(self, unix_ns: int) -> float:
        """Seconds since the study began."""
        return (unix_ns - self.record.created_unix_ns) * 1e-9


def looks(runs: Sequence[Run], name: str, *, kept: bool = False) -> list[Run]:
    """The closer looks at a variant beside the race; `kept`: those at what keeping denormals costs, else the others."""
    return [
        r
        for r in runs
        if r.result.variant.name == name
        and r.result.target is None
        and r.result.phase == "measure"
        and r.keeps_denormals == kept
    ]


def sentence(text: str) -> str:
    """With a capital and one full stop; "" stays.

    >>> sentence("the host took 3 %")
    'The host took 3 %.'
    """
    text = text.strip().rstrip(".")
    return f"{text[0].upper()}{text[1:]}." if text else ""


def again(record: StudyRecord, option: str) -> str:
    """The command that was typed, with one more option."""
    return f"{record.command} {option}"


def resumed(record: StudyRecord, option: str) -> str:
    """The command that goes on with this study; where its folder isn't known from the command, it is named by word."""
    out = "" if "--out" in record.command else " --out FOLDER"
    return f"{record.command}{out} --resume {option}".replace(" --resume --resume", " --resume")
