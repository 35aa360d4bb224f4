"""`accel doctor`: what is installed, what this machine can do, how noisy it is now, what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from accel.errors import NothingMeasured
from accel.units import show_bytes

if TYPE_CHECKING:
    from accel.checkup import Checkup
    from accel.measurement.machine import Machine


@click.command("doctor")
def command() -> int:
    """Say what is installed, what this machine can do, how noisy it is right now, and what is missing.

    Takes a few seconds. Fails only if no backend can run.
    """
    from accel import checkup

    found = checkup.examine()
    click.echo("\n".join(_lines(found)))
    if not found.can_run:
        raise NothingMeasured("No backend can run here. Install one with: pip install onnxruntime")
    return 0


def _lines(found: Checkup) -> list[str]:
    from accel import __version__
    from accel.checkup import abilities, advice

    width = max((len(backend.name) for backend in found.backends), default=0)
    lines = [f"accel {__version__}, Python {found.machine.python}", "", "Backends"]
    for backend in found.backends:
        state = f"{backend.runtime} {backend.version}".rstrip() if not backend.problem else backend.problem
        lines.append(f"  {'ok' if not backend.problem else '--'}  {backend.name:{width}}  {state}")
    lines += ["", "Machine", *(f"  {line}" for line in _machine(found.machine))]
    lines += [f"  {line}" for line in abilities(found.machine)]
    lines += ["", f"Noise, over {found.noise.seconds:g} s", f"  equal pieces of work: p99 {found.noise.spread:+.0%}"]
    lines += [f"  {w.level}: {w.sentence}" for w in found.noise.witnesses]
    lines += [f"  can't be seen here: {what}" for what in found.noise.missing]
    told = advice(found)
    return [*lines, "", "What to do" if told else "Nothing is missing.", *(f"  {line}" for line in told)]


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
        f"{machine.kernel}{where}",
        *(", ".join(part) for part in (packages[:half], packages[half:]) if part),
    ]
