"""The winner as something to load, to save and to look at; what is saved runs without accel."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from accel import plugins
from accel.analysis import Estimate
from accel.analysis.conclusion import Answer, Comparison, Row
from accel.errors import InputError
from accel.measurement.outputs import load_outputs
from accel.recipe import Variant
from accel.samples import Samples
from accel.study.kept import keep
from accel.study.prepare import Prepared

if TYPE_CHECKING:
    from accel.study.study import Study

_EXPECTED_ITEMS = 8


class Winner:
    """The recommended way to run the model for one target; your original if nothing was shown to be faster."""

    def __init__(self, study: Study, answer: Answer) -> None:
        self._study = study
        self.answer = answer
        self.name = answer.winner

    @property
    def row(self) -> Row:
        """Everything the study knows about it."""
        return self._study.conclusion.row(self.name)

    @property
    def variant(self) -> Variant:
        """Which compressions and which backend it is."""
        return self.row.variant

    @property
    def speedup(self) -> Comparison | None:
        """Against the baseline, with interval and verdict; None if the winner is the baseline."""
        return self.answer.speedup

    @property
    def p99(self) -> Estimate | None:
        """p99 of latency in seconds: from schedule where it was measured under load, else of lone requests."""
        row = self.row
        return row.online.p99 if self.answer.target == "online" and row.online is not None else row.p99

    @property
    def throughput(self) -> Estimate | None:
        """Items per second in batch mode at the best size."""
        return self.row.throughput

    @property
    def folder(self) -> Path:
        """Where the study keeps its copy."""
        return self._study.folder / "winner" / self.answer.target

    def load(self) -> Any:
        """A callable with the calling convention of what came in; opens the artefact in this process."""
        from accel.study.loaded import load_folder

        if not (self.folder / "settings.json").is_file():
            raise InputError(f"The winner's artefact isn't in `{self.folder}` any more. Make it again with --resume.")
        return load_folder(self.folder)

    def save(self, folder: str | Path) -> Path:
        """Copy artefact, settings, expected outputs and a run.py that needs only the runtime; gives the folder.

        Raises InputError if the folder holds something already.
        """
        to = Path(folder)
        if to.exists() and any(to.iterdir() if to.is_dir() else [to]):
            raise InputError(f"`{to}` exists and isn't empty. Choose a new folder for the winner.")
        if not (self.folder / "settings.json").is_file():
            raise InputError(
                f"The winner's artefact isn't in `{self.folder}` any more. Continue the study with --resume."
            )
        shutil.copytree(self.folder, to, dirs_exist_ok=True)
        return to

    def __repr__(self) -> str:
        return f"<Winner {self.name}: {self.answer.sentence}>"


def keep_winners(study: Study) -> None:
    """Copy each target's artefact into the study's folder, and the baseline's, with all it takes to run them again."""
    from accel.study.artefacts import find_prepared

    winners: dict[str, str] = {}
    for answer in (study.conclusion.batch, study.conclusion.online, study.conclusion.memory):
        if answer is None:
            continue
        prepared = find_prepared(study.folder, answer.winner)
        # An original that was prepared but never answered is no winner to keep.
        if prepared is None or study.conclusion.row(answer.winner).status != "ok":
            continue
        to = study.folder / "winner" / answer.target
        part = to.with_name(to.name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        write_winner(study, answer, prepared, part)
        shutil.rmtree(to, ignore_errors=True)
        part.rename(to)
        winners[answer.target] = answer.winner
    keep(study, winners)


def write_winner(study: Study, answer: Answer, prepared: Prepared, folder: Path) -> None:
    """artefact/, settings.json, expected.npz, run.py, requirements.txt in `folder`."""
    folder.mkdir(parents=True)
    shutil.copytree(prepared.folder, folder / "artefact")
    row = study.conclusion.row(answer.winner)
    backend: Any = plugins.make("compilation", row.variant.backend)
    settings = {
        "variant": msgspec.to_builtins(row.variant),
        "effective": msgspec.to_builtins(row.effective),
        "batching": _batching(study, answer),
        "signature": msgspec.to_builtins(study.record.signature),
        "source": {"kind": study.record.source.kind, "name": study.record.source.name},
        "target": answer.target,
        "sentence": answer.sentence,
        "env": {k: v for k, v in backend.env().items() if "ARTEFACT" not in k and "/" not in v},
        "accel_version": study.record.accel_version,
    }
    (folder / "settings.json").write_text(json.dumps(settings, indent=1, sort_keys=True))
    convention = study.folder / "model" / "convention.json"
    if convention.is_file():
        shutil.copy2(convention, folder / "convention.json")
    _write_expected(study, row, folder / "expected.npz")
    (folder / "run.py").write_text(run_script(backend.script(folder / "artefact"), row.name, row.variant.instances))
    versions = study.record.machine.packages
    wanted = sorted({backend.runtime, "numpy"})
    (folder / "requirements.txt").write_text(
        "".join(f"{p}=={versions[p].split('+')[0]}\n" for p in wanted if p in versions)
    )


def _batching(study: Study, answer: Answer) -> Any:
    row = study.conclusion.row(answer.winner)
    if answer.target == "batch":
        return {"name": "fixed", "fields": {"size": row.batch_size}}
    for result in study.results:
        if result.variant.name == answer.winner and result.target == "online" and result.batching is not None:
            return msgspec.to_builtins(result.batching)
    return {"name": "single", "fields": {}}


def _write_expected(study: Study, row: Row, path: Path) -> None:
    """A few real inputs and what the winner answered to each when it was scored, item by item of a batch."""
    outputs_path = study.folder / "reference" / f"{row.name}.npz"
    samples = Samples.open(study.folder / "samples")
    outputs = load_outputs(outputs_path)
    from accel.measurement.outputs import load_ids

    # A model of a fixed batch takes just that many items, so they are repeated where there are fewer.
    batch = study.record.signature.batch
    answered = load_ids(outputs_path)
    count = min(_EXPECTED_ITEMS, len(answered)) if batch == "any" else int(batch)
    at = np.resize(np.arange(len(answered)), count)
    ids = answered[at]
    stored: dict[str, Any] = {"ids": ids}
    stored |= {f"in/{name}": value for name, value in samples.batch(ids).items()}
    for name, rows in outputs.items():
        first = [rows[i] for i in at]
        if len({r.shape for r in first}) == 1:
            stored[f"out/{name}"] = np.stack(first)
    np.savez(path, **stored)


_RUN = '''"""Runs the saved model "{name}" with its runtime and numpy alone; checks it against stored answers.
{note}
    python run.py                  # check, exit 1 if it answers differently here
    python run.py inputs.npz       # predict: arrays named as the inputs -> outputs.npz
"""
import json, os, sys
from pathlib import Path

here = Path(__file__).resolve().parent / "artefact"
os.environ.update(json.loads((here.parent / "settings.json").read_text())["env"])
import numpy as np

{script}

def check():
    """Worst relative difference to the stored answers."""
    with np.load(here.parent / "expected.npz") as file:
        stored = {{k: file[k] for k in file.files}}
    got = predict({{k[3:]: v for k, v in stored.items() if k.startswith("in/")}})
    wanted = {{k[4:]: v for k, v in stored.items() if k.startswith("out/")}}
    return max((float(np.linalg.norm((got[k] - v).astype("f8")) / max(np.linalg.norm(v.astype("f8")), 1e-12))
                for k, v in wanted.items()), default=0.0)

if __name__ == "__main__":
    if len(sys.argv) > 1:
        with np.load(sys.argv[1]) as file:
            np.savez("outputs.npz", **predict({{k: file[k] for k in file.files}}))
        print("wrote outputs.npz")
    else:
        worst = check()
        print(f"largest relative difference to the stored answers: {{worst:.2g}}")
        sys.exit(worst > 0.05)
'''


def run_script(script: str, name: str, instances: int = 1) -> str:
    """run.py around a backend's own lines."""
    several = f"The study ran {instances} of it side by side, with a share of the cores each; this runs one on all.\n"
    note = f"\n{several}" if instances > 1 else ""
    return _RUN.format(script=script.strip(), name=name.replace('"', ""), note=note)
