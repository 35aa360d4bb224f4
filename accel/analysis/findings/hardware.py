"""What the processor was asked to do that it is bad at: more threads than cores, a quota, waiting threads that burn a
core, two instances on one core, heat, numbers too small to be normal.

Each rule reads facts of the machine and of what really ran, so what it says doesn't hang on how a run happened to go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from accel.analysis import wording as words
from accel.analysis.bounds import at_work
from accel.analysis.conclusion import Finding, Row
from accel.analysis.findings.seen import Seen, looks
from accel.analysis.percentiles import quantile_interval, required
from accel.analysis.runs import Run
from accel.analysis.wording import listed
from accel.result import Result, Witness

_SPINS = ("true", "default (on)")
_FEW = 2
_RARELY = 0.1
"""In so many of a variant's runs, and in fewer of all others', before its threads are said to wait for one another."""
_CLEARLY = 1.1
"""So much slower, with the whole interval, before kept denormals are worth a number."""


def _limited(seen: Seen) -> Iterator[Finding]:
    """A quota or an affinity below what the machine has."""
    machine = seen.record.machine
    if not machine.limited:
        return
    quota, threads = machine.quota_cores, _plural(machine.cores, "thread")
    part = f" With {quota:g} cores even one thread is held up part of the time." if quota and quota < 1 else ""
    outside = machine.affinity is not None and len(machine.affinity) < machine.logical_cpus
    yield Finding(
        what=f"This process may use {machine.limited}. So every variant got {threads}, unless it asked for others.",
        why="Runtimes left to themselves start a thread for each processor they see, not for each they may use: give "
        f"them the number wherever the model is served.{part}",
        command=f"taskset --cpu-list 0-{machine.logical_cpus - 1} {seen.record.command}"
        if outside and quota is None
        else "accel doctor",
        weight=64,
    )


def _throttled(seen: Seen) -> Iterator[Finding]:
    """W2: the quota held runs up."""
    held = _spoken(seen.results, "W2")
    if held:
        worst = max((w for _, w in held), key=lambda w: w.value)
        names = list(dict.fromkeys(f"`{r.variant.name}`" for r, w in held if w.level != "warn"))
        who = f" Most of all: {listed(names[:3])}." if names and len(names) < len(seen.rows) else ""
        yield Finding(
            what=f"The processor quota of this container held {len(held)} runs up: {_cited(worst)}.",
            why=f"Runtimes start a thread for each processor they see, not for each they may use; tails get long.{who}",
            command="accel list onnxruntime  # its field `threads`",
            weight=63 if worst.level != "warn" else 40,
        )


def _heat(seen: Seen) -> Iterator[Finding]:
    """W6T, W6G: the processor or the GPU was slowed down for heat (or power) while it was measured."""
    hot = [*_spoken(seen.results, "W6T"), *_spoken(seen.results, "W6G")]
    if hot:
        worst = max((w for _, w in hot), key=lambda w: w.value)
        runs = len({r.run_id for r, _ in hot})
        yield Finding(
            what=f"{runs} of {len(seen.results)} runs were slowed down by heat: {_cited(worst)}.",
            why="A hot chip lowers its clock, so absolute numbers belong to this chip in this room; all variants took "
            "turns, so ratios hold. Cool it, or cap its clock, before you compare with another day.",
            command="accel doctor --measure",
            weight=62,
        )


def _threads(seen: Seen) -> Iterator[Finding]:
    """More threads at work than usable cores: of one engine, or of instances whose waiting threads burn a core."""
    crowded = [(row, n) for row in _ran(seen) if (n := at_work(row)) > seen.record.machine.cores]
    spinning = [(row, n) for row, n in crowded if row.variant.instances > 1 and _spins(row)]
    for row, n in spinning:
        yield _spinning(seen, row, n)
    rest = [(row, n) for row, n in crowded if (row, n) not in spinning and _own_threads(row)]
    if rest:
        yield _oversubscribed(seen, rest)


def _own_threads(row: Row) -> bool:
    """Not merely as many engines of one thread as were asked for, which take turns and are told so beside them."""
    return row.effective is not None and row.effective.threads > row.variant.instances


def _spins(row: Row) -> bool:
    return row.effective is not None and row.effective.detail.get("spinning", "") in _SPINS


def _spinning(seen: Seen, row: Row, threads: int) -> Finding:
    cores = seen.record.machine.cores
    return Finding(
        what=f"The waiting threads of `{row.name}` burn the cores of its own instances: {row.variant.instances} "
        f"instances with {threads} threads on {_plural(cores, 'core')}, and spinning is on.{_waited(seen, row)}",
        why="A thread that spins while it waits keeps its core busy doing nothing, while another instance has work for "
        "it. Spinning pays only for who has the cores for himself.",
        command=f"accel list {row.variant.backend.name}  # its fields: spinning = false, threads = "
        f"{max(1, cores // row.variant.instances)}",
        weight=67,
    )


def _oversubscribed(seen: Seen, rows: Sequence[tuple[Row, int]]) -> Finding:
    cores = seen.record.machine.cores
    row, threads = max(rows, key=lambda found: found[1])
    others = [f"`{r.name}` ({n})" for r, n in rows if r is not row]
    more = f" So do {listed(others[:3])}." if others else ""
    return Finding(
        what=f"`{row.name}` ran {threads} threads on {_plural(cores, 'usable core')}.{_waited(seen, row)}{more}",
        why="An operator is done when its last thread is; threads that wait for a core hold the others up, and long "
        "tails come first.",
        command=f"accel list {row.variant.backend.name}  # its field `threads`: 0 takes the {cores} usable",
        weight=61,
    )


def _waited(seen: Seen, row: Row) -> str:
    """W3 of its runs, where it spoke up: how long threads waited for a core."""
    waits = [w for r, w in _spoken(seen.results, "W3") if r.variant.name == row.name]
    worst = max(waits, key=lambda w: w.value, default=None)
    return f" Its threads waited for a core {words.percent(worst.value)} of the time they ran (W3)." if worst else ""


def _own_queue(seen: Seen) -> Iterator[Finding]:
    """Threads of one variant queue up for a core (W3) in its runs alone, though there are cores enough."""
    for row in _ran(seen):
        own = [r for r in seen.results if r.variant.name == row.name and r.witnesses]
        others = [r for r in seen.results if r.variant.name != row.name and r.witnesses]
        queued, elsewhere = (len(_unstable(runs, "W3")) for runs in (own, others))
        alone = queued >= _FEW and 3 * queued >= len(own) and elsewhere < _RARELY * len(others)
        if alone and at_work(row) <= seen.record.machine.cores:
            yield Finding(
                what=f"The threads of `{row.name}` wait for one another: {at_work(row)} on "
                f"{_plural(seen.record.machine.cores, 'usable core')}.{_waited(seen, row)} In other variants' runs "
                "they didn't.",
                why="Nothing else kept the cores busy, so several of its threads were kept on the same one. A runtime "
                "that pins the threads of each of its engines may count from the first core every time.",
                command=f"accel list {row.variant.backend.name}  # its field `pinning`, where it has one",
                weight=63,
            )


def _unstable(results: Sequence[Result], name: str) -> list[Result]:
    return [r for r in results for w in r.witnesses if w.id == name and w.level in ("unstable", "invalid")]


def _siblings(seen: Seen) -> Iterator[Finding]:
    """Two instances on two threads of one physical core."""
    topology = seen.record.machine.topology
    if topology is None or topology.threads_per_core < 2:
        return
    for row in _ran(seen):
        sets = _instances(row)
        of = {cpu: number for number, cpus in enumerate(sets) for cpu in cpus}
        shared = [core for core in topology.sharing(of) if len({of[cpu] for cpu in core}) > 1]
        if len(sets) > 1 and shared:
            yield Finding(
                what=f"Instances of `{row.name}` share physical cores: {topology.listed(shared)} "
                f"{'are threads' if len(shared) == 1 else 'are each threads'} of one core.",
                why="Two threads of a core share its arithmetic and its caches, so they are far from twice as fast as "
                f"one. {_plural(topology.cores_of(of), 'instance')} would have a core each.",
                command="lscpu --extended  # which processors are threads of which core",
                weight=50,
            )


def _second_threads(seen: Seen) -> Iterator[Finding]:
    """A winner with more threads than physical cores."""
    machine = seen.record.machine
    cores = machine.physical_cores
    for row in seen.winning_rows():
        threads = row.effective.threads if row.effective is not None and not row.effective.on_gpu else 0
        if row.variant.instances == 1 and cores < threads <= machine.cores:
            yield Finding(
                what=f"`{row.name}` runs {threads} threads on {_plural(cores, 'physical core')}.",
                why="The second thread of a core shares its arithmetic with the first; what multiplies much is often "
                f"faster with {cores}.",
                command=f"accel list {row.variant.backend.name}  # its field `threads`: try {cores}",
                weight=33,
            )


def _denormals(seen: Seen) -> Iterator[Finding]:
    """Numbers below the smallest normal one among the samples, and what keeping them would cost."""
    found = seen.record.denormals
    if not found:
        return
    parts = [f"{words.percent(part)} of `{name}`" for name, part in sorted(found.items(), key=lambda p: (-p[1], p[0]))]
    kept = [text for name in dict.fromkeys((*seen.winners, seen.record.baseline)) if (text := _kept(seen, name))]
    cost = f" In a process that keeps them {listed(kept)}." if kept else ""
    flag = 'session option "session.set_denormal_as_zero" or torch.set_flush_denormal(True)'
    yield Finding(
        what=f"Inputs hold denormal numbers, below the smallest normal one: {listed(parts[:4])}.{cost}",
        why="Arithmetic on them can take a processor a hundred times as long. Here they became zero for every variant "
        f"alike, and so they do in a winner's run.py; elsewhere set it too ({flag}), or scale the inputs.",
        command="accel list onnxruntime  # its field `flush_denormals`",
        weight=60,
    )


def _kept(seen: Seen, name: str) -> str:
    """How much longer the calls of a variant take where denormals are kept; "" if that wasn't seen clearly."""
    plain, kept = looks(seen.runs, name), looks(seen.runs, name, kept=True)
    ratio = _ratio([r for r in plain if r.result.inputs == "unique" and not _paused(r)], kept)
    if ratio is None or ratio[1] <= _CLEARLY:
        return ""
    who = "the original" if name == seen.record.baseline else f"`{name}`"
    return f"a call of {who} takes {ratio[0]:.2g}× [{ratio[1]:.2g}–{ratio[2]:.2g}] as long"


def _paused(run: Run) -> bool:
    return bool(run.result.scenario and run.result.scenario.fields.get("gap_s"))


def _ratio(plain: Sequence[Run], kept: Sequence[Run]) -> tuple[float, float, float] | None:
    """(ratio, low, high) of the medians of all calls; ends from the ends of the two intervals."""
    if not plain or not kept:
        return None
    ours, theirs = (np.concatenate([r.latency_s for r in runs]) for runs in (kept, plain))
    if min(len(ours), len(theirs)) < required(0.5):
        return None
    (low, high), (least, most) = quantile_interval(ours, 0.5), quantile_interval(theirs, 0.5)
    if low is None or high is None or not least or not most:
        return None
    return float(np.median(ours) / np.median(theirs)), low / most, high / least


def _ran(seen: Seen) -> Iterator[Row]:
    """What ran on the processor: where a GPU computes, threads only hand it work."""
    return (r for r in seen.rows if r.status == "ok" and r.effective is not None and not r.effective.on_gpu)


def _instances(row: Row) -> list[tuple[int, ...]]:
    """The processors of each instance, as the run noted them ("0,4 | 1,5")."""
    text = row.effective.detail.get("cores", "") if row.effective is not None else ""
    return [tuple(int(cpu) for cpu in part.split(",") if cpu.strip().isdigit()) for part in text.split("|")]


def _spoken(results: Sequence[Result], name: str) -> list[tuple[Result, Witness]]:
    return [(r, w) for r in results for w in r.witnesses if w.id == name and w.level != "ok"]


def _cited(witness: Witness) -> str:
    text = witness.sentence.strip().rstrip(".")
    return f"{text[0].lower()}{text[1:]} at worst ({witness.id})"


def _plural(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


RULES: tuple[Callable[[Seen], Iterator[Finding]], ...] = (
    _limited,
    _throttled,
    _heat,
    _threads,
    _own_queue,
    _siblings,
    _second_threads,
    _denormals,
)
