"""On the GPU machine: every network's variants opened side by side, then timed in turns until the time is up.

python -m benchmarks.gpu.run --out FOLDER [--seconds 500] [--models resnet50,...] [--rehearse]

Needs numpy, torch and (for the real networks) transformers there; msgspec, psutil and cloudpickle are carried. Writes
FOLDER/MODEL.tar.gz a network, each as soon as it is done: Results with their traces, and what became of each variant.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from accel import plugins
from accel.compilation import Refusal
from accel.errors import AccelError, VariantError
from accel.measurement.isolation import ChildFailed
from accel.measurement.machine import Machine, detect, env_id
from accel.model import Facts
from accel.plugins import Named
from accel.recipe import Variant
from accel.result import Result, Role, SetUp, write_atomically
from accel.study.budget import BudgetEnded
from accel.study.folder import StudyFolder
from accel.study.live import Live, Turn
from accel.study.prepare import Prepared
from accel.study.profiles import profile
from accel.study.rounds import shuffled
from accel.study.screening import allowed
from benchmarks.batching.rows import Where
from benchmarks.gpu.build import STORED
from benchmarks.gpu.networks import MODELS, REHEARSED
from benchmarks.gpu.outputs import Compared, compared
from benchmarks.gpu.rows import SIZES, Outcome, Sitting, variants

SITTING = "sitting.json"
MOST_BLOCKS, REHEARSED_BLOCKS = 8, 3
RUN_S, WARM_S, FIRST_WARM_S = 0.4, 0.1, 1.0
_OPENING_SHARE = 0.6
_CLOSING_S = 4.0
_FACTS = Facts(
    kind="other",
    parameters=None,
    weight_bytes=None,
    operators={},
    macs_per_item=None,
    depthwise_share=0.0,
    quantized=False,
    forms=("torch",),
)
Say = Callable[[str], None]


class One(msgspec.Struct, frozen=True, kw_only=True):
    """A variant that is open, with how its outputs compare."""

    live: Live
    compared: Compared


class Bench:
    """One network on this machine, in `root`, until `until` (of `time.monotonic`)."""

    def __init__(self, model: str, root: Path, until: float, *, rehearsal: bool, say: Say) -> None:
        self.model, self.until, self.rehearsal, self.say = model, until, rehearsal, say
        self.begun = time.monotonic()
        self.folder = StudyFolder(root)
        self.machine: Machine = detect()
        self.env_id = env_id(self.machine)
        self.variants = variants(model, rehearsal=rehearsal)
        self.outcomes: dict[str, Outcome] = {}
        self.open: dict[str, One] = {}

    def go(self) -> Path:
        """Build, open, time; gives the folder's sitting.json. A network that can't be built is all failures."""
        self.say(f"{self.model}: building")
        problem = self._built([])
        # The threads that start children have to outlive them: the kernel ends a child with its thread.
        with ThreadPoolExecutor(max(1, len(self.variants))) as pool:
            try:
                if problem:
                    self._all_failed(problem)
                else:
                    self._open_all(pool)
                    self._blocks()
            finally:
                for one in self.open.values():
                    one.live.close()
        return self._sat()

    def _built(self, variant: list[str]) -> str:
        """ "" once `build` is done, else the last line it said."""
        command = [sys.executable, "-m", "benchmarks.gpu.build", self.model, str(self.folder.root), *variant]
        left_s = max(5.0, self.until - time.monotonic())
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=left_s, check=False
            )
        except subprocess.TimeoutExpired:
            return "building it took longer than there was time"
        return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["no word"])[-1][:400]

    def _all_failed(self, problem: str) -> None:
        for variant in self.variants:
            self.outcomes[variant.name] = Outcome(variant=variant, outcome="failed", reason=problem)

    def _open_all(self, pool: ThreadPoolExecutor) -> None:
        opening_until = time.monotonic() + _OPENING_SHARE * (self.until - time.monotonic())
        self.say(f"{self.model}: opening {len(self.variants)} variants")
        asked = [(v, pool.submit(self._opened, v, opening_until)) for v in self.variants]
        for variant, future in asked:
            try:
                self.open[variant.name] = future.result()
                self.outcomes[variant.name] = Outcome(variant=variant, outcome="ready")
            except AccelError as error:
                self.outcomes[variant.name] = outcome_of(variant, error)
            self.say(f"{self.model}: {variant.name} {self.outcomes[variant.name].outcome}")

    def _opened(self, variant: Variant, until: float) -> One:
        """Refuse, or build what isn't built, open it and hold its answers against the reference; then let it rest."""
        backend = plugins.make("compilation", variant.backend)
        refusal = backend.fits(_FACTS, self.machine)
        if refusal is not None:
            raise Refused(refusal)
        place = self.folder.artefacts / variant.name
        if "torch" in backend.runs and backend.runs[0] == "torch":
            linked(self.folder.artefacts / STORED, place)
        elif problem := self._built([variant.name]):
            raise VariantError(problem)
        prepared = Prepared(variant=variant, folder=str(place), form="torch", set_up=SetUp(), artefact_bytes=0)
        live = Live(
            prepared,
            self.folder,
            profile("quick"),
            seed=0,
            tag="gpu",
            patience_s=300.0,
            left_s=lambda: until - time.monotonic(),
        )
        try:
            out = self.folder.reference / f"{variant.name}.npz"
            live.answer(self._ids(), allowed(live.sizes, SIZES[1]), out, timeout_s=120.0)
            found = compared(self.folder.reference / "outputs.npz", out)
            live.park()
        except BaseException:
            live.close()
            raise
        live._left_s = lambda: self.until + _CLOSING_S - time.monotonic()
        return One(live=live, compared=found)

    def _ids(self) -> list[int]:
        from accel.measurement.outputs import load_ids

        return [int(i) for i in load_ids(self.folder.reference / "outputs.npz")]

    def _blocks(self) -> None:
        """Whole blocks, every variant at every size once and the base twice, in a new random order each."""
        took_s = 0.0
        for block in range(REHEARSED_BLOCKS if self.rehearsal else MOST_BLOCKS):
            begun = time.monotonic()
            if begun + 1.15 * took_s + _CLOSING_S > self.until:
                break
            self.say(f"{self.model}: block {block + 1}")
            for position, (name, size, role) in enumerate(shuffled(list(self._entrants()), seed=0, block=block)):
                if name in self.open and time.monotonic() < self.until:
                    self._timed(name, size, role, block, position)
            took_s = time.monotonic() - begun

    def _entrants(self) -> Iterator[tuple[str, int, Role]]:
        for i, variant in enumerate(self.variants):
            if variant.name in self.open:
                for size in SIZES:
                    yield variant.name, size, "baseline" if i == 0 else "candidate"
                    if i == 0:
                        yield variant.name, size, "repeat"

    def _timed(self, name: str, size: int, role: Role, block: int, position: int) -> None:
        one = self.open[name]
        turn = Turn(
            run_id=f"{self.model}-{name}-{size}-{block}-{role}",
            phase="blocks",
            target="batch",
            scenario=Named("offline"),
            batching=Named("fixed", {"size": size}),
            duration_s=RUN_S,
            trial=block,
            role=role,
            block=block,
            position=position,
            warmup_iterations=10 if block == 0 else 3,
            warmup_s=FIRST_WARM_S if block == 0 else WARM_S,
        )
        try:
            one.live.resume()
            one.live.run(
                turn,
                reference=self.folder.reference / "outputs.npz",
                check_limit=one.compared.check_limit,
                common=lambda fields: Result(
                    study_id=f"gpu-{self.model}",
                    created_unix_ns=time.time_ns(),
                    env_id=self.env_id,
                    quality=one.compared.quality,
                    **fields,
                ),
            )
            one.live.park()
        except BudgetEnded:
            # The time is up, which is nobody's fault: what was timed stays.
            self.open.pop(name).live.close()
            self.until = time.monotonic()
        except VariantError as error:
            self.open.pop(name).live.close()
            self.outcomes[name] = outcome_of(one.live.prepared.variant, error)
            self.say(f"{self.model}: {name} failed: {error}")

    def _sat(self) -> Path:
        gpus = self.machine.gpus or ()
        sitting = Sitting(
            model=self.model,
            where=Where(cpu=self.machine.cpu, cores=self.machine.cores, env_id=self.env_id, unix_s=round(time.time())),
            gpu=None if self.rehearsal or not gpus else gpus[0],
            packages=self.machine.packages,
            seconds=time.monotonic() - self.begun,
            rehearsal=self.rehearsal,
            outcomes=tuple(self.outcomes[v.name] for v in self.variants if v.name in self.outcomes),
        )
        self.folder.runs.mkdir(parents=True, exist_ok=True)
        path = self.folder.runs / SITTING
        write_atomically(path, msgspec.json.format(msgspec.json.encode(sitting), indent=1))
        return path


class Refused(VariantError):
    """A backend that doesn't fit this machine."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.reason, refusal.next_step)


def outcome_of(variant: Variant, error: AccelError) -> Outcome:
    """Why a variant dropped out."""
    kind = "refused" if isinstance(error, Refused) else "late" if isinstance(error, BudgetEnded) else "failed"
    reason = error.reason if isinstance(error, VariantError) else str(error)
    if isinstance(error, BudgetEnded):
        reason = f"opening it took longer than there was time for (while {error.doing})"
    return Outcome(
        variant=variant,
        outcome=kind,  # type: ignore[arg-type]  # one of the three
        reason=reason,
        next_step=getattr(error, "next_step", ""),
        log_tail=error.log_tail[-1500:] if isinstance(error, ChildFailed) else "",
    )


def linked(source: Path, target: Path) -> None:
    """The files of a stored module under another name, without their bytes once more; each has a cache of its own."""
    target.mkdir(exist_ok=True)
    for file in source.iterdir():
        if file.is_file() and not (target / file.name).exists():
            os.link(file, target / file.name)


def packed(runs: Path, archive: Path) -> None:
    """All runs of a network as one file, whole or not at all."""
    part = archive.with_name(archive.name + ".part")
    with tarfile.open(part, "w:gz") as tar:
        for file in sorted(runs.iterdir()):
            tar.add(file, file.name)
    part.replace(archive)


def main(arguments: Sequence[str] | None = None) -> int:
    """See the head of this file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=500.0)
    parser.add_argument("--models", default="")
    parser.add_argument("--rehearse", action="store_true")
    given = parser.parse_args(arguments)
    begun = time.monotonic()
    listed = given.models.split(",") if given.models else REHEARSED if given.rehearse else MODELS
    given.out.mkdir(parents=True, exist_ok=True)

    def say(text: str) -> None:
        print(f"{time.monotonic() - begun:6.1f} s  {text}", flush=True)

    for i, model in enumerate(listed):
        share_s = (begun + given.seconds - time.monotonic()) / (len(listed) - i)
        with tempfile.TemporaryDirectory(prefix="accel-gpu-") as place:
            bench = Bench(model, Path(place), time.monotonic() + share_s, rehearsal=given.rehearse, say=say)
            sat = bench.go()
            packed(sat.parent, given.out / f"{model}.tar.gz")
            say(f"{model}: {len(list(sat.parent.glob('*.npz')))} runs in {given.out / model}.tar.gz")
    return 0


if __name__ == "__main__":
    sys.exit(main())
