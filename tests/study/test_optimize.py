"""A faster callable of the same shape, or the very object that came in."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest

import accel
from accel.errors import InputError
from accel.study import optimize as optimizing
from accel.study import study as studies
from accel.study.optimize import Optimized, compare
from accel.study.study import open_study
from accel.study.winner import Winner
from tests.study.test_winner import brief

torch = pytest.importorskip("torch")


class Net(torch.nn.Module):
    """Returns a nested structure, so that it has to survive."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = torch.nn.Linear(32, 64)
        self.head = torch.nn.Linear(64, 10)

    def forward(self, x: Any, *, scale: Any = None) -> Any:
        h = torch.relu(self.inner(x))
        return {"logits": self.head(h), "hidden": [h, h.mean(dim=1)]}


def net() -> Net:
    torch.manual_seed(0)
    return Net().eval()


class Watch:
    """A perf_counter that moves only when somebody works."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def work(self, seconds: Callable[[], float]) -> Callable[[Any], None]:
        def run(batch: Any) -> None:
            self.now += seconds()

        return run


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    watch = Watch()
    monkeypatch.setattr(optimizing, "time", SimpleNamespace(perf_counter=watch))
    return watch


def test_a_known_ratio_is_found_exactly(watch: Watch) -> None:
    value, low, high = compare(watch.work(lambda: 0.006), watch.work(lambda: 0.002), [None])
    assert (value, low, high) == pytest.approx((3.0, 3.0, 3.0))


def test_slower_is_below_one(watch: Watch) -> None:
    assert compare(watch.work(lambda: 0.002), watch.work(lambda: 0.004), [None])[2] < 1


def test_noise_widens_the_interval_around_the_truth(watch: Watch) -> None:
    rng = np.random.default_rng(3)

    def noisy(seconds: float) -> Callable[[], float]:
        return lambda: float(seconds * np.exp(rng.normal(0, 0.2)))

    value, low, high = compare(watch.work(noisy(0.004)), watch.work(noisy(0.002)), [None])
    assert low < value < high
    assert 1.7 < low < 2.0 < high < 2.35


def test_the_first_round_is_not_counted(watch: Watch) -> None:
    """Whoever runs first pays for what both need; a round ends after 40 ms, so one slow call fills it."""
    slow = [1.0, 1.0, 1.0]
    replacement = watch.work(lambda: slow.pop() if slow else 0.002)
    assert compare(watch.work(lambda: 0.006), replacement, [None]) == pytest.approx((3.0, 3.0, 3.0))


def test_every_batch_takes_its_turn(watch: Watch) -> None:
    seen: list[tuple[str, int]] = []
    step = watch.work(lambda: 0.004)

    def named(who: str) -> Callable[[int], None]:
        def run(batch: int) -> None:
            seen.append((who, batch))
            step(batch)

        return run

    compare(named("original"), named("replacement"), [0, 1, 2])
    assert set(seen) == {(who, batch) for who in ("original", "replacement") for batch in (0, 1, 2)}
    firsts = [who for (who, _), (before, _) in zip(seen[1:], seen, strict=False) if who != before]
    assert len(firsts) >= 15, "they take turns, so that both see the same moments"


def test_really_slower_is_seen_as_slower() -> None:
    def loop(count: int) -> Callable[[Any], None]:
        def run(batch: Any) -> None:
            for _ in range(count):
                pass

        return run

    value, low, _ = compare(loop(100_000), loop(10_000), [None])
    assert low > 1.0
    assert value > 3.0


@pytest.mark.parametrize("wrong", ["model.onnx", 3, None])
def test_only_what_can_be_called_is_optimized(wrong: Any) -> None:
    with pytest.raises(InputError, match=r"live torch module or a function.*accel\.bench"):
        accel.optimize(wrong)


@pytest.fixture
def study_of(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    brief(monkeypatch)
    x = np.random.default_rng(0).standard_normal((64, 32)).astype(np.float32)

    def run(model: Any, **more: Any) -> Any:
        return accel.optimize(
            model,
            {"x": x},
            target="batch",
            batch=[8],
            budget="2m",
            out=tmp_path / "out",
            variants=[{"name": "ort", "backend": "onnxruntime"}],
            **more,
        )

    return run


def test_the_replacement_is_called_like_the_module_and_returns_what_it_returned(
    study_of: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who wins here is the machine's affair, so it is settled: ort was faster, by 2 to 4 times."""
    choose_ort(monkeypatch)
    monkeypatch.setattr(optimizing, "compare", lambda *a: (3.0, 2.0, 4.0))
    module = net()
    faster = study_of(module)
    assert isinstance(faster, Optimized)
    assert faster.original is module
    assert faster.faster == (3.0, 2.0, 4.0)
    assert repr(faster).startswith("<Optimized: 3.00x [2.00, 4.00] here;")
    x = torch.randn(5, 32)
    with torch.inference_mode():
        wanted = module(x)
    for got in (faster(x), faster(x=x)):
        assert type(got) is dict
        assert list(got) == ["logits", "hidden"]
        assert type(got["hidden"]) is list
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)
    with pytest.raises(InputError):
        faster(x, scale=x)

    closed: list[Any] = []
    monkeypatch.setattr("accel.study.loaded.Loaded.close", lambda self: closed.append(self))
    monkeypatch.setattr(optimizing, "bench", lambda *a, **k: open_study(faster.study.folder))
    # A winner of the study that isn't faster in this process, among its other threads, is no winner here.
    monkeypatch.setattr(optimizing, "compare", lambda *a: (1.3, 0.99, 1.6))
    assert study_of(module) is module
    assert len(closed) == 1, "what isn't used holds no memory"
    # One that answers otherwise isn't even timed.
    monkeypatch.setattr(optimizing, "_agrees", lambda *a: False)
    monkeypatch.setattr(optimizing, "compare", lambda *a: pytest.fail("timed although it answers otherwise"))
    assert study_of(module) is module
    assert len(closed) == 2
    # And where the study itself says so, nothing is loaded at all.
    monkeypatch.setattr(Winner, "load", lambda self: pytest.fail("loaded although the original is kept"))
    monkeypatch.setattr(Winner, "__init__", winner_init(keeps=True))
    assert study_of(module) is module


def choose_ort(patch: pytest.MonkeyPatch) -> None:
    """Let the study recommend `ort`, whatever was measured."""
    real = studies.conclude

    def settled(*args: Any) -> Any:
        found = real(*args)
        if found.batch is None:
            return found
        return msgspec.structs.replace(
            found, batch=msgspec.structs.replace(found.batch, winner="ort", keeps_baseline=False)
        )

    patch.setattr(studies, "conclude", settled)


def winner_init(*, keeps: bool) -> Any:
    real = Winner.__init__

    def init(self: Winner, study: Any, answer: Any) -> None:
        real(self, study, msgspec.structs.replace(answer, keeps_baseline=keeps))

    return init
