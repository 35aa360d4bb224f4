"""A network from a folder in the layout of Hugging Face, or from the hub by name, loaded by transformers.

Only weights in safetensors are read (.bin files are pickles: with --trust-file alone), and no code of a model's own is
ever run (trust_remote_code stays off). The class is the AutoModel class whose table holds the config's architecture.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from accel.errors import InputError, MissingLibrary
from accel.model.hf_inputs import inputs_of
from accel.model.hub import fetched
from accel.model.loaded import Loaded
from accel.model.types import Source

_FACTORY = "Write a function that returns the network, and give `file.py:function`."


def load_hugging_face(source: Source, folder: Path, names: tuple[str, ...] | None) -> Loaded:
    """The network behind plain named tensors. names: of the samples' arrays, None without samples.

    Raises InputError in one sentence for a name that can't be reached, weights that aren't there or aren't read, and
    architectures that can't be measured by one call.
    """
    try:
        import transformers
    except ImportError:
        raise MissingLibrary("transformers", f"The model `{source.location}`", extra="hf") from None
    place = fetched(source, folder) if source.location.startswith("hf:") else Path(source.location)
    config = _config(transformers, place, source)
    auto = auto_class(transformers, config, source)
    kind = _weights(place, source)
    network, notes, random = _seeded(auto, config) if kind is None else _pretrained(auto, config, place, source, kind)
    network.eval().requires_grad_(False)
    network.config.use_cache = False
    inputs = inputs_of(network, names, source)
    return Loaded(
        module=_named_tensors(network), example=inputs.example, short=inputs.short, random_weights=random, notes=notes
    )


def _config(transformers: Any, place: Path, source: Source) -> Any:
    what = f"Model `{source.location}`"
    try:
        raw = json.loads((place / "config.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{what} has no config.json that can be read ({_first_line(error)}).") from None
    if "model_type" not in raw:
        raise InputError(f"{what}: its config.json names no model_type, so it isn't one that transformers reads.")
    if (kernel := _kernel(raw)) is not None:
        raise InputError(
            f"{what} asks for code from the hub (`{kernel}` in config.json), which accel never runs. Remove the line "
            "from config.json."
        )
    try:
        config = transformers.AutoConfig.from_pretrained(str(place), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # transformers raises many kinds
        if "auto_map" in raw:
            raise InputError(
                f"{what} wants to run code of its own (auto_map in config.json), which accel never does. {_FACTORY}"
            ) from None
        known = f"transformers {transformers.__version__} doesn't know the model_type `{raw['model_type']}`"
        raise InputError(f"{what}: {known} or can't read its config.json ({_first_line(error)}).") from None
    if getattr(config, "is_encoder_decoder", False):
        raise InputError(
            f"{what} writes its output token by token ({_architecture(config)}), which isn't one call. {_FACTORY}"
        )
    return config


def _kernel(raw: Any) -> str | None:
    """A kernel that the config names by its repository; transformers would fetch and run it (package `kernels`)."""
    if isinstance(raw, dict):
        for key, value in raw.items():
            named = value if key.lstrip("_").startswith(("attn_implementation", "experts_implementation")) else None
            for one in named.values() if isinstance(named, dict) else (named,):
                if isinstance(one, str) and "/" in one:
                    return one
    parts = raw.values() if isinstance(raw, dict) else raw if isinstance(raw, list) else ()
    return next((found for part in parts if (found := _kernel(part)) is not None), None)


def _architecture(config: Any) -> str:
    return str(next(iter(getattr(config, "architectures", None) or ()), type(config).__name__))


def auto_class(transformers: Any, config: Any, source: Source) -> Any:
    """The AutoModel class that builds the first of the config's architectures; AutoModel if it names none."""
    listed = getattr(config, "architectures", None)
    if not listed:
        return transformers.AutoModel
    from transformers.models.auto import modeling_auto

    names = sorted(n for n in vars(modeling_auto) if n.startswith("AutoModelFor") and n != "AutoModelForPreTraining")
    for name in ("AutoModel", *names, "AutoModelForPreTraining"):
        found = getattr(modeling_auto, name)
        table = getattr(getattr(found, "_model_mapping", None), "_model_mapping", {})
        built = table.get(config.model_type, ())
        if listed[0] in ((built,) if isinstance(built, str) else built):
            return found
    raise InputError(
        f"Model `{source.location}` is a `{listed[0]}`, for which transformers {transformers.__version__} has no "
        f"AutoModel class. {_FACTORY}"
    )


def _weights(place: Path, source: Source) -> str | None:
    """ "safetensors", "bin" (only if trusted), or None for a folder of your own that holds a config only."""
    if any(place.glob("*.safetensors")):
        return "safetensors"
    pickled = sorted(p.name for pattern in ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5") for p in place.glob(pattern))
    if "pytorch_model.bin" in pickled and source.trusted:
        return "bin"
    if pickled or source.location.startswith("hf:"):
        there = f"`{pickled[0]}`, which may be a pickle" if pickled else "no safetensors"
        raise InputError(
            f"Model `{source.location}` holds {there}; only weights in safetensors are read. Convert it with "
            "model.save_pretrained(folder), or allow its pytorch_model.bin with --trust-file (trust_file=True)."
        )
    return None


def _seeded(auto: Any, config: Any) -> tuple[Any, tuple[str, ...], bool]:
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = auto.from_config(config, trust_remote_code=False)
    return network, ("The folder holds a config and no weights: they were drawn at random (seed 0).",), True


def _pretrained(auto: Any, config: Any, place: Path, source: Source, kind: str) -> tuple[Any, tuple[str, ...], bool]:
    import torch

    stored = getattr(config, "dtype", None)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network, told = auto.from_pretrained(
                str(place),
                config=config,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=kind == "safetensors",
                output_loading_info=True,
                dtype=torch.float32,
            )
    except Exception as error:  # transformers and safetensors raise many kinds
        raise InputError(
            f"Model `{source.location}` can't be loaded ({type(error).__name__}: {_first_line(error)})."
        ) from None
    missing = sorted(told.get("missing_keys", ()))
    notes = []
    if stored not in (None, torch.float32):
        notes.append(f"The weights are stored in {str(stored).removeprefix('torch.')} and computed in float32.")
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        notes.append(f"The file lacks {', '.join(missing[:3])}{more}, which were drawn at random (seed 0).")
    return network, tuple(notes), bool(missing)


def _named_tensors(network: Any) -> Any:
    """A module that takes what the network takes, by name, and gives a plain dict of its output tensors.

    What isn't a tensor (caches, tuples of hidden states) is left out.
    """
    import torch

    class Network(torch.nn.Module):  # type: ignore[misc]  # torch is imported late
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(
            self,
            input_ids: Any = None,
            attention_mask: Any = None,
            token_type_ids: Any = None,
            position_ids: Any = None,
            bbox: Any = None,
            pixel_values: Any = None,
            pixel_mask: Any = None,
            input_values: Any = None,
            input_features: Any = None,
        ) -> dict[str, Any]:
            given = {
                "input_ids": input_ids,
                "attention_mask": attention_mask,
                "token_type_ids": token_type_ids,
                "position_ids": position_ids,
                "bbox": bbox,
                "pixel_values": pixel_values,
                "pixel_mask": pixel_mask,
                "input_values": input_values,
                "input_features": input_features,
            }
            found = self.network(**{n: v for n, v in given.items() if v is not None}, return_dict=True)
            return {n: v for n, v in found.items() if isinstance(v, torch.Tensor)}

    return Network().eval()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no message"])[0][:200].rstrip(". :")
