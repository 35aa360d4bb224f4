"""May the new one pass? Limits such as `p99=+5%` against the interval of a change that was measured in paired blocks.

A gate fails only if the whole 95 % interval lies beyond its limit and passes only if all of it lies within; anything
else is "can't tell". Pure: from runs and numbers to outcomes, so that a report can show it and a test can hold it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from accel.analysis import Estimate
from accel.errors import InputError, nearest

Outcome = Literal["passes", "fails", "can't tell"]
Worse = Literal["higher", "lower"]
MIN_BLOCKS = 6
"""R_min of the profile `quick` (rule 46): a width-based stop from fewer blocks is too often wrong."""

_WORSE: dict[str, Worse] = {
    "p50": "higher",
    "p90": "higher",
    "p99": "higher",
    "throughput": "lower",
    "rate": "lower",
    "accuracy": "lower",
    "memory": "higher",
    "size": "higher",
}
_ALIASES = {"latency": "p50"}
_EXAMPLE = {"throughput": "throughput=-3%", "rate": "rate=-5%", "accuracy": "accuracy=-1pp", "size": "size=+10%"}
_FINEST = 0.01
"""No interval is asked to be narrower than half of this (ln): layout effects of a process alone are about as large."""
_WORTH_TRYING = 200
_ROUNDING = 1e-9


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """How much worse a metric may get.

    change: relative and signed, +0.05 or -0.03; for accuracy the difference as a fraction, -0.01 for one percentage
    point. text: as it was given.
    """

    metric: str
    change: float
    text: str

    @property
    def worse(self) -> Worse:
        """The direction in which this metric gets worse."""
        return _WORSE[self.metric]

    @property
    def bound(self) -> float:
        """The limit on the scale of the interval: ln(new / old), or new - old for accuracy."""
        return self.change if self.metric == "accuracy" else math.log1p(self.change)

    @property
    def quantile(self) -> float | None:
        """0.99 for p99; None for a metric that isn't a percentile of latency."""
        return int(self.metric[1:]) / 100 if re.fullmatch(r"p\d+", self.metric) else None

    @property
    def resolution(self) -> float:
        """The delta (ln) of the rule that stops on width alone, at half of it: a third of the limit (rule 21).

        At half of the limit 187 of 200 virtual gates passed what hadn't changed, the others couldn't tell; see V19.
        """
        return max(2 / 3 * abs(self.bound), _FINEST)


def parse_limit(text: str) -> Limit:
    """Read `p99=+5%`, `throughput=-3%`, `accuracy=-1pp`; `p99>5%` too, where the shell let it through.

    Raises InputError with what to write instead.

    >>> parse_limit("p99=+5%").change, parse_limit("throughput=-3%").change, parse_limit("accuracy=-1pp").change
    (0.05, -0.03, -0.01)
    """
    match = re.fullmatch(r"\s*([A-Za-z_]\w*)\s*(?:(<=|>=|=|<|>)\s*(.*?))?\s*", text)
    if match is None:
        raise InputError(f"--fail-if `{text}` can't be read. Write it like `p99=+5%`, in quotes.")
    word, _, amount = match.groups()
    metric = _ALIASES.get(word.lower(), word.lower())
    if metric not in _WORSE:
        raise InputError(f"--fail-if knows no metric `{word}`. {nearest(word, [*_WORSE, *_ALIASES])}")
    if not amount:
        raise InputError(
            f"--fail-if `{text}` names no limit. Write `{_example(metric)}`; in quotes if it holds < or >, "
            "which the shell takes for itself."
        )
    return Limit(metric=metric, change=_change(text, metric, amount), text=text.strip())


def _change(text: str, metric: str, amount: str) -> float:
    match = re.fullmatch(r"([+-]?)\s*(\d+(?:\.\d+)?|\.\d+)\s*(%|pp)?", amount)
    unit = "pp" if metric == "accuracy" else "%"
    if match is None or match[3] != unit:
        what = "percentage points (`pp`)" if unit == "pp" else "percent (`%`)"
        raise InputError(f"--fail-if `{text}`: the limit of {metric} is given in {what}, as in `{_example(metric)}`.")
    value = float(match[2]) / 100
    sign = -1.0 if _WORSE[metric] == "lower" else 1.0
    if match[1] and (match[1] == "-") != (sign < 0):
        rise = "falls" if sign < 0 else "grows"
        raise InputError(f"--fail-if `{text}`: {metric} gets worse when it {rise}, so write `{_example(metric)}`.")
    if sign < 0 and value >= 1:
        raise InputError(f"--fail-if `{text}`: {metric} can't fall by 100 % or more. Write `{_example(metric)}`.")
    return sign * value


def _example(metric: str) -> str:
    return _EXAMPLE.get(metric, f"{metric}=+5%")


def unrepeated(limits: Iterable[Limit]) -> tuple[Limit, ...]:
    """The limits in their order; InputError if a metric is limited twice."""
    found: dict[str, Limit] = {}
    for limit in limits:
        if limit.metric in found:
            first = found[limit.metric].text
            raise InputError(f"--fail-if limits {limit.metric} twice: `{first}` and `{limit.text}`. Keep one of them.")
        found[limit.metric] = limit
    return tuple(found.values())


def decide(limit: Limit, low: float, high: float) -> Outcome:
    """The outcome of an interval on the limit's own scale (see `Limit.bound`); infinite ends are allowed."""
    # A change of exactly the limit is allowed, however its logarithm was rounded.
    if limit.worse == "higher":
        bound = limit.bound + _ROUNDING
        return "fails" if low > bound else "passes" if high <= bound else "can't tell"
    bound = limit.bound - _ROUNDING
    return "fails" if high < bound else "passes" if low >= bound else "can't tell"


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """A change as it was measured: `ratio` is new / old; None, with the reason, where nothing could be.

    old, new: the numbers themselves, for the eye. shift: what measuring the old one twice showed beyond chance (ln),
    by which the interval is widened (W12). blocks: how many the ratio rests on. note: what was done otherwise.
    """

    ratio: Estimate | None
    old: float | None = None
    new: float | None = None
    unit: str = ""
    shift: float = 0.0
    blocks: int = 0
    reason: str = ""
    note: str = ""

    @property
    def ends(self) -> tuple[float, float]:
        """Both ends on the ln scale, widened by the shift."""
        if self.ratio is None:
            return -math.inf, math.inf
        low = -math.inf if not self.ratio.low else math.log(self.ratio.low)
        high = math.inf if self.ratio.high is None else math.log(self.ratio.high)
        return low - self.shift, high + self.shift

    @property
    def half_width(self) -> float:
        """Half the interval (ln) without the shift, which more blocks don't cure."""
        low, high = self.ends
        return (high - low) / 2 - self.shift


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """What one limit came to for one pair of variants.

    old, new: the variants' names. measured: the change. sentence: outcome and interval in words. settle: what would
    settle a "can't tell". evidence: "re-run" (interleaved here, now), "exact" (needs no interval) or "stored".
    """

    limit: Limit
    target: str
    old: str
    new: str
    outcome: Outcome
    measured: Measured
    evidence: Literal["re-run", "exact", "stored"]
    sentence: str
    settle: str = ""


def judge(limit: Limit, measured: Measured, *, target: str, old: str, new: str, block_s: float = 0.0) -> Judgement:
    """Hold a measured ratio against its limit. block_s: what a block takes, to say how long settling would take."""
    outcome: Outcome = "can't tell"
    settle = ""
    if measured.ratio is None:
        sentence = f"{limit.metric}: {measured.reason}"
    elif measured.reason:
        sentence = f"{limit.metric} {changed(measured)}: {measured.reason}"
        settle = "Run it again when the machine is quieter."
    else:
        outcome = decide(limit, *measured.ends)
        sentence = f"{limit.metric} {changed(measured)}: {_words(outcome, limit)}"
        settle = settling(limit, measured, block_s) if outcome == "can't tell" else ""
    if measured.blocks < MIN_BLOCKS:
        settle = f"{MIN_BLOCKS} blocks take about --budget {_budget(1.2 * MIN_BLOCKS * block_s)}." if block_s else ""
    return Judgement(
        limit=limit,
        target=target,
        old=old,
        new=new,
        outcome=outcome,
        measured=measured,
        evidence="re-run",
        sentence=sentence,
        settle=settle,
    )


def _words(outcome: Outcome, limit: Limit) -> str:
    allowed = show_limit(limit)
    if outcome == "fails":
        return f"all of the interval lies beyond the limit of {allowed}"
    if outcome == "passes":
        return f"all of the interval lies within the limit of {allowed}"
    return f"the interval reaches across the limit of {allowed}"


def show_limit(limit: Limit) -> str:
    """The limit as text, with its sign: `+5 %`, `-1 pp`."""
    return f"{100 * limit.change:+g} {'pp' if limit.metric == 'accuracy' else '%'}"


def changed(measured: Measured) -> str:
    """The change with its interval: `+1.2 % [-0.3, +2.7]`.

    >>> changed(Measured(ratio=Estimate(value=1.012, low=0.997, high=1.027, n=6, unit="x", method="")))
    '+1.2 % [-0.3, +2.7]'
    """
    if measured.ratio is None:
        return "–"
    low, high = (math.expm1(end) * 100 for end in measured.ends)
    middle = (measured.ratio.value - 1) * 100
    digits = 1 if min(high - middle, middle - low) < 10 else 0
    return f"{middle:+.{digits}f} % [{low:+.{digits}f}, {high:+.{digits}f}]"


def settling(limit: Limit, measured: Measured, block_s: float) -> str:
    """What would settle it: how many blocks and how long, from the width so far; or that none would."""
    assert measured.ratio is not None
    distance = abs(math.log(measured.ratio.value) - limit.bound) - measured.shift
    if distance > 0:
        blocks = math.ceil(1.2 * measured.blocks * (measured.half_width / distance) ** 2)
        if blocks <= _WORTH_TRYING:
            time = f", as with --budget {_budget(blocks * block_s)}" if block_s else ""
            return f"About {max(blocks, measured.blocks + 1)} blocks would settle it{time}."
    return "The change is so near the limit that this machine can't settle it: allow more, or use a quieter machine."


def _budget(seconds: float) -> str:
    return f"{math.ceil(seconds / 60)}m" if seconds > 90 else f"{math.ceil(seconds / 10) * 10}s"


def overall(judgements: Sequence[Judgement]) -> Outcome:
    """One failed limit fails the gate; else one that can't be told leaves it open."""
    outcomes = {j.outcome for j in judgements}
    if "fails" in outcomes:
        return "fails"
    return "can't tell" if "can't tell" in outcomes or not outcomes else "passes"


def exact(limit: Limit, old: float | None, new: float | None, *, target: str, names: tuple[str, str]) -> Judgement:
    """A limit on something that is known without scatter, such as the size of an artefact in bytes."""
    if not old or new is None:
        measured = Measured(ratio=None, old=old, new=new, unit="B", reason="it isn't known for both")
        outcome: Outcome = "can't tell"
        sentence = f"{limit.metric}: {measured.reason}"
    else:
        ratio = Estimate(value=new / old, low=new / old, high=new / old, n=1, unit="x", method="exact")
        measured = Measured(ratio=ratio, old=old, new=new, unit="B", blocks=1)
        at = math.log(new / old) if new else -math.inf
        outcome = decide(limit, at, at)
        sentence = f"{limit.metric} {100 * (new / old - 1):+.1f} %: the limit is {show_limit(limit)}"
    return Judgement(
        limit=limit,
        target=target,
        old=names[0],
        new=names[1],
        outcome=outcome,
        measured=measured,
        evidence="exact",
        sentence=sentence,
    )


def unsettled(
    limit: Limit, reason: str, *, target: str, names: tuple[str, str], settle: str = "", stored: bool = False
) -> Judgement:
    """A limit that can't be told from what there is; `stored` marks that only stored numbers exist."""
    return Judgement(
        limit=limit,
        target=target,
        old=names[0],
        new=names[1],
        outcome="can't tell",
        measured=Measured(ratio=None, reason=reason),
        evidence="stored" if stored else "re-run",
        sentence=f"{limit.metric}: {reason}",
        settle=settle,
    )
