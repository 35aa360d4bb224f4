"""What is shipped: pins, extras, the changelog, and a wheel that works away from the repository."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

import accel

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
PINS = dict(
    line.split("==") for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines() if not line.startswith("#")
)


def _requirements() -> dict[str, str]:
    """Name and condition of everything pyproject asks for, extras included."""
    listed = [*PROJECT["dependencies"], *(r for extra in PROJECT["optional-dependencies"].values() for r in extra)]
    parts = [re.fullmatch(r"([A-Za-z0-9-]+)(\[[a-z,]+\])?(.*)", one) for one in listed]
    assert all(parts)
    return {p[1].lower(): p[3] for p in parts if p is not None and p[1] != "accel-bench"}


def test_the_changelog_speaks_of_this_version() -> None:
    found = re.search(r"^## (\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert found is not None
    assert found[1] == accel.__version__


def test_everything_asked_for_is_pinned_to_one_version() -> None:
    assert set(_requirements()) <= set(PINS)
    assert all(re.fullmatch(r"[0-9][0-9A-Za-z.]*", version) for version in PINS.values())


def test_the_light_path_asks_for_no_torch() -> None:
    asked = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["openvino"]]
    assert not any(re.match(r"(torch|transformers|scikit-learn|pandas)\b", one) for one in asked)


def test_all_is_every_strategy_and_no_tool() -> None:
    assert PROJECT["optional-dependencies"]["all"] == ["accel-bench[torch,openvino,frame,sklearn]"]


def test_the_licence_is_whole() -> None:
    text = (ROOT / "LICENSE").read_text("utf-8")
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert PROJECT["license"] == "Apache-2.0"


def test_every_rule_that_is_configured_is_one_that_runs() -> None:
    run = (ROOT / ".ci" / "run").read_text("utf-8")
    make = (ROOT / "Makefile").read_text("utf-8")
    assert "make lint" in run
    assert "make test" in run
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    for tool in ("ruff format --check", "ruff check", "mypy", "pytest"):
        assert tool in make


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the working tree without any download."""
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)],
        check=True,
        capture_output=True,
        stdin=subprocess.DEVNULL,
    )
    return next(out.glob("*.whl"))


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert wheel.name == f"accel_bench-{accel.__version__}-py3-none-any.whl"
    assert {name.partition("/")[0] for name in names} == {"accel", f"accel_bench-{accel.__version__}.dist-info"}
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not any("__pycache__" in name or name.endswith(".part") for name in names)
    shipped = {str(p.relative_to(ROOT)) for p in (ROOT / "accel").rglob("*") if p.is_file()}
    assert {name for name in shipped if "__pycache__" not in name} <= set(names)
    assert wheel.stat().st_size < 8_000_000


@pytest.fixture(scope="session")
def elsewhere(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that holds the wheel and borrows everything else; gives its folder.

    The wheel goes in first: only afterwards is the tests' own environment put on the path, by a .pth line, which
    doesn't follow the .pth files in there, so that the repository itself stays invisible.
    """
    home = tmp_path_factory.mktemp("elsewhere")
    venv.create(home / "venv", with_pip=False, symlinks=True)
    python = str(home / "venv" / "bin" / "python")
    install = [sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", "-q", str(wheel)]
    subprocess.run(install, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    own = Path(
        subprocess.check_output(
            [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True
        ).strip()
    )
    (own / "borrowed.pth").write_text("\n".join({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}))
    return home


def _environment() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}


def test_the_wheel_is_what_is_imported_there(elsewhere: Path) -> None:
    python = elsewhere / "venv" / "bin" / "python"
    found = subprocess.check_output(
        [python, "-c", "import accel; print(accel.__file__)"], cwd=elsewhere, env=_environment(), text=True
    )
    assert Path(found.strip()).is_relative_to(elsewhere)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_demo_runs_from_the_wheel_outside_the_repository(elsewhere: Path) -> None:
    done = subprocess.run(
        [elsewhere / "venv" / "bin" / "accel", "bench", "demo", "--budget", "60s", "--out", "result"],
        cwd=elsewhere,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "result/report.html" in done.stdout
    assert (elsewhere / "result" / "report.html").stat().st_size > 50_000
    assert str(ROOT) not in (elsewhere / "result" / "report.html").read_text("utf-8")
