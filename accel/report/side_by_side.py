"""One page for several studies: what each one answers, its table, and what must be known before they are compared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from accel import __version__
from accel.analysis.conclusion import Conclusion, StudyRecord
from accel.errors import InputError
from accel.report import everything, page, words
from accel.report.environment import FACTS, shown
from accel.report.first_screen import FirstScreen, first_screen

_ABSENT = "unknown"


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that isn't the same in all studies; values: in the order of the studies."""

    what: str
    values: tuple[str, ...]


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One study on the page; id: its anchor, title: a name that no other study on the page has."""

    id: str
    title: str
    record: StudyRecord
    first: FirstScreen
    table: everything.Table


def write_several(folders: Sequence[Path], out: Path) -> None:
    """Read several studies' folders and write one page; raises InputError for what can't be read or written."""
    if not folders:
        raise InputError("There is no study to report. Name at least one folder that `accel bench` wrote.")
    page.put(out, render([page.conclusion_of(folder)[0] for folder in folders]))


def render(conclusions: Sequence[Conclusion]) -> str:
    """The page as text; the studies stand in the order in which they are given."""
    records = [c.record for c in conclusions]
    script = page.text_of("page.js")
    values = {
        "sides": [
            Side(id=f"study-{i}", title=title, record=c.record, first=first_screen(c), table=everything.table(c))
            for i, (title, c) in enumerate(zip(_titles(records), conclusions, strict=True), start=1)
        ],
        "warning": warning(records),
        "environment": differences_of_environment(records),
        "asked": differences_of_question(records),
        "words": words,
        "version": __version__,
        "style": page.text_of("page.css") + page.text_of("side_by_side.css"),
        "script": script,
        "hashes": page.hash_of(script),
    }
    return str(page.templates().get_template("side_by_side.html.j2").render(values))


def warning(records: Sequence[StudyRecord]) -> str:
    """What must be said when the studies come from different environments; empty if all are the same."""
    if len({r.env_id for r in records}) < 2:
        return ""
    found = [d.what for d in differences_of_environment(records)]
    what = f"these differ: {', '.join(found)}" if found else "no recorded fact differs, but their ids do"
    return (
        "These studies were made in different environments, so their times and rates can't be compared with each "
        f"other; each study's speed-ups hold where it was made. Of what was recorded, {what}."
    )


def differences_of_environment(records: Sequence[StudyRecord]) -> tuple[Difference, ...]:
    """What differs between the machines and their software, in a fixed order, packages last by name."""
    machines = [msgspec.structs.asdict(r.machine) for r in records]
    listed: list[tuple[str, list[str]]] = [
        (word, [shown(field, m[field]) for m in machines]) for field, word in FACTS.items()
    ]
    packages = sorted({name for r in records for name in r.machine.packages})
    listed += [(name, [r.machine.packages.get(name, "not installed") for r in records]) for name in packages]
    return _unequal(listed)


def differences_of_question(records: Sequence[StudyRecord]) -> tuple[Difference, ...]:
    """What differs between that which was asked: model, samples, limits, target, profile, accel itself."""
    return _unequal(
        [
            ("model", [f"{r.source.name} ({(r.source.sha256 or _ABSENT)[:12]})" for r in records]),
            ("baseline", [r.baseline for r in records]),
            ("samples", [f"{r.samples_count}{', synthetic' if r.synthetic else ''}" for r in records]),
            ("metric", [r.metric or "none" for r in records]),
            ("accuracy may drop by", [words.points(r.accuracy_drop) for r in records]),
            ("SLO", [words.slo(r) or "none" for r in records]),
            ("target", [r.target for r in records]),
            ("profile", [r.profile for r in records]),
            ("accel", [r.accel_version for r in records]),
        ]
    )


def _unequal(listed: Sequence[tuple[str, Sequence[str]]]) -> tuple[Difference, ...]:
    return tuple(Difference(what=what, values=tuple(values)) for what, values in listed if len(set(values)) > 1)


def _titles(records: Sequence[StudyRecord]) -> list[str]:
    """The studies' names; where two have the same, all are numbered."""
    names = [r.name for r in records]
    if len(set(names)) == len(names):
        return names
    return [f"{i}. {name}" for i, name in enumerate(names, start=1)]
