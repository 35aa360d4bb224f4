"""Where does the time of the winners and of the original go? Each once more under its runtime's own profiler, in a
child of its own, beside the race: a profiler makes runs slower, so nothing here is compared with a timed run.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from accel import plugins
from accel.analysis.conclusion import Conclusion
from accel.analysis.layers import FOLDER
from accel.compilation._profile import Layers
from accel.compilation._profile_any import has_profiler
from accel.measurement.isolation import Child
from accel.result import write_atomically
from accel.study.asking import ask_within
from accel.study.budget import BudgetEnded
from accel.study.live import memory_limit_bytes
from accel.study.speeds import latency_s

if TYPE_CHECKING:
    from accel.study.funnel import Funnel
    from accel.study.prepare import Prepared

_SECONDS, _AROUND_S, _CALLS = 1.0, 2.0, 7
"""How long runs are profiled, at most as long as runs are measured; what else the child takes; how many
runs there are at least, warm-up and all."""
_SHARE = 0.06
"""Of the budget, for each."""


def profile_layers(funnel: Funnel) -> None:
    """Profile the winners and the original, as far as the budget goes; what an earlier attempt made stays."""
    if not funnel.budget.fits(_AROUND_S):
        return
    folder = funnel.folder.root / FOLDER
    for name, items in wanted(funnel.read()).items():
        backend = funnel.variant(name).backend
        known = has_profiler(backend.name, plugins.make("compilation", backend))
        if not known or (folder / f"{name}.json").is_file() or funnel.has_failed(name):
            continue
        seconds = expected_s(funnel, name, items)
        kept_s = funnel.profile.load_share * funnel.budget.total_s
        if seconds > _SHARE * funnel.budget.total_s or not funnel.budget.fits(seconds, kept_s=kept_s):
            funnel.not_bought.append(f"where the time of `{name}` goes, layer by layer")
            continue
        _profile(funnel, name, items, folder)


def wanted(conclusion: Conclusion) -> dict[str, int]:
    """Whom to profile, and how many samples a run holds: the original first, then the winners as they are to be used.

    Online, and where memory counts, it is one at a time; a batch winner runs at its batch size.
    """
    answers = [a for a in (conclusion.online, conclusion.memory, conclusion.batch) if a is not None]
    found: dict[str, str] = {conclusion.record.baseline: answers[0].target if answers else "batch"}
    for answer in answers:
        found.setdefault(answer.winner, answer.target)
    fixed = conclusion.record.signature.batch
    sizes = {name: conclusion.row(name).batch_size for name in found}
    if fixed != "any":
        return dict.fromkeys(found, int(fixed))
    return {name: (sizes[name] or 1) if target == "batch" else 1 for name, target in found.items()}


def expected_s(funnel: Funnel, name: str, items: int) -> float:
    """What profiling takes: opening as it took before, and at least a few runs."""
    screened = funnel.results.get(f"screening-{name}-latency")
    opened = screened.set_up if screened is not None else None
    start_s = (opened.import_s or 0.0) + (opened.open_s or 0.0) if opened is not None else 0.0
    each_s = latency_s(funnel, f"screening-{name}-latency")
    each_s = funnel.item_s.get(name, 0.0) if math.isinf(each_s) else each_s
    return _AROUND_S + start_s + max(1.5 * seconds_of(funnel), _CALLS * items * each_s)


def seconds_of(funnel: Funnel) -> float:
    """How long one variant is run with the profiler on."""
    return min(_SECONDS, funnel.profile.measure_s)


def _profile(funnel: Funnel, name: str, items: int, folder: Path) -> None:
    funnel.progress.stage(f"{name}: where its time goes")
    pool = funnel.services.evaluation
    try:
        with funnel.survives_look(name):
            found = asked(funnel, funnel.prepared(funnel.variant(name)), [pool[i % len(pool)] for i in range(items)])
            if found is not None:
                folder.mkdir(exist_ok=True)
                data = msgspec.json.format(msgspec.json.encode(found), indent=1)
                write_atomically(folder / f"{name}.json", data)
    except BudgetEnded as error:
        funnel.not_bought.append(f"where the time of `{name}` goes: {error.words}")


def asked(funnel: Funnel, prepared: Prepared, ids: list[int]) -> Layers | None:
    """The profile of one artefact from a child of its own; raises ChildFailed, BudgetEnded."""
    variant = prepared.variant
    backend = plugins.make("compilation", variant.backend)
    with Child(
        "accel.measurement.profile_child",
        env=backend.env() | {"ACCEL_ARTEFACT": prepared.folder},
        log=funnel.folder.log / f"{variant.name}-layers.log",
        cwd=funnel.folder.log,
        memory_limit_bytes=memory_limit_bytes(),
    ) as child:
        command = {
            "do": "profile",
            "backend": msgspec.to_builtins(variant.backend),
            "folder": prepared.folder,
            "samples": str(funnel.folder.samples),
            "ids": ids,
            "seconds": seconds_of(funnel),
        }
        timeout_s = 2 * funnel.services.patience_s
        reply = ask_within(child, command, timeout_s=timeout_s, left_s=funnel.budget.cut_s())
    found = msgspec.convert(reply["layers"], Layers | None)
    if found is None:
        return None
    notes = (f"one of its {variant.instances} instances, alone",) if variant.instances > 1 else ()
    return msgspec.structs.replace(found, variant=variant.name, notes=(*found.notes, *notes))
