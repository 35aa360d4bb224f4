"""What is to be said of how quantized variants compute: what stayed in float and why, islands, what calibration saw."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from accel.analysis.conclusion import Finding, Row
from accel.analysis.findings.seen import Seen, sentence
from accel.analysis.wording import listed
from accel.result import Numerics

_WORDS = {
    "conv": "convolutions", "convolution": "convolutions", "groupconvolution": "convolutions",
    "convtranspose": "transposed convolutions", "convolutionbackpropdata": "transposed convolutions",
    "matmul": "matrix products", "gemm": "matrix products", "linear": "matrix products",
}  # fmt: skip
_MOST_NAMED = 3


def _of_variants(seen: Seen) -> Iterator[Finding]:
    """One or two lines a variant; variants that share an artefact share them, under the first one's name."""
    told: list[Numerics] = []
    for row in seen.rows:
        # Only of what was quantized: that a variant asked for 16 bits doesn't run in 8 is no news.
        if row.numerics is None or row.numerics in told or not _is_quantized(row):
            continue
        told.append(row.numerics)
        for rule in (_share, _island, _unfused, _conversions):
            yield from rule(row, row.numerics)


def _is_quantized(row: Row) -> bool:
    return any(c.name.startswith("quantize") for c in row.variant.compression) or bool(
        row.numerics and any(o.low for o in row.numerics.operators)
    )


def _share(row: Row, numerics: Numerics) -> Iterator[Finding]:
    """`37 of 53 convolutions run in 8 bits; the 16 depthwise ones don't`: the kind of which most were left."""
    total, low, left = Counter[str](), Counter[str](), dict[str, Counter[str]]()
    for one in numerics.operators:
        word = _WORDS.get(one.type.lower())
        if word is not None:
            total[word] += one.total
            low[word] += one.low
            left.setdefault(word, Counter()).update(one.left)
    missing = {word: total[word] - low[word] for word in total if total[word] > low[word]}
    if not missing:
        return
    word = max(missing, key=lambda w: missing[w])
    why = left[word]
    depthwise = sum(n for reason, n in why.items() if reason.startswith("depthwise"))
    some = f"{low[word]} of {total[word]} {word} run in 8 bits; {_those(missing[word], depthwise)} don't"
    none = f"none of {total[word]} {word} runs in 8 bits" if total[word] > 1 else f"the {word[:-1]} isn't run in 8 bits"
    yield Finding(
        what=f"`{row.name}`: {some if low[word] else none}.",
        why=_reasons(why),
        weight=30 + 30 * missing[word] / total.total(),
    )


def _those(missing: int, depthwise: int) -> str:
    if depthwise == missing:
        return f"the {missing} depthwise ones" if missing > 1 else "the depthwise one"
    return f"{missing}, {depthwise} of them depthwise," if depthwise else str(missing)


def _reasons(why: Counter[str]) -> str:
    """The most frequent two; with a count where there are several."""
    if len(why) == 1:
        return sentence(next(iter(why)))
    first = "; ".join(f"{n}: {reason}" for reason, n in why.most_common(2))
    return sentence(first + ("; and others" if len(why) > 2 else ""))


def _island(row: Row, numerics: Numerics) -> Iterator[Finding]:
    """A few float operators between 8-bit ones; many of them are the rule of that model, which `_share` tells."""
    if not 0 < len(numerics.islands) <= _MOST_NAMED:
        return
    names = listed([f"`{name}`" for name in numerics.islands])
    many = len(numerics.islands) > 1
    yield Finding(
        what=f"`{row.name}` has {'FP32 islands' if many else 'an FP32 island'}: {names} "
        f"compute{'' if many else 's'} in float between 8-bit operators.",
        why="What goes in is made float and what comes out is quantized again, which costs time on both sides.",
        command=_list(row),
        weight=46,
    )


def _unfused(row: Row, numerics: Numerics) -> Iterator[Finding]:
    if not numerics.unfused:
        return
    around = [f"`{kind}`" for kind in numerics.unfused_around][:_MOST_NAMED]
    place = f" around {listed(around)}" if around else ""
    pairs = "pair was" if numerics.unfused == 1 else "pairs were"
    yield Finding(
        what=f"`{row.name}`: {numerics.unfused} Q/DQ {pairs} not fused{place}.",
        why="There the runtime rounds to 8 bits and back but computes in float: accuracy is lost and no time is won.",
        command=_list(row),
        weight=47,
    )


def _conversions(row: Row, numerics: Numerics) -> Iterator[Finding]:
    """As many steps that only convert as operators that gain: then 8 bits can be slower than float."""
    low = sum(o.low for o in numerics.operators if o.type.lower() in _WORDS)
    if not low or (numerics.conversions or 0) < low:
        return
    around = [f"`{kind}` ({n})" for kind, n in numerics.between.items()][:_MOST_NAMED]
    floats = f"Between them {listed(around)} compute in float; each" if around else "Each"
    yield Finding(
        what=f"`{row.name}`: {numerics.conversions} steps only change dtype or layout, for {low} products in 8 bits.",
        why=f"{floats} way there and back costs time, which can eat up what 8 bits save.",
        command=_list(row),
        weight=43,
    )


def _list(row: Row) -> str:
    """What shows the fields that say which operators stay in float."""
    named = row.variant.compression[-1] if row.variant.compression else row.variant.backend
    return f"accel list {named.name}"


def _of_calibration(seen: Seen) -> Iterator[Finding]:
    """What the calibration samples didn't show; said once for all variants that saw the same."""
    rows = [r for r in seen.rows if r.numerics is not None and r.numerics.calibration is not None]
    found = [r.numerics.calibration for r in rows if r.numerics is not None and r.numerics.calibration is not None]
    few = min((c.items for c in found if c.few), default=None)
    if few is not None:
        asked = any("count" in named.fields for row in rows for named in row.variant.compression)
        yield Finding(
            what=f"Only {few} sample{'s' if few != 1 else ''} calibrated a quantized variant: too few.",
            why="One unusual item then decides a range; the quantizers ask for 100 to 300."
            + (" Raise its `count`." if asked else ""),
            command="" if asked else f"{seen.record.command} --samples MORE",
            weight=58,
        )
    for name in dict.fromkeys(n for c in found for n in c.constant):
        yield Finding(
            what=f"The input `{name}` is constant in all calibration samples.",
            why="Ranges learned with it hold for that value alone; samples in which it varies would show the others.",
            weight=54,
        )
    for row, calibration in zip(rows, found, strict=True):
        if calibration.unused:
            names = [f"`{n}`" for n in calibration.unused[:_MOST_NAMED]]
            more = f" and {len(calibration.unused) - _MOST_NAMED} more" if len(calibration.unused) > _MOST_NAMED else ""
            yield Finding(
                what=f"`{row.name}`: the range of {', '.join(names)}{more} is unused.",
                why="Calibration saw a single value there, so any other value is clipped to it.",
                weight=45,
            )


RULES: tuple[Callable[[Seen], Iterator[Finding]], ...] = (_of_variants, _of_calibration)
