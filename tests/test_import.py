"""`import accel`, `accel --help` and the plug-ins stay light: each is imported in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# What `import accel` may load beside the standard library, and nothing else. Adding a line costs every user time.
MAY_BE_LOADED_BY_IMPORT = {"accel"}
MAY_BE_LOADED_BY_HELP = {"accel", "click"}
MAY_BE_LOADED_BY_PROGRESS = {"accel", "click", "rich", "pygments", "markdown_it", "mdurl"}
RUNTIMES = {"torch", "onnxruntime", "openvino", "nncf", "onnx", "transformers", "pandas", "scipy"}


def loaded_by(code: str) -> set[str]:
    """The top-level packages that are not in the standard library and were not there before `code` ran."""
    script = (
        "import json, sys\n"
        "before = set(sys.modules)\n"
        f"{code}\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "sys.stdout.write('\\n' + json.dumps(sorted(new - sys.stdlib_module_names)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    return {name for name in json.loads(done.stdout.splitlines()[-1]) if not name.startswith(("_", "editable"))}


def test_import_accel_loads_nothing_heavy() -> None:
    assert loaded_by("import accel") <= MAY_BE_LOADED_BY_IMPORT


def test_dir_and_a_misspelt_name_load_nothing_heavy() -> None:
    code = "import accel\ndir(accel)\nhasattr(accel, 'nothing_of_this_name')"
    assert loaded_by(code) <= MAY_BE_LOADED_BY_IMPORT


def test_help_loads_the_command_line_only() -> None:
    code = "from accel.cli.main import run\nassert run(['--help']) == 0"
    assert loaded_by(code) <= MAY_BE_LOADED_BY_HELP


@pytest.mark.parametrize("command", ["bench", "list", "doctor", "report"])
def test_help_of_a_command_loads_no_numpy(command: str) -> None:
    code = f"from accel.cli.main import run\nassert run(['{command}', '--help']) == 0"
    assert not loaded_by(code) & (RUNTIMES | {"numpy"})


def test_every_plugin_loads_without_a_runtime() -> None:
    code = (
        "from accel import plugins\n"
        "assert all(plugins.load(kind, name) for kind in plugins.FOLDERS for name in plugins.names(kind))"
    )
    assert not loaded_by(code) & RUNTIMES


def test_a_result_is_read_without_a_runtime() -> None:
    assert not loaded_by("import accel.result, accel.recipe, accel.analysis.conclusion") & RUNTIMES


def test_the_test_can_fail() -> None:
    assert "numpy" in loaded_by("import numpy")
