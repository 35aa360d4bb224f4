"""In which order are the variants that raced, as far as an order was shown? In groups, the fastest first.

Members of a group were not shown to differ from one another, which doesn't say that they are equal (rule 37). The
answers' winner, its "Tied with" and the rankings all come from one `Order`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from accel.analysis.conclusion import Comparison, Row, StudyRecord
from accel.analysis.paired import Floor, Paired
from accel.analysis.race import among, online, paired
from accel.analysis.rows import Known

Groups = tuple[tuple[str, ...], ...]


def grouped(ordered: Sequence[str], slower: Callable[[str, str], bool]) -> Groups:
    """Names from the fastest to the slowest, cut into groups.

    slower(one, than): was `one` shown to be slower? A name joins the group before it if it was shown to be slower than
    none of its members.

    >>> grouped(["a", "b", "c"], lambda one, than: (one, than) == ("c", "a"))
    (('a', 'b'), ('c',))
    """
    groups: list[list[str]] = []
    for name in ordered:
        if groups and not any(slower(name, member) for member in groups[-1]):
            groups[-1].append(name)
        else:
            groups.append([name])
    return tuple(tuple(group) for group in groups)


class Order:
    """Which of two variants was shown to be slower, for one target: "latency", "batch", or "online" (rates).

    Against the baseline it is the verdict of the row; two candidates are compared in the blocks both ran in, Holm's
    procedure over all such pairs. Who wasn't raced is compared by its screening.
    """

    def __init__(
        self, target: str, known: Mapping[str, Known], record: StudyRecord, floors: Mapping[Paired, Floor]
    ) -> None:
        self._target, self._known, self._record, self._floors = target, known, record, floors
        self._metric: Paired = "batch" if target == "batch" else "latency"
        others = [k for name, k in known.items() if name != record.baseline and k.row.status == "ok"]
        raced = target != "online"
        self._pairs = among(others, self._metric, record, floors[self._metric]) if raced else {}

    def slower(self, one: str, than: str) -> bool:
        """True if `one` was shown to be slower than `than`."""
        for base, other, word in ((than, one, "SLOWER"), (one, than, "FASTER")):
            found = self._against(base, other)
            if found is not None and found.verdict == word:
                return True
        return False

    def differ(self, one: str, other: str) -> bool:
        """True if either was shown to be slower than the other."""
        return self.slower(one, other) or self.slower(other, one)

    def groups(self) -> Groups:
        """Whoever raced in blocks and is usable, with the baseline; none if fewer than two did."""
        usable = [k.row for k in self._known.values() if k.row.status == "ok"]
        speeds = {row.name: speed for row in usable if (speed := self._speed(row)) is not None}
        ordered = sorted(speeds, key=lambda name: (-speeds[name], name))
        return grouped(ordered, self.slower) if len(ordered) >= 2 else ()

    def _against(self, base: str, other: str) -> Comparison | None:
        if base == self._record.baseline:
            return comparison(self._known[other].row, self._target)
        if other == self._record.baseline:
            return None
        if (base, other) in self._pairs or (other, base) in self._pairs:
            return self._pairs.get((base, other))
        two = self._known[base], self._known[other]
        if self._target == "online":
            return online(*two, self._record, max(f.value for f in self._floors.values()))
        return paired(*two, self._metric, self._record, self._floors[self._metric])

    def _speed(self, row: Row) -> float | None:
        """The ratio to the baseline from the blocks, 1 for the baseline itself; None for who didn't race."""
        if row.name == self._record.baseline:
            return 1.0
        found = comparison(row, self._target)
        return found.ratio.value if found is not None and found.evidence != "screening" else None


def orders(known: Mapping[str, Known], record: StudyRecord, floors: Mapping[Paired, Floor]) -> dict[str, Order]:
    """The order of each target."""
    return {target: Order(target, known, record, floors) for target in ("latency", "batch", "online")}


def comparison(row: Row, target: str) -> Comparison | None:
    """The speed-up of a row that belongs to a target."""
    if target == "online":
        return row.speedup_online
    return row.speedup_batch if target == "batch" else row.speedup_latency
