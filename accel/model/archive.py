"""Does this .pt2 hold anything that could run code when it is loaded? Read as a zip, before torch sees it.

What torch 2.13 writes (`torch.export.save`): the graph as JSON, weights and constants as raw bytes, and the example
inputs as a pickle. AOTInductor packages hold shared libraries besides.
"""

from __future__ import annotations

import pickletools
import zipfile
from pathlib import Path

from accel.errors import InputError

_NATIVE = (".so", ".cubin", ".hsaco", ".o", ".cpp", ".dll", ".pyd", ".py")
_TENSOR_GLOBALS = ("torch._utils _rebuild_tensor_v2", "collections OrderedDict")


def check_archive(path: Path) -> None:
    """Raise InputError unless the archive holds data only, its example inputs being plain tensors."""
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is not None:
                raise zipfile.BadZipFile("a part is damaged")
            for entry in archive.infolist():
                _check_entry(path, archive, entry.filename)
    except (zipfile.BadZipFile, EOFError) as error:
        raise InputError(
            f"Model `{path}` can't be read as .pt2 ({error}): it is cut off or another kind of file."
        ) from None


def _check_entry(path: Path, archive: zipfile.ZipFile, name: str) -> None:
    if name.endswith(_NATIVE):
        raise _refusal(path, f"native code or source (`{name}`)")
    data = archive.read(name)
    if data.startswith(b"PK\x03\x04") or data.startswith(b"\x80"):
        for found in _globals(data):
            if found not in _TENSOR_GLOBALS and not (found.startswith("torch ") and found.endswith("Storage")):
                raise _refusal(path, f"a pickle that calls `{found.replace(' ', '.')}` (`{name}`)")


def _refusal(path: Path, what: str) -> InputError:
    return InputError(
        f"Model `{path}` holds {what}, which would run when the file is loaded. If you know who made it, allow it with "
        "--trust-file (trust_file=True): the file may then run any code as you."
    )


def _globals(data: bytes) -> list[str]:
    """`module name` of everything a pickle (or the pickle in a torch.save zip) would call."""
    import io

    if data.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(data)) as inner:
            parts = [inner.read(n) for n in inner.namelist() if n.endswith(".pkl")]
    else:
        parts = [data]
    found: list[str] = []
    for part in parts:
        strings: list[str] = []
        for opcode, argument, _ in pickletools.genops(part):
            if opcode.name in ("GLOBAL", "INST"):
                found.append(str(argument))
            elif opcode.name == "STACK_GLOBAL":
                found.append(" ".join(strings[-2:]))
            elif isinstance(argument, str):
                strings.append(argument)
    return found
