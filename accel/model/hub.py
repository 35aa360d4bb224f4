"""`hf:NAME`: fetch config and weights from the hub once, so that every later child reads the same files on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from accel.errors import InputError, MissingLibrary
from accel.model.types import Source

_RECORD = "fetched.json"


def fetched(source: Source, folder: Path) -> Path:
    """The folder with config.json and safetensors (.bin too if the source is trusted) of `hf:NAME[@REVISION]`.

    Raises InputError in one sentence where the hub or the model can't be reached.
    """
    record = folder / _RECORD
    if record.is_file():
        known = Path(json.loads(record.read_text("utf-8"))["folder"])
        if known.is_dir():
            return known
    name, _, revision = source.location.removeprefix("hf:").partition("@")
    patterns = ["*.json", "*.safetensors", *(["*.bin"] if source.trusted else [])]
    try:
        import huggingface_hub
        import huggingface_hub.errors
        import huggingface_hub.utils
    except ImportError:
        raise MissingLibrary("huggingface_hub", f"The model `{source.location}`", extra="hf") from None
    huggingface_hub.utils.disable_progress_bars()
    try:
        place = huggingface_hub.snapshot_download(
            name, revision=revision or None, allow_patterns=patterns, ignore_patterns=["*/*"]
        )
    except Exception as error:  # the hub's own errors, and whatever the network raises
        raise InputError(_said(source.location, error, huggingface_hub.errors)) from None
    folder.mkdir(parents=True, exist_ok=True)
    record.write_text(json.dumps({"folder": str(place)}))
    return Path(place)


def _said(location: str, error: Exception, kinds: Any) -> str:
    what = f"Model `{location}`"
    elsewhere = "or download it elsewhere and give the folder"
    if isinstance(error, kinds.GatedRepoError):
        return (
            f"{what} is gated: its owner asks you to agree to terms first. Do so on its page and log in with "
            f"`hf auth login`, {elsewhere}."
        )
    if isinstance(error, kinds.RepositoryNotFoundError):
        return (
            f"{what} isn't on the hub, or is private. Check its spelling (owner/name), or log in with `hf auth login`."
        )
    if isinstance(error, kinds.RevisionNotFoundError):
        return f"{what}: the hub knows the model, but not this revision. Check what stands behind the @."
    line = (str(error).strip().splitlines() or ["no message"])[0][:160].rstrip(". :")
    return (
        f"{what} can't be reached ({type(error).__name__}: {line}) and isn't on this machine yet. Check the network, "
        f"{elsewhere}."
    )
