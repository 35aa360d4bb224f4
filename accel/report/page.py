"""One HTML file a person opens: made from stored results alone, the same to the byte wherever it is made."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from accel.analysis.conclusion import Conclusion, StudyRecord
from accel.errors import InputError, NoStudy
from accel.report import draw, everything, rescues, words
from accel.report.charts import Traces
from accel.report.environment import environment
from accel.report.first_screen import first_screen
from accel.report.layers import section
from accel.report.numerics import parts
from accel.report.quiet import quiet
from accel.report.roles import versus
from accel.report.roofline import section as roofline
from accel.result import Result, write_atomically

_TEMPLATES = Path(__file__).parent / "templates"


def write(study_folder: Path, out: Path) -> None:
    """Read a study's folder and write its page; raises InputError for what can't be read or written."""
    from accel.report.traces import read

    conclusion, results = conclusion_of(study_folder)
    put(out, render(conclusion, read(study_folder / "runs", results, conclusion), results))


def conclusion_of(study_folder: Path) -> tuple[Conclusion, list[Result]]:
    """What a stored study says, and the results it says it from; raises InputError for what can't be read."""
    from accel.analysis.reading import conclude

    record = _record(study_folder / "study.json")
    runs = study_folder / "runs"
    results = [Result.load(p) for p in sorted(runs.glob("*.json"))]
    return conclude(record, results, runs), results


def put(out: Path, page: str) -> None:
    """Write a page, whole or not at all; raises InputError for a place that can't be written."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(out, page.encode())
    except OSError as error:
        raise InputError(f"The report can't be written to `{out}`: {error.strerror}. Choose another file.") from None


def _record(path: Path) -> StudyRecord:
    try:
        return msgspec.json.decode(path.read_bytes(), type=StudyRecord)
    except FileNotFoundError:
        raise NoStudy(path.parent) from None
    except (msgspec.DecodeError, OSError) as error:
        raise InputError(f"The study `{path}` can't be read: {error}.") from None


def render(conclusion: Conclusion, traces: Traces | None = None, results: Sequence[Result] = ()) -> str:
    """The page as text.

    traces: per variant the requests of its single_stream runs; without them, one chart less. results: every run, for
    what is said about the machine; without them that section is missing.
    """
    figures = draw.figures(conclusion, traces or {})
    bundle, script = draw.scripts(), text_of("page.js")
    specs = {f"{f.name}-{width}": spec for f in figures for width, spec in f.specs.items()}
    values = {
        "record": conclusion.record,
        "first": first_screen(conclusion),
        "wide": [f for f in figures if f.place == "wide"][:1],
        "beside": [f for f in figures if f.place == "beside"],
        "below": [f for f in figures if f.place == "below"],
        "conclusion": conclusion,
        "table": everything.table(conclusion),
        "versus": versus(conclusion),
        "numerics": parts(conclusion),
        "roofline": roofline(conclusion),
        "layers": section(conclusion),
        "groups": everything.groups(conclusion),
        "troubles": everything.troubles(conclusion),
        "front": words.front(conclusion.pareto) if conclusion.pareto is not None else "",
        "environment": environment(conclusion.record),
        "quiet": quiet(results),
        "guard": everything.guard(conclusion.record),
        "rescues": rescues.told(conclusion),
        "glossary": (*everything.GLOSSARY, *(rescues.GLOSSARY if conclusion.rescues else ())),
        "words": words,
        "style": text_of("page.css"),
        "dark": draw.dark_rules(),
        "bundle": bundle if figures else "",
        "script": script,
        "specs": _in_script(specs),
        "hashes": " ".join(hash_of(s) for s in ((bundle, script) if figures else (script,))),
    }
    return str(templates().get_template("page.html.j2").render(values))


@cache
def templates() -> Any:
    """Where pages come from: everything is escaped, and a name that is missing is an error."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters["ticked"] = _ticked
    return environment


def _ticked(text: str) -> Any:
    """Escaped text in which what stands between backticks is set as code."""
    from markupsafe import Markup, escape

    parts = text.split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    return Markup("").join(Markup("<code>{}</code>").format(p) if i % 2 else p for i, p in enumerate(parts))


@cache
def text_of(name: str) -> str:
    """A file that is set into pages as it is."""
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def _in_script(value: Any) -> str:
    """JSON that can't end the script element it stands in, nor open a comment."""
    text = msgspec.json.encode(value, order="sorted").decode()
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def hash_of(script: str) -> str:
    """What the content security policy calls an inline script it allows."""
    return "'sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() + "'"
