"""Children that crash, hang or eat memory become a reason in words, and nothing is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from accel.measurement.cgroup import usable_cores
from accel.measurement.isolation import Child, ChildFailed, environment

ROOT = Path(__file__).parents[2]
START_S = 60


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Child]]:
    children: list[Child] = []

    def make(memory_limit_bytes: int | None = None, **env: str) -> Child:
        child = Child(
            "tests.measurement.unruly",
            env={"PYTHONPATH": str(ROOT), **env},
            log=tmp_path / "log.txt",
            cwd=tmp_path,
            memory_limit_bytes=memory_limit_bytes,
        )
        children.append(child)
        return child

    yield make
    for child in children:
        child.close()


def gone(pid: int, within_s: float = 10) -> bool:
    """True once a process has ended (a zombie nobody reads is dead, too)."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.02)
    return False


def failure(child: Child, timeout_s: float = START_S, **command: object) -> ChildFailed:
    with pytest.raises(ChildFailed) as failed:
        child.ask(dict(command), timeout_s=timeout_s)
    return failed.value


def test_commands_are_answered_one_after_another(start: Callable[..., Child]) -> None:
    child = start()
    answers = [child.ask({"do": "echo", "text": t}, timeout_s=START_S) for t in ("a", "ü\n")]
    assert [a["text"] for a in answers] == ["a", "ü\n"]
    assert answers[0]["pid"] == child.pid
    assert answers[0]["cwd_on_path"] is False


def test_a_segmentation_fault_is_told_with_its_stage_and_traceback(start: Callable[..., Child]) -> None:
    error = failure(start(), do="crash")
    assert error.reason == "crashed with SIGSEGV while compiling"
    assert error.cause == "crash"
    assert "Fatal Python error" in error.log_tail


def test_sigkill_and_exit_codes_are_told_apart(start: Callable[..., Child]) -> None:
    assert failure(start(), do="kill").reason.startswith("was killed with SIGKILL")
    error = failure(start(), do="leave")
    assert error.reason == "ended by itself with exit code 3 while starting"
    assert "the last words" in error.log_tail


def test_a_module_that_does_not_exist_is_a_crash_with_the_reason_in_the_log(tmp_path: Path) -> None:
    with Child("accel.no_such_child", log=tmp_path / "log", cwd=tmp_path) as child:
        error = failure(child, do="echo")
    assert error.cause == "crash"
    assert "No module named" in error.log_tail


def test_a_hang_is_killed_and_told(start: Callable[..., Child]) -> None:
    child = start()
    child.ask({"do": "echo", "text": ""}, timeout_s=START_S)
    error = failure(child, timeout_s=0.3, do="hang")
    assert (error.cause, error.reason) == ("hang", "did not answer within 300 ms while measuring")
    assert gone(child.pid)
    assert "after its end" in failure(child, do="echo", text="").reason


def test_a_command_longer_than_a_pipe_arrives_and_a_child_that_does_not_read_is_a_hang(
    start: Callable[..., Child],
) -> None:
    child = start()
    text = "x" * 1_000_000
    assert child.ask({"do": "echo", "text": text}, timeout_s=START_S)["text"] == text
    os.killpg(child.pid, signal.SIGSTOP)
    error = failure(child, timeout_s=0.3, do="echo", text=text)
    assert error.cause == "hang"
    assert gone(child.pid)


def test_the_memory_watch_kills_and_says_so(start: Callable[..., Child]) -> None:
    child = start(memory_limit_bytes=150_000_000)
    error = failure(child, do="eat", bytes=300_000_000)
    assert error.cause == "memory"
    assert error.reason == "was killed for using more than 150 MB while quantizing"
    assert error.next_step
    assert gone(child.pid)


def test_garbage_on_stdout_and_grandchildren_on_stdin_do_not_break_the_protocol(start: Callable[..., Child]) -> None:
    child = start()
    stages: list[str] = []
    assert child.ask({"do": "garbage"}, timeout_s=START_S, on_stage=stages.append) == {"fine": True}
    assert child.ask({"do": "echo", "text": "still here"}, timeout_s=START_S)["text"] == "still here"
    assert stages == []
    assert "loud library" in child.log_tail()


def test_expected_and_unexpected_errors_leave_the_child_alive(start: Callable[..., Child]) -> None:
    child = start()
    error = failure(child, do="refuse")
    assert (error.cause, error.reason, error.next_step) == (
        "error",
        "this operator isn't supported",
        "Use another backend.",
    )
    error = failure(child, do="stumble")
    assert error.reason == "KeyError: 'no such node'"
    assert "Traceback" in error.log_tail
    assert "knows no command `dance`" in failure(child, do="dance").reason
    assert child.ask({"do": "echo", "text": "x"}, timeout_s=START_S)["text"] == "x"


def test_closing_takes_grandchildren_along_and_may_happen_twice(start: Callable[..., Child]) -> None:
    child = start()
    grandchild = child.ask({"do": "grandchild"}, timeout_s=START_S)["pid"]
    child.close()
    child.close()
    assert gone(child.pid)
    assert gone(grandchild)


def test_a_parked_child_stands_still_answers_when_asked_and_can_be_killed(start: Callable[..., Child]) -> None:
    child = start()
    child.ask({"do": "echo", "text": ""}, timeout_s=START_S)
    child.park()
    deadline = time.monotonic() + 10
    while psutil.Process(child.pid).status() != psutil.STATUS_STOPPED and time.monotonic() < deadline:
        time.sleep(0.01)
    assert psutil.Process(child.pid).status() == psutil.STATUS_STOPPED
    assert child.ask({"do": "echo", "text": "awake"}, timeout_s=START_S)["text"] == "awake"
    child.park()
    child.close()
    assert gone(child.pid)


_PARENT = """
import sys
from pathlib import Path
from accel.measurement.isolation import Child
child = Child("tests.measurement.unruly", env={{"PYTHONPATH": {root!r}}}, log=Path({log!r}), cwd=Path({cwd!r}))
child.ask({{"do": "echo", "text": ""}}, timeout_s=60)
{then}
print(child.pid, flush=True)
child.ask({{"do": "hang"}}, timeout_s=1000)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux")
@pytest.mark.parametrize("then", ["", "child.park(); print(child.pid, flush=True); import time; time.sleep(1000)"])
def test_a_parent_killed_without_warning_leaves_no_orphan(tmp_path: Path, then: str) -> None:
    script = _PARENT.format(root=str(ROOT), log=str(tmp_path / "log"), cwd=str(tmp_path), then=then)
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert psutil.pid_exists(pid)
        os.kill(parent.pid, signal.SIGKILL)
    assert gone(pid)


def test_ctrl_c_in_the_terminal_does_not_reach_a_child(start: Callable[..., Child]) -> None:
    child = start()
    assert os.getpgid(child.pid) == child.pid != os.getpgid(0)
    assert os.getsid(child.pid) == child.pid


def test_the_environment_pins_threads_and_lets_the_backend_win(
    start: Callable[..., Child], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MKL_NUM_THREADS", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1000")
    seen = start(OPENBLAS_NUM_THREADS="7").ask({"do": "variables"}, timeout_s=START_S)
    assert seen["MKL_NUM_THREADS"] == "1", "a lower wish of the user stays"
    assert seen["OMP_NUM_THREADS"] == str(usable_cores())
    assert seen["OPENBLAS_NUM_THREADS"] == "7"
    seeds = {environment({})["PYTHONHASHSEED"] for _ in range(8)}
    assert len(seeds) == 8


def test_a_stalled_child_stands_still_once_and_goes_on(start: Callable[..., Child]) -> None:
    child = start()
    child.stall(0.1, 0.4)
    assert child.stalled_s is None
    first = child.ask({"do": "gap", "seconds": 1.5}, timeout_s=START_S)
    assert child.stalled_s is not None
    assert child.stalled_s >= 0.4
    assert first["longest_s"] >= 0.35
    assert child.ask({"do": "echo", "text": "still there"}, timeout_s=START_S)["text"] == "still there"


def test_a_child_that_is_closed_while_it_stands_still_is_gone(start: Callable[..., Child]) -> None:
    child = start()
    child.stall(0.0, 1000.0)
    failed = failure(child, timeout_s=2.0, do="gap", seconds=0.5)
    assert failed.cause == "hang"
    assert gone(child.pid)
