"""What BATCHING.md says about the policies: within the limit, and at twice the load."""

from __future__ import annotations

from collections.abc import Sequence

from accel.analysis.policy import said
from accel.units import show_seconds
from benchmarks.batching import rows
from benchmarks.batching.shown import ends, percent, times, title

MISSES, GOOD = "**no**", 0.95


def policies(found: Sequence[rows.Policies]) -> list[str]:
    if not found:
        return []
    about = (
        "Requests a second that each policy carries within the limit: the lower 90 % bound of where its trials meet "
        "it, and in brackets the 95 % interval of that crossing. All policies of a model are tried by turns, in random "
        "order, in one process, over the same schedule of arrivals. `dynamic` is tuned by accel; the others have the "
        "best of a grid of sizes and timers, found on the simulator as well. Times: crossing over that of `single`."
    )
    parts = ["## Policies on real models", about]
    for one in found:
        parts += [f"### {title(one)}", _asked(one), "\n".join(_policy_table(one)), _verdict(one)]
    return parts


def _asked(one: rows.Policies) -> str:
    quantile = f"p{100 * one.p:g}"
    less = ""
    if one.p < one.wanted_p:
        less = f" (the recipe says p{100 * one.wanted_p:g}, which trials this long don't carry)"
    curve = ", ".join(f"{size}: {show_seconds(seconds)}" for size, seconds in one.curve)
    weights = " The weights are random: this is about speed alone." if one.random_weights else ""
    return (
        f"{quantile} within {show_seconds(one.slo_s)}{less}; trials of {one.seconds:g} s. A batch takes {curve}; at "
        f"most {one.saturation:.4g} items/s.{weights}"
    )


def _policy_table(one: rows.Policies) -> list[str]:
    lines = [
        "| policy | requests/s | expected by simulation | times | trials | said beside it |",
        "|---|---|---|---|---|---|",
    ]
    for policy in one.policies:
        gain = "" if policy.against_single is None else times(policy.against_single)
        claim = f"{policy.claim:.4g} {ends(policy.crossing)}" if policy.claim > 0 else "none"
        flags = ", ".join([*policy.flags, *([policy.level] if policy.level != "valid" else [])])
        lines.append(
            f"| {policy.name}: {said(policy.batching)} | {claim} | {policy.simulated:.4g} | {gain} | "
            f"{len(policy.points)} | {flags} |"
        )
    return lines


def _verdict(one: rows.Policies) -> str:
    """What the figures say about batching here."""
    dynamic = next((p for p in one.policies if p.name == "dynamic"), None)
    expected = f" The tuner said so beforehand: {one.verdict[0].lower()}{one.verdict[1:]}" if one.verdict else ""
    if dynamic is None or dynamic.against_single is None:
        return "**No verdict**: there is no rate at which both `single` and `dynamic` meet the limit."
    gain = dynamic.against_single
    if gain.low is not None and gain.low > 1:
        return f"**Batching pays here**: `dynamic` carries {times(gain)} as many requests as one at a time."
    if gain.high is not None and gain.high < 1.1:
        return f"**Batching doesn't pay here**: `dynamic` carries {times(gain)} of what one at a time does.{expected}"
    return f"**Not settled**: `dynamic` carries {times(gain)} as many requests as one at a time.{expected}"


def overload(found: Sequence[rows.Policies]) -> list[str]:
    lines = []
    for one in found:
        dynamic = next((p for p in one.policies if p.name == "dynamic"), None)
        if dynamic is None or dynamic.crossing.value <= 0:
            continue
        for row in one.overload:
            share = sum(row.goodputs) / len(row.goodputs) / dynamic.crossing.value
            spread = f"{min(row.goodputs):.4g} to {max(row.goodputs):.4g}"
            doubt = next((f", {word}" for word in ("invalid", "unstable") if word in row.levels), "")
            holds = ("yes" if share >= GOOD else MISSES) if row.drop != "none" else ""
            lines.append(
                f"| {one.model} | {row.drop} | {row.rate:.4g} | {spread}{doubt} | {percent(share)} | "
                f"{percent(row.simulated / dynamic.crossing.value)} | {holds} |"
            )
    if not lines:
        return []
    about = (
        "At twice saturation, by the tuned `dynamic` with early drop and by the same without dropping: answers a "
        "second within the limit, of several runs, and their mean as a share of `dynamic`'s crossing. Wanted: "
        f"{percent(GOOD)} with early drop."
    )
    head = [
        "| model | drop | offered/s | within the limit/s | of capacity | by simulation | holds |",
        "|---|---|---|---|---|---|---|",
    ]
    return ["## Twice the load it can take", about, "\n".join([*head, *lines])]
