"""Which variant should be used for batch jobs, and which online? The fastest that was shown to be faster and keeps the
accuracy, or the original.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from accel.analysis import guard
from accel.analysis import wording as words
from accel.analysis.comparison import Evidence
from accel.analysis.conclusion import Answer, Comparison, Row, StudyRecord
from accel.analysis.ranking import Order, grouped
from accel.analysis.rows import Known

Goal = Literal["batch", "online"]
_TIERS: dict[Evidence, int] = {"confirmation": 2, "blocks": 1, "screening": 0}


def may_win(row: Row, record: StudyRecord) -> bool:
    """True if the guard lets it: it passes, or is unresolved with a point estimate within the limit."""
    if row.status != "ok" or row.is_baseline or row.quality is None:
        return False
    return guard.may_win(row.quality, record.accuracy_drop)


def in_doubt(goal: Goal, rows: Sequence[Row], record: StudyRecord) -> Row | None:
    """The fastest of those that only doubt about the runs keeps from winning: disturbed, or one of many candidates.

    Who was raced comes before who was screened alone. Their whole interval lies above 1 and the difference is large
    enough; fresh runs decide.
    """
    by_rate = goal == "online" and any(row.online is not None for row in rows)
    able = [row for row in rows if may_win(row, record) and not row.variant.trap]
    found = [(row, compared) for row in able if (compared := speedup(row, goal, by_rate)) is not None]
    doubted = [row for row, compared in found if compared.verdict == "INCONCLUSIVE" and _is_above(compared)]
    return max(doubted, key=lambda row: (_tier(row, goal, by_rate), _value(row, goal, by_rate)), default=None)


def _is_above(compared: Comparison) -> bool:
    ratio = compared.ratio
    return ratio.low is not None and ratio.low > 1 and ratio.value >= compared.delta


def answer(goal: Goal, known: Mapping[str, Known], record: StudyRecord, orders: Mapping[str, Order]) -> Answer | None:
    """The recommendation for one goal; None if the study didn't ask for it or nothing was measured for it."""
    if record.target not in (goal, "both"):
        return None
    by_rate = goal == "online" and any(k.row.online is not None for k in known.values())
    eligible = [k for k in known.values() if may_win(k.row, record)]
    base = known.get(record.baseline)
    # Once variants were raced in blocks, one that was only screened can't overtake them on weaker evidence.
    raced = max((_tier(k.row, goal, by_rate) for k in eligible), default=0) > 0
    deep = [k for k in eligible if _tier(k.row, goal, by_rate) > 0 or not raced]
    ranked = [k for k in deep if _wins(k.row, goal, by_rate, base)]
    if not ranked:
        return _keep(goal, base, deep, record, by_rate)
    order = orders[goal if goal == "batch" or by_rate else "latency"]
    winner = _winner(ranked, goal, by_rate, order)
    # A winner was measured again afresh, others weren't; they may still be as fast as far as the blocks showed.
    others = [k.row.name for k in ranked if k is not winner and not order.differ(k.row.name, winner.row.name)]
    return _use(goal, winner.row, base.row if base else None, others, record, by_rate)


def _winner(ranked: Sequence[Known], goal: Goal, by_rate: bool, order: Order) -> Known:
    """Of those with the deepest evidence: the fastest, or one not shown to be slower with settled accuracy."""
    tier = max(_tier(k.row, goal, by_rate) for k in ranked)
    deepest = [k for k in ranked if _tier(k.row, goal, by_rate) == tier]
    deepest.sort(key=lambda k: (-_value(k.row, goal, by_rate), k.row.name))
    first = grouped([k.row.name for k in deepest], order.slower)[0]
    tied = [k for k in deepest if k.row.name in first]
    # Where speed doesn't tell them apart: first whose accuracy is settled, then the one with fewer changes.
    return min(tied, key=lambda k: (_unsettled(k.row), len(k.row.variant.compression), tied.index(k)))


def speedup(row: Row, goal: Goal, by_rate: bool) -> Comparison | None:
    """The comparison that decides for a goal: throughput, the rate within the SLO, or without trials latency."""
    if goal == "batch":
        return row.speedup_batch
    return row.speedup_online if by_rate else row.speedup_latency


def _wins(row: Row, goal: Goal, by_rate: bool, base: Known | None) -> bool:
    found = speedup(row, goal, by_rate)
    if found is not None:
        return found.verdict == "FASTER"
    # The original meets the limit at no rate, this one does: there is no ratio to nothing.
    return by_rate and _only_within_slo(row, base)


def _only_within_slo(row: Row, base: Known | None) -> bool:
    return (
        base is not None
        and base.row.online is not None
        and base.row.online.rate.value <= 0
        and row.online is not None
        and row.online.rate.value > 0
        and row.online.rate.validity == "valid"
    )


def _tier(row: Row, goal: Goal, by_rate: bool) -> int:
    found = speedup(row, goal, by_rate)
    return _TIERS[found.evidence if found else _phase(row)]


def _value(row: Row, goal: Goal, by_rate: bool) -> float:
    if goal == "batch":
        return row.throughput.value if row.throughput else 0.0
    if by_rate:
        return row.online.rate.value if row.online else 0.0
    return 1 / row.p50.value if row.p50 else 0.0


def _unsettled(row: Row) -> bool:
    return row.quality is None or row.quality.outcome != "passes"


def _use(goal: Goal, row: Row, base: Row | None, tied: Sequence[str], record: StudyRecord, by_rate: bool) -> Answer:
    found = speedup(row, goal, by_rate)
    where = "for batch jobs" if goal == "batch" else "online"
    parts = [f"Use `{row.name}` {where}: {words.figures(row, goal, record)}"]
    if found is not None:
        like = "as many as the original" if goal == "online" and by_rate else "as fast as the original"
        parts[0] += f", {words.times(found.ratio)} [{words.ends(found.ratio)}] {like}"
        parts[0] += f" ({words.figures(base, goal, record)})" if base is not None else ""
    else:
        parts[0] += ", where the original met the limit at no rate tried"
    parts[0] += f"; {words.accuracy(row.quality)}."
    if goal == "online" and not by_rate:
        parts.append("No server trials were made, so this rests on the latency of one request at a time.")
    if tied:
        parts.append(f"Tied with {words.listed([f'`{name}`' for name in tied])}: no difference was shown.")
    if row.variant.trap:
        parts.append(f"Listed as a trap ({row.variant.trap}), but it won here.")
    evidence = found.evidence if found is not None else _phase(row)
    parts.append(words.how_sure(evidence, record))
    return Answer(
        target=goal,
        winner=row.name,
        keeps_baseline=False,
        speedup=found,
        sentence=" ".join(parts),
        evidence=evidence,
    )


def _keep(goal: Goal, base: Known | None, eligible: Sequence[Known], record: StudyRecord, by_rate: bool) -> Answer:
    where = "for batch jobs" if goal == "batch" else "online"
    if base is None or base.row.status != "ok":
        reason = base.row.reason if base is not None else "it is not in the study"
        parts = [f"No comparison {where}: the original could not be measured ({reason or 'no run is usable'})."]
        return Answer(
            target=goal,
            winner=record.baseline,
            keeps_baseline=True,
            speedup=None,
            sentence=" ".join(parts),
            evidence="none",
        )
    parts = [f"Keep your model {where}: nothing was shown to be faster ({words.figures(base.row, goal, record)})."]
    compared = [(c, k.row) for k in eligible if (c := speedup(k.row, goal, by_rate)) is not None]
    if compared:
        best, row = max(compared, key=lambda pair: (pair[0].ratio.value, pair[1].name))
        reason = f": {best.reason}" if best.reason else ""
        ratio = f"{words.times(best.ratio)} [{words.ends(best.ratio)}]"
        parts.append(f"The nearest was `{row.name}`, {ratio}, {best.verdict}{reason}.")
    tiers: list[Evidence] = sorted((c.evidence for c, _ in compared), key=_TIERS.__getitem__)
    if compared and record.profile == "quick":
        parts.append("Indicative: `--profile shared` tells smaller differences.")
    return Answer(
        target=goal,
        winner=record.baseline,
        keeps_baseline=True,
        speedup=None,
        sentence=" ".join(parts),
        evidence=tiers[-1] if tiers else "none",
    )


def _phase(row: Row) -> Evidence:
    """What a row without a ratio rests on."""
    if row.evidence == "confirmation":
        return "confirmation"
    return "blocks" if row.evidence == "blocks" else "screening"
