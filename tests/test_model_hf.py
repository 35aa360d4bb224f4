"""Networks from a Hugging Face folder or the hub: the right class, safetensors only, plain tensors, free axes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accel.errors import InputError
from accel.model import Model, Source, describe
from accel.model.hub import fetched
from accel.samples import materialise
from tests.models.process import run_code

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore")  # transformers' and torch's own

SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "vocab_size": 40,
    "max_position_embeddings": 96,
}


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hf") / "classifier"
    torch.manual_seed(3)
    config = transformers.BertConfig(**SMALL, num_labels=4)
    transformers.BertForSequenceClassification(config).save_pretrained(folder)
    return folder


def loaded(given: Any, folder: Path, samples: Any = None, **options: Any) -> Model:
    source = describe(given, folder=folder / "given", **options)
    stored = None if samples is None else materialise(samples, None, folder / "samples")
    return Model.load(source, folder / "model", stored)


def copied(source: Path, target: Path, **config: Any) -> Path:
    shutil.copytree(source, target)
    found = json.loads((target / "config.json").read_text())
    (target / "config.json").write_text(json.dumps({k: v for k, v in (found | config).items() if v is not None}))
    return target


def test_it_answers_like_its_own_class(classifier: Path, tmp_path: Path) -> None:
    model = loaded(classifier, tmp_path)
    assert (model.source.kind, model.source.name, model.source.random_weights) == ("hf", "classifier", False)
    signature = (
        "(input_ids: int64[batch, sequence], attention_mask: int64[batch, sequence]) -> (logits: float32[batch, 4]), "
        "batch any"
    )
    assert str(model.signature) == signature
    original = transformers.BertForSequenceClassification.from_pretrained(classifier).eval()
    ids = np.arange(21).reshape(3, 7)
    mask = np.ones_like(ids)
    with torch.no_grad():
        expected = original(torch.from_numpy(ids), torch.from_numpy(mask)).logits.numpy()
    given = {"input_ids": ids, "attention_mask": mask}
    np.testing.assert_allclose(model.as_form("torch")(given)["logits"].numpy(), expected, atol=1e-6)
    pytest.importorskip("onnxscript")
    import onnxruntime

    session = onnxruntime.InferenceSession(str(model.as_form("onnx")))
    np.testing.assert_allclose(session.run(None, given)[0], expected, atol=1e-5)
    assert model.facts.kind == "transformer"


def test_samples_decide_the_inputs(classifier: Path, tmp_path: Path) -> None:
    items = [{"input_ids": np.arange(n), "token_type_ids": np.zeros(n, np.int64)} for n in (3, 9, 5, 4)]
    model = loaded(classifier, tmp_path / "a", items)
    assert [str(t) for t in model.signature.inputs] == [
        "input_ids: int64[batch, length]",
        "token_type_ids: int64[batch, length]",
    ]
    unnamed = loaded(classifier, tmp_path / "b", np.ones((6, 8), np.int64))
    assert [str(t) for t in unnamed.signature.inputs] == ["input_ids: int64[batch, 8]"]
    with pytest.raises(InputError, match="takes no input `pixel_values`"):
        loaded(classifier, tmp_path / "c", {"pixel_values": np.zeros((4, 3), np.float32), "input_ids": np.ones((4, 3))})


@pytest.mark.parametrize(
    ("name", "config", "architecture", "outputs"),
    [
        ("bert", SMALL, "BertModel", ["last_hidden_state", "pooler_output"]),
        ("bert", SMALL, "BertForMaskedLM", ["logits"]),
        ("bert", SMALL, "BertForQuestionAnswering", ["start_logits", "end_logits"]),
        ("gpt2", {"n_embd": 16, "n_layer": 1, "n_head": 2, "vocab_size": 40}, "GPT2LMHeadModel", ["logits"]),
        ("vit", {**SMALL, "image_size": 32, "patch_size": 16}, "ViTForImageClassification", ["logits"]),
        ("bert", SMALL, None, ["last_hidden_state", "pooler_output"]),
    ],
)
def test_the_class_follows_the_architecture(
    name: str, config: dict[str, Any], architecture: str | None, outputs: list[str], tmp_path: Path
) -> None:
    """Config only: so the weights are random, the same each time, and said to be."""
    folder = tmp_path / "net"
    transformers.AutoConfig.for_model(name, **config).save_pretrained(folder)
    copied(folder, tmp_path / "made", architectures=None if architecture is None else [architecture])
    model = loaded(tmp_path / "made", tmp_path / "one")
    assert [t.name for t in model.signature.outputs] == outputs
    network = model.as_form("torch").module.network
    assert type(network).__name__ == (architecture or "BertModel")
    assert network.config.use_cache is not True
    assert model.source.random_weights
    assert "drawn at random" in model.notes[0]
    again = loaded(tmp_path / "made", tmp_path / "two").as_form("torch").module.network
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), again.parameters(), strict=True))


def test_a_short_network_keeps_the_length_it_was_shown(tmp_path: Path) -> None:
    transformers.BertConfig(**(SMALL | {"max_position_embeddings": 12})).save_pretrained(tmp_path / "net")
    model = loaded(tmp_path / "net", tmp_path)
    assert model.signature.inputs[0].shape == ("batch", 8)


def test_a_head_the_file_lacks_is_said_to_be_random(classifier: Path, tmp_path: Path) -> None:
    copied(classifier, tmp_path / "net", architectures=["BertForTokenClassification"])
    (tmp_path / "net" / "model.safetensors").unlink()
    config = transformers.BertConfig(**SMALL)
    transformers.BertModel(config, add_pooling_layer=False).save_pretrained(tmp_path / "body")
    shutil.copy(tmp_path / "body" / "model.safetensors", tmp_path / "net")
    model = loaded(tmp_path / "net", tmp_path)
    assert model.source.random_weights
    assert "The file lacks classifier.bias, classifier.weight" in model.notes[0]


def test_weights_in_fewer_bits_are_computed_in_float32(classifier: Path, tmp_path: Path) -> None:
    network = transformers.BertForSequenceClassification.from_pretrained(classifier)
    network.to(torch.bfloat16).save_pretrained(tmp_path / "net")
    model = loaded(tmp_path / "net", tmp_path)
    assert model.signature.outputs[0].dtype == "float32"
    assert next(model.as_form("torch").module.parameters()).dtype == torch.float32
    assert model.notes[0] == "The weights are stored in bfloat16 and computed in float32."


def test_the_stored_form_opens_without_the_folder(classifier: Path, tmp_path: Path) -> None:
    """What a measure child does: the module is restored from the artefact alone."""
    from accel.model.torch_form import TorchForm

    folder = copied(classifier, tmp_path / "net")
    form = loaded(folder, tmp_path).as_form("torch")
    form.save(tmp_path)
    shutil.rmtree(folder)
    given = {"input_ids": np.ones((1, 5), np.int64), "attention_mask": np.ones((1, 5), np.int64)}
    assert torch.equal(TorchForm.open(tmp_path)(given)["logits"], form(given)["logits"])


# refused


def test_pickled_weights_need_trust(classifier: Path, tmp_path: Path) -> None:
    folder = copied(classifier, tmp_path / "net")
    network = transformers.BertForSequenceClassification.from_pretrained(classifier)
    torch.save(network.state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"holds `pytorch_model.bin`.*safetensors.*--trust-file"):
        loaded(folder, tmp_path / "a")
    trusted = loaded(folder, tmp_path / "b", trust_file=True)
    assert not trusted.source.random_weights


def test_code_in_a_folder_never_runs(classifier: Path, tmp_path: Path) -> None:
    folder = copied(
        classifier, tmp_path / "net", model_type="own", auto_map={"AutoConfig": "own.Config", "AutoModel": "own.Net"}
    )
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(InputError, match="wants to run code of its own"):
        loaded(folder, tmp_path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("where", ["attn_implementation", "_attn_implementation"])
def test_a_kernel_from_the_hub_is_refused(where: str, classifier: Path, tmp_path: Path) -> None:
    """transformers would fetch and run it where the package `kernels` is installed."""
    for i, change in enumerate(({where: "own/kernel"}, {"text_config": {where: {"": "own/kernel:fast"}}})):
        with pytest.raises(InputError, match="asks for code from the hub .`own/kernel"):
            loaded(copied(classifier, tmp_path / f"net{i}", **change), tmp_path / str(i))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"model_type": "nosuch"}, "doesn't know the model_type `nosuch`"),
        ({"model_type": None}, "names no model_type"),
        ({"architectures": ["BertForEverything"]}, "is a `BertForEverything`, for which transformers"),
        ({"hidden_size": 32}, "can't be loaded"),
    ],
)
def test_a_config_that_does_not_fit(change: dict[str, Any], says: str, classifier: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=says) as raised:
        loaded(copied(classifier, tmp_path / "net", **change), tmp_path)
    assert "\n" not in str(raised.value)


def test_what_writes_token_by_token_is_no_call(tmp_path: Path) -> None:
    small = {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2, "vocab_size": 40}
    transformers.T5Config(**small, architectures=["T5ForConditionalGeneration"]).save_pretrained(tmp_path / "net")
    with pytest.raises(InputError, match="token by token .T5ForConditionalGeneration."):
        loaded(tmp_path / "net", tmp_path)


def test_a_damaged_file_is_one_sentence(classifier: Path, tmp_path: Path) -> None:
    folder = copied(classifier, tmp_path / "net")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:200])
    with pytest.raises(InputError, match="can't be loaded"):
        loaded(folder, tmp_path / "a")
    (folder / "config.json").write_text("{")
    with pytest.raises(InputError, match="no config.json that can be read"):
        loaded(folder, tmp_path / "b")


def test_an_ordinary_folder_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder without a config.json"):
        describe(tmp_path, folder=tmp_path)


def test_describing_one_imports_nothing_heavy(classifier: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from accel.model import describe\n"
        f"print(describe({str(classifier)!r}, folder=Path({str(tmp_path)!r})).kind)\n"
        f"print(describe('hf:org/net@v1', folder=Path({str(tmp_path)!r})).name)\n"
        "print([m for m in ('torch', 'transformers', 'huggingface_hub') if m in sys.modules])"
    )
    assert run_code(code).split("\n")[:3] == ["hf", "net", "[]"]


# the hub


def named(text: str = "hf:org/net@v1") -> Source:
    return describe(text, folder=Path("/nowhere"))


def test_a_name_is_fetched_once_and_then_a_folder(
    classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    asked: list[Any] = []

    def snapshot(name: str, **options: Any) -> str:
        asked.append((name, options["revision"], tuple(options["allow_patterns"])))
        return str(classifier)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    for _ in range(2):
        model = Model.load(named(), tmp_path)
        assert model.signature.outputs[0].name == "logits"
    assert asked == [("org/net", "v1", ("*.json", "*.safetensors"))]


def test_a_repository_without_safetensors_is_not_random(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    transformers.BertConfig(**SMALL).save_pretrained(tmp_path / "net")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: str(tmp_path / "net"))
    with pytest.raises(InputError, match="holds no safetensors"):
        Model.load(named(), tmp_path / "model")


def test_each_failure_of_the_hub_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub
    from huggingface_hub import errors

    def without_response(kind: Any) -> Exception:
        made: Exception = kind.__new__(kind)
        return made

    cases = [
        (without_response(errors.GatedRepoError), "is gated: its owner asks you to agree"),
        (without_response(errors.RepositoryNotFoundError), "isn't on the hub, or is private"),
        (without_response(errors.RevisionNotFoundError), "not this revision"),
        (errors.LocalEntryNotFoundError("offline\nand more"), r"can't be reached \(LocalEntryNotFoundError: offline\)"),
        (ConnectionError("no route"), r"can't be reached \(ConnectionError: no route\)"),
    ]
    for error, says in cases:

        def fail(*_: Any, _error: Exception = error, **__: Any) -> str:
            raise _error

        monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
        with pytest.raises(InputError, match=says) as raised:
            fetched(named(), tmp_path)
        assert "\n" not in str(raised.value)


def test_a_name_that_is_not_here_without_a_network(tmp_path: Path) -> None:
    """The library's own words, offline, in a process of its own since it reads the setting when it is imported."""
    code = (
        "import os; os.environ['HF_HUB_OFFLINE'] = '1'\n"
        f"os.environ['HF_HOME'] = {str(tmp_path)!r}\n"
        "from pathlib import Path; from accel.model import describe; from accel.model.hub import fetched\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "try: fetched(describe('hf:org/net', folder=folder), folder)\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    said = run_code(code)
    assert said.startswith("InputError Model `hf:org/net` can't be reached")


@pytest.mark.parametrize(
    "text", ["hf:", "hf:a b", "hf:org/net/deeper", "hf:../up", "hf:net@../../up", "timm:", "timm:net?pretrained=no"]
)
def test_a_name_that_can_not_be_one(text: str) -> None:
    with pytest.raises(InputError, match="names no model. Write it as"):
        named(text)
