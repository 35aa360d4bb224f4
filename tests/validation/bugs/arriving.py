"""Bugs of arrivals: what is asked for, when, and what counts as served."""

from __future__ import annotations

from tests.validation.planting import Bug, Edit

_LOOP, _SERVER, _ONLINE = "accel.measurement.loop", "accel.scenarios.server", "accel.analysis.online"

BUGS: tuple[Bug, ...] = (
    Bug(
        name="pause left out",
        what="the next request is due at once, whatever the pause",
        rule="1, idle gap",
        edits=(Edit(_LOOP, "        due = t + self.gap\n", "        due = t\n"),),
        red=("V5",),
    ),
    Bug(
        name="one in flight",
        what="closed_loop keeps one request in flight, not k",
        rule="1",
        edits=(Edit("accel.scenarios.closed_loop", "outstanding=min(self.k, n)", "outstanding=1"),),
        red=("V5",),
    ),
    Bug(
        name="other gaps at other rates",
        what="the rate enters the seed, so that rates are compared under different load",
        rule="8",
        edits=(
            Edit(
                _SERVER,
                "        rng = generator(seed, 1, trial)\n",
                "        rng = generator(seed, 1, trial if rate == 100 else trial + round(rate))\n",
            ),
        ),
        red=("V10",),
    ),
    Bug(
        name="gentle bursts",
        what="gamma gaps vary less than asked for",
        rule="7",
        edits=(Edit(_SERVER, "rng.gamma(1 / self.cv**2, size=n + 1)", "rng.gamma(1 / self.cv, size=n + 1)"),),
        red=("V10",),
    ),
    Bug(
        name="recording not scaled",
        what="recorded arrivals come at their own rate, whatever rate is asked for",
        rule="7",
        edits=(Edit(_SERVER, "(self.lead_s + stretch * part for part", "(self.lead_s + part for part"),),
        red=("V10",),
    ),
    Bug(
        name="load ends with the counted part",
        what="no requests follow the last counted one",
        rule="13",
        edits=(Edit(_SERVER, "round(rate * self.tail_s))", "0)"),),
        red=("V10",),
    ),
    Bug(
        name="unanswered as goodput",
        what="requests that were never answered count as answered within the limit",
        rule="29",
        edits=(
            Edit(
                _ONLINE,
                "good = (counted.status == OK) & (counted.latency_ns <= slo_s * 1e9)",
                "good = counted.latency_ns <= slo_s * 1e9",
            ),
        ),
        red=("V7",),
    ),
    Bug(
        name="dropped requests left out",
        what="requests that the policy gave up don't enter the percentiles",
        rule="3",
        edits=(
            Edit(
                _ONLINE,
                "    return np.where(counted.status == OK, counted.latency_ns * 1e-9, np.inf)",
                "    counted = counted.where(counted.status != DROPPED)\n"
                "    return np.where(counted.status == OK, counted.latency_ns * 1e-9, np.inf)",
            ),
        ),
        red=("V7",),
    ),
    Bug(
        name="dropping called growing",
        what="a server that drops who would be late is said not to keep up",
        rule="29",
        edits=(Edit(_ONLINE, "np.any((counted.finished < 0) & ~given_up)", "np.any(counted.finished < 0)"),),
        red=("V7",),
    ),
    Bug(
        name="one too many dropped",
        what="the loop drops one more than the policy said",
        rule="design: who waits for whom",
        edits=(Edit(_LOOP, "drop = min(decision.drop, count)", "drop = min(decision.drop + (count > 9), count)"),),
        red=("V7",),
    ),
    Bug(
        name="a timer called lag",
        what="a policy's own waiting is called lateness of the harness",
        rule="W9",
        edits=(Edit("accel.measurement.trace", "if self.held is not None:", "if False:"),),
        red=("V7",),
    ),
    Bug(
        name="one more reading of the clock",
        what="the loop does more for each request than it has to",
        rule="V11",
        edits=(Edit(_LOOP, "            started = now()\n", "            now()\n            started = now()\n"),),
        red=("V11",),
    ),
    Bug(
        name="the harness blames the server",
        what="a rate that the loop itself can't offer is held against the engine",
        rule="W9, trap 4",
        edits=(Edit("accel.analysis.serving", "_MOST_OVERHEAD = 0.1", "_MOST_OVERHEAD = 1e9"),),
        red=("V11",),
    ),
)
