"""How COMPRESSION.md says its numbers: ratios with intervals and verdicts, outputs, sizes."""

from __future__ import annotations

import math
from collections.abc import Iterable

from accel.analysis import Estimate
from accel.analysis.conclusion import Comparison
from accel.analysis.wording import half_width, rounded
from accel.result import Quality
from accel.units import show_bytes
from benchmarks.compression.rows import Cell, Table

NAMES = {
    "resnet50": "ResNet-50",
    "bert_base": "BERT-base, 128 tokens",
    "minilm": "MiniLM",
    "digits": "the digits CNN",
    "ocr": "the OCR recogniser",
    "depthwise": "the depthwise CNN",
    "vit": "a ViT",
    "tabular": "boosted trees on a table",
}
VERDICTS = {
    "FASTER": "faster",
    "SLOWER": "**slower**",
    "EQUIVALENT": "the same",
    "INCONCLUSIVE": "not settled",
}

HOLDS = {True: "yes", False: "**no**", None: "not settled"}
"""Whether what was wanted holds."""


def name(model: str) -> str:
    """A recipe in words.

    >>> name("resnet50"), name("my_own")
    ('ResNet-50', 'my_own')
    """
    return NAMES.get(model, model)


def title(model: str) -> str:
    """The same as a heading."""
    said = name(model)
    for article in ("the ", "a "):
        said = said.removeprefix(article)
    return said[0].upper() + said[1:]


def ratio(found: Comparison | None) -> str:
    """`2.9× [2.8–3.0] faster`; nothing where nothing was compared."""
    if found is None:
        return "–"
    return f"{times(found.ratio)} {VERDICTS[found.verdict]}"


def times(found: Estimate) -> str:
    """`2.87× [2.81–2.93]`: two decimals at most, one where the interval carries no more.

    >>> times(Estimate(value=2.871, low=2.8, high=2.94, n=6, unit="x", method=""))
    '2.87× [2.80–2.94]'
    """
    half = half_width(found)
    if not half:
        return f"about {found.value:.1f}×"
    digits = 2 if half < 0.2 else 1
    shown = ["?" if e is None or not math.isfinite(e) else f"{e:.{digits}f}" for e in (found.low, found.high)]
    return f"{found.value:.{digits}f}× [{shown[0]}–{shown[1]}]"


def milliseconds(found: Estimate | None) -> str:
    """`4.12 ms`, as exact as its interval."""
    return "–" if found is None else f"{_exact(found, 1e3)} ms"


def per_second(found: Estimate | None) -> str:
    """`240/s`, as exact as its interval."""
    return "–" if found is None else f"{_exact(found, 1.0)}/s"


def _exact(found: Estimate, scale: float) -> str:
    half = half_width(found) or 0.2 * found.value
    return rounded(scale * found.value, scale * half)


def outputs(cell: Cell) -> str:
    """What became of the outputs: the guard's word and what it rests on."""
    quality = cell.quality
    if quality is None:
        return "–"
    if cell.probe:
        return f"speed probe ({_figures(quality)})"
    word = {"passes": "passes", "fails": "**fails**", "unresolved": "unresolved"}.get(quality.outcome, "not judged")
    more = f"; about {quality.needed:,} samples would settle it" if quality.needed else ""
    return f"{word}: {_figures(quality)}{more}"


def _figures(quality: Quality) -> str:
    if quality.value is not None and quality.reference_value is not None:
        inside = f" [{quality.low:.3f}–{quality.high:.3f}]" if None not in (quality.low, quality.high) else ""
        drop = ""
        if quality.drop_low is not None and quality.drop_high is not None:
            drop = f", drop {100 * quality.drop_low:.1f} to {100 * quality.drop_high:.1f} points".replace("-", "−")
        return f"{quality.value:.3f}{inside}, was {quality.reference_value:.3f}{drop}"
    if "agreement" in quality.rule and quality.agreement is not None:
        return f"{100 * quality.agreement:.1f} % the same answer"
    if quality.sqnr_db is None:
        return "equal outputs" if quality.max_abs_error == 0 else quality.reason or "no distance"
    return f"{quality.sqnr_db:.0f} dB from the original's"


def size(cell: Cell, plain_bytes: int | None) -> str:
    """`25.6 MB (27 %)`: the artefact, and its share of the float one's."""
    if cell.artefact_bytes is None:
        return "–"
    share = f" ({100 * cell.artefact_bytes / plain_bytes:.0f} %)" if plain_bytes and cell.compression else ""
    return f"{show_bytes(cell.artefact_bytes)}{share}"


def runs_as(cell: Cell) -> str:
    """The precision that the runtime said it uses."""
    return "–" if cell.effective is None else cell.effective.precision


def sentence(*parts: str) -> str:
    """Parts as one line of text that is safe in a table.

    >>> sentence("It fails", "Use `a|b`.")
    'It fails. Use `a\\\\|b`.'
    """
    said = " ".join(p.strip() if p.strip().endswith((".", "?", "!")) else f"{p.strip()}." for p in parts if p.strip())
    return " ".join(said.split()).replace("|", "\\|").replace("<", "&lt;")


def listed(words: Iterable[str]) -> str:
    """`a, b and c`.

    >>> listed(["a"]), listed(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    all_ = list(words)
    return all_[0] if len(all_) == 1 else f"{', '.join(all_[:-1])} and {all_[-1]}" if all_ else "none"


def weights(table: Table) -> str:
    """What may be said of this model's outputs."""
    if table.random_weights:
        return (
            "Random weights and made-up inputs: the figures are about speed and size, and the outputs are a "
            "correctness check (20 dB), never accuracy."
        )
    return (
        f"Real weights: outputs are judged on {table.evaluation:,} samples that calibration didn't see; a drop of "
        f"{100 * table.accuracy_drop:g} percentage point{'' if table.accuracy_drop == 0.01 else 's'} is allowed."
    )


def grid(head: list[str], body: list[list[str]]) -> str:
    """A Markdown table."""
    return "\n".join(["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *body)])
