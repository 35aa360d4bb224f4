"""A plan in words, for --dry-run: what would be tried, what would not, and how long it takes."""

from __future__ import annotations

from accel.analysis.conclusion import StudyRecord
from accel.study.missing import why_not
from accel.study.options import Options
from accel.units import show_seconds


def describe_plan(record: StudyRecord, options: Options) -> str:
    """Lines of text; the times are the shares of the budget, not promises about the model."""
    facts = record.facts
    lines = [
        f"{record.name}: {facts.kind} model, {record.signature}",
        f"samples: {record.samples_count} ({record.calibration_count} for calibration, "
        f"{record.evaluation_count} for evaluation{', synthetic' if record.synthetic else ''})",
        f"machine: {record.machine.cpu}, {record.machine.cores} usable cores",
        "",
        "variants, in this order:",
    ]
    for variant in record.variants:
        parts = " -> ".join(str(p) for p in (*variant.compression, variant.backend))
        refusal = why_not(variant, facts, record.machine)
        mark = " (baseline)" if variant.name == record.baseline else ""
        mark += f"  not tried: {refusal.reason}. {refusal.next_step}".rstrip() if refusal is not None else ""
        lines.append(f"  {variant.name}{mark}: {parts}")
    profile, budget = options.profile, options.budget_s
    lines += [
        "",
        f"budget {show_seconds(budget)}, profile {profile.name}: up to {show_seconds(0.45 * budget)} for preparing and "
        f"screening, then batch sizes, up to {profile.blocks} interleaved blocks of the baseline (twice) and up to "
        f"{profile.finalists} finalists, then {profile.confirmations} fresh confirmations of the winner.",
    ]
    return "\n".join(lines)
