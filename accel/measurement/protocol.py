"""The child's side of the line protocol: commands come in on stdin, replies leave on a pipe of their own.

A library that prints, or a grandchild that reads stdin, can't disturb either. See `isolation` for the parent's side.
"""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from accel.errors import AccelError, VariantError

REPLY_FD = "ACCEL_REPLY_FD"
PARENT_PID = "ACCEL_PARENT_PID"
_PR_SET_PDEATHSIG = 1

Command = Callable[[dict[str, Any]], dict[str, Any]]
_write_lock = threading.Lock()


def serve(commands: Mapping[str, Command]) -> None:
    """Answer commands until `close` or the end of stdin; each gets exactly one reply.

    An AccelError travels as `{"error", "next_step"}`; any other exception as its type and first line, with the
    traceback in the log. Call it first thing in the child: it also ties the child's life to its parent's.
    """
    tie_to_parent()
    faulthandler.enable()
    with _take_stdin() as lines:
        for line in lines:
            command = msgspec.json.decode(line)
            if command.get("do") == "close":
                _send({})
                return
            _send(_answer(commands, command))


def stage(text: str) -> None:
    """Tell the parent what is going on now ("compiling"); it stands in the reason if this child dies.

    Outside a child nobody listens, and nothing is sent.
    """
    if REPLY_FD in os.environ:
        _send({"stage": text})


def tie_to_parent() -> None:
    """Die with the parent, even if it is SIGKILLed, and be the first to go when memory runs out.

    The kernel sends the signal when the *thread* that started this child ends, so children are started from a thread
    that outlives them.
    """
    expected = int(os.environ.get(PARENT_PID, "0"))
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        score = Path("/proc/self/oom_score_adj")
        if os.access(score, os.W_OK):
            score.write_text("1000")
    # The parent may have died before the line above took effect: then nobody would ever send the signal.
    if expected and os.getppid() != expected:
        os._exit(1)


def _take_stdin() -> Any:
    """The command stream, moved away from fd 0 so that no library and no grandchild can eat a command."""
    own = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    if REPLY_FD in os.environ:
        os.set_inheritable(int(os.environ[REPLY_FD]), False)
    return os.fdopen(own, "rb")


def _answer(commands: Mapping[str, Command], command: dict[str, Any]) -> dict[str, Any]:
    try:
        name = command.get("do")
        if not isinstance(name, str) or name not in commands:
            raise VariantError(f"The child knows no command `{name}`")
        return commands[name](command)
    except VariantError as error:
        return {"error": error.reason, "next_step": error.next_step}
    except AccelError as error:
        return {"error": str(error), "next_step": ""}
    except MemoryError:
        return {"error": "ran out of memory", "next_step": "Use a smaller batch or a smaller model."}
    except Exception as error:
        traceback.print_exc()
        sys.stderr.flush()
        return {"error": short(error), "next_step": ""}


def short(error: BaseException) -> str:
    """One line that names an exception.

    >>> short(ValueError("bad shape\\nat node 3"))
    'ValueError: bad shape'
    """
    lines = [line for line in str(error).splitlines() if line.strip()]
    text = f"{type(error).__name__}: {lines[0].strip()}" if lines else type(error).__name__
    return text if len(text) <= 300 else text[:299] + "…"


def _send(message: dict[str, Any]) -> None:
    data = msgspec.json.encode(message) + b"\n"
    fd = int(os.environ[REPLY_FD])
    with _write_lock:
        while data:
            data = data[os.write(fd, data) :]
