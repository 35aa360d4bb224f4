"""A child that does whatever a bad runtime might: crash, hang, eat memory, print garbage, leave grandchildren."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from accel.errors import VariantError
from accel.measurement.protocol import serve, stage


def echo(command: dict[str, Any]) -> dict[str, Any]:
    return {"text": command["text"], "pid": os.getpid(), "cwd_on_path": "" in sys.path or str(Path.cwd()) in sys.path}


def crash(command: dict[str, Any]) -> dict[str, Any]:
    stage("compiling")
    ctypes.string_at(0)
    return {}


def kill(command: dict[str, Any]) -> dict[str, Any]:
    stage("compiling")
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def leave(command: dict[str, Any]) -> dict[str, Any]:
    print("the last words")
    os._exit(3)


def hang(command: dict[str, Any]) -> dict[str, Any]:
    stage("measuring")
    time.sleep(1000)
    return {}


def eat(command: dict[str, Any]) -> dict[str, Any]:
    stage("quantizing")
    held = bytearray(command["bytes"])
    held[::4096] = b"x" * len(held[::4096])
    time.sleep(1000)
    return {}


def garbage(command: dict[str, Any]) -> dict[str, Any]:
    print('{"error": "not a reply"}', flush=True)
    os.write(1, b"\xff\xfe\x00garbage\n")
    os.write(2, b"warning: loud library\n")
    subprocess.run(["/bin/echo", '{"stage": "from a grandchild"}'], check=True)
    subprocess.run(["/bin/cat"], check=True)  # would eat the next command if it could
    return {"fine": True}


def grandchild(command: dict[str, Any]) -> dict[str, Any]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
    return {"pid": process.pid}


def refuse(command: dict[str, Any]) -> dict[str, Any]:
    raise VariantError("this operator isn't supported", "Use another backend.")


def gap(command: dict[str, Any]) -> dict[str, Any]:
    """The longest time between two readings of the clock in half a second of reading it."""
    stage("measuring")
    longest, before = 0.0, time.monotonic()
    end = before + command["seconds"]
    while before < end:
        now = time.monotonic()
        longest, before = max(longest, now - before), now
    return {"longest_s": longest}


def stumble(command: dict[str, Any]) -> dict[str, Any]:
    raise KeyError("no such node")


def variables(command: dict[str, Any]) -> dict[str, Any]:
    return dict(os.environ)


if __name__ == "__main__":
    serve(
        {
            f.__name__: f
            for f in (echo, crash, kill, leave, hang, eat, garbage, grandchild, refuse, gap, stumble, variables)
        }
    )
