"""Which variant wins as a batch job, which online, and why do they differ? In sentences, from measured numbers only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from accel.analysis import Estimate
from accel.analysis import wording as words
from accel.analysis.conclusion import Row, StudyRecord
from accel.analysis.policy import said as in_words
from accel.analysis.roles import Role

Groups = Mapping[str, tuple[tuple[str, ...], ...]]


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A role, the row it comes from, and how many requests its batches held at the claimed rate."""

    role: Role
    row: Row
    held: Estimate | None


def why(batch: Seen | None, online: Seen | None, record: StudyRecord, groups: Groups) -> tuple[str, ...]:
    """Sentences: who wins where, what each gives in the other role, what the limit costs, and what makes it so."""
    if batch is None or online is None:
        only = batch or online
        return () if only is None else tuple(_limit(only, record))
    said = [*_winners(batch, online, record, groups), *_limit(online, record), *_sizes(online, record)]
    if batch.role.variant != online.role.variant:
        said += _calls(batch.row, online.row)
    if batch.role.instances != online.role.instances:
        said.append(
            f"`{batch.role.variant}` runs {_copies(batch.role.instances)}, `{online.role.variant}` "
            f"{_copies(online.role.instances)}."
        )
    return tuple(said)


def _winners(batch: Seen, online: Seen, record: StudyRecord, groups: Groups) -> Iterator[str]:
    here, there = batch.role.variant, online.role.variant
    at_work = words.figures(batch.row, "batch", record)
    served = words.figures(online.row, "online", record)
    policy = f" ({in_words(online.role.policy)})" if online.role.policy else ""
    if here == there:
        yield f"`{here}` is best in both roles: {at_work} as a batch job, {served} online{policy}."
        return
    yield f"Batch jobs: `{here}`, {at_work}. Online: `{there}`, {served}{policy}."
    yield (
        f"The other way round, `{there}` gives {words.figures(online.row, 'batch', record)} and `{here}` "
        f"{words.figures(batch.row, 'online', record)}."
    )
    for target, ranks in groups.items():
        if target in ("batch", "online") and any({here, there} <= set(names) for names in ranks):
            where = "as batch jobs" if target == "batch" else "online"
            yield f"No difference between the two was shown {where}."


def _limit(online: Seen, record: StudyRecord) -> Iterator[str]:
    """What the latency limit costs, and how much of the time is left idle for it."""
    role = online.role
    if role.slo_cost is None:
        yield from role.missing[:1]
        return
    if role.slo_cost.low is None or role.slo_cost.high is None:
        yield f"What the limit costs `{role.variant}` can't be said: one of its two rates has no interval."
        return
    busy = ""
    if role.utilisation is not None:
        busy = f" At that rate its workers are busy {_percents(role.utilisation)} of the time."
    if words.includes_zero(role.slo_cost):
        yield f"It isn't shown that the limit ({words.slo(record)}) costs `{role.variant}` any throughput.{busy}"
    elif role.slo_cost.value < 0:
        yield f"Online `{role.variant}` answers more than as a batch job: that batch size isn't its best.{busy}"
    else:
        yield (
            f"The limit ({words.slo(record)}) costs `{role.variant}` {_percents(role.slo_cost)} of its batch "
            f"throughput: requests come unevenly, and those that come together must not wait longer than that.{busy}"
        )


def _sizes(online: Seen, record: StudyRecord) -> Iterator[str]:
    """How large batches get in either role, and what a full one takes against the limit."""
    role, held = online.role, online.held
    if role.batch_size is None or role.batch_size <= 1:
        if role.batch_size == 1:
            yield f"`{role.variant}` does most items a second one at a time, so batches bring nothing in either role."
        return
    full = online.row.latency_by_size.get(role.batch_size)
    if role.policy == "single":
        yield f"In a batch job {role.batch_size} items go together; online `{role.variant}` takes them one at a time."
    elif held is not None:
        yield (
            f"In a batch job {role.batch_size} items go together; online a batch of `{role.variant}` holds "
            f"{_number(held)} requests at that rate{_alone(role.policy)}."
        )
    if full is not None and full.low is not None and record.slo_s is not None and full.low > record.slo_s:
        yield (
            f"A batch of {role.batch_size} alone takes {_seconds(full)}, more than the limit, so online it can never "
            "be that large."
        )


def _alone(policy: str) -> str:
    """Why batches stay small, where the policy never lets anybody wait for others."""
    return ", since nobody waits for others" if policy.startswith("dynamic") and "defer=True" not in policy else ""


def _calls(batch: Row, online: Row) -> Iterator[str]:
    """The cost of a call with one item and with many, for both winners, where both have measured them."""
    sizes = sorted(set(batch.latency_by_size) & set(online.latency_by_size))
    known = [s for s in sizes if _told(batch.latency_by_size[s]) and _told(online.latency_by_size[s])]
    if len(known) < 2:
        return
    small, large = known[0], known[-1]
    first = [_seconds(row.latency_by_size[small]) for row in (online, batch)]
    last = [_seconds(row.latency_by_size[large]) for row in (online, batch)]
    yield (
        f"A batch of {small} takes {first[0]} with `{online.name}` and {first[1]} with `{batch.name}`; a batch of "
        f"{large} takes {last[0]} and {last[1]}."
    )
    ahead = {size: _ahead(online.latency_by_size[size], batch.latency_by_size[size]) for size in (small, large)}
    if ahead[small] == 1 and ahead[large] == -1:
        yield "What a call costs before its first item decides online, what each further item costs decides in batch."


def _ahead(one: Estimate, other: Estimate) -> int:
    """1 if the first interval lies below the second, -1 above, 0 where they overlap."""
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return 0
    return 1 if one.high < other.low else -1 if one.low > other.high else 0


def _told(estimate: Estimate) -> bool:
    return estimate.low is not None and estimate.high is not None and estimate.validity != "invalid"


def _copies(n: int) -> str:
    return "one instance" if n == 1 else f"{n} instances"


def _percents(share: Estimate) -> str:
    return _scaled(share, 100, "%")


def _number(estimate: Estimate) -> str:
    return words.with_ends(estimate, "").replace("  [", " [").strip()


def _seconds(estimate: Estimate) -> str:
    return _scaled(estimate, 1e3, "ms")


def _scaled(estimate: Estimate, by: float, unit: str) -> str:
    low, high = (None if end is None else by * end for end in (estimate.low, estimate.high))
    return words.with_ends(
        msgspec.structs.replace(estimate, value=by * estimate.value, low=low, high=high, unit=unit), unit
    )
