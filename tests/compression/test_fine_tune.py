"""Fine-tuning: what distillation wins back, what it must leave alone, and how a user's own function is called."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from accel import plugins
from accel.errors import InputError, VariantError
from accel.model import Model, Signature, Source, Tensor
from accel.plugins import Named
from accel.samples import Samples
from tests.small_models import facts, machine

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from accel.compression import _tuning  # noqa: E402
from accel.compression._distill import Lesson, _scheduled  # noqa: E402
from accel.compression._distill_inputs import Inputs  # noqa: E402
from accel.compression._distill_loss import Distance  # noqa: E402
from accel.model.torch_form import TorchForm  # noqa: E402

SIGNATURE = Signature(
    inputs=(Tensor("x", "float32", ("batch", 6)),), outputs=(Tensor("output", "float32", ("batch", 4)),), batch="any"
)


class Net(nn.Module):
    """Six numbers -> four logits, with a batch-norm and a dropout in between."""

    def __init__(self, hidden: int = 48) -> None:
        super().__init__()
        self.first = nn.Linear(6, hidden)
        self.norm = nn.BatchNorm1d(hidden)
        self.relu = nn.ReLU()
        self.drop = nn.Dropout(0.5)
        self.second = nn.Linear(hidden, 4)

    def forward(self, x):
        return self.second(self.drop(self.relu(self.norm(self.first(x)))))


def teacher() -> Net:
    torch.manual_seed(1)
    net = Net()
    with torch.no_grad():
        net.second.weight.mul_(4)
    net.train()(torch.randn(256, 6))
    return net.eval()


def narrowed(net: Net, width: int) -> Net:
    """The first `width` hidden units only, as a blunt pruning would leave it."""
    made = Net(width)
    with torch.no_grad():
        for name, value in made.state_dict().items():
            whole = net.state_dict()[name]
            cut = whole[:, :width] if name == "second.weight" else whole[:width] if whole.ndim else whole
            value.copy_(cut[: len(value)] if value.ndim else cut)
    return made.eval()


def model_of(net: nn.Module, folder: Path, kind: str = "other") -> Model:
    return Model(
        source=Source(kind="torch", name="net", location=""),
        signature=SIGNATURE,
        folder=folder,
        forms={"torch": TorchForm.from_names(net, ["x"])},
        facts=facts(kind),
    )


def changed(model: Model, net: nn.Module) -> Model:
    form = model.as_form("torch")
    return model.derive("torch", TorchForm(net, form.inputs, form.outputs))


def samples_of(n: int = 120, seed: int = 5, **inputs) -> Samples:
    given = inputs or {"x": np.random.default_rng(seed).normal(size=(n, 6)).astype(np.float32)}
    count = len(next(iter(given.values())))
    return Samples(
        inputs=given, calibration=np.arange(count), evaluation=np.array([], np.int64), sha256=f"{seed}{count}"
    )


def fine_tune(**fields):
    return plugins.make("compression", Named("fine_tune", {"learning_rate": 0.01, "steps": 150, **fields}))


def agreement(model: Model, net: nn.Module) -> float:
    x = np.random.default_rng(99).normal(size=(500, 6)).astype(np.float32)
    with torch.no_grad():
        expected = net(torch.from_numpy(x)).argmax(1)
    return float((model.as_form("torch")({"x": x})["output"].argmax(1) == expected).double().mean())


def state(model: Model) -> dict[str, np.ndarray]:
    return {name: value.numpy().copy() for name, value in model.as_form("torch").module.state_dict().items()}


@pytest.fixture
def pruned(tmp_path: Path) -> tuple[Model, Net]:
    net = teacher()
    return changed(model_of(net, tmp_path), narrowed(net, 14)), net


def test_a_pruned_network_agrees_with_the_original_again(pruned) -> None:
    """Planted: without distillation it doesn't."""
    model, net = pruned
    before = agreement(model, net)
    tuned = fine_tune().apply(model, samples_of(), "onnxruntime")
    assert before < 0.7
    assert agreement(tuned, net) > 0.85
    assert agreement(model, net) == before
    assert tuned.original is model.original
    assert "held-back error" in tuned.notes[-1]
    assert not tuned.as_form("torch").module.training


def test_the_same_seed_gives_the_same_weights_and_another_does_not(pruned) -> None:
    model, _ = pruned
    states = []
    for seed in (3, 3, 4):
        for kept in (model.original.folder / "tuned").glob("*"):
            kept.unlink()
        global_state = torch.random.get_rng_state()
        states.append(state(fine_tune(seed=seed, steps=30).apply(model, samples_of(), "eager")))
        assert torch.equal(torch.random.get_rng_state(), global_state)
    assert all((states[0][n] == states[1][n]).all() for n in states[0])
    assert any((states[0][n] != states[2][n]).any() for n in states[0])


def test_statistics_follow_the_narrower_layers_and_dropout_stays_off(pruned) -> None:
    model, _ = pruned
    asked = fine_tune(steps=5)
    module = _tuning.working_copy(model.as_form("torch").module)
    lesson = Lesson(asked, model, module, Inputs(model, samples_of(), ("x",), 0))
    modes: list[tuple[bool, bool]] = []
    module.first.register_forward_hook(lambda *_: modes.append((module.norm.training, module.drop.training)))
    with _tuning.settled(0, 100):
        lesson.run()
    assert (True, False) in modes
    assert not any(dropping for _, dropping in modes)
    # 120 samples, 18 held back: 102 in batches of 32 settle the statistics as a plain mean; the momentum is back.
    assert module.norm.momentum == 0.1


def test_training_stops_in_time(pruned) -> None:
    model, _ = pruned
    seconds = itertools.count()
    module = _tuning.working_copy(model.as_form("torch").module)
    lesson = Lesson(
        fine_tune(seconds=30, steps=10_000),
        model,
        module,
        Inputs(model, samples_of(), ("x",), 0),
        lambda: next(seconds),
    )
    with _tuning.settled(0, 100):
        lesson.run()
    # The clock moves by 1 s a look and a step looks twice, so of 92 % of 30 s 13.8 steps are left time for.
    assert lesson.steps == 13
    assert lesson.seconds <= 30


def test_it_never_ends_worse_than_it_began(pruned) -> None:
    model, _ = pruned
    tuned = fine_tune(learning_rate=1e6, steps=20).apply(model, samples_of(), "eager")
    before, after = state(model), state(tuned)
    assert all(np.isfinite(value).all() for value in after.values())
    error = float(tuned.notes[-1].partition(" before, ")[2].partition(" after")[0])
    assert error <= float(tuned.notes[-1].partition("held-back error ")[2].partition(" before")[0])
    assert before.keys() == after.keys()


def test_zeros_stay_zero_and_the_rest_learns(tmp_path) -> None:
    net, sparse = teacher(), teacher()
    with torch.no_grad():
        sparse.first.weight[torch.rand(sparse.first.weight.shape) < 0.5] = 0
        sparse.second.bias[0] = 0
    model = changed(model_of(net, tmp_path), sparse)
    tuned = fine_tune(steps=60).apply(model, samples_of(), "eager")
    before, after = state(model), state(tuned)
    zero = before["first.weight"] == 0
    assert 0.4 < zero.mean() < 0.6
    assert (after["first.weight"][zero] == 0).all()
    assert (after["first.weight"][~zero] != before["first.weight"][~zero]).mean() > 0.9
    assert after["second.bias"][0] != 0
    assert f"{zero.sum()} weights stay zero" in tuned.notes[-1]


def test_a_few_zeros_are_chance_and_one_in_a_hundred_is_meant() -> None:
    layer = nn.Linear(20, 10)
    with torch.no_grad():
        layer.weight[0, 0] = 0
    with _tuning.zeros_kept(layer) as living:
        assert living == {}
    with torch.no_grad():
        layer.weight[0, 1] = 0
    with _tuning.zeros_kept(layer) as living:
        layer(torch.ones(1, 20)).sum().backward()
        assert layer.weight.grad[0, :3].tolist() == [0.0, 0.0, 1.0]
        assert list(living) == ["weight"]


def test_the_original_has_nothing_to_learn(tmp_path) -> None:
    with pytest.raises(VariantError, match="the original itself") as raised:
        fine_tune().apply(model_of(teacher(), tmp_path), samples_of(), "eager")
    assert "prune_structured" in raised.value.next_step


def test_dicts_masks_and_tokens(tmp_path) -> None:
    from tests.small_networks import Attention

    torch.manual_seed(0)
    net = Attention(16).eval()
    worse = Attention(16).eval()
    worse.load_state_dict(net.state_dict())
    with torch.no_grad():
        worse.value.weight.mul_(0.2)
    model = Model(
        source=Source(kind="torch", name="net", location=""),
        signature=Signature(
            inputs=(Tensor("ids", "int64", ("batch", "length")), Tensor("mask", "int64", ("batch", "length"))),
            outputs=(Tensor("logits", "float32", ("batch", 5)), Tensor("hidden", "float32", ("batch", "length", 16))),
            batch="any",
        ),
        folder=tmp_path,
        forms={"torch": TorchForm.from_names(net, ["ids", "mask"])},
        facts=facts("transformer"),
    )
    rng = np.random.default_rng(0)
    mask = np.ones((40, 12), np.int64)
    mask[::3, 7:] = 0
    samples = samples_of(ids=rng.integers(0, 100, (40, 12)), mask=mask)
    tuned = fine_tune(steps=60, learning_rate=3e-3).apply(changed(model, worse), samples, "eager")
    before, after = (float(x) for x in _errors(tuned.notes[-1]))
    assert after < 0.5 * before
    assert "tokens exchanged" in tuned.notes[-1]
    assert list(tuned.as_form("torch")(samples.batch([0, 1]))) == ["logits", "hidden"]


def _errors(note: str) -> tuple[str, str]:
    first, _, rest = note.partition("held-back error ")[2].partition(" before, ")
    return first, rest.partition(" after")[0]


def test_held_back_samples_are_never_learnt_from(tmp_path) -> None:
    given = np.arange(100, dtype=np.float32)[:, None].repeat(6, 1)
    inputs = Inputs(model_of(teacher(), tmp_path), samples_of(x=given), ("x",), 0)
    held = {int(v) for batch in inputs.held() for v in batch["x"][:, 0]}
    learnt = [int(v) for _ in range(85 // 17) for v in _batch(inputs, 17)]
    assert len(held) == 15
    assert len(learnt) == len(set(learnt)) == 85
    assert not held & set(learnt)


def _batch(inputs: Inputs, size: int) -> list[float]:
    inputs.batch = size
    return inputs.plain()["x"][:, 0].tolist()


@pytest.mark.parametrize(("count", "fixed", "held", "learnt"), [(5, "any", 5, 5), (20, 4, 0, 20), (80, 4, 12, 68)])
def test_few_samples_and_fixed_batches(count, fixed, held, learnt, tmp_path) -> None:
    model = model_of(teacher(), tmp_path)
    model.signature = Signature(inputs=SIGNATURE.inputs, outputs=SIGNATURE.outputs, batch=fixed)
    inputs = Inputs(model, samples_of(count), ("x",), 0)
    assert len(inputs.ids) == learnt
    seen = sum(len(batch["x"]) for batch in inputs.held())
    assert seen == (held or count)
    if fixed != "any":
        assert {len(batch["x"]) for batch in inputs.held()} == {fixed}
        with pytest.raises(VariantError, match="at least 4 calibration samples, but there are 3"):
            Inputs(model, samples_of(3), ("x",), 0)


def test_widened_images_are_shifted_mixed_and_inside_their_range(tmp_path) -> None:
    images = np.zeros((16, 1, 20, 20), np.float32)
    images[:, :, 8:12, 8:12] = 1
    inputs = Inputs(model_of(teacher(), tmp_path, "convolutional"), samples_of(x=images), ("x",), 0)
    batch = inputs.widened()["x"]
    assert batch.shape == (16, 1, 20, 20)
    assert float(batch.min()) >= 0
    assert float(batch.max()) <= 1
    rows = {int(image.sum((0, 2)).argmax()) for image in batch}
    assert len(rows) > 2
    assert max(rows) - min(rows) <= 7  # at most two pixels each way, on squares of four
    assert inputs.changes == "shifted, mixed and given noise"


def test_exchanged_tokens_keep_ends_and_padding(tmp_path) -> None:
    rng = np.random.default_rng(0)
    ids, mask = rng.integers(10, 99, (32, 12)), np.ones((32, 12), np.int64)
    mask[::2, 7:] = 0
    ids[::2, 7:] = 0
    ids[:, 0], ids[1::2, 11], ids[::2, 6] = 1, 2, 2
    model = model_of(teacher(), tmp_path)
    inputs = Inputs(model, samples_of(input_ids=ids, attention_mask=mask), ("input_ids", "attention_mask"), 0)
    batch = inputs.widened()
    changed_ids, real = batch["input_ids"].numpy(), batch["attention_mask"].numpy() != 0
    assert (changed_ids[:, 0] == 1).all()
    assert (changed_ids[~real] == 0).all()
    assert (changed_ids == 2).sum() == 32
    assert set(changed_ids[real].tolist()) <= set(ids.flatten().tolist())


def test_the_distance_by_hand() -> None:
    values = [{"y": torch.tensor([[[1.0]], [[3.0]]])}]
    distance = Distance(values, 2.0)
    # The variance is 1; the mean as an answer is off by 1 everywhere.
    assert float(distance({"y": torch.full((2, 1, 1), 2.0)}, values[0], {})) == pytest.approx(1)
    assert float(distance(values[0], values[0], {})) == 0
    logits = [{"y": torch.tensor([[0.0, 2.0], [2.0, 0.0]])}]
    found = float(Distance(logits, 2.0)({"y": torch.zeros(2, 2)}, logits[0], {}))
    share = np.exp([0, 1]) / np.exp([0, 1]).sum()
    divergence = float((share * np.log(share / 0.5)).sum())
    assert found == pytest.approx(2.0 + 4 * divergence, rel=1e-5)  # squared error 2 over a variance of 1
    assert Distance(logits, 2.0).agreeing([{"y": torch.tensor([[0.0, 1.0], [0.0, 1.0]])}], logits) == (1, 2)


def test_padding_does_not_count_in_the_distance() -> None:
    wanted = {"y": torch.tensor([[[1.0], [3.0]], [[1.0], [3.0]]])}
    found = {"y": torch.tensor([[[1.0], [99.0]], [[1.0], [3.0]]])}
    mask = torch.tensor([[1, 0], [1, 1]])
    assert float(Distance([wanted], 1.0)(found, wanted, {"attention_mask": mask})) == 0
    assert float(Distance([wanted], 1.0)(found, wanted, {})) > 1000


@pytest.mark.parametrize(
    ("rows", "kind"),
    [
        ([[0.2, 0.8], [0.5, 0.5]], "probabilities"),
        ([[0.6, 0.8], [1.0, 0.0]], "values"),
        ([[2.0, -1.0], [0.3, 0.1]], "logits"),
        ([[2.0], [0.3]], "values"),
    ],
)
def test_what_an_output_is_compared_as(rows, kind) -> None:
    assert Distance([{"y": torch.tensor(rows)}], 1.0).terms[0].kind == kind


@pytest.mark.parametrize(
    ("value", "said"), [(torch.tensor([1, 2]), "floating-point"), (torch.tensor([np.inf]), "finite")]
)
def test_outputs_that_teach_nothing_are_refused(value, said) -> None:
    with pytest.raises(VariantError, match=said):
        Distance([{"y": value}], 1.0)


def test_the_schedule_warms_up_and_ends_at_nothing() -> None:
    assert [round(_scheduled(s), 3) for s in (0.0, 0.025, 0.05, 0.525, 1.0)] == [0.02, 0.5, 1.0, 0.5, 0.0]


TUNERS = """
import torch

def in_place(module, seconds):
    module.train()
    with torch.no_grad():
        module.second.bias.fill_(seconds)

def counting(module, seconds):
    with open({log!r}, "a") as file:
        file.write("x")

class Wrapped(torch.nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x)

def another(module, seconds):
    return Wrapped(module)

def revives(module, seconds):
    with torch.no_grad():
        module.first.weight += 1

def wrong_kind(module, seconds): return 42
def raises(module, seconds): raise RuntimeError("no data today")
def leaves(module, seconds): raise SystemExit(3)
def wider(module, seconds): module.second = torch.nn.Linear(48, 5)
def broken(module, seconds): module.second = torch.nn.Linear(47, 4)
def infinite(module, seconds): torch.nn.init.constant_(module.second.bias, float("inf"))
def two_needed(module): pass
not_callable = 3
"""


@pytest.fixture
def tuners(tmp_path) -> Path:
    path = tmp_path / "tuners.py"
    path.write_text(TUNERS.format(log=str(tmp_path / "log")))
    return path


def by(tuners: Path, name: str, **fields):
    return fine_tune(by=f"{tuners}:{name}", **fields)


def test_a_function_trains_in_place_or_gives_a_module(tuners, tmp_path) -> None:
    model = model_of(teacher(), tmp_path / "m")
    tuned = by(tuners, "in_place", seconds=7).apply(model, samples_of(), "eager")
    module = tuned.as_form("torch").module
    assert module.second.bias.tolist() == [7.0] * 4
    assert not module.norm.training
    assert model.as_form("torch").module.second.bias.tolist() != [7.0] * 4
    assert tuned.notes[-1].startswith("fine_tune: trained by `in_place` in 0 s")
    given = by(tuners, "another").apply(model, samples_of(), "eager").as_form("torch").module
    assert type(given).__name__ == "Wrapped"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("wrong_kind", "returned a int"),
        ("raises", "failed with RuntimeError: no data today"),
        ("leaves", "failed with SystemExit: 3"),
        ("two_needed", "failed with TypeError"),
        ("wider", r"float32\[2, 5\].*float32\[2, 4\]"),
        ("broken", "fails on calibration samples"),
        ("infinite", "aren't finite in `output`"),
    ],
)
def test_what_a_function_does_wrong_is_said(name, said, tuners, tmp_path, capsys) -> None:
    with pytest.raises(VariantError, match=said) as raised:
        by(tuners, name).apply(model_of(teacher(), tmp_path / "m"), samples_of(), "eager")
    assert f"{tuners}:{name}" in raised.value.reason
    assert raised.value.next_step


def trains(module, seconds):
    """Found again by another process, since it stands at the top level of a file."""


def test_a_python_function_is_given_by_its_file_and_name() -> None:
    named = plugins.parse("compression", {"name": "fine_tune", "by": trains, "seconds": 5})
    assert named.fields == {"by": f"{Path(__file__).absolute()}:trains", "seconds": 5.0}


@pytest.mark.parametrize("function", [lambda module, seconds: None, "".join, Net().forward])
def test_a_function_that_no_other_process_finds_is_refused(function) -> None:
    with pytest.raises(InputError, match="top level of a file"):
        plugins.parse("compression", {"name": "fine_tune", "by": function})


@pytest.mark.parametrize(("name", "said"), [("in_plce", "Did you mean `in_place`"), ("not_callable", "is a int")])
def test_a_name_that_is_no_function_is_said(name, said, tuners, tmp_path) -> None:
    with pytest.raises(InputError, match=said):
        by(tuners, name).apply(model_of(teacher(), tmp_path / "m"), samples_of(), "eager")


def test_a_missing_file_is_refused_before_anything_runs(tmp_path) -> None:
    refusal = fine_tune(by=f"{tmp_path}/gone.py:train").fits(_torch_facts(), machine(), "onnxruntime")
    assert refusal is not None
    assert "gone.py" in refusal.reason
    assert fine_tune().fits(_torch_facts(), machine(), "onnxruntime") is None


def _torch_facts():
    import msgspec

    return msgspec.structs.replace(facts(), forms=("torch", "onnx", "openvino"))


@pytest.mark.parametrize(
    ("fields", "said"),
    [({"by": "magic"}, "`file.py:function`"), ({"seconds": 0}, "above 0"), ({"temperature": -1}, "above 0")],
)
def test_wrong_fields_are_said_when_the_recipe_is_read(fields, said) -> None:
    with pytest.raises(InputError, match=said):
        plugins.make("compression", Named("fine_tune", fields))


def test_a_function_cant_revive_what_was_pruned(tuners, tmp_path) -> None:
    net = teacher()
    with torch.no_grad():
        net.first.weight[:20] = 0
    tuned = by(tuners, "revives").apply(model_of(net, tmp_path / "m"), samples_of(), "eager")
    weight = tuned.as_form("torch").module.first.weight
    assert (weight[:20] == 0).all()
    assert (weight[20:] != 0).all()


def test_variants_that_begin_alike_share_one_training(tuners, tmp_path) -> None:
    model = model_of(teacher(), tmp_path / "m")
    counting = by(tuners, "counting")
    first = counting.apply(model, samples_of(), "onnxruntime")
    again = counting.apply(model, samples_of(), "openvino")
    assert (tmp_path / "log").read_text() == "x"
    assert "trained once for all variants" in again.notes[-1]
    assert "compress" in again.seconds
    assert "compress" not in first.seconds
    assert all((state(first)[n] == value).all() for n, value in state(again).items())
    counting.apply(model, samples_of(seed=6), "onnxruntime")  # other samples
    tuners.write_text(tuners.read_text() + "\n# changed\n")
    counting.apply(model, samples_of(), "onnxruntime")  # another function, for all we know
    by(tuners, "counting", seed=1).apply(model, samples_of(), "onnxruntime")
    assert (tmp_path / "log").read_text() == "xxxx"


def test_a_module_of_another_structure_is_not_shared(tuners, tmp_path) -> None:
    model = model_of(teacher(), tmp_path / "m")
    by(tuners, "another").apply(model, samples_of(), "eager")
    assert list((tmp_path / "m" / "tuned").glob("*")) == []
