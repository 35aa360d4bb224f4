"""How `accel doctor --measure` reads on a screen: every number with its interval, or named as one reading."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap

from accel.analysis import Estimate
from accel.checkup.clocks import Clocks
from accel.checkup.contest import Against
from accel.checkup.measure import Canary, Lag, Measured
from accel.checkup.projection import Smallest
from accel.checkup.smaller import advice, worst
from accel.units import show_seconds

_WIDTH = 79
_PROFILES = ("quick", "shared", "quiet")


def lines(found: Measured) -> list[str]:
    """The whole answer, at most 80 columns wide."""
    machine = found.machine
    return [
        *_wrapped(f"{machine.cpu}, {machine.cores} processors; {show_seconds(found.seconds)}, {found.runs} runs"),
        "",
        *_clocks(found.clocks),
        "",
        *_peaks(found),
        "The loop's lag behind its schedule (nothing to run, a real measure child)",
        *(line for lag in found.lags for line in _lag(lag)),
        "",
        *_canary(found.canary),
        "",
        "Raced against itself: any difference here is the machine's",
        *(line for against in found.contests for line in _against(against)),
        "",
        *_smallest(found),
        *(["", "Could not be looked at", *_bullets(found.missing)] if found.missing else []),
        "",
        *_steps(advice(found)),
    ]


def _wrapped(text: str, first: str = "", rest: str = "") -> list[str]:
    """Lines of at most 79 characters; no per cent sign is parted from its number."""
    whole = wrap(text.replace(" %", "\0%"), _WIDTH, initial_indent=first, subsequent_indent=rest)
    return [line.replace("\0", " ") for line in whole]


def _bullets(texts: Sequence[str]) -> list[str]:
    return [line for text in texts for line in _wrapped(text, "  ", "    ")]


def _clocks(clocks: Clocks) -> list[str]:
    """Clock and waits."""
    drift = "no raw clock to compare with"
    if clocks.ppm is not None:
        off = round(clocks.ppm, 1) + 0.0
        drift = f"{off:+.1f} ppm against the raw clock in {show_seconds(clocks.over_s)} (one reading)"
    waits = [f"  {w.what}: p50 {_time(w.p50)}, p99 {_time(w.p99)}" for w in clocks.waits]
    return [
        f"Clock: {clocks.name}",
        f"  resolution {show_seconds(clocks.resolution_s)}, a reading costs {_time(clocks.reading_s)}",
        f"  {drift}",
        "A wait of 1 ms ends late by",
        *waits,
    ]


def _peaks(found: Measured) -> list[str]:
    """What the machine can do at most, with the interval of each."""
    if found.peaks is None:
        return []
    from accel.report.roofline import peak_lines

    counts = tuple(sorted({p.threads for p in found.peaks.entries}))
    lines = ["What it can do at most, by number of threads (kept for later studies)"]
    for one in peak_lines(found.peaks, counts):
        cells = [f"{v} [{e}] on {n}" for n, (v, e) in zip(counts, one.cells, strict=True) if e]
        lines += _wrapped(f"{one.name}: {', '.join(cells)}", "  ", "      ")
    lines += [line for kind, why in found.peaks.missing.items() for line in _wrapped(f"{kind}: {why}", "  ", "      ")]
    return [*lines, ""]


def _time(estimate: Estimate | None) -> str:
    """A duration with its interval; a dash where the sample doesn't carry it."""
    if estimate is None or estimate.low is None or estimate.high is None:
        return "- (too few readings)"
    return f"{_short(estimate.value)} [{_short(estimate.low)}, {_short(estimate.high)}]"


def _short(value: float) -> str:
    return f"{1e6 * value:.0f} µs" if 1e-5 <= abs(value) < 1e-3 else show_seconds(max(value, 0.0)) if value else "0"


def _lag(lag: Lag) -> list[str]:
    share = _percent(lag.late)
    return [
        f"  {lag.rate:g}/s, {lag.requests:,} requests: p50 {_time(lag.p50)}",
        f"      p99 {_time(lag.p99)}; {share} late by 1 ms (one run)",
    ]


def _canary(canary: Canary | None) -> list[str]:
    if canary is None:
        return ["Canary (a fixed piece of work beside every run): no run had one"]
    return [
        f"Canary (a fixed piece of work beside every run), {canary.n} readings",
        f"  {_time(canary.median)}, scatters by {_percent(canary.spread)}, the farthest {_percent(canary.largest)} off",
    ]


def _percent(fraction: float) -> str:
    return f"{_hundredths(fraction)} %"


def _hundredths(fraction: float) -> str:
    value = 100 * fraction
    return f"{value:.0f}" if abs(value) >= 10 else f"{value:.2g}"


def _against(against: Against) -> list[str]:
    how = "fresh processes" if against.fresh else "parked processes"
    disturbed = f", {against.disturbed} disturbed" if against.disturbed else ""
    verdict = f"FALSE ALARM ({against.copy.verdict})" if against.false_alarm else "no false alarm"
    return [
        f"  {against.subject}, {against.target}, {how}, {against.blocks} blocks{disturbed}",
        f"    again {_change(against.repeat)}; copy {_change(against.copy.ratio)}, {verdict}",
    ]


def _change(ratio: Estimate) -> str:
    if ratio.low is None or ratio.high is None:
        return f"{100 * (ratio.value - 1):+.2f} % (one reading)"
    low, high = (f"{100 * (end - 1):+.2f}" for end in (ratio.low, ratio.high))
    return f"{100 * (ratio.value - 1):+.2f} % [{low}, {high}]"


def _smallest(found: Measured) -> list[str]:
    rows: dict[str, dict[str, Smallest]] = {}
    for against in found.contests:
        row = rows.setdefault(f"{against.subject}, {against.target}", {})
        row.update({smallest.profile: smallest for smallest in against.smallest})
    if not rows:
        return ["The races gave too few whole blocks to say what this machine can show: give more --budget."]
    head = f"  {'':<26}" + "".join(f"{name:>17}" for name in _PROFILES)
    body = [
        f"  {name:<26}" + "".join(f"{_difference(row.get(profile)):>17}" for profile in _PROFILES)
        for name, row in rows.items()
    ]
    why = "what is raced runs on the processor" if found.machine.gpus else "there is no GPU here"
    limits = worst(found.contests)
    said = ", ".join(f"{_percent(limits[p][1].difference)} in `{p}`" for p in _PROFILES if p in limits)
    short = [f"`{p}`" for p in _PROFILES if p not in limits]
    lacking = f" The time was too short to tell for {', '.join(short)}: give more --budget." if short else ""
    return [
        "The smallest difference this machine can show, by profile [95 % interval]",
        head,
        *body,
        f"  gpu: not looked at, {why}",
        *_wrapped(
            "A true difference of that size is shown in about half of all studies, one half as large again in six of "
            "seven. No profile claims less than its least: 5 % in quick, 3 % in shared, 1 % in quiet.",
            "  ",
            "  ",
        ),
        "",
        *_wrapped(f"So: {said}, as long as the machine stays as it was in these minutes.{lacking}"),
    ]


def _difference(smallest: Smallest | None) -> str:
    if smallest is None:
        return "-"
    low, high = (_hundredths(end) for end in (smallest.low, smallest.high))
    return f"{_percent(smallest.difference)} [{low}, {high}]"


def _steps(told: Sequence[str]) -> list[str]:
    if not told:
        return _wrapped("Every profile can show its own least difference here: nothing to do.")
    return ["What would show a smaller one", *_bullets(told)]
