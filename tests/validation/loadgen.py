"""MLPerf's load generator around the stub engine, in a process of its own: what it scheduled and what it measured.

Run as `python -m tests.validation.loadgen JSON`, see `Ask`. The figures are those of its own trace, to the nanosecond.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from accel.compilation.stub import Stub
from accel.measurement.clock import SystemClock
from accel.measurement.feeding import Feed
from accel.measurement.isolation import environment
from accel.samples.store import Samples

ROOT = Path(__file__).parents[2]
WARM_UP_S = 0.3
Scenario = Literal["SingleStream", "Offline", "Server"]
Int64 = npt.NDArray[np.int64]
_SAMPLE = re.compile(
    r'"name":"Sample","cat":"default","ph":"b".*?"ts":([\d.]+),"args":\{"sample_seq":(\d+),.*?"complete_ns":(\d+)'
)


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """One run of LoadGen: a stub of `item_s` a sample, with the artefact and the samples of a study's folder."""

    scenario: Scenario
    item_s: float
    rate: float
    seconds: float
    seed: int
    artefact: str
    samples: str
    out: str


class Recorded(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """(n,) ns each, in the order in which queries were made: when each was due since the first, and its latency."""

    due_ns: Int64
    latency_ns: Int64


def record(ask: Ask) -> Recorded:
    """Run LoadGen in a child process; raises CalledProcessError if it fails."""
    command = [sys.executable, "-m", "tests.validation.loadgen", msgspec.json.encode(ask).decode()]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, cwd=ROOT, env=environment({}))
    with np.load(ask.out) as found:
        return Recorded(due_ns=found["due_ns"], latency_ns=found["latency_ns"])


def parsed(trace: str) -> Recorded:
    """Samples of LoadGen's trace file, which isn't quite JSON; its times are microseconds with three decimals."""
    rows = sorted((int(seq), float(ts), int(done)) for ts, seq, done in _SAMPLE.findall(trace))
    at = np.array([ts for _, ts, _ in rows])
    due = np.rint((at - at[0]) * 1e3).astype(np.int64)
    return Recorded(due_ns=due, latency_ns=np.array([done for _, _, done in rows], np.int64))


def schedule(seed: int, rate: float, seconds: float) -> Int64:
    """The due times (ns) before `seconds` of LoadGen's Server scenario, worked out from its seed.

    Exponential gaps from a 32-bit Mersenne Twister, each from two draws, cut to whole nanoseconds (loadgen.cc, and
    libstdc++'s generate_canonical); the first query is due at 0.
    """
    n = round(rate * seconds + 10 * (rate * seconds) ** 0.5 + 10)
    # RandomState spreads a seed as std::mt19937 does; over the full range its integers are the generator's own words.
    draws = np.random.RandomState(seed).randint(0, 2**32, 2 * n, dtype=np.uint32).astype(np.float64)
    uniform = (draws[0::2] + draws[1::2] * 2.0**32) / 2.0**64
    gaps = np.floor(-np.log(1 - uniform) / rate * 1e9).astype(np.int64)
    due = np.concatenate([np.zeros(1, np.int64), np.cumsum(gaps)])
    return due[due < round(seconds * 1e9)]


def _run(ask: Ask) -> None:
    import mlperf_loadgen as lg

    feed = Feed(Stub(item_s=ask.item_s).open(Path(ask.artefact)), Samples.open(Path(ask.samples)).to_ram())
    engine, rows = feed.run, feed.rows
    _warm_up(feed)

    def issue(queries: list[Any]) -> None:
        for query in queries:
            engine(rows[query.index])
            lg.QuerySamplesComplete([lg.QuerySampleResponse(query.id, 0, 0)])

    with tempfile.TemporaryDirectory() as folder:
        logs = lg.LogSettings()
        output = lg.LogOutputSettings()
        output.outdir, output.copy_summary_to_stdout = folder, False
        logs.log_output, logs.enable_trace = output, True
        sut = lg.ConstructSUT(issue, lambda: None)
        library = lg.ConstructQSL(len(rows), len(rows), lambda _: None, lambda _: None)
        lg.StartTestWithLogSettings(sut, library, _settings(ask, lg), logs, str(Path(folder) / "no-audit.config"))
        lg.DestroyQSL(library)
        lg.DestroySUT(sut)
        found = parsed((Path(folder) / "mlperf_log_trace.json").read_text())
    np.savez(ask.out, due_ns=found.due_ns, latency_ns=found.latency_ns)


def _settings(ask: Ask, lg: Any) -> Any:
    settings = lg.TestSettings()
    settings.mode, settings.scenario = lg.TestMode.PerformanceOnly, getattr(lg.TestScenario, ask.scenario)
    settings.min_duration_ms, settings.min_query_count = round(ask.seconds * 1e3), 1
    settings.single_stream_expected_latency_ns = round(ask.item_s * 1e9)
    settings.offline_expected_qps = 1 / ask.item_s
    settings.server_target_qps, settings.server_target_latency_ns = ask.rate, 10**10
    settings.schedule_rng_seed = settings.sample_index_rng_seed = settings.qsl_rng_seed = ask.seed
    return settings


def _warm_up(feed: Feed) -> None:
    clock = SystemClock()
    end = clock.now_ns() + round(WARM_UP_S * 1e9)
    while clock.now_ns() < end:
        feed.run(feed.rows[0])


if __name__ == "__main__":
    _run(msgspec.json.decode(sys.argv[1], type=Ask))
