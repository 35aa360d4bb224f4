"""`accel compare`: two studies, or two variants; and the gate that continuous integration asks for.

Stored numbers of different studies are information only; limits are judged on artefacts measured again, interleaved.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from accel.analysis.beside import Beside, beside
from accel.analysis.changes import Changes, changes, machine_warning
from accel.analysis.gate import Judgement, Limit, Outcome, overall, parse_limit, unrepeated
from accel.errors import GateFailed, InputError, NoStudy, nearest
from accel.measurement.machine import detect
from accel.study.artefacts import find_prepared
from accel.study.gating import Corner, Meeting, check_trust, gate
from accel.study.kept import Kept, find
from accel.study.study import Study
from accel.units import seconds

_LATENCY = ("p50", "p90", "p99")


class StudyComparison(msgspec.Struct, frozen=True, kw_only=True):
    """What two studies (or variants) say differently, and what the gate came to.

    old, new: what was compared, as it was named. beside: two variants of one study, from its own blocks.
    outcome: of all limits together; None if none was given. notes: sentences about how the gate went.
    """

    old: str
    new: str
    changes: Changes
    beside: Beside | None = None
    judgements: tuple[Judgement, ...] = ()
    outcome: Outcome | None = None
    strict: bool = False
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """False if a limit failed; with `strict` also if one can't be told."""
        return self.outcome in ("passes", None) or (self.outcome == "can't tell" and not self.strict)

    def check(self) -> None:
        """Raises GateFailed, with the limits that failed, unless the gate passed."""
        if self.passed:
            return
        wanted = "fails" if self.outcome == "fails" else "can't tell"
        said = "; ".join(j.sentence for j in self.judgements if j.outcome == wanted)
        how = "failed" if self.outcome == "fails" else "can't tell, and --strict asks for certainty"
        raise GateFailed(f"The gate {how}: {said}.")

    def to_json(self) -> bytes:
        """Everything as JSON with stable keys."""
        return msgspec.json.format(msgspec.json.encode(self, order="deterministic"), indent=1)

    def __str__(self) -> str:
        from accel.report.compared import text

        return text(self)


class _Named(msgspec.Struct, frozen=True):
    """What was given: a study, and a variant of it if one was named."""

    text: str
    study: Study
    variant: str | None


def compare(
    a: str | os.PathLike[str],
    b: str | os.PathLike[str],
    *,
    fail_if: Sequence[str] = (),
    strict: bool = False,
    rerun: bool = True,
    budget: str | float = "2m",
    trust_file: bool = False,
    out: str | os.PathLike[str] | None = None,
    progress: Callable[[str], None] | None = None,
) -> StudyComparison:
    """Compare the study `a` (old) with `b` (new); each a study's folder, or FOLDER/VARIANT for one variant of it.

    fail_if: limits such as "p99=+5%" and "throughput=-3%"; each study's winner is then measured again here, interleaved
    with the other's, within `budget`. A limit fails only if the whole interval lies beyond it. strict: a limit that
    can't be told counts as failed. rerun=False: stored numbers only. trust_file: open artefacts that may hold pickles
    or native code. out: a new folder for the gate's runs and comparison.json. Nothing is raised for a failed gate: see
    `passed` and `check()`. Raises InputError for wrong input.

    >>> accel.compare("old/", "new/", fail_if=["p99=+5%"]).check()          # doctest: +SKIP
    """
    limits = unrepeated(parse_limit(str(text)) for text in fail_if)
    budget_s = seconds(budget, "--budget")
    place = _new_folder(out)
    old, new = _named(a), _named(b)
    if old.study.folder.resolve() == new.study.folder.resolve() and old.variant == new.variant:
        what = "the same variant" if old.variant else "the same study"
        raise InputError(f"`{old.text}` and `{new.text}` are {what}. Name two studies, or FOLDER/VARIANT twice.")
    if (old.variant is None) != (new.variant is None):
        raise InputError("Compare two studies, or two variants (FOLDER/VARIANT twice), not one with the other.")
    found = _compared(old, new, limits, rerun=rerun, trust_file=trust_file, budget_s=budget_s, out=place, say=progress)
    found = msgspec.structs.replace(found, strict=strict)
    if place is not None:
        place.mkdir(parents=True, exist_ok=True)
        (place / "comparison.json").write_bytes(found.to_json())
    return found


def _compared(
    old: _Named,
    new: _Named,
    limits: tuple[Limit, ...],
    *,
    rerun: bool,
    trust_file: bool,
    budget_s: float,
    out: Path | None,
    say: Callable[[str], None] | None,
) -> StudyComparison:
    pair = (old.variant, new.variant) if old.variant is not None and new.variant is not None else None
    stored = changes(old.study.conclusion, new.study.conclusion, pair=pair)
    together = None
    if pair is not None and old.study.folder.resolve() == new.study.folder.resolve():
        together = beside(old.study.record, old.study.results, old.study.folder / "runs", *pair)
    if not limits:
        return StudyComparison(old=old.text, new=new.text, changes=stored, beside=together)
    meetings = _meetings(old, new, limits)
    if rerun:
        check_trust(meetings, trust_file=trust_file)
    gated = gate(meetings, rerun=rerun, budget_s=budget_s, out=out, say=say or _silent, seed=new.study.record.seed)
    judgements = tuple(j for g in gated for j in g.judgements)
    elsewhere = machine_warning(old.study.record.machine, detect(), "The old study and this gate ran") if rerun else ""
    notes = [n for g in gated for n in g.notes] + [elsewhere] * bool(elsewhere)
    return StudyComparison(
        old=old.text,
        new=new.text,
        changes=stored,
        beside=together,
        judgements=judgements,
        outcome=overall(judgements),
        notes=tuple(dict.fromkeys(notes)),
    )


def _silent(_: str) -> None:
    return


# --- what was given --------------------------------------------------------------------------------------------


def _named(given: str | os.PathLike[str]) -> _Named:
    """A study's folder, or FOLDER/VARIANT; a variant's name may hold slashes."""
    text = os.fspath(given)
    path = Path(text)
    if (path / "study.json").is_file():
        return _Named(text, Study(path), None)
    folder = next((parent for parent in path.parents if (parent / "study.json").is_file()), None)
    if folder is None:
        if not path.exists():
            raise InputError(f"`{text}` doesn't exist. Name a study's folder, or FOLDER/VARIANT.")
        raise NoStudy(path)
    study, name = Study(folder), str(path.relative_to(folder))
    names = [row.name for row in study.conclusion.rows]
    if name not in names:
        raise InputError(f"The study `{folder}` has no variant `{name}`. {nearest(name, names)}")
    return _Named(text, study, name)


def _new_folder(out: str | os.PathLike[str] | None) -> Path | None:
    if out is None:
        return None
    place = Path(out)
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise InputError(f"`{place}` exists and isn't an empty folder. Choose a new one for --out.")
    return place.absolute()


# --- who meets whom --------------------------------------------------------------------------------------------


def _meetings(old: _Named, new: _Named, limits: tuple[Limit, ...]) -> list[Meeting]:
    """Variants that were named meet; else the winners of each target, once if they are the same for both targets."""
    if old.variant is not None and new.variant is not None:
        _check_sizes(old, new, limits)
        return [_meeting("both", old, new, (old.variant, new.variant), limits)]
    winners = _winners(old, new)
    by_pair: dict[tuple[str, str], list[Limit]] = {}
    for limit in limits:
        for target in _targets(limit, tuple(winners), old, new):
            mine = by_pair.setdefault(winners[target], [])
            if limit not in mine:
                mine.append(limit)
    found = []
    for pair, mine in by_pair.items():
        targets = [t for t in winners if winners[t] == pair]
        found.append(_meeting(targets[0] if len(targets) == 1 else "both", old, new, pair, tuple(mine)))
    return found


def _winners(old: _Named, new: _Named) -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    for target in ("online", "batch"):
        a, b = (getattr(n.study.conclusion, target) for n in (old, new))
        if a is not None and b is not None:
            found[target] = (a.winner, b.winner)
    if not found and all(n.study.conclusion.memory is not None for n in (old, new)):
        raise InputError(
            f"`{old.text}` and `{new.text}` were both after memory, whose winners don't meet by themselves. Name a "
            f"variant of each: `{old.text}/{_memory_winner(old)}` and `{new.text}/{_memory_winner(new)}`."
        )
    if not found:
        raise InputError(f"`{old.text}` and `{new.text}` have no target in common, so no winners can meet.")
    return found


def _memory_winner(named: _Named) -> str:
    answer = named.study.conclusion.memory
    return answer.winner if answer is not None else named.study.conclusion.record.baseline


def _targets(limit: Limit, there: tuple[str, ...], old: _Named, new: _Named) -> tuple[str, ...]:
    """For which targets a limit is judged: latency online, throughput in batch mode, the rest wherever there is one."""
    if limit.metric == "throughput" and "batch" not in there:
        side = next(n.text for n in (old, new) if n.study.conclusion.batch is None)
        raise InputError(f"--fail-if `{limit.text}`: `{side}` has no answer for batch. Run it with --target both.")
    if limit.metric == "throughput":
        return ("batch",)
    if limit.metric in (*_LATENCY, "rate"):
        return ("online",) if "online" in there else there[:1]
    return there


def _check_sizes(old: _Named, new: _Named, limits: tuple[Limit, ...]) -> None:
    for side in (old, new):
        assert side.variant is not None
        if (
            any(li.metric == "throughput" for li in limits)
            and side.study.conclusion.row(side.variant).batch_size is None
        ):
            raise InputError(f"`{side.text}` wasn't measured in batch mode, so its throughput can't be limited.")


def _meeting(
    target: Literal["batch", "online", "both"] | str,
    old: _Named,
    new: _Named,
    names: tuple[str, str],
    limits: tuple[Limit, ...],
) -> Meeting:
    corners = [Corner(study=n.study, kept=_kept(n, name)) for n, name in zip((old, new), names, strict=True)]
    return Meeting(target=target, old=corners[0], new=corners[1], limits=limits)


def _kept(side: _Named, name: str) -> Kept:
    """The kept artefact; for a named variant also one that this machine's cache still holds."""
    try:
        return find(side.study.folder, name)
    except InputError:
        prepared = find_prepared(side.study.folder, name) if side.variant is not None else None
        if prepared is None:
            raise
        row = side.study.conclusion.row(name)
        return Kept(
            variant=row.variant,
            roles=(),
            folder=prepared.folder,
            form=prepared.form,
            set_up=prepared.set_up,
            artefact_bytes=prepared.artefact_bytes,
            notes=prepared.notes,
            batch_size=row.batch_size,
        )
