"""What has to run before anything counts: every batch size that may occur, often and long enough."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle

from accel.batching import Batcher, Decision, Waiting
from accel.errors import VariantError
from accel.measurement.clock import Clock
from accel.measurement.feeding import Feed
from accel.scenarios import Plan

_LATER_NS = 3_600_000_000_000
_GIVE_UP_AFTER = 5
_LEAST_CALLS, _ENOUGH_S = 3, 2.0
_GOLDEN = 0.618

Note = Callable[[int, float], None]


def _nobody(size: int, seconds: float) -> None:
    """Hears of calls and keeps nothing."""


def sizes_taken(batcher: Batcher, plan: Plan, cap: int | None) -> list[int]:
    """Every batch size this policy can form from this plan, ascending; found by asking the policy itself.

    A policy that waits is asked again an hour later and when no further request will come; one that gives up who would
    be late is asked while nobody is. Raises VariantError if it waits for more than the engine takes at once (`cap`).
    """
    most = len(plan.sample_ids) if plan.due_ns is not None else plan.outstanding
    top = min(batcher.largest, most if cap is None else min(most, cap))
    taken = {_asked(batcher, count, later, False) for count in range(1, top + 1) for later in (0, _LATER_NS)}
    taken.add(_asked(batcher, top, 0, True))
    if cap is not None and top == cap and _waits(batcher, cap):
        raise VariantError(
            f"the batching policy waits for {batcher.largest} requests, but the model takes at most {cap} at once",
            f"Use a batch size of at most {cap}.",
        )
    rest = len(plan.sample_ids) % batcher.largest if plan.due_ns is not None and plan.limit_ns is None else 0
    if rest and cap is None:
        taken.add(_asked(batcher, rest, 0, True))
    return sorted(n for n in {min(t, top) for t in taken} if n > 0) or [1]


def _asked(batcher: Batcher, count: int, later_ns: int, draining: bool) -> int:
    waiting = Waiting(count=count, draining=draining)
    decision = batcher.decide(waiting, later_ns)
    if not decision.take and decision.recheck_ns is not None:
        decision = batcher.decide(waiting, decision.recheck_ns)
    return decision.take


def _waits(batcher: Batcher, count: int) -> bool:
    decision = batcher.decide(Waiting(count=count), _LATER_NS)
    return decision.take == 0 and decision.drop == 0


def warm_up(
    feed: Feed,
    sizes: Sequence[int],
    seen: set[int],
    sample_ids: Sequence[int],
    clock: Clock,
    *,
    iterations: int,
    s: float,
    batcher: Batcher | None = None,
    note: Note = _nobody,
) -> tuple[int, float]:
    """Run every padded size not yet `seen` once, then cycle through the typical ones; gives calls made and seconds.

    Ends after at least `iterations` calls and at least `s` seconds; a slow model ends it after three calls and two
    seconds. `seen` is extended. A call that fails is left to the measured part to count (one bad sample isn't a broken
    engine), but five failures in a row are raised.
    batcher: who puts requests together by length: then each size runs with such as it does put together, the longest
    first, and a size at which it never does isn't run: with chance neighbours it would be padded as no batch will be.
    note: hears the padded size and the seconds of each call that didn't fail.
    """
    start, calls, failures = clock.now_ns(), 0, 0
    mates = _mates(feed, batcher, sample_ids, max(sizes))
    sizes = [n for n in sizes if mates(n, 0)]

    def call(ids: list[int]) -> None:
        nonlocal calls, failures
        calls += 1
        begun = clock.now_ns()
        try:
            feed.call(ids)
            failures = 0
            note(feed.padded(len(ids)), (clock.now_ns() - begun) * 1e-9)
        except VariantError:
            failures += 1
            if failures >= _GIVE_UP_AFTER:
                raise

    padded = {feed.padded(n): n for n in sorted(sizes, reverse=True)}
    for size, n in padded.items():
        if size not in seen:
            call(mates(n, calls))
            seen.add(size)
    for n in cycle(_typical(sorted(padded.values()))):
        spent = clock.now_ns() - start
        if (calls >= iterations and spent >= s * 1e9) or (calls >= _LEAST_CALLS and spent >= max(s, _ENOUGH_S) * 1e9):
            break
        call(mates(n, calls))
    return calls, (clock.now_ns() - start) * 1e-9


def warm_up_all(
    feeds: Sequence[Feed],
    sizes: Sequence[int],
    seen: Sequence[set[int]],
    sample_ids: Sequence[int],
    clock: Clock,
    *,
    iterations: int,
    s: float,
    batcher: Batcher | None = None,
    note: Note = _nobody,
) -> None:
    """`warm_up` every engine, several side by side, each in a thread of its own: so they will run, too.

    note: hears the calls of an engine that is alone; several disturb each other's first calls.
    """

    def one(feed: Feed, known: set[int]) -> None:
        feed.enter()
        warm_up(feed, sizes, known, sample_ids, clock, iterations=iterations, s=s, batcher=batcher)

    if len(feeds) == 1:
        warm_up(feeds[0], sizes, seen[0], sample_ids, clock, iterations=iterations, s=s, batcher=batcher, note=note)
        return
    with ThreadPoolExecutor(len(feeds)) as pool:
        for done in [pool.submit(one, feed, known) for feed, known in zip(feeds, seen, strict=False)]:
            done.result()


def _typical(sizes: Sequence[int]) -> list[int]:
    """1, 2, 4, ... and the largest of them.

    >>> _typical([1, 2, 3, 4, 5, 6])
    [1, 2, 4, 6]
    """
    return [n for n in sizes if n & (n - 1) == 0 or n == sizes[-1]]


def _mates(
    feed: Feed, batcher: Batcher | None, sample_ids: Sequence[int], largest: int
) -> Callable[[int, int], list[int]]:
    """(batch size, calls so far) -> the samples of a batch: in turn, or such as the policy puts together."""
    ids = [sample_ids[i % len(sample_ids)] for i in range(max(len(sample_ids), largest))]
    if batcher is None or feed.lengths is None or _in_turn(batcher, [int(feed.lengths[i]) for i in ids]):
        return lambda n, shift: [ids[(shift + i) % len(ids)] for i in range(n)]
    lengths = {i: int(feed.lengths[i]) for i in ids}
    ids.sort(key=lengths.__getitem__)
    last: dict[int, int] = {}
    turns: dict[int, int] = {}

    def together(n: int, shift: int) -> list[int]:
        if n not in last:
            starts = range(len(ids) - n, -1, -1)
            last[n] = next((k for k in starts if _whole(batcher, [lengths[i] for i in ids[k : k + n]])), -1)
            return ids[last[n] : last[n] + n] if last[n] >= 0 else []
        # The longest, then all over the lengths, by the golden ratio, so that no two turns are alike.
        turns[n] = turn = turns.get(n, -1) + 1
        start = last[n] - int(turn * _GOLDEN % 1.0 * (last[n] + 1))
        return ids[start : start + n]

    return together


def _in_turn(batcher: Batcher, costs: Sequence[int]) -> bool:
    """True if the policy doesn't look at lengths: it takes the oldest, as many as it ever does."""
    decision = _faced_with(batcher, costs)
    return decision.pick is None and decision.take == min(len(costs), batcher.largest)


def _whole(batcher: Batcher, costs: Sequence[int]) -> bool:
    return _faced_with(batcher, costs).take == len(costs)


def _faced_with(batcher: Batcher, costs: Sequence[int]) -> Decision:
    return batcher.decide(Waiting.of(due_ns=[0] * len(costs), costs=costs, draining=True), 0)
