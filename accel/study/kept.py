"""What a study keeps so that it can be measured again later, elsewhere: the artefacts of its baseline and its winners.

`winner/kept.json` names them by paths relative to the study's folder, so a copied folder (a cache of continuous
integration) works as well. Such a folder comes from elsewhere: only data is read from it unless its user trusts it.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from accel import plugins
from accel.errors import InputError, nearest
from accel.recipe import Variant
from accel.result import SetUp, write_atomically
from accel.study.artefacts import find_prepared
from accel.study.cache import cache_root
from accel.study.prepare import Prepared

if TYPE_CHECKING:
    from accel.study.study import Study

_INDEX = "kept.json"
_LEAST_LIMIT = 1e-3


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """One artefact with all it takes to run it again.

    roles: what it was in the study ("baseline", "batch", "online": the winner of that target). folder, reference:
    relative to the study; the latter are its own outputs as they were scored. check_limit: how far a timed output may
    be from the reference. batch_size: the best one in batch mode; None if the study didn't look at it.
    """

    variant: Variant
    roles: tuple[str, ...]
    folder: str
    form: str
    set_up: SetUp
    artefact_bytes: int
    notes: tuple[str, ...] = ()
    reference: str | None = None
    check_limit: float = _LEAST_LIMIT
    batch_size: int | None = None

    def prepared(self, study: Path) -> Prepared:
        """What a measure child opens; InputError if it is gone, or lies outside the study."""
        place = (study / self.folder).resolve()
        if not any(place.is_relative_to(home.resolve()) for home in (study, cache_root())):
            raise InputError(f"`{study / 'winner' / _INDEX}` names an artefact outside the study. It isn't opened.")
        if not place.is_dir():
            raise InputError(f"The artefact of `{self.variant.name}` isn't in `{study}` any more. Run the study again.")
        return Prepared(
            variant=self.variant,
            folder=str(place),
            form=self.form,
            set_up=self.set_up,
            artefact_bytes=self.artefact_bytes,
            notes=self.notes,
        )


class Index(msgspec.Struct, frozen=True, kw_only=True):
    """`winner/kept.json`. Format history: 1 (2026-11) first version."""

    kept: tuple[Kept, ...]
    format: int = 1


def keep(study: Study, winners: dict[str, str]) -> None:
    """Keep the baseline beside the winners and write the index. winners: target -> name, those whose copy is there."""
    base = study.record.baseline
    roles: dict[str, list[str]] = {}
    for target, name in winners.items():
        roles.setdefault(name, []).append(target)
    if base not in roles:
        shutil.rmtree(study.folder / "winner" / "baseline", ignore_errors=True)
        if _copy(study, base):
            roles[base] = ["baseline"]
    else:
        roles[base].append("baseline")
        shutil.rmtree(study.folder / "winner" / "baseline", ignore_errors=True)
    entries = tuple(_entry(study, name, tuple(found)) for name, found in roles.items())
    (study.folder / "winner").mkdir(exist_ok=True)
    write_atomically(study.folder / "winner" / _INDEX, msgspec.json.format(msgspec.json.encode(Index(kept=entries))))


def _copy(study: Study, name: str) -> bool:
    prepared = find_prepared(study.folder, name)
    if prepared is None:
        return False
    to = study.folder / "winner" / "baseline"
    part = to.with_name("baseline.part")
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(prepared.folder, part / "artefact")
    part.rename(to)
    return True


def _entry(study: Study, name: str, roles: tuple[str, ...]) -> Kept:
    prepared = find_prepared(study.folder, name)
    assert prepared is not None
    row = study.conclusion.row(name)
    outputs = Path("reference") / f"{name}.npz"
    limits = [r.check.limit for r in study.results if r.variant.name == name and r.check is not None]
    return Kept(
        variant=row.variant,
        roles=roles,
        folder=str(Path("winner") / roles[0] / "artefact"),
        form=prepared.form,
        set_up=prepared.set_up,
        artefact_bytes=prepared.artefact_bytes,
        notes=prepared.notes,
        reference=str(outputs) if (study.folder / outputs).is_file() else None,
        check_limit=max(limits, default=_LEAST_LIMIT),
        batch_size=row.batch_size,
    )


def kept(study: Path) -> tuple[Kept, ...]:
    """What a study kept; empty for a study of an older accel. Raises InputError if the index is damaged."""
    path = study / "winner" / _INDEX
    try:
        return msgspec.json.decode(path.read_bytes(), type=Index).kept
    except FileNotFoundError:
        return ()
    except (msgspec.DecodeError, OSError) as error:
        raise InputError(f"`{path}` can't be read: {error}. Run the study again.") from None


def kept_bytes(study: Path) -> int:
    """How much the kept artefacts of a study weigh, each counted once however many copies there are on disk."""
    return sum(one.artefact_bytes for one in kept(study))


def find(study: Path, name: str) -> Kept:
    """The kept artefact of a variant. Raises InputError that says what is kept instead."""
    there = kept(study)
    for one in there:
        if one.variant.name == name:
            return one
    if not there:
        raise InputError(
            f"`{study}` keeps no artefact (its accel was older, or it didn't finish), so nothing of it can be measured "
            "again. Run that study again with this accel."
        )
    names = [one.variant.name for one in there]
    raise InputError(
        f"`{study}` keeps no artefact of `{name}`, only of its baseline and winners. {nearest(name, names)}"
    )


def may_open(one: Kept) -> bool:
    """True if opening this artefact reads data only: no pickle, no native code (what its backend says of itself)."""
    try:
        return bool(getattr(plugins.load("compilation", one.variant.backend.name), "plain", False))
    except InputError:
        return False
