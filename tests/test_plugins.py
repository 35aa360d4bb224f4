from __future__ import annotations

import ast
import importlib
import importlib.metadata
import inspect
from pathlib import Path
from typing import Any

import msgspec
import pytest

from accel import plugins
from accel.errors import InputError
from accel.plugins import Named

ALL = [(kind, name) for kind in plugins.FOLDERS for name in plugins.names(kind)]


@pytest.mark.parametrize("kind", plugins.FOLDERS)
def test_the_folder_is_the_registry(kind: str) -> None:
    folder = Path(importlib.import_module(plugins.FOLDERS[kind]).__file__ or "").parent
    assert set(plugins.names(kind)) == {p.stem for p in folder.glob("*.py") if not p.name.startswith("_")}
    assert plugins.names(kind), f"no {plugins.WORDS[kind]} at all"


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_every_plugin_says_what_it_is(kind: str, name: str) -> None:
    doc = inspect.getdoc(plugins.load(kind, name)) or ""
    own = ast.get_docstring(ast.parse(inspect.getsource(plugins.load(kind, name))).body[0])  # type: ignore[arg-type]
    assert own, f"{kind}/{name}.py: the class has no docstring of its own"
    first = doc.partition("\n")[0]
    assert 10 <= len(first) <= 110, first
    assert first.endswith("."), first
    assert inspect.getmodule(plugins.load(kind, name)).__doc__  # type: ignore[union-attr]


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_every_plugin_has_a_default_for_every_field_and_is_frozen(kind: str, name: str) -> None:
    cls = plugins.load(kind, name)
    made = cls()
    assert msgspec.structs.fields(cls) == () or cls.__struct_config__.frozen
    assert kind == "charts" or cls.__struct_config__.forbid_unknown_fields
    assert plugins.plain(made) == Named(name)
    assert plugins.make(kind, Named(name)) == made


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("fixed", Named("fixed")),
        ("fixed:size=9", Named("fixed", {"size": 9})),
        ({"name": "fixed", "size": 9}, Named("fixed", {"size": 9})),
        (Named("fixed", {"size": 9}), Named("fixed", {"size": 9})),
    ],
)
def test_three_ways_to_name_a_plugin(text: Any, named: Named) -> None:
    assert plugins.parse("batching", text) == named


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("fixd", "Did you mean `fixed`?"),
        ("fixed:sise=8", "Did you mean `size`?"),
        ("fixed:size", "must be FIELD=VALUE"),
        ("fixed:size=big", "Expected `int`"),
        ("", "No batching policy is called ``"),
        ({"size": 9}, "must be a name or a table"),
        (7, "must be a name or a table"),
    ],
)
def test_a_wrong_plugin_is_said_with_the_nearest_right_one(given: Any, words: str) -> None:
    with pytest.raises(InputError) as caught:
        plugins.parse("batching", given)
    assert words in str(caught.value)


class _Fields(msgspec.Struct, frozen=True, kw_only=True):
    """Has a field whose default is made afresh."""

    table: dict[str, int] = {}
    size: int = 4


def test_a_default_that_is_made_afresh_counts_as_a_default() -> None:
    assert plugins.plain(_Fields()).fields == {}
    assert plugins.plain(_Fields(table={"a": 1})).fields == {"table": {"a": 1}}


def test_a_file_with_two_structs_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "import msgspec\nclass A(msgspec.Struct): pass\nclass B(msgspec.Struct): pass\n"
    (tmp_path / "two_structs.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match="exactly one public"):
        plugins._only_struct(importlib.import_module("two_structs"), "two_structs")


def test_third_parties_add_plugins_by_an_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "theirs.py").write_text(
        "import msgspec\n\n\nclass Patient(msgspec.Struct, frozen=True):\n    'Waits.'\n\n    size: int = 2\n"
    )
    folder = tmp_path / "theirs-1.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1\n")
    (folder / "entry_points.txt").write_text("[accel.plugins]\nbatching.patient = theirs:Patient\n")
    monkeypatch.syspath_prepend(tmp_path)
    caches = (plugins._third_party, plugins.names, plugins.load)
    for cached in caches:
        cached.cache_clear()
    try:
        assert "patient" in plugins.names("batching")
        assert plugins.parse("batching", "patient:size=3") == Named("patient", {"size": 3})
        assert "patient" not in plugins.names("compression")
    finally:
        for cached in caches:
            cached.cache_clear()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("quantize_static", [("quantize_static", {})]),
        ("fine_tune+quantize_static", [("fine_tune", {}), ("quantize_static", {})]),
        (
            "fine_tune:learning_rate=1e+5+quantize_static",
            [("fine_tune", {"learning_rate": 1e5}), ("quantize_static", {})],
        ),
        ("fine_tune:by=a+b.py:run", [("fine_tune", {"by": "a+b.py:run"})]),
    ],
)
def test_a_plus_joins_techniques_and_not_what_stands_in_a_value(text, expected):
    found = plugins.parse_several("compression", text)
    assert [(named.name, named.fields) for named in found] == expected


def test_a_misspelt_technique_within_a_pipeline_gets_the_nearest():
    with pytest.raises(InputError, match="Did you mean `quantize_static`"):
        plugins.parse_several("compression", ["fine_tune", "fine_tune+quantise_static"])
