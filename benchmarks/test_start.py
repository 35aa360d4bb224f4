"""How long `import accel` and `accel --help` take beyond the interpreter's own start; medians of 20 processes each.

The interpreter's own start is measured in turns with them, so that a busy machine slows both alike.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from typing import Any

import pytest

STARTS = {
    "import accel": ["-c", "import accel"],
    "accel --help": ["-c", "from accel.cli.main import run; run(['--help'])"],
    "accel bench --help": ["-c", "from accel.cli.main import run; run(['bench', '--help'])"],
}
ROUNDS = 20


def start_s(arguments: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    return time.perf_counter() - began


@pytest.mark.parametrize("name", STARTS)
def test_start(name: str, benchmark: Any) -> None:
    bare: list[float] = []
    whole: list[float] = []

    def one_round() -> None:
        bare.append(start_s(["-c", "pass"]))
        whole.append(start_s(STARTS[name]))

    benchmark.pedantic(one_round, rounds=ROUNDS, warmup_rounds=1)
    benchmark.extra_info["interpreter_median_s"] = statistics.median(bare)
    benchmark.extra_info["beyond_interpreter_median_s"] = statistics.median(whole) - statistics.median(bare)
