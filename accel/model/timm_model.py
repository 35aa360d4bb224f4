"""`timm:NAME`: an image network with its published weights, or `timm:NAME?pretrained=false` with seeded random ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from accel.errors import InputError, MissingLibrary, nearest
from accel.model.loaded import Loaded
from accel.model.types import Source


def load_timm(source: Source, folder: Path, names: tuple[str, ...] | None) -> Loaded:
    """The network, called with two images of the size it was trained on.

    Raises InputError for an unknown name, weights that don't exist or can't be fetched, and a timm that doesn't load.
    """
    import torch

    timm = _timm(source)
    name, _, option = source.location.removeprefix("timm:").partition("?")
    pretrained = option != "pretrained=false"
    if not timm.is_model(name):
        raise InputError(f"Model `{source.location}`: timm has no such model. {nearest(name, timm.list_models())}")
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            module = timm.create_model(name, pretrained=pretrained).eval()
    except Exception as error:  # whatever the network, the hub or a damaged file raises
        line = (str(error).strip().splitlines() or ["no message"])[0][:200].rstrip(". :")
        offer = "Check the network, or measure the architecture alone"
        raise InputError(
            f"Model `{source.location}`: its weights can't be loaded ({type(error).__name__}: {line}). {offer} with "
            f"`timm:{name}?pretrained=false`."
            if pretrained
            else f"Model `{source.location}` can't be built ({type(error).__name__}: {line})."
        ) from None
    module.requires_grad_(False)
    size = timm.data.resolve_model_data_config(module)["input_size"]
    images = torch.randn((2, *size), generator=torch.Generator().manual_seed(0))
    note = () if pretrained else ("The weights were drawn at random (seed 0), as `?pretrained=false` asks.",)
    return Loaded(module=module, example=(images,), random_weights=not pretrained, notes=note)


def _timm(source: Source) -> Any:
    try:
        import timm
    except ModuleNotFoundError as error:
        package = error.name or "timm"
        raise MissingLibrary(package, f"The model `{source.location}`", extra="timm") from None
    except Exception as error:  # a torchvision built for another torch fails while it registers its operators
        line = (str(error).strip().splitlines() or ["no message"])[0][:160].rstrip(". :")
        raise InputError(
            f"Model `{source.location}`: timm is installed, but can't be imported ({type(error).__name__}: {line}). "
            "Install the torchvision that belongs to your torch."
        ) from None
    return timm
