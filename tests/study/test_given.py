"""Samples, labels and metrics on their way into a child: paths stay paths, objects are stored and checked."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from accel.errors import InputError
from accel.study.given import Given, absolute, give, metric_name, metric_of, take


def own(outputs: object, labels: object) -> float:
    return 0.5


def test_nothing_stays_nothing(tmp_path: Path) -> None:
    given = give(None, tmp_path, "samples")
    assert given == Given("none")
    assert take(given) is None
    assert metric_name(given) is None
    assert metric_of(given) is None
    assert not given.is_own
    assert list(tmp_path.iterdir()) == []


def test_paths_and_words_stay_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows").mkdir()
    assert absolute("rows.npz") == str(tmp_path / "rows.npz")
    assert absolute("rows") == str(tmp_path / "rows"), "a folder that is there"
    assert absolute("accuracy") == "accuracy"
    assert absolute("net.py:rows") == f"{tmp_path / 'net.py'}:rows"
    assert absolute("package.net:rows") == "package.net:rows"
    given = give(Path("rows.npz"), tmp_path / "model", "samples")
    assert (given.kind, take(given)) == ("text", str(tmp_path / "rows.npz"))
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("value", [{"x": np.arange(3.0)}, np.arange(6).reshape(2, 3), [np.ones(2), np.zeros(3)]])
def test_live_values_come_back_equal(value: object, tmp_path: Path) -> None:
    given = give(value, tmp_path / "model", "samples")
    assert given.kind == "object"
    assert Path(given.text).stat().st_mode & 0o077 == 0, "nobody else may read what the user handed over"
    back = take(given)
    assert type(back) is type(value)
    np.testing.assert_equal(back, value)


def test_an_iterator_is_read_once(tmp_path: Path) -> None:
    given = give((i * np.ones(2) for i in range(3)), tmp_path, "samples")
    assert [row[0] for row in take(given)] == [0.0, 1.0, 2.0]
    assert [row[0] for row in take(given)] == [0.0, 1.0, 2.0]


def test_a_changed_file_is_never_unpickled(tmp_path: Path) -> None:
    given = give({"x": np.arange(3.0)}, tmp_path, "samples")
    Path(given.text).write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(InputError, match="isn't the file this study stored"):
        take(given)


def test_what_cannot_be_stored_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"The metric can't be handed .* Give it as `file\.py:metric`"):
        give(threading.Lock().acquire, tmp_path, "metric")


def test_metrics_by_name_by_function_and_by_place(tmp_path: Path) -> None:
    name = give("accuracy", tmp_path, "metric")
    assert (metric_of(name), metric_name(name), name.is_own) == ("accuracy", "accuracy", False)
    live = give(own, tmp_path, "metric")
    assert (metric_of(live)(None, None), metric_name(live), live.is_own) == (0.5, "own", True)
    (tmp_path / "net.py").write_text("def share(outputs, labels):\n    return 0.25\n\nfive = 5\n")
    place = give(f"{tmp_path / 'net.py'}:share", tmp_path, "metric")
    assert (metric_of(place)(None, None), metric_name(place), place.is_own) == (0.25, "share", True)
    with pytest.raises(InputError, match="must be a function"):
        metric_of(give(f"{tmp_path / 'net.py'}:five", tmp_path, "metric"))
    with pytest.raises(InputError, match=r"Did you mean `share`\?"):
        metric_of(give(f"{tmp_path / 'net.py'}:shore", tmp_path, "metric"))
