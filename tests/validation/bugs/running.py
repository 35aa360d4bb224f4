"""Bugs of the loop, the schedule and the trace."""

from __future__ import annotations

from tests.validation.planting import Bug, Edit

_LOOP, _RECORD, _TRACE = "accel.measurement.loop", "accel.measurement.record", "accel.measurement.trace"
_SERVER, _SCENARIOS = "accel.scenarios.server", "accel.scenarios"

BUGS: tuple[Bug, ...] = (
    Bug(
        name="latency from dispatch",
        what="latency counts from when a worker took the request",
        rule="11",
        edits=(Edit(_TRACE, "return self.finished - self.due", "return self.finished - self.taken"),),
        red=("V6", "V8"),
    ),
    Bug(
        name="plan reset after lateness",
        what="after being late the rest of the schedule is shifted",
        rule="9",
        edits=(
            Edit(
                _LOOP,
                "        waiting, due, n, loose = self.waiting, self.due, self.n, self.loose\n",
                "        waiting, due, n, loose = self.waiting, self.due, self.n, self.loose\n"
                "        head = self.head\n"
                "        if not self.closed and head < n and due[head] < t:\n"
                "            due[head:] = [d + t - due[head] for d in due[head:]]\n",
            ),
        ),
        red=("V6", "V7", "V8"),
    ),
    Bug(
        name="undrained dropped by the loop",
        what="requests that were never taken are left out of the trace",
        rule="13",
        edits=(Edit(_RECORD, "count = len(plan.sample_ids) if plan.limit_ns is None else seen", "count = seen"),),
        red=("V7",),
    ),
    Bug(
        name="warm-up counted",
        what="requests of the warm-up and of the tail count",
        rule="13, 15",
        edits=(
            Edit(
                _RECORD,
                "counted = (index >= plan.warmup) & (index < len(plan.sample_ids) - plan.tail)",
                "counted = index >= 0",
            ),
        ),
        red=("V10",),
    ),
    Bug(
        name="float32 times",
        what="times are stored as float32",
        rule="27",
        edits=(
            Edit(
                _TRACE,
                "np.savez_compressed(file, **self._columns())",
                "np.savez_compressed(file, **{c: v.astype(np.float32) for c, v in self._columns().items()})",
            ),
        ),
        red=("V7",),
    ),
    Bug(
        name="lag from the schedule",
        what="time in the queue is called lateness of the harness",
        rule="36, W9",
        edits=(
            Edit(
                _TRACE,
                "self.started[first] - np.maximum(ready, _became_free(self.finished[first], workers))",
                "self.started[first] - ready",
            ),
        ),
        red=("V7",),
    ),
    Bug(
        name="realized rate left to chance",
        what="gaps are not rescaled, so that the offered rate scatters",
        rule="7",
        edits=(Edit(_SERVER, "length_s * ends[:-1] / (ends[-1] or 1.0)", "length_s * ends[:-1] / (n + 1)"),),
        red=("V10",),
    ),
    Bug(
        name="one schedule for all trials",
        what="the trial's number doesn't enter the seed",
        rule="6",
        edits=(
            Edit(_SCENARIOS, "np.random.SeedSequence([root, stream, trial])", "np.random.SeedSequence([root, stream])"),
        ),
        red=("V10", "V13"),
    ),
    Bug(
        name="schedule not the same twice",
        what="schedules are drawn without a seed",
        rule="6",
        edits=(Edit(_SCENARIOS, "np.random.SeedSequence([root, stream, trial])", "np.random.SeedSequence()"),),
        red=("V10",),
    ),
    Bug(
        name="followers start late",
        what="with several workers only one serves",
        rule="design: leader and followers",
        edits=(Edit(_LOOP, "for i in range(1, self.workers)]", "for i in range(1, 1)]"),),
        red=("V7", "V8"),
    ),
    Bug(
        name="no device sync",
        what="the clock stops when the device has its work, not when it is done",
        rule="10, 14",
        edits=(
            Edit(
                "accel.compilation.callable",
                "return {name: _own(outputs[name]) for name in self._names}",
                "return {name: outputs[name] for name in self._names}",
            ),
        ),
        red=("V22",),
    ),
)
