"""Where a study lives on disk: its paths, its lock, and what is already there when it resumes."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec

from accel.analysis.conclusion import StudyRecord
from accel.errors import InputError, NoStudy
from accel.result import Result, write_atomically
from accel.study.refusal import holds_more


class StudyFolder:
    """The layout of `--out`.

    study.json    what was asked, of what, where     runs/     one JSON and one .npz a run
    samples/      the materialised inputs             log/      what the children printed
    reference/    the reference's outputs             winner/   artefacts: recommended ones, baseline
    model/        stored objects and converted forms  rescues/  what was tried for variants that lost accuracy
    profiles/     where the time of winners and original goes, one JSON a variant
    report.html
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.record_path = root / "study.json"
        self.runs = root / "runs"
        self.samples = root / "samples"
        self.reference = root / "reference"
        self.model = root / "model"
        self.artefacts = root / "artefacts"
        self.log = root / "log"
        self.winner = root / "winner"
        self.report = root / "report.html"
        self._clock = root / "elapsed.json"

    def create(self, *, resume: bool) -> None:
        """Make the folders; refuses a folder that holds another study or other files.

        Raises InputError with what to type instead.
        """
        if self.holds_runs() and not resume:
            raise InputError(
                f"`{self.root}` already holds a study. Continue it with --resume, or choose another folder with --out."
            )
        if self.root.exists() and not self.root.is_dir():
            raise InputError(f"--out must be a folder, but `{self.root}` is a file. Choose another with --out.")
        if self.root.is_dir() and not self._ours() and any(self.root.iterdir()):
            raise InputError(f"`{self.root}` is not empty and holds no study. Choose another folder with --out.")
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            # First of all the mark that this folder is ours: a study killed a moment later must be able to resume.
            (self.root / ".lock").touch()
            for folder in (self.runs, self.log, self.model, self.reference, self.artefacts):
                folder.mkdir(exist_ok=True)
            self.model.chmod(0o700)
            probe = self.root / ".probe"
            probe.write_bytes(b"0" * 4096)
            probe.unlink()
        except OSError as error:
            reason = error.strerror or str(error)
            raise InputError(f"`{self.root}` can't be written: {reason}. Choose another folder with --out.") from None

    def _ours(self) -> bool:
        return self.record_path.exists() or (self.root / ".lock").exists()

    def holds_runs(self) -> bool:
        """True if something was measured, or was found not to run, that must not be lost."""
        return any(self.runs.glob("*.json"))

    def begin_anew(self) -> None:
        """Forget a study that never got to a run; call it under the lock, since another process may be at it."""
        if not self.holds_runs():
            for path in (self.record_path, self._clock):
                path.unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove what a study without a run wrote, so that it isn't in the way of the next try; other files stay.

        Logs that hold more than the sentence the user gets stay too.
        """
        self.begin_anew()
        for folder in (self.samples, self.reference, self.model, self.artefacts, self.runs):
            shutil.rmtree(folder, ignore_errors=True)
        if holds_more(self.log):
            return
        shutil.rmtree(self.log, ignore_errors=True)
        (self.root / ".lock").unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # other files are in it
            self.root.rmdir()
            if self.root.parent.name == "accel-results":
                self.root.parent.rmdir()

    def forget(self) -> None:
        """Remove everything of a study that was begun with another model's look; its logs stay."""
        for folder in (self.runs, self.artefacts, self.root / "rescues", self.root / "profiles"):
            shutil.rmtree(folder, ignore_errors=True)
        # The record goes after all that belongs to it and before what it needs: killed in between, a study can resume.
        for path in (self.root / "decisions.json", self.record_path):
            path.unlink(missing_ok=True)
        self.clear()
        self.create(resume=True)

    def clear(self) -> None:
        """Forget an unfinished preparation (no study.json yet), so that it starts anew."""
        for folder in (self.samples, self.reference, self.model):
            shutil.rmtree(folder, ignore_errors=True)

    def sweep(self) -> None:
        """Remove half-made artefacts of an attempt that was killed."""
        for folder in self.artefacts.glob(".making-*"):
            shutil.rmtree(folder, ignore_errors=True)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder for this process; a second study on it is refused at once.

        The lock dies with its holder, so a killed study never blocks --resume.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / ".lock").open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                file.seek(0)
                holder = file.read().strip() or "unknown"
                raise InputError(
                    f"Another study (process {holder}) is writing to `{self.root}`. "
                    "Wait for it, or choose another folder with --out."
                ) from None
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield

    def results(self) -> dict[str, Result]:
        """Every committed run by its id, in the order of their ids."""
        if not self.runs.is_dir():
            return {}
        return {path.stem: Result.load(path) for path in sorted(self.runs.glob("*.json"))}

    def vouches(self, result: Result) -> bool:
        """True if a run's trace is the one that was written with it, or if nothing was timed."""
        if result.trace is None:
            return True
        try:
            data = (self.runs / Path(result.trace).name).read_bytes()
        except OSError:
            return False
        return hashlib.sha256(data).hexdigest() == result.trace_sha256

    def record(self) -> StudyRecord:
        """Read study.json; InputError if this is no study or is damaged."""
        if not self.record_path.is_file():
            raise NoStudy(self.root)
        try:
            return msgspec.json.decode(self.record_path.read_bytes(), type=StudyRecord)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InputError(
                f"`{self.record_path}` can't be read: {error}. Run the study again with another --out."
            ) from None

    def write_record(self, record: StudyRecord) -> None:
        """Commit study.json."""
        write_atomically(self.record_path, msgspec.json.format(msgspec.json.encode(record), indent=1))

    def spent_s(self) -> float:
        """Seconds that earlier, interrupted attempts at this study took."""
        try:
            return float(msgspec.json.decode(self._clock.read_bytes(), type=dict[str, float])["elapsed_s"])
        except (OSError, msgspec.DecodeError, KeyError):
            return 0.0

    def write_spent(self, elapsed_s: float) -> None:
        """Remember how long the study has taken so far."""
        write_atomically(self._clock, msgspec.json.encode({"elapsed_s": elapsed_s}))
