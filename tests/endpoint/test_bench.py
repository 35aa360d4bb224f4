"""accel.bench_endpoint from end to end, on servers whose truth is known: structure and order, no absolute times."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import accel
from accel.endpoint import bench as endpoint
from accel.endpoint import driving
from accel.endpoint import look as serverlook
from accel.endpoint.bodies import Bodies
from accel.measurement.trace import Trace
from accel.result import Result
from tests.known_server import KnownServer, Reply

X = {"x": np.random.default_rng(0).normal(size=(16, 4)).astype(np.float32)}


@pytest.fixture(autouse=True)
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_TRANSPORT_S", "_ALONE_S", "_CLOSED_S"):
        monkeypatch.setattr(driving, name, 0.4)


def drive(server: KnownServer, out: Path, **given: Any) -> accel.EndpointStudy:
    return accel.bench_endpoint(server.v2_url, given.pop("samples", X), **{"connections": 4, "out": out, **given})


def results(folder: Path) -> dict[str, Result]:
    return {path.stem: Result.load(path) for path in sorted((folder / "runs").glob("*.json"))}


def test_a_search_beside_named_rates(tmp_path: Path) -> None:
    given = X | {"y": X["x"][:, :3], "labels": X["x"][:, :3].argmax(axis=1)}
    with KnownServer(service_s=0.003, workers=1, binary=True) as server:
        found = drive(server, tmp_path / "out", samples=given, slo="p90=40ms", rate=[40, 60], budget="14s")
    assert found.protocol == "Open Inference Protocol v2, binary tensors"
    assert found.transport is not None
    assert found.service is not None
    assert found.transport.value < found.service.value
    assert "/v2/health/live" in found.transport_call
    assert found.checked is not None
    assert (found.checked.asked, found.checked.right, found.checked.largest) == (16, 16, 0.0)
    assert [row.load for row in found.rows[:3]] == ["closed loop", "rate", "rate"]
    assert [row.rate for row in found.rows[1:3]] == [40.0, 60.0]
    assert {row.load for row in found.rows[3:]} <= {"search", "fresh"}
    searched = [row.validity for row in found.rows[3:]]
    assert (found.found is None) == (set(searched) <= {"invalid"})
    assert (driving._NO_TIME in found.notes) == (not searched)
    assert not found.stopped
    assert all(not row.errors and not row.unanswered for row in found.rows[:3])

    kept = results(tmp_path / "out")
    assert set(kept) == {"transport", "alone", *(row.run_id for row in found.rows)}
    assert [kept[name].phase for name in ("alone", "closed-4", "rate-01")] == ["screening", "load", "load"]
    assert all(kept[row.run_id].phase in ("search", "confirmation") for row in found.rows[3:])
    assert kept["rate-01"].target is None
    assert kept["rate-01"].latency == "from schedule"
    assert kept["closed-4"].latency == "closed loop"
    assert kept["rate-01"].variant.instances == 4
    trace = Trace.load(tmp_path / "out" / "runs" / "rate-01.npz")
    assert len(trace.counted()) == found.rows[1].requests

    told = json.loads((tmp_path / "out" / "endpoint.json").read_text())
    assert [row["run_id"] for row in told["rows"]] == [row.run_id for row in found.rows]
    study = accel.open_study(tmp_path / "out")
    assert study.conclusion.row("endpoint").p50 is not None
    study.report(tmp_path / "page.html")
    shutil.copytree(tmp_path / "out", tmp_path / "again")
    assert str(accel.compare(tmp_path / "out", tmp_path / "again", rerun=False))
    assert str(accel.EndpointStudy.load(tmp_path / "again")) == str(found)


def test_plain_json_without_a_limit_assumes_one(tmp_path: Path) -> None:
    with KnownServer(service_s=0.002) as server:
        found = accel.bench_endpoint(
            server.json_url, [{"text": "a"}, {"text": "b"}], connections=2, budget="3s", out=tmp_path / "out"
        )
        assert {told["text"] for told in server.seen} == {"a", "b"}
        # Opened one after another with pauses: a server's queue of connections is not flooded.
        assert server.connections < 150
    assert found.slo_assumed
    assert found.slo is not None
    assert found.service is not None
    assert found.slo.seconds == pytest.approx(4 * found.service.value, rel=0.02)
    assert found.transport_call == "a connection opened and closed"
    assert "assumed" in str(found)


def test_a_server_that_dies_loses_nothing_that_was_measured(tmp_path: Path) -> None:
    server = KnownServer(service_s=0.002)

    def die(number: int) -> Reply | None:
        if number == server.last:  # type: ignore[attr-defined]
            server.stop_soon()
        return None

    server.last = -1  # type: ignore[attr-defined]
    server.misbehave = die

    def tell(line: str) -> None:
        if line == "60 requests/s":
            server.last = server.asked + 80  # type: ignore[attr-defined]

    with server:
        found = drive(server, tmp_path / "out", rate=[50, 60, 70], budget="10s", progress=tell)
    names = [row.run_id for row in found.rows]
    assert names == ["closed-4", "rate-01", "rate-02"]
    assert found.rows[1].unanswered == 0
    assert found.rows[2].unanswered > 0 or "could not be driven" in found.rows[2].reason
    assert "connection" in found.stopped
    assert set(results(tmp_path / "out")) == {"transport", "alone", *names}
    assert (tmp_path / "out" / "endpoint.json").is_file()


def test_requests_that_are_refused_are_counted_by_kind(tmp_path: Path) -> None:
    refusals: list[int] = []

    def sometimes(number: int) -> Reply | None:
        if not refusals or number % 3:
            return None
        return 503, "application/json", b'{"error": "full"}'

    def tell(line: str) -> None:
        if line == "60 requests/s":
            refusals.append(1)

    with KnownServer(misbehave=sometimes) as server:
        found = drive(server, tmp_path / "out", rate=[60], budget="4s", progress=tell)
    row = found.row("rate-01")
    assert set(row.errors) == {"HTTP 503"}
    assert 0.2 < row.unanswered / row.requests < 0.5
    assert not any(w.id == "W13" and w.level == "invalid" for w in results(tmp_path / "out")["rate-01"].witnesses)


def test_requests_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driving, "MOST_REQUESTS", 2000)
    with KnownServer(service_s=0.002) as server:
        found = drive(server, tmp_path / "out", rate=[2000], budget="5s")
        asked = server.asked
    assert "2,000 requests are the most" in found.stopped
    assert [row.load for row in found.rows] == ["closed loop"]
    assert asked < 3000


def test_another_machine_is_not_flooded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serverlook.Server, "local", False)
    monkeypatch.setattr(driving, "ELSEWHERE_RATE", 30.0)
    heard: list[str] = []
    with KnownServer(service_s=0.001) as server:
        found = drive(server, tmp_path / "out", slo="p90=100ms", budget="4s", progress=heard.append)
    assert "another machine" in heard[0]
    assert found.rows or driving._NO_TIME in found.notes
    assert all(row.load != "closed loop" for row in found.rows)
    assert all(row.rate is not None and row.rate <= 30.0 for row in found.rows)
    if found.found is not None:  # else every trial was disturbed
        assert {"bounded", "unfinished"} & set(found.found.flags)


def test_ctrl_c_keeps_what_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(driving.Drive, "_named", interrupted)
    with KnownServer() as server:
        found = drive(server, tmp_path / "out", rate=[20], budget="5s")
    assert found.interrupted
    assert [row.load for row in found.rows] == ["closed loop"]
    assert accel.open_study(tmp_path / "out").record.interrupted


def test_a_server_that_fails_its_first_request_is_not_driven(tmp_path: Path) -> None:
    with KnownServer(misbehave=lambda _: (500, "application/json", b'{"error": "boom"}')) as server:
        with pytest.raises(accel.NothingMeasured, match=r"HTTP 500 \(boom\)"):
            drive(server, tmp_path / "out")
        assert server.asked == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"rate": 0}, "rate must be above 0"),
        ({"rate": 1e9}, "at most 10000"),
        ({"rate": [1.0] * 21}, "At most 20 rates"),
        ({"connections": 0}, "from 1 to 512"),
        ({"timeout": "2m"}, "at most 60 s"),
        ({"slo": "fast"}, "SLO"),
        ({"budget": "soon"}, "budget"),
    ],
)
def test_wrong_arguments_are_said_before_anything_is_asked(given: dict[str, Any], said: str) -> None:
    with pytest.raises(accel.InputError, match=said):
        accel.bench_endpoint("http://127.0.0.1:1/v2/models/m", X, **given)


def test_a_server_slower_than_the_limit_is_not_searched(tmp_path: Path) -> None:
    with KnownServer(service_s=0.08, workers=4) as server:
        found = drive(server, tmp_path / "out", slo="p90=50ms", budget="4s")
    assert found.found is not None
    assert found.found.claim == 0.0
    assert "already takes longer" in found.found.method
    assert found.service is not None
    assert "No rate was within p90 <= 50 ms" in str(found)


@pytest.mark.parametrize("labels", [np.array(["cat"] * 2), np.array([np.nan, 1.0]), None])
def test_labels_and_outputs_that_are_no_numbers_are_not_compared(labels: Any) -> None:
    wanted = np.array(["a", "b"]) if labels is None else np.ones((2, 3))
    answers: list[dict[str, Any]] = [
        {"y": np.ones(3, np.float32)},
        {"y": np.array(["t"], object) if labels is None else np.ones(3)},
    ]
    found = endpoint._checked(answers, Bodies(bodies=[], labels=labels, expected={"y": wanted}))
    assert found.right is None
    assert found.largest == (None if labels is None else 0.0)
