"""What HARDWARE.md says of accel's winners beside other runtimes: ratios, whether they hold, and why one is under 1."""

from __future__ import annotations

from collections.abc import Sequence

from accel.analysis import Estimate
from accel.analysis.conclusion import Comparison
from benchmarks.compression import words
from benchmarks.compression.reading import FRESH_EFFECT, compared, line, reaches
from benchmarks.compression.rows import Cell
from benchmarks.knobs.rows import Contest, Rivals
from benchmarks.peers.runtimes import ACCEL, APP, APP_SHIPPED

WANTED = 0.95
"""The lower bound of each ratio."""
_BETTER_THAN = 2
"""Rivals that are wanted to be beaten by the lower bound."""
_UNTOLD = ("command", "version", "heavy layers", "performance_hint", "mkldnn")
_HEADINGS = {"batch": "in batches", "latency": "one request at a time"}
_ABOUT = (
    "accel's winner of an ordinary study (for batches; for lone requests) beside what else there is, on the same "
    "samples, each run in a fresh process, by turns. Both sides put a batch together from its items and copy the "
    "outputs inside the timed span; benchmark_app's own loop does neither, so it stands there twice: with the copies, "
    "which is what counts, and as shipped. *accel against it*: how many times as fast accel's winner is, with the "
    f"95 % interval; at least {WANTED} was wanted of each lower bound, and more than 1 against two. benchmark_app runs "
    "the INT8 file that accel's `quantize_static` makes for OpenVINO, with its own defaults for the hint."
)


def rivals(found: Sequence[Rivals]) -> list[str]:
    """A table a model and target."""
    parts: list[str] = []
    for one in found:
        for contest in one.contests:
            parts += _contest(one, contest)
    return ["## Against other runtimes", _ABOUT, *parts] if parts else []


def _contest(one: Rivals, contest: Contest) -> list[str]:
    ours, *others = contest.cells
    if not ours.runs:
        return []
    weights = ", random weights" if one.random_weights else ""
    how = f"in batches of {contest.size}" if contest.target == "batch" else _HEADINGS["latency"]
    against = {c.variant: _ratio(contest, c, ours) for c in others}
    body = [_row(contest, ours, None), *(_row(contest, c, against[c.variant]) for c in others)]
    head = ["", "what runs", "figure", "accel against it", f"lower bound ≥ {WANTED}"]
    heading = f"### {words.title(one.model)}{weights}, {how}"
    return [heading, words.grid(head, body), *_said(contest, against)]


def _ratio(contest: Contest, rival: Cell, ours: Cell) -> Comparison | None:
    return compared(rival, [ours], min_effect=FRESH_EFFECT)[ours.variant].get(contest.target)


def _row(contest: Contest, cell: Cell, found: Comparison | None) -> list[str]:
    figures = line(cell, {})
    figure = words.per_second(figures.rate) if contest.target == "batch" else words.milliseconds(figures.latency)
    if cell.outcome != "ready":
        return [cell.technique, words.sentence(f"{cell.outcome}: {cell.reason}", cell.next_step), "", "", ""]
    name = f"**accel**: `{cell.variant}`" if cell.technique == ACCEL else cell.technique
    settings = "; ".join(f"{k.replace('_', ' ')} {v}" for k, v in _shown(contest, cell).items())
    ratio = "" if found is None else words.ratio(found)
    return [name, words.sentence(settings).rstrip(".") if settings else "–", figure, ratio, _holds(found)]


def _shown(contest: Contest, cell: Cell) -> dict[str, str]:
    told = contest.details.get(cell.technique, {})
    return {k: v for k, v in told.items() if k not in _UNTOLD}


def _holds(found: Comparison | None) -> str:
    return "" if found is None else words.HOLDS[reaches(found, WANTED)]


def _said(contest: Contest, against: dict[str, Comparison | None]) -> list[str]:
    """Whether what was wanted holds, and of each ratio under 1 what is different on its side."""
    counted = {name: c for name, c in against.items() if c is not None and name != APP_SHIPPED}
    if not counted:
        return []
    held = [reaches(c, WANTED) for c in counted.values()]
    above = [name for name, c in counted.items() if (c.ratio.low or 0.0) > 1 and c.ratio.validity == "valid"]
    all_hold = False if False in held else None if None in held else True
    verdict = {True: "holds", False: "**doesn't hold**", None: "isn't settled"}[all_hold]
    enough = "holds" if len(above) >= min(_BETTER_THAN, len(counted)) else "**doesn't hold**"
    said = [
        f"Each lower bound at least {WANTED}: {verdict}. Above 1 against {len(above)} "
        f"({words.listed(above)}); two were wanted: {enough}."
    ]
    slower = [(name, c) for name, c in against.items() if c is not None and c.ratio.value < 1]
    said += [f"- {name} ({words.times(c.ratio)}): {why(contest, name, c.ratio)}" for name, c in slower]
    return ["\n".join(said) if len(said) == 1 else f"{said[0]}\n\n" + "\n".join(said[1:])]


def why(contest: Contest, name: str, ratio: Estimate) -> str:
    """Why a ratio is under 1, as far as the recorded settings and the other rows tell."""
    reasons = []
    if ratio.high is not None and ratio.high >= 1:
        reasons.append("the interval includes 1, so a difference isn't shown")
    if name == APP_SHIPPED:
        copies = _cost_of_copies(contest)
        reasons.append(f"its loop leaves the copies out{copies}")
    reasons += _another_file(contest, name)
    ours, theirs = contest.details.get(ACCEL, {}), contest.details.get(name, {})
    for what, own, other in (
        ("streams", ours.get("streams"), theirs.get("num_streams")),
        ("threads", ours.get("threads"), theirs.get("inference_num_threads") or theirs.get("threads")),
        ("precision of what isn't quantized", ours.get("precision hint"), theirs.get("inference_precision_hint")),
    ):
        if own and other and other != "default" and _plain(own) != _plain(other):
            reasons.append(f"{what}: {other} there, {own} here")
    batch = next((c.runs[0].size for c in contest.cells if c.technique == name and c.runs), contest.size)
    if contest.target == "batch" and batch != contest.size:
        reasons.append(f"batches of {batch} there, of {contest.size} here")
    return f"{'; '.join(reasons)}." if reasons else "the settings that both report are the same; not explained by them."


def _another_file(contest: Contest, name: str) -> list[str]:
    """What it runs, if that isn't what accel's winner runs: the winner then is slower than another file could be."""
    ours, theirs = contest.cells[0], next(c for c in contest.cells if c.technique == name)
    if (ours.backend, ours.compression) == (theirs.backend, theirs.compression):
        return []
    return [f"it runs {_what(theirs)}, accel's winner {_what(ours)}"]


def _what(cell: Cell) -> str:
    chain = "+".join(one.name for one in cell.compression)
    return f"{cell.backend} with {chain}" if chain else f"{cell.backend} uncompressed"


def _plain(value: str) -> str:
    return {"float32": "f32", "bfloat16": "bf16"}.get(value, value)


def _cost_of_copies(contest: Contest) -> str:
    """`; with them it is 0.93× as fast`: benchmark_app with the copies against itself as shipped."""
    by = {c.technique: c for c in contest.cells if c.runs}
    if APP not in by or APP_SHIPPED not in by:
        return ""
    found = compared(by[APP_SHIPPED], [by[APP]], min_effect=FRESH_EFFECT)[by[APP].variant].get(contest.target)
    return "" if found is None else f"; with them it is {words.times(found.ratio)} as fast"
