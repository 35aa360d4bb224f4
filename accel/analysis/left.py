"""Why did a variant go no further? One sentence each, with the numbers that this was decided on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from accel.analysis import wording as words
from accel.analysis.conclusion import Answer, Comparison, Pareto, Row, StudyRecord
from accel.analysis.pareto import against

_SAID = {
    "failed": "It failed: {}.",
    "wrong": "Its outputs are wrong: {}.",
    "refused": "The guard for accuracy refused it: {}.",
    "skipped": "It was not tried: {}.",
}
_WHERE = {"batch": "in batch", "online": "online", "latency": "one request at a time"}


def reasons(
    rows: Sequence[Row], record: StudyRecord, answers: Sequence[Answer], front: Pareto | None
) -> dict[str, str]:
    """By name, for everyone but the original and the winners."""
    won = {answer.winner for answer in answers}
    by_name = {row.name: row for row in rows}
    return {
        row.name: _reason(row, by_name, record, answers, front)
        for row in rows
        if not row.is_baseline and row.name not in won
    }


def _reason(
    row: Row, by_name: Mapping[str, Row], record: StudyRecord, answers: Sequence[Answer], front: Pareto | None
) -> str:
    if row.status != "ok":
        reason = row.reason.rstrip(".") or "no reason is on record"
        if reason.startswith("not bought: "):
            return f"The budget did not buy it: {reason.removeprefix('not bought: ')}."
        # A refusal before anything ran is about the machine or the model, not about accuracy.
        known = row.quality is not None or row.status != "refused"
        return _SAID[row.status].format(reason) if known else f"It was not tried: {reason}."
    left = (record.left or {}).get(row.name)
    if left is not None:
        return f"{left[0].upper()}{left[1:]}.".replace("..", ".")
    if front is not None and row.name in front.dominated:
        by = front.dominated[row.name]
        return f"Dominated by `{by}`, which is at least as good in everything: {against(by_name[by], row)}."
    return _behind(row, record, answers)


def _behind(row: Row, record: StudyRecord, answers: Sequence[Answer]) -> str:
    """It took part to the end: what it reached beside the winners."""
    found: dict[str, Comparison | None] = {
        "batch": row.speedup_batch,
        "online": row.speedup_online,
        "latency": row.speedup_latency,
    }
    said = [
        f"{words.times(c.ratio)} [{words.ends(c.ratio)}] as fast as the original {_WHERE[target]}, {c.verdict}"
        for target, c in found.items()
        if c is not None
    ]
    if row.less_memory is not None:
        share = words.inverted(row.less_memory)
        said.insert(0, f"{words.times(share)} [{words.ends(share)}] the original's memory")
    won = list(dict.fromkeys(f"`{a.winner}`" for a in answers))
    answered = f"the answer{' is' if len(won) == 1 else 's are'} {' and '.join(won)}" if won else "there is no answer"
    if not said:
        bought = next((line for line in record.not_bought if f"`{row.name}`" in line), None)
        return f"The budget did not buy it: {bought}." if bought else "It was not compared before the study ended."
    return f"It reached {'; '.join(said)}; {answered}."
