"""Are accel's measured peaks right? Beside second methods on the same machine, in turns: reports/hardware/peaks.json.

`python -m benchmarks.hardware.peaks measure --rounds 7` adds rounds until there are so many (about 40 s each; it wants
a quiet machine); `show` prints the table. In each round accel's own child measures everything, then each second method
does. A peak is what the machine can do, and whatever disturbs a core only makes it slower: the best round of each
counts. Main memory belongs to the host: its rate goes up and down with the neighbours and with where the host has put
the processors, for both methods alike, so each round's ratio is taken and their median counts. How much either rests on
a single round is shown by leaving out one after the other.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import msgspec

from accel.measurement.machine import Machine, detect
from accel.result import write_atomically
from accel.study import peaks
from benchmarks.hardware import second

OUT = Path(__file__).parents[2] / "reports" / "hardware" / "peaks.json"
WITHIN = 0.10
SHARED = ("ram",)
"""What the machine shares with others on its host."""
_KINDS = ("fp32", "bf16", "int8", "l2", "l3", "ram")
_UNITS = {"fp32": "GFLOP/s", "bf16": "GFLOP/s", "int8": "GOP/s"}


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """Rates by method, then by "kind/threads". sources: what gave accel's own."""

    at_unix_ns: int
    rates: dict[str, dict[str, float]]
    sources: dict[str, str] = {}


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was measured. missing: second methods that this machine doesn't have, and why."""

    machine: Machine
    rounds: tuple[Round, ...] = ()
    missing: dict[str, str] = {}


class Ratio(msgspec.Struct, frozen=True, kw_only=True):
    """accel's rate over a second method's: of the best rounds, or of what is shared the median of the rounds' ratios.

    accel: its best rate. low, high: of the ratio with one round left out, whichever.
    """

    what: str
    method: str
    accel: float
    value: float
    low: float
    high: float
    rounds: int

    @property
    def agrees(self) -> bool:
        """True if the two lie within 10 % of each other."""
        return abs(self.value - 1) <= WITHIN


def ratios(report: Report) -> list[Ratio]:
    """Every kind and thread count against every second method that has it, the nearest first."""
    found = []
    for what in dict.fromkeys(w for r in report.rounds for w in r.rates["accel"]):
        methods = dict.fromkeys(m for r in report.rounds for m in r.rates if m != "accel" and what in r.rates[m])
        mine = []
        for method in methods:
            both = [r.rates for r in report.rounds if what in r.rates.get(method, {}) and what in r.rates["accel"]]
            own, theirs = ([rates[name][what] for rates in both] for name in ("accel", method))
            of = _paired if what.partition("/")[0] in SHARED else _best
            low, high = _without_one(of, own, theirs)
            value = of(own, theirs)
            mine.append(
                Ratio(what=what, method=method, accel=max(own), value=value, low=low, high=high, rounds=len(both))
            )
        found += sorted(mine, key=lambda r: abs(r.value - 1))
    order = {kind: i for i, kind in enumerate(_KINDS)}
    return sorted(found, key=lambda r: (order[r.what.partition("/")[0]], int(r.what.partition("/")[2])))


def _best(own: list[float], theirs: list[float]) -> float:
    return max(own) / max(theirs)


def _paired(own: list[float], theirs: list[float]) -> float:
    return median(mine / other for mine, other in zip(own, theirs, strict=True))


def _without_one(
    of: Callable[[list[float], list[float]], float], own: list[float], theirs: list[float]
) -> tuple[float, float]:
    """The smallest and largest ratio with one round left out; of all of them where there is but one."""
    if len(own) == 1:
        return of(own, theirs), of(own, theirs)
    found = [of(own[:i] + own[i + 1 :], theirs[:i] + theirs[i + 1 :]) for i in range(len(own))]
    return min(found), max(found)


def agreed(report: Report) -> dict[str, bool]:
    """ "kind/threads" -> whether at least one second method agrees within 10 %."""
    found: dict[str, bool] = {}
    for ratio in ratios(report):
        found[ratio.what] = found.get(ratio.what, False) or ratio.agrees
    return found


def lines(report: Report) -> Iterator[str]:
    """The table as text."""
    yield f"{report.machine.cpu}, {report.machine.cores} cores, {len(report.rounds)} rounds"
    for r in ratios(report):
        kind, _, threads = r.what.partition("/")
        rate = f"{r.accel / 1e9:.4g} {_UNITS.get(kind, 'GB/s')}"
        verdict = "agrees" if r.agrees else "differs"
        ends = f"[{r.low:.3f}, {r.high:.3f}]"
        yield f"  {kind:5} {threads:>3} threads  {rate:>16}  / {r.method:8} = {r.value:.3f} {ends}  {verdict}"
    for what, good in agreed(report).items():
        if not good:
            yield f"  {what}: no second method agrees within {WITHIN:.0%}"
    yield from (f"  not here: {name}: {why}" for name, why in report.missing.items())


def measure(wanted: int, out: Path = OUT) -> Report:
    """Add rounds until there are `wanted` of this machine."""
    machine = detect()
    report = _known(out, machine)
    with tempfile.TemporaryDirectory() as place:
        program = second.compiled(Path(place))
        while len(report.rounds) < wanted:
            one, missing = _round(machine, program)
            report = msgspec.structs.replace(report, rounds=(*report.rounds, one), missing=missing)
            out.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(out, msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
            print(f"round {len(report.rounds)} of {wanted}", flush=True)
    return report


def _known(out: Path, machine: Machine) -> Report:
    """Rounds of the same machine go on; those of another are replaced."""
    if out.exists():
        before = msgspec.json.decode(out.read_bytes(), type=Report)
        if (before.machine.cpu, before.machine.cores, before.machine.packages) == (
            machine.cpu,
            machine.cores,
            machine.packages,
        ):
            return before
    return Report(machine=machine)


def _round(machine: Machine, program: Path | None) -> tuple[Round, dict[str, str]]:
    begun = time.time_ns()
    own = peaks.measured(machine)
    rates: dict[str, dict[str, float]] = {"accel": {f"{p.kind}/{p.threads}": p.value for p in own.entries}}
    for threads in sorted({1, machine.cores}):
        ways = {
            "native": second.native(program, machine, threads, own.l3_count) if program else iter(()),
            "likwid": second.likwid(machine, threads, own.l3_count),
            "openblas": second.openblas(threads),
        }
        for method, found in ways.items():
            rates.setdefault(method, {}).update({f"{kind}/{threads}": rate for kind, rate in found})
    missing = {} if program else {"native": "no C compiler (apt-get install gcc)"}
    if not rates["likwid"]:
        missing["likwid"] = (
            "likwid-bench isn't on the path (apt-get install likwid) or has no kernel for this processor"
        )
    sources = {f"{p.kind}/{p.threads}": p.source for p in own.entries}
    return Round(at_unix_ns=begun, rates={m: r for m, r in rates.items() if r}, sources=sources), missing


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("do", choices=("measure", "show"))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, default=OUT)
    asked = parser.parse_args()
    report = measure(asked.rounds, asked.out) if asked.do == "measure" else _shown(asked.out)
    print("\n".join(lines(report)))


def _shown(out: Path) -> Report:
    if not out.exists():
        raise SystemExit(f"`{out}` isn't there yet: python -m benchmarks.hardware.peaks measure")
    return msgspec.json.decode(out.read_bytes(), type=Report)


if __name__ == "__main__":
    main()
