"""The frame itself: rows are kept as they come, and what crashes or hangs is told, not lost."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from accel.errors import InputError
from tests.validation import catalogue, table
from tests.validation.driving import JSON, MARKDOWN, run_all
from tests.validation.experiment import Row
from tests.validation.record import Record

_HEAD = "from tests.validation.experiment import Row\nimport time\n"
_ROW = "Row(experiment='V{n}', what='{what}', criterion='1 < 2', measured='a|b', passed={passed}, kind='virtual')"


def _write(folder: Path, n: int, *lines: str) -> str:
    name = f"v{n:02d}_made_up"
    (folder / f"{name}.py").write_text(_HEAD + "\n".join(lines) + "\n")
    return name


def _row(n: int, what: str = "works", *, passed: bool = True) -> str:
    return "    yield " + _ROW.format(n=n, what=what, passed=passed)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(__file__).parents[2]}")
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def _run(names: list[str], out: Path) -> Record:
    return run_all(names, Record.here(), out, say=lambda _: None, order=names, package="")


def test_rows_of_all_kinds_are_kept_and_shown(here: Path) -> None:
    good = _write(here, 91, "def full():", _row(91), _row(91, "fails", passed=False))
    bad = _write(here, 92, "def full():", _row(92), "    raise OSError('disk is gone')")
    slow = _write(here, 93, "LIMIT_S = 2", "def full():", _row(93), "    time.sleep(600)")
    made = _run([good, bad, slow], here)
    assert [e.state for e in made.experiments] == ["done", "crashed", "timed out"]
    assert [len(e.rows) for e in made.experiments] == [2, 1, 1]
    assert made.experiments[1].reason == "OSError: disk is gone"
    assert Record.load(here / JSON) == made
    text = (here / MARKDOWN).read_text("utf-8")
    assert text == table.markdown(made)
    assert "**3 of 6 criteria hold.** Not in V91, V92, V93" in text
    assert "crashed after" in text
    assert "a\\|b" in text


def test_a_row_is_on_disk_before_the_next_one_is_there(here: Path) -> None:
    seen = f"    import pathlib; file = pathlib.Path({str(here / JSON)!r})"
    wait = "    while not file.exists() or 'works' not in file.read_text(): time.sleep(0.01)"
    name = _write(here, 94, "LIMIT_S = 60", "def full():", _row(94), seen, wait, _row(94, "second"))
    assert _run([name], here).done(name)


def test_a_module_without_full_gives_its_quick_rows(here: Path) -> None:
    name = _write(here, 95, "def quick():", "    return [" + _ROW.format(n=95, what="q", passed=True) + "]")
    assert _run([name], here).done(name)


def test_an_experiment_without_rows_is_not_done(here: Path) -> None:
    name = _write(here, 96, "def quick():", "    return []")
    made = _run([name], here)
    assert made.experiments[0].reason == "it gave no rows"
    assert not made.done(name)


def test_experiments_stand_in_order_and_a_second_run_replaces_the_first(here: Path) -> None:
    first, second = _write(here, 97, "def full():", _row(97)), _write(here, 98, "def full():", _row(98))
    order = [first, second]
    record = run_all([second], Record.here(), here, say=lambda _: None, order=order, package="")
    record = run_all([first, second], record, here, say=lambda _: None, order=order, package="")
    assert [e.module for e in record.experiments] == order


def test_what_could_not_be_run_neither_passes_nor_fails() -> None:
    row = Row(
        experiment="V16", what="NVML", criterion="c", measured="", passed=False, kind="real", not_run="no GPU here"
    )
    done = msgspec.structs.replace(Record.here())
    from tests.validation.record import begun

    done = done.with_(msgspec.structs.replace(begun("v16_x"), state="done", rows=(row,)), ["v16_x"])
    text = table.markdown(done)
    assert "**0 of 0 criteria hold.** 1 could not be run here." in text
    assert "- V16, NVML: no GPU here" in text


def test_experiments_are_chosen_by_word_or_name_and_unknown_ones_named() -> None:
    names = ["v01_a", "v10_b"]
    assert catalogue.chosen(["V1"], names) == ["v01_a"]
    assert catalogue.chosen(["v10_b", " "], names) == ["v10_b"]
    assert catalogue.chosen([""], names) == names
    with pytest.raises(InputError, match="no experiment `v7`"):
        catalogue.chosen(["V7"], names)


def test_modules_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for name in ("v10_b.py", "v02_a.py", "vault.py", "v3_c.py"):
        (tmp_path / name).write_text("")
    assert catalogue.modules(tmp_path) == ["v02_a", "v3_c", "v10_b"]
