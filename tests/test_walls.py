"""The walls between the parts of accel, read from the source: who may import whom, and where heavy libraries may stand.

An edge is any import that can happen at run time, inside a function too; what stands under `if TYPE_CHECKING:` is none.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "accel"

BASE = {"errors", "units"}
VALUES = BASE | {"plugins", "recipe", "result", "slo", "measurement.trace", "measurement.machine", "measurement.peaks"}

# Who may import whom: part -> parts. `measurement` is told by file; a part may always import itself.
ALLOWED: dict[str, set[str]] = {
    "accel": {
        "study",
        "standalone",
        "planning",
        "endpoint",
        "analysis",
        "report",
        "recipe",
        "result",
        "samples",
        "errors",
        "plugins",
    },
    "errors": set(),
    "units": {"errors"},
    "plugins": {"errors"},
    "paths": {"plugins"},
    "slo": BASE,
    "recipe": BASE | {"plugins", "paths", "slo"},
    # `model` for the struct that holds what a call costs; it counts nothing.
    "result": BASE | {"plugins", "recipe", "compilation", "model"},
    "model": BASE | {"compilation", "samples", "measurement.cgroup"},
    "samples": BASE | {"model"},
    "demo": BASE | {"recipe"},
    # `result` for the structs in which a technique says what it did; they hold no code.
    "compression": BASE
    | {"compilation", "model", "samples", "plugins", "result"}
    | {"measurement.cgroup", "measurement.facts", "measurement.protocol"},
    # It tries forms of a model in one child; whoever reads what it left imports its structs alone.
    "rescue": VALUES | {"compression", "compilation", "model", "samples", "measurement.outputs", "measurement.cgroup"},
    "compilation": BASE | {"model", "measurement.cgroup", "measurement.denormals", "measurement.facts"},
    "batching": BASE,
    "scenarios": BASE,
    "measurement": set(),
    "measurement.clock": set(),
    "measurement.trace": set(),
    "measurement.peaks": set(),
    "measurement.machine": BASE | {"measurement.cgroup", "measurement.facts"},
    # `compilation` is the contract of an engine here, not a backend: its folder's __init__ holds no model.
    "measurement.loop": BASE | {"batching", "scenarios", "compilation", "measurement.clock", "measurement.trace"},
    "analysis": VALUES | {"compilation", "model", "scenarios", "batching", "rescue"},
    # It asks the policies that a server asks, so the study, which measures, uses it and not the other way round.
    "simulation": VALUES | {"analysis", "batching", "scenarios"},
    "report": VALUES | {"analysis", "compilation", "model", "rescue"},
}
# These put the parts together, so they may import any part but the command line.
WHOLE = {"study", "checkup", "cli", "planning", "endpoint", "standalone"}
MEASURING_MAY_NOT = {"analysis", "report", "study", "compression"}

PLUGIN_FOLDERS = ("compression", "compilation", "batching", "scenarios")

# Where a library may be imported, and whether only inside functions. numpy and msgspec may stand anywhere.
RUNTIMES = {"torch", "torchao", "torch_pruning", "torchvision", "onnxruntime", "openvino", "nncf", "onnxscript"}
RUNTIMES |= {"torch_tensorrt", "tensorrt", "transformers", "timm"}
HEAVY = RUNTIMES | {"onnx", "google", "sklearn", "scipy", "pandas", "altair", "vl_convert", "jinja2", "cloudpickle"}
RUNTIME_HOMES = {"model", "compression", "compilation", "rescue"}
# The demo's network is a model as a user would write one; nothing but a child ever imports it.
USER_CODE = {"demo.network", "demo.train"}


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        yield name.removeprefix("accel").removeprefix(".") or "accel", ast.parse(path.read_text("utf-8"))


def imported(tree: ast.AST, inside: bool = False) -> Iterator[tuple[str, bool]]:
    """(dotted name, whether it stands inside a function) of every import that can run."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            for other in node.orelse:
                yield from imported(other, inside)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, inside) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where a name comes from"
            yield from ((f"{node.module}.{alias.name}", inside) for alias in node.names)
        else:
            is_function = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            yield from imported(node, inside or is_function)


def part_of(module: str) -> str:
    """`accel.measurement.loop` and `measurement.loop.Loop` -> `measurement.loop`; `analysis.pareto` -> `analysis`."""
    names = module.removeprefix("accel.").split(".")
    return ".".join(names[:2]) if names[0] == "measurement" else names[0]


def edges() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for name, tree in modules():
        part = part_of(name)
        targets = {part_of(n) for n, _ in imported(tree) if n.startswith("accel.")}
        found.setdefault(part, set()).update(targets - {part, "__version__"})
    return found


def outside() -> Iterator[tuple[str, str, bool]]:
    """(module, top-level name of the library, whether the import stands inside a function)."""
    for name, tree in modules():
        yield from ((name, n.partition(".")[0], inside) for n, inside in imported(tree) if not n.startswith("accel"))


@pytest.mark.parametrize(("part", "targets"), sorted(edges().items()))
def test_a_part_imports_only_what_its_wall_lets_through(part: str, targets: set[str]) -> None:
    if part in WHOLE:
        assert "cli" not in targets
    elif part.startswith("measurement.") and part not in ALLOWED:
        assert not targets & (MEASURING_MAY_NOT | {"cli"})
    else:
        assert part in ALLOWED, f"`{part}` is new: give it a line in the table of this file"
        inner = {t for t in targets if part.startswith("measurement.") and t.startswith("measurement.")}
        assert targets - inner <= ALLOWED[part], f"`{part}` must not import {sorted(targets - ALLOWED[part])}"


def test_nothing_imports_the_command_line() -> None:
    assert [part for part, targets in edges().items() if "cli" in targets] == []


@pytest.mark.parametrize("folder", [*PLUGIN_FOLDERS, "report"])
def test_plugins_import_neither_the_loop_nor_the_study(folder: str) -> None:
    wanted = {"measurement.loop", "measurement.worker", "study"} | ({"analysis"} if folder != "report" else set())
    assert not edges()[folder] & wanted


@pytest.mark.parametrize("part", ["analysis", "report", "result", "recipe"])
def test_reading_a_result_needs_no_runtime_and_no_plugin(part: str) -> None:
    """Followed through everything these parts import while they are imported themselves, not inside functions."""
    seen: set[str] = set()
    waiting = {name for name, _ in modules() if part_of(name) == part}
    by_name = dict(modules())
    while waiting:
        name = waiting.pop()
        seen.add(name)
        for found, inside in imported(by_name[name]):
            if not inside or part_of(name) == part:
                assert found.partition(".")[0] not in RUNTIMES | {"onnx"}, f"accel.{name} imports {found}"
            if found.startswith("accel.") and not inside:
                inner = found.removeprefix("accel.")
                target = inner if inner in by_name else inner.rpartition(".")[0]
                waiting |= ({target} & by_name.keys()) - seen


def test_runtimes_are_imported_in_their_homes_and_inside_functions_only() -> None:
    at_fault = [
        f"accel.{module} imports {library}" + ("" if inside else " when it is imported itself")
        for module, library, inside in outside()
        if library in HEAVY
        and module not in USER_CODE
        and not (inside and (library not in RUNTIMES or part_of(module) in RUNTIME_HOMES))
    ]
    assert at_fault == []


def test_the_parts_that_know_no_model_name_none() -> None:
    for part in ("scenarios", "batching", "measurement.loop"):
        assert not edges()[part] & {"model", "compression", "samples", "study"}
        if part != "measurement.loop":
            assert "compilation" not in edges()[part]


def test_the_walls_can_fail() -> None:
    planted = ast.parse("def f():\n    import accel.cli.main\nif TYPE_CHECKING:\n    import torch\nimport numpy")
    assert list(imported(planted)) == [("accel.cli.main", True), ("numpy", False)]


def test_no_file_of_the_core_names_a_plugin_backend() -> None:
    """The study, the loop and the command line work with what the folders hold; those left out are no models."""
    names = {p.stem for p in (PACKAGE / "compilation").glob("[a-z]*.py")} - {"null", "stub", "callable", "endpoint"}
    at_fault = []
    for module, tree in modules():
        if part_of(module) in {"study", "cli", "plugins", "recipe", "result"} or module == "measurement.loop":
            texts = {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
            at_fault += [f"accel.{module} names `{name}`" for name in sorted(names & texts)]
    assert at_fault == []
