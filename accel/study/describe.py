"""A plan in words, for --dry-run: what would be tried, what would not, and how long it takes."""

from __future__ import annotations

from accel.analysis.conclusion import StudyRecord
from accel.study.budget import Budget, turn_s
from accel.study.max_qps import MOST
from accel.study.missing import why_not
from accel.study.options import Options
from accel.study.profiles import PROFILES, Profile
from accel.units import seconds, show_seconds


def describe_plan(record: StudyRecord, options: Options) -> str:
    """Lines of text; the times are shares of the budget and lengths of runs, not promises about the model."""
    facts = record.facts
    lines = [
        f"{record.name}: {facts.kind} model, {record.signature}",
        f"samples: {record.samples_count} ({record.calibration_count} for calibration, "
        f"{record.validation_count} for validation, "
        f"{record.evaluation_count} for evaluation{', synthetic' if record.synthetic else ''})",
        f"machine: {record.machine.cpu}, {record.machine.cores} usable cores",
        "",
        "variants, in this order:",
    ]
    for variant in record.variants:
        parts = " -> ".join(str(p) for p in (*variant.compression, variant.backend))
        parts += f", {variant.instances} instances ({variant.placement})" if variant.instances > 1 else ""
        refusal = why_not(variant, facts, record.machine)
        mark = " (baseline)" if variant.name == record.baseline else ""
        mark += f"  not tried: {refusal.reason}. {refusal.next_step}".rstrip() if refusal is not None else ""
        lines.append(f"  {variant.name}{mark}: {parts}")
    online = record.target in ("online", "both")
    lines += ["", *_spent(options.profile, options.budget_s, online=online), "", "profiles:", *_profiles(online=online)]
    return "\n".join(lines)


def _spent(profile: Profile, budget_s: float, *, online: bool) -> list[str]:
    """How the budget is shared out."""
    screening_s = profile.screening_share * budget_s
    lines = [
        f"budget {show_seconds(budget_s)}, profile {profile.name}: up to {show_seconds(screening_s)} for preparing and "
        f"screening, then batch sizes and instances, up to {profile.most_blocks} interleaved blocks of the baseline "
        f"(twice) and up to {profile.finalists} finalists, then {profile.confirmations} fresh confirmations of the "
        "winner.",
        f"  a block of {2 + profile.finalists} turns: about {show_seconds(_block_s(profile, online=online))}; a slow "
        "model's is longer, and then fewer are made",
    ]
    rescue_s = Budget(budget_s).rescues_until_s(profile, 0.0)
    lines.append(
        f"  quantized variants that lose their accuracy are rescued after screening, in up to {show_seconds(rescue_s)}"
    )
    if profile.search_share and online:
        lines.append(
            f"  the highest rate: up to {MOST} trials a variant of {show_seconds(profile.search_s)} or "
            f"{profile.search_requests:,} requests, in {show_seconds(profile.search_share * budget_s)}"
        )
    if online:
        share_s = profile.load_share * budget_s
        how = f"in {show_seconds(share_s)} or what is left" if share_s else "where time is left"
        lines.append(f"  the load curve from idle to twice saturation: short server trials {how}, simulated elsewhere")
    return [*lines, "  whatever is begun is cut so that the study ends within 10 % or 15 s of the budget"]


def _profiles(*, online: bool) -> list[str]:
    return [
        f"  {p.name}: {_count(p)} blocks, {show_seconds(p.measure_s)} a run"
        f"{', a fresh process for each' if p.fresh else ''}"
        f"{', which waits until the GPU is done and as cool as at the start' if p.name == 'gpu' else ''}; "
        f"{show_seconds(_least_s(p, online=online))} for blocks and confirmation; usual budget "
        f"{show_seconds(seconds(p.budget, '--budget'))}"
        for p in PROFILES.values()
    ]


def _count(profile: Profile) -> str:
    if profile.blocks == profile.most_blocks:
        return str(profile.blocks)
    return f"{profile.blocks} to {profile.most_blocks}"


def _block_s(profile: Profile, *, online: bool) -> float:
    """Where a phase of its own searches for the highest rate, blocks hold no server trials."""
    return (2 + profile.finalists) * turn_s(profile, online=online and not profile.search_share)


def _least_s(profile: Profile, *, online: bool) -> float:
    """The fewest blocks, and the confirmation of one winner in fresh processes."""
    pair_s = 2 * (turn_s(profile, online=online) + (0.0 if profile.fresh else 3.0))
    return profile.blocks * _block_s(profile, online=online) + profile.confirmations * pair_s
