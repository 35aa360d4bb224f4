"""The C++ compiler that torch's own compiler calls: which one, what to install without it, and where kernels go."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from accel.compilation import Refusal

# The one that torch calls where CXX names none; it looks for no other.
_USUAL = "clang++" if sys.platform == "darwin" else "g++"
# By the ID of /etc/os-release: how its C++ compiler, and the headers of Python's C interface, are installed.
_INSTALL = {
    "debian": ("apt-get install g++", "apt-get install python3-dev"),
    "ubuntu": ("apt-get install g++", "apt-get install python3-dev"),
    "fedora": ("dnf install gcc-c++", "dnf install python3-devel"),
    "rhel": ("dnf install gcc-c++", "dnf install python3-devel"),
    "suse": ("zypper install gcc-c++", "zypper install python3-devel"),
    "alpine": ("apk add g++", "apk add python3-dev"),
    "arch": ("pacman -S gcc", "pacman -S python"),
}
_OTHERWISE = ("Debian: apt-get install g++", "Debian: apt-get install python3-dev")
_ON_MAC = ("xcode-select --install", "xcode-select --install")


def compiler() -> str | None:
    """The C++ compiler that torch will call: CXX, or the usual one of this system; None if it isn't there."""
    return shutil.which(os.environ.get("CXX") or _USUAL)


def no_compiler(what: str) -> Refusal | None:
    """A refusal where `what` finds no C++ compiler: which was looked for, and this system's line to install one."""
    if compiler() is not None:
        return None
    asked = os.environ.get("CXX")
    looked = f"CXX names `{asked}`, which isn't there" if asked else f"`{_USUAL}` isn't on the PATH"
    other = " (or set CXX to one that is there)" if asked else ""
    return Refusal(f"{what} needs a C++ compiler, and {looked}.", f"Install one: {install()[0]}{other}")


def install(root: Path = Path("/")) -> tuple[str, str]:
    """The commands that install a C++ compiler and Python's headers on this system."""
    if platform.system() == "Darwin":
        return _ON_MAC
    try:
        text = (root / "etc/os-release").read_text("utf-8")
    except OSError:
        return _OTHERWISE
    named = re.findall(r"^(?:ID|ID_LIKE)=\"?([^\"\n]+)", text, re.MULTILINE)
    return next((_INSTALL[word] for line in named for word in line.split() if word in _INSTALL), _OTHERWISE)


def missing_header(text: str) -> Refusal | None:
    """What to install where a compiler's message says that it doesn't find a header."""
    found = re.search(r"fatal error: ['\"]?([\w./+-]+)['\"]?(?: file not found|: No such file)", text)
    if found is None:
        return None
    by_python = found[1].rpartition("/")[2] == "Python.h"
    return Refusal(
        f"the C++ compiler doesn't find the header `{found[1]}`",
        f"Install it: {install()[1 if by_python else 0]}",
    )


def kernels(cache: Path) -> int:
    """Compiled kernels; libraries without `.main` only ask the compiler which instructions it knows."""
    return sum(1 for _ in cache.rglob("*.main.so"))


@contextmanager
def cache_in(folder: Path) -> Iterator[None]:
    """Let torch's compiler keep what it makes in `folder`."""
    before = os.environ.get("TORCHINDUCTOR_CACHE_DIR")
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop("TORCHINDUCTOR_CACHE_DIR", None)
        else:
            os.environ["TORCHINDUCTOR_CACHE_DIR"] = before
