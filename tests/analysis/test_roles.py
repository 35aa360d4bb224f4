from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from accel.analysis import Estimate
from accel.analysis.busy import busy
from accel.analysis.conclusion import Conclusion, StudyRecord
from accel.analysis.reading import conclude
from accel.analysis.versus import slo_cost
from accel.measurement.trace import Trace
from accel.plugins import Named
from accel.result import Result
from tests.synthetic import BASELINE, Made, synthetic_study, variant


def read(folder: Path, record: StudyRecord) -> Conclusion:
    results = [Result.load(p) for p in sorted((folder / "runs").glob("*.json"))]
    return conclude(record, results, folder / "runs")


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, StudyRecord, Conclusion]:
    folder = tmp_path_factory.mktemp("usual")
    record = synthetic_study(folder)
    return folder, record, read(folder, record)


def trace(started: list[int], finished: list[int], due: list[int], batch: list[int] | None = None) -> Trace:
    n = len(due)
    columns = {"due": due, "taken": started, "started": started, "finished": finished}
    columns |= {"batch": batch or list(range(n)), "batch_size": [1] * n, "sample": [0] * n}
    columns |= {"status": [0] * n, "warmup": [0] * n}
    return Trace(**{k: np.array(v, np.int64) for k, v in columns.items()})


def test_both_roles_hold_the_truth(usual: tuple[Path, StudyRecord, Conclusion]) -> None:
    found = usual[2].roles
    assert found is not None
    assert found.batch is not None
    assert found.online is not None
    assert found.same
    role = found.online
    assert (role.variant, role.batch_size, role.keeps_baseline) == ("openvino int8", 16, False)
    assert role.items is not None
    truth = 16 / (0.00035 + 16 * 0.0009)
    assert role.items.value == pytest.approx(truth, rel=0.02)
    assert role.job_s is not None
    assert role.job_s.value == pytest.approx(1e6 / role.items.value + 1.3)  # import 1.2 + open 0.08 + first 0.02
    assert role.start_s == pytest.approx(1.3)
    assert role.rate is usual[2].row("openvino int8").online.rate  # type: ignore[union-attr]
    assert role.p99_s is usual[2].row("openvino int8").online.p90  # type: ignore[union-attr]
    assert (found.slo_p, found.slo_s) == (0.9, 0.015)


def test_utilisation_is_the_busy_share_at_the_claim(usual: tuple[Path, StudyRecord, Conclusion]) -> None:
    role = usual[2].roles.online  # type: ignore[union-attr]
    assert role is not None
    assert role.utilisation is not None
    assert role.utilisation.low is not None
    assert role.rate is not None
    # A worker can be busy at most all the time, and at least as much as if every batch held sixteen.
    assert role.rate.value * (0.0009 + 0.00035 / 16) * 0.9 <= role.utilisation.value <= 1
    assert role.utilisation.low < role.utilisation.value < role.utilisation.high  # type: ignore[operator]


def test_what_the_limit_costs_is_one_minus_the_ratio(usual: tuple[Path, StudyRecord, Conclusion]) -> None:
    role = usual[2].roles.online  # type: ignore[union-attr]
    assert role is not None
    assert role.slo_cost is not None
    assert role.slo_cost.value == pytest.approx(1 - role.rate.value / role.items.value)  # type: ignore[union-attr]
    assert role.slo_cost.low < role.slo_cost.value < role.slo_cost.high  # type: ignore[operator]
    assert role.cost is not None
    assert role.cost.unit == "instance-seconds"


def test_the_reason_names_both_rates_and_the_limit(usual: tuple[Path, StudyRecord, Conclusion]) -> None:
    why = " ".join(usual[2].roles.why)  # type: ignore[union-attr]
    assert "`openvino int8` is best in both roles" in why
    assert "p90 ≤ 15 ms" in why
    assert "of its batch throughput" in why


def test_two_winners_are_each_shown_in_the_other_role(tmp_path: Path) -> None:
    # Cheap calls win online within 8 ms, cheap items win in batches: a batch of 16 of the second takes 16 ms.
    quick = Made(variant=variant("quick", "openvino"), fixed_s=0.0002, item_s=0.0018, policy=Named("single"))
    wide = Made(variant=variant("wide", "onnxruntime"), fixed_s=0.0060, item_s=0.0005)
    record = synthetic_study(tmp_path, variants=[quick, wide], baseline=BASELINE, slo_s=0.008, finalists=2)
    found = read(tmp_path, record)
    assert found.batch is not None
    assert found.online is not None
    assert (found.batch.winner, found.online.winner) == ("wide", "quick")
    roles = found.roles
    assert roles is not None
    assert not roles.same
    assert roles.batch.rate is not None  # type: ignore[union-attr]
    assert roles.online.items is not None  # type: ignore[union-attr]
    why = " ".join(roles.why)
    assert "Batch jobs: `wide`" in why
    assert "Online: `quick`" in why
    assert "The other way round, `quick` gives" in why
    assert "what each further item costs decides in batch" in why


def test_without_a_limit_the_online_half_is_said_to_be_missing(tmp_path: Path) -> None:
    record = synthetic_study(tmp_path, slo_s=None, online=False)
    found = read(tmp_path, record)
    role = found.roles.batch  # type: ignore[union-attr]
    assert role is not None
    assert (role.rate, role.slo_cost, role.utilisation) == (None, None, None)
    assert any("no server trials were made" in said for said in role.missing)


def test_a_price_reaches_the_table(usual: tuple[Path, StudyRecord, Conclusion]) -> None:
    folder, record, without = usual
    found = read(folder, msgspec.structs.replace(record, price_per_h=0.36))
    table, plain = (c.roles.online.cost for c in (found, without))  # type: ignore[union-attr]
    assert table.price_per_h == 0.36  # type: ignore[union-attr]
    for key in ("job", "endpoint_per_million"):
        paid, seconds = (t.line(key).value.value for t in (table, plain))  # type: ignore[union-attr]
        assert paid == pytest.approx(seconds * 0.36 / 3600)


def test_a_record_without_a_price_still_reads(usual: tuple[Path, StudyRecord, Conclusion]) -> None:
    old = msgspec.to_builtins(usual[1])
    del old["price_per_h"]
    assert msgspec.convert(old, StudyRecord).price_per_h is None


def test_busy_share_by_hand() -> None:
    # Two workers, window 0 to 100: batches 0-40 and 10-60, then 80-100 and one that runs past the window, 90-190.
    found = busy(trace([0, 10, 80, 90], [40, 60, 100, 190], [0, 5, 70, 100]), workers=2, stretches=1)
    assert found is not None
    assert found.tolist() == [(40 + 50 + 20 + 10) / 200]


def test_a_batch_counts_once_however_many_it_holds() -> None:
    found = busy(trace([0, 0, 0], [50, 50, 50], [0, 0, 100], batch=[0, 0, 0]), workers=1, stretches=2)
    assert found is not None
    assert found.tolist() == [1.0, 0.0]


def test_a_limit_that_costs_nothing_is_below_zero() -> None:
    def rate(value: float) -> Estimate:
        return Estimate(value=value, low=0.9 * value, high=1.1 * value, n=3, unit="1/s", method="given")

    assert slo_cost(rate(100), rate(125)).value == -0.25  # type: ignore[union-attr]
    assert slo_cost(None, rate(1)) is None
    assert slo_cost(rate(1), rate(0)) is None
