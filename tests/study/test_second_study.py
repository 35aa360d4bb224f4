"""The second study of an unchanged model: what stands between its command and its first measurement, by steps.

Nothing here looks at a clock: what costs seconds are children that look, convert or prepare, and answers to all
samples.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest

from accel.model import Source
from accel.plugins import Named
from accel.recipe import Variant
from accel.result import Result
from accel.study import answers, beginning, live, looks, prepare, screening
from accel.study.cache import cache_root
from accel.study.context import Context
from accel.study.folder import StudyFolder
from accel.study.funnel import Funnel
from accel.study.given import Given
from accel.study.looking import describe_source
from accel.study.options import resolve
from accel.study.profiles import PROFILES
from accel.study.progress import Quiet
from accel.study.session import Session
from tests import small_models

Steps = list[str]
Study = Callable[..., Steps]
ANOTHER = Variant(name="basic", backend=Named("onnxruntime", {"optimization": "basic"}))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return Path(small_models.cnn(tmp_path).as_form("onnx"))


def retrained(model: Path, to: Path) -> Path:
    """The same network with other weights."""
    proto = onnx.load(str(model))
    weight = proto.graph.initializer[0]
    weight.CopyFrom(onnx.numpy_helper.from_array(-2 * onnx.numpy_helper.to_array(weight), weight.name))
    onnx.save(proto, str(to))
    return to


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    path = tmp_path / "samples.npz"
    np.savez(path, x=np.random.default_rng(0).normal(size=(40, 3, 16, 16)).astype(np.float32))
    return path


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: Path, samples: Path) -> Study:
    """Runs the beginning of a study, up to the end of its first looks, and gives what was asked of children in turn."""
    monkeypatch.setenv("ACCEL_CACHE", str(tmp_path / "cache"))
    times = {"warmup_s": 0.01, "warmup_iterations": 1, "screen_s": 0.05}
    monkeypatch.setitem(PROFILES, "quick", msgspec.structs.replace(PROFILES["quick"], **times))
    monkeypatch.setattr(Funnel, "run", screening.screen)
    # Somebody may be editing accel while its tests run.
    for module in (looks, answers):
        monkeypatch.setattr(module, "_source", lambda: "")
    steps: Steps = []
    asked = prepare.ask_within

    def told(child: Any, command: dict[str, Any], **more: Any) -> dict[str, Any]:
        what = command["do"]
        if what == "infer":
            what = f"answer {'one' if len(command['ids']) == 1 else 'all'}"
        steps.append(f"prepare {command['variant']['name']}" if what == "prepare" else what)
        reply: dict[str, Any] = asked(child, command, **more)
        return reply

    for module in (prepare, live):
        monkeypatch.setattr(module, "ask_within", told)

    def run(number: int, source: Any = model, given: Any = samples, **more: Any) -> Steps:
        steps.clear()
        folder = StudyFolder(tmp_path / f"study-{number}")
        folder.create(resume=True)
        more = {"backend": ["onnxruntime"], "budget": "5m", **more}
        Session(resolve(str(source), samples=given and str(given), **more), folder, Quiet()).run()
        return list(steps)

    return run


def before_measuring(steps: Steps) -> Steps:
    return steps[: steps.index("measure")]


def runs_of(folder: Path) -> dict[str, Result]:
    return StudyFolder(folder).results()


FIRST = ["inspect", "prepare reference", "open", "answer one", "answer one"]
AGAIN = ["open", "answer one"]


def test_a_file_is_looked_at_once_and_answers_are_given_once(study: Study, tmp_path: Path) -> None:
    first = before_measuring(study(1))
    assert first[:5] == FIRST
    assert first.count("answer all") >= 2, "the reference and the original"
    assert "prepare onnxruntime" in first
    second = study(2)
    assert before_measuring(second) == AGAIN, "the original is opened, answers once to see that it still does so, runs"
    assert "inspect" not in second, "every byte was read for the key"
    one, two = (runs_of(tmp_path / f"study-{n}")["screening-onnxruntime-latency"] for n in (1, 2))
    assert one.quality == two.quality
    assert one.check is not None
    assert two.check is not None
    assert (one.check.limit, two.check.mismatched) == (two.check.limit, 0), "timed outputs are checked all the same"
    assert two.set_up is not None
    assert two.set_up.cached
    assert two.set_up.first_run_s is not None, "its start was seen"
    files = [sorted(p.name for p in (tmp_path / f"study-{n}/samples").iterdir()) for n in (1, 2)]
    assert files[0] == files[1]


def test_a_factory_is_looked_at_again_but_after_the_first_measurement(study: Study, model: Path, samples: Path) -> None:
    factory = model.with_name("make.py")
    factory.write_text(f"def build():\n    return {str(model)!r}\n")
    more: dict[str, Any] = {"variants": [ANOTHER], "defaults": False, "backend": []}
    source = f"{factory}:build"
    assert before_measuring(study(1, source, **more))[:5] == FIRST
    second = study(2, source, **more)
    assert before_measuring(second) == AGAIN
    assert second.count("inspect") == 1
    assert "prepare" not in " ".join(second), "artefacts are there too"
    new = Variant(name="new", backend=Named("onnxruntime", {"optimization": "extended"}))
    third = study(3, source, variants=[new], defaults=False, backend=[])
    assert third.index("measure") < third.index("inspect") < third.index("prepare new"), (
        "nothing is made of a model on trust"
    )


def test_a_factory_that_gives_another_model_starts_the_study_anew(study: Study, tmp_path: Path, model: Path) -> None:
    factory, pointer = model.with_name("make.py"), model.with_name("which.txt")
    factory.write_text(f"from pathlib import Path\ndef build():\n    return Path({str(pointer)!r}).read_text()\n")
    pointer.write_text(str(model))
    source = f"{factory}:build"
    study(1, source)
    pointer.write_text(str(retrained(model, tmp_path / "other.onnx")))
    steps = study(2, source)
    first, second = (i for i, step in enumerate(steps) if step == "inspect")
    assert "measure" in steps[:first], "it began with what was known of the factory"
    assert "prepare" not in " ".join(steps[:second])
    assert steps[second + 1] == "prepare reference", "and then all over"
    contexts = [
        msgspec.json.decode((tmp_path / f"study-{n}/model/context.json").read_bytes(), type=Context) for n in (1, 2)
    ]
    assert contexts[0].identity != contexts[1].identity
    assert contexts[1].confirmed
    assert all(r.check is None or r.check.mismatched == 0 for r in runs_of(tmp_path / "study-2").values())
    assert before_measuring(study(3, source)) == AGAIN, "the new one is known now"


def test_whatever_shapes_a_look_asks_for_a_new_one(model: Path, samples: Path, tmp_path: Path) -> None:
    here = small_models.machine()

    def key(kind: str = "onnx", location: Path | str = model, packages: Any = here, **more: Any) -> looks.Key | None:
        source = Source(kind=kind, name="net", location=str(location), sha256=more.pop("sha256", None))  # type: ignore[arg-type]
        given = {n: Given("none") for n in ("labels", "metric")} | {
            "samples": more.pop("samples", Given("text", str(samples)))
        }
        return looks.key_of(source, given, {"padding": 0, "seed": 0} | more, packages)

    first = key()
    assert first is not None
    assert first.exact
    assert key() == first
    newer = msgspec.structs.replace(here, packages=here.packages | {"onnxruntime": "2"})
    others = [key(seed=1), key(padding=1.0), key(packages=newer), key(samples=Given("none")), key("openvino", model)]
    retrained(model, model)
    others.append(key())
    np.savez(samples, x=np.zeros((40, 3, 16, 16), np.float32))
    others.append(key())
    factory = tmp_path / "make.py"
    factory.write_text("def build(): ...")
    others += [key("factory", f"{factory}:build"), key("torch", model, sha256="1"), key("torch", model, sha256="2")]
    factory.write_text("def build(): return 1")
    others += [key("factory", f"{factory}:build"), key(samples=Given("text", f"{factory}:build"))]
    digests = [first.digest, *(other.digest for other in others if other is not None)]
    assert len(set(digests)) == len(digests) == len(others) + 1
    assert [other is not None and other.exact for other in others][-5:] == [False] * 5, "they may read anything"
    assert key("callable", model) is None, "nothing vouches for a function"
    assert key("onnx", tmp_path / "gone.onnx") is None


def test_answers_that_are_no_longer_given_are_given_anew(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    study(1)
    monkeypatch.setattr(screening, "agree", lambda kept, fresh: False)
    assert before_measuring(study(2)) == ["open", "answer one", "answer all"]


def test_what_lies_in_the_cache_is_whole_and_private(study: Study, tmp_path: Path) -> None:
    study(1)
    entries = {p.name.partition("-")[0] for p in cache_root().iterdir()}
    assert {"look", "answers"} <= entries
    assert not [p for p in cache_root().iterdir() if p.name.startswith(".")]
    assert cache_root().stat().st_mode & 0o077 == 0
    for entry in cache_root().glob("look-*"):
        (entry / "look.json").write_bytes(b"{")
    for entry in cache_root().glob("answers-*"):
        (entry / "outputs.npz").write_bytes(b"half")
    assert before_measuring(study(2))[0] == "inspect", "a damaged entry is none"


def test_other_answers_do_not_agree(tmp_path: Path) -> None:
    from accel.measurement.outputs import save_outputs

    rows = [{"y": np.array([1.0, 2.0 + i])} for i in range(3)]
    save_outputs(tmp_path / "kept.npz", rows, [4, 7, 9])
    rounded, shape = {"y": rows[1]["y"] * (1 + 1e-5)}, {"y": np.ones(3)}
    cases = (("same", rows[1], True), ("rounded", rounded, True), ("other", rows[0], False), ("shape", shape, False))
    for name, row, expected in cases:
        save_outputs(tmp_path / f"{name}.npz", [row], [7])
        assert answers.agree(tmp_path / "kept.npz", tmp_path / f"{name}.npz") is expected
    save_outputs(tmp_path / "stranger.npz", [rows[0]], [5])
    assert not answers.agree(tmp_path / "kept.npz", tmp_path / "stranger.npz")


class Beginning:
    """A study's first look with a child that is made up: its samples are one file, its reply is `reply`."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ACCEL_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(looks, "_source", lambda: "")
        monkeypatch.setattr(beginning, "look", self._look)
        self.looked = 0
        self.meanwhile: Callable[[], object] = lambda: None
        self._tmp_path = tmp_path

    def _look(self, options: Any, folder: StudyFolder, workshop: Any, on_stage: Any, given: Any) -> dict[str, Any]:
        self.looked += 1
        folder.samples.mkdir()
        (folder.samples / "input_0.npy").write_bytes(b"rows")
        self.meanwhile()
        source = msgspec.to_builtins(describe_source(options, folder))
        return {"source": source | {"random_weights": True}, "identity": f"look {self.looked}"}

    def begin(self, model: Path) -> tuple[beginning.Begun, StudyFolder]:
        folder = StudyFolder(self._tmp_path / f"study-{len(list(self._tmp_path.iterdir()))}")
        folder.create(resume=True)
        options = resolve(str(model))
        first = beginning.FirstLook(options, folder, small_models.machine(), lambda *_: None, lambda _: None)  # type: ignore[arg-type, return-value]
        return first.begin(describe_source(options, folder)), folder


@pytest.fixture
def made_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Beginning:
    return Beginning(tmp_path, monkeypatch)


def test_the_same_file_elsewhere_is_read_where_it_lies_now(made_up: Beginning, model: Path, tmp_path: Path) -> None:
    made_up.begin(model)
    moved = tmp_path / "moved" / model.name
    moved.parent.mkdir()
    moved.write_bytes(model.read_bytes())
    retrained(model, model)
    begun, _ = made_up.begin(moved)
    assert made_up.looked == 1
    assert begun.seen["identity"] == "look 1"
    assert begun.seen["source"]["location"] == str(moved), "at the old place lies another model now"
    assert begun.seen["source"]["random_weights"], "what the look found out about it stays"


def test_a_look_at_a_file_that_is_written_meanwhile_is_not_kept(made_up: Beginning, model: Path) -> None:
    before = model.read_bytes()
    made_up.meanwhile = lambda: retrained(model, model)
    made_up.begin(model)
    made_up.meanwhile = lambda: None
    model.write_bytes(before)
    assert made_up.begin(model)[0].seen["identity"] == "look 2"


def test_samples_that_were_written_to_are_looked_at_again(made_up: Beginning, model: Path) -> None:
    _, folder = made_up.begin(model)
    # The same bytes on disk lie in the cache, and whoever owns the study may write to them.
    (folder.samples / "input_0.npy").write_bytes(b"ROWS")
    _, second = made_up.begin(model)
    assert (second.samples / "input_0.npy").read_bytes() == b"rows"
    assert made_up.looked == 2
    made_up.begin(model)
    assert made_up.looked == 2, "the new look took the place of the old one"


def test_samples_of_which_some_are_gone_are_looked_at_again(made_up: Beginning, model: Path) -> None:
    made_up.begin(model)
    next(cache_root().glob("look-*/samples/input_0.npy")).unlink()
    made_up.begin(model)
    assert made_up.looked == 2


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: data[:-1] + b"x"])
def test_damaged_answers_are_none_and_make_way(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    from accel.measurement.outputs import save_outputs

    place, out = tmp_path / "answers-1", tmp_path / "outputs.npz"
    save_outputs(out, [{"y": np.arange(50.0)}], [3])
    answered = answers.Answered(ids=(3,), seconds=1.0)
    answers.keep(place, out, answered)
    kept = place / "outputs.npz"
    kept.write_bytes(damage(kept.read_bytes()))
    to = tmp_path / "again.npz"
    assert answers.find(place, to) is None
    assert not to.exists()
    answers.keep(place, out, answered)
    found = answers.find(place, to)
    assert found is not None
    assert found.ids == (3,)
    assert to.read_bytes() == out.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["again.npz", "answers-1", "outputs.npz"]


def test_answers_are_kept_under_the_code_that_gave_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ACCEL_CACHE", str(tmp_path))
    places = set()
    for source in ("one", "other"):
        monkeypatch.setattr(answers, "_source", lambda source=source: source)
        places.add(answers.place_of("key", ANOTHER, "samples", {}))
    assert len(places) == 2


def test_a_study_killed_while_it_is_forgotten_begins_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = StudyFolder(tmp_path / "study")
    folder.create(resume=True)
    for path in (folder.record_path, folder.runs / "a.json", folder.root / "decisions.json"):
        path.write_text("{}")

    def killed() -> None:
        assert not folder.holds_runs()
        assert not (folder.root / "decisions.json").exists()
        raise KeyboardInterrupt

    monkeypatch.setattr(folder, "clear", killed)
    with pytest.raises(KeyboardInterrupt):
        folder.forget()
    assert not folder.record_path.exists(), "a record without what belongs to it can't be gone on with"
