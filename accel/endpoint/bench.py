"""`accel.bench_endpoint`: how fast is a server that runs already, under requests that arrive by themselves?"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from accel import __version__, units
from accel.analysis.conclusion import StudyRecord
from accel.compilation import _v2 as v2
from accel.compilation._http import Answer, request
from accel.compilation.endpoint import NUMBER, write_calls
from accel.endpoint.bodies import Bodies, build
from accel.endpoint.driven import FILE, Checked, EndpointStudy
from accel.endpoint.driving import ELSEWHERE_RATE, ELSEWHERE_REQUESTS, MOST_RATE, Drive
from accel.endpoint.look import Server, ask, look, refused
from accel.endpoint.runs import NAME, Settings, Stopped
from accel.errors import InputError, NothingMeasured, VariantError
from accel.measurement.machine import Machine, detect, env_id
from accel.model import Facts, Signature, Source
from accel.plugins import Named
from accel.recipe import Variant
from accel.result import write_atomically
from accel.samples import materialise
from accel.slo import parse_slo
from accel.study.folder import StudyFolder
from accel.study.options import default_folder

_MOST_CONNECTIONS, _MOST_RATES = 512, 20
_CHECKED, _CHECKED_S = 256, 5.0
_NUMBERS = "biuf"
_CLOSES = "The server ends the connection after each answer, so that every request has to open a new one."


def bench_endpoint(
    url: str,
    samples: Any,
    *,
    slo: str | None = None,
    rate: float | Sequence[float] = (),
    protocol: str = "auto",
    connections: int = 32,
    budget: str | float = "2m",
    timeout: str | float = "10s",
    seed: int = 0,
    out: str | Path | None = None,
    command: str = "",
    progress: Callable[[str], None] | None = None,
) -> EndpointStudy:
    """Drive a running HTTP server with requests that arrive by themselves, and say what those who ask waited.

    url: .../v2/models/NAME for the Open Inference Protocol v2, any other URL is posted plain JSON. A URL without a host
    means 127.0.0.1; nothing else is asked unless it is named here. samples: arrays by the names of the inputs (.npz,
    folder, dict), each request carrying one; for plain JSON also a .jsonl file or a list with one body each.
    slo: search for the most requests a second within it ("p99=20ms"). rate: drive at these rates (1/s) too. Without
    either, a limit of four times a single call is assumed (p90). protocol: "auto", "v2", "v2-binary" or "json".
    connections: kept open, so many requests can be under way at once. timeout: how long to wait for an answer.
    out: where the raw results go (default accel-results/HOST-DATE).

    Raises InputError for wrong input, among it an endpoint that isn't there, and NothingMeasured for one that answers
    no request. A server that fails later ends the driving; what was measured until then is returned.
    """
    rates = _rates(rate)
    limit = None if slo is None else parse_slo(slo)
    budget_s, timeout_s = units.seconds(budget, "budget"), units.seconds(timeout, "timeout")
    if not isinstance(connections, int) or not 1 <= connections <= _MOST_CONNECTIONS:
        raise InputError(f"connections must be a whole number from 1 to {_MOST_CONNECTIONS}, but is `{connections}`.")
    if timeout_s > 60:
        raise InputError(f"timeout must be at most 60 s, but is {units.show_seconds(timeout_s)}.")
    tell = progress or (lambda _: None)
    server = look(url, protocol, timeout_s=timeout_s)
    bodies = build(samples, server)
    tell(_announced(server))
    answer, checked = _first(server, bodies, timeout_s)
    if answer.closes:
        bodies = msgspec.structs.replace(bodies, notes=(*bodies.notes, _CLOSES))
    folder = StudyFolder((Path(out) if out is not None else default_folder(_name(server))).absolute())
    folder.create(resume=False)
    with folder.lock():
        machine = detect()
        identity = msgspec.json.encode([server.url, time.time_ns(), seed])
        settings = Settings(
            limit=limit,
            rates=rates,
            connections=connections,
            budget_s=budget_s,
            timeout_s=timeout_s,
            seed=seed,
            study_id=hashlib.sha256(identity).hexdigest()[:12],
            env_id=env_id(machine),
        )
        _lay_out(folder, server, bodies, answer.type, seed)
        drive = Drive(server, bodies, folder, settings, tell)
        typed = command or f"accel bench --endpoint {server.url} --samples SAMPLES"
        return _driven(drive, checked, machine, typed)


def _announced(server: Server) -> str:
    if server.local:
        return f"driving {server.place} ({server.words})"
    return (
        f"driving {server.place}, another machine ({server.words}): no search above {ELSEWHERE_RATE:g} requests/s, at "
        f"most {ELSEWHERE_REQUESTS:,} requests in all"
    )


def _driven(drive: Drive, checked: Checked | None, machine: Machine, command: str) -> EndpointStudy:
    """Drive it, and write down what came of it whatever ends it."""
    begun = time.monotonic()
    _write_record(drive, machine, command)
    stopped, interrupted = "", False
    try:
        drive.run()
    except KeyboardInterrupt:
        stopped, interrupted = "interrupted", True
    except Stopped as error:
        stopped = error.reason
    except VariantError as error:
        stopped = f"the measuring process failed: {error.reason}"
    study = _study(drive, checked, stopped, interrupted, time.monotonic() - begun)
    _write_record(drive, machine, command, study)
    write_atomically(drive.folder.root / FILE, study.to_json())
    if not study.rows and study.service is None and not interrupted:
        raise NothingMeasured(f"Nothing could be measured at {drive.server.url}: {stopped}.")
    return study


def _study(drive: Drive, checked: Checked | None, stopped: str, interrupted: bool, elapsed_s: float) -> EndpointStudy:
    server = drive.server
    return EndpointStudy(
        url=server.url,
        protocol=server.words,
        connections=drive.settings.connections,
        local=server.local,
        samples=len(drive.bodies.bodies),
        transport=drive.transport,
        transport_call=drive.transport_call,
        service=drive.service,
        service_p99=drive.service_p99,
        slo=drive.limit,
        slo_assumed=drive.limit is not None and drive.settings.limit is None,
        found=drive.found,
        rows=tuple(drive.rows),
        checked=checked,
        notes=(*drive.bodies.notes, *drive.notes),
        stopped=stopped,
        interrupted=interrupted,
        folder=str(drive.folder.root),
        elapsed_s=elapsed_s,
        env_id=drive.settings.env_id,
    )


# --- before anything is timed --------------------------------------------------------------------------------------


def _rates(given: float | Sequence[float]) -> tuple[float, ...]:
    rates = tuple(given) if isinstance(given, Sequence) else (given,)
    for rate in rates:
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate <= MOST_RATE:
            raise InputError(f"rate must be above 0 and at most {MOST_RATE:g} requests a second, but is `{rate}`.")
    if len(rates) > _MOST_RATES:
        raise InputError(f"At most {_MOST_RATES} rates can be driven at once, but {len(rates)} were given.")
    return tuple(float(rate) for rate in rates)


def _first(server: Server, bodies: Bodies, timeout_s: float) -> tuple[Answer, Checked | None]:
    """Ask one request, whose answer has to be right; then more of them where it is known what they should say."""
    answer = _asked(server, bodies, 0, timeout_s)
    _read(server, answer)
    if bodies.labels is None and not bodies.expected:
        return answer, None
    if server.protocol == "json":
        return answer, None
    begun, found = time.monotonic(), []
    for i in range(min(_CHECKED, len(bodies.bodies))):
        found.append(_read(server, _asked(server, bodies, i, timeout_s)))
        if time.monotonic() - begun > _CHECKED_S:
            break
    return answer, _checked(found, bodies)


def _asked(server: Server, bodies: Bodies, number: int, timeout_s: float) -> Answer:
    answer = ask(server.place, request("POST", server.place, server.path, *bodies.bodies[number]), "POST", timeout_s)
    if answer.status != 200:
        raise refused(answer, f"Sample {number}, sent to {server.url},")
    return answer


def _read(server: Server, answer: Answer) -> dict[str, Any]:
    """The outputs of a good answer; InputError for one that the protocol doesn't know."""
    try:
        if server.protocol == "v2":
            return v2.decode(answer.body, answer.headers.get(v2.HEADER_LENGTH))
        msgspec.json.decode(answer.body)
    except (VariantError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        begins = " ".join(answer.body[:80].decode("utf-8", "replace").split())
        kind = answer.type or "no content type"
        raise InputError(
            f"{server.url} answers, but not with {server.words} ({kind}, `{begins}`). Check the path and --protocol."
        ) from None
    return {}


def _checked(found: list[dict[str, Any]], bodies: Bodies) -> Checked:
    right = None
    if bodies.labels is not None and bodies.labels.ndim == 1 and bodies.labels.dtype.kind in "iub":
        first = [np.asarray(next(iter(outputs.values()), np.empty(0))).ravel() for outputs in found]
        if all(scores.size > 1 and scores.dtype.kind in "iuf" for scores in first):
            right = sum(int(scores.argmax()) == int(bodies.labels[i]) for i, scores in enumerate(first))
    largest = max(
        (
            _error(np.asarray(outputs[name], np.float64), np.asarray(wanted[i], np.float64))
            for name, wanted in bodies.expected.items()
            for i, outputs in enumerate(found)
            if name in outputs and outputs[name].dtype.kind in _NUMBERS and wanted.dtype.kind in _NUMBERS
        ),
        default=None,
    )
    return Checked(asked=len(found), right=right, largest=largest)


def _error(found: Any, wanted: Any) -> float:
    """Relative error of one answer in the Euclidean norm; inf where the sizes differ."""
    if found.size != wanted.size:
        return math.inf
    norm = float(np.linalg.norm(wanted))
    distance = float(np.linalg.norm(found.ravel() - wanted.ravel()))
    return distance / norm if norm > 0 else distance


def _lay_out(folder: StudyFolder, server: Server, bodies: Bodies, answer_type: str, seed: int) -> None:
    """What a measure child needs: the requests, and their numbers as samples."""
    write_calls(folder.artefacts / NAME, server.place, server.path, server.live, bodies.bodies, answer_type)
    materialise({NUMBER: np.arange(len(bodies.bodies))}, None, folder.samples, seed=seed, calibration=0)


def _name(server: Server) -> str:
    return f"{server.place.host}-{server.metadata.name}" if server.metadata is not None else server.place.host


def _write_record(drive: Drive, machine: Machine, command: str, study: EndpointStudy | None = None) -> None:
    """study.json, so that `accel list`, `report` and `compare` find the runs."""
    server, settings = drive.server, drive.settings
    limit, count = drive.limit, len(drive.bodies.bodies)
    fields = {"url": server.url, "protocol": server.protocol}
    drive.folder.write_record(
        StudyRecord(
            study_id=settings.study_id,
            name=_name(server),
            created_unix_ns=time.time_ns(),
            source=Source(kind="callable", name=_name(server), location=server.url),
            signature=Signature(inputs=(), outputs=(), batch=1),
            facts=Facts(
                kind="other",
                parameters=None,
                weight_bytes=None,
                operators={},
                macs_per_item=None,
                depthwise_share=0.0,
                quantized=False,
                forms=("callable",),
            ),
            machine=machine,
            env_id=settings.env_id,
            accel_version=__version__,
            command=command,
            profile="quick",
            target="online",
            budget_s=settings.budget_s,
            seed=settings.seed,
            accuracy_drop=0.01,
            samples_count=count,
            evaluation_count=count,
            calibration_count=0,
            synthetic=False,
            metric=None,
            slo_p=0.9 if limit is None else limit.p,
            slo_s=None if limit is None else limit.seconds,
            slo_assumed=settings.limit is None,
            baseline=NAME,
            variants=(Variant(name=NAME, backend=Named(NAME, fields), instances=settings.connections),),
            finished_unix_ns=None if study is None else time.time_ns(),
            elapsed_s=None if study is None else study.elapsed_s,
            interrupted=study is not None and study.interrupted,
        )
    )
