"""A child process that may crash, hang or eat all memory without harming the study: the parent's side.

Children start as `python -m MODULE` by exec, never by fork, in a session of their own: Ctrl-C doesn't reach them, their
memory is their own, and killing the group takes their compilers and pools along.
"""

from __future__ import annotations

import os
import random
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import msgspec
import psutil

from accel.errors import VariantError
from accel.measurement import cgroup
from accel.measurement.affinity import THREAD_VARIABLES
from accel.measurement.protocol import PARENT_PID, REPLY_FD
from accel.measurement.stall import Stall
from accel.units import show_bytes, show_seconds

Cause = Literal["crash", "hang", "memory", "error"]
_LOOK_EVERY_S = 1.0
_TAIL_BYTES = 4000


class ChildFailed(VariantError):
    """A child could not answer; `reason` says why in words, `log_tail` holds the end of what it printed.

    cause: "error" for an expected error (the child lives on), else the child is gone.
    """

    def __init__(self, reason: str, next_step: str = "", *, cause: Cause, log_tail: str = "") -> None:
        super().__init__(reason, next_step)
        self.cause: Cause = cause
        self.log_tail = log_tail


class Child:
    """One child process, asked one thing at a time; a context manager that leaves nothing behind.

    env: variables that win over the pinned ones. memory_limit_bytes: resident size of the child and all below it,
    looked at once a second while it is asked something.
    Start it from a thread that outlives it: the kernel kills it when the starting thread ends.
    """

    def __init__(
        self,
        module: str,
        *,
        env: Mapping[str, str] | None = None,
        log: Path,
        cwd: Path,
        memory_limit_bytes: int | None = None,
    ) -> None:
        self.env = environment(env or {})
        self._log, self._limit = log, memory_limit_bytes
        self._stage, self._buffer, self._parked, self._closed = "starting", b"", False, False
        self._stall: Stall | None = None
        self._oom_before = _oom_kills()
        self._replies, reply_fd = os.pipe()
        try:
            self._process = self._start(module, cwd, reply_fd)
            os.set_blocking(self._process.stdin.fileno(), False)  # type: ignore[union-attr]  # it is a pipe
        except OSError:
            os.close(self._replies)
            raise
        finally:
            os.close(reply_fd)

    def _start(self, module: str, cwd: Path, reply_fd: int) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            self._log_start = log.tell()
            # -P keeps the user's folder off sys.path: a `random.py` beside a script must not replace the library's.
            return subprocess.Popen(
                [sys.executable, "-P", "-m", module],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env={**self.env, REPLY_FD: str(reply_fd), PARENT_PID: str(os.getpid())},
                pass_fds=(reply_fd,),
                start_new_session=True,
                bufsize=0,
            )

    @property
    def pid(self) -> int:
        """The child's process id, which is its process group's too."""
        return self._process.pid

    def ask(
        self, command: dict[str, Any], *, timeout_s: float, on_stage: Callable[[str], None] | None = None
    ) -> dict[str, Any]:
        """Send one command and wait for its reply; raises ChildFailed. A parked child is resumed first."""
        if self._closed:
            raise ChildFailed("was asked something after its end", cause="crash", log_tail=self.log_tail())
        self.resume()
        deadline = time.monotonic() + timeout_s
        answered = self._write(msgspec.json.encode(command) + b"\n", deadline)
        reply = self._await_reply(deadline, on_stage) if answered else None
        if reply is None:
            self.close()
            reason = f"did not answer within {show_seconds(timeout_s)} while {self._stage}"
            raise ChildFailed(reason, cause="hang", log_tail=self.log_tail())
        if "error" in reply:
            raise ChildFailed(reply["error"], reply.get("next_step", ""), cause="error", log_tail=self.log_tail())
        return reply

    def _write(self, data: bytes, deadline: float) -> bool:
        """Hand over a command, however long; False at the deadline: a child that hangs doesn't read."""
        assert self._process.stdin is not None
        fd = self._process.stdin.fileno()
        poll = select.poll()
        poll.register(fd, select.POLLOUT)
        try:
            while data:
                if not poll.poll(max(0, int((deadline - time.monotonic()) * 1000) + 1)):
                    return False
                data = data[os.write(fd, data) :]
        except BrokenPipeError:
            raise self._died() from None
        return True

    def _await_reply(self, deadline: float, on_stage: Callable[[str], None] | None) -> dict[str, Any] | None:
        """The next line that is no progress; None at the deadline."""
        while (line := self._line(deadline)) is not None:
            message: dict[str, Any] = msgspec.json.decode(line)
            if "stage" not in message:
                return message
            self._stage = message["stage"]
            if self._stall is not None and self._stage == "measuring":
                self._stall.begin()
            if on_stage is not None:
                on_stage(self._stage)
        return None

    def _line(self, deadline: float) -> bytes | None:
        """The next line of the reply pipe; None at the deadline; raises ChildFailed when the child is gone."""
        poll = select.poll()
        poll.register(self._replies, select.POLLIN)
        look = time.monotonic() + _LOOK_EVERY_S
        while b"\n" not in self._buffer:
            now = time.monotonic()
            if now >= deadline:
                return None
            if self._limit is not None and now >= look:
                self._watch_memory(self._limit)
                look = now + _LOOK_EVERY_S
            until = deadline if self._limit is None else min(deadline, look)
            if poll.poll(max(1, int((until - now) * 1000) + 1)):
                chunk = os.read(self._replies, 65536)
                if not chunk:
                    raise self._died()
                self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def _watch_memory(self, limit: int) -> None:
        used = resident_bytes(self.pid)
        if used > limit:
            self.close()
            raise ChildFailed(
                f"was killed for using more than {show_bytes(limit)} while {self._stage}",
                "Use a smaller batch, a smaller model, or a machine with more memory.",
                cause="memory",
                log_tail=self.log_tail(),
            )

    def _died(self) -> ChildFailed:
        try:
            code = self._process.wait(5)
        except subprocess.TimeoutExpired:
            code = None
        by_oom = code == -signal.SIGKILL and _oom_kills() > self._oom_before
        self.close()
        if by_oom:
            reason = f"was killed by the system because memory ran out while {self._stage}"
            return ChildFailed(
                reason,
                "Use a smaller batch, a smaller model, or a machine with more memory.",
                cause="memory",
                log_tail=self.log_tail(),
            )
        return ChildFailed(f"{death(code)} while {self._stage}", cause="crash", log_tail=self.log_tail())

    def park(self) -> None:
        """Stop the whole group, so that its thread pools don't spin while others are measured."""
        if not self._closed and not self._parked:
            self._signal(signal.SIGSTOP)
            self._parked = True

    def resume(self) -> None:
        """Let a parked child go on."""
        if self._parked:
            self._signal(signal.SIGCONT)
            self._parked = False

    def stall(self, after_s: float, for_s: float) -> None:
        """Freeze the group once, for `for_s` seconds, `after_s` after it next says that it is measuring."""
        self._stall = Stall(self._signal, after_s, for_s)

    @property
    def stalled_s(self) -> float | None:
        """How long the last freeze was, from one signal to the other; None while there was none."""
        return None if self._stall is None else self._stall.lasted_s

    def close(self) -> None:
        """Kill what is left of the group, at once; may be called twice."""
        if self._closed:
            return
        self._closed = True
        if self._stall is not None:
            self._stall.cancel()
        self._signal(signal.SIGKILL)
        self._process.wait()
        # Anything that joined the group between the two lines above.
        self._signal(signal.SIGKILL)
        if self._process.stdin is not None:
            self._process.stdin.close()
        os.close(self._replies)

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):
            # The group is gone already (macOS says EPERM for a group of zombies).
            return

    def log_tail(self) -> str:
        """The end of what this child printed, at most 4000 bytes."""
        with self._log.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(self._log_start, end - _TAIL_BYTES))
            return file.read().decode("utf-8", "replace").strip()

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """This process's variables with thread counts pinned, a fresh hash seed and a random size (rule 34), then `extra`.

    A thread count that the user set lower stays. The size of the environment shifts the stack, which alone can change
    a timing by per cents (Mytkowicz et al., "Producing wrong data without doing anything obviously wrong", 2009).
    """
    cores = cgroup.usable_cores()
    env = dict(os.environ)
    for name in THREAD_VARIABLES:
        asked = env.get(name, "")
        env[name] = str(min(int(asked), cores) if asked.isdigit() and int(asked) > 0 else cores)
    env["PYTHONHASHSEED"] = str(random.SystemRandom().randrange(1, 2**32))
    env["PYTHONUNBUFFERED"] = "1"
    env["ACCEL_PADDING"] = "x" * random.SystemRandom().randrange(4096)
    return {**env, **extra}


def death(code: int | None) -> str:
    """An exit status in words.

    >>> death(-11), death(3)
    ('crashed with SIGSEGV', 'ended by itself with exit code 3')
    """
    if code is None:
        return "stopped answering"
    if code == -signal.SIGKILL:
        return "was killed with SIGKILL (often a sign that memory ran out)"
    if code < 0:
        return f"crashed with {signal.Signals(-code).name}"
    return f"ended by itself with exit code {code}"


def resident_bytes(pid: int) -> int:
    """Resident size of a process and everything below it; 0 once it is gone."""
    try:
        root = psutil.Process(pid)
        family = [root, *root.children(recursive=True)]
    except psutil.Error:
        return 0
    return sum(_resident(p) for p in family)


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def _oom_kills() -> int:
    """How often the kernel killed something for lack of memory since it started; 0 where it doesn't say."""
    return cgroup.parse_stat(cgroup.read(Path("/proc/vmstat")) or "").get("oom_kill", 0)
