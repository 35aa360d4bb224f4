"""Every example in the documents runs, every path and link in them exists."""

from __future__ import annotations

import importlib
import re
import shlex
import tomllib
from pathlib import Path

import click
import pytest

from accel import plugins
from accel.recipe import read
from tests.cli.conftest import matmul, samples
from tests.synthetic import synthetic_study

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("reports/*.md"), *ROOT.glob("recipes/*.md"), *ROOT.glob("docs/*.md")]
)
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]


def blocks(language: str) -> list[pytest.ParameterSet]:  # type: ignore[name-defined]
    """Every fenced block of a language, named by its file and line."""
    found = []
    for path in DOCUMENTS:
        text = path.read_text("utf-8")
        for match in re.finditer(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            line = text[: match.start()].count("\n") + 1
            found.append(pytest.param(match[1], id=f"{path.name}:{line}"))
    return found


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the documents' examples find the files they name."""
    monkeypatch.chdir(tmp_path)
    matmul(tmp_path / "model.onnx")
    samples(tmp_path / "samples.npz")
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    return tmp_path


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("code", blocks("python"))
def test_python_examples_run(code: str, folder: Path) -> None:
    """As written, but for the budget, which is cut."""
    names: dict[str, object] = {"__name__": "__main__"}
    exec(compile(code.replace('budget="5m"', 'budget="20s"'), "example", "exec"), names)
    assert set(names) > {"__name__", "__builtins__"}, "an example leaves what it made"


@pytest.mark.parametrize("text", blocks("toml"))
def test_recipes_in_documents_can_be_read(text: str, folder: Path) -> None:
    (folder / "recipe.toml").write_text(text)
    assert read(folder / "recipe.toml").model == str(folder / "model.onnx")


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.toml")), ids=lambda p: p.stem)
def test_every_recipe_can_be_read_and_says_what_it_is(path: Path) -> None:
    recipe = read(path)
    assert recipe.name == path.stem
    assert path.read_text("utf-8").startswith("# ")
    for text in (recipe.model, recipe.samples, recipe.metric):
        if text is not None and text.startswith("/"):
            file, _, name = text.partition(".py:")
            assert Path(f"{file}.py" if name else text).is_file(), text


def commands() -> list[str]:
    listed = [line for block in blocks("console") for line in str(block.values[0]).splitlines()]
    return [line.removeprefix("$ ").partition(" #")[0].strip() for line in listed if line.startswith("$ ")]


_LONG = ("accel compare", "accel doctor --measure", "accel doctor --prove", "accel bench --endpoint")
"""Commands that take minutes or need two studies or a server: their words are checked here, that they run elsewhere."""


@pytest.mark.parametrize("line", sorted({c for c in commands() if c.startswith("accel ")}))
def test_accel_commands_in_documents_work(line: str, folder: Path) -> None:
    """As written, but a study is only planned: that it runs is shown elsewhere."""
    from accel.cli.main import run

    words = shlex.split(line)[1:]
    if line.startswith(_LONG):
        assert _parsed(words) is not None
        return
    if words[0] == "plan":
        synthetic_study(folder / words[1], blocks=3, confirmations=2, measured_s=0.3)
    planned = ["--dry-run"] if words[0] == "bench" and "--dry-run" not in words else []
    assert run([*words, *planned]) == 0


def _parsed(words: list[str]) -> object:
    """The command's context: click has understood every word."""
    command: click.Command = importlib.import_module(f"accel.cli.{words[0]}").command
    return command.make_context(f"accel {words[0]}", list(words[1:]))


@pytest.mark.parametrize("line", sorted({c for c in commands() if not c.startswith("accel ")}))
def test_other_commands_in_documents_name_what_exists(line: str) -> None:
    words = shlex.split(line)
    if words[0] == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    elif words[:2] == ["pip", "install"]:
        extras = re.fullmatch(r"(?:accel-bench|\.)\[(.*)\]", words[2])
        assert extras is not None
        assert set(extras[1].split(",")) <= set(EXTRAS)
    else:
        assert (ROOT / words[0]).is_file(), f"nothing tests `{line}`"


def test_there_are_examples_to_test() -> None:
    assert len(blocks("python")) >= 2
    assert len(commands()) >= 6


def _table(name: str) -> list[str]:
    """The paths in the second column of the table `I want to add`."""
    text = (ROOT / name).read_text("utf-8").partition("| I want to add")[2].partition("\n\n")[0]
    return [path for line in text.splitlines()[2:] for path in re.findall(r"`([^`]+)`", line.split("|")[2])]


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_the_map_of_what_to_add_where_is_true(name: str) -> None:
    paths = _table(name)
    assert len(paths) >= 6
    for path in paths:
        assert (ROOT / path.replace("/NAME.py", "").replace("/NAME.toml", "")).exists(), path
    folders = {folder.replace(".", "/") for folder in plugins.FOLDERS.values()}
    assert folders <= {path.replace("/NAME.py", "").rstrip("/") for path in paths}


def test_the_map_names_tests_that_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8").partition("| I want to add")[2].partition("\n\n")[0]
    for line in text.splitlines()[2:]:
        for path in re.findall(r"`([^`]+)`", line.split("|")[3]):
            assert (ROOT / path).exists(), path


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_links_to_files_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", path.read_text("utf-8")):
        assert (path.parent / target).exists(), target


def test_the_readme_shows_a_real_result() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    shown = text.partition("<!-- result:begin -->")[2].partition("<!-- result:end -->")[0]
    assert "FASTER" in shown
