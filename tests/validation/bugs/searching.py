"""Bugs of the search for the most requests a second within a limit."""

from __future__ import annotations

from tests.validation.planting import Bug, Edit

_ONLINE, _CAPACITY, _SEARCH = "accel.analysis.online", "accel.analysis.capacity", "accel.study.max_qps"

BUGS: tuple[Bug, ...] = (
    Bug(
        name="unanswered forgotten",
        what="requests that were never answered are left out of the percentile",
        rule="3, 13",
        edits=(
            Edit(
                _ONLINE,
                "return np.where(counted.status == OK, counted.latency_ns * 1e-9, np.inf)",
                "return counted.ok().latency_ns * 1e-9",
            ),
        ),
        red=("V7",),
    ),
    Bug(
        name="growing queues pass",
        what="a server whose queue grows through the trial passes",
        rule="29",
        edits=(
            Edit(
                _ONLINE,
                "return last_s <= max(2 * first_s + 1e-3, slo_s / 2) and drain_s <= max(slo_s, 1.0)",
                "return True",
            ),
        ),
        red=("V7", "V14"),
    ),
    Bug(
        name="the crossing is the claim",
        what="the middle of the interval is claimed instead of its lower end",
        rule="30",
        edits=(Edit(_CAPACITY, "claim=math.exp(crossing - half90)", "claim=math.exp(crossing)"),),
        red=("V14",),
    ),
    Bug(
        name="chosen rates taken as given",
        what="the error of the fit is not widened for rates that were chosen by looking",
        rule="30",
        edits=(Edit(_CAPACITY, "_CHOSEN = 1.25", "_CHOSEN = 1.0"),),
        red=("V14:many",),
    ),
    Bug(
        name="monotone by decree",
        what="a server that is slower at lower rates is not noticed",
        rule="30 g",
        edits=(Edit(_CAPACITY, "return bool(np.any(np.abs(pooled - means) > limits))", "return False"),),
        red=("V14",),
    ),
    Bug(
        name="any wobble is nonmonotone",
        what="pooling single trials by 10 % flags monotone servers",
        rule="30 g",
        edits=(
            Edit(_CAPACITY, "_TOGETHER = math.log(1.06)", "_TOGETHER = 0.0"),
            Edit(
                _CAPACITY,
                "limits = [max(MOVED, _CERTAIN * noise / math.sqrt(len(g))) for g in groups]",
                "limits = [MOVED for g in groups]",
            ),
        ),
        red=("V14",),
    ),
    Bug(
        name="never confirmed",
        what="no fresh trials are made at the claimed rate",
        rule="30 f",
        edits=(Edit(_SEARCH, "range(self._fresh if found is not None and found.claim > 0 else 0)", "range(0)"),),
        red=("V14",),
    ),
    Bug(
        name="late generator fails the server",
        what="a trial whose generator was late counts as one that missed the limit",
        rule="30 b, W9",
        edits=(
            Edit(_CAPACITY, 'usable = [t for t in trials if t.level != "invalid"]', "usable = list(trials)"),
            Edit(_SEARCH, 'return [t for t in self.trials if t.level != "invalid"]', "return self.trials"),
        ),
        red=("V14",),
    ),
)
