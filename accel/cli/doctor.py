"""`accel doctor`: what is installed, what this machine can do, how noisy it is now; what it can show, and why."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import click

from accel.errors import InputError, NothingMeasured
from accel.units import show_bytes

if TYPE_CHECKING:
    from accel.checkup import Checkup
    from accel.measurement.machine import Machine


_BUDGET = "4m"


@click.command("doctor")
@click.option(
    "--measure", is_flag=True, help="Measure the machine itself: what is the smallest difference it can show?"
)
@click.option("--prove", is_flag=True, help="Freeze a known engine and show what a closed loop hides (under 60 s).")
@click.option("--budget", help=f"How long --measure may take, 2m to 10m.  [default: {_BUDGET}]")
@click.option("--json", "as_json", is_flag=True, help="Print what --measure or --prove found as JSON.")
def command(measure: bool, prove: bool, budget: str | None, as_json: bool) -> int:
    """Say what is installed, what this machine can do, how noisy it is right now, and what is missing.

    Takes a few seconds, more with --measure or --prove. Fails only if no backend can run.
    """
    if measure and prove:
        raise InputError("Give --measure or --prove, not both: each needs the machine for itself.")
    if budget is not None and not measure:
        raise InputError("--budget is for `accel doctor --measure`; nothing else here takes long.")
    if prove:
        return _prove(as_json)
    if measure:
        return _measure(budget or _BUDGET, as_json)
    if as_json:
        raise InputError("`accel doctor --json` needs --measure or --prove.")
    from accel import checkup

    found = checkup.examine()
    click.echo("\n".join(_lines(found)))
    if not found.can_run:
        raise NothingMeasured("No backend can run here. Install one with: pip install onnxruntime")
    return 0


def _prove(as_json: bool) -> int:
    from accel.checkup import freeze
    from accel.cli import proof
    from accel.cli.progress import Progress

    with Progress() as progress:
        found = freeze.prove(tell=progress.stage)
    if as_json:
        click.echo(_json(found))
    else:
        click.echo("\n".join(proof.lines(found, unicode=_draws_unicode())))
    return 0


def _measure(budget: str, as_json: bool) -> int:
    from accel.checkup import measure
    from accel.cli import measured
    from accel.cli.progress import Progress

    budget_s = measure.budget(budget)
    with Progress() as progress:
        found = measure.measure(budget_s, progress.stage)
    click.echo(_json(found) if as_json else "\n".join(measured.lines(found)))
    return 0


def _json(found: object) -> str:
    import msgspec

    return msgspec.json.format(msgspec.json.encode(found), indent=1).decode()


def _draws_unicode() -> bool:
    import sys

    return (sys.stdout.encoding or "").lower().startswith("utf")


def _lines(found: Checkup) -> list[str]:
    from accel import __version__
    from accel.checkup import abilities, advice

    width = max((len(backend.name) for backend in found.backends), default=0)
    lines = [f"accel {__version__}, Python {found.machine.python}", "", "Backends"]
    for backend in found.backends:
        state = f"{backend.runtime} {backend.version}".rstrip() if not backend.problem else backend.problem
        lines.append(f"  {'ok' if not backend.problem else '--'}  {backend.name:{width}}  {state}")
    lines += _devices(found)
    lines += ["", "Machine", *(f"  {line}" for line in _machine(found.machine))]
    lines += [f"  {line}" for line in abilities(found.machine)]
    lines += ["", f"Noise, over {found.noise.seconds:g} s", f"  equal pieces of work: p99 {found.noise.spread:+.0%}"]
    lines += [f"  {w.level}: {w.sentence}" for w in found.noise.witnesses]
    lines += [f"  can't be seen here: {what}" for what in found.noise.missing]
    told = advice(found)
    lines += ["", "What to do" if told else "Nothing is missing.", *(f"  {line}" for line in told)]
    return [*lines, "", "How small a difference this machine can show: accel doctor --measure"]


def _devices(found: Checkup) -> list[str]:
    """Where the runtimes can compute, and where they could elsewhere; within 80 columns."""
    from accel.checkup.devices import lines

    told = [textwrap.wrap(line, 78, subsequent_indent=" " * 4) for line in lines(found.devices)]
    return ["", "Devices", *(f"  {part}" for parts in told for part in parts)] if told else []


def _machine(machine: Machine) -> list[str]:
    quota = "no CPU quota" if machine.quota_cores is None else f"a CPU quota of {machine.quota_cores:g} cores"
    memory = "unknown memory" if machine.memory_bytes is None else show_bytes(machine.memory_bytes)
    host = {None: "", "unknown": ", in a virtual machine"}
    where = host.get(machine.hypervisor, f", in a virtual machine ({machine.hypervisor})")
    packages = [f"{name} {version}" for name, version in sorted(machine.packages.items())]
    half = -(-len(packages) // 2)
    return [
        machine.cpu,
        f"{machine.cores} of {machine.logical_cpus} processors usable, {quota}, {memory}",
        *([] if machine.topology is None else textwrap.wrap(str(machine.topology), 78)),
        f"{machine.kernel}{where}",
        *(", ".join(part) for part in (packages[:half], packages[half:]) if part),
    ]
